// The canvases as item models: the same content for keyboards, screen readers and copying. GUI thread.
#pragma once

#include <QAbstractItemModel>
#include <QAbstractTableModel>
#include <map>

#include "core/trace/Round.h"
#include "widgets/models/Line.h"

namespace decoscope {

// Rounds, and under each its nodes as a tree. Rounds are read when they are unfolded.
class TreeOutlineModel final : public QAbstractItemModel {
  Q_OBJECT
 public:
  enum Column { tokenColumn, verdictColumn, pColumn, qColumn, uColumn, rankColumn, columnCount_ };
  explicit TreeOutlineModel(Line* line, QObject* parent = nullptr);
  MarkId markAt(const QModelIndex& index) const;
  QModelIndex indexOf(const MarkId& mark) const;

  QModelIndex index(int row, int column, const QModelIndex& parent = {}) const override;
  QModelIndex parent(const QModelIndex& index) const override;
  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex&) const override { return columnCount_; }
  QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

 private:
  // An index carries its round and node: id = round · 2²⁰ + node + 1; a round itself has node −1.
  static quintptr idOf(int round, int node) {
    return static_cast<quintptr>(round) * kNodes + static_cast<quintptr>(node + 1);
  }
  static int roundOfId(quintptr id) { return static_cast<int>(id / kNodes); }
  static int nodeOfId(quintptr id) { return static_cast<int>(id % kNodes) - 1; }
  static constexpr quintptr kNodes = 1 << 20;
  const Round& roundAt(int index) const;
  Line* line_;
  int shown_ = 0;
  mutable std::map<int, Round> rounds_;
};

// Denoising steps by canvas positions.
class LatticeModel final : public QAbstractTableModel {
  Q_OBJECT
 public:
  explicit LatticeModel(Line* line, QObject* parent = nullptr);
  MarkId markAt(const QModelIndex& index) const;
  QModelIndex indexOf(const MarkId& mark) const;
  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

 private:
  void read();
  const CellFact* cellAt(const QModelIndex& index) const;
  Line* line_;
  int first_ = 0, positions_ = 0;
  std::vector<int> steps_;                             // those with cells
  std::vector<std::map<int, const CellFact*>> cells_;  // by position; the line keeps the steps alive
};

}  // namespace decoscope
