// A training as a run of a session: written through a TraceSink as a trainer does it, and read by everything
// that reads runs.
#include <QTemporaryDir>
#include <QTest>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "core/interop/Export.h"
#include "core/metrics/Metrics.h"
#include "core/session/Audit.h"
#include "core/session/Engine.h"
#include "core/session/SessionRunner.h"
#include "core/trace/MeasuredRun.h"
#include "tests/decode/Tables.h"

using namespace decoscope;

namespace {

// What a trainer does: it knows a sink and nothing else of sessions. Every tenth step of the optimiser is
// logged, the held-out figure at every fiftieth.
Status train(TraceSink& sink, RunInfo info, std::int64_t from, std::int64_t to) {
  DECOSCOPE_ASSIGN(MeasuredRun run, MeasuredRun::begin(sink, std::move(info)));
  for (std::int64_t at = from; at < to; at += 10) {
    const double loss = 7.6 - 0.01 * static_cast<double>(at);
    std::vector<MeasureFact> measures = {{"loss", loss, "nats", at},
                                         {"loss.exit", loss + 0.5, "nats", at},
                                         {"learning_rate", 1e-3, "", at},
                                         {"tokens_per_second", at == 20 ? kUnknown : 950.5, "tokens/s", at}};
    if (at % 50 == 0) measures.push_back({"held_out_bits_per_byte", 2.5, "bits/byte", at});
    DECOSCOPE_TRY(run.add(std::move(measures), at == from
                                                   ? std::vector<NoteFact>{{"checkpoint", "wren-tiny.ckpt"}}
                                                   : std::vector<NoteFact>{}));
  }
  return run.finish(RunState::finished, "steps", 123'456'789);
}

RunInfo recipe() {
  RunInfo info;
  info.method = "train:wren-tiny";
  info.name = "wren-tiny";
  info.parameters.set("batch", std::int64_t{32});
  info.parameters.set("learning_rate", 3e-3);
  info.seed = 7;
  info.notes["expected"] = "2.4 bits/byte";
  return info;
}

}  // namespace

