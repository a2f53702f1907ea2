#include "widgets/models/EventModel.h"

#include <cmath>
#include <optional>

#include "widgets/models/Numbers.h"

namespace decoscope {

namespace {

template <typename... Fs>
struct Overload : Fs... {
  using Fs::operator()...;
};
template <typename... Fs>
Overload(Fs...) -> Overload<Fs...>;

// The fields of one fact by name: numbers and words, what is absent is left out.
struct Field {
  std::optional<double> number;
  QString word;
};

// The token that a verdict is about; negative where its proposal is missing.
TokenId proposedAt(const Line& line, StepIndex step, NodeId node) {
  if (step < 0 || step >= line.count()) return -1;
  for (const Event& event : line.step(static_cast<int>(step))->events)
    if (const auto* propose = std::get_if<ProposeFact>(&event); propose && propose->node == node)
      return propose->token;
  return -1;
}

Field fieldOf(const Line& line, const Event& event, StepIndex step, const QString& name) {
  const auto number = [](double v) { return std::isnan(v) ? Field{} : Field{v, {}}; };
  const auto word = [](const QString& v) { return Field{std::nullopt, v}; };
  if (name == "step") return number(static_cast<double>(step));
  if (name == "event") return word(QString::fromLatin1(eventName(event)));
  return std::visit(Overload{[&](const ForwardFact& f) -> Field {
                               if (name == "ms") return number(f.milliseconds);
                               if (name == "role") return word(QString::fromStdString(f.role));
                               if (name == "status")
                                 return word(QString::fromLatin1(decoscope::name(f.phase)));
                               return {};
                             },
                             [&](const DistributionFact& f) -> Field {
                               if (name == "status")
                                 return word(QString::fromLatin1(decoscope::name(f.kind)));
                               if (name == "node") return number(f.node);
                               if (name == "entropy") return number(f.entropy);
                               return {};
                             },
                             [&](const ProposeFact& f) -> Field {
                               if (name == "node") return number(f.node);
                               if (name == "parent") return number(f.parent);
                               if (name == "depth") return number(f.depth);
                               if (name == "rank") return number(f.rank);
                               if (name == "token") return number(f.token);
                               if (name == "text") return word(line.text(f.token));
                               if (name == "q") return number(f.q);
                               return {};
                             },
                             [&](const VerdictFact& f) -> Field {
                               if (name == "status")
                                 return word(QString::fromLatin1(decoscope::name(f.verdict)));
                               if (name == "rule") return word(QString::fromLatin1(decoscope::name(f.rule)));
                               if (name == "node") return number(f.node);
                               if (name == "token" || name == "text") {
                                 const TokenId token = proposedAt(line, step, f.node);
                                 if (token < 0) return {};
                                 return name == "token" ? number(token) : word(line.text(token));
                               }
                               if (name == "p") return number(f.p);
                               if (name == "q") return number(f.q);
                               if (name == "u") return number(f.u);
                               if (name == "rank") return number(f.pRank);
                               if (name == "threshold") return number(f.threshold);
                               return {};
                             },
                             [&](const DrawFact& f) -> Field {
                               if (name == "status")
                                 return word(QString::fromLatin1(decoscope::name(f.purpose)));
                               if (name == "node") return number(f.node);
                               if (name == "token") return number(f.token);
                               if (name == "text") return word(line.text(f.token));
                               if (name == "p") return number(f.probability);
                               if (name == "u") return number(f.u);
                               return {};
                             },
                             [&](const CommitFact& f) -> Field {
                               if (name == "status")
                                 return word(QString::fromLatin1(decoscope::name(f.provenance)));
                               if (name == "node") return number(f.node);
                               if (name == "token") return number(f.token);
                               if (name == "text") return word(line.text(f.token));
                               if (name == "position") return number(static_cast<double>(f.position));
                               return {};
                             },
                             [&](const CellFact& f) -> Field {
                               if (name == "status")
                                 return word(QString::fromLatin1(decoscope::name(f.state)));
                               if (name == "token") return number(f.token);
                               if (name == "text") return word(line.text(f.token));
                               if (name == "position") return number(f.position);
                               if (name == "p") return number(f.confidence);
                               if (name == "entropy") return number(f.entropy);
                               return {};
                             },
                             [&](const ScoreFact& f) -> Field {
                               if (name == "node") return number(f.node);
                               if (name == "status") return word(QString::fromStdString(f.name));
                               return {};
                             },
                             [&](const MeasureFact& f) -> Field {
                               if (name == "status") return word(QString::fromStdString(f.name));
                               if (name == "value") return number(f.value);
                               return {};
                             },
                             [&](const NoteFact& f) -> Field {
                               return name == "status" ? word(QString::fromStdString(f.kind)) : Field{};
                             },
                             [&](const auto&) -> Field { return {}; }},
                    event);
}

QString sentence(const Event& event) {
  return std::visit(
      Overload{[](const ForwardFact& f) {
                 return QStringLiteral("%1 %2: %3 tokens after %4 cached, %5")
                     .arg(QString::fromStdString(f.role), QString::fromLatin1(name(f.phase)))
                     .arg(f.tokens)
                     .arg(f.cached)
                     .arg(milliseconds(f.milliseconds));
               },
               [](const DistributionFact& f) {
                 return QStringLiteral("%1 · entropy %2 nats · %3 entries, tail %4")
                     .arg(QString::fromLatin1(name(f.kind)), rounded(f.entropy, 3))
                     .arg(f.tokens.size())
                     .arg(rounded(f.tailMass, 4));
               },
               [](const ProposeFact& f) {
                 return QStringLiteral("depth %1, rank %2, by %3")
                     .arg(f.depth)
                     .arg(f.rank)
                     .arg(QString::fromStdString(f.owner));
               },
               [](const VerdictFact& f) {
                 return QStringLiteral("%1 by %2")
                     .arg(QString::fromLatin1(name(f.verdict)), QString::fromLatin1(name(f.rule)));
               },
               [](const DrawFact& f) {
                 return QStringLiteral("%1 in [%2, %3)")
                     .arg(QString::fromLatin1(name(f.purpose)), rounded(f.low), rounded(f.high));
               },
               [](const CommitFact& f) {
                 return QStringLiteral("%1 at position %2")
                     .arg(QString::fromLatin1(name(f.provenance)))
                     .arg(f.position);
               },
               [](const RollbackFact& f) {
                 return QStringLiteral("%1 dropped %2 cache entries")
                     .arg(QString::fromStdString(f.role))
                     .arg(f.dropped);
               },
               [](const CellFact& f) {
                 return QStringLiteral("%1 at position %2, block %3")
                     .arg(QString::fromLatin1(name(f.state)))
                     .arg(f.position)
                     .arg(f.block);
               },
               [](const SwitchFact& f) {
                 return QStringLiteral("%1: %2 → %3 (%4)")
                     .arg(QString::fromStdString(f.what), QString::fromStdString(f.from),
                          QString::fromStdString(f.to), QString::fromStdString(f.reason));
               },
               [](const ScoreFact& f) {
                 return QStringLiteral("%1 = %2").arg(QString::fromStdString(f.name), rounded(f.value, 6));
               },
               [](const MeasureFact& f) {
                 return QStringLiteral("%1 = %2 %3")
                     .arg(QString::fromStdString(f.name), rounded(f.value, 6), QString::fromStdString(f.unit))
                     .trimmed();
               },
               [](const NoteFact& f) {
                 return QStringLiteral("%1: %2").arg(QString::fromStdString(f.kind),
                                                     QString::fromStdString(f.text));
               }},
      event);
}

}  // namespace

EventModel::EventModel(Line* line, QObject* parent) : QAbstractTableModel(parent), line_(line) {
  connect(line, &Line::reset, this, [this] {
    beginResetModel();
    rows_.clear();
    for (int step = 0; step < line_->count(); ++step)
      for (int event = 0; event < static_cast<int>(line_->step(step)->events.size()); ++event)
        rows_.push_back({step, event});
    endResetModel();
  });
  connect(line, &Line::appended, this, [this](int first, int count) {
    int events = 0;
    for (int step = first; step < first + count; ++step)
      events += static_cast<int>(line_->step(step)->events.size());
    if (events == 0) return;
    beginInsertRows({}, static_cast<int>(rows_.size()), static_cast<int>(rows_.size()) + events - 1);
    for (int step = first; step < first + count; ++step)
      for (int event = 0; event < static_cast<int>(line_->step(step)->events.size()); ++event)
        rows_.push_back({step, event});
    endInsertRows();
  });
}

int EventModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : static_cast<int>(rows_.size());
}
int EventModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : columnCount_;
}
StepIndex EventModel::stepAt(int row) const {
  return rows_[static_cast<std::size_t>(row)].step;
}
const Event& EventModel::eventAt(int row) const {
  const Row& r = rows_[static_cast<std::size_t>(row)];
  return line_->step(r.step)->events[static_cast<std::size_t>(r.event)];
}

