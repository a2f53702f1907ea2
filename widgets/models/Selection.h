// What is selected and what the pointer is over, shared by every view. GUI thread.
#pragma once

#include <QObject>

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
  void clear();

 Q_SIGNALS:
  void changed();
  void hoverChanged();

 private:
  MarkId selected_, hovered_;
};

}  // namespace decoscope
