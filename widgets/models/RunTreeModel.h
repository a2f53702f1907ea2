// The runs of a session as a tree of forks. GUI thread.
#pragma once

#include <QAbstractItemModel>
#include <QThreadPool>
#include <atomic>
#include <map>
#include <memory>
#include <vector>

#include "core/trace/Trace.h"

namespace decoscope {

class RunTreeModel final : public QAbstractItemModel {
  Q_OBJECT
 public:
  enum Column { nameColumn, speedColumn, columnCount_ };
  enum Role { runRole = Qt::UserRole };
  using QAbstractItemModel::QAbstractItemModel;
  ~RunTreeModel() override;

  void show(std::shared_ptr<const TraceSource> source);
  // Takes up new runs and changed states.
  void refresh();
  RunId runAt(const QModelIndex& index) const;
  QModelIndex indexOf(RunId run) const;
  void setCurrent(RunId run);

  QModelIndex index(int row, int column, const QModelIndex& parent = {}) const override;
  QModelIndex parent(const QModelIndex& index) const override;
  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex&) const override { return columnCount_; }
  QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

 private:
  struct Node {
    RunInfo info;
    RunId parent;
    std::vector<RunId> children;
    StepIndex counted = 0;  // steps whose time is in the sums
    double seconds = 0;
    std::int64_t tokens = 0;
    QString measured;  // of a training: its loss, as it was last
  };
  const std::vector<RunId>& childrenOf(const QModelIndex& parent) const;
  void measure(Node& node) const;
  void measureStored();

  std::shared_ptr<const TraceSource> source_;
  std::map<RunId, Node> nodes_;
  std::vector<RunId> roots_;
  RunId current_;
  // Steps that are not in memory are summed on a worker; a change of the source makes its result void.
  bool summing_ = false;
  std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
  QThreadPool pool_;
};

}  // namespace decoscope
