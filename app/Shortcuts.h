// The keys of the window's actions: read from the settings, shown, changed. GUI thread.
#pragma once

#include <QAction>
#include <QDialog>

class QKeySequenceEdit;
class QLabel;
class QPushButton;
class QTreeWidget;

namespace decoscope {

// Keeps the keys that each action has now as its defaults, then gives it those that the settings hold.
void loadShortcuts(const QList<QAction*>& actions);
// Writes the action's name and key where they are shown: its tool tip, and its button where the key is short.
void showShortcut(QAction* action, const QString& label = {});

// The map of keys, and where they are changed.
class ShortcutsDialog final : public QDialog {
  Q_OBJECT
 public:
  ShortcutsDialog(const QList<QAction*>& actions, QWidget* parent);

  // Gives an action these keys and stores them; another action that had the first of them loses it.
  void assign(QAction* action, const QList<QKeySequence>& keys);
  // The other action that has this key, or null.
  QAction* holder(const QKeySequence& key, const QAction* besides) const;

 private:
  void fill();
  void settle();
  QAction* current() const;

  QList<QAction*> actions_;
  QTreeWidget* table_;
  QKeySequenceEdit* edit_;
  QLabel* conflict_;
  QPushButton *set_, *clear_, *reset_;
};

}  // namespace decoscope
