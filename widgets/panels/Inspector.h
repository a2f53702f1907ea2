// Why is it there? The card of the selection, and the distributions that decided it. GUI thread.
#pragma once

#include <QScrollArea>

#include "widgets/models/Line.h"
#include "widgets/models/Selection.h"
#include "widgets/models/Why.h"

class QFrame;
class QGridLayout;
class QLabel;
class QVBoxLayout;

namespace decoscope {

// q, p and residual of the likeliest tokens as grouped bars; hover gives every digit.
class DistributionBars final : public QWidget {
  Q_OBJECT
 public:
  explicit DistributionBars(Line* line, QWidget* parent = nullptr);
  // The row of `marked` stands out in this tone.
  void show(Distributions distributions, TokenId marked, Tone tone);
  const Distributions& shown() const { return distributions_; }
  QSize sizeHint() const override;

 Q_SIGNALS:
  void tokenChosen(TokenId token);

 protected:
  void paintEvent(QPaintEvent* event) override;
  bool event(QEvent* event) override;
  void contextMenuEvent(QContextMenuEvent* event) override;

 private:
  int rowAt(QPoint at) const;
  Line* line_;
  Distributions distributions_;
  TokenId marked_ = -1;
  Tone tone_ = Tone::rejected;
};

class Inspector final : public QScrollArea {
  Q_OBJECT
 public:
  Inspector(Line* line, Selection* selection, QWidget* parent = nullptr);

 Q_SIGNALS:
  void forceWanted(TokenId token);  // instead of the selected one

 private:
  void show();
  Line* line_;
  Selection* selection_;
  QLabel *heading_, *title_, *subtitle_, *sentence_, *distributionHeading_, *distributionNote_;
  QFrame* card_;
  QGridLayout* rows_;
  DistributionBars* bars_;
};

}  // namespace decoscope
