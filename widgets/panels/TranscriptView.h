// The text of a line, each token tinted by who wrote it. Only the rows in sight are painted. GUI thread.
#pragma once

#include <QAbstractScrollArea>
#include <vector>

#include "widgets/models/Line.h"
#include "widgets/models/Selection.h"

namespace decoscope {

class TranscriptView final : public QAbstractScrollArea {
  Q_OBJECT
 public:
  TranscriptView(Line* line, Selection* selection, QWidget* parent = nullptr);
  QSize sizeHint() const override { return {700, 92}; }
  // The whole text, prompt included, as the model wrote it.
  QString plainText() const;

 Q_SIGNALS:
  void contextMenuWanted(const MarkId& mark, const QPoint& globalPosition);

 protected:
  void paintEvent(QPaintEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;
  void contextMenuEvent(QContextMenuEvent* event) override;
  bool viewportEvent(QEvent* event) override;

 private:
  struct Place {
    float x, width;
    int row;
  };
  void restart();
  void extend(std::size_t from);
  void setScrollRange();
  int tokenAt(QPoint at) const;
  void showToken(int index);
  int indexOf(const MarkId& mark) const;
  QString tooltip(int index) const;

  Line* line_;
  Selection* selection_;
  std::vector<Place> places_;  // by index into the text
  std::vector<int> rowStart_;  // first token of each row
  float penX_ = 0;
  int selectedToken_ = -1, hoveredToken_ = -1;
};

}  // namespace decoscope
