#include "widgets/models/RunTreeModel.h"

#include <QColor>
#include <QFont>
#include <QIcon>
#include <QPainter>
#include <QPixmap>
#include <algorithm>

#include "widgets/models/Numbers.h"
#include "widgets/style/Style.h"

namespace decoscope {

namespace {

double secondsOf(const StepRecord& step) {
  return (step.draftMilliseconds + step.verifyMilliseconds + step.otherMilliseconds) / 1e3;
}
// "loss 2.314": the loss, or what else was measured first.
QString measuredIn(const StepRecord& step) {
  const MeasureFact* found = nullptr;
  for (const Event& event : step.events)
    if (const auto* fact = std::get_if<MeasureFact>(&event); fact && (!found || fact->name == "loss"))
      found = fact;
  return found
             ? QStringLiteral("%1 %2").arg(QString::fromStdString(found->name), significant(found->value, 4))
             : QString();
}
std::int64_t tokensOf(const StepRecord& step) {
  return std::count_if(step.events.begin(), step.events.end(),
                       [](const Event& event) { return std::holds_alternative<CommitFact>(event); });
}

}  // namespace

RunTreeModel::~RunTreeModel() {
  *cancelled_ = true;
  pool_.waitForDone();
}

void RunTreeModel::show(std::shared_ptr<const TraceSource> source) {
  *cancelled_ = true;
  cancelled_ = std::make_shared<std::atomic<bool>>(false);
  summing_ = false;
  beginResetModel();
  source_ = std::move(source);
  nodes_.clear();
  roots_.clear();
  current_ = {};
  endResetModel();
  refresh();
}

void RunTreeModel::refresh() {
  if (!source_) return;
  for (RunInfo& info : source_->runs()) {
    const RunId id = info.id;
    if (const auto found = nodes_.find(id); found != nodes_.end()) {
      found->second.info = std::move(info);
      measure(found->second);
      const QModelIndex at = indexOf(id);
      Q_EMIT dataChanged(at, at.siblingAtColumn(columnCount_ - 1));
      continue;
    }
    // A parent comes before its forks; a damaged session's orphan is shown at the top.
    const RunId parent = nodes_.contains(info.parent) ? info.parent : RunId{};
    std::vector<RunId>& siblings = parent ? nodes_.at(parent).children : roots_;
    beginInsertRows(parent ? indexOf(parent) : QModelIndex(), static_cast<int>(siblings.size()),
                    static_cast<int>(siblings.size()));
    siblings.push_back(id);
    Node node;
    node.info = std::move(info);
    node.parent = parent;
    measure(node);
    nodes_.emplace(id, std::move(node));
    endInsertRows();
  }
  measureStored();
}

void RunTreeModel::measureStored() {
  if (summing_) return;
  struct Part {
    RunId run;
    StepIndex first = 0, end = 0;
    double seconds = 0;
    std::int64_t tokens = 0;
    QString measured;
  };
  std::vector<Part> parts;
  for (const auto& [id, node] : nodes_) {
    const auto [first, end] = source_->extent(id);
    const StepIndex from = first + node.counted;
    if (from < end && !source_->tryStep(id, from)) parts.push_back({id, from, end});
  }
  if (parts.empty()) return;
  summing_ = true;
  pool_.setMaxThreadCount(1);
  pool_.start([this, source = source_, cancelled = cancelled_, parts = std::move(parts)]() mutable {
    for (Part& part : parts)
      for (StepIndex index = part.first; index < part.end && !*cancelled; ++index) {
        const auto step = source->step(part.run, index);
        if (!step) {
          part.end = index;  // damaged: what is before it counts
          break;
        }
        part.seconds += secondsOf(**step);
        part.tokens += tokensOf(**step);
        if (const QString measured = measuredIn(**step); !measured.isEmpty()) part.measured = measured;
      }
    QMetaObject::invokeMethod(
        this,
        [this, cancelled, parts] {
          if (*cancelled) return;
          summing_ = false;
          bool more = false;
          for (const Part& part : parts) {
            Node& node = nodes_.at(part.run);
            const StepIndex first = source_->extent(part.run).first, counted = part.end - first;
            // They came into memory meanwhile and are in the sums.
            if (part.first != first + node.counted) continue;
            more |= counted > node.counted;
            node.counted = counted;
            node.seconds += part.seconds;
            node.tokens += part.tokens;
            if (!part.measured.isEmpty()) node.measured = part.measured;
            const QModelIndex at = indexOf(part.run);
            Q_EMIT dataChanged(at, at.siblingAtColumn(columnCount_ - 1));
          }
          // What came meanwhile; a damaged step is not asked for again.
          if (more) refresh();
        },
        Qt::QueuedConnection);
  });
}

void RunTreeModel::measure(Node& node) const {
  const auto [first, end] = source_->extent(node.info.id);
  for (StepIndex index = first + node.counted; index < end; ++index) {
    const StepPointer step = source_->tryStep(node.info.id, index);
    if (!step) break;
    node.seconds += secondsOf(*step);
    node.tokens += tokensOf(*step);
    if (const QString measured = measuredIn(*step); !measured.isEmpty()) node.measured = measured;
    ++node.counted;
  }
}

const std::vector<RunId>& RunTreeModel::childrenOf(const QModelIndex& parent) const {
  return parent.isValid() ? nodes_.at(runAt(parent)).children : roots_;
}
RunId RunTreeModel::runAt(const QModelIndex& index) const {
  return index.isValid() ? RunId{static_cast<std::int64_t>(index.internalId())} : RunId{};
}

QModelIndex RunTreeModel::indexOf(RunId run) const {
  const auto node = nodes_.find(run);
  if (node == nodes_.end()) return {};
  const std::vector<RunId>& siblings = node->second.parent ? nodes_.at(node->second.parent).children : roots_;
  const auto at = std::find(siblings.begin(), siblings.end(), run);
  return createIndex(static_cast<int>(at - siblings.begin()), 0, static_cast<quintptr>(run.value));
}

void RunTreeModel::setCurrent(RunId run) {
  if (run == current_) return;
  const RunId before = current_;
  current_ = run;
  for (const RunId id : {before, run})
    if (const QModelIndex at = indexOf(id); at.isValid())
      Q_EMIT dataChanged(at, at.siblingAtColumn(columnCount_ - 1));
}

QModelIndex RunTreeModel::index(int row, int column, const QModelIndex& parent) const {
  if (parent.isValid() && parent.column() != 0) return {};
  const std::vector<RunId>& children = childrenOf(parent);
  if (row < 0 || column < 0 || column >= columnCount_ || row >= static_cast<int>(children.size())) return {};
  return createIndex(row, column, static_cast<quintptr>(children[static_cast<std::size_t>(row)].value));
}

QModelIndex RunTreeModel::parent(const QModelIndex& index) const {
  if (!index.isValid()) return {};
  const RunId parent = nodes_.at(runAt(index)).parent;
  return parent ? indexOf(parent) : QModelIndex();
}

int RunTreeModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() && parent.column() != 0 ? 0 : static_cast<int>(childrenOf(parent).size());
}

