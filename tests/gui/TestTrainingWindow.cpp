// A training in the real window: its curves by mouse and keys, its table, its pictures, what it does not
// offer.
#include <QClipboard>
#include <QElapsedTimer>
#include <QImage>
#include <QMenu>
#include <QProcess>
#include <QTabWidget>
#include <QTableView>
#include <QTimer>
#include <QWheelEvent>
#include <algorithm>
#include <cmath>
#include <set>

#include "core/session/Engine.h"
#include "core/trace/MeasuredRun.h"
#include "tests/decode/Tables.h"
#include "tests/gui/RealWindow.h"
#include "widgets/models/Why.h"

using namespace decoscope;
using test::openWindow;
using test::trigger;
using test::waitFor;

namespace {

double lossAt(int record) {
  return 2 + 5 * std::exp(-record / 60.0) + 0.1 * std::sin(record * 1.7);
}

// A record each ten steps of the optimiser.
std::vector<MeasureFact> measuresAt(int record) {
  const std::int64_t at = 10 * record;
  std::vector<MeasureFact> measures = {
      {"loss", lossAt(record), "nats", at},
      {"loss.exit", lossAt(record) + 0.4, "nats", at},
      {"learning_rate", 1e-3, "", at},
      {"tokens_per_second", 950 + 20 * std::sin(record * 2.3), "tokens/s", at}};
  if (record % 50 == 0) measures.push_back({"held_out_bits_per_byte", 2.5, "bits/byte", at});
  return measures;
}

RunInfo recipe() {
  RunInfo info;
  info.method = "train:wren-tiny";
  info.name = "wren-tiny";
  info.parameters.set("batch", std::int64_t{32});
  return info;
}

}  // namespace

class TestTrainingWindow : public QObject {
  Q_OBJECT
  static constexpr int kRecords = 400;
  QTemporaryDir folder_;
  QString session_;

  // The session with its training shown.
  std::unique_ptr<MainWindow> opened() const {
    auto w = openWindow();
    w->openPath(session_);
    waitFor(*w, [&] { return w->line().count() == kRecords && w->settled(); });
    return w;
  }
  static CurveCanvas* canvasOf(const MainWindow& w) { return w.findChild<CurveCanvas*>("curveCanvas"); }
  static void settle(const CurveCanvas& canvas) { QTRY_VERIFY(!canvas.layingOut()); }
  // Where a step of the optimiser stands in the canvas, in the middle of a panel.
  static QPoint placeOf(const CurveCanvas& canvas, double at, std::size_t panel = 0) {
    const Rect& plot = canvas.plot().panels[panel].plot;
    return QPointF(canvas.plot().xOf(at), plot.y + plot.height / 2).toPoint();
  }
  static void wheel(CurveCanvas& canvas, QPoint at, QPoint angle, Qt::KeyboardModifiers modifiers) {
    QWheelEvent event(at, canvas.mapToGlobal(at), {}, angle, Qt::NoButton, modifiers, Qt::NoScrollPhase,
                      false);
    QApplication::sendEvent(&canvas, &event);
  }

 private Q_SLOTS:
  void initTestCase() {
    test::prepareSettings(folder_);
    session_ = folder_.filePath("training.decoscope");
    const auto recording = recordInFile(session_.toStdString(), OpenMode::create);
    QVERIFY(recording.has_value());
    auto run = MeasuredRun::begin(*recording->sink, recipe());
    for (int i = 0; i < kRecords; ++i) QVERIFY(run->add(measuresAt(i)).has_value());
    QVERIFY(run->finish(RunState::finished, "steps").has_value());
    Engine engine(*recording);
    test::adopt(engine, "target", test::kTarget);
    RunRequest request;
    request.method = "lookup";
    request.promptText = "abcab";
    request.maxNewTokens = 12;
    request.stopAtEnd = false;
    QVERIFY(engine.startRun(request).has_value());
    while (!engine.ended()) QVERIFY(engine.step({}).has_value());
    QVERIFY(recording->store->flush().has_value());
  }

