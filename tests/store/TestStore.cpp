#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <QDir>
#include <QTemporaryDir>
#include <QTest>
#include <atomic>
#include <cmath>
#include <csignal>
#include <cstring>
#include <fstream>
#include <random>

#include "core/store/SessionStore.h"

using namespace decoscope;

namespace {

class Letters final : public TokenNames {
 public:
  std::string bytesOf(TokenId token) const override {
    return token == 7 ? std::string("\xFF") : std::string(1, static_cast<char>('a' + token % 26));
  }
};

RunInfo runInfo() {
  RunInfo info;
  info.name = "a run";
  info.method = "chain";
  info.parameters.set("temperature", 0.7);
  info.parameters.set("gamma", std::int64_t{4});
  info.parameters.set("adaptive", false);
  info.parameters.set("rule", std::string("r1"));
  info.seed = 18446744073709551615ull;
  info.models = {{"target", "m", "/m", "sha256:0", "f32", "cpu"}};
  info.tokenizer = "letters";
  info.promptText = "hello \"you\"";
  info.prompt = {1, 2, 3};
  info.maxNewTokens = 9;
  info.stopStrings = {"x", "\n"};
  info.notes["cost_curve"] = "1:1 2:1.5";
  return info;
}

// One of every fact, with numbers that only an exact round trip keeps.
StepRecord everyFact(RunId run, StepIndex index) {
  StepRecord step;
  step.run = run;
  step.step = index;
  step.committedBefore = 3 + index;
  step.committedAfter = 4 + index;
  step.draftMilliseconds = 0.1;
  step.verifyMilliseconds = 1.0 / 3;
  step.otherMilliseconds = 1e-300;
  step.startedAt = 1;
  step.events = {ForwardFact{"target", ForwardPhase::verify, 5, 6, -1, 0.1 + 0.2},
                 ProposeFact{0, kRootNode, 4, kUnknown, 0, 1, "lookup"},
                 DistributionFact{DistributionKind::residual, 0, -1, 1, {5, 7}, {0.75f, 0.1f}, 0.5, 0.15},
                 VerdictFact{0, VerdictKind::notReachedSibling, VerificationRule::r2, 0.1, kUnknown,
                             1 - 1e-16, 0.3, 0.4, -1, 2},
                 DrawFact{0, DrawPurpose::residual, 5, 0.3, 0.25, 0.5, 0.25, 1},
                 RollbackFact{"drafter", 3},
                 CellFact{9, 1, 4, -0.25, 1.5, CellState::remasked},
                 SwitchFact{"draft size", "80", "0", "cost"},
                 ScoreFact{2, "coverage", 0.125},
                 NoteFact{"warning", "ü \x01"},
                 CommitFact{3 + index, 5, Provenance::bonus, 0},
                 MeasureFact{"loss.exit", 0.1 + 0.2, "nats", 9'000'000'000},
                 MeasureFact{"learning_rate", kUnknown, ""},
                 MeasureFact{"grad_norm", INFINITY, ""}};
  return step;
}
const std::size_t kFacts = everyFact({}, 0).events.size();

bool same(double a, double b) {
  return std::memcmp(&a, &b, sizeof a) == 0 || (std::isnan(a) && std::isnan(b));
}

}  // namespace

class TestStore : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;
  std::string path(const char* name) { return folder_.filePath(name).toStdString(); }

