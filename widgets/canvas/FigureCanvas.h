// A pannable, zoomable window on a plane of figures: culling, level of detail, hit-testing, keyboard, linked
// hover and selection. The base of every canvas; subclasses bring figures and say what the keys walk over.
// GUI thread.
#pragma once

#include <QElapsedTimer>
#include <QTimer>
#include <functional>
#include <memory>
#include <vector>

#include "widgets/host/CanvasHost.h"
#include "widgets/models/Line.h"
#include "widgets/models/Selection.h"

namespace decoscope {

class FigureCanvas : public CanvasHost {
  Q_OBJECT
 public:
  FigureCanvas(Line* line, Selection* selection, QWidget* parent = nullptr);

  // One figure of the plane, at its place.
  struct Item {
    std::shared_ptr<const FigureIndex> index;
    Point offset;
    StepIndex step = -1;  // -1: marks of any step
    Rect bounds() const {
      const Rect& b = index->figure().bounds;
      return {b.x + offset.x, b.y + offset.y, b.width, b.height};
    }
  };
  const std::vector<Item>& items() const { return items_; }  // by growing y
  Rect bounds() const;
  const CanvasView& view() const { return view_; }
  float zoom() const { return view_.zoom; }

  virtual void fitAll();
  virtual void fitStep(StepIndex step);
  void zoomBy(float factor);  // about the centre
  virtual void actualSize();
  bool following() const { return following_; }
  void setFollowing(bool follow);         // keeps the newest step in sight
  virtual void show(const MarkId& mark);  // scrolls as little as needed
  // Where a mark stands, in pixels of this widget; empty when it is not drawn.
  virtual QRect rectOf(const MarkId& mark) const;
  void setView(const CanvasView& view);
  // In motion, unless that is reduced. Takes what `moved` gave, so that a change can be taken back.
  virtual void glideTo(const CanvasView& target);

  QSize sizeHint() const override { return {900, 560}; }

 Q_SIGNALS:
  void contextMenuWanted(const MarkId& mark, const QPoint& globalPosition);
  void followingChanged(bool following);
  void viewChanged();
  // A person panned or zoomed; what moves by itself (following, scrolling to a selection) is not told.
  void moved(const CanvasView& before, const CanvasView& after);

 protected:
  std::vector<Item>& mutableItems() { return items_; }
  void itemsChanged();                                         // call after changing them
  void revealStep(StepIndex step);                             // a new one: fades in, and is followed
  virtual MarkId walk(const MarkId& from, int key) const = 0;  // where an arrow key leads; none: nowhere
  virtual void drawOverlay(FigurePainter& painter) = 0;
  virtual QString emptyText() const = 0;
  // A plot is laid out for the window and brings its axes: no dots lie behind it, and its overlay shows what
  // is selected and hovered.
  virtual bool isPlot() const { return false; }
  virtual void panBy(QPointF pixels);
  virtual void zoomAbout(QPointF at, float factor);
  Line* line() const { return line_; }
  Selection* selection() const { return selection_; }

  void drawFrame(ImDrawList& list, FigurePainter& painter, GlyphSource& glyphs) override;
  Colour clearColour() const override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;
  void mouseDoubleClickEvent(QMouseEvent* event) override;
  void wheelEvent(QWheelEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;
  void contextMenuEvent(QContextMenuEvent* event) override;
  void leaveEvent(QEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;
  bool event(QEvent* event) override;

 private:
  void visit(const Rect& area, const std::function<void(const Item&)>& each) const;
  const FigureBox* boxAt(const QPointF& at) const;
  const FigureBox* boxOf(const MarkId& mark, Point* offset) const;
  void tick();
  void tell(const CanvasView& before);

  Line* line_;
  Selection* selection_;
  std::vector<Item> items_;
  CanvasView view_, from_, target_;
  QTimer motion_;
  QElapsedTimer motionClock_;
  bool gliding_ = false, following_ = true, dragging_ = false, moved_ = false, placed_ = false;
  StepIndex revealed_ = -1;
  QElapsedTimer revealClock_;
  QPointF pressedAt_, lastAt_;
};

}  // namespace decoscope
