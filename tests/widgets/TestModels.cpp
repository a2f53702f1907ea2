// Item models under Qt's tester while a run grows; the filter's language; the why card's numbers.
#include <QAbstractItemModelTester>
#include <QSignalSpy>
#include <QTest>

#include "core/session/Engine.h"
#include "tests/decode/Tables.h"
#include "widgets/models/EventModel.h"
#include "widgets/models/OutlineModels.h"
#include "widgets/models/RunTreeModel.h"
#include "widgets/models/Selection.h"
#include "widgets/models/ViewHistory.h"
#include "widgets/models/Why.h"

using namespace decoscope;

namespace {

struct Live {
  Engine engine{recordInMemory()};
  RunId run;
  explicit Live(const std::string& method, std::vector<std::string> assignments = {},
                std::int64_t tokens = 40) {
    test::adopt(engine, "target", test::kTarget);
    test::adopt(engine, "drafter", test::kDrafter);
    RunRequest request;
    request.method = method;
    request.assignments = std::move(assignments);
    request.promptText = "abcab";
    request.maxNewTokens = tokens;
    request.stopAtEnd = false;
    run = *engine.startRun(request);
  }
  void step(int count = 1) {
    for (int i = 0; i < count && !engine.ended(); ++i) QVERIFY(engine.step({}).has_value());
  }
};

}  // namespace

class TestModels : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void modelsStaySoundWhileARunGrows() {
    Live live("chain", {"temperature=1"});
    Line line;
    EventModel events(&line);
    TreeOutlineModel outline(&line);
    LatticeModel lattice(&line);
    RunTreeModel runs;
    using Tester = QAbstractItemModelTester;
    Tester a(&events, Tester::FailureReportingMode::QtTest),
        b(&outline, Tester::FailureReportingMode::QtTest), c(&lattice, Tester::FailureReportingMode::QtTest),
        d(&runs, Tester::FailureReportingMode::QtTest);
    EventFilterModel filtered;
    filtered.setSourceModel(&events);
    Tester e(&filtered, Tester::FailureReportingMode::QtTest);
    runs.show(live.engine.recording().source);
    line.show(live.engine.recording().source, live.run);
    for (int i = 0; i < 6; ++i) {
      live.step(2);
      line.refresh();
      runs.refresh();
    }
    QCOMPARE(line.count(), static_cast<int>(live.engine.nextStep()));
    QCOMPARE(outline.rowCount(), line.count());
    QVERIFY(events.rowCount() > line.count() * 4);
    // Unfold everything: the tester checks parents and rows of what it sees.
    int nodes = 0;
    const std::function<void(const QModelIndex&)> walk = [&](const QModelIndex& at) {
      for (int row = 0; row < outline.rowCount(at); ++row) {
        const QModelIndex child = outline.index(row, 0, at);
        QCOMPARE(outline.parent(child), at);
        QCOMPARE(outline.indexOf(outline.markAt(child)).internalId(), child.internalId());
        QCOMPARE(outline.indexOf(outline.markAt(child)).row(), child.row());
        ++nodes;
        walk(child);
      }
    };
    walk({});
    QVERIFY(nodes > 3 * line.count());