  void aTrainingShowsItsCurvesAndNothingOfText() {
    auto w = opened();
    auto* tabs = w->findChild<QTabWidget*>("views");
    CurveCanvas* canvas = canvasOf(*w);
    const auto visible = [&](const char* name) { return w->findChild<QWidget*>(name)->isVisible(); };
    QCOMPARE(tabs->currentWidget(), canvas);
    QVERIFY(canvas->isVisible() && !visible("transcript") && !visible("rounds"));
    QVERIFY(!tabs->isTabVisible(tabs->indexOf(w->findChild<QWidget*>("treeCanvas"))));
    QCOMPARE(canvas->items().size(), std::size_t{1});
    QCOMPARE(canvas->plot().panels.size(), std::size_t{4});
    // The plot is as large as the window.
    const Rect& bounds = canvas->items().front().index->figure().bounds;
    QCOMPARE(bounds.width, static_cast<float>(canvas->width()));
    QCOMPARE(bounds.height, static_cast<float>(canvas->height()));
    for (const char* id : {"run.step", "run.run", "run.fork", "run.force", "run.nextReject", "export.csv",
                           "edit.copyText", "view.tree"})
      QVERIFY2(!w->findChild<QAction*>(id)->isEnabled(), id);
    for (const char* id : {"edit.copyCurves", "export.measures", "export.figure", "view.curves", "run.back"})
      QVERIFY2(w->findChild<QAction*>(id)->isEnabled(), id);
    QVERIFY(w->currentFigure() && w->currentFigure()->title == "Curves");
    // Also with a model there is nothing to step; another prompt begins a new run beside it.
    const QString table = folder_.filePath("t.json");
    QFile file(table);
    QVERIFY(file.open(QFile::WriteOnly) && file.write(test::kTarget) > 0);
    file.close();
    w->loadModel("table:" + table);
    waitFor(*w, [&] { return !w->controller().state().modelName.empty() && !w->controller().busy(); });
    QVERIFY(!w->findChild<QAction*>("run.step")->isEnabled() &&
            !w->findChild<QAction*>("run.fork")->isEnabled());
    QVERIFY(!w->findChild<QWidget*>("changedNote")->isVisible());
    // The other run has its trees and text, and no curves; and back.
    w->showRun({2});
    waitFor(*w, [&] { return w->line().count() > 0 && w->settled(); });
    QVERIFY(visible("transcript") && visible("rounds") && visible("treeCanvas"));
    QVERIFY(!tabs->isTabVisible(tabs->indexOf(canvas)));
    trigger(*w, "edit.undo");
    waitFor(*w, [&] { return w->line().count() == kRecords && w->settled(); });
    QCOMPARE(tabs->currentWidget(), canvas);
    QVERIFY(!visible("transcript"));
  }

  void numbersAreUnderThePointer() {
    auto w = opened();
    CurveCanvas* canvas = canvasOf(*w);
    QTest::mouseMove(canvas, placeOf(*canvas, 1230));
    QTRY_COMPARE(w->selection().hovered().kind, MarkId::Kind::measure);
    const MarkId hovered = w->selection().hovered();
    QVERIFY(std::abs(hovered.step - 123) <= 1);
    const auto& index = *canvas->items().front().index;
    const std::int64_t box = index.find(hovered);
    QVERIFY(box >= 0);
    const std::string& tip = index.figure().boxes[static_cast<std::size_t>(box)].tooltip;
    QVERIFY2(
        tip.find(QString::number(lossAt(static_cast<int>(hovered.step)), 'g', 17).left(12).toStdString()) !=
            std::string::npos,
        tip.c_str());
    // A click keeps it: the card on the right has the numbers of the step, and the table its row.
    QTest::mouseClick(canvas, Qt::LeftButton, {}, placeOf(*canvas, 1230));
    const MarkId chosen = w->selection().selected();
    QCOMPARE(chosen, hovered);
    const WhyCard card = whyOf(w->line(), chosen);
    QCOMPARE(card.rows.front().value, lossAt(static_cast<int>(chosen.step)));
    w->showView("outline");
    auto* table = w->findChild<QTableView*>("measureTable");
    QVERIFY(table->isVisible());
    w->findChild<QWidget*>("runs")->setFocus();
    w->selection().select({MarkId::Kind::measure, chosen.run, 200, 2});
    QCOMPARE(table->currentIndex(), table->model()->index(200, 3));
    // The mouse leaves: nothing is hovered.
    w->showView("curves");
    QEvent leave(QEvent::Leave);
    QApplication::sendEvent(canvas, &leave);
    QCOMPARE(w->selection().hovered().kind, MarkId::Kind::none);
  }