MarkId EventModel::markAt(int row) const {
  const StepPointer& step = line_->step(static_cast<int>(stepAt(row)));
  const auto node = [&](NodeId id) { return MarkId{MarkId::Kind::node, step->run, step->step, id}; };
  return std::visit(
      Overload{
          [&](const DistributionFact& f) {
            return f.position >= 0 ? MarkId{MarkId::Kind::cell, step->run, step->step, f.position}
                                   : node(f.node);
          },
          [&](const ProposeFact& f) { return node(f.node); },
          [&](const VerdictFact& f) { return node(f.node); }, [&](const DrawFact& f) { return node(f.node); },
          [&](const CommitFact& f) {
            return line_->markOf({f.position, f.token, f.provenance, step->run, step->step, f.node});
          },
          [&](const CellFact& f) { return MarkId{MarkId::Kind::cell, step->run, step->step, f.position}; },
          [&](const ScoreFact& f) { return node(f.node); },
          [&](const auto&) { return MarkId{MarkId::Kind::round, step->run, step->step, -1}; }},
      eventAt(row));
}

QVariant EventModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid()) return {};
  const Event& event = eventAt(index.row());
  const StepIndex step = stepAt(index.row());
  if (role == markRole) return QVariant::fromValue(markAt(index.row()));
  const bool numeric = index.column() == stepColumn || index.column() == nodeColumn ||
                       (index.column() >= pColumn && index.column() <= thresholdColumn);
  if (role == Qt::TextAlignmentRole)
    return numeric ? QVariant(Qt::AlignRight | Qt::AlignVCenter) : QVariant(Qt::AlignLeft | Qt::AlignVCenter);
  if (role != Qt::DisplayRole && role != Qt::ToolTipRole) return {};
  const auto field = [&](const char* name) {
    return fieldOf(*line_, event, step, QString::fromLatin1(name));
  };
  const auto show = [&](const Field& f) -> QVariant {
    if (!f.number) return f.word;
    return role == Qt::ToolTipRole ? exactText(*f.number) : rounded(*f.number, 4);
  };
  switch (index.column()) {
    case stepColumn:
      return QString::number(step);
    case eventColumn:
      return QString::fromLatin1(eventName(event));
    case nodeColumn: {
      const Field f = field("node");
      return f.number ? QString::number(static_cast<qint64>(*f.number)) : QString();
    }
    case tokenColumn:
      return field("text").word;
    case pColumn:
      return show(field("p"));
    case qColumn:
      return show(field("q"));
    case uColumn:
      return show(field("u"));
    case thresholdColumn:
      return show(field("threshold"));
    case whatColumn:
      return sentence(event);
    default:
      return {};
  }
}

