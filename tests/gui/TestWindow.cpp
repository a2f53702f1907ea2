// The real window with a real session behind it: stepping, rewinding, forking, linked views, motion.
#include <QApplication>
#include <QComboBox>
#include <QDockWidget>
#include <QLabel>
#include <QLineEdit>
#include <QMenu>
#include <QTabWidget>
#include <QTemporaryDir>
#include <QTest>
#include <QTimer>
#include <QTreeView>

#include "tests/gui/RealWindow.h"
#include "widgets/panels/EventLog.h"
#include "widgets/panels/Inspector.h"
#include "widgets/panels/MetricsPanel.h"

using namespace decoscope;
using test::openWindow;
using test::trigger;
using test::waitFor;

class TestWindow : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;
  QString table_;

  std::unique_ptr<MainWindow> ready(const QString& method = "token-recycling") const {
    return test::windowOnTable(table_, method);
  }

 private Q_SLOTS:
  void initTestCase() {
    test::prepareSettings(folder_);
    table_ = folder_.filePath("t.json");
    test::writeEndlessTable(table_);
  }

  void stepsAndSaysWhy() {
    auto w = ready();
    for (int i = 1; i <= 8; ++i) {
      QTest::keyClick(w.get(), Qt::Key_F10);
      waitFor(*w, [&] { return w->line().count() == i && w->settled(); });
    }
    QVERIFY(w->line().info().has_value());
    QCOMPARE(w->line().info()->method, std::string("token-recycling"));
    QVERIFY(w->controller().state().recordingShare > 0);
    auto* recording = w->findChild<QLabel*>("statusRecording");
    QVERIFY(recording);
    QTRY_VERIFY2(recording->text().contains("recording"),
                 qPrintable(recording->text() + "/" + recording->toolTip()));
    // The card of the newest round is there without a click.
    QCOMPARE(w->selection().step(), StepIndex{7});
    auto* canvas = w->findChild<TreeCanvas*>("treeCanvas");
    QCOMPARE(canvas->items().size(), std::size_t{8});
    const QRect place = canvas->rectOf(w->selection().selected());
    QVERIFY(canvas->rect().contains(place.center()));
  }

  void clickingSelectsAndViewsFollow() {
    auto w = ready();
    w->step(6);
    waitFor(*w, [&] { return w->line().count() == 6 && w->settled(); });
    auto* canvas = w->findChild<TreeCanvas*>("treeCanvas");
    canvas->setFollowing(false);
    canvas->fitAll();
    const MarkId mark{MarkId::Kind::node, w->line().step(5)->run, 5, -1};
    canvas->show(mark);
    QTest::mouseClick(canvas, Qt::LeftButton, {}, canvas->rectOf(mark).center());
    QCOMPARE(w->selection().selected(), mark);
    QTest::keyClick(canvas, Qt::Key_Right);
    QCOMPARE(w->selection().selected().step, StepIndex{5});
    QVERIFY(w->selection().selected().item >= 0);
    QTest::keyClick(canvas, Qt::Key_Left);
    QCOMPARE(w->selection().selected(), mark);
    QTest::keyClick(canvas, Qt::Key_PageUp);
    QCOMPARE(w->selection().selected().step, StepIndex{4});
    trigger(*w, "edit.undo");
    QCOMPARE(w->selection().selected(), mark);
    // Zooming about the centre keeps the centre.
    const Point before = canvas->view().toFigure(
        {static_cast<float>(canvas->width()) / 2, static_cast<float>(canvas->height()) / 2});
    canvas->zoomBy(1.7f);
    const Point after = canvas->view().toFigure(
        {static_cast<float>(canvas->width()) / 2, static_cast<float>(canvas->height()) / 2});
    QVERIFY(std::abs(before.x - after.x) < 0.1f && std::abs(before.y - after.y) < 0.1f);
  }

  void whatIsLookedAtCanBeUndone() {
    auto w = ready();
    w->step(6);
    waitFor(*w, [&] { return w->line().count() == 6 && w->settled(); });
    auto* canvas = w->findChild<TreeCanvas*>("treeCanvas");
    auto* tabs = w->findChild<QTabWidget*>("views");
    const auto zoom = canvas->zoom();
    const QPoint from(canvas->width() / 2, canvas->height() / 2);
    trigger(*w, "view.in");
    trigger(*w, "view.in");
    const auto zoomed = canvas->view();
    QVERIFY(zoomed.zoom > zoom * 1.5f);
    QTest::qWait(750);
    // A drag of many movements is one change.
    QTest::mousePress(canvas, Qt::LeftButton, {}, from);
    for (int i = 1; i < 9; ++i) QTest::mouseMove(canvas, from + QPoint(9 * i, 5 * i));
    QTest::mouseRelease(canvas, Qt::LeftButton, {}, from + QPoint(72, 40));
    QVERIFY(canvas->view().origin.x < zoomed.origin.x);
    w->showView("events");
    QAction* dock = w->findChild<QDockWidget*>("inspectorDock")->toggleViewAction();
    dock->trigger();
    QVERIFY(!w->findChild<Inspector*>("inspector")->isVisible());
    trigger(*w, "edit.undo");
    QVERIFY(w->findChild<Inspector*>("inspector")->isVisible());
    QCOMPARE(tabs->currentWidget(), w->findChild<QWidget*>("eventLog"));
    trigger(*w, "edit.undo");
    QCOMPARE(tabs->currentIndex(), 0);
    trigger(*w, "edit.undo");
    QCOMPARE(canvas->view().origin.x, zoomed.origin.x);
    QCOMPARE(canvas->zoom(), zoomed.zoom);
    trigger(*w, "edit.undo");
    QCOMPARE(canvas->zoom(), zoom);
    trigger(*w, "edit.redo");
    QCOMPARE(canvas->zoom(), zoomed.zoom);
    QCOMPARE(w->line().count(), 6);
  }

  void runsPausesAndRunsOn() {
    auto w = ready("sampling");
    w->setMaxNewTokens(900'000);
    trigger(*w, "run.run");
    waitFor(*w, [&] { return w->line().count() > 10; });
    trigger(*w, "run.stop");
    waitFor(*w, [&] { return !w->controller().busy(); });
    QTest::qWait(100);
    const int done = w->line().count();
    QVERIFY(done < 900'000);
    QTest::qWait(50);
    QCOMPARE(w->line().count(), done);
    trigger(*w, "run.run");
    waitFor(*w, [&] { return w->line().count() > done; });
    trigger(*w, "run.stop");
    waitFor(*w, [&] { return !w->controller().busy(); });
  }

  void rewindsForksAndForces() {
    auto w = ready();
    w->step(6);
    waitFor(*w, [&] { return w->line().count() == 6 && w->settled(); });
    const RunId first = w->line().run();
    const auto text = w->line().text();
    // Back two, forward one: nothing is computed, nothing is lost.
    QTest::keyClick(w.get(), Qt::Key_F10, Qt::ShiftModifier);
    QTest::keyClick(w.get(), Qt::Key_F10, Qt::ShiftModifier);
    QTest::keyClick(w.get(), Qt::Key_F10);
    QCOMPARE(w->line().count(), 6);
    QCOMPARE(w->selection().step(), StepIndex{4});
    // With another temperature the next step forks where the head is.
    QTest::keyClick(w.get(), Qt::Key_F10, Qt::ShiftModifier);
    w->setParameter("temperature=0.3");
    QTest::keyClick(w.get(), Qt::Key_F10);
    waitFor(*w, [&] { return w->line().run() != first && w->line().count() == 5 && w->settled(); });
    QCOMPARE(w->line().info()->forkStep, StepIndex{4});
    QCOMPARE(w->line().info()->parameters.real("temperature"), 0.3);
    // The old line is as it was.
    w->showRun(first);
    waitFor(*w, [&] { return w->settled(); });
    QCOMPARE(w->line().text().size(), text.size());
    for (std::size_t i = 0; i < text.size(); ++i) QCOMPARE(w->line().text()[i].token, text[i].token);
    // An unchanged fork writes the same; a forced token stands at its place.
    w->selection().select({MarkId::Kind::round, w->line().step(2)->run, 2, -1});
    trigger(*w, "run.fork");
    waitFor(*w, [&] {
      return w->line().info() && w->line().info()->parent == first && w->line().info()->forkStep == 2 &&
             w->settled();
    });
    w->step(4);
    waitFor(*w, [&] { return w->line().count() == 6 && w->settled(); });
    for (std::size_t i = 0; i < text.size(); ++i) QCOMPARE(w->line().text()[i].token, text[i].token);
    const auto place = static_cast<std::size_t>(w->line().step(3)->committedBefore);
    const TokenId other = text[place].token == 0 ? 1 : 0;
    w->selection().select({MarkId::Kind::round, w->line().step(3)->run, 3, -1});
    Q_EMIT w->findChild<Inspector*>("inspector")->forceWanted(other);
    waitFor(*w, [&] {
      return w->line().info() && !w->line().info()->forced.empty() && w->line().count() == 4 && w->settled();
    });
    QCOMPARE(w->line().text()[place].token, other);
    QCOMPARE(w->line().text()[place].provenance, Provenance::forced);
  }

  void forcesATokenDeepInADraft() {
    auto w = ready();
    w->setParameter("adaptive=false");
    w->step(8);
    waitFor(*w, [&] { return w->line().count() == 8 && w->settled(); });
    const RunId first = w->line().run();
    const auto text = w->line().text();
    // A token of the text that is not the first of its round, chosen as one does: a click on the transcript.
    const TextToken* deep = nullptr;
    for (const TextToken& token : text)
      if (token.step >= 0 && token.position > w->line().step(static_cast<int>(token.step))->committedBefore)
        deep = &token;
    QVERIFY(deep);
    const auto place = static_cast<std::size_t>(deep->position);
    const TokenId other = deep->token == 0 ? 1 : 0;
    w->selection().select(w->line().markOf(*deep));
    Q_EMIT w->findChild<Inspector*>("inspector")->forceWanted(other);
    waitFor(*w,
            [&] { return w->line().run() != first && w->line().text().size() == place + 1 && w->settled(); });
    for (std::size_t i = 0; i < place; ++i) QCOMPARE(w->line().text()[i].token, text[i].token);
    QCOMPARE(w->line().text()[place].token, other);
    QCOMPARE(w->line().text()[place].provenance, Provenance::forced);
    QCOMPARE(w->line().text()[place - 1].provenance, Provenance::kept);
    // A node off the path, by its menu: the tokens that lead to it come first.
    w->showRun(first);
    waitFor(*w, [&] { return w->settled(); });
    MarkId off;
    std::vector<TokenId> path;
    for (int i = 0; i < w->line().count() && path.size() < 2; ++i) {
      const Round round = roundOf(*w->line().step(i), w->line().rootOf(i));
      for (std::int32_t node = 1; node <= round.proposed; ++node)
        if (round.nodes[static_cast<std::size_t>(node)].depth > 1 &&
            round.nodes[static_cast<std::size_t>(node)].verdict->verdict == VerdictKind::notReachedAncestor) {
          off = {MarkId::Kind::node, w->line().step(i)->run, i, node - 1};
          path = w->line().pathTo(off);
        }
    }
    QVERIFY(path.size() >= 2);
    w->selection().select(off);
    const auto begin = static_cast<std::size_t>(w->line().step(static_cast<int>(off.step))->committedBefore);
    auto* canvas = w->findChild<TreeCanvas*>("treeCanvas");
    QTimer::singleShot(200, this, [] {
      auto* menu = qobject_cast<QMenu*>(QApplication::activePopupWidget());
      if (!menu) return;
      for (QAction* action : menu->actions())
        if (action->objectName() == "forceNode") action->trigger();
      menu->close();
    });
    QTest::keyClick(canvas, Qt::Key_Menu);
    waitFor(*w, [&] {
      return w->line().run() != first && w->line().text().size() == begin + path.size() && w->settled();
    });
    for (std::size_t i = 0; i < path.size(); ++i) QCOMPARE(w->line().text()[begin + i].token, path[i]);
  }

  void textCanBeForced() {
    auto w = ready();
    w->step(4);
    waitFor(*w, [&] { return w->line().count() == 4 && w->settled(); });
    const RunId first = w->line().run();
    w->selection().select({MarkId::Kind::round, first, 2, -1});
    const auto place = static_cast<std::size_t>(w->line().step(2)->committedBefore);
    const auto force = [&](const QString& text) {
      QTimer::singleShot(0, this, [&, text] {
        auto* dialog = w->findChild<QDialog*>("forceDialog");
        dialog->findChild<QLineEdit*>("forceId")->setText(text);
        dialog->accept();
      });
      trigger(*w, "run.force");
    };
    force("cab");
    waitFor(*w, [&] { return w->line().run() != first && w->line().count() == 5 && w->settled(); });
    QCOMPARE(w->line().info()->forced, (std::vector<TokenId>{2, 0, 1}));
    for (std::size_t i = 0; i < 3; ++i)
      QCOMPARE(w->line().text()[place + i].token, w->line().info()->forced[i]);
    const RunId second = w->line().run();
    w->selection().select({MarkId::Kind::round, w->line().step(4)->run, 4, -1});
    force("1");
    waitFor(*w, [&] { return w->line().run() != second && w->line().count() == 5 && w->settled(); });
    QCOMPARE(w->line().info()->forced, (std::vector<TokenId>{1}));
    // What has no token in the vocabulary is said so.
    force("xyz");
    QTRY_VERIFY(!w->errorText().isEmpty());
  }

  void filtersEvents() {
    auto w = ready("chain");
    w->setParameter("drafter=lookup");
    w->step(12);
    waitFor(*w, [&] { return w->line().count() == 12 && w->settled(); });
    w->showView("events");
    auto* log = w->findChild<EventLog*>("eventLog");
    const int all = log->shownRows();
    log->setFilter("event==commit");
    int commits = 0;
    for (const TextToken& token : w->line().text()) commits += token.step >= 0;
    QCOMPARE(log->shownRows(), commits);
    QVERIFY(commits < all);
    log->setFilter("event==");
    QVERIFY(log->findChild<QLineEdit*>("eventFilter")->property("invalid").toBool());
    QCOMPARE(log->shownRows(), commits);  // a filter that is being typed changes nothing
  }

  void everyRunHasItsSpeedAndABaseline() {
    auto w = openWindow();
    w->openSampleSession();
    waitFor(*w, [&] { return w->line().count() > 10 && w->settled(); });
    // Also those that were never shown: their steps are read on a worker.
    auto* runs = w->findChild<QTreeView*>("runs");
    const auto speeds = [&] {
      QStringList all;
      const std::function<void(const QModelIndex&)> collect = [&](const QModelIndex& parent) {
        for (int i = 0; i < runs->model()->rowCount(parent); ++i) {
          const QModelIndex at = runs->model()->index(i, 0, parent);
          all << at.siblingAtColumn(RunTreeModel::speedColumn).data().toString();
          collect(at);
        }
      };
      collect({});
      return all;
    };
    QTRY_VERIFY(speeds().size() == 4 && !speeds().contains(QString()));
    const auto source = w->controller().port().trace();
    auto* metrics = w->findChild<MetricsPanel*>("metrics");
    const auto speedUpShown = [&] {
      for (const Metric& metric : metrics->metrics())
        if (metric.name == "speed_up") return metric.value;
      return kUnknown;
    };
    const auto perSecond = [&](RunId run) { return statsOf(*source, run, true)->tokensPerSecond; };
    // The default is the plain run with the same prompt; here it is the last of the session.
    const auto found = baselineFor(*source, RunId{1});
    QVERIFY(found && source->run(*found)->method == "sampling");
    w->showRun({1});
    QTRY_COMPARE(speedUpShown(), perSecond({1}) / perSecond(*found));
    const auto* title = metrics->findChild<QLabel*>("metric.speed_up");
    QVERIFY(title && title->toolTip().contains("tokens_per_second / tokens_per_second of the baseline"));
    auto* box = metrics->findChild<QComboBox*>("baseline");
    const int third = box->findData(qlonglong{3});
    QVERIFY(third > 0);
    box->setCurrentIndex(third);
    Q_EMIT box->activated(third);
    QTRY_COMPARE(speedUpShown(), perSecond({1}) / perSecond({3}));
    metrics->setBaseline(RunId{0});
    QTRY_VERIFY(std::isnan(speedUpShown()));
  }

  void diffusionFillsTheLattice() {
    const QString model = QStringLiteral(DECOSCOPE_FIXTURES) + "/hf/llada-layout";
    if (!QFile::exists(model)) QSKIP("no LLaDA fixture");
    auto w = openWindow();
    w->loadModel(model);
    waitFor(*w, [&] { return !w->controller().state().modelName.empty(); });
    w->setMethod("llada");
    w->setPrompt("the small model", false);
    w->setMaxNewTokens(12);
    w->step(4);
    waitFor(*w, [&] { return w->line().count() == 4 && w->settled(); });
    QVERIFY(w->line().hasCells());
    QVERIFY(!w->findChild<QAction*>("run.force")->isEnabled());
    auto* lattice = w->findChild<LatticeCanvas*>("latticeCanvas");
    QVERIFY(lattice->isVisible());
    QCOMPARE(lattice->items().size(), std::size_t{1});
    const std::size_t all = lattice->items().front().index->figure().boxes.size();
    lattice->setThroughStep(1);
    QTRY_VERIFY(!lattice->layingOut());
    QVERIFY(lattice->items().front().index->figure().boxes.size() < all);
  }

  void themesChangeLive() {
    auto w = ready();
    w->step(3);
    waitFor(*w, [&] { return w->line().count() == 3 && w->settled(); });
    auto* canvas = w->findChild<TreeCanvas*>("treeCanvas");
    const auto corner = [&] {
      QTest::qWait(50);
      return QColor(canvas->grab().toImage().pixel(canvas->width() - 3, 3)).lightness();
    };
    QVERIFY(corner() < 60);
    w->applyTheme(false);
    QVERIFY(corner() > 200);
    w->applyTheme(true);
    QVERIFY(corner() < 60);
  }

  // 500 rounds of 60 nodes can be scrolled through at every zoom, each step one frame, in a real OpenGL
  // window. What a frame costs is told, not tested: `decoscope --frame-times` and `bench --suite canvas`
  // measure it.
  void aLongSessionScrolls() {
    auto trace = std::make_shared<MemoryTrace>();
    RunInfo info;
    info.method = "token-recycling";
    info.prompt = {1, 2};
    const RunId run = *trace->beginRun(info, nullptr);
    for (StepIndex index = 0; index < 500; ++index) {
      auto step = std::make_shared<StepRecord>();
      step->run = run;
      step->step = index;
      step->committedBefore = 2 + index;
      step->committedAfter = 3 + index;
      for (NodeId node = 0; node < 60; ++node) {
        const NodeId parent = node < 6 ? kRootNode : (node - 6) / 3;
        const int depth = node < 6 ? 1 : node < 24 ? 2 : 3;
        step->events.push_back(ProposeFact{node, parent, 100 + node, 0.4, node % 3, depth, "table"});
        step->events.push_back(VerdictFact{node,
                                           node == 0  ? VerdictKind::accepted
                                           : node < 6 ? VerdictKind::rejected
                                                      : VerdictKind::notReachedAncestor,
                                           VerificationRule::greedy, 0.3, 0.4});
      }
      step->events.push_back(CommitFact{2 + index, 100, Provenance::accepted, 0});
      QVERIFY(trace->append(step).has_value());
    }
    Line line;
    Selection selection;
    TreeCanvas canvas(&line, &selection);
    canvas.resize(1400, 900);
    canvas.setVisible(true);
    QVERIFY(QTest::qWaitForWindowExposed(&canvas));
    line.show(trace, run);
    QTRY_VERIFY_WITH_TIMEOUT(canvas.items().size() == 500 && !canvas.layingOut(), 30'000);
    canvas.setFollowing(false);
    const Rect all = canvas.bounds();
    for (const float zoom : {1.0f, 0.5f, 900 / all.height}) {
      std::vector<double> times;
      for (int i = 0; i < 60; ++i) {
        const auto before = canvas.frames();
        canvas.setView({{0, std::max(0.0f, all.height - 900 / zoom) * static_cast<float>(i) / 59}, zoom});
        canvas.update();
        QTRY_VERIFY(canvas.frames() > before);
        times.push_back(canvas.frameMilliseconds());
      }
      std::sort(times.begin(), times.end());
      qInfo("zoom %.3f: median %.2f ms, 95 %% %.2f ms, largest %.2f ms of CPU a frame",
            static_cast<double>(zoom), times[30], times[57], times.back());
    }
  }

  void aNewRoundMovesUnlessMotionIsReduced() {
    auto w = ready();
    w->step(3);
    waitFor(*w, [&] { return w->line().count() == 3 && w->settled(); });
    auto* canvas = w->findChild<TreeCanvas*>("treeCanvas");
    const auto framesOfAStep = [&] {
      QTest::qWait(500);
      const auto before = canvas->frames();
      const int count = w->line().count();
      w->step();
      waitFor(*w, [&] { return w->line().count() == count + 1 && w->settled(); });
      QTest::qWait(600);
      const auto frames = canvas->frames() - before;
      // It comes to rest.
      QTest::qWait(200);
      if (canvas->frames() - before != frames) qWarning("it still moves");
      return frames;
    };
    const auto still = framesOfAStep();
    style::setReducedMotion(false);
    const auto moving = framesOfAStep();
    style::setReducedMotion(true);
    QVERIFY2(moving >= still + 4, qPrintable(QString("%1 frames, %2 without motion").arg(moving).arg(still)));
  }

  void nothingIsRepaintedWhileNothingMoves() {
    auto w = ready();
    w->step(3);
    waitFor(*w, [&] { return w->line().count() == 3 && w->settled(); });
    auto* canvas = w->findChild<TreeCanvas*>("treeCanvas");
    QTest::qWait(400);
    const auto frames = canvas->frames();
    QVERIFY(frames > 0);
    QTest::qWait(500);
    QCOMPARE(canvas->frames(), frames);
  }
};

int main(int argc, char** argv) {
  return test::runWindowTest<TestWindow>(argc, argv);
}

#include "TestWindow.moc"
