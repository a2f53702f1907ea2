#include "widgets/models/MeasureModel.h"

#include <algorithm>
#include <map>

#include "widgets/models/EventModel.h"
#include "widgets/models/Numbers.h"

namespace decoscope {

namespace {

QString headingOf(const Curve& curve) {
  const QString name = QString::fromStdString(curve.name);
  return curve.unit.empty() ? name : name + QStringLiteral(" (%1)").arg(QString::fromStdString(curve.unit));
}

// Whole places without a decimal point, whatever their size.
QString placeText(double at) {
  return QString::number(at, 'f', 0);
}

}  // namespace

MeasureModel::MeasureModel(Line* line, QObject* parent) : QAbstractTableModel(parent), line_(line) {
  connect(line, &Line::reset, this, &MeasureModel::read);
  connect(line, &Line::appended, this, [this](int first, int count) {
    const auto curves = static_cast<int>(line_->curves()->curves().size());
    if (curves > curves_) {
      beginInsertColumns({}, firstCurveColumn + curves_, curves);
      curves_ = curves;
      endInsertColumns();
    }
    std::vector<int> added;
    for (int i = first; i < first + count; ++i)
      if (line_->round(i).measures) added.push_back(i);
    if (added.empty()) return;
    const auto rows = static_cast<int>(steps_.size());
    beginInsertRows({}, rows, rows + static_cast<int>(added.size()) - 1);
    steps_.insert(steps_.end(), added.begin(), added.end());
    endInsertRows();
  });
  read();
}

void MeasureModel::read() {
  beginResetModel();
  curves_ = static_cast<int>(line_->curves()->curves().size());
  steps_.clear();
  for (int i = 0; i < line_->count(); ++i)
    if (line_->round(i).measures) steps_.push_back(i);
  endResetModel();
}

int MeasureModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : static_cast<int>(steps_.size());
}
int MeasureModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : firstCurveColumn + curves_;
}

const MeasureFact* MeasureModel::factAt(const QModelIndex& index) const {
  const auto curves = line_->curves();
  const Curve& curve = curves->curves()[static_cast<std::size_t>(index.column() - firstCurveColumn)];
  for (const Event& event : line_->step(steps_[static_cast<std::size_t>(index.row())])->events)
    if (const auto* fact = std::get_if<MeasureFact>(&event);
        fact && fact->name == curve.name && fact->unit == curve.unit)
      return fact;
  return nullptr;
}

double MeasureModel::placeOf(int row) const {
  const StepPointer& step = line_->step(steps_[static_cast<std::size_t>(row)]);
  for (const Event& event : step->events)
    if (const auto* fact = std::get_if<MeasureFact>(&event))
      return static_cast<double>(fact->at < 0 ? step->step : fact->at);
  return static_cast<double>(step->step);
}

MarkId MeasureModel::markAt(const QModelIndex& index) const {
  if (!index.isValid()) return {};
  const int step = steps_[static_cast<std::size_t>(index.row())];
  const RunId run = line_->step(step)->run;
  if (index.column() < firstCurveColumn) return {MarkId::Kind::round, run, step, -1};
  return {MarkId::Kind::measure, run, step, index.column() - firstCurveColumn};
}

QModelIndex MeasureModel::indexOf(const MarkId& mark) const {
  const auto row = std::lower_bound(steps_.begin(), steps_.end(), static_cast<int>(mark.step));
  if (line_->indexOf(mark) < 0 || row == steps_.end() || *row != mark.step) return {};
  const bool curve = mark.kind == MarkId::Kind::measure && mark.item >= 0 && mark.item < curves_;
  return index(static_cast<int>(row - steps_.begin()),
               curve ? firstCurveColumn + static_cast<int>(mark.item) : placeColumn);
}

QVariant MeasureModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid()) return {};
  if (role == EventModel::markRole) return QVariant::fromValue(markAt(index));
  if (role == Qt::TextAlignmentRole) return QVariant(Qt::AlignRight | Qt::AlignVCenter);
  if (role != Qt::DisplayRole && role != Qt::ToolTipRole && role != Qt::AccessibleTextRole) return {};
  const QString place = placeText(placeOf(index.row()));
  if (index.column() < firstCurveColumn)
    return role == Qt::AccessibleTextRole ? tr("step %1").arg(place) : place;
  const MeasureFact* fact = factAt(index);
  if (!fact) return {};
  if (role == Qt::DisplayRole) return significant(fact->value);
  const QString exact =
      QStringLiteral("%1 %2").arg(exactText(fact->value), QString::fromStdString(fact->unit)).trimmed();
  return role == Qt::ToolTipRole ? exact
                                 : tr("step %1, %2 %3").arg(place, QString::fromStdString(fact->name), exact);
}

QVariant MeasureModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation == Qt::Horizontal && role == Qt::TextAlignmentRole)
    return QVariant(Qt::AlignRight | Qt::AlignVCenter);
  if (orientation != Qt::Horizontal || role != Qt::DisplayRole || section < 0 || section > curves_) return {};
  if (section == placeColumn) return tr("step");
  return headingOf(line_->curves()->curves()[static_cast<std::size_t>(section - firstCurveColumn)]);
}

QString measureTable(const CurveSet& set, double first, double last) {
  std::map<double, std::vector<const CurvePoint*>> rows;
  const std::vector<Curve>& curves = set.curves();
  for (std::size_t i = 0; i < curves.size(); ++i)
    for (const CurvePoint& point : curves[i].points) {
      if (point.at < first || point.at > last) continue;
      std::vector<const CurvePoint*>& row = rows[point.at];
      row.resize(curves.size());
      row[i] = &point;
    }
  QString text = QStringLiteral("step");
  for (const Curve& curve : curves) text += '\t' + headingOf(curve);
  text += '\n';
  for (const auto& [at, row] : rows) {
    text += placeText(at);
    for (const CurvePoint* point : row) {
      text += '\t';
      if (point) text += std::isnan(point->value) ? QStringLiteral("nan") : exactText(point->value);
    }
    text += '\n';
  }
  return text;
}

}  // namespace decoscope
