#include "widgets/canvas/CurveCanvas.h"

#include <QMouseEvent>
#include <QThreadPool>
#include <QWheelEvent>
#include <algorithm>
#include <cmath>

#include "widgets/models/Numbers.h"
#include "widgets/style/Style.h"

namespace decoscope {

namespace {

constexpr double kSmallestSpan = 2;  // steps
constexpr std::size_t kReadoutRows = 12;

}  // namespace

CurveCanvas::CurveCanvas(Line* line, Selection* selection, QWidget* parent)
    : FigureCanvas(line, selection, parent) {
  setObjectName("curveCanvas");
  setAccessibleName(tr("Curves"));
  setAccessibleDescription(
      tr("Measured numbers over steps. The Outline tab holds the same as a table for keyboard and screen "
         "reader."));
  connect(line, &Line::reset, this, [this] {
    whole_ = true;
    take();
  });
  connect(line, &Line::appended, this, &CurveCanvas::take);
  take();
}

CurveCanvas::~CurveCanvas() {
  while (busy_ && !QThreadPool::globalInstance()->waitForDone(50)) {
  }
}

void CurveCanvas::take() {
  // The newest step stays in sight, unless a person has looked elsewhere.
  if (!whole_ && following() && set().last() > last_) {
    const double width = span();
    last_ = set().last();
    first_ = last_ - width;
  }
  layOut();
}

void CurveCanvas::layOut() {
  if (busy_) {
    again_ = true;
    return;
  }
  if (set().empty()) {
    plot_ = {};
    if (!items().empty()) {
      mutableItems().clear();
      itemsChanged();
    }
    Q_EMIT laidOut();
    return;
  }
  busy_ = true;
  const CurveOptions options{static_cast<float>(width()), static_cast<float>(height()), first(), last()};
  QThreadPool::globalInstance()->start([this, set = line()->curves(), options]() mutable {
    auto plot = std::make_shared<CurvePlot>(layoutCurves(*set, options));
    // The line goes on in place where nobody else holds its numbers.
    set.reset();
    auto index = std::make_shared<FigureIndex>(std::make_shared<Figure>(std::move(plot->figure)));
    QMetaObject::invokeMethod(
        this,
        [this, plot, index] {
          busy_ = false;
          plot->figure = {};
          plot_ = std::move(*plot);
          mutableItems().assign(1, Item{index, {}, -1});
          CanvasView view;
          view.origin.y =
              std::clamp(this->view().origin.y, 0.0f,
                         std::max(0.0f, index->figure().bounds.height - static_cast<float>(height())));
          setView(view);
          itemsChanged();
          if (std::exchange(again_, false)) return layOut();
          Q_EMIT laidOut();
        },
        Qt::QueuedConnection);
  });
}

// ---- The window on the steps

CanvasView CurveCanvas::windowAsView() const {
  // Told as a view, so that what undoes a zoom needs to know nothing of curves: no width means everything.
  CanvasView view;
  view.origin.x = static_cast<float>(first());
  view.width = whole_ ? 0 : static_cast<float>(span());
  return view;
}

void CurveCanvas::setWindow(double first, double last) {
  const double whole = set().last() - set().first();
  double width = std::max(last - first, kSmallestSpan);
  whole_ = !(width < whole);
  if (!whole_) {
    first_ = std::clamp(first, set().first(), set().last() - width);
    last_ = first_ + width;
  }
  layOut();
}

void CurveCanvas::moveTo(double first, double last) {
  const CanvasView before = windowAsView();
  setWindow(first, last);
  if (this->last() < set().last()) setFollowing(false);
  const CanvasView after = windowAsView();
  if (before.origin.x != after.origin.x || before.width != after.width) Q_EMIT moved(before, after);
}

void CurveCanvas::glideTo(const CanvasView& target) {
  if (target.width <= 0)
    setWindow(set().first(), set().last());
  else
    setWindow(target.origin.x, target.origin.x + target.width);
}

void CurveCanvas::panBy(QPointF pixels) {
  if (plot_.panels.empty()) return;
  CanvasView down = view();
  const float room = std::max(0.0f, bounds().height - static_cast<float>(height()));
  down.origin.y = std::clamp(down.origin.y - static_cast<float>(pixels.y()), 0.0f, room);
  if (down.origin.y != view().origin.y) setView(down);
  const double steps = pixels.x() * span() / static_cast<double>(plot_.panels.front().plot.width);
  if (!whole_ && steps != 0) moveTo(first() - steps, last() - steps);
}

void CurveCanvas::zoomAbout(QPointF at, float factor) {
  if (plot_.panels.empty() || !(factor > 0)) return;
  // By the window as it is now: what is drawn may be a layout behind.
  const Rect& plot = plot_.panels.front().plot;
  const double share = (at.x() - static_cast<double>(plot.x)) / static_cast<double>(plot.width);
  const double pivot = first() + std::clamp(share, 0.0, 1.0) * span();
  moveTo(pivot - (pivot - first()) / static_cast<double>(factor),
         pivot + (last() - pivot) / static_cast<double>(factor));
}

void CurveCanvas::fitAll() {
  moveTo(set().first(), set().last());
}

void CurveCanvas::actualSize() {
  if (plot_.panels.empty()) return;
  const double middle = (first() + last()) / 2,
               half = static_cast<double>(plot_.panels.front().plot.width) / 2;
  moveTo(middle - half, middle + half);
}

void CurveCanvas::fitStep(StepIndex step) {
  if (whole_) return;
  const double width = span(),
               place = step < 0 ? set().last() - width / 2 : placeOf({MarkId::Kind::round, {}, step, -1});
  if (!std::isnan(place)) setWindow(place - width / 2, place + width / 2);
}

void CurveCanvas::show(const MarkId& mark) {
  const double place = placeOf(mark);
  if (whole_ || std::isnan(place) || (place >= first() && place <= last())) return;
  setFollowing(false);
  setWindow(place - span() / 2, place + span() / 2);
}

void CurveCanvas::mouseDoubleClickEvent(QMouseEvent*) {
  fitAll();
}

void CurveCanvas::wheelEvent(QWheelEvent* event) {
  if (event->modifiers() & Qt::ControlModifier) return FigureCanvas::wheelEvent(event);
  // Whichever way the wheel turns, steps are what there is to go along.
  const QPoint pixels = event->pixelDelta().isNull() ? event->angleDelta() / 2 : event->pixelDelta();
  panBy(QPointF(pixels.x() != 0 ? pixels.x() : pixels.y(), 0));
  event->accept();
}

void CurveCanvas::resizeEvent(QResizeEvent* event) {
  CanvasHost::resizeEvent(event);
  layOut();
}

// ---- Marks

double CurveCanvas::placeOf(const MarkId& mark) const {
  if (mark.step < 0 || mark.step >= line()->count()) return kUnknown;
  const StepPointer& step = line()->step(static_cast<int>(mark.step));
  for (const Event& event : step->events)
    if (const auto* fact = std::get_if<MeasureFact>(&event))
      return static_cast<double>(fact->at < 0 ? step->step : fact->at);
  return kUnknown;
}

QRect CurveCanvas::rectOf(const MarkId& mark) const {
  const double place = placeOf(mark);
  if (std::isnan(place) || place < first() || place > last()) return {};
  for (const CurvePanel& panel : plot_.panels)
    if (mark.kind != MarkId::Kind::measure ||
        std::find(panel.curves.begin(), panel.curves.end(), static_cast<std::size_t>(mark.item)) !=
            panel.curves.end())
      return QRectF(plot_.xOf(place) - 3, panel.plot.y - view().origin.y, 6, panel.plot.height).toRect();
  return {};
}

MarkId CurveCanvas::walk(const MarkId& from, int key) const {
  const std::vector<Curve>& curves = set().curves();
  if (curves.empty()) return {};
  int along = 0, across = 0;
  switch (key) {
    case Qt::Key_Left:
      along = -1;
      break;
    case Qt::Key_Right:
      along = 1;
      break;
    case Qt::Key_Up:
      across = -1;
      break;
    case Qt::Key_Down:
      across = 1;
      break;
    case Qt::Key_PageUp:
    case Qt::Key_PageDown:
    case Qt::Key_End:
      break;
    default:
      return {};
  }
  const bool known = line()->indexOf(from) >= 0;
  const auto last = static_cast<std::int64_t>(curves.size()) - 1;
  const std::int64_t curve =
      std::clamp<std::int64_t>((from.kind == MarkId::Kind::measure ? from.item : 0) + across, 0, last);
  const std::vector<CurvePoint>& points = curves[static_cast<std::size_t>(curve)].points;
  const auto end = static_cast<std::int64_t>(points.size()) - 1;
  // The value at this step, else the one before it.
  std::int64_t at =
      std::upper_bound(points.begin(), points.end(), from.step,
                       [](StepIndex step, const CurvePoint& point) { return step < point.step; }) -
      points.begin() - 1;
  const double shown =
      static_cast<double>(points.size()) * span() / std::max(set().last() - set().first(), 1.0);
  const auto page = static_cast<std::int64_t>(std::max(1.0, shown / 10));
  if (!known || key == Qt::Key_End)
    at = end;
  else if (key == Qt::Key_PageUp)
    at -= page;
  else if (key == Qt::Key_PageDown)
    at += page;
  else
    at += along;
  const CurvePoint& point = points[static_cast<std::size_t>(std::clamp<std::int64_t>(at, 0, end))];
  return {MarkId::Kind::measure, point.run, point.step, curve};
}

void CurveCanvas::drawOverlay(FigurePainter& painter) {
  const MarkId &selected = selection()->selected(), &hovered = selection()->hovered();
  drawPlace(painter, selected, hovered.kind == MarkId::Kind::none);
  if (hovered.kind != MarkId::Kind::none) drawPlace(painter, hovered, true);
}

void CurveCanvas::drawPlace(FigurePainter& painter, const MarkId& mark, bool readout) {
  const double place = placeOf(mark);
  if (plot_.panels.empty() || std::isnan(place) || place < plot_.first || place > plot_.last) return;
  const Theme& theme = style::theme();
  const float x = plot_.xOf(place), up = view().origin.y;
  const StepPointer& step = line()->step(static_cast<int>(mark.step));
  struct Row {
    std::string text, value;
    Colour colour;
  };
  std::vector<Row> rows;
  for (const CurvePanel& panel : plot_.panels)
    painter.overlayLine({std::round(x), panel.plot.y - up},
                        {std::round(x), panel.plot.y - up + panel.plot.height}, theme.dim, 1);
  for (const Event& event : step->events) {
    const auto* fact = std::get_if<MeasureFact>(&event);
    if (!fact) continue;
    const std::size_t curve = set().indexOf(*fact);
    const Colour colour = theme.style(curveTone(curve)).edge;
    rows.push_back({fact->name, significant(fact->value, 5).toStdString(), colour});
    for (const CurvePanel& panel : plot_.panels) {
      if (std::find(panel.curves.begin(), panel.curves.end(), curve) == panel.curves.end()) continue;
      const float y = panel.yOf(fact->value);
      if (std::isfinite(y) && y >= panel.plot.y && y <= panel.plot.y + panel.plot.height)
        painter.overlayBox({x - 3.5f, y - up - 3.5f, 7, 7}, colour, theme.background, 3.5f);
    }
  }
  if (!readout || rows.empty()) return;
  if (rows.size() > kReadoutRows) {
    rows.resize(kReadoutRows);
    rows.push_back({"…", {}, theme.dim});
  }
  std::size_t longest = 8, widest = 4;
  for (const Row& row : rows)
    longest = std::max(longest, row.text.size()), widest = std::max(widest, row.value.size());
  constexpr float kAdvance = 6.6f, kPitch = 17, kInside = 10;
  const float width = kAdvance * static_cast<float>(longest + widest + 2) + 2 * kInside,
              height = kPitch * static_cast<float>(rows.size() + 1) + 12;
  const Rect& plot = plot_.panels.front().plot;
  const float left = x + 14 + width < plot.x + plot.width ? x + 14 : x - 14 - width;
  const Rect box{std::max(left, 4.0f), plot.y - up + 6, width, height};
  painter.overlayBox(box, theme.raised, theme.line, 6);
  float y = box.y + 18;
  painter.overlayText({box.x + kInside, y}, tr("step %1").arg(QString::number(place, 'f', 0)).toStdString(),
                      TextFace::interface, 11, theme.text);
  for (const Row& row : rows) {
    y += kPitch;
    painter.overlayText({box.x + kInside, y}, row.text, TextFace::interface, 11, row.colour);
    painter.overlayText({box.x + width - kInside, y}, row.value, TextFace::token, 11, theme.text,
                        TextAlign::right);
  }
}

QString CurveCanvas::emptyText() const {
  return tr("Nothing was measured in this run: trainings have curves");
}

}  // namespace decoscope
