#include "widgets/canvas/LatticeCanvas.h"

#include <QThreadPool>
#include <algorithm>
#include <cstdio>

#include "widgets/style/Style.h"

namespace decoscope {

LatticeCanvas::LatticeCanvas(Line* line, Selection* selection, QWidget* parent)
    : FigureCanvas(line, selection, parent) {
  setObjectName("latticeCanvas");
  setAccessibleName(tr("Token lattice"));
  setAccessibleDescription(
      tr("Canvas positions by denoising steps. The Outline tab holds the same as a table for keyboard and "
         "screen reader."));
  setFollowing(false);
  connect(line, &Line::reset, this, [this] {
    fitted_ = false;
    through_ = -1;
    layOut();
  });
  connect(line, &Line::appended, this, &LatticeCanvas::layOut);
  layOut();
}

LatticeCanvas::~LatticeCanvas() {
  while (busy_ && !QThreadPool::globalInstance()->waitForDone(50)) {
  }
}

void LatticeCanvas::setColour(LatticeColour colour) {
  colour_ = colour;
  layOut();
}

void LatticeCanvas::setThroughStep(StepIndex step) {
  if (step == through_) return;
  through_ = step;
  layOut();
}

void LatticeCanvas::layOut() {
  if (!line()->hasCells()) {
    mutableItems().clear();
    itemsChanged();
    Q_EMIT laidOut();
    return;
  }
  if (busy_) {
    again_ = true;
    return;
  }
  busy_ = true;
  QThreadPool::globalInstance()->start([this, steps = line()->steps(), label = line()->labels(),
                                        colour = colour_, through = through_, run = line()->run()] {
    auto index =
        std::make_shared<FigureIndex>(std::make_shared<Figure>(layoutLattice(steps, label, colour, through)));
    QMetaObject::invokeMethod(
        this,
        [this, index, run] {
          busy_ = false;
          if (again_ || run != line()->run()) {
            again_ = false;
            layOut();
            return;
          }
          mutableItems().assign(1, Item{index, {}, -1});
          itemsChanged();
          if (!fitted_) fitAll();
          fitted_ = true;
          Q_EMIT laidOut();
        },
        Qt::QueuedConnection);
  });
}

MarkId LatticeCanvas::walk(const MarkId& from, int key) const {
  if (items().empty()) return {};
  const Figure& figure = items().front().index->figure();
  if (from.kind != MarkId::Kind::cell || items().front().index->find(from) < 0) {
    if (key != Qt::Key_Left && key != Qt::Key_Right && key != Qt::Key_Up && key != Qt::Key_Down) return {};
    for (const FigureBox& box : figure.boxes)
      if (box.id.kind == MarkId::Kind::cell) return box.id;
    return {};
  }
  MarkId next = from;
  if (key == Qt::Key_Left)
    --next.item;
  else if (key == Qt::Key_Right)
    ++next.item;
  else if (key == Qt::Key_Up)
    --next.step;
  else if (key == Qt::Key_Down)
    ++next.step;
  else
    return {};
  if (next.step >= 0 && next.step < line()->count())
    next.run = line()->step(static_cast<int>(next.step))->run;
  return items().front().index->find(next) >= 0 ? next : MarkId{};
}

void LatticeCanvas::drawOverlay(FigurePainter& painter) {
  const Theme& theme = style::theme();
  const float height = view().height, width = view().width;
  if (width < 560) return;
  const Rect box{16, height - 42, 512, 27};
  painter.overlayBox(box, theme.panel, theme.line, 6);
  const float base = box.y + 18;
  const char* names[] = {"confidence 0", "entropy 0", "first step"};
  const char* ends[] = {"1", "6 nats", "last"};
  const auto which = static_cast<std::size_t>(colour_);
  painter.overlayText({box.x + 10, base}, names[which], TextFace::interface, 11, theme.dim);
  for (int i = 0; i < 24; ++i) {
    const Colour c = sequentialColour(static_cast<float>(i) / 23);
    painter.overlayBox({box.x + 84 + static_cast<float>(i) * 4, box.y + 9, 4, 9}, c, c, 0);
  }
  painter.overlayText({box.x + 186, base}, ends[which], TextFace::interface, 11, theme.dim);
  painter.overlayBox({box.x + 236, box.y + 8, 11, 11}, theme.panel, theme.style(Tone::committed).edge, 3);
  painter.overlayText({box.x + 253, base}, "committed now", TextFace::interface, 11, theme.dim);
  painter.overlayBox({box.x + 348, box.y + 8, 11, 11}, theme.panel, theme.style(Tone::remasked).edge, 3);
  painter.overlayText({box.x + 365, base}, "re-masked", TextFace::interface, 11, theme.dim);
  painter.overlayText({box.x + 436, base}, "┊ block", TextFace::interface, 11, theme.dim);
  char text[120];
  std::snprintf(text, sizeof text, "step %lld / %d · %zu tokens committed",
                static_cast<long long>(through_ < 0 ? line()->count() - 1 : through_), line()->count() - 1,
                static_cast<std::size_t>(
                    std::count_if(line()->text().begin(), line()->text().end(), [&](const TextToken& t) {
                      return t.step >= 0 && (through_ < 0 || t.step <= through_);
                    })));
  painter.overlayText({width - 16, base}, text, TextFace::interface, 11, theme.dim, TextAlign::right);
}

QString LatticeCanvas::emptyText() const {
  return tr("This run has no lattice: only masked-diffusion methods make one");
}

}  // namespace decoscope