class TestTraining : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;
  std::string file_;
  RunId first_, resumed_, text_;

 private Q_SLOTS:
  // One session: a training, its continuation from a checkpoint, and an ordinary run.
  void initTestCase() {
    file_ = folder_.filePath("t.decoscope").toStdString();
    const auto recording = recordInFile(file_, OpenMode::create);
    QVERIFY(recording.has_value());
    const Status trained = train(*recording->sink, recipe(), 0, 100);
    QVERIFY2(trained.has_value(), trained ? "" : trained.error().text().c_str());
    first_ = recording->source->runs().back().id;
    RunInfo more = recipe();
    more.parent = first_;
    more.forkStep = 5;
    QVERIFY(train(*recording->sink, more, 50, 200).has_value());
    resumed_ = recording->source->runs().back().id;
    Engine engine(*recording);
    test::adopt(engine, "target", test::kTarget);
    RunRequest request;
    request.promptText = "abcab";
    request.maxNewTokens = 4;
    request.stopAtEnd = false;
    text_ = *engine.startRun(request);
    while (!engine.ended()) QVERIFY(engine.step({}).has_value());
    QVERIFY(recording->store->flush().has_value());
  }

  void itComesBack() {
    const auto store = SessionStore::open(file_, OpenMode::readOnly);
    const RunInfo info = *(*store)->run(first_);
    QVERIFY(isTraining(info) && !isTraining(*(*store)->run(text_)));
    QCOMPARE(info.parameters.real("learning_rate"), 3e-3);
    QVERIFY(info.prompt.empty() && info.models.empty() && info.state == RunState::finished);
    QCOMPARE(info.peakMemoryBytes, std::int64_t{123'456'789});
    QVERIFY(info.createdAt > 0);
    QCOMPARE((*store)->extent(first_), (std::pair<StepIndex, StepIndex>{0, 10}));
    const StepPointer step = *(*store)->step(first_, 5);
    QCOMPARE(step->events.size(), std::size_t{5});
    QVERIFY(step->otherMilliseconds >= 0 && step->startedAt > 0);
    const auto& held = std::get<MeasureFact>(step->events[4]);
    QVERIFY(held.name == "held_out_bits_per_byte" && held.at == 50 && held.value == 2.5);
    // The line of the resumed run has the steps of the first one before it, each once.
    const auto line = lineOf(**store, resumed_);
    QCOMPARE(line.size(), std::size_t{2});
    QVERIFY(line[0].end == 5 && line[1].first == 5 && line[1].end == 20);
    QVERIFY(textOf(**store, first_)->empty());
    QVERIFY((*store)->tokens(first_) != nullptr);
  }

  void otherMethodsAreNotMeasuredRuns() {
    MemoryTrace trace;
    RunInfo info;
    info.method = "trainer";
    QCOMPARE(MeasuredRun::begin(trace, info).error().code, ErrorCode::usage);
    QVERIFY(trace.runs().empty());
  }

  void itIsRefusedWhereTextIsNeeded() {
    const auto recording = recordInFile(file_, OpenMode::readWrite);
    Engine engine(*recording);
    const auto refused = [](const auto& result) {
      return !result && result.error().code == ErrorCode::unsupported &&
             result.error().message.find("is a training") != std::string::npos &&
             !result.error().hint.empty();
    };
    ForkRequest fork;
    fork.run = first_;
    fork.step = 3;
    // With and without a model, and also under another method.
    for (const bool model : {false, true}) {
      if (model) test::adopt(engine, "target", test::kTarget);
      QVERIFY(refused(engine.resume(first_, {})));
      QVERIFY(refused(engine.fork(fork, {})));
      fork.method = "sampling";
      QVERIFY(refused(engine.fork(fork, {})));
      QVERIFY(refused(engine.rerun(first_, [](const StepRecord&, const StepRecord&) {}, {})));
    }
    const std::size_t runs = recording->source->runs().size();
    RunRequest request;
    request.method = "train";
    request.promptText = "ab";
    QCOMPARE(engine.startRun(request).error().code, ErrorCode::usage);
    QCOMPARE(recording->source->runs().size(), runs);
    // The audit finds nothing to object to, with a model and without.
    for (const RunId run : {first_, resumed_}) {
      AuditReport report = *auditRun(*recording->source, run);
      QVERIFY(report.failed.empty());
      QVERIFY(auditAgainstModel(engine, run, {}, report).has_value());
      QVERIFY(report.failed.empty());
    }
  }

  void itIsMeasured() {
    const auto store = SessionStore::open(file_, OpenMode::readOnly);
    const RunStats stats = *statsOf(**store, resumed_, true);
    QCOMPARE(stats.steps, std::int64_t{20});
    QCOMPARE(stats.measures.size(), std::size_t{5});
    QVERIFY(stats.measures[0].name == "loss" && stats.measures[0].count == 20);
    QCOMPARE(stats.measures[0].last, 7.6 - 0.01 * 190);
    QCOMPARE(stats.measures[0].largest, 7.6);
    QVERIFY(stats.measures[3].notFinite == 1 && stats.measures[3].smallest == 950.5);
    std::set<std::string> names;
    for (const Metric& metric : metricsOf(stats)) names.insert(metric.name);
    QVERIFY(names.contains("loss.last") && names.contains("steps") && !names.contains("acceptance_rate"));
    // A run with text keeps all of its figures.
    QVERIFY(metricsOf(*statsOf(**store, text_, true)).size() > 20);
    QVERIFY(!baselineFor(**store, first_));
  }

  void itIsExported() {
    const auto store = SessionStore::open(file_, OpenMode::readOnly);
    std::ostringstream lines, table, tokens, all;
    QVERIFY(exportJsonl(**store, first_, lines).has_value());
    std::istringstream stream(lines.str());
    int measures = 0;
    bool unknown = false;
    for (std::string line; std::getline(stream, line);) {
      const auto object = nlohmann::json::parse(line);
      if (object.value("event", "") != "measure") continue;
      ++measures;
      unknown |= object["value"].is_null() && object["at"] == 20;
    }
    QCOMPARE(measures, 42);
    QVERIFY(unknown);
    QVERIFY(exportMeasuresCsv(**store, first_, table).has_value());
    QVERIFY(table.str().starts_with("run,step,at,name,value,unit\r\n1,0,0,\"loss\",7.6,\"nats\"\r\n"));
    QCOMPARE(std::ranges::count(table.str(), '\n'), std::ptrdiff_t{43});
    QVERIFY(table.str().find("1,2,20,\"tokens_per_second\",,\"tokens/s\"\r\n") != std::string::npos);
    // As tokens it has nothing, and that is said; a session with text too gives its tokens.
    const Status refused = exportCsv(**store, first_, tokens);
    QVERIFY(!refused && refused.error().code == ErrorCode::usage);
    QVERIFY(exportCsv(**store, std::nullopt, all).has_value());
    QCOMPARE(std::ranges::count(all.str(), '\n'), std::ptrdiff_t{5});
  }

  // The window's port shows it, refuses to step it in words, and saves it into another file.
  void thePortCopes() {
    const auto port = makeSession();
    const auto settled = [&] {
      return QTest::qWaitFor([&] { return port->state().activity == Activity::idle; }, 10'000);
    };
    port->openSession(file_);
    QVERIFY(QTest::qWaitFor([&] { return port->trace()->runs().size() == 3; }, 10'000));
    port->setCurrentRun(first_, {.steps = 1});
    QVERIFY(QTest::qWaitFor([&] { return port->state().errorCount == 1; }, 10'000) && settled());
    QVERIFY(port->state().lastError->message.find("is a training") != std::string::npos);
    const std::string copy = folder_.filePath("copy.decoscope").toStdString();
    port->saveSessionAs(copy);
    QVERIFY(QTest::qWaitFor([&] { return port->state().sessionPath == copy; }, 10'000) && settled());
    const auto step = port->trace()->step(resumed_, 19);
    QVERIFY(step.has_value());
    QCOMPARE(std::get<MeasureFact>((*step)->events.front()).at, std::int64_t{190});
  }
};

QTEST_GUILESS_MAIN(TestTraining)
#include "TestTraining.moc"
