#include "widgets/models/OutlineModels.h"

#include <algorithm>

#include "widgets/models/EventModel.h"
#include "widgets/models/Numbers.h"

namespace decoscope {

TreeOutlineModel::TreeOutlineModel(Line* line, QObject* parent)
    : QAbstractItemModel(parent), line_(line), shown_(line->count()) {
  connect(line, &Line::reset, this, [this] {
    beginResetModel();
    rounds_.clear();
    shown_ = line_->count();
    endResetModel();
  });
  connect(line, &Line::appended, this, [this](int first, int count) {
    beginInsertRows({}, first, first + count - 1);
    shown_ = first + count;
    endInsertRows();
  });
}

const Round& TreeOutlineModel::roundAt(int index) const {
  const auto found = rounds_.find(index);
  return found != rounds_.end()
             ? found->second
             : rounds_.emplace(index, roundOf(line_->step(index), line_->rootOf(index))).first->second;
}

QModelIndex TreeOutlineModel::index(int row, int column, const QModelIndex& parent) const {
  if (row < 0 || column < 0 || column >= columnCount_ || row >= rowCount(parent)) return {};
  if (!parent.isValid()) return createIndex(row, column, idOf(row, -1));
  const int round = roundOfId(parent.internalId()), node = nodeOfId(parent.internalId());
  // Under a round stands its root; under a node its children.
  const int child =
      node < 0 ? 0
               : roundAt(round).nodes[static_cast<std::size_t>(node)].children[static_cast<std::size_t>(row)];
  return createIndex(row, column, idOf(round, child));
}

QModelIndex TreeOutlineModel::parent(const QModelIndex& index) const {
  if (!index.isValid()) return {};
  const int round = roundOfId(index.internalId()), node = nodeOfId(index.internalId());
  if (node < 0) return {};
  if (node == 0) return createIndex(round, 0, idOf(round, -1));
  const Round& nodes = roundAt(round);
  const int parent = nodes.nodes[static_cast<std::size_t>(node)].parent;
  if (parent <= 0) return createIndex(0, 0, idOf(round, 0));
  const auto& siblings =
      nodes.nodes[static_cast<std::size_t>(nodes.nodes[static_cast<std::size_t>(parent)].parent)].children;
  return createIndex(static_cast<int>(std::find(siblings.begin(), siblings.end(), parent) - siblings.begin()),
                     0, idOf(round, parent));
}

int TreeOutlineModel::rowCount(const QModelIndex& parent) const {
  if (!parent.isValid()) return shown_;
  if (parent.column() != 0) return 0;
  const int round = roundOfId(parent.internalId()), node = nodeOfId(parent.internalId());
  return node < 0 ? 1
                  : static_cast<int>(roundAt(round).nodes[static_cast<std::size_t>(node)].children.size());
}

MarkId TreeOutlineModel::markAt(const QModelIndex& index) const {
  if (!index.isValid()) return {};
  const int round = roundOfId(index.internalId()), node = nodeOfId(index.internalId());
  return {node < 0 ? MarkId::Kind::round : MarkId::Kind::node, line_->step(round)->run, round,
          node < 0 ? -1 : node - 1};
}

QModelIndex TreeOutlineModel::indexOf(const MarkId& mark) const {
  const int round = line_->indexOf(mark);
  if (round < 0 || round >= shown_) return {};
  if (mark.kind != MarkId::Kind::node) return createIndex(round, 0, idOf(round, -1));
  const Round& nodes = roundAt(round);
  const auto node = static_cast<std::size_t>(mark.item + 1);
  if (node >= nodes.nodes.size()) return {};
  if (node == 0) return createIndex(0, 0, idOf(round, 0));
  const int parent = nodes.nodes[node].parent;
  if (parent < 0) return {};
  const auto& siblings = nodes.nodes[static_cast<std::size_t>(parent)].children;
  return createIndex(static_cast<int>(std::find(siblings.begin(), siblings.end(), static_cast<int>(node)) -
                                      siblings.begin()),
                     0, idOf(round, static_cast<int>(node)));
}

QVariant TreeOutlineModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid()) return {};
  if (role == EventModel::markRole) return QVariant::fromValue(markAt(index));
  if (role != Qt::DisplayRole && role != Qt::ToolTipRole && role != Qt::AccessibleTextRole) return {};
  const int round = roundOfId(index.internalId()), node = nodeOfId(index.internalId());
  if (node < 0) {
    const RoundSummary& summary = line_->round(round);
    if (index.column() == tokenColumn) return tr("Round %1").arg(round);
    if (index.column() == verdictColumn)
      return tr("%1 of %2 accepted").arg(summary.accepted).arg(summary.proposed);
    return {};
  }
  const RoundNode& fact = roundAt(round).nodes[static_cast<std::size_t>(node)];
  const auto number = [&](double value) {
    return role == Qt::ToolTipRole ? exactText(value) : rounded(value);
  };
  switch (index.column()) {
    case tokenColumn:
      return line_->text(fact.token);
    case verdictColumn:
      return node == 0      ? tr("pending token")
             : fact.verdict ? QString::fromLatin1(name(fact.verdict->verdict))
             : fact.commit  ? QString::fromLatin1(name(fact.commit->provenance))
                            : tr("not tested");
    case pColumn:
      return number(targetProbability(fact));
    case qColumn:
      return number(fact.q);
    case uColumn:
      return number(fact.verdict ? fact.verdict->u : fact.draw ? fact.draw->u : kUnknown);
    case rankColumn:
      return fact.rank < 0 ? QString() : QString::number(fact.rank);
    default:
      return {};
  }
}

