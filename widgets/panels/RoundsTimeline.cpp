#include "widgets/panels/RoundsTimeline.h"

#include <QHelpEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QPainterPath>
#include <QScrollBar>
#include <QToolTip>
#include <QWheelEvent>
#include <algorithm>

#include "widgets/models/Numbers.h"
#include "widgets/style/Style.h"

namespace decoscope {

namespace {
constexpr int kBar = 26, kPitch = 32, kLeft = 14, kTop = 28, kDots = 16;
}

RoundsTimeline::RoundsTimeline(Line* line, Selection* selection, QWidget* parent)
    : QAbstractScrollArea(parent), line_(line), selection_(selection) {
  setObjectName("rounds");
  setAccessibleName(tr("Rounds timeline"));
  setFrameShape(QFrame::NoFrame);
  setVerticalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  viewport()->setMouseTracking(true);
  setFocusPolicy(Qt::StrongFocus);
  connect(line, &Line::reset, this, [this] { setScrollRange(true); });
  connect(line, &Line::appended, this, [this] {
    setScrollRange(horizontalScrollBar()->value() >= horizontalScrollBar()->maximum() - kPitch);
  });
  connect(selection, &Selection::changed, this, [this] {
    const auto step = static_cast<int>(selection_->step());
    if (step >= 0) {
      const int x = kLeft + step * kPitch;
      QScrollBar* bar = horizontalScrollBar();
      if (x < bar->value())
        bar->setValue(x - kLeft);
      else if (x + kPitch > bar->value() + viewport()->width())
        bar->setValue(x + kPitch - viewport()->width());
    }
    viewport()->update();
  });
  connect(horizontalScrollBar(), &QScrollBar::valueChanged, viewport(), qOverload<>(&QWidget::update));
  connect(&style::notifier(), &style::Notifier::changed, viewport(), qOverload<>(&QWidget::update));
}

void RoundsTimeline::setScrollRange(bool toEnd) {
  QScrollBar* bar = horizontalScrollBar();
  bar->setPageStep(viewport()->width());
  bar->setSingleStep(kPitch);
  bar->setRange(0, std::max(0, 2 * kLeft + line_->count() * kPitch - viewport()->width()));
  if (toEnd) bar->setValue(bar->maximum());
  viewport()->update();
}

void RoundsTimeline::resizeEvent(QResizeEvent* event) {
  QAbstractScrollArea::resizeEvent(event);
  setScrollRange(false);
}

int RoundsTimeline::roundAt(QPoint at) const {
  const int x = at.x() + horizontalScrollBar()->value() - kLeft + (kPitch - kBar) / 2;
  const int round = x / kPitch;
  return x >= 0 && round < line_->count() ? round : -1;
}

void RoundsTimeline::paintEvent(QPaintEvent*) {
  const Theme& theme = style::theme();
  QPainter painter(viewport());
  painter.fillRect(viewport()->rect(), style::colour(theme.panel));
  QFont font = style::interfaceFont();
  font.setPointSizeF(8.5);
  painter.setFont(font);
  painter.setPen(style::colour(theme.dim));
  painter.drawText(QPointF(kLeft, 17), tr("Rounds · bar = draft + verify + other time · dots = accepted of "
                                          "drafted · line = acceptance (EMA)"));
  if (line_->count() == 0) return;
  painter.setRenderHint(QPainter::Antialiasing);
  const int scroll = horizontalScrollBar()->value();
  const int base = viewport()->height() - kDots;
  const double full = base - kTop, longest = std::max(line_->longestMilliseconds(), 1e-9);
  const int first = std::max(0, (scroll - kLeft) / kPitch),
            last = std::min(line_->count() - 1, (scroll + viewport()->width()) / kPitch);
  const QColor verify = style::colour(theme.style(Tone::notReached).edge),
               draft = style::colour(theme.style(Tone::draft).edge),
               other = style::colour(theme.style(Tone::resampled).edge);
  const QColor accepted = style::colour(theme.style(Tone::accepted).edge),
               missed = style::colour(theme.faint);
  QPainterPath trend;
  bool started = false;
  for (int i = first; i <= last; ++i) {
    const RoundSummary& round = line_->round(i);
    const double x = kLeft + i * kPitch - scroll;
    double y = base;
    painter.setPen(Qt::NoPen);
    for (const auto& [time, colour] :
         {std::pair{round.verify, verify}, {round.draft, draft}, {round.other, other}}) {
      const double height = full * time / longest;
      if (height < 0.3) continue;
      painter.setBrush(colour);
      painter.drawRoundedRect(QRectF(x, y - height, kBar, height - 0.5), 1.5, 1.5);
      y -= height;
    }
    // Six dots at most, in proportion where the tree was deeper.
    const int shown = std::min(round.depth, 6);
    for (int dot = 0; dot < shown; ++dot) {
      const bool filled = dot < round.accepted;
      painter.setPen(filled ? QPen(Qt::NoPen) : QPen(missed, 0.8));
      painter.setBrush(filled ? QBrush(accepted) : QBrush(Qt::NoBrush));
      painter.drawEllipse(QPointF(x + 2.2 + dot * 4.4, base + 7), filled ? 1.9 : 1.5, filled ? 1.9 : 1.5);
    }
    if (round.failed) {
      painter.setPen(style::colour(theme.style(Tone::rejected).edge));
      painter.drawText(QPointF(x + 8, base - 4), QStringLiteral("✕"));
    }
    if (!std::isnan(round.trend)) {
      const QPointF at(x + kBar / 2.0, base - full * round.trend);
      started ? trend.lineTo(at) : trend.moveTo(at);
      started = true;
    }
    if (i == selection_->step()) {
      painter.setPen(QPen(style::colour(theme.style(Tone::resampled).edge), 1.4));
      painter.setBrush(Qt::NoBrush);
      painter.drawRoundedRect(QRectF(x - 3, kTop - 6, kBar + 6, base - kTop + 6 + kDots - 3), 3, 3);
    }
  }
  painter.setBrush(Qt::NoBrush);
  painter.setPen(QPen(style::colour(theme.style(Tone::bonus).edge), 1.4));
  painter.drawPath(trend);
}

void RoundsTimeline::select(int round) {
  selection_->select({MarkId::Kind::round, line_->step(round)->run, round, -1});
}

void RoundsTimeline::mousePressEvent(QMouseEvent* event) {
  const int round = roundAt(event->pos());
  if (round >= 0 && event->button() == Qt::LeftButton) select(round);
}

void RoundsTimeline::mouseMoveEvent(QMouseEvent* event) {
  if (event->buttons() & Qt::LeftButton)
    if (const int round = roundAt(event->pos()); round >= 0) select(round);
}

void RoundsTimeline::keyPressEvent(QKeyEvent* event) {
  const int by = event->key() == Qt::Key_Left ? -1 : event->key() == Qt::Key_Right ? 1 : 0;
  const int to = static_cast<int>(selection_->step()) + by;
  if (by != 0 && to >= 0 && to < line_->count())
    select(to);
  else
    QAbstractScrollArea::keyPressEvent(event);
}

void RoundsTimeline::wheelEvent(QWheelEvent* event) {
  const QPoint delta = event->angleDelta();
  horizontalScrollBar()->setValue(horizontalScrollBar()->value() -
                                  (delta.x() != 0 ? delta.x() : delta.y()) / 2);
  event->accept();
}

bool RoundsTimeline::viewportEvent(QEvent* event) {
  if (event->type() == QEvent::ToolTip) {
    const auto* help = static_cast<QHelpEvent*>(event);
    const int i = roundAt(help->pos());
    if (i < 0) {
      QToolTip::hideText();
      return true;
    }
    const RoundSummary& round = line_->round(i);
    QToolTip::showText(help->globalPos(),
                       tr("Round %1\n%2 proposed, %3 tested, %4 accepted, %5 committed\ndraft %6 ms\nverify "
                          "%7 ms\nother %8 ms\nacceptance (EMA, weight 0.3) %9")
                           .arg(i)
                           .arg(round.proposed)
                           .arg(round.tested)
                           .arg(round.accepted)
                           .arg(round.committed)
                           .arg(exactText(round.draft), exactText(round.verify), exactText(round.other),
                                exactText(round.trend)),
                       this);
    return true;
  }
  return QAbstractScrollArea::viewportEvent(event);
}

}  // namespace decoscope
