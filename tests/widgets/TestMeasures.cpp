// What the window knows of a training: its curves, its table under Qt's model tester while it grows, its
// cards.
#include <QAbstractItemModelTester>
#include <QTest>

#include "core/trace/MeasuredRun.h"
#include "widgets/models/EventModel.h"
#include "widgets/models/MeasureModel.h"
#include "widgets/models/OutlineModels.h"
#include "widgets/models/RunTreeModel.h"
#include "widgets/models/Why.h"

using namespace decoscope;

namespace {

// A trainer that writes into a trace in memory.
struct Training {
  std::shared_ptr<MemoryTrace> trace = std::make_shared<MemoryTrace>();
  Result<MeasuredRun> run = MeasuredRun::begin(*trace, info());
  int done = 0;

  static RunInfo info() {
    RunInfo info;
    info.method = "train:wren";
    info.name = "wren";
    info.seed = 3;
    info.parameters.set("learning_rate", 0.003);
    info.parameters.set("steps", std::int64_t{500});
    return info;
  }
  void step(int count = 1) {
    for (int i = 0; i < count; ++i, ++done) {
      std::vector<MeasureFact> measures = {{"loss", 8.0 / (done + 1), "nats", 10 * done},
                                           {"learning_rate", 1e-3, "", 10 * done}};
      if (done >= 4 && done % 2 == 0) measures.push_back({"held_out", 2.5, "bits/byte", 10 * done});
      QVERIFY(run->add(std::move(measures),
                       done == 3 ? std::vector<NoteFact>{{"checkpoint", "three"}} : std::vector<NoteFact>{})
                  .has_value());
    }
  }
};

double valueOf(const WhyCard& card, const QString& label) {
  for (const WhyRow& row : card.rows)
    if (row.label == label) return row.value;
  return kUnknown;
}

}  // namespace