QVariant EventModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || role != Qt::DisplayRole) return {};
  const QString names[] = {tr("Step"), tr("Event"), tr("Node"),      tr("Token"),        tr("p"),
                           tr("q"),    tr("u"),     tr("Threshold"), tr("What happened")};
  return section >= 0 && section < columnCount_ ? names[section] : QVariant();
}

// Recursive descent: or → and → not → comparison | word | "(" or ")".
class FilterParser {
 public:
  using Test = std::function<bool(const EventModel&, int)>;
  explicit FilterParser(const QString& text) : text_(text) {}

  Result<Test> whole() {
    DECOSCOPE_ASSIGN(Test test, any());
    skip();
    if (at_ < text_.size()) return wrong("something that does not fit");
    return test;
  }

 private:
  Result<Test> any() {
    DECOSCOPE_ASSIGN(Test left, all());
    while (take("||")) {
      DECOSCOPE_ASSIGN(Test right, all());
      left = [a = std::move(left), b = std::move(right)](const EventModel& m, int r) {
        return a(m, r) || b(m, r);
      };
    }
    return left;
  }
  Result<Test> all() {
    DECOSCOPE_ASSIGN(Test left, one());
    while (take("&&")) {
      DECOSCOPE_ASSIGN(Test right, one());
      left = [a = std::move(left), b = std::move(right)](const EventModel& m, int r) {
        return a(m, r) && b(m, r);
      };
    }
    return left;
  }
  Result<Test> one() {
    if (depth_ > 100) return wrong("too many brackets");
    if (take("!")) {
      ++depth_;
      DECOSCOPE_ASSIGN(Test inner, one());
      --depth_;
      return Test([a = std::move(inner)](const EventModel& m, int r) { return !a(m, r); });
    }
    if (take("(")) {
      ++depth_;
      DECOSCOPE_ASSIGN(Test inner, any());
      --depth_;
      if (!take(")")) return wrong("a bracket is not closed");
      return inner;
    }
    DECOSCOPE_ASSIGN(const QString left, word());
    for (const char* op : {"==", "!=", "<=", ">=", "<", ">", "~"})
      if (take(op)) {
        if (!EventFilter::fields().contains(left))
          return wrong(QStringLiteral("'%1' is not a field").arg(left).toStdString());
        DECOSCOPE_ASSIGN(const QString right, word());
        return comparison(left, QString::fromLatin1(op), right);
      }
    // A word on its own is looked for in the row's text.
    return Test([left](const EventModel& m, int r) {
      for (int column = 0; column < EventModel::columnCount_; ++column)
        if (m.data(m.index(r, column)).toString().contains(left, Qt::CaseInsensitive)) return true;
      return false;
    });
  }
  static Test comparison(const QString& name, const QString& op, const QString& right) {
    bool isNumber = false;
    const double bound = right.toDouble(&isNumber);
    return [name, op, right, bound, isNumber](const EventModel& m, int r) {
      const Field field = fieldOf(*m.line(), m.eventAt(r), m.stepAt(r), name);
      if (field.number && isNumber) {
        const double v = *field.number;
        if (op == "==") return v == bound;
        if (op == "!=") return v != bound;
        if (op == "<") return v < bound;
        if (op == ">") return v > bound;
        if (op == "<=") return v <= bound;
        if (op == ">=") return v >= bound;
        return false;
      }
      if (field.number || field.word.isEmpty()) return false;
      if (op == "==") return field.word.compare(right, Qt::CaseInsensitive) == 0;
      if (op == "!=") return field.word.compare(right, Qt::CaseInsensitive) != 0;
      if (op == "~") return field.word.contains(right, Qt::CaseInsensitive);
      return false;
    };
  }
  Result<QString> word() {
    skip();
    if (at_ < text_.size() && text_[at_] == '"') {
      const qsizetype end = text_.indexOf('"', at_ + 1);
      if (end < 0) return wrong("a quotation mark is not closed");
      const QString quoted = text_.mid(at_ + 1, end - at_ - 1);
      at_ = end + 1;
      return quoted;
    }
    const qsizetype start = at_;
    while (at_ < text_.size() && !text_[at_].isSpace() && !QStringLiteral("()!=<>&|~\"").contains(text_[at_]))
      ++at_;
    if (at_ == start) return wrong("a word is missing");
    return text_.mid(start, at_ - start);
  }
  bool take(const char* token) {
    skip();
    const QString wanted = QString::fromLatin1(token);
    if (text_.mid(at_, wanted.size()) != wanted) return false;
    if (wanted == "!" && text_.mid(at_, 2) == "!=") return false;
    at_ += wanted.size();
    return true;
  }
  void skip() {
    while (at_ < text_.size() && text_[at_].isSpace()) ++at_;
  }
  tl::unexpected<Error> wrong(const std::string& what) const {
    return fail(ErrorCode::usage, what, "character " + std::to_string(at_ + 1),
                "Example: status==rejected && p<0.1");
  }

  QString text_;
  qsizetype at_ = 0;
  int depth_ = 0;
};

QStringList EventFilter::fields() {
  return {"step", "event", "status", "rule",      "node",    "parent", "depth",    "rank", "token", "text",
          "p",    "q",     "u",      "threshold", "entropy", "ms",     "position", "role", "value"};
}

Result<EventFilter> EventFilter::parse(const QString& text) {
  EventFilter filter;
  if (text.trimmed().isEmpty()) return filter;
  DECOSCOPE_ASSIGN(filter.accept_, FilterParser(text).whole());
  return filter;
}

void EventFilterModel::setFilter(EventFilter filter) {
  filter_ = std::move(filter);
  invalidateFilter();
}

bool EventFilterModel::filterAcceptsRow(int row, const QModelIndex&) const {
  const auto* model = qobject_cast<const EventModel*>(sourceModel());
  return model && filter_.accepts(*model, row);
}

}  // namespace decoscope
