#include "widgets/models/Selection.h"

namespace decoscope {

namespace {
constexpr std::size_t kLongestHistory = 1000;
}

void Selection::select(const MarkId& mark) {
  if (mark == selected_) return;
  selected_ = mark;
  if (mark.kind != MarkId::Kind::none) {
    if (!history_.empty()) history_.resize(at_ + 1);
    history_.push_back(mark);
    if (history_.size() > kLongestHistory) history_.erase(history_.begin());
    at_ = history_.size() - 1;
  }
  Q_EMIT changed();
}

void Selection::hover(const MarkId& mark) {
  if (mark == hovered_) return;
  hovered_ = mark;
  Q_EMIT hoverChanged();
}

void Selection::clear() {
  history_.clear();
  at_ = 0;
  selected_ = hovered_ = {};
  Q_EMIT changed();
}

void Selection::back() {
  if (!canGoBack()) return;
  selected_ = history_[--at_];
  Q_EMIT changed();
}

void Selection::forward() {
  if (!canGoForward()) return;
  selected_ = history_[++at_];
  Q_EMIT changed();
}

}  // namespace decoscope
