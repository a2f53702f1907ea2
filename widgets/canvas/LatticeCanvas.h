// Positions × denoising steps of a diffusion run. GUI thread; the figure is laid out on a pool, the newest
// request wins.
#pragma once

#include "widgets/canvas/FigureCanvas.h"

namespace decoscope {

class LatticeCanvas final : public FigureCanvas {
  Q_OBJECT
 public:
  LatticeCanvas(Line* line, Selection* selection, QWidget* parent = nullptr);
  ~LatticeCanvas() override;
  void setColour(LatticeColour colour);
  LatticeColour colour() const { return colour_; }
  void setThroughStep(StepIndex step);  // scrubbing; -1 shows every step
  StepIndex throughStep() const { return through_; }
  bool layingOut() const { return busy_; }

 Q_SIGNALS:
  void laidOut();

 protected:
  MarkId walk(const MarkId& from, int key) const override;
  void drawOverlay(FigurePainter& painter) override;
  QString emptyText() const override;

 private:
  void layOut();
  LatticeColour colour_ = LatticeColour::confidence;
  StepIndex through_ = -1;
  bool busy_ = false, again_ = false, fitted_ = false;
};

}  // namespace decoscope