 private Q_SLOTS:
  void everythingComesBack() {
    const std::string file = path("round.decoscope");
    RunId run;
    {
      const auto store = SessionStore::open(file, OpenMode::create);
      QVERIFY2(store.has_value(), store ? "" : store.error().text().c_str());
      run = *(*store)->beginRun(runInfo(), std::make_shared<Letters>());
      QVERIFY((*store)->append(std::make_shared<StepRecord>(everyFact(run, 0))).has_value());
      QVERIFY((*store)->putBlob("state", std::string("a\0b", 3)).has_value());
      QCOMPARE(*(*store)->getBlob("state"), std::string("a\0b", 3));
    }
    const auto store = SessionStore::open(file, OpenMode::readOnly);
    const RunInfo info = *(*store)->run(run), wanted = runInfo();
    QVERIFY(info.parameters == wanted.parameters);
    QCOMPARE(info.seed, wanted.seed);
    QCOMPARE(info.promptText, wanted.promptText);
    QCOMPARE(info.prompt, wanted.prompt);
    QCOMPARE(info.stopStrings, wanted.stopStrings);
    QCOMPARE(info.notes.at("cost_curve"), wanted.notes.at("cost_curve"));
    QCOMPARE(info.models.front().fingerprint, std::string("sha256:0"));
    const StepRecord original = everyFact(run, 0);
    const StepPointer step = *(*store)->step(run, 0);
    QVERIFY(same(step->verifyMilliseconds, original.verifyMilliseconds) &&
            same(step->otherMilliseconds, original.otherMilliseconds));
    QCOMPARE(step->events.size(), original.events.size());
    for (std::size_t i = 0; i < original.events.size(); ++i)
      QCOMPARE(step->events[i].index(), original.events[i].index());
    const auto& verdict = std::get<VerdictFact>(step->events[3]);
    QVERIFY(verdict.verdict == VerdictKind::notReachedSibling && verdict.rule == VerificationRule::r2 &&
            same(verdict.u, 1 - 1e-16) && std::isnan(verdict.q) && verdict.stage == 2);
    const auto& distribution = std::get<DistributionFact>(step->events[2]);
    QVERIFY(distribution.tokens == (std::vector<TokenId>{5, 7}) &&
            distribution.probabilities == (std::vector<float>{0.75f, 0.1f}) && distribution.stage == 1);
    QCOMPARE(std::get<NoteFact>(step->events[9]).text, std::string("ü \x01"));
    QVERIFY(std::isnan(std::get<ProposeFact>(step->events[1]).q));
    const auto& loss = std::get<MeasureFact>(step->events[11]);
    QVERIFY(loss.name == "loss.exit" && same(loss.value, 0.1 + 0.2) && loss.unit == "nats" &&
            loss.at == 9'000'000'000);
    const auto& rate = std::get<MeasureFact>(step->events[12]);
    QVERIFY(std::isnan(rate.value) && rate.unit.empty() && rate.at == -1);
    QVERIFY(std::get<MeasureFact>(step->events[13]).value == INFINITY);
    QCOMPARE((*store)->tokens(run)->bytesOf(7), std::string("\xFF"));
    QCOMPARE(*(*store)->getBlob("state"), std::string("a\0b", 3));
    QCOMPARE(*(*store)->query("SELECT verdict, rule, q FROM verdict"),
             std::string(R"([{"q":null,"rule":"R2","verdict":"not_reached_sibling"}])"));
    QCOMPARE(
        *(*store)->query("SELECT step, coalesce(at, step) AS at, value FROM measure WHERE name<>'grad_norm'"),
        std::string(
            R"([{"at":9000000000,"step":0,"value":0.30000000000000004},{"at":0,"step":0,"value":null}])"));
  }
  // The sample session is a file of schema 1: it is read as it is, and migrated where it may be written.
  void olderSchemasAreReadAndMigrated() {
    const QString file = folder_.filePath("older.decoscope");
    QVERIFY(QFile::copy(
        QStringLiteral(DECOSCOPE_SOURCE_DIR) + "/resources/sessions/speculative-decoding.decoscope", file));
    QVERIFY(QFile::setPermissions(file, QFile::ReadOwner | QFile::WriteOwner));
    const auto version = [&] {
      QFile bytes(file);
      return bytes.open(QFile::ReadOnly) && bytes.seek(63) ? static_cast<int>(bytes.read(1)[0]) : -1;
    };
    std::size_t runs = 0;
    if (version() == 1) {
      const auto reading = SessionStore::open(file.toStdString(), OpenMode::readOnly);
      QVERIFY2(reading.has_value(), reading ? "" : reading.error().text().c_str());
      runs = (*reading)->runs().size();
      QCOMPARE(version(), 1);
      const auto step = (*reading)->step((*reading)->runs().front().id, 0);
      QVERIFY2(step.has_value() && !(*step)->events.empty(), step ? "" : step.error().text().c_str());
    }
    {
      const auto writing = SessionStore::open(file.toStdString(), OpenMode::readWrite);
      QVERIFY2(writing.has_value(), writing ? "" : writing.error().text().c_str());
      QVERIFY(runs == 0 || (*writing)->runs().size() == runs);
      RunInfo forced = runInfo();
      forced.forced = {4, 5, 6};
      forced.kept = 2;
      const RunId run = *(*writing)->beginRun(forced, std::make_shared<Letters>());
      QVERIFY((*writing)->append(std::make_shared<StepRecord>(everyFact(run, 0))).has_value());
      QVERIFY((*writing)->flush().has_value());
      QCOMPARE(*(*writing)->query("SELECT forced_token AS t FROM run WHERE run=" + std::to_string(run.value)),
               std::string(R"([{"t":6}])"));
    }
    QCOMPARE(version(), kSchemaVersion);
    const auto again = SessionStore::open(file.toStdString(), OpenMode::readOnly);
    const RunInfo last = (*again)->runs().back();
    QVERIFY(last.forced == (std::vector<TokenId>{4, 5, 6}) && last.kept == 2);
    QCOMPARE((*(*again)->step(last.id, 0))->events.size(), kFacts);
  }
  void queriesCannotWrite() {
    const std::string file = path("query.decoscope");
    const auto store = SessionStore::open(file, OpenMode::create);
    QVERIFY((*store)->beginRun(runInfo(), std::make_shared<Letters>()).has_value());
    QVERIFY((*store)->flush().has_value());
    for (const char* sql :
         {"DELETE FROM run", "UPDATE run SET name='x'", "ATTACH 'other' AS o", "PRAGMA user_version=9",
          "CREATE TABLE t(a)", "DROP TABLE run", "VACUUM", "SELECT 1; DELETE FROM run", "", "SELECT nothing"})
      QVERIFY2(!(*store)->query(sql), sql);
    QCOMPARE(*(*store)->query("SELECT count(*) AS n FROM run"), std::string(R"([{"n":1}])"));
  }
  void aSecondWriterIsReadOnlyAndToldSo() {
    const std::string file = path("twice.decoscope");
    const auto first = SessionStore::open(file, OpenMode::create);
    const auto second = SessionStore::open(file, OpenMode::create);
    QVERIFY(second.has_value());
    QVERIFY((*second)->readOnly());
    QVERIFY((*second)->readOnlyReason().find(std::to_string(::getpid())) != std::string::npos);
    const auto refused = (*second)->beginRun(runInfo(), nullptr);
    QVERIFY(!refused && refused.error().message.find("read-only") != std::string::npos);
  }
  // What one writes the other sees, without opening it again: a training in a terminal, followed in the
  // window.
  void aReaderFollowsTheWriter() {
    const std::string file = path("followed.decoscope");
    const auto writer = SessionStore::open(file, OpenMode::create);
    const RunId run = *(*writer)->beginRun(runInfo(), std::make_shared<Letters>());
    QVERIFY((*writer)->append(std::make_shared<StepRecord>(everyFact(run, 0))).has_value());
    QVERIFY((*writer)->flush().has_value());
    std::atomic<StepIndex> told = 0;
    std::atomic<int> changes = 0;
    const auto reader = SessionStore::open(file, OpenMode::create, [&](const TraceNotice& notice) {
      if (notice.kind == TraceNotice::Kind::stepsAppended) told = notice.end;
      if (notice.kind == TraceNotice::Kind::runsChanged) ++changes;
    });
    QVERIFY((*reader)->readOnly());
    QCOMPARE((*reader)->extent(run).second, StepIndex{1});
    for (StepIndex step = 1; step < 40; ++step)
      QVERIFY((*writer)->append(std::make_shared<StepRecord>(everyFact(run, step))).has_value());
    const RunId second = *(*writer)->beginRun(runInfo(), std::make_shared<Letters>());
    RunInfo ended = *(*writer)->run(run);
    ended.state = RunState::finished;
    QVERIFY((*writer)->updateRun(ended).has_value());
    QVERIFY((*writer)->flush().has_value());
    QTRY_COMPARE(told.load(), StepIndex{40});
    QCOMPARE((*reader)->extent(run).second, StepIndex{40});
    QTRY_VERIFY((*reader)->run(second).has_value());
    QTRY_VERIFY((*reader)->run(run)->state == RunState::finished);
    const auto step = (*reader)->step(run, 39);
    QVERIFY(step.has_value());
    QCOMPARE((*step)->events.size(), kFacts);
    QCOMPARE((*reader)->tokens(run)->bytesOf(7), std::string("\xFF"));
    // Nothing is told where nothing was written.
    const int before = changes;
    QTest::qWait(1200);
    QCOMPARE(changes.load(), before);
  }
  void otherFilesAreRefused() {
    const std::string text = path("text.decoscope");
    std::ofstream(text)
        << "this is no database at all, only some text that is long enough to be read as a header";
    QCOMPARE(SessionStore::open(text, OpenMode::readWrite).error().code, ErrorCode::badInput);
    QCOMPARE(SessionStore::open(path("absent.decoscope"), OpenMode::readOnly).error().code,
             ErrorCode::badInput);
    const std::string newer = path("newer.decoscope");
    { QVERIFY(SessionStore::open(newer, OpenMode::create).has_value()); }
    std::fstream file(newer, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(60);  // user_version in SQLite's header, big-endian
    file.write("\0\0\0\x63", 4);
    file.close();
    for (const OpenMode mode : {OpenMode::readOnly, OpenMode::readWrite, OpenMode::create}) {
      const auto refused = SessionStore::open(newer, mode);
      QVERIFY(!refused && refused.error().message.find("newer") != std::string::npos);
    }
    const std::string damaged = path("damaged.decoscope");
    { QVERIFY(SessionStore::open(damaged, OpenMode::create).has_value()); }
    std::fstream bytes(damaged, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(100);
    bytes.write(std::string(6000, '\x5A').data(), 6000);
    bytes.close();
    QVERIFY(!SessionStore::open(damaged, OpenMode::readOnly));
  }
  // A file-size limit stands for a full disk: SQLite sees the same kind of failure.
  void aFullDiskLosesNothingRecorded() {
    const std::string file = path("full.decoscope");
    const pid_t child = ::fork();
    if (child == 0) {
      std::signal(SIGXFSZ, SIG_IGN);
      auto store = SessionStore::open(file, OpenMode::create);
      const RunId run = *(*store)->beginRun(runInfo(), std::make_shared<Letters>());
      if (!(*store)->append(std::make_shared<StepRecord>(everyFact(run, 0))) || !(*store)->flush())
        ::_exit(1);
      const rlimit limit{512 * 1024, 512 * 1024};
      ::setrlimit(RLIMIT_FSIZE, &limit);
      Status status;
      StepIndex step = 1;
      while (status && step < 100'000)
        status = (*store)->append(std::make_shared<StepRecord>(everyFact(run, step))), ++step;
      const bool told =
          !status && status.error().code == ErrorCode::failed && !(*store)->health() && !(*store)->flush();
      store->reset();
      ::_exit(told ? 0 : 2);
    }
    int result = 0;
    ::waitpid(child, &result, 0);
    QVERIFY2(WIFEXITED(result) && WEXITSTATUS(result) == 0, qPrintable(QString::number(result)));
    const auto store = SessionStore::open(file, OpenMode::readOnly);
    QVERIFY(store.has_value());
    const auto [first, end] = (*store)->extent(RunId{1});
    QVERIFY(end >= 1);
    for (StepIndex step = first; step < end; ++step)
      QCOMPARE((*(*store)->step(RunId{1}, step))->events.size(), kFacts);
  }
  // kill -9 at 50 random moments: what was reported durable is there, at most what was not is missing, and
  // the file opens.
  void killedWritersLoseNothingDurable() {
    std::mt19937 random(3);
    for (int round = 0; round < 50; ++round) {
      const std::string file = path(qPrintable(QString("kill-%1.decoscope").arg(round)));
      int pipes[2];
      QVERIFY(::pipe(pipes) == 0);
      const pid_t child = ::fork();
      if (child == 0) {
        ::close(pipes[0]);
        const auto store = SessionStore::open(file, OpenMode::create, [&](const TraceNotice& notice) {
          if (notice.kind != TraceNotice::Kind::durable) return;
          const StepIndex end = notice.end;
          if (::write(pipes[1], &end, sizeof end) < 0) ::_exit(3);
        });
        const RunId run = *(*store)->beginRun(runInfo(), std::make_shared<Letters>());
        for (StepIndex step = 0;; ++step) {
          if (!(*store)->append(std::make_shared<StepRecord>(everyFact(run, step)))) ::_exit(4);
          ::usleep(300);
        }
      }
      ::close(pipes[1]);
      ::usleep(static_cast<useconds_t>(10'000 + random() % 60'000));
      ::kill(child, SIGKILL);
      int result = 0;
      ::waitpid(child, &result, 0);
      QVERIFY(WIFSIGNALED(result));
      StepIndex durable = 0;
      for (StepIndex end; ::read(pipes[0], &end, sizeof end) == sizeof end;) durable = std::max(durable, end);
      ::close(pipes[0]);
      if (!QFile::exists(QString::fromStdString(file))) continue;  // killed before the file was made
      const auto store = SessionStore::open(file, OpenMode::readWrite);
      QVERIFY2(store.has_value(), store ? "" : store.error().text().c_str());
      QVERIFY(!(*store)->readOnly());
      if ((*store)->runs().empty()) {
        QCOMPARE(durable, StepIndex{0});
        continue;
      }
      const StepIndex end = (*store)->extent(RunId{1}).second;
      QVERIFY2(end >= durable, qPrintable(QString("%1 < %2").arg(end).arg(durable)));
      for (StepIndex step = 0; step < end; ++step) {
        const auto record = (*store)->step(RunId{1}, step);
        QVERIFY(record.has_value());
        QCOMPARE((*record)->events.size(), kFacts);
      }
    }
  }
};

QTEST_GUILESS_MAIN(TestStore)
#include "TestStore.moc"
