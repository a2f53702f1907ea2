#include "core/store/EventTables.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

namespace decoscope {

namespace {

using nlohmann::json;

// The value of an enumeration from its name; a name that a hand has changed to something unknown is an error,
// not a guess.
template <typename Enum, typename Name>
Result<Enum> parseName(const std::string& text, int count, Name nameOf, const char* column) {
  for (int i = 0; i < count; ++i)
    if (text == nameOf(static_cast<Enum>(i))) return static_cast<Enum>(i);
  return fail(ErrorCode::badInput, "'" + text + "' is not a known value", std::string("column ") + column,
              "The session was edited or damaged.");
}
constexpr auto kNameOf = [](auto value) { return name(value); };

// Entries as pairs of a 32-bit token id and a 32-bit float, little-endian, descending by probability.
std::string packEntries(const DistributionFact& fact) {
  std::string bytes(fact.tokens.size() * 8, '\0');
  for (std::size_t i = 0; i < fact.tokens.size(); ++i) {
    std::memcpy(bytes.data() + i * 8, &fact.tokens[i], 4);
    std::memcpy(bytes.data() + i * 8 + 4, &fact.probabilities[i], 4);
  }
  return bytes;
}
void unpackEntries(const std::string& bytes, DistributionFact& fact) {
  for (std::size_t at = 0; at + 8 <= bytes.size(); at += 8) {
    TokenId token;
    float probability;
    std::memcpy(&token, bytes.data() + at, 4);
    std::memcpy(&probability, bytes.data() + at + 4, 4);
    fact.tokens.push_back(token);
    fact.probabilities.push_back(probability);
  }
}

// Binds values in order.
class Binder {
 public:
  explicit Binder(Statement& statement) : statement_(statement) {}
  Binder& operator<<(std::int64_t value) { return statement_.bind(next_++, value), *this; }
  Binder& operator<<(std::int32_t value) { return *this << static_cast<std::int64_t>(value); }
  Binder& operator<<(double value) { return statement_.bind(next_++, value), *this; }
  Binder& operator<<(const char* text) { return statement_.bindStatic(next_++, text), *this; }
  Binder& operator<<(const std::string& text) {
    return statement_.bind(next_++, std::string_view(text)), *this;
  }
  Binder& blob(const std::string& bytes) { return statement_.bindBlob(next_++, bytes), *this; }
  Binder& null() { return statement_.bindNull(next_++), *this; }

