// Every recorded fact of a line as a table, and the filter over it. GUI thread.
#pragma once

#include <QAbstractTableModel>
#include <QSortFilterProxyModel>
#include <functional>

#include "widgets/models/Line.h"

namespace decoscope {

class EventModel final : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Column {
    stepColumn,
    eventColumn,
    nodeColumn,
    tokenColumn,
    pColumn,
    qColumn,
    uColumn,
    thresholdColumn,
    whatColumn,
    columnCount_
  };
  enum Role { markRole = Qt::UserRole };
  explicit EventModel(Line* line, QObject* parent = nullptr);

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;
  // The mark that a row is about.
  MarkId markAt(int row) const;
  const Event& eventAt(int row) const;
  StepIndex stepAt(int row) const;
  Line* line() const { return line_; }

 private:
  Line* line_;
  struct Row {
    int step;
    int event;
  };
  std::vector<Row> rows_;
};

// A condition over events: comparisons of fields joined by && || ! and brackets, or words to be found in the
// row's text.
//   status==rejected && p<0.1        event==draw || (rank>0 && q>=0.5)        "·the"
// Fields: step, event, status, rule, node, parent, depth, rank, token, text, p, q, u, threshold, entropy, ms,
// position, role, value.
class EventFilter {
 public:
  // An empty text accepts everything. The error names the place.
  static Result<EventFilter> parse(const QString& text);
  bool accepts(const EventModel& model, int row) const { return !accept_ || accept_(model, row); }
  static QStringList fields();

 private:
  std::function<bool(const EventModel&, int)> accept_;
  friend class FilterParser;
};

class EventFilterModel final : public QSortFilterProxyModel {
  Q_OBJECT
 public:
  using QSortFilterProxyModel::QSortFilterProxyModel;
  void setFilter(EventFilter filter);

 protected:
  bool filterAcceptsRow(int row, const QModelIndex& parent) const override;

 private:
  EventFilter filter_;
};

}  // namespace decoscope
