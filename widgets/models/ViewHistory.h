// Undo and redo of what is looked at: selections, zoom, tabs, docks, the run shown. Generation is never
// undone here; it is left by going to another run. GUI thread.
#pragma once

#include <QElapsedTimer>
#include <QObject>
#include <QUndoStack>
#include <QVariant>
#include <functional>
#include <vector>

namespace decoscope {

class ViewHistory final : public QObject {
  Q_OBJECT
 public:
  explicit ViewHistory(QObject* parent = nullptr);
  ~ViewHistory() override;

  // A kind of view state: `text` names it ("zoom"), `restore` puts a recorded value back. What changes
  // meanwhile is not recorded. Returns the id for record().
  int track(const QString& text, std::function<void(const QVariant&)> restore);
  // The state has changed. With `coalesce` changes that follow each other quickly become one: a drag is
  // undone as a whole.
  void record(int id, const QVariant& before, const QVariant& after, bool coalesce = false);
  void clear() { stack_.clear(); }
  void undo() { stack_.undo(); }
  void redo() { stack_.redo(); }
  bool canUndo() const { return stack_.canUndo(); }
  bool canRedo() const { return stack_.canRedo(); }
  QString undoText() const { return stack_.undoText(); }
  bool restoring() const { return restoring_; }

 Q_SIGNALS:
  void changed();

 private:
  class Change;
  void restore(int id, const QVariant& value);

  struct Kind {
    QString text;
    std::function<void(const QVariant&)> restore;
  };
  std::vector<Kind> kinds_;
  QUndoStack stack_;
  bool restoring_ = false;
};

}  // namespace decoscope
