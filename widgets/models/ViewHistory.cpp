#include "widgets/models/ViewHistory.h"

#include <utility>

namespace decoscope {

namespace {
constexpr int kLongestHistory = 1000;
constexpr qint64 kCoalesceMilliseconds = 700;
}  // namespace

class ViewHistory::Change final : public QUndoCommand {
 public:
  Change(ViewHistory& history, int kind, QVariant before, QVariant after, bool coalesce)
      : QUndoCommand(history.kinds_[static_cast<std::size_t>(kind)].text),
        history_(history),
        kind_(kind),
        before_(std::move(before)),
        after_(std::move(after)),
        coalesce_(coalesce) {
    since_.start();
  }
  int id() const override { return coalesce_ ? kind_ : -1; }
  void undo() override { history_.restore(kind_, before_); }
  void redo() override {
    // What is recorded has happened already; only a later redo puts it back.
    if (std::exchange(fresh_, false)) return;
    history_.restore(kind_, after_);
  }
  bool mergeWith(const QUndoCommand* other) override {
    const auto* next = dynamic_cast<const Change*>(other);
    if (!next || next->kind_ != kind_ || since_.elapsed() > kCoalesceMilliseconds) return false;
    after_ = next->after_;
    since_.restart();
    return true;
  }

 private:
  ViewHistory& history_;
  int kind_;
  QVariant before_, after_;
  bool coalesce_, fresh_ = true;
  QElapsedTimer since_;
};

ViewHistory::ViewHistory(QObject* parent) : QObject(parent) {
  stack_.setUndoLimit(kLongestHistory);
  connect(&stack_, &QUndoStack::indexChanged, this, &ViewHistory::changed);
}

// The stack empties itself when it goes, and nobody should hear of it.
ViewHistory::~ViewHistory() {
  stack_.disconnect(this);
}

int ViewHistory::track(const QString& text, std::function<void(const QVariant&)> restore) {
  kinds_.push_back({text, std::move(restore)});
  return static_cast<int>(kinds_.size()) - 1;
}

void ViewHistory::record(int id, const QVariant& before, const QVariant& after, bool coalesce) {
  if (!restoring_) stack_.push(new Change(*this, id, before, after, coalesce));
}

void ViewHistory::restore(int id, const QVariant& value) {
  restoring_ = true;
  kinds_[static_cast<std::size_t>(id)].restore(value);
  restoring_ = false;
}

}  // namespace decoscope
