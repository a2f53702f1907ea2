#include "widgets/panels/TranscriptView.h"

#include <QContextMenuEvent>
#include <QFontMetricsF>
#include <QHelpEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QScrollBar>
#include <QToolTip>
#include <algorithm>

#include "widgets/models/Numbers.h"
#include "widgets/style/Style.h"

namespace decoscope {

namespace {

constexpr int kMargin = 14, kRow = 27, kHeight = 21;

QFont tokenFont() {
  QFont font = style::tokenFont();
  font.setPixelSize(14);
  return font;
}

// Denoised text is accepted text here: the tone of committed cells is white, made for a coloured lattice.
Tone tintOf(Provenance provenance) {
  return provenance == Provenance::denoised ? Tone::accepted : toneOf(provenance);
}

}  // namespace

TranscriptView::TranscriptView(Line* line, Selection* selection, QWidget* parent)
    : QAbstractScrollArea(parent), line_(line), selection_(selection) {
  setObjectName("transcript");
  setAccessibleName(tr("Transcript"));
  setFrameShape(QFrame::NoFrame);
  setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  viewport()->setMouseTracking(true);
  setFocusPolicy(Qt::StrongFocus);
  verticalScrollBar()->setSingleStep(kRow);
  connect(line, &Line::reset, this, &TranscriptView::restart);
  connect(line, &Line::appended, this, [this] {
    const bool atEnd = verticalScrollBar()->value() >= verticalScrollBar()->maximum() - 2;
    // Denoised text fills in anywhere; other text only grows.
    if (line_->hasCells())
      restart();
    else
      extend(places_.size());
    setScrollRange();
    if (atEnd) verticalScrollBar()->setValue(verticalScrollBar()->maximum());
    viewport()->update();
  });
  connect(selection, &Selection::changed, this, [this] {
    selectedToken_ = indexOf(selection_->selected());
    if (selectedToken_ >= 0) showToken(selectedToken_);
    viewport()->update();
  });
  connect(selection, &Selection::hoverChanged, this, [this] {
    const int now = indexOf(selection_->hovered());
    if (now == hoveredToken_) return;
    hoveredToken_ = now;
    viewport()->update();
  });
  connect(&style::notifier(), &style::Notifier::changed, viewport(), qOverload<>(&QWidget::update));
  restart();
}

void TranscriptView::restart() {
  places_.clear();
  rowStart_.assign(1, 0);
  penX_ = kMargin;
  selectedToken_ = hoveredToken_ = -1;
  extend(0);
  setScrollRange();
  selectedToken_ = indexOf(selection_->selected());
  verticalScrollBar()->setValue(verticalScrollBar()->maximum());
  viewport()->update();
}

void TranscriptView::extend(std::size_t from) {
  const QFontMetricsF metrics(tokenFont());
  const auto right = static_cast<float>(viewport()->width() - kMargin);
  const std::vector<TextToken>& text = line_->text();
  bool newRow = from > 0 && line_->label(text[from - 1].token).ends_with("⏎");
  for (std::size_t i = from; i < text.size(); ++i) {
    const std::string label = line_->label(text[i].token);
    const auto width = static_cast<float>(metrics.horizontalAdvance(
                           style::withoutLigatures(QString::fromStdString(label)))) +
                       4;
    if (newRow || (penX_ + width > right && penX_ > kMargin)) {
      penX_ = kMargin;
      rowStart_.push_back(static_cast<int>(i));
    }
    places_.push_back({penX_, width, static_cast<int>(rowStart_.size()) - 1});
    penX_ += width + 1;
    newRow = label.ends_with("⏎");
  }
}

void TranscriptView::setScrollRange() {
  const int height = static_cast<int>(rowStart_.size()) * kRow + 2 * 9;
  verticalScrollBar()->setPageStep(viewport()->height());
  verticalScrollBar()->setRange(0, std::max(0, height - viewport()->height()));
}

void TranscriptView::resizeEvent(QResizeEvent* event) {
  QAbstractScrollArea::resizeEvent(event);
  restart();
}

int TranscriptView::tokenAt(QPoint at) const {
  const int row = (at.y() + verticalScrollBar()->value() - 9) / kRow;
  if (row < 0 || row >= static_cast<int>(rowStart_.size())) return -1;
  const int end = row + 1 < static_cast<int>(rowStart_.size()) ? rowStart_[static_cast<std::size_t>(row) + 1]
                                                               : static_cast<int>(places_.size());
  for (int i = rowStart_[static_cast<std::size_t>(row)]; i < end; ++i) {
    const Place& place = places_[static_cast<std::size_t>(i)];
    if (static_cast<float>(at.x()) >= place.x && static_cast<float>(at.x()) < place.x + place.width + 1)
      return i;
  }
  return -1;
}

int TranscriptView::indexOf(const MarkId& mark) const {
  if (mark.kind == MarkId::Kind::none || mark.kind == MarkId::Kind::round) return -1;
  const std::int64_t position = line_->positionOf(mark);
  const auto found = std::lower_bound(line_->text().begin(), line_->text().end(), position,
                                      [](const TextToken& t, std::int64_t p) { return t.position < p; });
  return position >= 0 && found != line_->text().end() && found->position == position &&
                 found - line_->text().begin() < static_cast<std::ptrdiff_t>(places_.size())
             ? static_cast<int>(found - line_->text().begin())
             : -1;
}

void TranscriptView::showToken(int index) {
  const int top = places_[static_cast<std::size_t>(index)].row * kRow;
  QScrollBar* bar = verticalScrollBar();
  if (top < bar->value())
    bar->setValue(top);
  else if (top + kRow + 18 > bar->value() + viewport()->height())
    bar->setValue(top + kRow + 18 - viewport()->height());
}

void TranscriptView::paintEvent(QPaintEvent*) {
  const Theme& theme = style::theme();
  QPainter painter(viewport());
  painter.fillRect(viewport()->rect(), style::colour(theme.panel));
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setFont(tokenFont());
  if (places_.empty()) {
    painter.setFont(style::interfaceFont());
    painter.setPen(style::colour(theme.faint));
    painter.drawText(viewport()->rect().adjusted(kMargin, 0, -kMargin, 0), Qt::AlignVCenter,
                     tr("The text appears here, each token tinted by who wrote it"));
    return;
  }
  const int scroll = verticalScrollBar()->value();
  const int firstRow = std::clamp((scroll - 9) / kRow, 0, static_cast<int>(rowStart_.size()) - 1);
  for (auto i = static_cast<std::size_t>(rowStart_[static_cast<std::size_t>(firstRow)]); i < places_.size();
       ++i) {
    const Place& place = places_[i];
    const int top = place.row * kRow + 9 - scroll;
    if (top > viewport()->height()) break;
    const TextToken& token = line_->text()[i];
    const ToneStyle tone = theme.style(tintOf(token.provenance));
    const QRectF box(place.x, top, place.width, kHeight);
    const bool prompt = token.provenance == Provenance::prompt;
    if (!prompt) {
      painter.fillRect(box, style::colour(tone.fill));
      painter.fillRect(QRectF(place.x, top + kHeight - 1.6, place.width, 1.6), style::colour(tone.edge));
    }
    const bool selected = static_cast<int>(i) == selectedToken_;
    if (selected || static_cast<int>(i) == hoveredToken_) {
      painter.setPen(QPen(style::colour(selected ? tone.edge : theme.dim), selected ? 1.6 : 1));
      painter.setBrush(Qt::NoBrush);
      painter.drawRoundedRect(box.adjusted(-0.5, -1.5, 0.5, 1.5), 3, 3);
    }
    painter.setPen(style::colour(prompt ? theme.dim : theme.text));
    painter.drawText(QPointF(place.x + 2, top + 15.5), style::withoutLigatures(line_->text(token.token)));
  }
}

QString TranscriptView::tooltip(int index) const {
  const TextToken& token = line_->text()[static_cast<std::size_t>(index)];
  QString text = tr("%1   token %2\nposition %3 · %4")
                     .arg(line_->text(token.token))
                     .arg(token.token)
                     .arg(token.position)
                     .arg(QString::fromLatin1(name(token.provenance)));
  if (token.step < 0 || token.step >= line_->count()) return text;
  text += tr(" · step %1").arg(token.step);
  const MarkId mark = line_->markOf(token);
  if (mark.kind != MarkId::Kind::node) return text;
  const Round round =
      roundOf(*line_->step(static_cast<int>(token.step)), line_->rootOf(static_cast<int>(token.step)));
  if (mark.item + 1 >= static_cast<std::int64_t>(round.nodes.size())) return text;
  const RoundNode& node = round.nodes[static_cast<std::size_t>(mark.item) + 1];
  const double p = targetProbability(node);
  text += tr("\ntarget p = %1  (log p = %2 nats)").arg(exactText(p), exactText(std::log(p)));
  if (!std::isnan(node.q)) text += tr("\ndrafter q = %1").arg(exactText(node.q));
  return text;
}

void TranscriptView::mousePressEvent(QMouseEvent* event) {
  const int index = tokenAt(event->pos());
  if (index >= 0 && event->button() == Qt::LeftButton)
    selection_->select(line_->markOf(line_->text()[static_cast<std::size_t>(index)]));
}

void TranscriptView::mouseMoveEvent(QMouseEvent* event) {
  const int index = tokenAt(event->pos());
  viewport()->setCursor(index >= 0 ? Qt::PointingHandCursor : Qt::ArrowCursor);
  selection_->hover(index >= 0 ? line_->markOf(line_->text()[static_cast<std::size_t>(index)]) : MarkId{});
}

void TranscriptView::keyPressEvent(QKeyEvent* event) {
  int to = selectedToken_;
  if (event->key() == Qt::Key_Left)
    --to;
  else if (event->key() == Qt::Key_Right)
    ++to;
  else {
    QAbstractScrollArea::keyPressEvent(event);
    return;
  }
  if (to >= 0 && to < static_cast<int>(places_.size()))
    selection_->select(line_->markOf(line_->text()[static_cast<std::size_t>(to)]));
}

void TranscriptView::contextMenuEvent(QContextMenuEvent* event) {
  const int index = tokenAt(event->pos());
  const MarkId mark = index >= 0 ? line_->markOf(line_->text()[static_cast<std::size_t>(index)]) : MarkId{};
  if (index >= 0) selection_->select(mark);
  Q_EMIT contextMenuWanted(mark, event->globalPos());
}

bool TranscriptView::viewportEvent(QEvent* event) {
  if (event->type() == QEvent::ToolTip) {
    const auto* help = static_cast<QHelpEvent*>(event);
    const int index = tokenAt(help->pos());
    if (index >= 0)
      QToolTip::showText(help->globalPos(), tooltip(index), this);
    else
      QToolTip::hideText();
    return true;
  }
  if (event->type() == QEvent::Leave) selection_->hover({});
  return QAbstractScrollArea::viewportEvent(event);
}

QString TranscriptView::plainText() const {
  if (!line_->source()) return {};
  const auto names = line_->source()->tokens(line_->run());
  std::string bytes;
  for (const TextToken& token : line_->text())
    if (names) bytes += names->bytesOf(token.token);
  return QString::fromUtf8(bytes.data(), static_cast<qsizetype>(bytes.size()));
}

}  // namespace decoscope
