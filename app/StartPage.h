// What stands in the middle while nothing is open: the sample session, recent sessions, models on disk. GUI
// thread.
#pragma once

#include <QWidget>

#include "app/ModelCatalog.h"

class QVBoxLayout;

namespace decoscope {

class StartPage final : public QWidget {
  Q_OBJECT
 public:
  explicit StartPage(QWidget* parent = nullptr);
  void show(const QStringList& recent, const std::vector<ModelEntry>& models);

 Q_SIGNALS:
  void sampleWanted();
  void sessionWanted(const QString& path);
  void modelWanted(const QString& name);
  void openWanted();

 private:
  QVBoxLayout *recent_, *models_;
};

}  // namespace decoscope
