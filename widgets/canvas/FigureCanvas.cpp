#include "widgets/canvas/FigureCanvas.h"

#include <QContextMenuEvent>
#include <QHelpEvent>
#include <QMouseEvent>
#include <QToolTip>
#include <QWheelEvent>
#include <algorithm>
#include <cmath>
#include <utility>

#include "widgets/style/Style.h"

namespace decoscope {

namespace {

constexpr float kSmallestZoom = 0.01f, kLargestZoom = 8;
// A new round slides in from the right, then what was kept lights up.
constexpr int kMotionMilliseconds = 150, kRevealMilliseconds = 150, kLightMilliseconds = 300;
constexpr float kSlide = 36;
constexpr float kMargin = 14;

float smooth(float t) {
  return t * t * (3 - 2 * t);
}

}  // namespace

FigureCanvas::FigureCanvas(Line* line, Selection* selection, QWidget* parent)
    : CanvasHost(parent), line_(line), selection_(selection) {
  setMinimumSize(240, 160);
  motion_.setInterval(15);
  connect(&motion_, &QTimer::timeout, this, &FigureCanvas::tick);
  connect(selection_, &Selection::changed, this, [this] {
    if (isVisible() && selection_->selected().kind != MarkId::Kind::none) show(selection_->selected());
    update();
  });
  connect(selection_, &Selection::hoverChanged, this, qOverload<>(&QWidget::update));
  connect(&style::notifier(), &style::Notifier::changed, this, qOverload<>(&QWidget::update));
}

Rect FigureCanvas::bounds() const {
  if (items_.empty()) return {0, 0, 1, 1};
  Rect all = items_.front().bounds();
  for (const Item& item : items_) {
    const Rect b = item.bounds();
    const float right = std::max(all.x + all.width, b.x + b.width),
                bottom = std::max(all.y + all.height, b.y + b.height);
    all.x = std::min(all.x, b.x);
    all.y = std::min(all.y, b.y);
    all.width = right - all.x;
    all.height = bottom - all.y;
  }
  return all;
}

void FigureCanvas::visit(const Rect& area, const std::function<void(const Item&)>& each) const {
  auto item = std::partition_point(items_.begin(), items_.end(),
                                   [&](const Item& i) { return i.bounds().y + i.bounds().height < area.y; });
  for (; item != items_.end() && item->bounds().y < area.y + area.height; ++item) each(*item);
}

void FigureCanvas::itemsChanged() {
  if (items_.empty()) placed_ = false;
  update();
  Q_EMIT viewChanged();
}

void FigureCanvas::setView(const CanvasView& view) {
  view_.origin = view.origin;
  view_.zoom = std::clamp(view.zoom, kSmallestZoom, kLargestZoom);
  gliding_ = false;
  placed_ = true;
  update();
  Q_EMIT viewChanged();
}

void FigureCanvas::setFollowing(bool follow) {
  if (follow == following_) return;
  following_ = follow;
  if (follow && !items_.empty()) fitStep(items_.back().step);
  Q_EMIT followingChanged(follow);
}

void FigureCanvas::glideTo(const CanvasView& target) {
  CanvasView goal = target;
  goal.zoom = std::clamp(goal.zoom, kSmallestZoom, kLargestZoom);
  if (style::reducedMotion() || !placed_ || !isVisible()) {
    setView(goal);
    return;
  }
  from_ = view_;
  target_ = goal;
  gliding_ = true;
  motionClock_.start();
  motion_.start();
}

void FigureCanvas::tick() {
  if (gliding_) {
    const float t = std::min(1.0f, static_cast<float>(motionClock_.elapsed()) / kMotionMilliseconds),
                s = smooth(t);
    view_.zoom = from_.zoom * std::pow(target_.zoom / from_.zoom, s);
    view_.origin = {from_.origin.x + (target_.origin.x - from_.origin.x) * s,
                    from_.origin.y + (target_.origin.y - from_.origin.y) * s};
    if (t >= 1) gliding_ = false;
    Q_EMIT viewChanged();
  }
  const bool revealing = revealed_ >= 0 && revealClock_.elapsed() < kLightMilliseconds;
  if (!revealing) revealed_ = -1;
  // Nothing is repainted when nothing moves.
  if (!gliding_ && !revealing) motion_.stop();
  update();
}

void FigureCanvas::tell(const CanvasView& before) {
  const CanvasView& after = gliding_ ? target_ : view_;
  if (before.zoom != after.zoom || before.origin.x != after.origin.x || before.origin.y != after.origin.y)
    Q_EMIT moved(before, after);
}

void FigureCanvas::fitAll() {
  const CanvasView before = view_;
  const Rect all = bounds();
  CanvasView goal = view_;
  goal.zoom = std::clamp(std::min((static_cast<float>(width()) - 2 * kMargin) / std::max(1.0f, all.width),
                                  (static_cast<float>(height()) - 2 * kMargin) / std::max(1.0f, all.height)),
                         kSmallestZoom, 1.0f);
  goal.origin = {all.x - kMargin / goal.zoom, all.y - kMargin / goal.zoom};
  glideTo(goal);
  tell(before);
}

void FigureCanvas::fitStep(StepIndex step) {
  const auto item = std::find_if(items_.rbegin(), items_.rend(),
                                 [&](const Item& i) { return i.step == step || i.step < 0; });
  if (item == items_.rend()) return;
  const Rect b = item->bounds();
  CanvasView goal = view_;
  // Text stays legible: a round that is larger than the window is shown from its root.
  goal.zoom = std::clamp(std::min((static_cast<float>(width()) - 2 * kMargin) / b.width,
                                  (static_cast<float>(height()) - 2 * kMargin - 40) / b.height),
                         0.85f, 1.0f);
  goal.origin = {b.x - kMargin / goal.zoom, b.y - kMargin / goal.zoom};
  // A short round leaves room: show what came before it.
  const float spare = (static_cast<float>(height()) - 64) / goal.zoom - b.height;
  if (spare > 0)
    goal.origin.y = std::max(items_.front().bounds().y - kMargin / goal.zoom, goal.origin.y - spare);
  glideTo(goal);
}

void FigureCanvas::zoomBy(float factor) {
  zoomAbout(QPointF(width() / 2.0, height() / 2.0), factor);
}
void FigureCanvas::actualSize() {
  zoomBy(1 / view_.zoom);
}

void FigureCanvas::zoomAbout(QPointF at, float factor) {
  const Point fixed = view_.toFigure({static_cast<float>(at.x()), static_cast<float>(at.y())});
  CanvasView goal = view_;
  goal.zoom = std::clamp(view_.zoom * factor, kSmallestZoom, kLargestZoom);
  goal.origin = {fixed.x - static_cast<float>(at.x()) / goal.zoom,
                 fixed.y - static_cast<float>(at.y()) / goal.zoom};
  const CanvasView before = view_;
  setView(goal);
  tell(before);
}

void FigureCanvas::panBy(QPointF pixels) {
  CanvasView goal = view_;
  goal.origin.x -= static_cast<float>(pixels.x()) / view_.zoom;
  goal.origin.y -= static_cast<float>(pixels.y()) / view_.zoom;
  const CanvasView before = view_;
  setView(goal);
  tell(before);
}

const FigureBox* FigureCanvas::boxOf(const MarkId& mark, Point* offset) const {
  for (const Item& item : items_) {
    if (item.step >= 0 && item.step != mark.step) continue;
    const std::int64_t found = item.index->find(mark);
    if (found < 0) continue;
    if (offset) *offset = item.offset;
    return &item.index->figure().boxes[static_cast<std::size_t>(found)];
  }
  return nullptr;
}

QRect FigureCanvas::rectOf(const MarkId& mark) const {
  Point offset;
  const FigureBox* box = boxOf(mark, &offset);
  if (!box) return {};
  const Point at = view_.toScreen({box->rect.x + offset.x, box->rect.y + offset.y});
  return QRectF(at.x, at.y, box->rect.width * view_.zoom, box->rect.height * view_.zoom).toRect();
}

void FigureCanvas::show(const MarkId& mark) {
  if (mark.kind == MarkId::Kind::round) {
    fitStep(mark.step);
    return;
  }
  const QRect place = rectOf(mark);
  if (place.isNull()) return;
  const QRect inside = rect().adjusted(24, 24, -24, -64);
  if (inside.contains(place)) return;
  CanvasView goal = gliding_ ? target_ : view_;
  const auto shift = [&](int low, int high, int from, int to) {
    return low < from ? low - from : high > to ? high - to : 0;
  };
  goal.origin.x +=
      static_cast<float>(shift(place.left(), place.right(), inside.left(), inside.right())) / view_.zoom;
  goal.origin.y +=
      static_cast<float>(shift(place.top(), place.bottom(), inside.top(), inside.bottom())) / view_.zoom;
  glideTo(goal);
}

void FigureCanvas::revealStep(StepIndex step) {
  if (following_) fitStep(step);
  if (style::reducedMotion() || !isVisible()) return;
  revealed_ = step;
  revealClock_.start();
  motion_.start();
}

Colour FigureCanvas::clearColour() const {
  return style::theme().background;
}

void FigureCanvas::drawFrame(ImDrawList& list, FigurePainter& painter, GlyphSource& glyphs) {
  view_.width = static_cast<float>(width());
  view_.height = static_cast<float>(height());
  painter.begin(list, view_, style::theme(), !isPlot());
  Emphasis emphasis;
  if (!isPlot()) emphasis = {selection_->selected(), selection_->hovered()};
  const auto elapsed = revealed_ >= 0 ? static_cast<float>(revealClock_.elapsed()) : 1e6f;
  const float reveal = smooth(std::clamp(elapsed / kRevealMilliseconds, 0.0f, 1.0f)),
              lit = std::clamp(
                  (elapsed - kRevealMilliseconds / 2.0f) / (kLightMilliseconds - kRevealMilliseconds / 2.0f),
                  0.0f, 1.0f);
  const Rect visible = view_.visible();
  visit(visible, [&](const Item& item) {
    Emphasis own = emphasis;
    if (item.step >= 0 && own.selected.step != item.step) own.selected = {};
    if (item.step >= 0 && own.hovered.step != item.step) own.hovered = {};
    Point offset = item.offset;
    if (revealed_ >= 0 && item.step == revealed_) {
      own.reveal = reveal;
      own.lit = lit;
      offset.x += (1 - reveal) * kSlide / view_.zoom;
    }
    painter.figure(*item.index, offset, own);
  });
  painter.text(glyphs);
  if (items_.empty()) {
    const QByteArray text = emptyText().toUtf8();
    painter.overlayText({view_.width / 2, view_.height / 2}, text.constData(), TextFace::interface, 13,
                        style::theme().faint, TextAlign::centre);
  } else {
    drawOverlay(painter);
  }
  painter.finish(glyphs);
}

const FigureBox* FigureCanvas::boxAt(const QPointF& at) const {
  const Point p = view_.toFigure({static_cast<float>(at.x()), static_cast<float>(at.y())});
  const FigureBox* found = nullptr;
  visit({p.x, p.y, 0.01f, 0.01f}, [&](const Item& item) {
    const std::int64_t hit = item.index->hit({p.x - item.offset.x, p.y - item.offset.y});
    if (hit >= 0) found = &item.index->figure().boxes[static_cast<std::size_t>(hit)];
  });
  return found;
}

void FigureCanvas::mousePressEvent(QMouseEvent* event) {
  pressedAt_ = lastAt_ = event->position();
  moved_ = false;
  dragging_ = event->button() == Qt::LeftButton || event->button() == Qt::MiddleButton;
}

void FigureCanvas::mouseMoveEvent(QMouseEvent* event) {
  if (dragging_) {
    if (!moved_ && (event->position() - pressedAt_).manhattanLength() < 4) return;
    moved_ = true;
    setCursor(Qt::ClosedHandCursor);
    setFollowing(false);
    panBy(event->position() - std::exchange(lastAt_, event->position()));
    return;
  }
  const FigureBox* box = boxAt(event->position());
  selection_->hover(box ? box->id : MarkId{});
  setCursor(box ? Qt::PointingHandCursor : Qt::ArrowCursor);
}

void FigureCanvas::mouseReleaseEvent(QMouseEvent* event) {
  setCursor(Qt::ArrowCursor);
  if (dragging_ && !moved_ && event->button() == Qt::LeftButton)
    if (const FigureBox* box = boxAt(event->position())) selection_->select(box->id);
  dragging_ = false;
}

void FigureCanvas::mouseDoubleClickEvent(QMouseEvent* event) {
  const FigureBox* box = boxAt(event->position());
  if (!box) return fitAll();
  const CanvasView before = view_;
  fitStep(box->id.step);
  tell(before);
}

void FigureCanvas::wheelEvent(QWheelEvent* event) {
  const QPoint pixels = event->pixelDelta().isNull() ? event->angleDelta() / 2 : event->pixelDelta();
  if (event->modifiers() & Qt::ControlModifier) {
    zoomAbout(event->position(), std::exp(static_cast<float>(event->angleDelta().y()) / 600.0f));
  } else {
    setFollowing(false);
    const bool sideways = event->modifiers() & Qt::ShiftModifier;
    panBy(sideways ? QPointF(pixels.y(), 0) : QPointF(pixels));
  }
  event->accept();
}

void FigureCanvas::keyPressEvent(QKeyEvent* event) {
  switch (event->key()) {
    case Qt::Key_Plus:
    case Qt::Key_Equal:
      return zoomBy(1.25f);
    case Qt::Key_Minus:
      return zoomBy(0.8f);
    case Qt::Key_0:
      return actualSize();
    case Qt::Key_Home:
      return fitAll();
    case Qt::Key_Menu: {
      const QRect place = rectOf(selection_->selected());
      Q_EMIT contextMenuWanted(selection_->selected(),
                               mapToGlobal(place.isNull() ? rect().center() : place.center()));
      return;
    }
    default:
      break;
  }
  const MarkId next = walk(selection_->selected(), event->key());
  if (next.kind == MarkId::Kind::none) {
    CanvasHost::keyPressEvent(event);
    return;
  }
  setFollowing(false);
  selection_->select(next);
}

void FigureCanvas::contextMenuEvent(QContextMenuEvent* event) {
  const FigureBox* box = boxAt(event->pos());
  if (box) selection_->select(box->id);
  Q_EMIT contextMenuWanted(box ? box->id : MarkId{}, event->globalPos());
}

void FigureCanvas::leaveEvent(QEvent* event) {
  selection_->hover({});
  CanvasHost::leaveEvent(event);
}

void FigureCanvas::resizeEvent(QResizeEvent* event) {
  CanvasHost::resizeEvent(event);
  if (following_ && !items_.empty()) fitStep(items_.back().step);
}

bool FigureCanvas::event(QEvent* event) {
  if (event->type() == QEvent::ToolTip) {
    const auto* help = static_cast<QHelpEvent*>(event);
    const FigureBox* box = boxAt(help->pos());
    if (box)
      QToolTip::showText(help->globalPos(), QString::fromStdString(box->tooltip), this);
    else
      QToolTip::hideText();
    return true;
  }
  return CanvasHost::event(event);
}

}  // namespace decoscope
