#include "widgets/panels/MetricsPanel.h"

#include <QAction>
#include <QApplication>
#include <QClipboard>
#include <QElapsedTimer>
#include <QGridLayout>
#include <QLabel>
#include <QThreadPool>

#include "widgets/models/Numbers.h"
#include "widgets/style/Style.h"

namespace decoscope {

MetricsPanel::MetricsPanel(Line* line, QWidget* parent)
    : QWidget(parent), line_(line), grid_(new QGridLayout(this)) {
  setObjectName("metrics");
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
}

MetricsPanel::~MetricsPanel() {
  while (busy_ && !QThreadPool::globalInstance()->waitForDone(50)) {
  }
}

void MetricsPanel::compute() {
  if (busy_) {
    again_ = true;
    return;
  }
  if (!line_->source() || !line_->run()) {
    show({});
    return;
  }
  busy_ = true;
  QThreadPool::globalInstance()->start([this, source = line_->source(), run = line_->run()] {
    QElapsedTimer clock;
    clock.start();
    const auto stats = statsOf(*source, run, true);
    std::vector<Metric> metrics = stats ? metricsOf(*stats) : std::vector<Metric>{};
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
    title->setProperty("role", "dim");
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
