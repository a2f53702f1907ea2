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
    session->step(3);
    QTRY_COMPARE(session->state().nextStep, StepIndex{3});
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