    ForkRequest fork;
    fork.run = live.run;
    fork.step = 2;
    fork.assignments = {"temperature=0.5"};
    const RunId second = *live.engine.fork(fork, {});
    live.step(2);
    runs.refresh();
    QCOMPARE(runs.rowCount(), 1);
    QCOMPARE(runs.rowCount(runs.indexOf(live.run)), 1);
    QCOMPARE(runs.runAt(runs.index(0, 0, runs.indexOf(live.run))), second);
    line.show(live.engine.recording().source, second);
    QCOMPARE(line.count(), 4);
    QCOMPARE(line.step(1)->run, live.run);
    QCOMPARE(line.step(2)->run, second);
  }

  void theTextAndTheTreePointAtEachOther() {
    Live live("token-recycling", {"temperature=1", "adaptive=false"});
    live.step(12);
    Line line;
    line.show(live.engine.recording().source, live.run);
    QCOMPARE(line.text().size(), live.engine.text().size());
    for (const TextToken& token : line.text()) {
      QCOMPARE(token.token, live.engine.text()[static_cast<std::size_t>(token.position)]);
      if (token.step < 0) continue;
      const MarkId mark = line.markOf(token);
      QCOMPARE(mark.kind, MarkId::Kind::node);
      QCOMPARE(line.positionOf(mark), token.position);
      QVERIFY(!whyOf(line, mark).empty());
    }
    for (int i = 0; i < line.count(); ++i)
      QCOMPARE(line.rootOf(i),
               live.engine.text()[static_cast<std::size_t>(line.step(i)->committedBefore) - 1]);
  }

  void theWhyCardSaysWhatWasRecorded() {
    Live live("chain", {"temperature=1", "rule=r1"}, 200);
    live.step(60);
    Line line;
    line.show(live.engine.recording().source, live.run);
    int rejected = 0;
    for (int i = 0; i < line.count(); ++i)
      for (const Event& event : line.step(i)->events)
        if (const auto* v = std::get_if<VerdictFact>(&event); v && v->verdict == VerdictKind::rejected) {
          ++rejected;
          const MarkId mark{MarkId::Kind::node, live.run, i, v->node};
          const WhyCard card = whyOf(line, mark);
          QCOMPARE(card.tone, Tone::rejected);
          const auto value = [&](const QString& label) {
            for (const WhyRow& row : card.rows)
              if (row.label == label) return row.value;
            return kUnknown;
          };
          QCOMPARE(value("target p(x)"), v->p);
          QCOMPARE(value("drafter q(x)"), v->q);
          QCOMPARE(value("u drawn"), v->u);
          QCOMPARE(value("ratio p/q"), v->p / v->q);
          QCOMPARE(value("accept if u < p/q"), std::min(1.0, v->p / v->q));
          QVERIFY(v->u >= v->threshold);
          // The three distributions of a refusal: the residual is max(0, p − q), normalised.
          const Distributions d = distributionsOf(line, mark, 100);
          QVERIFY(d.hasDraft && d.hasResidual);
          double sum = 0;
          for (const DistributionRow& row : d.rows) sum += std::max(0.0, row.p - row.q);
          for (const DistributionRow& row : d.rows)
            if (!std::isnan(row.residual))
              QVERIFY(std::abs(row.residual - std::max(0.0, row.p - row.q) / sum) < 1e-5);
          QVERIFY(whyJson(line, mark).contains("\"target p(x)\""));
        }
    QVERIFY(rejected > 5);
  }

  void filters_data() {
    QTest::addColumn<QString>("text");
    QTest::addColumn<bool>("fits");
    QTest::newRow("empty") << "" << true;
    QTest::newRow("comparison") << "status==rejected" << true;
    QTest::newRow("both") << "status==rejected && p<0.1" << true;
    QTest::newRow("brackets") << "!(event==draw || rank>0) && q>=0.5" << true;
    QTest::newRow("word") << "verdict" << true;
    QTest::newRow("unknown field") << "colour==red" << false;
    QTest::newRow("open bracket") << "(p<0.1" << false;
    QTest::newRow("open quotation") << "text==\"a" << false;
    QTest::newRow("no right side") << "p<" << false;
    QTest::newRow("two comparisons") << "p<0.1 q>0.2" << false;
    QTest::newRow("deep") << QString(5000, '(') << false;
    QTest::newRow("long") << QStringLiteral("p<1") + QStringLiteral(" && p<1").repeated(300) << true;
  }
  void filters() {
    QFETCH(QString, text);
    QFETCH(bool, fits);
    const auto filter = EventFilter::parse(text);
    QCOMPARE(filter.has_value(), fits);
    if (!fits) QVERIFY(filter.error().where.find("character") != std::string::npos);
  }
  void aFilterKeepsExactlyItsRows() {
    Live live("chain", {"temperature=1"}, 100);
    live.step(20);
    Line line;
    EventModel events(&line);
    line.show(live.engine.recording().source, live.run);
    const auto count = [&](const QString& text) {
      const auto filter = EventFilter::parse(text);
      int rows = 0;
      for (int row = 0; filter && row < events.rowCount(); ++row) rows += filter->accepts(events, row);
      return rows;
    };
    int rejected = 0, low = 0, verdicts = 0;
    for (int i = 0; i < line.count(); ++i)
      for (const Event& event : line.step(i)->events)
        if (const auto* v = std::get_if<VerdictFact>(&event)) {
          ++verdicts;
          rejected += v->verdict == VerdictKind::rejected;
          low += v->verdict == VerdictKind::rejected && v->p < 0.25;
        }
    QVERIFY(rejected > 0);
    QCOMPARE(count("status==rejected"), rejected);
    QCOMPARE(count("status==rejected && p<0.25"), low);
    QCOMPARE(count("event==verdict && !(status==rejected)"), verdicts - rejected);
    QCOMPARE(count(""), events.rowCount());
    // A verdict has the token of its proposal.
    int byToken = 0;
    for (int token = 0; token < 4; ++token)
      byToken += count(QStringLiteral("event==verdict && token==%1").arg(token));
    QCOMPARE(byToken, verdicts);
  }

  void aDamagedRecordIsShownNotFollowed() {
    auto trace = std::make_shared<MemoryTrace>();
    RunInfo info;
    info.method = "sampling";
    info.prompt = {1, 2};
    const RunId run = *trace->beginRun(info, nullptr);
    auto step = std::make_shared<StepRecord>();
    step->run = run;
    step->events = {ProposeFact{0, 7, 3, 0.5, 0, 1, "x"}, ProposeFact{1, -9, 3, 0.5, 0, 1, "x"},
                    VerdictFact{55, VerdictKind::rejected}, CommitFact{2, 3, Provenance::plain, 99}};
    QVERIFY(trace->append(step).has_value());
    Line line;
    TreeOutlineModel outline(&line);
    QAbstractItemModelTester tester(&outline, QAbstractItemModelTester::FailureReportingMode::QtTest);
    line.show(trace, run);
    for (std::int64_t node = -3; node < 6; ++node) {
      const MarkId mark{MarkId::Kind::node, run, 0, node};
      (void)whyOf(line, mark);
      (void)distributionsOf(line, mark, 8);
      (void)line.positionOf(mark);
    }
    (void)layoutTree(*line.step(0), 2, line.labels());
    QCOMPARE(line.text().size(), std::size_t{3});
  }

  void viewChangesCanBeUndone() {
    ViewHistory history;
    int selected = 0;
    float zoom = 1;
    const int selection = history.track("selection", [&](const QVariant& value) {
      selected = value.toInt();
      history.record(0, 7, 8);  // what restoring triggers is not recorded
    });
    const int zooming = history.track("zoom", [&](const QVariant& value) { zoom = value.toFloat(); });
    const auto select = [&](int to) { history.record(selection, std::exchange(selected, to), to); };
    const auto scale = [&](float to) { history.record(zooming, std::exchange(zoom, to), to, true); };
    select(1);
    select(2);
    // A drag is one change, and two kinds never become one.
    for (const float step : {1.1f, 1.2f, 1.5f}) scale(step);
    select(3);
    QCOMPARE(history.undoText(), QString("selection"));
    history.undo();
    QCOMPARE(selected, 2);
    history.undo();
    QCOMPARE(zoom, 1.0f);
    history.redo();
    QCOMPARE(zoom, 1.5f);
    // After a pause the next drag is its own change.
    QTest::qWait(750);
    scale(3);
    QVERIFY(!history.canRedo());
    history.undo();
    QCOMPARE(zoom, 1.5f);
    history.undo();
    history.undo();
    history.undo();
    QCOMPARE(selected, 0);
    QVERIFY(!history.canUndo());
  }
};

QTEST_MAIN(TestModels)
#include "TestModels.moc"
