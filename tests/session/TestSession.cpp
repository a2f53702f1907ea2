// Runs, forks and audits over a session file.
#include <sqlite3.h>
#include <QFile>
#include <QTemporaryDir>
#include <QTest>
#include <fstream>

#include "core/session/Audit.h"
#include "core/trace/Round.h"
#include "tests/decode/Features.h"

using namespace decoscope;

namespace {

// A model whose logits are not numbers from some forward on.
class BrokenModel final : public test::WrappedModel {
 public:
  BrokenModel(std::unique_ptr<Model> inner, int good) : WrappedModel(std::move(inner)), good_(good) {}
  Result<ForwardOutput> forward(const ForwardRequest& request, const StopToken& stop) override {
    auto output = inner_->forward(request, stop);
    if (output && output->logits && --good_ < 0)
      output->logits = std::make_unique<NotNumbers>(output->logits->rows());
    return output;
  }

 private:
  class NotNumbers final : public Logits {
   public:
    explicit NotNumbers(int rows) : rows_(rows) {}
    int rows() const override { return rows_; }
    int vocabularySize() const override { return 4; }
    std::span<const float> row(int) const override { return values_; }

   private:
    int rows_;
    std::vector<float> values_ = std::vector<float>(4, std::numeric_limits<float>::quiet_NaN());
  };
  int good_;
};

bool sameEvents(const StepRecord& a, const StepRecord& b) {
  if (a.events.size() != b.events.size()) return false;
  const auto same = [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); };
  for (std::size_t i = 0; i < a.events.size(); ++i) {
    if (a.events[i].index() != b.events[i].index()) return false;
    if (const auto* v = std::get_if<VerdictFact>(&a.events[i])) {
      const auto& w = std::get<VerdictFact>(b.events[i]);
      if (v->node != w.node || v->verdict != w.verdict || !same(v->p, w.p) || !same(v->q, w.q) ||
          !same(v->u, w.u) || !same(v->threshold, w.threshold) || !same(v->pRaw, w.pRaw))
        return false;
    }
    if (const auto* v = std::get_if<DrawFact>(&a.events[i])) {
      const auto& w = std::get<DrawFact>(b.events[i]);
      if (v->token != w.token || !same(v->u, w.u) || !same(v->low, w.low) || !same(v->high, w.high) ||
          !same(v->probability, w.probability))
        return false;
    }
    if (const auto* v = std::get_if<DistributionFact>(&a.events[i])) {
      const auto& w = std::get<DistributionFact>(b.events[i]);
      if (v->tokens != w.tokens || v->probabilities != w.probabilities || !same(v->entropy, w.entropy))
        return false;
    }
    if (const auto* v = std::get_if<CommitFact>(&a.events[i]))
      if (v->token != std::get<CommitFact>(b.events[i]).token ||
          v->position != std::get<CommitFact>(b.events[i]).position)
        return false;
    if (const auto* v = std::get_if<ProposeFact>(&a.events[i]))
      if (v->token != std::get<ProposeFact>(b.events[i]).token ||
          v->parent != std::get<ProposeFact>(b.events[i]).parent)
        return false;
  }
  return true;
}

}  // namespace