  void keysWalkOverTheCurves() {
    auto w = opened();
    CurveCanvas* canvas = canvasOf(*w);
    const auto press = [&](int key) {
      QTest::keyClick(canvas, static_cast<Qt::Key>(key));
      return w->selection().selected();
    };
    QCOMPARE(press(Qt::Key_Left), (MarkId{MarkId::Kind::measure, RunId{1}, kRecords - 1, 0}));
    QCOMPARE(press(Qt::Key_Left).step, StepIndex{kRecords - 2});
    QCOMPARE(press(Qt::Key_Down).item, std::int64_t{1});
    QCOMPARE(press(Qt::Key_PageUp).step, StepIndex{kRecords - 2 - 40});
    QCOMPARE(press(Qt::Key_End).step, StepIndex{kRecords - 1});
    QCOMPARE(press(Qt::Key_Right).step, StepIndex{kRecords - 1});
    for (int i = 0; i < 5; ++i) press(Qt::Key_Down);
    // The sparse curve is walked along its own values.
    QCOMPARE(w->selection().selected(), (MarkId{MarkId::Kind::measure, RunId{1}, 350, 4}));
    QCOMPARE(press(Qt::Key_Left).step, StepIndex{300});
    QCOMPARE(press(Qt::Key_Up).item, std::int64_t{3});
    // Rewinding walks over the records.
    w->selection().clear();
    trigger(*w, "run.first");
    QCOMPARE(w->selection().step(), StepIndex{0});
  }

  void theStepsAreZoomedAndPanned() {
    auto w = opened();
    CurveCanvas* canvas = canvasOf(*w);
    QVERIFY(canvas->showsAll() && canvas->first() == 0 && canvas->last() == 3990);
    const QPoint place = placeOf(*canvas, 1500);
    const double pivot = canvas->plot().atOf(static_cast<float>(place.x()));
    // The step under the pointer stays there.
    for (int i = 0; i < 20; ++i) wheel(*canvas, place, {0, 120}, Qt::ControlModifier);
    settle(*canvas);
    QVERIFY(!canvas->showsAll() && canvas->last() - canvas->first() < 100);
    QVERIFY(std::abs(canvas->plot().atOf(static_cast<float>(place.x())) - pivot) < 0.5);
    // Every record in sight is there, exactly.
    std::set<StepIndex> steps;
    for (const FigureBox& box : canvas->items().front().index->figure().boxes)
      if (box.id.kind == MarkId::Kind::measure && box.id.item == 0) steps.insert(box.id.step);
    std::set<StepIndex> wanted;
    for (StepIndex i = 0; i < kRecords; ++i)
      if (10.0 * static_cast<double>(i) >= canvas->first() && 10.0 * static_cast<double>(i) <= canvas->last())
        wanted.insert(i);
    QVERIFY(steps == wanted && steps.size() > 1);
    QTest::qWait(750);
    const double first = canvas->first(), width = canvas->last() - canvas->first();
    // A drag to the right looks at earlier steps, and is one change.
    QTest::mousePress(canvas, Qt::LeftButton, {}, place);
    for (int i = 1; i < 9; ++i) QTest::mouseMove(canvas, place + QPoint(10 * i, 0));
    QTest::mouseRelease(canvas, Qt::LeftButton, {}, place + QPoint(80, 0));
    settle(*canvas);
    QVERIFY(canvas->first() < first);
    QVERIFY(std::abs(canvas->last() - canvas->first() - width) < 1e-6);
    trigger(*w, "edit.undo");
    settle(*canvas);
    QVERIFY(std::abs(canvas->first() - first) < 0.01);
    trigger(*w, "edit.undo");
    settle(*canvas);
    QVERIFY(canvas->showsAll());
    trigger(*w, "view.in");
    settle(*canvas);
    QVERIFY(!canvas->showsAll());
    // What is selected comes into sight.
    canvas->setWindow(100, 300);
    w->selection().select({MarkId::Kind::measure, RunId{1}, 300, 0});
    settle(*canvas);
    QVERIFY(canvas->first() < 3000 && canvas->last() > 3000);
    QVERIFY(canvas->rect().contains(canvas->rectOf(w->selection().selected())));
    // Past the ends there is nothing to see, and less than two steps are not shown.
    canvas->setWindow(-5000, -4800);
    QCOMPARE(canvas->first(), 0.0);
    canvas->setWindow(1000, 1000.001);
    QCOMPARE(canvas->last() - canvas->first(), 2.0);
    settle(*canvas);
    QTest::mouseDClick(canvas, Qt::LeftButton, {}, place);
    settle(*canvas);
    QVERIFY(canvas->showsAll());
  }

