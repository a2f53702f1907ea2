#include "widgets/panels/MetricsPanel.h"

#include <QAction>
#include <QApplication>
#include <QClipboard>
#include <QComboBox>
#include <QElapsedTimer>
#include <QGridLayout>
#include <QLabel>
#include <QThreadPool>
#include <QVBoxLayout>
#include <algorithm>

#include "widgets/models/Numbers.h"
#include "widgets/style/Style.h"

namespace decoscope {

MetricsPanel::MetricsPanel(Line* line, QWidget* parent)
    : QWidget(parent),
      line_(line),
      baselineRow_(new QWidget),
      baselines_(new QComboBox),
      grid_(new QGridLayout) {
  setObjectName("metrics");
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(0, 0, 0, 0);
  layout->setSpacing(4);
  auto* row = new QHBoxLayout(baselineRow_);
  row->setContentsMargins(0, 0, 0, 0);
  auto* label = new QLabel(tr("Baseline"));
  label->setProperty("role", "dim");
  baselines_->setObjectName("baseline");
  baselines_->setAccessibleName(tr("Baseline"));
  baselines_->setToolTip(tr("The run that the speed-up is measured against"));
  baselines_->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
  baselines_->setMinimumContentsLength(8);
  row->addWidget(label);
  row->addWidget(baselines_, 1);
  baselineRow_->hide();
  layout->addWidget(baselineRow_);
  layout->addLayout(grid_);
  connect(baselines_, &QComboBox::activated, this, [this] {
    const QVariant run = baselines_->currentData();
    setBaseline(run.isValid() ? std::optional(RunId{run.toLongLong()}) : std::nullopt);
  });
  grid_->setContentsMargins(0, 0, 0, 0);
  grid_->setVerticalSpacing(4);
  grid_->setColumnStretch(0, 1);
  delay_.setSingleShot(true);
  delay_.setInterval(200);
  connect(&delay_, &QTimer::timeout, this, &MetricsPanel::compute);
  for (const auto signal : {&Line::infoChanged, &Line::reset})
    connect(line, signal, this, [this] {
      if (!delay_.isActive()) delay_.start();
    });
  show({});
}

MetricsPanel::~MetricsPanel() {
  while (busy_ && !QThreadPool::globalInstance()->waitForDone(50)) {
  }
}

void MetricsPanel::setBaseline(std::optional<RunId> baseline) {
  baseline_ = baseline;
  listed_.clear();
  compute();
}

void MetricsPanel::fillBaselines() {
  baselineRow_->setVisible(line_->run() && !line_->isTraining());
  const auto runs = line_->source() ? line_->source()->runs() : std::vector<RunInfo>{};
  QVector<qlonglong> ids{static_cast<qlonglong>(line_->run().value)};
  for (const RunInfo& info : runs) ids << static_cast<qlonglong>(info.id.value);
  if (ids == listed_) return;
  listed_ = ids;
  baselines_->clear();
  const auto found = line_->source() ? baselineFor(*line_->source(), line_->run()) : std::nullopt;
  baselines_->addItem(found ? tr("automatic: run %1").arg(found->value) : tr("automatic: none"));
  baselines_->setItemData(
      0,
      tr("The first run of plain sampling with the same prompt on the same model; make one "
         "to see the speed-up"),
      Qt::ToolTipRole);
  baselines_->addItem(tr("none"), qlonglong{0});
  for (const RunInfo& info : runs)
    if (info.id != line_->run())
      baselines_->addItem(tr("run %1: %2").arg(info.id.value).arg(QString::fromStdString(info.name)),
                          static_cast<qlonglong>(info.id.value));
  const int chosen = baseline_ ? baselines_->findData(static_cast<qlonglong>(baseline_->value)) : 0;
  // A baseline of another session, or this run itself, is none.
  if (chosen < 0) baseline_.reset();
  baselines_->setCurrentIndex(std::max(chosen, 0));
}

void MetricsPanel::compute() {
  fillBaselines();
  if (busy_) {
    again_ = true;
    return;
  }
  if (!line_->source() || !line_->run()) {
    show({});
    return;
  }
  busy_ = true;
  QThreadPool::globalInstance()->start(
      [this, source = line_->source(), run = line_->run(), wanted = baseline_] {
        QElapsedTimer clock;
        clock.start();
        const auto stats = statsOf(*source, run, true);
        std::vector<Metric> metrics = stats ? metricsOf(*stats) : std::vector<Metric>{};
        const std::optional<RunId> baseline = wanted ? wanted : baselineFor(*source, run);
        if (stats && baseline && *baseline)
          if (const auto other = statsOf(*source, *baseline, true))
            if (auto metric = speedUp(*stats, *other, *baseline)) metrics.push_back(std::move(*metric));
        // What one asks first stands first.
        const auto rank = [](const Metric& metric) {
          static constexpr const char* kFirst[] = {"tokens_per_second",    "speed_up",
                                                   "mean_accepted_length", "acceptance_rate",
                                                   "block_efficiency",     "target_forwards"};
          return std::find(std::begin(kFirst), std::end(kFirst), metric.name) - std::begin(kFirst);
        };
        std::stable_sort(metrics.begin(), metrics.end(),
                         [&](const Metric& a, const Metric& b) { return rank(a) < rank(b); });
        QMetaObject::invokeMethod(
            this,
            [this, metrics = std::move(metrics), took = clock.elapsed()] {
              busy_ = false;
              // A long run's sums take at most a twentieth of one core from the model.
              delay_.setInterval(std::max<int>(200, static_cast<int>(20 * took)));
              show(metrics);
              if (again_) delay_.start();
              again_ = false;
            },
            Qt::QueuedConnection);
      });
}

void MetricsPanel::show(const std::vector<Metric>& metrics) {
  metrics_ = metrics;
  while (QLayoutItem* item = grid_->takeAt(0)) {
    delete item->widget();
    delete item;
  }
  QFont mono = style::tokenFont();
  mono.setPointSizeF(9.5);
  int row = 0;
  for (const Metric& metric : metrics) {
    if (std::isnan(metric.value)) continue;
    auto* title = new QLabel(QString::fromStdString(metric.title));
    title->setObjectName("metric." + QString::fromStdString(metric.name));
    title->setProperty("role", "dim");
    title->setWordWrap(true);
    const bool whole = metric.value == std::floor(metric.value) && std::abs(metric.value) < 1e15;
    auto* value = new QLabel(whole ? QString::number(static_cast<qint64>(metric.value))
                                   : rounded(metric.value, std::abs(metric.value) >= 100 ? 1 : 3));
    value->setFont(mono);
    value->setAlignment(Qt::AlignRight);
    value->setTextInteractionFlags(Qt::TextSelectableByMouse);
    const QString exact =
        exactText(metric.value) +
        (metric.unit.empty() ? QString() : QStringLiteral(" ") + QString::fromStdString(metric.unit));
    const QString tip =
        tr("%1\n%2\n= %3\nfrom: %4\n%5")
            .arg(exact, QString::fromStdString(metric.name), QString::fromStdString(metric.formula),
                 QString::fromStdString(metric.inputs), QString::fromStdString(metric.definition));
    title->setToolTip(tip);
    value->setToolTip(tip);
    value->setContextMenuPolicy(Qt::ActionsContextMenu);
    auto* copy = new QAction(tr("Copy %1").arg(exact), value);
    connect(copy, &QAction::triggered, value,
            [text = exactText(metric.value)] { QApplication::clipboard()->setText(text); });
    value->addAction(copy);
    grid_->addWidget(title, row, 0);
    grid_->addWidget(value, row++, 1);
  }
  if (row == 0) {
    auto* none = new QLabel(tr("Nothing has run yet"));
    none->setProperty("role", "dim");
    grid_->addWidget(none, 0, 0);
  }
  Q_EMIT computed();
}

}  // namespace decoscope
