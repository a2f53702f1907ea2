// The session port: commands return at once, work happens on the model thread, and stop overtakes it.
#include <QElapsedTimer>
#include <QTemporaryDir>
#include <QTest>
#include <atomic>
#include <fstream>

#include "core/session/SessionRunner.h"
#include "tests/decode/Tables.h"

using namespace decoscope;

class TestRunner : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;
  std::string table_;

  RunRequest request() const {
    RunRequest request;
    request.models = {{"target", table_}};
    request.promptText = "abcab";
    request.assignments = {"temperature=1"};
    request.maxNewTokens = 50;
    request.stopAtEnd = false;
    return request;
  }
  static bool idle(const SessionPort& session) { return session.state().activity == Activity::idle; }

 private Q_SLOTS:
  void initTestCase() {
    table_ = "table:" + folder_.filePath("t.json").toStdString();
    std::ofstream(folder_.filePath("t.json").toStdString()) << test::kTarget;
  }
  void stepsRunsAndForks() {
    const auto session = makeSession();
    std::atomic<int> notices = 0;
    session->setListener([&](const TraceNotice*) { ++notices; });
    session->startRun(request());
    QVERIFY(session->state().recordingShare < 0);
    session->step(3);
    QTRY_COMPARE(session->state().nextStep, StepIndex{3});
    QVERIFY(session->state().recordingShare > 0 && session->state().recordingShare < 1);
    const RunId first = session->state().run;
    QCOMPARE(session->trace()->extent(first).second, StepIndex{3});
    RunCondition until;
    until.kind = RunCondition::Kind::step;
    until.step = 10;
    session->run(until);
    QTRY_COMPARE(session->state().nextStep, StepIndex{10});
    session->run();
    QTRY_COMPARE(session->state().stopReason, std::string("length"));
    QCOMPARE(session->trace()->extent(first).second, StepIndex{50});
    ForkRequest fork;
    fork.run = first;
    fork.step = 20;
    fork.method = "token-recycling";
    session->fork(fork);
    session->run();
    QTRY_VERIFY(session->state().run != first && session->state().stopReason == "length");
    QVERIFY(notices > 5);
    QVERIFY(!session->state().lastError);
  }
  void stopOvertakesALongRun() {
    const auto session = makeSession();
    RunRequest endless = request();
    endless.maxNewTokens = 900'000;
    endless.recordLevel = "none";
    session->startRun(endless);
    QElapsedTimer posting;
    posting.start();
    session->run();
    QVERIFY(posting.elapsed() < 50);
    QTRY_VERIFY(session->state().nextStep > 10);
    session->stop();
    QTRY_VERIFY(idle(*session));
    const StepIndex stopped = session->state().nextStep;
    QVERIFY(stopped < 900'000);
    QVERIFY(!session->state().lastError);
    session->step();
    QTRY_COMPARE(session->state().nextStep, stopped + 1);
  }
  void mistakesAreReportedAndHarmless() {
    const auto session = makeSession();
    session->step();
    QTRY_COMPARE(session->state().errorCount, std::uint64_t{1});
    QVERIFY(session->state().lastError && !session->state().lastError->message.empty());
    session->loadModel("target", "/nowhere.gguf", "auto", "auto");
    QTRY_COMPARE(session->state().errorCount, std::uint64_t{2});
    session->startRun(request());
    session->step();
    QTRY_COMPARE(session->state().nextStep, StepIndex{1});
    QVERIFY(!session->state().lastError);
  }
  void stepsAfterAFailedStartAreNotTaken() {
    const auto session = makeSession();
    session->startRun(request());
    session->step(2);
    QTRY_COMPARE(session->state().nextStep, StepIndex{2});
    RunRequest wrong = request();
    wrong.method = "magic";
    session->startRun(wrong, {.steps = 3, .run = true});
    QTRY_COMPARE(session->state().errorCount, std::uint64_t{1});
    QTRY_VERIFY(idle(*session));
    // The message is that of the cause, and the old line has not moved.
    QVERIFY(session->state().lastError->message.find("magic") != std::string::npos);
    QCOMPARE(session->state().nextStep, StepIndex{2});
    // One that succeeds goes on as it was told: three steps, then up to the condition.
    session->startRun(request(),
                      {.steps = 3, .run = true, .condition = {.kind = RunCondition::Kind::step, .step = 9}});
    QTRY_COMPARE(session->state().nextStep, StepIndex{9});
    QTRY_VERIFY(idle(*session));
    QCOMPARE(session->state().nextStep, StepIndex{9});
  }
  void aRunPausesWhereItsConditionHolds_data() {
    using Kind = RunCondition::Kind;
    QTest::addColumn<int>("kind");
    QTest::addColumn<double>("bound");
    QTest::newRow("the next refusal") << static_cast<int>(Kind::nextReject) << 0.0;
    QTest::newRow("entropy") << static_cast<int>(Kind::entropyAbove) << 1.28;
    QTest::newRow("probability") << static_cast<int>(Kind::probabilityBelow) << 0.16;
    QTest::newRow("a token") << static_cast<int>(Kind::token) << 2.0;
    QTest::newRow("a step") << static_cast<int>(Kind::step) << 7.0;
  }
  void aRunPausesWhereItsConditionHolds() {
    QFETCH(int, kind);
    QFETCH(double, bound);
    RunCondition condition;
    condition.kind = static_cast<RunCondition::Kind>(kind);
    condition.bound = bound;
    condition.token = static_cast<TokenId>(bound);
    condition.step = static_cast<StepIndex>(bound);
    // Whether a step is one to pause after, from the table and the text alone.
    const auto table = *parseTable(test::kTarget, "t");
    const auto holds = [&](const StepRecord& step, const std::vector<TextToken>& text) {
      const auto p = [&](std::size_t at, TokenId token) {
        std::vector<TokenId> before;
        for (std::size_t i = 0; i < at; ++i) before.push_back(text[i].token);
        return test::probabilityOf(table, before, {token});
      };
      const auto first = static_cast<std::size_t>(step.committedBefore),
                 last = static_cast<std::size_t>(step.committedAfter);
      switch (condition.kind) {
        case RunCondition::Kind::nextReject:
          return std::any_of(step.events.begin(), step.events.end(), [](const Event& event) {
            const auto* verdict = std::get_if<VerdictFact>(&event);
            return verdict && verdict->verdict == VerdictKind::rejected;
          });
        case RunCondition::Kind::entropyAbove: {
          double entropy = 0;
          for (TokenId token = 0; token < 4; ++token) entropy -= p(first, token) * std::log(p(first, token));
          return entropy > bound;
        }
        case RunCondition::Kind::probabilityBelow:
          for (std::size_t at = first; at < last; ++at)
            if (p(at, text[at].token) < bound) return true;
          return false;
        case RunCondition::Kind::token:
          for (std::size_t at = first; at < last; ++at)
            if (text[at].token == condition.token) return true;
          return false;
        default:
          return step.step + 1 >= condition.step;
      }
    };
    const auto session = makeSession();
    RunRequest wanted = request();
    wanted.method = "lookup";
    wanted.assignments.push_back("adaptive=false");
    wanted.maxNewTokens = 400;
    session->startRun(wanted, {.run = true, .condition = condition});
    for (int pause = 0; pause < 3; ++pause) {
      QTRY_VERIFY(session->state().nextStep > 0 && idle(*session));
      const auto state = session->state();
      const auto text = *textOf(*session->trace(), state.run);
      QVERIFY(holds(**session->trace()->step(state.run, state.nextStep - 1), text));
      if (pause == 0)
        for (StepIndex step = 0; step + 1 < state.nextStep; ++step)
          QVERIFY(!holds(**session->trace()->step(state.run, step), text));
      const StepIndex before = state.nextStep;
      session->run(condition);
      QTRY_VERIFY(session->state().nextStep > before && idle(*session));
    }
  }
  void promptsArePreviewed() {
    const auto session = makeSession();
    RunRequest wanted = request();
    wanted.promptTokens.clear();
    wanted.promptText = "abca";
    QCOMPARE(session->previewPrompt(wanted).error().code, ErrorCode::notFound);
    session->startRun(request());
    QTRY_VERIFY(!session->state().modelName.empty());
    const auto preview = session->previewPrompt(wanted);
    QVERIFY(preview && preview->tokens == (std::vector<TokenId>{0, 1, 2, 0}) && preview->text == "abca");
    wanted.chatJson = "[";
    QCOMPARE(session->previewPrompt(wanted).error().code, ErrorCode::badInput);
    QCOMPARE(session->trace()->runs().size(), std::size_t{1});
  }
  void sessionsAreSavedAndOpened() {
    const std::string file = folder_.filePath("saved.decoscope").toStdString();
    RunId run;
    {
      const auto session = makeSession();
      session->startRun(request());
      session->step(7);
      QTRY_COMPARE(session->state().nextStep, StepIndex{7});
      run = session->state().run;
      session->saveSessionAs(file);
      QTRY_COMPARE(session->state().sessionPath, file);
      session->setCurrentRun(run);
      session->step(2);
      QTRY_COMPARE(session->state().nextStep, StepIndex{9});
      QTRY_COMPARE(session->state().durable, StepIndex{9});
    }
    const auto session = makeSession();
    session->openSession(file);
    QTRY_COMPARE(session->state().sessionPath, file);
    QCOMPARE(session->trace()->extent(run).second, StepIndex{9});
    // Without its model a recorded run can be looked at, and says what it would need to go on.
    session->setCurrentRun(run);
    QTRY_VERIFY(session->state().lastError.has_value());
  }
};

QTEST_GUILESS_MAIN(TestRunner)
#include "TestRunner.moc"
