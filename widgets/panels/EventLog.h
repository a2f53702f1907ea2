// Every recorded event of the line, with a typed filter. GUI thread.
#pragma once

#include <QWidget>

#include "widgets/models/EventModel.h"
#include "widgets/models/Selection.h"

class QLabel;
class QLineEdit;
class QTableView;

namespace decoscope {

class EventLog final : public QWidget {
  Q_OBJECT
 public:
  EventLog(EventModel* events, Selection* selection, QWidget* parent = nullptr);
  void setFilter(const QString& text);
  int shownRows() const { return filtered_->rowCount(); }

 private:
  void apply();
  void copyRows();
  EventModel* events_;
  EventFilterModel* filtered_;
  Selection* selection_;
  QLineEdit* filter_;
  QLabel* message_;
  QTableView* table_;
};

}  // namespace decoscope