class TestMeasures : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void theTableStaysSoundWhileATrainingGrows() {
    Training training;
    Line line;
    MeasureModel table(&line);
    TreeOutlineModel outline(&line);
    EventModel events(&line);
    RunTreeModel runs;
    using Tester = QAbstractItemModelTester;
    Tester a(&table, Tester::FailureReportingMode::QtTest), b(&outline, Tester::FailureReportingMode::QtTest),
        c(&events, Tester::FailureReportingMode::QtTest), d(&runs, Tester::FailureReportingMode::QtTest);
    runs.show(training.trace);
    line.show(training.trace, training.run->id());
    QVERIFY(line.isTraining() && !line.hasMeasures());
    QCOMPARE(table.rowCount(), 0);
    for (const int count : {1, 3, 1, 5}) {
      training.step(count);
      line.refresh();
      runs.refresh();
    }
    // A curve that came later is a column that came later.
    QCOMPARE(table.rowCount(), 10);
    QCOMPARE(table.columnCount(), 4);
    QCOMPARE(table.headerData(1, Qt::Horizontal, Qt::DisplayRole).toString(), QString("loss (nats)"));
    QCOMPARE(table.headerData(2, Qt::Horizontal, Qt::DisplayRole).toString(), QString("learning_rate"));
    QCOMPARE(table.headerData(3, Qt::Horizontal, Qt::DisplayRole).toString(),
             QString("held_out (bits/byte)"));
    QCOMPARE(table.index(6, 0).data().toString(), QString("60"));
    QCOMPARE(table.index(6, 1).data(Qt::ToolTipRole).toString(), QString("1.1428571428571428 nats"));
    QCOMPARE(table.index(6, 3).data(Qt::AccessibleTextRole).toString(),
             QString("step 60, held_out 2.5 bits/byte"));
    QVERIFY(!table.index(5, 3).data().isValid());
    for (int row = 0; row < table.rowCount(); ++row)
      for (int column = 0; column < table.columnCount(); ++column) {
        const QModelIndex at = table.index(row, column);
        QCOMPARE(table.indexOf(table.markAt(at)), at);
      }
    // The curves agree with the table's columns.
    const auto curves = line.curves();
    for (std::size_t i = 0; i < curves->curves().size(); ++i)
      QCOMPARE(table.markAt(table.index(6, static_cast<int>(i) + 1)).item, static_cast<std::int64_t>(i));
    QCOMPARE(events.rowCount(), 24);
    QCOMPARE(runs.index(0, RunTreeModel::speedColumn).data().toString(), QString("loss 0.8"));
    // Another run, another table.
    line.show(nullptr, {});
    QVERIFY(table.rowCount() == 0 && table.columnCount() == 1 && !line.isTraining());
  }

  void whoHoldsASnapshotKeepsIt() {
    Training training;
    training.step(3);
    Line line;
    line.show(training.trace, training.run->id());
    const auto before = line.curves();
    const CurveSet* place = before.get();
    training.step(2);
    line.refresh();
    QCOMPARE(before->curves()[0].points.size(), std::size_t{3});
    QCOMPARE(line.curves()->curves()[0].points.size(), std::size_t{5});
    QVERIFY(line.curves().get() != place);
    // Without one it grows where it is.
    const CurveSet* now = line.curves().get();
    training.step(1);
    line.refresh();
    QCOMPARE(line.curves().get(), now);
  }

  void cardsSayWhatWasMeasured() {
    Training training;
    training.step(6);
    QVERIFY(training.run->finish(RunState::finished, "steps").has_value());
    Line line;
    line.show(training.trace, training.run->id());
    const RunId run = training.run->id();
    const WhyCard recipe = whyOf(line, {});
    QCOMPARE(recipe.title, QString("wren"));
    QCOMPARE(recipe.subtitle, QString("train:wren"));
    QVERIFY(std::any_of(recipe.rows.begin(), recipe.rows.end(), [](const WhyRow& row) {
      return row.label == "learning_rate" && row.text == "0.003";
    }));
    QVERIFY(recipe.sentence.contains("finished"));
    const WhyCard loss = whyOf(line, {MarkId::Kind::measure, run, 3, 0});
    QCOMPARE(loss.title, QString("Step 30"));
    QCOMPARE(valueOf(loss, "loss"), 2.0);
    QVERIFY(loss.rows[0].decisive && !loss.rows[1].decisive);
    QVERIFY(loss.sentence.contains("checkpoint: three"));
    const WhyCard round = whyOf(line, {MarkId::Kind::round, run, 4, -1});
    QCOMPARE(valueOf(round, "held_out"), 2.5);
    QVERIFY(whyJson(line, {MarkId::Kind::measure, run, 3, 0}).contains("\"curve\": 0"));
    QVERIFY(distributionsOf(line, {MarkId::Kind::measure, run, 3, 0}, 8).rows.empty());
    for (const MarkId mark :
         {MarkId{MarkId::Kind::measure, run, 99, 0}, MarkId{MarkId::Kind::measure, run, 3, 77},
          MarkId{MarkId::Kind::measure, RunId{9}, 3, 0}}) {
      (void)whyOf(line, mark);
      QCOMPARE(line.positionOf(mark), std::int64_t{-1});
      QVERIFY(line.pathTo(mark).empty());
    }
    // Without a run nothing is said of one.
    QVERIFY(whyOf(Line(), {}).empty());
  }

  void theTableIsCopiedWithEveryDigit() {
    CurveSet set;
    StepRecord step;
    for (StepIndex i = 0; i < 4; ++i) {
      step.step = i;
      step.events = {MeasureFact{"loss", 1.0 / 3 + static_cast<double>(i), "nats", 100 * i}};
      if (i == 2) step.events.push_back(MeasureFact{"norm", kUnknown, "", 200});
      set.add(step);
    }
    QCOMPARE(measureTable(set, 100, 200),
             QString("step\tloss (nats)\tnorm\n100\t1.3333333333333333\t\n200\t2.3333333333333335\tnan\n"));
    QCOMPARE(measureTable({}, 0, 0), QString("step\n"));
  }

  void eventsAreFiltered() {
    Training training;
    training.step(9);
    Line line;
    EventModel events(&line);
    line.show(training.trace, training.run->id());
    const auto count = [&](const QString& text) {
      const auto filter = EventFilter::parse(text);
      int rows = 0;
      for (int row = 0; filter && row < events.rowCount(); ++row) rows += filter->accepts(events, row);
      return rows;
    };
    QCOMPARE(count("event==measure && status==loss"), 9);
    QCOMPARE(count("status==loss && value<2"), 5);
    QCOMPARE(count("status==held_out"), 3);
  }
};

QTEST_MAIN(TestMeasures)
#include "TestMeasures.moc"