QVariant TreeOutlineModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || role != Qt::DisplayRole) return {};
  const QString names[] = {tr("Token"), tr("Verdict"), tr("p"), tr("q"), tr("u"), tr("Rank")};
  return section >= 0 && section < columnCount_ ? names[section] : QVariant();
}

LatticeModel::LatticeModel(Line* line, QObject* parent) : QAbstractTableModel(parent), line_(line) {
  connect(line, &Line::reset, this, &LatticeModel::read);
  connect(line, &Line::appended, this, [this](int first, int count) {
    bool any = false;
    for (int i = first; i < first + count; ++i) any |= line_->round(i).cells;
    if (any) read();
  });
  read();
}

void LatticeModel::read() {
  beginResetModel();
  steps_.clear();
  cells_.clear();
  int low = INT32_MAX, high = -1;
  for (int i = 0; i < line_->count(); ++i) {
    if (!line_->round(i).cells) continue;
    std::map<int, const CellFact*> row;
    for (const Event& event : line_->step(i)->events)
      if (const auto* cell = std::get_if<CellFact>(&event)) {
        row[cell->position] = cell;
        low = std::min(low, cell->position);
        high = std::max(high, cell->position);
      }
    steps_.push_back(i);
    cells_.push_back(std::move(row));
  }
  first_ = high < 0 ? 0 : low;
  positions_ = high < 0 ? 0 : high - low + 1;
  endResetModel();
}

int LatticeModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : static_cast<int>(steps_.size());
}
int LatticeModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : positions_;
}

const CellFact* LatticeModel::cellAt(const QModelIndex& index) const {
  const auto& row = cells_[static_cast<std::size_t>(index.row())];
  const auto found = row.find(first_ + index.column());
  return found == row.end() ? nullptr : found->second;
}

MarkId LatticeModel::markAt(const QModelIndex& index) const {
  if (!index.isValid()) return {};
  const int step = steps_[static_cast<std::size_t>(index.row())];
  return {MarkId::Kind::cell, line_->step(step)->run, step, first_ + index.column()};
}

QModelIndex LatticeModel::indexOf(const MarkId& mark) const {
  const auto row = std::find(steps_.begin(), steps_.end(), static_cast<int>(mark.step));
  const auto column = static_cast<int>(mark.item) - first_;
  return mark.kind == MarkId::Kind::cell && row != steps_.end() && column >= 0 && column < positions_
             ? index(static_cast<int>(row - steps_.begin()), column)
             : QModelIndex();
}

QVariant LatticeModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid()) return {};
  if (role == EventModel::markRole) return QVariant::fromValue(markAt(index));
  const CellFact* cell = cellAt(index);
  if (!cell) return {};
  if (role == Qt::DisplayRole) return line_->text(cell->token);
  if (role == Qt::ToolTipRole || role == Qt::AccessibleTextRole)
    return tr("%1, %2, confidence %3, entropy %4 nats")
        .arg(line_->text(cell->token), QString::fromLatin1(name(cell->state)), exactText(cell->confidence),
             exactText(cell->entropy));
  return {};
}

QVariant LatticeModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (role != Qt::DisplayRole) return {};
  return orientation == Qt::Horizontal ? QString::number(first_ + section)
         : section < static_cast<int>(steps_.size())
             ? tr("step %1").arg(steps_[static_cast<std::size_t>(section)])
             : QVariant();
}

}  // namespace decoscope