  void whatIsInSightIsCopied() {
    auto w = opened();
    CurveCanvas* canvas = canvasOf(*w);
    trigger(*w, "edit.copyCurves");
    QStringList lines = QApplication::clipboard()->text().split('\n', Qt::SkipEmptyParts);
    QCOMPARE(lines.size(), kRecords + 1);
    QCOMPARE(lines.front(),
             QString("step\tloss (nats)\tloss.exit (nats)\tlearning_rate\ttokens_per_second (tokens/s)\t"
                     "held_out_bits_per_byte (bits/byte)"));
    QCOMPARE(lines[124].section('\t', 1, 1).toDouble(), lossAt(123));
    canvas->setWindow(1000, 1200);
    settle(*canvas);
    // By the menu of the canvas, as a person would.
    QStringList entries;
    QTimer::singleShot(200, this, [&] {
      auto* menu = qobject_cast<QMenu*>(QApplication::activePopupWidget());
      if (!menu) return;
      for (QAction* action : menu->actions()) {
        entries << action->objectName();
        if (action->objectName() == "edit.copyCurves") action->trigger();
      }
      menu->close();
    });
    w->selection().select({MarkId::Kind::measure, RunId{1}, 110, 0});
    QTest::keyClick(canvas, Qt::Key_Menu);
    QTRY_VERIFY(entries.contains("edit.copyCurves"));
    QVERIFY(!entries.contains("run.fork") && entries.contains("export.figure"));
    lines = QApplication::clipboard()->text().split('\n', Qt::SkipEmptyParts);
    QCOMPARE(lines.size(), 22);
    QVERIFY(lines[1].startsWith("1000\t") && lines.back().startsWith("1200\t"));
  }

  // A training that goes on: all of it stays in sight; zoomed in, the newest step is followed until one looks
  // elsewhere.
  void aLiveTrainingIsFollowed() {
    auto trace = std::make_shared<MemoryTrace>();
    auto run = MeasuredRun::begin(*trace, recipe());
    Line line;
    Selection selection;
    CurveCanvas canvas(&line, &selection);
    canvas.resize(1000, 700);
    canvas.setVisible(true);
    QVERIFY(QTest::qWaitForWindowExposed(&canvas));
    line.show(trace, run->id());
    QVERIFY(canvas.items().empty());
    int record = 0;
    const auto grow = [&](int count) {
      for (int i = 0; i < count; ++i) QVERIFY(run->add(measuresAt(record++)).has_value());
      line.refresh();
      settle(canvas);
    };
    grow(1);
    grow(200);
    QVERIFY(canvas.showsAll() && canvas.plot().last == 2000);
    canvas.setWindow(1500, 2000);
    grow(50);
    QCOMPARE(canvas.last(), 2500.0);
    QCOMPARE(canvas.first(), 2000.0);
    wheel(canvas, {400, 100}, {0, 120}, {});
    settle(canvas);
    const double first = canvas.first();
    QVERIFY(first < 2000 && !canvas.following());
    grow(50);
    QCOMPARE(canvas.first(), first);
    canvas.setFollowing(true);
    settle(canvas);
    QCOMPARE(canvas.last(), 3000.0);
    // Then nothing moves, and nothing is painted.
    QTest::qWait(300);
    const auto frames = canvas.frames();
    QTest::qWait(300);
    QCOMPARE(canvas.frames(), frames);
  }