QVariant RunTreeModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid()) return {};
  const Node& node = nodes_.at(runAt(index));
  const RunInfo& info = node.info;
  const bool fork = static_cast<bool>(info.parent);
  switch (role) {
    case runRole:
      return QVariant::fromValue(static_cast<qlonglong>(info.id.value));
    case Qt::DisplayRole:
      if (index.column() == speedColumn && isTraining(info)) return node.measured;
      if (index.column() == speedColumn)
        return node.seconds > 0 ? QStringLiteral("%1 tok/s")
                                      .arg(static_cast<double>(node.tokens) / node.seconds, 0, 'f', 1)
                                : QString();
      return QString::fromStdString(info.name.empty() ? info.method : info.name) +
             (fork ? QStringLiteral(" @ %1").arg(info.forkStep) : QString()) +
             (!info.forced.empty() ? QStringLiteral(" · forced") : QString());
    case Qt::ToolTipRole:
      return tr("Run %1 · %2\nseed %3 · %4 · %5%6\n%7")
          .arg(info.id.value)
          .arg(QString::fromStdString(info.method))
          .arg(info.seed)
          .arg(isTraining(info) ? tr("%1 records").arg(node.counted) : tr("%1 new tokens").arg(node.tokens))
          .arg(QString::fromLatin1(name(info.state)))
          .arg(info.stopReason.empty() ? QString()
                                       : QStringLiteral(" (%1)").arg(QString::fromStdString(info.stopReason)))
          .arg(fork               ? tr("fork of run %1 at step %2").arg(info.parent.value).arg(info.forkStep)
               : isTraining(info) ? tr("a training: it has no text")
                                  : tr("begins with its own prompt"));
    case Qt::TextAlignmentRole:
      return index.column() == speedColumn ? QVariant(Qt::AlignRight | Qt::AlignVCenter)
                                           : QVariant(Qt::AlignLeft | Qt::AlignVCenter);
    case Qt::ForegroundRole:
      return index.column() == speedColumn ? QVariant(style::colour(style::theme().dim)) : QVariant();
    case Qt::FontRole: {
      QFont font = style::interfaceFont();
      if (index.column() == speedColumn)
        font.setPointSizeF(8.5);
      else if (info.id == current_)
        font.setWeight(QFont::DemiBold);
      return font;
    }
    case Qt::DecorationRole: {
      if (index.column() != nameColumn) return {};
      const Tone tone = info.state == RunState::failed ? Tone::rejected
                        : fork                         ? Tone::resampled
                        : isTraining(info)             ? Tone::bonus
                        : info.method == "sampling"    ? Tone::notReached
                                                       : Tone::accepted;
      QPixmap dot(16, 16);
      dot.fill(Qt::transparent);
      QPainter painter(&dot);
      painter.setRenderHint(QPainter::Antialiasing);
      painter.setPen(Qt::NoPen);
      painter.setBrush(style::colour(style::theme().style(tone).edge));
      painter.drawEllipse(2, 2, 12, 12);
      painter.end();
      return QIcon(dot);
    }
    default:
      return {};
  }
}

QVariant RunTreeModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || role != Qt::DisplayRole) return {};
  return section == nameColumn ? tr("Run") : tr("Speed");
}

}  // namespace decoscope
