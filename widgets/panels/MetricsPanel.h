// The metrics of a line, each with its formula on hover and every digit on copy. GUI thread; sums run on a
// pool.
#pragma once

#include <QTimer>
#include <QWidget>

#include "core/metrics/Metrics.h"
#include "widgets/models/Line.h"

class QGridLayout;

namespace decoscope {

class MetricsPanel final : public QWidget {
  Q_OBJECT
 public:
  explicit MetricsPanel(Line* line, QWidget* parent = nullptr);
  ~MetricsPanel() override;
  const std::vector<Metric>& metrics() const { return metrics_; }

 Q_SIGNALS:
  void computed();

 private:
  void compute();
  void show(const std::vector<Metric>& metrics);
  Line* line_;
  QGridLayout* grid_;
  QTimer delay_;
  bool busy_ = false, again_ = false;
  std::vector<Metric> metrics_;
};

}  // namespace decoscope
