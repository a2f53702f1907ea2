// The commands of the window: what each key, menu entry and button does.
#include <QApplication>
#include <QClipboard>
#include <QDir>
#include <QDockWidget>
#include <QFileDialog>
#include <QFileInfo>
#include <QFrame>
#include <QLabel>
#include <QMenu>
#include <QMenuBar>
#include <QProgressBar>
#include <QSettings>
#include <QTabWidget>
#include <QToolButton>
#include <algorithm>

#include "app/MainWindow.h"
#include "app/Shortcuts.h"
#include "widgets/models/Numbers.h"
#include "widgets/panels/ParameterForm.h"
#include "widgets/panels/TranscriptView.h"
#include "widgets/style/Style.h"

namespace decoscope {

namespace {

constexpr int kLayoutVersion = 1;

}  // namespace

QAction* MainWindow::action(const QString& id, const QString& text, const QKeySequence& keys,
                            std::function<void()> run, const QString& tip) {
  auto* made = new QAction(text, this);
  made->setObjectName(id);
  made->setShortcut(keys);
  made->setProperty("plainTip", tip);
  connect(made, &QAction::triggered, this, [run = std::move(run)] { run(); });
  addAction(made);
  actions_.insert(id, made);
  return made;
}

void MainWindow::buildActions() {
  using Kind = RunCondition::Kind;
  action("file.open", tr("&Open session or model…"), QKeySequence::Open, [this] { openDialog(); });
  action(
      "file.models", tr("Choose a &model…"), QKeySequence(Qt::CTRL | Qt::Key_M), [this] { modelDialog(); },
      tr("Every model on this computer, with what it can do, and in which arithmetic it is loaded"));
  action("file.new", tr("&New session in memory"), QKeySequence::New, [this] { openSession({}); });
  action("file.saveAs", tr("&Save session as…"), QKeySequence(Qt::CTRL | Qt::SHIFT | Qt::Key_S),
         [this] { saveAs(); });
  action("file.sample", tr("Open the sa&mple session"), {}, [this] { openSampleSession(); });
  action("file.quit", tr("&Quit"), QKeySequence::Quit, [this] { close(); });

  action(
      "edit.undo", tr("&Undo view"), QKeySequence::Undo, [this] { history_->undo(); },
      tr("Back to what was selected, shown, zoomed or docked before; what was computed stays"));
  action("edit.redo", tr("&Redo view"), QKeySequence(Qt::CTRL | Qt::SHIFT | Qt::Key_Z),
         [this] { history_->redo(); });
  action("edit.copyText", tr("Copy te&xt of the run"), {},
         [this] { QApplication::clipboard()->setText(transcript_->plainText()); });
  action("edit.copyToken", tr("Copy &token"), {}, [this] { copyAs("text"); });
  action("edit.copyJson", tr("Copy &numbers as JSON"), {}, [this] { copyAs("json"); });
  action("edit.copyMarkdown", tr("Copy as &Markdown"), {}, [this] { copyAs("markdown"); });
  action("edit.copyLatex", tr("Copy as &LaTeX"), {}, [this] { copyAs("latex"); });
  action(
      "edit.copyCurves", tr("Copy &curves as a table"), {}, [this] { copyCurves(); },
      tr("The measured numbers of the steps in sight, every digit, separated by tabs"));
  action(
      "edit.conversation", tr("Con&versation…"), QKeySequence(Qt::CTRL | Qt::SHIFT | Qt::Key_C),
      [this] { chatDialog(); }, tr("The messages of a chat, and what the model reads"));
  action("edit.defaults", tr("Parameters to &defaults"), {}, [this] {
    adaptiveTouched_ = true;
    form_->resetToDefaults();
  });

  action(
      "run.new", tr("&New run"), QKeySequence(Qt::CTRL | Qt::Key_R), [this] { newRun(); },
      tr("Start again with the method, parameters and prompt of the left panel"));
  action(
      "run.first", tr("First round"), QKeySequence(Qt::CTRL | Qt::Key_Home), [this] { toFirstRound(); },
      tr("Rewind to the first round"));
  action(
      "run.back", tr("Step back"), QKeySequence(Qt::SHIFT | Qt::Key_F10), [this] { stepBack(); },
      tr("Step back; what was computed stays"));
  action(
      "run.step", tr("Step"), QKeySequence(Qt::Key_F10), [this] { step(); },
      tr("One round, one token or one denoising step"));
  action(
      "run.run", tr("Run"), QKeySequence(Qt::Key_F5), [this] { runTo({}); },
      tr("Until the end, or until Pause"));
  action(
      "run.pause", tr("Pause"), QKeySequence(Qt::Key_F6), [this] { controller_->port().pause(); },
      tr("After the step under way"));
  action(
      "run.stop", tr("Stop"), QKeySequence(Qt::SHIFT | Qt::Key_F5), [this] { controller_->port().stop(); },
      tr("Within one forward pass"));
  action(
      "run.nextReject", tr("Next reject"), QKeySequence(Qt::CTRL | Qt::Key_J), [this] { nextReject(); },
      tr("The next refused token; runs on to it where there is none yet"));
  action("run.condition", tr("Run to &condition…"), QKeySequence(Qt::Key_F9), [this] { conditionDialog(); });
  action("run.toReject", tr("Run to the next re&ject"), {}, [this] { runTo({.kind = Kind::nextReject}); });
  action(
      "run.fork", tr("Fork here"), QKeySequence(Qt::CTRL | Qt::Key_B), [this] { forkHere(); },
      tr("Continue from the selected round as a new run, with the parameters of the left panel"));
  action(
      "run.force", tr("Force token"), QKeySequence(Qt::CTRL | Qt::Key_F), [this] { forceDialog(); },
      tr("Fork so that a token of your choice stands where the selected node or token does"));

  action("view.tree", tr("&Draft tree"), QKeySequence(Qt::CTRL | Qt::Key_1), [this] { showView("tree"); });
  action("view.lattice", tr("&Lattice"), QKeySequence(Qt::CTRL | Qt::Key_2), [this] { showView("lattice"); });
  action("view.curves", tr("&Curves"), QKeySequence(Qt::CTRL | Qt::Key_5), [this] { showView("curves"); });
  action("view.outline", tr("&Outline"), QKeySequence(Qt::CTRL | Qt::Key_3), [this] { showView("outline"); });
  action("view.events", tr("&Events"), QKeySequence(Qt::CTRL | Qt::Key_4), [this] { showView("events"); });
  const auto canvas = [this] { return currentCanvas(); };
  action("view.fit", tr("&Fit everything"), QKeySequence(Qt::CTRL | Qt::Key_0),
         [canvas] { canvas()->setFollowing(false), canvas()->fitAll(); });
  action("view.actual", tr("&Actual size"), {}, [canvas] { canvas()->actualSize(); });
  action("view.in", tr("Zoom &in"), QKeySequence::ZoomIn, [canvas] { canvas()->zoomBy(1.25f); });
  action("view.out", tr("Zoom o&ut"), QKeySequence::ZoomOut, [canvas] { canvas()->zoomBy(0.8f); });
  QAction* follow =
      action("view.follow", tr("Follo&w the newest round"), QKeySequence(Qt::CTRL | Qt::Key_L), [] {});
  follow->setCheckable(true);
  follow->setChecked(true);
  for (FigureCanvas* one : {static_cast<FigureCanvas*>(tree_), static_cast<FigureCanvas*>(curves_)}) {
    connect(follow, &QAction::toggled, one, &FigureCanvas::setFollowing);
    connect(one, &FigureCanvas::followingChanged, follow, &QAction::setChecked);
  }
  QAction* dark =
      action("view.dark", tr("Dar&k theme"), QKeySequence(Qt::CTRL | Qt::SHIFT | Qt::Key_D), [] {});
  dark->setCheckable(true);
  dark->setChecked(style::theme().dark);
  connect(dark, &QAction::toggled, this, [this](bool on) {
    applyTheme(on);
    QSettings().setValue("window/dark", on);
  });
  QAction* motion = action("view.motion", tr("Reduced &motion"), {}, [] {});
  motion->setCheckable(true);
  motion->setChecked(style::reducedMotion());
  connect(motion, &QAction::toggled, this, [](bool on) {
    style::setReducedMotion(on);
    QSettings().setValue("window/reducedMotion", on);
  });
  action("view.resetLayout", tr("&Reset layout"), {}, [this] {
    restoreState(defaultLayout_, kLayoutVersion);
    history_->record(layoutKind_, lastLayout_, defaultLayout_);
    lastLayout_ = defaultLayout_;
  });

  action(
      "export.figure", tr("Export figure"), QKeySequence(Qt::CTRL | Qt::Key_E), [this] { exportFigure(); },
      tr("The current view as SVG, PDF, PNG or TikZ"));
  action("export.jsonl", tr("Trace as &JSONL…"), {}, [this] { exportTrace("jsonl"); });
  action("export.csv", tr("Tokens as &CSV…"), {}, [this] { exportTrace("csv"); });
  action(
      "export.measures", tr("&Measures as CSV…"), {}, [this] { exportTrace("measures"); },
      tr("A row for each number that was measured"));
  action("export.window", tr("Picture of the &window…"), {}, [this] {
    const QString path =
        QFileDialog::getSaveFileName(this, tr("Picture of the window"), {}, tr("PNG (*.png)"));
    if (!path.isEmpty() && !grab().save(path))
      showError({ErrorCode::failed, "the picture could not be written", path.toStdString(),
                 "Check the folder and the space on the disk."});
  });

  action("help.palette", tr("&Commands…"), QKeySequence(Qt::CTRL | Qt::SHIFT | Qt::Key_P),
         [this] { palette(); });
  QAction* keys = action("help.keys", tr("&Keys"), QKeySequence(Qt::Key_F1), [this] {
    ShortcutsDialog(allActions(), this).exec();
    // Some of the buttons show a sign instead of a name.
    actions_["run.first"]->setIconText(QStringLiteral("|◀"));
    actions_["run.back"]->setIconText(QStringLiteral("◀"));
    updateActions();
  });
  keys->setShortcuts({QKeySequence(Qt::Key_F1), QKeySequence(Qt::Key_Question)});
  action("help.about", tr("&About Decoscope"), {}, [this] { about(); });
  loadShortcuts(allActions());
  for (QAction* one : allActions()) showShortcut(one);
  actions_["run.first"]->setIconText(QStringLiteral("|◀"));
  actions_["run.back"]->setIconText(QStringLiteral("◀"));
}

void MainWindow::buildMenus() {
  const auto fill = [this](QMenu* menu, const QStringList& ids) {
    for (const QString& id : ids) {
      if (id.isEmpty())
        menu->addSeparator();
      else
        menu->addAction(actions_[id]);
    }
  };
  QMenu* file = menuBar()->addMenu(tr("&File"));
  fill(file, {"file.new", "file.open", "file.models"});
  recentMenu_ = file->addMenu(tr("Recent sessions"));
  fill(file, {"file.sample", "", "file.saveAs", "", "file.quit"});
  fill(menuBar()->addMenu(tr("&Edit")),
       {"edit.undo", "edit.redo", "", "edit.copyText", "edit.copyToken", "edit.copyJson", "edit.copyMarkdown",
        "edit.copyLatex", "edit.copyCurves", "", "edit.conversation", "edit.defaults"});
  fill(menuBar()->addMenu(tr("&Run")),
       {"run.new", "", "run.step", "run.back", "run.first", "run.run", "run.pause", "run.stop", "",
        "run.toReject", "run.nextReject", "run.condition", "", "run.fork", "run.force"});
  QMenu* view = menuBar()->addMenu(tr("&View"));
  fill(view, {"view.tree", "view.lattice", "view.curves", "view.outline", "view.events", "", "view.fit",
              "view.actual", "view.in", "view.out", "view.follow", "", "view.dark", "view.motion", ""});
  for (const char* name : {"runDock", "inspectorDock"})
    view->addAction(findChild<QDockWidget*>(name)->toggleViewAction());
  fill(view, {"view.resetLayout"});
  fill(menuBar()->addMenu(tr("E&xport")),
       {"export.figure", "export.jsonl", "export.csv", "export.measures", "export.window"});
  fill(menuBar()->addMenu(tr("&Help")), {"help.palette", "help.keys", "", "help.about"});
  auto* commands = new QToolButton;
  commands->setObjectName("commandsHint");
  commands->setProperty("flat", true);
  commands->setText(
      tr("%1  Commands").arg(actions_["help.palette"]->shortcut().toString(QKeySequence::NativeText)));
  commands->setToolTip(tr("Every command by name"));
  connect(commands, &QToolButton::clicked, actions_["help.palette"], &QAction::trigger);
  menuBar()->setCornerWidget(commands);
}

void MainWindow::trackViews() {
  const int selected = history_->track(
      tr("selection"), [this](const QVariant& mark) { selection_->select(mark.value<MarkId>()); });
  connect(selection_, &Selection::changed, this, [this, selected] {
    const MarkId now = selection_->selected(), before = std::exchange(lastSelected_, now);
    if (now.kind != MarkId::Kind::none && before.kind != MarkId::Kind::none)
      history_->record(selected, QVariant::fromValue(before), QVariant::fromValue(now));
  });
  for (FigureCanvas* canvas : {static_cast<FigureCanvas*>(tree_), static_cast<FigureCanvas*>(lattice_),
                               static_cast<FigureCanvas*>(curves_)}) {
    const int zoom = history_->track(tr("zoom"), [canvas](const QVariant& view) {
      canvas->setFollowing(false);
      canvas->glideTo(view.value<CanvasView>());
    });
    connect(canvas, &FigureCanvas::moved, this,
            [this, zoom](const CanvasView& before, const CanvasView& after) {
              history_->record(zoom, QVariant::fromValue(before), QVariant::fromValue(after), true);
            });
  }
  tabKind_ = history_->track(tr("tab"), [this](const QVariant& tab) { tabs_->setCurrentIndex(tab.toInt()); });
  connect(tabs_, &QTabWidget::currentChanged, this, [this](int tab) {
    const int before = std::exchange(lastTab_, tab);
    if (!tabByItself_) history_->record(tabKind_, before, tab);
  });
  runKind_ = history_->track(tr("run"), [this](const QVariant& run) { showRun({run.toLongLong()}); });
  layoutKind_ = history_->track(tr("layout"), [this](const QVariant& layout) {
    restoreState(layout.toByteArray(), kLayoutVersion);
    lastLayout_ = layout.toByteArray();
  });
  for (const char* name : {"runDock", "inspectorDock"})
    connect(findChild<QDockWidget*>(name)->toggleViewAction(), &QAction::triggered, this, [this] {
      const QByteArray now = saveState(kLayoutVersion);
      history_->record(layoutKind_, std::exchange(lastLayout_, now), now);
    });
  connect(history_, &ViewHistory::changed, this, &MainWindow::updateActions);
}

QList<QAction*> MainWindow::allActions() const {
  return actions();
}

void MainWindow::applyTheme(bool dark) {
  style::apply(dark ? darkTheme() : lightTheme());
  if (actions_.contains("view.dark")) actions_["view.dark"]->setChecked(dark);
  refresh();
}

// ---- State shown

void MainWindow::updateActions() {
  if (!actions_.contains("run.step")) return;
  const SessionState& state = controller_->state();
  const bool busy = controller_->busy(), hasRun = static_cast<bool>(line_->run()),
             hasModel = !state.modelName.empty();
  // A training has no text to go on from: with a changed prompt a new run begins.
  const bool training = line_->isTraining();
  const bool ended =
      hasRun && line_->info() && head() >= line_->count() && !formDiffers() && !promptEdited() &&
      (training || (!line_->info()->stopReason.empty() && line_->info()->state != RunState::stopped &&
                    line_->info()->state != RunState::paused));
  actions_["run.step"]->setEnabled(!busy && (hasModel || head() < line_->count()) && !ended &&
                                   !state.readOnly);
  actions_["run.run"]->setEnabled(state.activity == Activity::running ||
                                  (!busy && hasModel && !ended && !state.readOnly));
  actions_["run.run"]->setText(state.activity == Activity::running ? tr("Pause") : tr("Run"));
  showShortcut(actions_["run.run"]);
  actions_["run.pause"]->setEnabled(state.activity == Activity::running);
  actions_["run.stop"]->setEnabled(busy);
  actions_["run.back"]->setEnabled(hasRun && head() > 0);
  actions_["run.first"]->setEnabled(hasRun && head() > 0);
  actions_["run.nextReject"]->setEnabled(hasRun && !training);
  actions_["run.new"]->setEnabled(!busy && hasModel && !state.readOnly);
  actions_["run.condition"]->setEnabled(!busy && hasModel && !ended);
  actions_["run.toReject"]->setEnabled(!busy && hasModel && !ended);
  for (const char* id : {"run.fork", "run.force"})
    actions_[id]->setEnabled(!busy && hasRun && !training && line_->count() > 0 && hasModel &&
                             !state.readOnly);
  // A canvas is filled in any order: a single token of it cannot be forced.
  const MethodCard* shown = hasRun && line_->info() ? controller_->method(line_->info()->method) : nullptr;
  if (shown && std::find(shown->needs.begin(), shown->needs.end(), "masked diffusion") != shown->needs.end())
    actions_["run.force"]->setEnabled(false);
  actions_["edit.undo"]->setEnabled(history_->canUndo());
  actions_["edit.redo"]->setEnabled(history_->canRedo());
  actions_["export.figure"]->setEnabled(hasRun && line_->count() > 0);
  for (const char* id : {"export.jsonl", "file.saveAs"}) actions_[id]->setEnabled(hasRun);
  actions_["export.csv"]->setEnabled(hasRun && !training);
  actions_["edit.copyText"]->setEnabled(hasRun && !training);
  for (const char* id : {"export.measures", "edit.copyCurves", "view.curves"})
    actions_[id]->setEnabled(line_->hasMeasures());
  for (const char* id : {"view.tree", "view.lattice"}) actions_[id]->setEnabled(!training);
  const QString note = !hasRun          ? QString()
                       : promptEdited() ? tr("The prompt has changed: Step begins a new run.")
                       : formDiffers()  ? tr("Changed: Step goes on as a fork at round %1.").arg(head())
                                        : QString();
  changedNote_->setText(note);
  changedNote_->setStyleSheet(
      QStringLiteral("color: %1").arg(style::colour(style::theme().style(Tone::bonus).edge).name()));
  changedNote_->setVisible(!note.isEmpty());
}

void MainWindow::updateStatus() {
  if (!saved_) return;
  const SessionState& state = controller_->state();
  const auto strong = [](const QString& text) {
    return QStringLiteral("<b style=\"color:%1\">%2</b>")
        .arg(style::colour(style::theme().text).name(), text.toHtmlEscaped());
  };
  device_->setText(state.modelName.empty() ? tr("○ no model: replay only")
                                           : tr("● %1 %2").arg(strong(QString::fromStdString(state.device)),
                                                               QString::fromStdString(state.dtype)));
  device_->setToolTip(state.modelName.empty()
                          ? tr("A recorded session needs none; to step, choose a model in the tool bar")
                          : QString::fromStdString(state.modelName));
  memory_->setText(state.memoryBytes > 0 ? tr("memory %1").arg(strong(bytesText(state.memoryBytes)))
                                         : QString());
  memory_->setToolTip(tr("Weights and cache of the target: %1 bytes").arg(state.memoryBytes));
  speed_->setText(state.tokensPerSecond > 0
                      ? tr("%1 tok/s").arg(strong(QString::number(state.tokensPerSecond, 'f', 1)))
                      : QString());
  speed_->setToolTip(
      tr("New tokens per second of decoding over the last steps: %1").arg(exactText(state.tokensPerSecond)));
  recording_->setText(
      state.recordingShare >= 0
          ? tr("recording %1").arg(strong(tr("%1 %").arg(100 * state.recordingShare, 0, 'f', 1)))
          : QString());
  recording_->setToolTip(tr("Share of the time of the last steps that went into the record (digests of "
                            "distributions, handing steps on): %1")
                             .arg(exactText(state.recordingShare)));
  model_->setText((state.modelName.empty() ? tr("Choose a model") : QString::fromStdString(state.modelName)) +
                  QStringLiteral(" ▾"));

  const bool waiting = state.activity == Activity::loading || state.activity == Activity::replaying;
  if (waiting && !progress_->isVisible() && !progressDelay_.isActive()) progressDelay_.start();
  const bool shown = waiting && !progressDelay_.isActive();
  progress_->setVisible(shown);
  cancel_->setVisible(shown);
  if (shown) {
    progress_->setRange(0, state.progress < 0 ? 0 : 1000);
    if (state.progress >= 0) progress_->setValue(static_cast<int>(state.progress * 1000));
  }
  phase_->setText(waiting                                ? QString::fromStdString(state.phase)
                  : state.activity == Activity::running  ? tr("running")
                  : state.activity == Activity::stepping ? tr("stepping")
                                                         : QString());

  QString where;
  if (line_->run()) {
    where = head() < line_->count() ? tr("at step %1 of %2").arg(head()).arg(line_->count())
            : line_->isTraining()   ? tr("%1 records").arg(line_->count())
                                    : tr("step %1").arg(line_->count());
    if (line_->count() < line_->expected())
      where = tr("loading %1 of %2 steps").arg(line_->count()).arg(line_->expected());
    if (line_->info() && !line_->info()->stopReason.empty() && head() >= line_->count())
      where += tr(" · ended: %1").arg(QString::fromStdString(line_->info()->stopReason));
  }
  position_->setText(where);
  if (state.sessionPath.empty())
    saved_->setText(line_->run() ? tr("not saved: in memory") : QString());
  else if (state.readOnly)
    saved_->setText(tr("read only"));
  else if (line_->isTraining())
    saved_->setText(tr("saved"));
  else
    saved_->setText(state.run && state.run == line_->run() && state.durable > 0
                        ? tr("saved to step %1 · %L2 nodes").arg(state.durable).arg(line_->nodes())
                        : tr("saved · %L1 nodes").arg(line_->nodes()));
  saved_->setToolTip(state.sessionPath.empty() ? tr("File → Save session as…")
                                               : QString::fromStdString(state.sessionPath));
  const QString file =
      state.sessionPath.empty() ? QString() : QFileInfo(QString::fromStdString(state.sessionPath)).fileName();
  setWindowTitle(file.isEmpty() ? tr("Decoscope") : tr("%1 – Decoscope").arg(file));
}

void MainWindow::showError(const Error& error) {
  errorLabel_->setText(
      QStringLiteral("<b>%1</b>%2 %3")
          .arg(QString::fromStdString(error.message).toHtmlEscaped(),
               error.where.empty()
                   ? QString()
                   : QStringLiteral(" (%1).").arg(QString::fromStdString(error.where).toHtmlEscaped()),
               QString::fromStdString(error.hint).toHtmlEscaped()));
  errorBar_->show();
}
void MainWindow::showMessage(const QString& text) {
  errorLabel_->setText(text.toHtmlEscaped());
  errorBar_->show();
}
QString MainWindow::errorText() const {
  return errorBar_->isHidden() ? QString() : errorLabel_->text();
}

}  // namespace decoscope