 private:
  Statement& statement_;
  int next_ = 1;
};

json paramJson(const ParamSet& parameters) {
  json object = json::object();
  for (const auto& [name, value] : parameters.values())
    std::visit([&, key = name](const auto& v) { object[key] = v; }, value);
  return object;
}

std::string packTokens(const std::vector<TokenId>& tokens) {
  return {reinterpret_cast<const char*>(tokens.data()), tokens.size() * sizeof(TokenId)};
}
std::vector<TokenId> unpackTokens(const std::string& bytes) {
  std::vector<TokenId> tokens(bytes.size() / sizeof(TokenId));
  std::memcpy(tokens.data(), bytes.data(), tokens.size() * sizeof(TokenId));
  return tokens;
}

}  // namespace

Result<StepWriter> StepWriter::create(const Database& database) {
  StepWriter writer;
  const std::pair<Statement*, const char*> statements[] = {
      {&writer.step_, "INSERT INTO step VALUES(?,?,?,?,?,?,?,?,?)"},
      {&writer.forward_, "INSERT INTO forward VALUES(?,?,?,?,?,?,?,?,?)"},
      {&writer.distribution_, "INSERT INTO distribution VALUES(?,?,?,?,?,?,?,?,?,?)"},
      {&writer.node_, "INSERT INTO node VALUES(?,?,?,?,?,?,?,?,?,?)"},
      {&writer.verdict_, "INSERT INTO verdict VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)"},
      {&writer.draw_, "INSERT INTO draw VALUES(?,?,?,?,?,?,?,?,?,?,?)"},
      {&writer.committed_, "INSERT INTO committed VALUES(?,?,?,?,?,?,?)"},
      {&writer.cell_, "INSERT INTO cell VALUES(?,?,?,?,?,?,?,?,?)"},
      {&writer.fact_, "INSERT INTO fact VALUES(?,?,?,?,?,?,?,?)"},
      {&writer.measure_, "INSERT INTO measure VALUES(?,?,?,?,?,?,?)"}};
  for (const auto& [statement, sql] : statements) {
    DECOSCOPE_ASSIGN(*statement, database.prepare(sql));
  }
  return writer;
}

Status StepWriter::write(const StepRecord& record) {
  const std::int64_t run = record.run.value, step = record.step;
  Binder(step_) << run << step << record.committedBefore << record.committedAfter << record.draftMilliseconds
                << record.verifyMilliseconds << record.otherMilliseconds << record.startedAt
                << static_cast<std::int64_t>(record.failed);
  DECOSCOPE_TRY(step_.run());
  std::int64_t seq = 0;
  for (const Event& event : record.events) {
    Statement* target = nullptr;
    const auto begin = [&](Statement& statement) {
      target = &statement;
      Binder binder(statement);
      binder << run << step << seq;
      return binder;
    };
    if (const auto* e = std::get_if<ForwardFact>(&event))
      begin(forward_) << e->role << name(e->phase) << e->tokens << e->cached << e->lastLayer
                      << e->milliseconds;
    else if (const auto* e = std::get_if<DistributionFact>(&event))
      (begin(distribution_) << name(e->kind) << e->node << e->position << e->stage << e->entropy
                            << e->tailMass)
          .blob(packEntries(*e));
    else if (const auto* e = std::get_if<ProposeFact>(&event))
      begin(node_) << e->node << e->parent << e->token << e->q << e->rank << e->depth << e->owner;
    else if (const auto* e = std::get_if<VerdictFact>(&event))
      begin(verdict_) << e->node << name(e->verdict) << name(e->rule) << e->p << e->q << e->u << e->threshold
                      << e->pRaw << e->pRank << e->stage;
    else if (const auto* e = std::get_if<DrawFact>(&event))
      begin(draw_) << e->node << name(e->purpose) << e->token << e->u << e->low << e->high << e->probability
                   << e->stage;
    else if (const auto* e = std::get_if<CommitFact>(&event))
      begin(committed_) << e->position << e->token << name(e->provenance) << e->node;
    else if (const auto* e = std::get_if<CellFact>(&event))
      begin(cell_) << e->position << e->block << e->token << e->confidence << e->entropy << name(e->state);
    else if (const auto* e = std::get_if<RollbackFact>(&event))
      (begin(fact_) << "rollback" << e->role << e->dropped).null().null();
    else if (const auto* e = std::get_if<SwitchFact>(&event))
      begin(fact_) << "switch" << e->what << e->from << e->to << e->reason;
    else if (const auto* e = std::get_if<ScoreFact>(&event))
      (begin(fact_) << "score" << e->node << e->name << e->value).null();
    else if (const auto* e = std::get_if<NoteFact>(&event))
      (begin(fact_) << "note" << e->kind << e->text).null().null();
    else if (const auto* e = std::get_if<MeasureFact>(&event)) {
      Binder binder = begin(measure_);
      binder << e->name << e->value << e->unit;
      if (e->at < 0)
        binder.null();
      else
        binder << e->at;
    }
    DECOSCOPE_TRY(target->run());
    ++seq;
  }
  return {};
}

Result<StepReader> StepReader::create(const Database& database) {
  StepReader reader;
  const std::pair<Statement*, const char*> statements[] = {
      {&reader.step_,
       "SELECT committed_before,committed_after,draft_ms,verify_ms,other_ms,started_at,failed FROM step "
       "WHERE run=? AND step=?"},
      {&reader.forward_,
       "SELECT seq,role,phase,tokens,cached,last_layer,ms FROM forward WHERE run=? AND step=?"},
      {&reader.distribution_,
       "SELECT seq,kind,node,position,stage,entropy,tail_mass,entries FROM distribution WHERE run=? AND "
       "step=?"},
      {&reader.node_, "SELECT seq,node,parent,token,q,rank,depth,owner FROM node WHERE run=? AND step=?"},
      {&reader.verdict_,
       "SELECT seq,node,verdict,rule,p,q,u,threshold,p_raw,p_rank,stage FROM verdict WHERE run=? AND step=?"},
      {&reader.draw_,
       "SELECT seq,node,purpose,token,u,low,high,probability,stage FROM draw WHERE run=? AND step=?"},
      {&reader.committed_, "SELECT seq,position,token,provenance,node FROM committed WHERE run=? AND step=?"},
      {&reader.cell_,
       "SELECT seq,position,block,token,confidence,entropy,state FROM cell WHERE run=? AND step=?"},
      {&reader.fact_, "SELECT seq,kind,a,b,c,d FROM fact WHERE run=? AND step=?"}};
  for (const auto& [statement, sql] : statements) {
    DECOSCOPE_ASSIGN(*statement, database.prepare(sql));
  }
  DECOSCOPE_ASSIGN(const std::int64_t tables,
                   database.number("SELECT count(*) FROM sqlite_master WHERE name='measure'"));
  reader.hasMeasures_ = tables > 0;
  if (reader.hasMeasures_) {
    DECOSCOPE_ASSIGN(reader.measure_,
                     database.prepare("SELECT seq,name,value,unit,at FROM measure WHERE run=? AND step=?"));
  }
  return reader;
}

Result<StepPointer> StepReader::read(RunId run, StepIndex index) {
  std::vector<std::pair<std::int64_t, Event>> events;
  const auto each = [&](Statement& statement, auto take) -> Status {
    statement.reset();
    statement.bind(1, run.value);
    statement.bind(2, index);
    while (true) {
      DECOSCOPE_ASSIGN(const bool row, statement.step());
      if (!row) break;
      DECOSCOPE_TRY(take(statement));
    }
    statement.reset();
    return {};
  };
  const auto i32 = [](const Statement& s, int column) {
    return static_cast<std::int32_t>(s.integer(column));
  };
  auto record = std::make_shared<StepRecord>();
  bool found = false;
  DECOSCOPE_TRY(each(step_, [&](Statement& s) -> Status {
    found = true;
    *record = {run,       index,     s.integer(0), s.integer(1),      s.real(2),
               s.real(3), s.real(4), s.integer(5), s.integer(6) != 0, {}};
    return {};
  }));
  if (!found)
    return fail(ErrorCode::notFound, "there is no step " + std::to_string(index),
                "run " + std::to_string(run.value));
  DECOSCOPE_TRY(each(forward_, [&](Statement& s) -> Status {
    DECOSCOPE_ASSIGN(const auto phase, parseName<ForwardPhase>(s.text(2), 5, kNameOf, "forward.phase"));
    events.emplace_back(s.integer(0),
                        ForwardFact{s.text(1), phase, i32(s, 3), i32(s, 4), i32(s, 5), s.real(6)});
    return {};
  }));
  DECOSCOPE_TRY(each(distribution_, [&](Statement& s) -> Status {
    DistributionFact fact;
    DECOSCOPE_ASSIGN(fact.kind, parseName<DistributionKind>(s.text(1), 4, kNameOf, "distribution.kind"));
    fact.node = i32(s, 2), fact.position = i32(s, 3), fact.stage = i32(s, 4), fact.entropy = s.real(5),
    fact.tailMass = s.real(6);
    unpackEntries(s.blob(7), fact);
    events.emplace_back(s.integer(0), std::move(fact));
    return {};
  }));
  DECOSCOPE_TRY(each(node_, [&](Statement& s) -> Status {
    events.emplace_back(s.integer(0), ProposeFact{i32(s, 1), i32(s, 2), i32(s, 3), s.real(4), i32(s, 5),
                                                  i32(s, 6), s.text(7)});
    return {};
  }));
  DECOSCOPE_TRY(each(verdict_, [&](Statement& s) -> Status {
    VerdictFact fact;
    fact.node = i32(s, 1);
    DECOSCOPE_ASSIGN(fact.verdict, parseName<VerdictKind>(s.text(2), 5, kNameOf, "verdict.verdict"));
    DECOSCOPE_ASSIGN(fact.rule, parseName<VerificationRule>(s.text(3), 5, kNameOf, "verdict.rule"));
    fact.p = s.real(4), fact.q = s.real(5), fact.u = s.real(6), fact.threshold = s.real(7),
    fact.pRaw = s.real(8), fact.pRank = i32(s, 9), fact.stage = i32(s, 10);
    events.emplace_back(s.integer(0), fact);
    return {};
  }));
  DECOSCOPE_TRY(each(draw_, [&](Statement& s) -> Status {
    DrawFact fact;
    fact.node = i32(s, 1);
    DECOSCOPE_ASSIGN(fact.purpose, parseName<DrawPurpose>(s.text(2), 7, kNameOf, "draw.purpose"));
    fact.token = i32(s, 3), fact.u = s.real(4), fact.low = s.real(5), fact.high = s.real(6),
    fact.probability = s.real(7), fact.stage = i32(s, 8);
    events.emplace_back(s.integer(0), fact);
    return {};
  }));
  DECOSCOPE_TRY(each(committed_, [&](Statement& s) -> Status {
    DECOSCOPE_ASSIGN(const auto provenance,
                     parseName<Provenance>(s.text(3), 8, kNameOf, "committed.provenance"));
    events.emplace_back(s.integer(0), CommitFact{s.integer(1), i32(s, 2), provenance, i32(s, 4)});
    return {};
  }));
  DECOSCOPE_TRY(each(cell_, [&](Statement& s) -> Status {
    DECOSCOPE_ASSIGN(const auto state, parseName<CellState>(s.text(6), 5, kNameOf, "cell.state"));
    events.emplace_back(s.integer(0), CellFact{i32(s, 1), i32(s, 2), i32(s, 3), s.real(4), s.real(5), state});
    return {};
  }));
  DECOSCOPE_TRY(each(fact_, [&](Statement& s) -> Status {
    const std::string kind = s.text(1);
    if (kind == "rollback")
      events.emplace_back(s.integer(0), RollbackFact{s.text(2), i32(s, 3)});
    else if (kind == "switch")
      events.emplace_back(s.integer(0), SwitchFact{s.text(2), s.text(3), s.text(4), s.text(5)});
    else if (kind == "score")
      events.emplace_back(s.integer(0), ScoreFact{i32(s, 2), s.text(3), s.real(4)});
    else if (kind == "note")
      events.emplace_back(s.integer(0), NoteFact{s.text(2), s.text(3)});
    else
      return fail(ErrorCode::badInput, "'" + kind + "' is not a known value", "column fact.kind",
                  "The session was edited or damaged.");
    return {};
  }));
  if (hasMeasures_)
    DECOSCOPE_TRY(each(measure_, [&](Statement& s) -> Status {
      events.emplace_back(s.integer(0),
                          MeasureFact{s.text(1), s.real(2), s.text(3), s.isNull(4) ? -1 : s.integer(4)});
      return {};
    }));
  std::stable_sort(events.begin(), events.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  record->events.reserve(events.size());
  for (auto& [seq, event] : events) record->events.push_back(std::move(event));
  return StepPointer(std::move(record));
}

Status writeRun(const Database& database, const RunInfo& info) {
  DECOSCOPE_ASSIGN(
      Statement statement,
      database.prepare(
          "INSERT OR REPLACE INTO run VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"));
  json models = json::array(), notes = info.notes;
  for (const ModelIdentity& model : info.models)
    models.push_back({{"role", model.role},
                      {"name", model.name},
                      {"path", model.path},
                      {"fingerprint", model.fingerprint},
                      {"dtype", model.dtype},
                      {"device", model.device}});
  const auto dump = [](const json& value) {
    return value.dump(-1, ' ', false, json::error_handler_t::replace);
  };
  Binder binder(statement);
  binder << info.id.value << info.name;
  if (info.parent)
    binder << info.parent.value;
  else
    binder.null();
  binder << info.forkStep;
  if (!info.forced.empty())
    binder << info.forced.back();
  else
    binder.null();
  // Seeds are unsigned 64-bit numbers, more than SQLite's integers hold.
  binder << info.method << dump(paramJson(info.parameters)) << std::to_string(info.seed)
         << static_cast<std::int64_t>(info.stream) << dump(models) << info.tokenizer << info.promptText;
  binder.blob(packTokens(info.prompt));
  binder << info.maxNewTokens << dump(info.stopStrings) << static_cast<std::int64_t>(info.stopAtEnd)
         << static_cast<std::int64_t>(info.topK) << info.recordLevel << dump(notes) << info.createdAt
         << name(info.state) << info.stopReason << info.prefillMilliseconds << info.peakMemoryBytes;
  if (info.forced.empty())
    binder.null();
  else
    binder.blob(packTokens(info.forced));
  binder << static_cast<std::int64_t>(info.kept);
  return statement.run();
}

Result<std::vector<RunInfo>> readRuns(const Database& database) {
  DECOSCOPE_ASSIGN(Statement s, database.prepare("SELECT * FROM run ORDER BY run"));
  std::vector<RunInfo> runs;
  while (true) {
    DECOSCOPE_ASSIGN(const bool row, s.step());
    if (!row) break;
    RunInfo info;
    info.id.value = s.integer(0);
    const std::string where = "run " + std::to_string(info.id.value);
    info.name = s.text(1);
    info.parent.value = s.integer(2);
    info.forkStep = s.integer(3);
    if (!s.isNull(4)) info.forced = {static_cast<TokenId>(s.integer(4))};
    info.method = s.text(5);
    const json parameters = json::parse(s.text(6), nullptr, false),
               models = json::parse(s.text(9), nullptr, false),
               stops = json::parse(s.text(14), nullptr, false),
               notes = json::parse(s.text(18), nullptr, false);
    if (!parameters.is_object() || !models.is_array() || !stops.is_array() || !notes.is_object())
      return fail(ErrorCode::badInput, "the run's description is damaged", where);
    for (const auto& [name, value] : parameters.items()) {
      if (value.is_boolean())
        info.parameters.set(name, value.get<bool>());
      else if (value.is_number_integer())
        info.parameters.set(name, value.get<std::int64_t>());
      else if (value.is_number())
        info.parameters.set(name, value.get<double>());
      else if (value.is_string())
        info.parameters.set(name, value.get<std::string>());
      else
        return fail(ErrorCode::badInput, "the parameter '" + name + "' is damaged", where);
    }
    try {
      info.seed = std::stoull(s.text(7));
      for (const json& model : models)
        info.models.push_back({model.at("role"), model.at("name"), model.at("path"), model.at("fingerprint"),
                               model.at("dtype"), model.at("device")});
      info.stopStrings = stops.get<std::vector<std::string>>();
      info.notes = notes.get<std::map<std::string, std::string>>();
    } catch (const std::exception&) {
      return fail(ErrorCode::badInput, "the run's description is damaged", where);
    }
    info.stream = static_cast<std::uint32_t>(s.integer(8));
    info.tokenizer = s.text(10);
    info.promptText = s.text(11);
    info.prompt = unpackTokens(s.blob(12));
    info.maxNewTokens = s.integer(13);
    info.stopAtEnd = s.integer(15) != 0;
    info.topK = static_cast<int>(s.integer(16));
    info.recordLevel = s.text(17);
    info.createdAt = s.integer(19);
    DECOSCOPE_ASSIGN(info.state, parseName<RunState>(s.text(20), 5, kNameOf, "run.state"));
    info.stopReason = s.text(21);
    info.prefillMilliseconds = s.real(22);
    info.peakMemoryBytes = s.integer(23);
    // A file of schema 1 that could not be migrated, because it may only be read, ends here.
    if (s.columns() > 25 && !s.isNull(24)) {
      info.forced = unpackTokens(s.blob(24));
      info.kept = static_cast<std::int32_t>(
          std::clamp<std::int64_t>(s.integer(25), 0, static_cast<std::int64_t>(info.forced.size())));
    }
    runs.push_back(std::move(info));
  }
  return runs;
}

}  // namespace decoscope