class TestSession : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;
  std::string path(const char* name) { return folder_.filePath(name).toStdString(); }

  static RunRequest requestFor(const std::string& method) {
    RunRequest request;
    request.method = method;
    request.assignments = {"temperature=1"};
    request.promptTokens = {0, 1, 2, 0, 1, 2};
    request.maxNewTokens = 40;
    request.seed = 11;
    request.stopAtEnd = false;
    return request;
  }
  static void load(Engine& engine) {
    test::adopt(engine, "target", test::kTarget);
    test::adopt(engine, "drafter", test::kDrafter);
  }

 private Q_SLOTS:
  void forkWithNothingChangedRepeatsEverything_data() {
    QTest::addColumn<QString>("method");
    for (const MethodInfo* method : MethodRegistry::instance().methods())
      if (method->family != "diffusion" && method->name != "self-draft")
        QTest::newRow(method->name.c_str()) << QString::fromStdString(method->name);
  }
  void forkWithNothingChangedRepeatsEverything() {
    QFETCH(QString, method);
    const std::string file = path(qPrintable("fork-" + method));
    const auto recording = recordInFile(file, OpenMode::create);
    QVERIFY(recording.has_value());
    RunId first;
    {
      Engine engine(*recording);
      QVERIFY(test::adoptFor(engine, method.toStdString()).has_value());
      first = *engine.startRun(requestFor(method.toStdString()));
      QVERIFY(test::finishRun(engine).has_value());
    }
    const StepIndex end = recording->source->extent(first).second;
    for (const StepIndex at : {StepIndex{0}, end / 2, end - 1}) {
      Engine engine(*recording);
      QVERIFY(test::adoptFor(engine, method.toStdString()).has_value());
      ForkRequest request;
      request.run = first;
      request.step = at;
      const auto fork = engine.fork(request, StopToken());
      QVERIFY2(fork.has_value(), fork ? "" : fork.error().text().c_str());
      QVERIFY(test::finishRun(engine).has_value());
      QCOMPARE(recording->source->extent(*fork).second, end);
      for (StepIndex step = at; step < end; ++step)
        QVERIFY2(sameEvents(**recording->source->step(first, step), **recording->source->step(*fork, step)),
                 qPrintable(QString("step %1 of the fork at %2").arg(step).arg(at)));
    }
    for (const RunInfo& run : recording->source->runs()) {
      const auto report = auditRun(*recording->source, run.id);
      QVERIFY(report.has_value());
      QVERIFY2(report->failed.empty(), report->failed.empty() ? "" : report->failed.front().what.c_str());
      QVERIFY(report->checked > 0);
    }
  }
  void theModelConfirmsARecordOrContradictsIt() {
    const auto recording = recordInMemory();
    RunId first, fork;
    {
      Engine engine(recording);
      load(engine);
      first = *engine.startRun(requestFor("chain"));
      QVERIFY(test::finishRun(engine).has_value());
      ForkRequest request;
      request.run = first;
      request.step = 3;
      request.seed = 99;
      fork = *engine.fork(request, StopToken());
      QVERIFY(test::finishRun(engine).has_value());
    }
    const auto failures = [&](const char* target) {
      Engine engine(recording);
      test::adopt(engine, "target", target);
      test::adopt(engine, "drafter", test::kDrafter);
      std::size_t failed = 0;
      for (const RunId run : {first, fork}) {
        AuditReport report;
        if (!auditAgainstModel(engine, run, StopToken(), report)) return std::size_t{1000};
        if (report.checked == 0 && report.failed.empty()) return std::size_t{2000};
        failed += report.failed.size();
      }
      return failed;
    };
    QCOMPARE(failures(test::kTarget), std::size_t{0});
    QVERIFY(failures(test::kDrafter) > 0 && failures(test::kDrafter) < 1000);
    // Nothing was recorded by it.
    QCOMPARE(recording.source->runs().size(), std::size_t{2});
  }
  void aStopStringIsFoundAcrossAFork() {
    Engine engine(recordInMemory());
    load(engine);
    QVERIFY(engine.startRun(requestFor("sampling")).has_value());
    QVERIFY(test::finishRun(engine).has_value());
    const auto plain = test::generated(engine);
    // The latest first occurrence of a pair of tokens.
    std::size_t at = 0;
    for (std::size_t i = 0; i + 1 < plain.size(); ++i) {
      bool fresh = true;
      for (std::size_t j = 0; j < i; ++j) fresh &= plain[j] != plain[i] || plain[j + 1] != plain[i + 1];
      if (fresh) at = i;
    }
    QVERIFY(at >= 2);
    RunRequest request = requestFor("sampling");
    request.stopStrings = {
        std::string{static_cast<char>('a' + plain[at]), static_cast<char>('a' + plain[at + 1])}};
    const RunId run = *engine.startRun(request);
    QVERIFY(test::finishRun(engine).has_value());
    QCOMPARE(engine.current().stopReason, std::string("stop_string"));
    QCOMPARE(test::generated(engine).size(), at + 2);
    // The fork begins between the two tokens.
    ForkRequest fork;
    fork.run = run;
    fork.step = static_cast<StepIndex>(at) + 1;
    QVERIFY(engine.fork(fork, StopToken()).has_value());
    QVERIFY(test::finishRun(engine).has_value());
    QCOMPARE(engine.current().stopReason, std::string("stop_string"));
    QCOMPARE(test::generated(engine).size(), at + 2);
  }
  void forcedTokensAndOtherMethods() {
    Engine engine(recordInMemory());
    load(engine);
    const RunId first = *engine.startRun(requestFor("sampling"));
    QVERIFY(test::finishRun(engine).has_value());
    const auto plain = test::generated(engine);
    ForkRequest request;
    request.run = first;
    request.step = 5;
    request.force = {plain[5] == 0 ? 1 : 0};
    request.method = "lookup";
    const RunId fork = *engine.fork(request, StopToken());
    QVERIFY(test::finishRun(engine).has_value());
    const auto text = test::generated(engine);
    QVERIFY(std::equal(plain.begin(), plain.begin() + 5, text.begin()));
    QCOMPARE(text[5], request.force.front());
    QCOMPARE(text.size(), std::size_t{40});
    const auto whole = textOf(*engine.recording().source, fork);
    QCOMPARE((*whole)[6 + 5].provenance, Provenance::forced);
    // A fork of the fork, at one of its ancestor's steps.
    request = {};
    request.run = fork;
    request.step = 2;
    const RunId again = *engine.fork(request, StopToken());
    QCOMPARE(engine.recording().source->run(again)->parent, first);
    QVERIFY(test::finishRun(engine).has_value());
    QCOMPARE(test::generated(engine), plain);
  }
  // A token is forced in the middle of a round: what the round had written before it is kept.
  void aTokenIsForcedAtAnyPosition_data() {
    QTest::addColumn<QString>("method");
    for (const char* method : {"sampling", "lookup", "token-recycling", "chain", "specinfer"})
      QTest::newRow(method) << QString(method);
  }
  void aTokenIsForcedAtAnyPosition() {
    QFETCH(QString, method);
    const std::string file = path(qPrintable("force-" + method));
    const auto recording = recordInFile(file, OpenMode::create);
    Engine engine(*recording);
    load(engine);
    RunRequest whole = requestFor(method.toStdString());
    if (method != "sampling") whole.assignments.push_back("adaptive=false");
    const RunId first = *engine.startRun(whole);
    QVERIFY(test::finishRun(engine).has_value());
    const auto original = *textOf(*recording->source, first);
    const StepIndex end = recording->source->extent(first).second;
    bool deep = false;
    for (std::size_t at = 6; at < original.size(); at += 3) {
      const auto place = forkPlaceOf(original, end, static_cast<std::int64_t>(at));
      QVERIFY(place.has_value());
      deep |= !place->kept.empty();
      ForkRequest request;
      request.run = first;
      request.step = place->step;
      request.force = place->kept;
      request.force.push_back((original[at].token + 1) % 3);
      const auto fork = engine.fork(request, StopToken());
      QVERIFY2(fork.has_value(), fork ? "" : fork.error().text().c_str());
      QCOMPARE(recording->source->run(*fork)->kept, static_cast<std::int32_t>(place->kept.size()));
      QVERIFY(test::finishRun(engine).has_value());
      const auto text = *textOf(*recording->source, *fork);
      QCOMPARE(text.size(), original.size());
      for (std::size_t i = 0; i < at; ++i) QCOMPARE(text[i].token, original[i].token);
      for (std::size_t i = at - place->kept.size(); i < at; ++i)
        QCOMPARE(text[i].provenance, Provenance::kept);
      QCOMPARE(text[at].token, request.force.back());
      QCOMPARE(text[at].provenance, Provenance::forced);
      if (at + 1 < text.size()) QVERIFY(text[at + 1].provenance != Provenance::forced);
      // A fork of it with nothing changed repeats it; both pass the audit, from the file and from the model.
      request = {};
      request.run = *fork;
      request.step = place->step;
      const RunId again = *engine.fork(request, StopToken());
      QVERIFY(recording->source->run(again)->forced.empty());
      request.step = recording->source->extent(*fork).second - 1;
      const RunId late = *engine.fork(request, StopToken());
      QVERIFY(test::finishRun(engine).has_value());
      // Where the last step is the forced one, a fork of it chooses for itself.
      if (!forcedAt(*recording->source->run(*fork), request.step))
        QVERIFY(sameEvents(**recording->source->step(*fork, request.step),
                           **recording->source->step(late, request.step)));
      AuditReport report = *auditRun(*recording->source, *fork);
      QVERIFY(auditAgainstModel(engine, *fork, StopToken(), report).has_value());
      QVERIFY2(report.failed.empty(), report.failed.empty() ? "" : report.failed.front().what.c_str());
    }
    QVERIFY(deep || method == "sampling");
    // The prompt and what is outside the text cannot be forced; the end of the text can.
    QVERIFY(!forkPlaceOf(original, end, 5));
    QVERIFY(!forkPlaceOf(original, end, static_cast<std::int64_t>(original.size()) + 1));
    QCOMPARE(forkPlaceOf(original, end, static_cast<std::int64_t>(original.size()))->step, end);
  }
  void aForcedPathMayLeaveTheText() {
    const std::string file = path("path.decoscope");
    RunId fork;
    {
      const auto recording = recordInFile(file, OpenMode::create);
      Engine engine(*recording);
      load(engine);
      const RunId first = *engine.startRun(requestFor("lookup"));
      QVERIFY(test::finishRun(engine).has_value());
      const auto text = *textOf(*recording->source, first);
      ForkRequest request;
      request.run = first;
      request.step = 1;
      const auto begin = static_cast<std::size_t>((*recording->source->step(first, 1))->committedBefore);
      const TokenId other = text[begin].token == 2 ? 1 : 2;
      request.force = {other, other, 0};
      fork = *engine.fork(request, StopToken());
      QCOMPARE(recording->source->run(fork)->kept, 0);
      QVERIFY(engine.step(StopToken()).has_value());
    }
    // Reopened in the middle of the forced tokens, the run goes on with the rest of them.
    const auto recording = recordInFile(file, OpenMode::readWrite);
    const RunInfo info = *recording->source->run(fork);
    QCOMPARE(info.forced.size(), std::size_t{3});
    Engine engine(*recording);
    load(engine);
    QVERIFY(engine.resume(fork, StopToken()).has_value());
    QVERIFY(test::finishRun(engine).has_value());
    const auto text = *textOf(*recording->source, fork);
    const auto begin = static_cast<std::size_t>((*recording->source->step(fork, 1))->committedBefore);
    for (std::size_t i = 0; i < 3; ++i) {
      QCOMPARE(text[begin + i].token, info.forced[i]);
      QCOMPARE(text[begin + i].provenance, Provenance::forced);
    }
    QVERIFY(auditRun(*recording->source, fork)->failed.empty());
    // What the target would have given a forced token is recorded.
    bool scored = false;
    const StepPointer step = *recording->source->step(fork, 1);
    for (const Event& event : step->events)
      if (const auto* score = std::get_if<ScoreFact>(&event))
        scored = score->name == kForcedProbability && score->value > 0 && score->value < 1;
    QVERIFY(scored);
  }
  // p of every node that the target saw is known, also of those that no test came to.
  void everyNodeHasItsProbability_data() {
    QTest::addColumn<QString>("method");
    QTest::addColumn<double>("temperature");
    for (const char* method : {"lookup", "token-recycling", "chain", "specinfer"})
      for (const double temperature : {0.0, 1.0})
        QTest::addRow("%s at %g", method, temperature) << QString(method) << temperature;
  }
  void everyNodeHasItsProbability() {
    QFETCH(QString, method);
    QFETCH(double, temperature);
    Engine engine(recordInMemory());
    load(engine);
    RunRequest request = requestFor(method.toStdString());
    request.assignments = {"temperature=" + std::to_string(temperature), "adaptive=false"};
    const RunId run = *engine.startRun(request);
    QVERIFY(test::finishRun(engine).has_value());
    const auto table = *parseTable(test::kTarget, "t");
    int untested = 0;
    for (StepIndex index = 0; index < engine.recording().source->extent(run).second; ++index) {
      const StepPointer step = *engine.recording().source->step(run, index);
      const std::span<const TokenId> before(engine.text().data(),
                                            static_cast<std::size_t>(step->committedBefore));
      const Round round = roundOf(*step, before.back());
      for (std::size_t i = 1; i <= static_cast<std::size_t>(round.proposed); ++i) {
        const RoundNode& node = round.nodes[i];
        QVERIFY(node.verdict);
        std::vector<TokenId> path;
        for (std::int32_t at = node.parent; at > 0; at = round.nodes[static_cast<std::size_t>(at)].parent)
          path.insert(path.begin(), round.nodes[static_cast<std::size_t>(at)].token);
        std::vector<TokenId> text(before.begin(), before.end());
        text.insert(text.end(), path.begin(), path.end());
        const double p = test::probabilityOf(table, text, {node.token});
        QVERIFY(std::abs(node.verdict->pRaw - p) < 1e-6);
        const bool tested =
            node.verdict->verdict == VerdictKind::accepted || node.verdict->verdict == VerdictKind::rejected;
        untested += !tested;
        if (!tested) QVERIFY(std::abs(targetProbability(node) - p) < 1e-6);
      }
      for (const Event& event : step->events)
        if (const auto* draw = std::get_if<DrawFact>(&event)) QVERIFY(draw->probability > 0);
    }
    QVERIFY(untested > 0 || method == "lookup" || method == "chain");
  }
  void anEditedVerdictIsFound() {
    const std::string file = path("edited.decoscope");
    RunId run;
    {
      const auto recording = recordInFile(file, OpenMode::create);
      Engine engine(*recording);
      load(engine);
      run = *engine.startRun(requestFor("chain"));
      QVERIFY(test::finishRun(engine).has_value());
    }
    for (const char* edit :
         {"UPDATE verdict SET verdict='rejected' WHERE rowid=(SELECT min(rowid) FROM verdict WHERE "
          "verdict='accepted')",
          "UPDATE verdict SET p=p*0.5 WHERE rowid=1", "UPDATE draw SET u=u+0.001 WHERE rowid=1",
          "UPDATE committed SET token=(token+1)%4 WHERE rowid=2"}) {
      const std::string copy = file + ".copy";
      std::remove(copy.c_str());
      std::ifstream source(file, std::ios::binary);
      std::ofstream(copy, std::ios::binary) << source.rdbuf();
      {
        const auto clean = SessionStore::open(copy, OpenMode::readOnly);
        QVERIFY(auditRun(**clean, run)->failed.empty());
      }
      sqlite3* database = nullptr;
      QCOMPARE(sqlite3_open(copy.c_str(), &database), SQLITE_OK);
      QCOMPARE(sqlite3_exec(database, edit, nullptr, nullptr, nullptr), SQLITE_OK);
      QCOMPARE(sqlite3_changes(database), 1);
      sqlite3_close(database);
      const auto store = SessionStore::open(copy, OpenMode::readOnly);
      QVERIFY(store.has_value());
      QVERIFY2(!auditRun(**store, run)->failed.empty(), edit);
    }
  }
  void anEditedForcedTokenIsFound() {
    const std::string file = path("forced-edit.decoscope");
    RunId fork;
    {
      const auto recording = recordInFile(file, OpenMode::create);
      Engine engine(*recording);
      load(engine);
      ForkRequest request;
      request.run = *engine.startRun(requestFor("chain"));
      QVERIFY(test::finishRun(engine).has_value());
      const auto text = *textOf(*recording->source, request.run);
      for (std::int64_t at = 7; at < 40 && request.force.size() < 2; ++at) {
        const ForkPlace place = *forkPlaceOf(text, 0, at);
        request.step = place.step;
        request.force = place.kept;
      }
      QVERIFY(request.force.size() >= 2);
      request.force.push_back(0);
      fork = *engine.fork(request, StopToken());
      QVERIFY(test::finishRun(engine).has_value());
    }
    QVERIFY(auditRun(**SessionStore::open(file, OpenMode::readOnly), fork)->failed.empty());
    for (const char* edit : {"UPDATE run SET kept_tokens=3 WHERE kept_tokens>0",
                             "UPDATE committed SET provenance='forced' WHERE provenance='kept'",
                             "UPDATE committed SET token=(token+1)%4 WHERE provenance='forced'"}) {
      const std::string copy = file + ".copy";
      std::remove(copy.c_str());
      QVERIFY(QFile::copy(QString::fromStdString(file), QString::fromStdString(copy)));
      sqlite3* database = nullptr;
      QCOMPARE(sqlite3_open(copy.c_str(), &database), SQLITE_OK);
      QCOMPARE(sqlite3_exec(database, edit, nullptr, nullptr, nullptr), SQLITE_OK);
      QVERIFY(sqlite3_changes(database) > 0);
      sqlite3_close(database);
      const auto store = SessionStore::open(copy, OpenMode::readOnly);
      QVERIFY2(!auditRun(**store, fork)->failed.empty(), edit);
    }
  }
  void whatTheRecordCostsIsMeasured_data() {
    QTest::addColumn<QString>("method");
    QTest::addColumn<double>("temperature");
    for (const char* method : {"sampling", "lookup", "token-recycling", "chain", "specinfer"})
      for (const double temperature : {0.0, 1.0})
        QTest::addRow("%s at %g", method, temperature) << QString(method) << temperature;
  }
  // Digests cost what they cost only where they are asked for; handing a step on always does.
  void whatTheRecordCostsIsMeasured() {
    QFETCH(QString, method);
    QFETCH(double, temperature);
    for (const char* level : {"full", "light", "none"}) {
      Engine engine(recordInMemory());
      load(engine);
      RunRequest request = requestFor(method.toStdString());
      request.assignments = {"temperature=" + std::to_string(temperature)};
      request.recordLevel = level;
      QVERIFY(engine.startRun(request));
      while (!engine.ended()) {
        const auto step = engine.step(StopToken());
        QVERIFY(step);
        const auto& [within, behind] = engine.recordingCost();
        const double whole =
            (*step)->draftMilliseconds + (*step)->verifyMilliseconds + (*step)->otherMilliseconds;
        QVERIFY(level == std::string("full") ? within > 0 && within <= whole : within == 0);
        QVERIFY(behind > 0);
      }
    }
  }
  void badRunsAreRefused() {
    Engine engine(recordInMemory());
    load(engine);
    RunRequest request = requestFor("sampling");
    request.promptTokens.clear();
    QCOMPARE(engine.startRun(request).error().code, ErrorCode::badInput);
    request = requestFor("sampling");
    request.promptTokens = {0, 99};
    QCOMPARE(engine.startRun(request).error().code, ErrorCode::badInput);
    request = requestFor("no-such-method");
    QCOMPARE(engine.startRun(request).error().code, ErrorCode::usage);
    request = requestFor("sampling");
    request.assignments = {"temperature=hot"};
    QCOMPARE(engine.startRun(request).error().code, ErrorCode::usage);
    request = requestFor("self-draft");
    QCOMPARE(engine.startRun(request).error().code, ErrorCode::unsupported);
    QVERIFY(engine.recording().source->runs().empty());
  }
  void stopStringsAndLimits() {
    Engine engine(recordInMemory());
    load(engine);
    RunRequest request = requestFor("token-recycling");
    request.stopStrings = {"bc"};
    QVERIFY(engine.startRun(request).has_value());
    QVERIFY(test::finishRun(engine).has_value());
    QCOMPARE(engine.current().stopReason, std::string(kStopString));
    const std::string text = engine.tokenizer()->decode(test::generated(engine));
    QVERIFY(text.ends_with("bc"));
    QCOMPARE(text.find("bc"), text.size() - 2);
  }
  void brokenLogitsFailTheRunButKeepIt() {
    Engine engine(recordInMemory());
    auto parts = makeTableModel(*parseTable(test::kTarget, "t"), "table:t", "t");
    engine.adoptModel("target", "broken",
                      {std::make_unique<BrokenModel>(std::move(parts.model), 3), std::move(parts.tokenizer)});
    const RunId run = *engine.startRun(requestFor("sampling"));
    Status status;
    while (status && !engine.ended()) {
      const auto step = engine.step(StopToken());
      if (!step) status = tl::unexpected(step.error());
    }
    QVERIFY(!status);
    QCOMPARE(status.error().code, ErrorCode::failed);
    QCOMPARE(engine.recording().source->run(run)->state, RunState::failed);
    QCOMPARE(engine.recording().source->extent(run).second,
             StepIndex{4});  // three good steps and the failed one
    QVERIFY((*engine.recording().source->step(run, 3))->failed);
    QCOMPARE(test::generated(engine).size(), std::size_t{3});
  }
  void aRequestedStopRecordsNothing() {
    Engine engine(recordInMemory());
    load(engine);
    const RunId run = *engine.startRun(requestFor("sampling"));
    QVERIFY(engine.step(StopToken()).has_value());
    StopSource source;
    source.request_stop();
    QCOMPARE(engine.step(source.get_token()).error().code, ErrorCode::cancelled);
    QCOMPARE(engine.recording().source->extent(run).second, StepIndex{1});
    QVERIFY(engine.step(StopToken()).has_value());
  }
};

QTEST_GUILESS_MAIN(TestSession)
#include "TestSession.moc"
