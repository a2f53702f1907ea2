// The real window with a real session behind it: stepping, rewinding, forking, linked views, errors, and the
// executable's pictures.
#include <sys/resource.h>
#include <QApplication>
#include <QComboBox>
#include <QDockWidget>
#include <QDragEnterEvent>
#include <QImage>
#include <QKeySequenceEdit>
#include <QLabel>
#include <QLineEdit>
#include <QMenu>
#include <QMimeData>
#include <QPlainTextEdit>
#include <QProcess>
#include <QPushButton>
#include <QSettings>
#include <QSignalSpy>
#include <QTabWidget>
#include <QTemporaryDir>
#include <QTest>
#include <QTimer>
#include <QToolButton>
#include <QTreeWidget>
#include <csignal>
#include <fstream>
#include <thread>

#include "app/CommandPalette.h"
#include "app/Shortcuts.h"
#include "tests/decode/Tables.h"
#include "tests/gui/RealWindow.h"
#include "widgets/panels/EventLog.h"
#include "widgets/panels/Inspector.h"
#include "widgets/panels/MetricsPanel.h"
#include "widgets/panels/ParameterForm.h"

using namespace decoscope;
using test::openWindow;
using test::trigger;
using test::waitFor;

class TestWindow : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;
  QString table_;

  std::unique_ptr<MainWindow> ready(const QString& method = "token-recycling") const {
    auto made = openWindow();
    made->loadModel("table:" + table_);
    waitFor(*made, [&] { return !made->controller().state().modelName.empty(); });
    made->setMethod(method);
    made->setParameter("temperature=1");
    made->setPrompt("abcab", false);
    made->setMaxNewTokens(60);
    return made;
  }

 private Q_SLOTS:
  void initTestCase() {
    test::prepareSettings(folder_);
    table_ = folder_.filePath("t.json");
    // No end token in the way: runs have the length that was asked for.
    std::string text = test::kTarget;
    text.replace(text.find("\"eos\":3"), 7, "\"eos\":null");
    std::ofstream(table_.toStdString()) << text;
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
    QTRY_VERIFY2(recording->text().contains("recording"), qPrintable(recording->text() + "/" + recording->toolTip()));
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

  void savesAndReopensWithoutAModel() {
    const QString path = folder_.filePath("s.decoscope");
    {
      auto w = ready();
      w->step(5);
      waitFor(*w, [&] { return w->line().count() == 5 && w->settled(); });
      w->controller().port().saveSessionAs(path.toStdString());
      waitFor(*w, [&] { return !w->controller().state().sessionPath.empty() && w->line().count() == 5; });
    }
    auto w = openWindow();
    w->openPath(path);
    waitFor(*w, [&] { return w->line().count() == 5 && w->settled(); });
    QVERIFY(w->controller().state().modelName.empty());
    QVERIFY(!w->findChild<QAction*>("run.fork")->isEnabled());
    QCOMPARE(w->findChild<QPlainTextEdit*>("prompt")->toPlainText(), QString("abcab"));
    QCOMPARE(w->findChild<QComboBox*>("methodChooser")->currentData().toString(), QString("token-recycling"));
    auto* metrics = w->findChild<MetricsPanel*>("metrics");
    QTRY_VERIFY(!metrics->metrics().empty());
    // A second window on the same file reads only, and says so.
    auto second = openWindow();
    second->openPath(path);
    QTRY_COMPARE(second->line().count(), 5);
    QVERIFY(second->controller().state().readOnly);
    QVERIFY(second->errorText().contains("reading only"));
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

  void opensTheSampleWithoutAModel() {
    auto w = openWindow();
    QVERIFY(w->findChild<QWidget*>("startPage")->isVisible());
    w->openSampleSession();
    waitFor(*w, [&] { return w->line().count() > 10 && w->settled(); });
    QVERIFY(w->line().hasProposals());
    QVERIFY(w->currentFigure().has_value());
  }

  void saysWhatIsWrong() {
    auto w = openWindow();
    w->loadModel("/there/is/no/model.gguf");
    QTRY_VERIFY(w->errorText().contains("model.gguf"));
    const QString bad = folder_.filePath("bad.decoscope");
    std::ofstream(bad.toStdString()) << "not a session";
    w->openPath(bad);
    QTRY_VERIFY(w->errorText().contains("bad.decoscope"));
    auto r = ready();
    r->setPrompt("", false);
    r->step();
    QVERIFY(r->errorText().contains("prompt is empty"));
    QVERIFY(!r->setParameter("temperature=-3"));
    QVERIFY(r->errorText().contains("temperature"));
  }

  void theModelChooserSaysWhatFits() {
    const QString fixtures = QStringLiteral(DECOSCOPE_FIXTURES) + "/hf/";
    if (!QFile::exists(fixtures + "llada-layout")) QSKIP("no model fixtures");
    QTemporaryDir models;
    for (const char* name : {"llada-layout", "qwen2-bias"})
      QVERIFY(QFile::link(fixtures + name, models.filePath(name)));
    std::ofstream(models.filePath("broken.gguf").toStdString()) << "GGUF, but not really";
    qputenv("DECOSCOPE_MODELS", models.path().toUtf8());
    auto w = openWindow();
    w->setMethod("llada");
    const auto look = [&](const std::function<void(QDialog*, QTreeWidget*)>& test) {
      bool seen = false;
      QTimer::singleShot(0, this, [&] {
        auto* dialog = w->findChild<QDialog*>("modelChooserDialog");
        auto* table = dialog->findChild<QTreeWidget*>("models");
        seen = QTest::qWaitFor(
            [&] {
              bool done = table->topLevelItemCount() >= 3;
              for (int i = 0; i < table->topLevelItemCount(); ++i)
                done &= !table->topLevelItem(i)->text(6).contains("reading");
              return done;
            },
            10'000);
        test(dialog, table);
        if (dialog->isVisible()) dialog->reject();
      });
      trigger(*w, "file.models");
      QVERIFY(seen);
    };
    const auto row = [](QTreeWidget* table, const QString& name) {
      const auto found = table->findItems(name, Qt::MatchStartsWith, 0);
      return found.isEmpty() ? nullptr : found.front();
    };
    look([&](QDialog* dialog, QTreeWidget* table) {
      QTreeWidgetItem *causal = row(table, "qwen2-bias"), *diffusion = row(table, "llada-layout"),
                      *broken = row(table, "broken");
      QVERIFY(causal && diffusion && broken);
      QVERIFY(causal->isDisabled() && causal->toolTip(0).contains("masked diffusion"));
      QVERIFY(!diffusion->isDisabled() && diffusion->text(6).contains("masked diffusion"));
      QVERIFY(broken->isDisabled() && broken->toolTip(0).contains("broken.gguf"));
      for (const int column : {1, 2, 3, 4, 5}) QVERIFY(!diffusion->text(column).isEmpty());
      // What cannot be done is refused by the loader, with a message.
      dialog->findChild<QComboBox*>("device")->setCurrentText("cuda:7");
      Q_EMIT table->itemActivated(diffusion, 0);
    });
    QTRY_VERIFY(!w->errorText().isEmpty());
    QVERIFY2(w->errorText().contains("cuda"), qPrintable(w->errorText()));
    w->setMethod("sampling");
    look([&](QDialog* dialog, QTreeWidget* table) {
      QVERIFY(row(table, "llada-layout")->isDisabled());
      QVERIFY(!row(table, "qwen2-bias")->isDisabled());
      dialog->findChild<QComboBox*>("device")->setCurrentText("cpu");
      dialog->findChild<QComboBox*>("dtype")->setCurrentText("bf16");
      Q_EMIT table->itemActivated(row(table, "qwen2-bias"), 0);
    });
    QTRY_COMPARE(w->controller().state().dtype, std::string("bf16"));
    // The choice stays: it is the same for the next model, and in the next window.
    QCOMPARE(QSettings().value("model/dtype").toString(), QString("bf16"));
    QSettings().remove("model");
    qunsetenv("DECOSCOPE_MODELS");
  }

  void aConversationIsEditedAndComesBack() {
    // Turns go to JSON and back; other documents give none.
    const std::vector<ChatTurn> turns{{"system", "Be \"brief\""}, {"user", "a\nb"}};
    QVERIFY(chatTurns(chatJson(turns)) == turns);
    QVERIFY(chatTurns("{}").empty() && chatTurns("[").empty());
    QVERIFY(chatTurns(R"({"messages":[{"role":"user","content":"a"}]})").size() == 1);
    QVERIFY(chatTurns(R"({"messages":[{"role":"user","content":"a"}],"tools":[]})").empty());
    QVERIFY(chatTurns(R"([{"role":"user","content":["a"]}])").empty());
    auto w = ready();
    auto* prompt = w->findChild<QPlainTextEdit*>("prompt");
    w->setPrompt("cab", true);
    auto* button = w->findChild<QToolButton*>("conversation");
    QVERIFY(button->isVisible());
    QTimer::singleShot(0, this, [&] {
      auto* dialog = w->findChild<QDialog*>("chatDialog");
      const auto texts = [&] { return dialog->findChildren<QPlainTextEdit*>("messageText"); };
      const auto roles = [&] { return dialog->findChildren<QComboBox*>("messageRole"); };
      QTest::mouseClick(dialog->findChild<QPushButton*>("addMessage"), Qt::LeftButton);
      QCOMPARE(texts().size(), 2);
      // The user's turn is followed by the assistant's; made a system message and moved to the front.
      QCOMPARE(roles().back()->currentText(), QString("assistant"));
      roles().back()->setCurrentText("system");
      texts().back()->setPlainText("be brief");
      QTest::mouseClick(dialog->findChildren<QToolButton*>("moveUp").back(), Qt::LeftButton);
      // A table model has no template, and that is said.
      const auto labels = dialog->findChildren<QLabel*>();
      QTRY_VERIFY(std::any_of(labels.begin(), labels.end(),
                              [](QLabel* label) { return label->text().contains("template"); }));
      dialog->accept();
    });
    button->click();
    QCOMPARE(prompt->toPlainText(), QString("cab"));
    QVERIFY(button->text().startsWith("1 message"));
    w->step();
    QTRY_VERIFY2(w->errorText().contains("template"), qPrintable(w->errorText()));
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

  void openingASessionEndsARun() {
    const QString path = folder_.filePath("other.decoscope");
    auto w = ready("sampling");
    w->setMaxNewTokens(900'000);
    trigger(*w, "run.run");
    waitFor(*w, [&] { return w->line().count() > 10; });
    // A copy: a session that is opened for writing changes.
    QVERIFY(QFile::copy(
        QStringLiteral(DECOSCOPE_SOURCE_DIR) + "/resources/sessions/speculative-decoding.decoscope", path));
    QFile::setPermissions(path, QFile::ReadOwner | QFile::WriteOwner);
    w->openPath(path);
    waitFor(*w, [&] { return !w->controller().busy() && w->line().hasProposals(); });
    QCOMPARE(w->controller().port().trace()->runs().size(), std::size_t{4});
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

  void thePaletteFindsCommands() {
    QVERIFY(CommandPalette::score("Fork here", "fo") > CommandPalette::score("Draft tree follow", "fo"));
    QVERIFY(CommandPalette::score("Next reject", "nrej") > 0);
    QCOMPARE(CommandPalette::score("Fork here", "xyz"), -1);
    auto w = openWindow();
    QSet<QString> ids;
    for (const QAction* action : w->allActions()) {
      QVERIFY(!action->text().isEmpty());
      QVERIFY2(!ids.contains(action->objectName()), qPrintable(action->objectName()));
      ids << action->objectName();
    }
    QVERIFY(ids.size() > 35);
    // No key does two things.
    QSet<QString> keys;
    for (const QAction* action : w->allActions())
      for (const QKeySequence& key : action->shortcuts()) {
        QVERIFY2(!keys.contains(key.toString()), qPrintable(key.toString()));
        keys << key.toString();
      }
  }

  void keysCanBeRebound() {
    auto w = openWindow();
    QAction *step = w->findChild<QAction*>("run.step"), *run = w->findChild<QAction*>("run.run");
    const auto dialog = [&](const std::function<void(ShortcutsDialog*, QTreeWidget*)>& test) {
      QTimer::singleShot(0, this, [&] {
        auto* shown = w->findChild<ShortcutsDialog*>("shortcutsDialog");
        test(shown, shown->findChild<QTreeWidget*>("keys"));
        shown->reject();
      });
      trigger(*w, "help.keys");
    };
    const auto choose = [](QTreeWidget* table, const QString& name) {
      const auto found = table->findItems(name, Qt::MatchExactly, 0);
      if (!found.isEmpty()) table->setCurrentItem(found.front());
    };
    dialog([&](ShortcutsDialog* shown, QTreeWidget* table) {
      choose(table, "Step");
      auto* edit = shown->findChild<QKeySequenceEdit*>("keyEdit");
      // A key that is taken is said to be, and given away only when asked for.
      edit->setKeySequence(QKeySequence(Qt::Key_F5));
      QVERIFY(shown->findChild<QLabel*>("keyConflict")->text().contains("Run"));
      QCOMPARE(run->shortcut(), QKeySequence(Qt::Key_F5));
      shown->findChild<QPushButton*>("keySet")->click();
    });
    QCOMPARE(step->shortcut(), QKeySequence(Qt::Key_F5));
    QVERIFY(run->shortcut().isEmpty());
    QVERIFY(step->iconText().contains("F5") && step->toolTip().contains("F5"));
    // It holds in the next window.
    auto next = openWindow();
    QCOMPARE(next->findChild<QAction*>("run.step")->shortcut(), QKeySequence(Qt::Key_F5));
    QVERIFY(next->findChild<QAction*>("run.run")->shortcut().isEmpty());
    dialog(
        [&](ShortcutsDialog* shown, QTreeWidget*) { shown->findChild<QPushButton*>("keysReset")->click(); });
    QCOMPARE(step->shortcut(), QKeySequence(Qt::Key_F10));
    QCOMPARE(run->shortcut(), QKeySequence(Qt::Key_F5));
    QVERIFY(!QSettings().childGroups().contains("keys"));
  }

  void filesCanBeDropped() {
    const QString path = folder_.filePath("dropped.decoscope");
    QVERIFY(QFile::copy(
        QStringLiteral(DECOSCOPE_SOURCE_DIR) + "/resources/sessions/speculative-decoding.decoscope", path));
    QFile::setPermissions(path, QFile::ReadOwner | QFile::WriteOwner);
    auto w = openWindow();
    QMimeData session, text;
    session.setUrls({QUrl::fromLocalFile(path)});
    text.setText("no file");
    QDragEnterEvent enter({10, 10}, Qt::CopyAction, &session, Qt::LeftButton, {}),
        refused({10, 10}, Qt::CopyAction, &text, Qt::LeftButton, {});
    refused.ignore();
    QApplication::sendEvent(w.get(), &enter);
    QApplication::sendEvent(w.get(), &refused);
    QVERIFY(enter.isAccepted() && !refused.isAccepted());
    QDropEvent drop({10, 10}, Qt::CopyAction, &session, Qt::LeftButton, {});
    QApplication::sendEvent(w.get(), &drop);
    waitFor(*w, [&] { return w->line().count() > 10 && w->settled(); });
    QCOMPARE(w->controller().state().sessionPath, path.toStdString());
  }

  void aFullDiskIsAMessage() {
    const QString path = folder_.filePath("full.decoscope");
    auto w = ready("sampling");
    w->setMaxNewTokens(900'000);
    w->step();
    QTRY_VERIFY2(w->line().count() == 1 && w->settled(), qPrintable(w->errorText()));
    w->controller().port().saveSessionAs(path.toStdString());
    QTRY_VERIFY2(!w->controller().state().sessionPath.empty(), qPrintable(w->errorText()));
    // A limit on the size of files stands for the disk.
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    const rlimit limit{2 * 1024 * 1024, before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    QTRY_VERIFY(w->findChild<QAction*>("run.run")->isEnabled());
    w->findChild<QAction*>("run.run")->trigger();
    const bool told = QTest::qWaitFor([&] { return !w->errorText().isEmpty(); }, 30'000);
    ::setrlimit(RLIMIT_FSIZE, &before);
    QVERIFY(told);
    QVERIFY2(w->errorText().contains("full.decoscope"), qPrintable(w->errorText()));
    QTRY_VERIFY(!w->controller().busy());
    // What was computed stays in view, and what was said to be saved is in the file.
    QVERIFY(w->line().count() > 1);
    const auto durable = static_cast<int>(w->controller().state().durable);
    w.reset();
    auto again = openWindow();
    again->openPath(path);
    const bool whole = QTest::qWaitFor([&] { return again->line().count() > 0 && again->settled(); }, 30'000);
    QVERIFY2(whole && again->line().count() >= std::max(durable, 1),
             qPrintable(QString("%1 of %2, %3 were saved: %4")
                            .arg(again->line().count())
                            .arg(again->line().expected())
                            .arg(durable)
                            .arg(again->errorText())));
  }

  void thePictureOfTheWindowIsWhatOneSees() {
    const QString picture = folder_.filePath("w.png");
    QProcess app;
    app.start(DECOSCOPE_APP,
              {"--capture", picture, "--size", "1200x800", "--model", "table:" + table_, "--method",
               "token-recycling", "--set", "temperature=1", "--prompt", "abcab", "--raw", "--steps", "5"});
    QVERIFY(app.waitForFinished(60'000));
    QVERIFY2(app.exitCode() == 0, app.readAllStandardError().constData());
    const QImage image(picture);
    QCOMPARE(image.size(), QSize(1200, 800));
    // The canvas is drawn too: the accepted and refused colours are there.
    QSet<QRgb> colours;
    for (int y = 200; y < 700; y += 1)
      for (int x = 300; x < 850; x += 1) colours << (image.pixel(x, y) & 0xFFFFFF);
    QVERIFY(colours.size() > 30);
    app.start(DECOSCOPE_APP, {"--capture", picture, "--model", "/no/such/model"});
    QVERIFY(app.waitForFinished(60'000));
    QCOMPARE(app.exitCode(), 4);
  }
};

int main(int argc, char** argv) {
  return test::runWindowTest<TestWindow>(argc, argv);
}

#include "TestWindow.moc"
