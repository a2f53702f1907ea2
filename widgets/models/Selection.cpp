#include "widgets/models/Selection.h"

namespace decoscope {

void Selection::select(const MarkId& mark) {
  if (mark == selected_) return;
  selected_ = mark;
  Q_EMIT changed();
}

void Selection::hover(const MarkId& mark) {
  if (mark == hovered_) return;
  hovered_ = mark;
  Q_EMIT hoverChanged();
}

void Selection::clear() {
  selected_ = hovered_ = {};
  Q_EMIT changed();
}

}  // namespace decoscope
