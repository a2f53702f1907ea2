// The draft trees of a run, one round under the other. GUI thread; figures are laid out on a pool.
#pragma once

#include <atomic>

#include "widgets/canvas/FigureCanvas.h"

namespace decoscope {

class TreeCanvas final : public FigureCanvas {
  Q_OBJECT
 public:
  TreeCanvas(Line* line, Selection* selection, QWidget* parent = nullptr);
  ~TreeCanvas() override;
  bool layingOut() const { return placedSteps_ < requestedSteps_; }

 Q_SIGNALS:
  void laidOut();

 protected:
  MarkId walk(const MarkId& from, int key) const override;
  void drawOverlay(FigurePainter& painter) override;
  QString emptyText() const override;

 private:
  struct Chunk {
    std::uint64_t ticket = 0;
    std::vector<Item> items;  // offsets still from 0
  };
  void restart();
  void layOut(int first, int count);
  void take(const std::shared_ptr<Chunk>& chunk);

  std::uint64_t ticket_ = 0;
  int requestedSteps_ = 0, placedSteps_ = 0;
  float bottom_ = 0;
};

}  // namespace decoscope
