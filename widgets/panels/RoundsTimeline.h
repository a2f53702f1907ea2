// One bar a round: draft, verify and other time, accepted of drafted, and the running acceptance. Only the
// bars in sight are painted. GUI thread.
#pragma once

#include <QAbstractScrollArea>

#include "widgets/models/Line.h"
#include "widgets/models/Selection.h"

namespace decoscope {

class RoundsTimeline final : public QAbstractScrollArea {
  Q_OBJECT
 public:
  RoundsTimeline(Line* line, Selection* selection, QWidget* parent = nullptr);
  QSize sizeHint() const override { return {700, 112}; }

 protected:
  void paintEvent(QPaintEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;
  void wheelEvent(QWheelEvent* event) override;
  bool viewportEvent(QEvent* event) override;

 private:
  void setScrollRange(bool toEnd);
  int roundAt(QPoint at) const;
  void select(int round);
  Line* line_;
  Selection* selection_;
};

}  // namespace decoscope