  // A training of another program, in a file that this window can only read, is followed all the same.
  void aTrainingInATerminalIsFollowed() {
    const QString path = folder_.filePath("terminal.decoscope");
    const auto recording = recordInFile(path.toStdString(), OpenMode::create);
    auto run = MeasuredRun::begin(*recording->sink, recipe());
    for (int i = 0; i < 20; ++i) QVERIFY(run->add(measuresAt(i)).has_value());
    QVERIFY(recording->store->flush().has_value());
    auto w = openWindow();
    w->openPath(path);
    QTRY_COMPARE(w->line().count(), 20);
    QVERIFY(w->controller().state().readOnly);
    for (int i = 20; i < 60; ++i) QVERIFY(run->add(measuresAt(i)).has_value());
    QVERIFY(recording->store->flush().has_value());
    QTRY_COMPARE(w->line().count(), 60);
    settle(*canvasOf(*w));
    QCOMPARE(canvasOf(*w)->plot().last, 590.0);
    QVERIFY(run->finish(RunState::finished, "steps").has_value());
    QTRY_VERIFY(w->line().info()->state == RunState::finished);
  }

  // 100 000 records: what is laid out and painted follows the pixels. What it costs is told, not tested.
  void aLongTrainingStaysCheap() {
    auto trace = std::make_shared<MemoryTrace>();
    auto run = MeasuredRun::begin(*trace, recipe());
    constexpr int kMany = 100'000;
    for (int i = 0; i < kMany; ++i) QVERIFY(run->add(measuresAt(i)).has_value());
    Line line;
    Selection selection;
    CurveCanvas canvas(&line, &selection);
    canvas.resize(1400, 900);
    canvas.setVisible(true);
    QVERIFY(QTest::qWaitForWindowExposed(&canvas));
    line.show(trace, run->id());
    settle(canvas);
    std::size_t points = 0;
    for (const FigureLine& drawn : canvas.items().front().index->figure().lines)
      points += drawn.points.size();
    QVERIFY2(points < 40'000, qPrintable(QString::number(points)));
    std::vector<double> layouts, frames;
    for (int i = 0; i < 12; ++i) {
      QElapsedTimer clock;
      clock.start();
      canvas.setWindow(50'000 * i, 50'000 * i + 400'000);
      settle(canvas);
      layouts.push_back(static_cast<double>(clock.nsecsElapsed()) / 1e6);
      const auto before = canvas.frames();
      canvas.update();
      QTRY_VERIFY(canvas.frames() > before);
      frames.push_back(canvas.frameMilliseconds());
    }
    std::sort(layouts.begin(), layouts.end());
    std::sort(frames.begin(), frames.end());
    qInfo(
        "%zu points; a pan of 40 000 records: laid out in %.1f ms (median, with the way to the pool and "
        "back), "
        "painted in %.2f ms of CPU",
        points, layouts[6], frames[6]);
  }

  void thePictureShowsTheCurves() {
    QSet<QRgb> colours[2];
    for (const bool dark : {true, false}) {
      const QString picture = folder_.filePath(dark ? "dark.png" : "light.png");
      QProcess app;
      app.start(DECOSCOPE_APP, {session_, "--capture", picture, "--size", "1400x900", "--step", "123",
                                "--theme", dark ? "dark" : "light"});
      QVERIFY(app.waitForFinished(60'000));
      QVERIFY2(app.exitCode() == 0, app.readAllStandardError().constData());
      const QImage image(picture);
      QCOMPARE(image.size(), QSize(1400, 900));
      for (int y = 100; y < 860; ++y)
        for (int x = 260; x < 1080; ++x) colours[dark ? 0 : 1] << (image.pixel(x, y) & 0xFFFFFF);
      // Each curve is there in its own colour.
      const Theme& theme = dark ? darkTheme() : lightTheme();
      for (std::size_t curve = 0; curve < 5; ++curve) {
        const Colour c = theme.style(curveTone(curve)).edge;
        QVERIFY2(colours[dark ? 0 : 1].contains(qRgb(c.r, c.g, c.b) & 0xFFFFFF),
                 qPrintable(QString("curve %1").arg(curve)));
      }
    }
    QVERIFY(colours[0] != colours[1]);
  }
};

int main(int argc, char** argv) {
  return test::runWindowTest<TestTrainingWindow>(argc, argv);
}

#include "TestTrainingWindow.moc"
