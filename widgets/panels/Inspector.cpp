#include "widgets/panels/Inspector.h"

#include <QApplication>
#include <QClipboard>
#include <QContextMenuEvent>
#include <QFrame>
#include <QGridLayout>
#include <QHelpEvent>
#include <QLabel>
#include <QMenu>
#include <QPainter>
#include <QStyle>
#include <QToolTip>
#include <QVBoxLayout>
#include <algorithm>

#include "widgets/models/Numbers.h"
#include "widgets/style/Style.h"

namespace decoscope {

namespace {
constexpr int kRow = 28, kEntries = 12;

QString brief(double p) {
  return p > 0 && p < 0.001 ? QStringLiteral("<.001") : rounded(p, 3);
}
}  // namespace

DistributionBars::DistributionBars(Line* line, QWidget* parent) : QWidget(parent), line_(line) {
  setMouseTracking(true);
  setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
}

void DistributionBars::show(Distributions distributions, TokenId marked, Tone tone) {
  distributions_ = std::move(distributions);
  marked_ = marked;
  tone_ = tone;
  setFixedHeight(std::max(1, static_cast<int>(distributions_.rows.size()) * kRow));
  updateGeometry();
  update();
}

QSize DistributionBars::sizeHint() const {
  return {260, static_cast<int>(distributions_.rows.size()) * kRow};
}
int DistributionBars::rowAt(QPoint at) const {
  const int row = at.y() / kRow;
  return at.y() >= 0 && row < static_cast<int>(distributions_.rows.size()) ? row : -1;
}

void DistributionBars::paintEvent(QPaintEvent*) {
  const Theme& theme = style::theme();
  QPainter painter(this);
  painter.setRenderHint(QPainter::Antialiasing);
  QFont token = style::tokenFont(), number = style::tokenFont();
  token.setPointSizeF(9.5);
  number.setPointSizeF(8);
  const int left = 92, right = 52;
  const double full = std::max(20, width() - left - right);
  for (std::size_t i = 0; i < distributions_.rows.size(); ++i) {
    const DistributionRow& row = distributions_.rows[i];
    const int top = static_cast<int>(i) * kRow;
    if (row.token == marked_) painter.fillRect(0, top, width(), kRow, style::colour(theme.style(tone_).fill));
    painter.setFont(token);
    painter.setPen(style::colour(theme.text));
    painter.drawText(QRect(4, top, left - 10, kRow), Qt::AlignVCenter | Qt::AlignLeft,
                     painter.fontMetrics().elidedText(style::withoutLigatures(line_->text(row.token)),
                                                      Qt::ElideRight, left - 12));
    painter.setPen(Qt::NoPen);
    double y = top + 6;
    for (const auto& [value, tone] :
         {std::pair{row.q, Tone::draft}, {row.p, Tone::target}, {row.residual, Tone::residual}}) {
      if (!std::isnan(value)) {
        painter.setBrush(style::colour(theme.style(tone).edge));
        painter.drawRoundedRect(QRectF(left, y, std::max(1.0, full * std::min(value, 1.0)), 4), 2, 2);
      }
      y += 5.5;
    }
    painter.setFont(number);
    painter.setPen(style::colour(theme.dim));
    const bool two = !std::isnan(row.q);
    if (two)
      painter.drawText(QRect(width() - right, top + 1, right - 4, kRow / 2),
                       Qt::AlignRight | Qt::AlignVCenter, brief(row.q));
    if (!std::isnan(row.p))
      painter.drawText(
          QRect(width() - right, top + (two ? kRow / 2 - 1 : 0), right - 4, two ? kRow / 2 : kRow),
          Qt::AlignRight | Qt::AlignVCenter, brief(row.p));
  }
}

bool DistributionBars::event(QEvent* event) {
  if (event->type() == QEvent::ToolTip) {
    const auto* help = static_cast<QHelpEvent*>(event);
    const int i = rowAt(help->pos());
    if (i < 0) return true;
    const DistributionRow& row = distributions_.rows[static_cast<std::size_t>(i)];
    QToolTip::showText(
        help->globalPos(),
        tr("%1   token %2\ndrafter q = %3\ntarget p = %4  (log p = %5 nats)\nresidual = %6")
            .arg(line_->text(row.token))
            .arg(row.token)
            .arg(exactText(row.q), exactText(row.p), exactText(std::log(row.p)), exactText(row.residual)),
        this);
    return true;
  }
  return QWidget::event(event);
}

void DistributionBars::contextMenuEvent(QContextMenuEvent* event) {
  const int i = rowAt(event->pos());
  if (i < 0) return;
  const DistributionRow row = distributions_.rows[static_cast<std::size_t>(i)];
  QMenu menu(this);
  menu.addAction(tr("Force %1 here").arg(line_->text(row.token)), this,
                 [this, row] { Q_EMIT tokenChosen(row.token); });
  menu.addSeparator();
  menu.addAction(tr("Copy row"), this, [this, row] {
    QApplication::clipboard()->setText(
        QStringLiteral("%1\t%2\t%3\t%4\t%5")
            .arg(row.token)
            .arg(line_->text(row.token), exactText(row.q), exactText(row.p), exactText(row.residual)));
  });
  menu.addAction(tr("Copy table"), this, [this] {
    QString text = QStringLiteral("token\ttext\tq\tp\tresidual\n");
    for (const DistributionRow& r : distributions_.rows)
      text += QStringLiteral("%1\t%2\t%3\t%4\t%5\n")
                  .arg(r.token)
                  .arg(line_->text(r.token), exactText(r.q), exactText(r.p), exactText(r.residual));
    QApplication::clipboard()->setText(text);
  });
  menu.exec(event->globalPos());
}

Inspector::Inspector(Line* line, Selection* selection, QWidget* parent)
    : QScrollArea(parent), line_(line), selection_(selection) {
  setObjectName("inspector");
  setWidgetResizable(true);
  setFrameShape(QFrame::NoFrame);
  setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  auto* body = new QWidget;
  body->setProperty("panel", true);
  auto* layout = new QVBoxLayout(body);
  layout->setContentsMargins(12, 8, 12, 12);
  layout->setSpacing(7);
  const auto heading = [&] {
    auto* label = new QLabel;
    label->setProperty("role", "heading");
    layout->addWidget(label);
    return label;
  };
  heading_ = heading();
  card_ = new QFrame;
  card_->setProperty("role", "card");
  auto* inside = new QVBoxLayout(card_);
  inside->setContentsMargins(12, 9, 12, 10);
  inside->setSpacing(4);
  title_ = new QLabel;
  QFont large = style::tokenFont();
  large.setPointSizeF(13);
  title_->setFont(large);
  title_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  title_->setWordWrap(true);
  subtitle_ = new QLabel;
  subtitle_->setProperty("role", "dim");
  subtitle_->setWordWrap(true);
  rows_ = new QGridLayout;
  rows_->setContentsMargins(0, 4, 0, 0);
  rows_->setVerticalSpacing(3);
  rows_->setColumnStretch(0, 1);
  inside->addWidget(title_);
  inside->addWidget(subtitle_);
  inside->addLayout(rows_);
  layout->addWidget(card_);
  sentence_ = new QLabel;
  sentence_->setWordWrap(true);
  sentence_->setProperty("role", "dim");
  sentence_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  layout->addWidget(sentence_);
  layout->addSpacing(8);
  distributionHeading_ = heading();
  distributionNote_ = new QLabel;
  distributionNote_->setProperty("role", "dim");
  distributionNote_->setWordWrap(true);
  distributionNote_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  layout->addWidget(distributionNote_);
  bars_ = new DistributionBars(line);
  layout->addWidget(bars_);
  layout->addStretch(1);
  setWidget(body);
  connect(bars_, &DistributionBars::tokenChosen, this, &Inspector::forceWanted);
  connect(selection, &Selection::changed, this, &Inspector::show);
  connect(line, &Line::reset, this, &Inspector::show);
  connect(&style::notifier(), &style::Notifier::changed, this, &Inspector::show);
  show();
}

void Inspector::show() {
  const WhyCard why = whyOf(*line_, selection_->selected());
  while (QLayoutItem* item = rows_->takeAt(0)) {
    delete item->widget();
    delete item;
  }
  const bool any = !why.empty();
  card_->setVisible(any);
  heading_->setText(any ? why.heading.toUpper() : tr("INSPECTOR"));
  sentence_->setText(any ? why.sentence
                         : tr("Select a token, a node or a round: this panel says why it is there, with the "
                              "numbers of the decision."));
  if (!any) {
    distributionHeading_->hide();
    distributionNote_->hide();
    bars_->hide();
    return;
  }
  const Theme& theme = style::theme();
  const char* verdict = why.tone == Tone::accepted    ? "accepted"
                        : why.tone == Tone::rejected  ? "rejected"
                        : why.tone == Tone::bonus     ? "bonus"
                        : why.tone == Tone::resampled ? "resampled"
                                                      : "";
  card_->setProperty("verdict", verdict);
  card_->style()->unpolish(card_);
  card_->style()->polish(card_);
  const QString edge =
      style::colour(why.tone == Tone::notReached ? theme.dim : theme.style(why.tone).edge).name();
  title_->setText(style::withoutLigatures(why.title));
  title_->setStyleSheet(QStringLiteral("color: %1").arg(edge));
  subtitle_->setText(why.subtitle);
  QFont mono = style::tokenFont();
  mono.setPointSizeF(9.5);
  int at = 0;
  for (const WhyRow& row : why.rows) {
    auto* label = new QLabel(row.label);
    label->setProperty("role", "dim");
    auto* value = new QLabel(row.text.isEmpty() ? rounded(row.value, 5) : row.text);
    value->setFont(mono);
    value->setAlignment(Qt::AlignRight);
    value->setTextInteractionFlags(Qt::TextSelectableByMouse);
    const QString exact = row.text.isEmpty() ? exactText(row.value) : row.text;
    value->setToolTip(exact + (row.meaning.isEmpty() ? QString() : QStringLiteral("\n") + row.meaning));
    label->setToolTip(value->toolTip());
    // A click on a number copies every digit.
    value->setContextMenuPolicy(Qt::ActionsContextMenu);
    auto* copy = new QAction(tr("Copy %1").arg(exact), value);
    connect(copy, &QAction::triggered, value, [exact] { QApplication::clipboard()->setText(exact); });
    value->addAction(copy);
    if (row.decisive) value->setStyleSheet(QStringLiteral("color: %1; font-weight: 600").arg(edge));
    rows_->addWidget(label, at, 0);
    rows_->addWidget(value, at++, 1);
  }
  const Distributions distributions = distributionsOf(*line_, selection_->selected(), kEntries);
  const bool bars = !distributions.rows.empty();
  distributionHeading_->setVisible(bars);
  distributionNote_->setVisible(bars);
  bars_->setVisible(bars);
  if (!bars) return;
  QStringList shown;
  if (distributions.hasDraft) shown << QStringLiteral("q");
  shown << QStringLiteral("p");
  if (distributions.hasResidual) shown << tr("residual");
  distributionHeading_->setText(
      tr("DISTRIBUTIONS %1  %2")
          .arg(distributions.after.toUpper().section(' ', 0, 0) + ' ' + distributions.after.section(' ', 1),
               shown.join(QStringLiteral(" · "))));
  distributionNote_->setText(tr("entropy %1 nats · outside the list %2")
                                 .arg(rounded(distributions.entropy, 3), rounded(distributions.tailMass, 4)));
  distributionNote_->setToolTip(tr("entropy of the whole distribution: %1 nats\nof the raw logits: %2 "
                                   "nats\nprobability outside the recorded entries: %3")
                                    .arg(exactText(distributions.entropy),
                                         exactText(distributions.rawEntropy),
                                         exactText(distributions.tailMass)));
  TokenId marked = -1;
  const MarkId& mark = selection_->selected();
  if (const int index = line_->indexOf(mark); index >= 0 && mark.kind == MarkId::Kind::node) {
    const Round round = roundOf(*line_->step(index), line_->rootOf(index));
    if (mark.item >= 0 && mark.item + 1 < static_cast<std::int64_t>(round.nodes.size()))
      marked = round.nodes[static_cast<std::size_t>(mark.item) + 1].token;
  }
  bars_->show(distributions, marked, why.tone);
}

}  // namespace decoscope
