// What was measured over the steps of a run, as curves: a plot as large as the window, panned and zoomed
// along its steps. GUI thread; laid out on a pool, the newest request wins.
#pragma once

#include "core/figure/Curves.h"
#include "widgets/canvas/FigureCanvas.h"

namespace decoscope {

class CurveCanvas final : public FigureCanvas {
  Q_OBJECT
 public:
  CurveCanvas(Line* line, Selection* selection, QWidget* parent = nullptr);
  ~CurveCanvas() override;

  // The part of the axis in sight.
  double first() const { return whole_ ? set().first() : first_; }
  double last() const { return whole_ ? set().last() : last_; }
  bool showsAll() const { return whole_; }
  void setWindow(double first, double last);
  const CurvePlot& plot() const { return plot_; }  // as drawn last, without its figure
  bool layingOut() const { return busy_; }

  void fitAll() override;
  void fitStep(StepIndex step) override;  // negative: the newest
  void actualSize() override;             // at least a pixel a step
  void show(const MarkId& mark) override;
  QRect rectOf(const MarkId& mark) const override;
  void glideTo(const CanvasView& target) override;

 Q_SIGNALS:
  void laidOut();

 protected:
  MarkId walk(const MarkId& from, int key) const override;
  void drawOverlay(FigurePainter& painter) override;
  QString emptyText() const override;
  bool isPlot() const override { return true; }
  void panBy(QPointF pixels) override;
  void zoomAbout(QPointF at, float factor) override;
  void mouseDoubleClickEvent(QMouseEvent* event) override;
  void wheelEvent(QWheelEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;

 private:
  // Good until the line grows. Not kept: a snapshot that somebody holds makes the line copy its numbers.
  const CurveSet& set() const { return *line()->curves(); }
  void take();
  void layOut();
  void moveTo(double first, double last);  // as a person does: it is told, and can be taken back
  CanvasView windowAsView() const;
  double span() const { return last() - first(); }
  // The place of a step on the axis; NaN where nothing was measured.
  double placeOf(const MarkId& mark) const;
  void drawPlace(FigurePainter& painter, const MarkId& mark, bool readout);

  CurvePlot plot_;
  double first_ = 0, last_ = 0;
  bool whole_ = true, busy_ = false, again_ = false;
};

}  // namespace decoscope
