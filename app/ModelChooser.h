// Every model on this computer with what it is and what it can do; what the chosen method cannot use is grey
// and says why. GUI thread.
#pragma once

#include <QDialog>

#include "app/ModelCatalog.h"

class QComboBox;
class QLabel;
class QLineEdit;
class QPushButton;
class QTreeWidget;

namespace decoscope {

class ModelChooser final : public QDialog {
  Q_OBJECT
 public:
  // `method` may be null: then nothing is grey for what a method needs.
  ModelChooser(ModelCatalog* catalog, const MethodCard* method, const QString& dtype, const QString& device,
               QWidget* parent);

  QString chosen() const { return chosen_; }  // a path, or "table:PATH"
  QString dtype() const;
  QString device() const;

 private:
  void fill();
  void settle();
  void choose(const QString& path);

  ModelCatalog* catalog_;
  const MethodCard* method_;
  QString chosen_;
  QLineEdit* search_;
  QTreeWidget* table_;
  QLabel* note_;
  QComboBox *dtype_, *device_;
  QPushButton* load_;
};

}  // namespace decoscope
