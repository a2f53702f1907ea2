// The metrics of a line and its speed beside a baseline, each with its formula on hover and every digit on
// copy. GUI thread; sums run on a pool.
#pragma once

#include <QTimer>
#include <QVector>
#include <QWidget>
#include <optional>

#include "core/metrics/Metrics.h"
#include "widgets/models/Line.h"

class QComboBox;
class QGridLayout;

namespace decoscope {

class MetricsPanel final : public QWidget {
  Q_OBJECT
 public:
  explicit MetricsPanel(Line* line, QWidget* parent = nullptr);
  ~MetricsPanel() override;
  const std::vector<Metric>& metrics() const { return metrics_; }
  // The run that speeds are compared with: 0 for none, nothing for the one that baselineFor() finds.
  void setBaseline(std::optional<RunId> baseline);

 Q_SIGNALS:
  void computed();

 private:
  void compute();
  void show(const std::vector<Metric>& metrics);
  void fillBaselines();
  Line* line_;
  QWidget* baselineRow_;
  QComboBox* baselines_;
  std::optional<RunId> baseline_;
  QVector<qlonglong> listed_;
  QGridLayout* grid_;
  QTimer delay_;
  bool busy_ = false, again_ = false;
  std::vector<Metric> metrics_;
};

}  // namespace decoscope
