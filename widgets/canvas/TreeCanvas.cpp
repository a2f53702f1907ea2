#include "widgets/canvas/TreeCanvas.h"

#include <QThreadPool>
#include <algorithm>
#include <cstdio>

#include "core/trace/Round.h"
#include "widgets/style/Style.h"

namespace decoscope {

namespace {

constexpr int kChunk = 64;

// One thread, so that chunks arrive in the order they were asked for.
QThreadPool& layoutPool() {
  static QThreadPool* pool = [] {
    auto* made = new QThreadPool;
    made->setMaxThreadCount(1);
    return made;
  }();
  return *pool;
}

}  // namespace

TreeCanvas::TreeCanvas(Line* line, Selection* selection, QWidget* parent)
    : FigureCanvas(line, selection, parent) {
  setObjectName("treeCanvas");
  setAccessibleName(tr("Draft tree"));
  setAccessibleDescription(
      tr("Rounds with their proposed tokens. The Outline tab holds the same as a tree for keyboard and "
         "screen reader."));
  connect(line, &Line::reset, this, &TreeCanvas::restart);
  connect(line, &Line::appended, this, &TreeCanvas::layOut);
  restart();
}

TreeCanvas::~TreeCanvas() {
  layoutPool().waitForDone();
}

void TreeCanvas::restart() {
  ++ticket_;
  mutableItems().clear();
  bottom_ = 0;
  requestedSteps_ = placedSteps_ = 0;
  itemsChanged();
  if (line()->count() > 0) layOut(0, line()->count());
}

void TreeCanvas::layOut(int first, int count) {
  for (int from = first; from < first + count; from += kChunk) {
    const int end = std::min(from + kChunk, first + count);
    std::vector<StepPointer> steps(line()->steps().begin() + from, line()->steps().begin() + end);
    std::vector<TokenId> roots;
    for (int i = from; i < end; ++i) roots.push_back(line()->rootOf(i));
    requestedSteps_ = end;
    layoutPool().start([this, ticket = ticket_, steps = std::move(steps), roots = std::move(roots),
                        label = line()->labels()] {
      auto chunk = std::make_shared<Chunk>();
      chunk->ticket = ticket;
      for (std::size_t i = 0; i < steps.size(); ++i)
        chunk->items.push_back({std::make_shared<FigureIndex>(
                                    std::make_shared<Figure>(layoutTrees({steps[i]}, {roots[i]}, label))),
                                {},
                                steps[i]->step});
      QMetaObject::invokeMethod(
          this, [this, chunk] { take(chunk); }, Qt::QueuedConnection);
    });
  }
}

void TreeCanvas::take(const std::shared_ptr<Chunk>& chunk) {
  if (chunk->ticket != ticket_) return;
  const bool live = placedSteps_ > 0;
  for (Item& item : chunk->items) {
    item.offset = {0, bottom_};
    bottom_ += item.index->figure().bounds.height - 12;
    mutableItems().push_back(std::move(item));
    ++placedSteps_;
  }
  itemsChanged();
  if (live)
    revealStep(items().back().step);
  else if (following())
    fitStep(items().back().step);
  if (!layingOut()) Q_EMIT laidOut();
}

MarkId TreeCanvas::walk(const MarkId& from, int key) const {
  const int last = line()->count() - 1;
  if (last < 0) return {};
  const auto rootOf = [&](int index) {
    return MarkId{MarkId::Kind::node, line()->step(index)->run, index, -1};
  };
  int index = line()->indexOf(from);
  if (index < 0)
    return key == Qt::Key_Left || key == Qt::Key_Right || key == Qt::Key_Up || key == Qt::Key_Down ||
                   key == Qt::Key_R
               ? rootOf(last)
               : MarkId{};
  if (key == Qt::Key_PageDown || key == Qt::Key_N) return index < last ? rootOf(index + 1) : MarkId{};
  if (key == Qt::Key_PageUp || key == Qt::Key_P) return index > 0 ? rootOf(index - 1) : MarkId{};
  if (key == Qt::Key_R) {
    // The next refused node after this one, in this round or a later one.
    for (int i = index; i <= last; ++i)
      for (const Event& event : line()->step(i)->events)
        if (const auto* verdict = std::get_if<VerdictFact>(&event);
            verdict && verdict->verdict == VerdictKind::rejected &&
            (i > index || from.kind != MarkId::Kind::node || verdict->node > from.item))
          return {MarkId::Kind::node, line()->step(i)->run, i, verdict->node};
    return {};
  }
  const Round round = roundOf(*line()->step(index), line()->rootOf(index));
  const auto at = static_cast<std::int32_t>(from.kind == MarkId::Kind::node ? from.item + 1 : 0);
  if (at < 0 || at >= static_cast<std::int32_t>(round.nodes.size())) return {};
  const RoundNode& node = round.nodes[static_cast<std::size_t>(at)];
  const auto mark = [&](std::int32_t i) { return MarkId{MarkId::Kind::node, from.run, index, i - 1}; };
  switch (key) {
    case Qt::Key_Left:
      return node.parent >= 0 ? mark(node.parent) : MarkId{};
    case Qt::Key_Right: {
      if (node.children.empty()) return {};
      // Along the text where there is one.
      for (const std::int32_t child : node.children)
        if (round.nodes[static_cast<std::size_t>(child)].commit) return mark(child);
      return mark(node.children.front());
    }
    case Qt::Key_Up:
    case Qt::Key_Down: {
      if (node.parent < 0)
        return key == Qt::Key_Down ? (index < last ? rootOf(index + 1) : MarkId{})
               : index > 0         ? rootOf(index - 1)
                                   : MarkId{};
      const auto& siblings = round.nodes[static_cast<std::size_t>(node.parent)].children;
      const auto here = std::find(siblings.begin(), siblings.end(), at);
      if (key == Qt::Key_Down)
        return here != siblings.end() && here + 1 != siblings.end() ? mark(*(here + 1)) : MarkId{};
      return here != siblings.begin() ? mark(*(here - 1)) : MarkId{};
    }
    default:
      return {};
  }
}

void TreeCanvas::drawOverlay(FigurePainter& painter) {
  const Theme& theme = style::theme();
  const float height = view().height, width = view().width;
  struct Entry {
    Tone tone;
    const char* text;
    float width;
  };
  const Entry entries[] = {{Tone::accepted, "✓ accepted", 84},
                           {Tone::rejected, "✕ rejected", 84},
                           {Tone::bonus, "★ bonus", 72},
                           {Tone::resampled, "↻ resampled", 94},
                           {Tone::notReached, "not reached", 92}};
  const Rect box{16, height - 42, 622, 27};
  if (width > 700) {
    painter.overlayBox(box, theme.panel, theme.line, 6);
    float x = box.x + 11;
    for (const Entry& entry : entries) {
      const ToneStyle style = theme.style(entry.tone);
      painter.overlayBox({x, box.y + 8, 11, 11}, style.fill, style.edge, 3);
      painter.overlayText({x + 17, box.y + 18}, entry.text, TextFace::interface, 11, theme.dim);
      x += entry.width + 10;
    }
    painter.overlayText({x, box.y + 18}, "bars: q (grey) over p", TextFace::interface, 11, theme.dim);
  }
  StepIndex step = selection()->step();
  if (step < 0 || step >= line()->count()) step = line()->count() - 1;
  if (step < 0) return;
  const RoundSummary& round = line()->round(static_cast<int>(step));
  char text[120];
  std::snprintf(text, sizeof text, "round %lld / %d · %d nodes · depth %d", static_cast<long long>(step),
                line()->count() - 1, round.proposed, round.depth);
  painter.overlayText({width - 16, height - 34}, text, TextFace::interface, 11, theme.dim, TextAlign::right);
  std::snprintf(text, sizeof text, "draft %.1f ms · verify %.1f ms", round.draft, round.verify);
  painter.overlayText({width - 16, height - 18}, text, TextFace::interface, 11, theme.dim, TextAlign::right);
}

QString TreeCanvas::emptyText() const {
  if (!line()->run()) return tr("Start a run: write a prompt and press Step (F10)");
  return line()->expected() > 0 ? tr("Loading…")
                                : tr("Press Step (F10): each round appears here as a draft tree");
}

}  // namespace decoscope
