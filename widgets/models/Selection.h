// What is selected and what the pointer is over, shared by every view. Selections form a history, so that a
// view state can be undone. GUI thread.
#pragma once

#include <QObject>
#include <vector>

#include "core/figure/Figure.h"

namespace decoscope {

class Selection : public QObject {
  Q_OBJECT
 public:
  using QObject::QObject;

  const MarkId& selected() const { return selected_; }
  const MarkId& hovered() const { return hovered_; }
  StepIndex step() const { return selected_.step; }

  void select(const MarkId& mark);
  void hover(const MarkId& mark);
  void clear();  // forgets the history too: another session
  bool canGoBack() const { return at_ > 0; }
  bool canGoForward() const { return at_ + 1 < history_.size(); }
  void back();
  void forward();

 Q_SIGNALS:
  void changed();
  void hoverChanged();

 private:
  MarkId selected_, hovered_;
  std::vector<MarkId> history_;
  std::size_t at_ = 0;
};

}  // namespace decoscope
