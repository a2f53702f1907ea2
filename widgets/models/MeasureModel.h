// What was measured as a table: a row for each step that holds numbers, a column for each curve. Mirrors the
// curves for keyboards, screen readers and copying. GUI thread.
#pragma once

#include <QAbstractTableModel>
#include <vector>

#include "widgets/models/Line.h"

namespace decoscope {

class MeasureModel final : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Column { placeColumn, firstCurveColumn };
  explicit MeasureModel(Line* line, QObject* parent = nullptr);
  // Of a place: the step; of a number: the curve at the step.
  MarkId markAt(const QModelIndex& index) const;
  QModelIndex indexOf(const MarkId& mark) const;
  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

 private:
  void read();
  const MeasureFact* factAt(const QModelIndex& index) const;
  double placeOf(int row) const;
  Line* line_;
  int curves_ = 0;
  std::vector<int> steps_;  // those with measures
};

// The numbers of the steps from `first` to `last` with every digit, tab-separated: the place, then a column
// for each curve, empty where nothing was measured.
QString measureTable(const CurveSet& set, double first, double last);

}  // namespace decoscope
