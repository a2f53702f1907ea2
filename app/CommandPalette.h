// Every action of the window by name: type a few letters, press Enter. GUI thread.
#pragma once

#include <QAction>
#include <QDialog>

class QLineEdit;
class QListWidget;

namespace decoscope {

class CommandPalette final : public QDialog {
  Q_OBJECT
 public:
  CommandPalette(const QList<QAction*>& actions, QWidget* parent);
  // How well `words` fits `name`: letters in order, the closer together and the nearer to word starts the
  // better; −1: not at all.
  static int score(const QString& name, const QString& words);

 protected:
  bool eventFilter(QObject* object, QEvent* event) override;

 private:
  void fill();
  void trigger();
  QList<QAction*> actions_;
  QLineEdit* search_;
  QListWidget* list_;
};

}  // namespace decoscope
