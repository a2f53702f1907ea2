// What stands in the middle while nothing is open: the sample session, recent sessions, models that come with
// the program, models on disk. GUI thread.
#pragma once

#include <QWidget>

#include "app/BundledStart.h"
#include "app/ModelCatalog.h"

class QPushButton;
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
  void bundledWanted(const BundledStart& start);

  void openWanted();

 private:
  QPushButton* modelButton(const ModelEntry& model);
  QVBoxLayout *recent_, *bundled_, *models_;
  QWidget* bundledSection_;
};

}  // namespace decoscope
