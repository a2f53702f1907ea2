// The commands of the window: what each key, menu entry and button does.
#include <QActionGroup>
#include <QApplication>
#include <QCheckBox>
#include <QClipboard>
#include <QCloseEvent>
#include <QComboBox>
#include <QDesktopServices>
#include <QDialogButtonBox>
#include <QDir>
#include <QDockWidget>
#include <QDragEnterEvent>
#include <QFileDialog>
#include <QFileInfo>
#include <QFormLayout>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QLabel>
#include <QLineEdit>
#include <QListWidget>
#include <QMenuBar>
#include <QMessageBox>
#include <QMimeData>
#include <QPlainTextEdit>
#include <QProgressBar>
#include <QPushButton>
#include <QSettings>
#include <QStackedWidget>
#include <QStandardPaths>
#include <QStatusBar>
#include <QTabWidget>
#include <QThreadPool>
#include <QToolBar>
#include <QToolButton>
#include <QTreeView>
#include <QVBoxLayout>
#include <fstream>

#include "app/CommandPalette.h"
#include "app/MainWindow.h"
#include "app/StartPage.h"
#include "core/figure/Writers.h"
#include "core/interop/Export.h"
#include "widgets/models/Numbers.h"
#include "widgets/models/Why.h"
#include "widgets/panels/ParameterForm.h"
#include "widgets/panels/TranscriptView.h"
#include "widgets/style/Style.h"

namespace decoscope {

namespace {

constexpr int kRecentFiles = 12, kLayoutVersion = 1;

QString megabytes(std::int64_t bytes) {
  return bytes >= 1'000'000'000 ? QStringLiteral("%1 GB").arg(static_cast<double>(bytes) / 1e9, 0, 'f', 2)
         : bytes < 1'000'000    ? QStringLiteral("%1 kB").arg(bytes / 1000)
                                : QStringLiteral("%1 MB").arg(bytes / 1'000'000);
}

QString resourcePath(const QString& name) {
  for (const QString& folder :
       {QCoreApplication::applicationDirPath() + "/../share/decoscope", QStringLiteral(DECOSCOPE_RESOURCES)})
    if (QFileInfo::exists(folder + "/" + name)) return QDir::cleanPath(folder + "/" + name);
  return {};
}

}  // namespace

QAction* MainWindow::action(const QString& id, const QString& text, const QKeySequence& keys,
                            std::function<void()> run, const QString& tip) {
  auto* made = new QAction(text, this);
  made->setObjectName(id);
  made->setShortcut(keys);
  // On a button the key stands beside the name.
  const QString short_ = keys.isEmpty() ? QString() : keys.toString(QKeySequence::NativeText);
  made->setIconText(QString(text).remove('&').remove(QStringLiteral("…")) +
                    (short_.size() == 0 || short_.size() > 4 ? QString() : QStringLiteral("  ") + short_));
  const QString plain = QString(text).remove('&');
  made->setToolTip(
      (tip.isEmpty() ? plain : tip) +
      (keys.isEmpty() ? QString() : QStringLiteral("  (%1)").arg(keys.toString(QKeySequence::NativeText))));
  connect(made, &QAction::triggered, this, [run = std::move(run)] { run(); });
  addAction(made);
  actions_.insert(id, made);
  return made;
}

void MainWindow::buildActions() {
  using Kind = RunCondition::Kind;
  action("file.open", tr("&Open session or model…"), QKeySequence::Open, [this] { openDialog(); });
  action("file.new", tr("&New session in memory"), QKeySequence::New, [this] { openSession({}); });
  action("file.saveAs", tr("&Save session as…"), QKeySequence(Qt::CTRL | Qt::SHIFT | Qt::Key_S),
         [this] { saveAs(); });
  action("file.sample", tr("Open the sa&mple session"), {}, [this] { openSampleSession(); });
  action("file.quit", tr("&Quit"), QKeySequence::Quit, [this] { close(); });

  action(
      "edit.undo", tr("&Undo view"), QKeySequence::Undo, [this] { selection_->back(); },
      tr("Back to what was selected before"));
  action("edit.redo", tr("&Redo view"), QKeySequence(Qt::CTRL | Qt::SHIFT | Qt::Key_Z),
         [this] { selection_->forward(); });
  action("edit.copyText", tr("Copy te&xt of the run"), {},
         [this] { QApplication::clipboard()->setText(transcript_->plainText()); });
  action("edit.copyToken", tr("Copy &token"), {}, [this] { copyAs("text"); });
  action("edit.copyJson", tr("Copy &numbers as JSON"), {}, [this] { copyAs("json"); });
  action("edit.copyMarkdown", tr("Copy as &Markdown"), {}, [this] { copyAs("markdown"); });
  action("edit.copyLatex", tr("Copy as &LaTeX"), {}, [this] { copyAs("latex"); });
  action("edit.defaults", tr("Parameters to &defaults"), {}, [this] { form_->resetToDefaults(); });

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
      tr("Fork at the selected round with a token of your choice"));

  action("view.tree", tr("&Draft tree"), QKeySequence(Qt::CTRL | Qt::Key_1), [this] { showView("tree"); });
  action("view.lattice", tr("&Lattice"), QKeySequence(Qt::CTRL | Qt::Key_2), [this] { showView("lattice"); });
  action("view.outline", tr("&Outline"), QKeySequence(Qt::CTRL | Qt::Key_3), [this] { showView("outline"); });
  action("view.events", tr("&Events"), QKeySequence(Qt::CTRL | Qt::Key_4), [this] { showView("events"); });
  const auto canvas = [this]() -> FigureCanvas* {
    return tabs_->currentWidget() == latticePage_ ? static_cast<FigureCanvas*>(lattice_) : tree_;
  };
  action("view.fit", tr("&Fit everything"), QKeySequence(Qt::CTRL | Qt::Key_0),
         [canvas] { canvas()->setFollowing(false), canvas()->fitAll(); });
  action("view.actual", tr("&Actual size"), {}, [canvas] { canvas()->actualSize(); });
  action("view.in", tr("Zoom &in"), QKeySequence::ZoomIn, [canvas] { canvas()->zoomBy(1.25f); });
  action("view.out", tr("Zoom o&ut"), QKeySequence::ZoomOut, [canvas] { canvas()->zoomBy(0.8f); });
  QAction* follow =
      action("view.follow", tr("Follo&w the newest round"), QKeySequence(Qt::CTRL | Qt::Key_L), [] {});
  follow->setCheckable(true);
  follow->setChecked(true);
  connect(follow, &QAction::toggled, tree_, &FigureCanvas::setFollowing);
  connect(tree_, &FigureCanvas::followingChanged, follow, &QAction::setChecked);
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
  action("view.resetLayout", tr("&Reset layout"), {},
         [this] { restoreState(defaultLayout_, kLayoutVersion); });

  action(
      "export.figure", tr("Export figure"), QKeySequence(Qt::CTRL | Qt::Key_E), [this] { exportFigure(); },
      tr("The current view as SVG, PDF, PNG or TikZ"));
  action("export.jsonl", tr("Trace as &JSONL…"), {}, [this] { exportTrace("jsonl"); });
  action("export.csv", tr("Tokens as &CSV…"), {}, [this] { exportTrace("csv"); });
  action("export.window", tr("Picture of the &window…"), {}, [this] {
    const QString path =
        QFileDialog::getSaveFileName(this, tr("Picture of the window"), {}, tr("PNG (*.png)"));
    if (!path.isEmpty() && !grab().save(path))
      showError({ErrorCode::failed, "the picture could not be written", path.toStdString(),
                 "Check the folder and the space on the disk."});
  });

  actions_["run.first"]->setIconText(QStringLiteral("|◀"));
  actions_["run.back"]->setIconText(QStringLiteral("◀"));

  action("help.palette", tr("&Commands…"), QKeySequence(Qt::CTRL | Qt::SHIFT | Qt::Key_P),
         [this] { palette(); });
  QAction* keys = action("help.keys", tr("&Keys"), QKeySequence(Qt::Key_F1),
                         [this] { ShortcutsDialog(allActions(), this).exec(); });
  keys->setShortcuts({QKeySequence(Qt::Key_F1), QKeySequence(Qt::Key_Question)});
  action("help.about", tr("&About Decoscope"), {}, [this] { about(); });
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
  fill(file, {"file.new", "file.open"});
  recentMenu_ = file->addMenu(tr("Recent sessions"));
  fill(file, {"file.sample", "", "file.saveAs", "", "file.quit"});
  fill(menuBar()->addMenu(tr("&Edit")),
       {"edit.undo", "edit.redo", "", "edit.copyText", "edit.copyToken", "edit.copyJson", "edit.copyMarkdown",
        "edit.copyLatex", "", "edit.defaults"});
  fill(menuBar()->addMenu(tr("&Run")),
       {"run.new", "", "run.step", "run.back", "run.first", "run.run", "run.pause", "run.stop", "",
        "run.toReject", "run.nextReject", "run.condition", "", "run.fork", "run.force"});
  QMenu* view = menuBar()->addMenu(tr("&View"));
  fill(view, {"view.tree", "view.lattice", "view.outline", "view.events", "", "view.fit", "view.actual",
              "view.in", "view.out", "view.follow", "", "view.dark", "view.motion", ""});
  for (const char* name : {"runDock", "inspectorDock"})
    view->addAction(findChild<QDockWidget*>(name)->toggleViewAction());
  fill(view, {"view.resetLayout"});
  fill(menuBar()->addMenu(tr("E&xport")), {"export.figure", "export.jsonl", "export.csv", "export.window"});
  fill(menuBar()->addMenu(tr("&Help")), {"help.palette", "help.keys", "", "help.about"});
}

QList<QAction*> MainWindow::allActions() const {
  return actions();
}

void MainWindow::applyTheme(bool dark) {
  style::apply(dark ? darkTheme() : lightTheme());
  if (actions_.contains("view.dark")) actions_["view.dark"]->setChecked(dark);
  refresh();
}

// ---- Models and methods

void MainWindow::fillModelMenu() {
  if (!modelMenu_) return;
  modelMenu_->clear();
  for (const CatalogEntry& entry : catalog_) {
    QAction* one =
        modelMenu_->addAction(tr("%1   %2").arg(QString::fromStdString(entry.name), megabytes(entry.bytes)));
    one->setToolTip(QString::fromStdString(entry.path));
    connect(one, &QAction::triggered, this,
            [this, name = QString::fromStdString(entry.name)] { loadModel(name); });
  }
  if (!catalog_.empty()) modelMenu_->addSeparator();
  modelMenu_->addAction(tr("Open a GGUF file…"), this, [this] {
    const QString path =
        QFileDialog::getOpenFileName(this, tr("Open a model"), {}, tr("GGUF (*.gguf);;All files (*)"));
    if (!path.isEmpty()) loadModel(path);
  });
  modelMenu_->addAction(tr("Open a Hugging Face folder…"), this, [this] {
    const QString path = QFileDialog::getExistingDirectory(this, tr("Open a model folder"));
    if (!path.isEmpty()) loadModel(path);
  });
  modelMenu_->addAction(tr("Open a table model…"), this, [this] {
    const QString path =
        QFileDialog::getOpenFileName(this, tr("Open a table model"), {}, tr("Table model (*.json)"));
    if (!path.isEmpty()) loadModel("table:" + path);
  });
}

void MainWindow::fillDrafterMenu() {
  if (!drafterMenu_) return;
  drafterMenu_->clear();
  const auto choose = [this](const QString& path) {
    roles_["drafter"] = path;
    drafter_->setText(tr("drafter: %1 ▾").arg(QFileInfo(path).completeBaseName()));
    if (!controller_->state().modelName.empty()) loadModel(path, QStringLiteral("drafter"));
  };
  for (const CatalogEntry& entry : catalog_)
    drafterMenu_->addAction(QString::fromStdString(entry.name), this,
                            [choose, name = QString::fromStdString(entry.name)] { choose(name); });
  drafterMenu_->addAction(tr("Open a model file…"), this, [this, choose] {
    const QString path = QFileDialog::getOpenFileName(this, tr("Open a drafter"), {},
                                                      tr("Models (*.gguf *.json);;All files (*)"));
    if (!path.isEmpty()) choose(path.endsWith(".json") ? "table:" + path : path);
  });
  if (roles_["drafter"].isEmpty()) drafter_->setText(tr("drafter: none ▾"));
}

void MainWindow::loadModel(const QString& nameOrPath, const QString& role) {
  errorBar_->hide();
  if (controller_->state().activity == Activity::running) controller_->port().stop();
  controller_->port().loadModel(role.toStdString(), nameOrPath.toStdString(), "auto", "auto");
}

bool MainWindow::setMethod(const QString& method) {
  const int index = method_->findData(method);
  if (index < 0) return false;
  method_->setCurrentIndex(index);
  methodChosen();
  return true;
}

void MainWindow::methodChosen() {
  const MethodCard* card = controller_->method(method_->currentData().toString().toStdString());
  if (!card) return;
  form_->show(card->schema);
  method_->setToolTip(tr("%1\n%2\nlossless: %3")
                          .arg(QString::fromStdString(card->summary), QString::fromStdString(card->citation),
                               QString::fromStdString(card->lossless)));
  const bool drafts = std::find(card->roles.begin(), card->roles.end(), "drafter") != card->roles.end();
  if (auto* bar = findChild<QToolBar*>("toolBar"))
    for (QAction* one : bar->actions())
      if (one->objectName() == "drafterAction") one->setVisible(drafts);
  updateActions();
}

bool MainWindow::setParameter(const QString& assignment) {
  const MethodCard* card = controller_->method(method_->currentData().toString().toStdString());
  const std::string text = assignment.toStdString();
  if (!card) return false;
  const auto parsed = card->schema.parse(std::span<const std::string>(&text, 1));
  if (!parsed) {
    showError(parsed.error());
    return false;
  }
  ParamSet one;
  const std::string name = text.substr(0, text.find('='));
  one.set(name, parsed->values().at(name));
  form_->setValues(one);
  updateActions();
  return true;
}

void MainWindow::setPrompt(const QString& text, bool chat) {
  prompt_->setPlainText(text);
  chat_->setChecked(chat);
}
void MainWindow::setMaxNewTokens(int tokens) {
  maxTokens_->setText(QString::number(tokens));
}

// ---- Runs

void MainWindow::newRun() {
  const MethodCard* card = controller_->method(method_->currentData().toString().toStdString());
  if (!card) return;
  RunRequest request;
  request.name = card->title;
  request.method = card->name;
  request.assignments = form_->assignments();
  const QString prompt = prompt_->toPlainText();
  request.promptText = prompt.toStdString();
  if (chat_->isChecked())
    request.chatJson = QJsonDocument(QJsonArray{QJsonObject{{"role", "user"}, {"content", prompt}}})
                           .toJson(QJsonDocument::Compact)
                           .toStdString();
  if (prompt.trimmed().isEmpty()) {
    showError({ErrorCode::badInput, "the prompt is empty", "",
               "Write something into the prompt field on the left."});
    prompt_->setFocus();
    return;
  }
  bool seedOk = false, lengthOk = false;
  request.seed = seed_->text().trimmed().toULongLong(&seedOk);
  request.maxNewTokens = maxTokens_->text().trimmed().toLongLong(&lengthOk);
  if (!seedOk || !lengthOk || request.maxNewTokens < 1 || request.maxNewTokens > 1'000'000) {
    showError({ErrorCode::usage,
               "seed and new tokens must be whole numbers, and new tokens between 1 and 1 000 000",
               "parameters", ""});
    return;
  }
  for (const std::string& role : card->roles)
    if (const auto found = roles_.find(role); found != roles_.end() && !found->second.isEmpty())
      request.models[role] = found->second.toStdString();
  if (controller_->state().modelName.empty() && controller_->state().activity == Activity::idle) {
    showError({ErrorCode::badInput, "no model is loaded", "",
               "Choose one in the tool bar; packaging/fetch-model brings SmolLM2."});
    return;
  }
  errorBar_->hide();
  promptTouched_ = false;
  head_ = -1;
  controller_->port().startRun(request);
}

bool MainWindow::promptEdited() const {
  return promptTouched_;
}

std::vector<std::string> MainWindow::changedAssignments() const {
  std::vector<std::string> changed;
  if (!line_->info()) return changed;
  const auto& values = line_->info()->parameters.values();
  for (const std::string& assignment : form_->assignments(true)) {
    const std::size_t equals = assignment.find('=');
    const auto found = values.find(assignment.substr(0, equals));
    if (found == values.end() || paramText(found->second) != assignment.substr(equals + 1))
      changed.push_back(assignment);
  }
  return changed;
}

bool MainWindow::formDiffers() const {
  if (!line_->info()) return false;
  const RunInfo& info = *line_->info();
  return method_->currentData().toString().toStdString() != info.method || !changedAssignments().empty() ||
         seed_->text().trimmed() != QString::number(info.seed) ||
         maxTokens_->text().trimmed() != QString::number(info.maxNewTokens);
}

int MainWindow::head() const {
  return head_ < 0 ? line_->count() : std::min(head_, line_->count());
}

int MainWindow::shownIndex() const {
  const int index = line_->indexOf(selection_->selected());
  return index >= 0 ? index : line_->count() - 1;
}

void MainWindow::applyForm(ForkRequest& request) const {
  request.method = method_->currentData().toString().toStdString();
  request.assignments = form_->assignments(true);
  request.seed = seed_->text().trimmed().toULongLong();
  request.maxNewTokens = maxTokens_->text().trimmed().toLongLong();
}

void MainWindow::ensureCurrent() {
  if (line_->run() && controller_->state().run != line_->run()) {
    followedRun_ = line_->run();
    controller_->port().setCurrentRun(line_->run());
  }
}

void MainWindow::step(int count) {
  if (!line_->run() || promptEdited()) {
    newRun();
    if (errorBar_->isVisible()) return;
    explainNext_ = true;
    controller_->port().step(count);
    return;
  }
  errorBar_->hide();
  const int at = head();
  if (formDiffers()) {
    // Other parameters from here on: a continuation, so that what was done stays.
    ForkRequest request;
    request.run = line_->run();
    request.step = at;
    applyForm(request);
    request.name = method_->currentText().toStdString();
    explainNext_ = true;
    controller_->port().fork(request);
    controller_->port().step(count);
    return;
  }
  if (at < line_->count()) {
    // Stepped back: walk forward again over what is recorded.
    head_ = at + count >= line_->count() ? -1 : at + count;
    selection_->select({MarkId::Kind::round, line_->step(head() - 1)->run, head() - 1, -1});
    return;
  }
  ensureCurrent();
  tree_->setFollowing(true);
  explainNext_ = true;
  controller_->port().step(count);
}

void MainWindow::runTo(const RunCondition& condition) {
  if (controller_->state().activity == Activity::running) {
    controller_->port().pause();
    return;
  }
  if (!line_->run() || promptEdited()) {
    newRun();
    if (errorBar_->isVisible()) return;
  } else if (formDiffers()) {
    step(1);
  } else {
    head_ = -1;
    ensureCurrent();
  }
  tree_->setFollowing(true);
  controller_->port().run(condition);
}

void MainWindow::stepBack() {
  const int at = head();
  if (at < 1) return;
  head_ = at - 1;
  if (head_ == 0)
    selection_->select({MarkId::Kind::node, line_->step(0)->run, 0, -1});
  else
    selection_->select({MarkId::Kind::round, line_->step(head_ - 1)->run, head_ - 1, -1});
  updateActions();
  updateStatus();
}

void MainWindow::selectDecision(int index) {
  const StepRecord& step = *line_->step(index);
  for (const Event& event : step.events)
    if (const auto* verdict = std::get_if<VerdictFact>(&event);
        verdict && verdict->verdict == VerdictKind::rejected) {
      selection_->select({MarkId::Kind::node, step.run, step.step, verdict->node});
      return;
    }
  for (auto token = line_->text().rbegin(); token != line_->text().rend(); ++token)
    if (token->step == step.step) {
      selection_->select(line_->markOf(*token));
      return;
    }
}

void MainWindow::toFirstRound() {
  if (line_->count() == 0) return;
  head_ = 0;
  selection_->select({MarkId::Kind::node, line_->step(0)->run, 0, -1});
  updateActions();
  updateStatus();
}

void MainWindow::nextReject() {
  const MarkId from = selection_->selected();
  const int first = line_->indexOf(from);
  for (int i = std::max(first, 0); i < line_->count(); ++i)
    for (const Event& event : line_->step(i)->events)
      if (const auto* verdict = std::get_if<VerdictFact>(&event);
          verdict && verdict->verdict == VerdictKind::rejected &&
          (first < 0 || i > first || (from.kind == MarkId::Kind::node && verdict->node > from.item) ||
           from.kind == MarkId::Kind::round)) {
        selection_->select({MarkId::Kind::node, line_->step(i)->run, i, verdict->node});
        return;
      }
  if (!controller_->busy() && controller_->state().stopReason.empty() &&
      !controller_->state().modelName.empty())
    runTo({.kind = RunCondition::Kind::nextReject});
}

void MainWindow::forkHere(std::optional<TokenId> force) {
  if (!line_->run()) return;
  const int at =
      line_->indexOf(selection_->selected()) >= 0 ? line_->indexOf(selection_->selected()) : head();
  ForkRequest request;
  request.run = line_->run();
  request.step = std::min(at, line_->count());
  request.force = force;
  if (formDiffers()) applyForm(request);
  request.name = line_->info() ? line_->info()->name : std::string();
  errorBar_->hide();
  head_ = -1;
  controller_->port().fork(request);
  explainNext_ = force.has_value();
  if (force) controller_->port().step(1);
}

void MainWindow::forceDialog() {
  if (!line_->run()) return;
  const int index = shownIndex();
  if (index < 0) return;
  QDialog dialog(this);
  dialog.setObjectName("forceDialog");
  dialog.setWindowTitle(tr("Force a token"));
  auto* layout = new QVBoxLayout(&dialog);
  auto* lead = new QLabel(tr("Forks at round %1. The token after “%2” will be:")
                              .arg(index)
                              .arg(line_->text(line_->rootOf(index))));
  lead->setWordWrap(true);
  auto* list = new QListWidget;
  QFont mono = style::tokenFont();
  list->setFont(mono);
  const Distributions choices =
      distributionsOf(*line_, {MarkId::Kind::round, line_->step(index)->run, index, -1}, 32);
  for (const DistributionRow& row : choices.rows) {
    auto* item =
        new QListWidgetItem(QStringLiteral("%1    p = %2").arg(line_->text(row.token), rounded(row.p)), list);
    item->setData(Qt::UserRole, row.token);
    item->setToolTip(tr("token %1\np = %2").arg(row.token).arg(exactText(row.p)));
  }
  auto* id = new QLineEdit;
  id->setObjectName("forceId");
  id->setPlaceholderText(tr("or a token id"));
  auto* buttons = new QDialogButtonBox(QDialogButtonBox::Ok | QDialogButtonBox::Cancel);
  buttons->button(QDialogButtonBox::Ok)->setText(tr("Fork"));
  layout->addWidget(lead);
  layout->addWidget(list);
  layout->addWidget(id);
  layout->addWidget(buttons);
  list->setCurrentRow(0);
  connect(list, &QListWidget::currentRowChanged, id, [list, id] {
    id->setText(list->currentItem() ? list->currentItem()->data(Qt::UserRole).toString() : QString());
  });
  if (list->currentItem()) id->setText(list->currentItem()->data(Qt::UserRole).toString());
  connect(list, &QListWidget::itemActivated, &dialog, &QDialog::accept);
  connect(buttons, &QDialogButtonBox::accepted, &dialog, &QDialog::accept);
  connect(buttons, &QDialogButtonBox::rejected, &dialog, &QDialog::reject);
  dialog.resize(420, 460);
  if (dialog.exec() != QDialog::Accepted) return;
  bool ok = false;
  const int token = id->text().trimmed().toInt(&ok);
  if (!ok || token < 0) {
    showError({ErrorCode::usage, "a token id is a whole number from 0", "Force token",
               "Choose one of the list, or look ids up with `decoscope-cli tokenize`."});
    return;
  }
  selection_->select({MarkId::Kind::round, line_->step(index)->run, index, -1});
  forkHere(token);
}

void MainWindow::conditionDialog() {
  using Kind = RunCondition::Kind;
  QDialog dialog(this);
  dialog.setObjectName("conditionDialog");
  dialog.setWindowTitle(tr("Run to a condition"));
  auto* form = new QFormLayout(&dialog);
  auto* kind = new QComboBox;
  kind->setObjectName("conditionKind");
  kind->addItem(tr("the next rejected token"), static_cast<int>(Kind::nextReject));
  kind->addItem(tr("entropy of the target above (nats)"), static_cast<int>(Kind::entropyAbove));
  kind->addItem(tr("probability of a written token below"), static_cast<int>(Kind::probabilityBelow));
  kind->addItem(tr("a token (its id)"), static_cast<int>(Kind::token));
  kind->addItem(tr("before step"), static_cast<int>(Kind::step));
  auto* bound = new QLineEdit(QStringLiteral("2.0"));
  bound->setObjectName("conditionBound");
  form->addRow(tr("Run until"), kind);
  form->addRow(tr("Bound"), bound);
  auto* buttons = new QDialogButtonBox(QDialogButtonBox::Ok | QDialogButtonBox::Cancel);
  buttons->button(QDialogButtonBox::Ok)->setText(tr("Run"));
  form->addRow(buttons);
  const auto settle = [&] {
    bound->setEnabled(kind->currentData().toInt() != static_cast<int>(Kind::nextReject));
  };
  connect(kind, &QComboBox::currentIndexChanged, &dialog, settle);
  settle();
  connect(buttons, &QDialogButtonBox::accepted, &dialog, &QDialog::accept);
  connect(buttons, &QDialogButtonBox::rejected, &dialog, &QDialog::reject);
  if (dialog.exec() != QDialog::Accepted) return;
  RunCondition condition;
  condition.kind = static_cast<Kind>(kind->currentData().toInt());
  bool ok = true;
  const double value = bound->isEnabled() ? bound->text().toDouble(&ok) : 0;
  const bool whole = condition.kind == Kind::token || condition.kind == Kind::step;
  if (!ok || (whole && (value != std::floor(value) || value < 0 || value > 1e9))) {
    showError({ErrorCode::usage, "the bound is not a number of the right kind", "Run to a condition",
               "Token ids and steps are whole numbers from 0."});
    return;
  }
  if (condition.kind == Kind::token)
    condition.token = static_cast<TokenId>(value);
  else if (condition.kind == Kind::step)
    condition.step = static_cast<StepIndex>(value);
  else
    condition.bound = value;
  runTo(condition);
}

void MainWindow::showRun(RunId run) {
  selection_->clear();
  line_->show(controller_->port().trace(), run);
  runs_->setCurrent(run);
  if (line_->info()) readFormFrom(*line_->info());
  const QModelIndex at = runs_->indexOf(run);
  if (at.isValid() && runView_->currentIndex().siblingAtColumn(0) != at) runView_->setCurrentIndex(at);
  pages_->setCurrentIndex(1);
  updateActions();
  updateStatus();
}

void MainWindow::readFormFrom(const RunInfo& info) {
  filling_ = true;
  setMethod(QString::fromStdString(info.method));
  form_->setValues(info.parameters);
  seed_->setText(QString::number(info.seed));
  maxTokens_->setText(QString::number(info.maxNewTokens));
  if (!info.promptText.empty()) {
    prompt_->setPlainText(QString::fromStdString(info.promptText));
    const auto kind = info.notes.find("prompt_kind");
    chat_->setChecked(kind != info.notes.end() && kind->second == "chat");
  }
  filling_ = false;
  promptTouched_ = false;
}

void MainWindow::showView(const QString& name) {
  const QHash<QString, QWidget*> pages{{"tree", tree_},
                                       {"lattice", latticePage_},
                                       {"outline", outlinePages_},
                                       {"events", reinterpret_cast<QWidget*>(tabs_->widget(3))}};
  if (name == "start")
    pages_->setCurrentIndex(0);
  else if (QWidget* page = pages.value(name); page && tabs_->isTabEnabled(tabs_->indexOf(page)))
    tabs_->setCurrentWidget(page);
}

bool MainWindow::settled() const {
  return !controller_->busy() && !tree_->layingOut() && !lattice_->layingOut() &&
         line_->count() >= line_->expected();
}

// ---- State shown

void MainWindow::updateActions() {
  if (!actions_.contains("run.step")) return;
  const SessionState& state = controller_->state();
  const bool busy = controller_->busy(), hasRun = static_cast<bool>(line_->run()),
             hasModel = !state.modelName.empty();
  const bool ended = hasRun && line_->info() && !line_->info()->stopReason.empty() &&
                     line_->info()->state != RunState::stopped && line_->info()->state != RunState::paused &&
                     head() >= line_->count() && !formDiffers() && !promptEdited();
  actions_["run.step"]->setEnabled(!busy && (hasModel || head() < line_->count()) && !ended &&
                                   !state.readOnly);
  actions_["run.run"]->setEnabled(state.activity == Activity::running ||
                                  (!busy && hasModel && !ended && !state.readOnly));
  actions_["run.run"]->setText(state.activity == Activity::running ? tr("Pause") : tr("Run"));
  actions_["run.run"]->setIconText(actions_["run.run"]->text() + QStringLiteral("  F5"));
  actions_["run.pause"]->setEnabled(state.activity == Activity::running);
  actions_["run.stop"]->setEnabled(busy);
  actions_["run.back"]->setEnabled(hasRun && head() > 0);
  actions_["run.first"]->setEnabled(hasRun && head() > 0);
  actions_["run.nextReject"]->setEnabled(hasRun);
  actions_["run.new"]->setEnabled(!busy && hasModel && !state.readOnly);
  actions_["run.condition"]->setEnabled(!busy && hasModel && !ended);
  actions_["run.toReject"]->setEnabled(!busy && hasModel && !ended);
  for (const char* id : {"run.fork", "run.force"})
    actions_[id]->setEnabled(!busy && hasRun && line_->count() > 0 && hasModel && !state.readOnly);
  actions_["edit.undo"]->setEnabled(selection_->canGoBack());
  actions_["edit.redo"]->setEnabled(selection_->canGoForward());
  actions_["export.figure"]->setEnabled(hasRun && line_->count() > 0);
  for (const char* id : {"export.jsonl", "export.csv", "file.saveAs"}) actions_[id]->setEnabled(hasRun);
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
  memory_->setText(state.memoryBytes > 0 ? tr("memory %1").arg(strong(megabytes(state.memoryBytes)))
                                         : QString());
  memory_->setToolTip(tr("Weights and cache of the target: %1 bytes").arg(state.memoryBytes));
  speed_->setText(state.tokensPerSecond > 0
                      ? tr("%1 tok/s").arg(strong(QString::number(state.tokensPerSecond, 'f', 1)))
                      : QString());
  speed_->setToolTip(
      tr("New tokens per second of decoding over the last steps: %1").arg(exactText(state.tokensPerSecond)));
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

// ---- Copy, menus, export

void MainWindow::copyAs(const QString& kind) {
  const MarkId mark = selection_->selected();
  const WhyCard why = whyOf(*line_, mark);
  if (why.empty()) return;
  QString text;
  if (kind == "json") {
    text = whyJson(*line_, mark);
  } else if (kind == "text") {
    text = why.title;
  } else if (kind == "markdown") {
    text = QStringLiteral("**%1** %2\n\n| | |\n|---|---|\n").arg(why.title, why.subtitle);
    for (const WhyRow& row : why.rows)
      text += QStringLiteral("| %1 | %2 |\n")
                  .arg(QString(row.label).replace('|', "\\|"),
                       row.text.isEmpty() ? exactText(row.value) : row.text);
  } else {
    const auto escaped = [](QString s) {
      s.replace('\\', "\\textbackslash{}");
      for (const char* c : {"&", "%", "$", "#", "_", "{", "}"}) s.replace(c, QStringLiteral("\\") + c);
      return s;
    };
    text = QStringLiteral("\\begin{tabular}{lr}\n");
    for (const WhyRow& row : why.rows)
      text += QStringLiteral("%1 & %2 \\\\\n")
                  .arg(escaped(row.label), row.text.isEmpty() ? exactText(row.value) : escaped(row.text));
    text += QStringLiteral("\\end{tabular}\n");
  }
  QApplication::clipboard()->setText(text);
}

void MainWindow::contextMenu(const MarkId& mark, const QPoint& at) {
  QMenu menu(this);
  menu.setObjectName("canvasMenu");
  if (mark.kind == MarkId::Kind::node) {
    const int index = line_->indexOf(mark);
    const Round round = index >= 0 ? roundOf(*line_->step(index), line_->rootOf(index)) : Round{};
    if (mark.item >= 0 && mark.item + 1 < static_cast<std::int64_t>(round.nodes.size())) {
      const RoundNode node = round.nodes[static_cast<std::size_t>(mark.item) + 1];
      QAction* force = menu.addAction(tr("Force “%1” here").arg(line_->text(node.token)), this,
                                      [this, token = node.token] { forkHere(token); });
      force->setEnabled(node.depth == 1 && actions_["run.force"]->isEnabled());
      if (node.depth > 1)
        force->setToolTip(
            tr("A fork begins at a round: only tokens that follow its root can be forced. Step to the round "
               "that begins here first."));
      menu.setToolTipsVisible(true);
    }
  }
  if (mark.kind != MarkId::Kind::none) {
    menu.addAction(actions_["run.fork"]);
    menu.addAction(actions_["run.force"]);
    menu.addSeparator();
    QMenu* copy = menu.addMenu(tr("Copy as"));
    for (const char* id : {"edit.copyToken", "edit.copyJson", "edit.copyMarkdown", "edit.copyLatex"})
      copy->addAction(actions_[id]);
  }
  menu.addAction(actions_["edit.copyText"]);
  menu.addSeparator();
  for (const char* id : {"view.fit", "view.actual", "export.figure"}) menu.addAction(actions_[id]);
  menu.exec(at);
}

std::optional<Figure> MainWindow::currentFigure() const {
  if (line_->count() == 0) return std::nullopt;
  if (tabs_->currentWidget() == latticePage_)
    return layoutLattice(line_->steps(), line_->labels(), lattice_->colour(), lattice_->throughStep());
  if (tabs_->currentWidget() == tree_ || tabs_->currentWidget() == outlinePages_) {
    const int index = shownIndex();
    return layoutTree(*line_->step(index), line_->rootOf(index), line_->labels());
  }
  return std::nullopt;
}

void MainWindow::exportFigure() {
  const QStringList names{tr("The current view"), tr("Transcript"), tr("Rounds"),
                          tr("Distribution at the selection"), tr("All draft trees")};
  QDialog dialog(this);
  dialog.setObjectName("exportDialog");
  dialog.setWindowTitle(tr("Export a figure"));
  auto* form = new QFormLayout(&dialog);
  auto* what = new QComboBox;
  what->addItems(names);
  auto* theme = new QComboBox;
  theme->addItems({tr("light, for papers"), tr("dark, for slides")});
  auto* width = new QLineEdit;
  width->setPlaceholderText(tr("natural; or millimetres, 84 for a column"));
  form->addRow(tr("Figure"), what);
  form->addRow(tr("Theme"), theme);
  form->addRow(tr("Width"), width);
  auto* buttons = new QDialogButtonBox(QDialogButtonBox::Save | QDialogButtonBox::Cancel);
  connect(buttons, &QDialogButtonBox::accepted, &dialog, &QDialog::accept);
  connect(buttons, &QDialogButtonBox::rejected, &dialog, &QDialog::reject);
  form->addRow(buttons);
  if (dialog.exec() != QDialog::Accepted) return;
  const QString path =
      QFileDialog::getSaveFileName(this, tr("Export a figure"), QStringLiteral("figure.svg"),
                                   tr("SVG (*.svg);;PDF (*.pdf);;PNG (*.png);;TikZ (*.tex)"));
  if (path.isEmpty()) return;
  const int index = shownIndex();
  std::optional<Figure> figure;
  if (what->currentIndex() == 0) figure = currentFigure();
  if (what->currentIndex() == 1) figure = layoutTranscript(line_->text(), line_->labels(), 760);
  if (what->currentIndex() == 2) figure = layoutRounds(line_->steps());
  if (what->currentIndex() == 3 && index >= 0) {
    NodeId node = kRootNode;
    if (selection_->selected().kind == MarkId::Kind::node && selection_->selected().item >= 0) {
      const Round round = roundOf(*line_->step(index), line_->rootOf(index));
      if (selection_->selected().item + 1 < static_cast<std::int64_t>(round.nodes.size()))
        node = round.nodes[static_cast<std::size_t>(selection_->selected().item) + 1].parent - 1;
    }
    figure = layoutDistribution(*line_->step(index), node, line_->labels());
  }
  if (what->currentIndex() == 4) {
    std::vector<TokenId> roots;
    for (int i = 0; i < line_->count(); ++i) roots.push_back(line_->rootOf(i));
    figure = layoutTrees(line_->steps(), roots, line_->labels());
  }
  if (!figure) {
    showMessage(tr("This view has no figure; choose another one."));
    return;
  }
  FigureOptions options;
  options.dark = theme->currentIndex() == 1;
  options.widthMillimetres = width->text().toDouble();
  options.provenance =
      "decoscope " DECOSCOPE_VERSION ", session " +
      QFileInfo(QString::fromStdString(controller_->state().sessionPath)).fileName().toStdString() +
      ", run " + std::to_string(line_->run().value) +
      (index >= 0 ? ", step " + std::to_string(index) : std::string());
  // Written on a worker: a long run's trees take a while.
  QThreadPool::globalInstance()->start([this, guard = QPointer<MainWindow>(this), figure = std::move(*figure),
                                        options, path = path.toStdString()] {
    const Status status = writeFigure(figure, options, path);
    QMetaObject::invokeMethod(qApp, [this, guard, status, path] {
      if (!guard) return;
      if (status)
        statusBar()->showMessage(tr("Written: %1").arg(QString::fromStdString(path)), 5000);
      else
        showError(status.error());
    });
  });
}

void MainWindow::exportTrace(const QString& kind) {
  const QString path =
      QFileDialog::getSaveFileName(this, tr("Export the trace"), "trace." + kind,
                                   kind == "csv" ? tr("CSV (*.csv)") : tr("JSON lines (*.jsonl)"));
  if (path.isEmpty() || !line_->source()) return;
  QThreadPool::globalInstance()->start([this, guard = QPointer<MainWindow>(this), source = line_->source(),
                                        run = line_->run(), kind, path = path.toStdString()] {
    std::ofstream out(path, std::ios::binary);
    Status status = kind == "csv" ? exportCsv(*source, run, out) : exportJsonl(*source, run, out);
    out.close();
    if (status && !out)
      status = fail(ErrorCode::failed, "the file could not be written", path,
                    "Check the folder and the space on the disk.");
    QMetaObject::invokeMethod(qApp, [this, guard, status, path] {
      if (!guard) return;
      if (status)
        statusBar()->showMessage(tr("Written: %1").arg(QString::fromStdString(path)), 5000);
      else
        showError(status.error());
    });
  });
}

// ---- Files

void MainWindow::openDialog() {
  const QString path =
      QFileDialog::getOpenFileName(this, tr("Open a session or a model"), {},
                                   tr("Sessions and models (*.decoscope *.gguf);;All files (*)"));
  if (!path.isEmpty()) openPath(path);
}

void MainWindow::openPath(const QString& path) {
  if (path.startsWith("table:") || !QFileInfo::exists(path)) {
    // A name of the catalogue; what is neither is said so by the loader.
    loadModel(path);
    return;
  }
  const QFileInfo info(path);
  if (info.isDir() || info.suffix() == "gguf")
    loadModel(info.absoluteFilePath());
  else if (info.suffix() == "json")
    loadModel("table:" + info.absoluteFilePath());
  else
    openSession(info.absoluteFilePath());
}

bool MainWindow::mayLeave() {
  if (!controller_->state().sessionPath.empty() || !line_->run() || !isVisible() ||
      property("quiet").toBool())
    return true;
  const auto answer =
      QMessageBox::question(this, tr("Save the session?"), tr("The runs of this session are in memory only."),
                            QMessageBox::Save | QMessageBox::Discard | QMessageBox::Cancel);
  // Saving goes on behind; whoever asked can ask again when it is done.
  if (answer == QMessageBox::Save) saveAs();
  return answer == QMessageBox::Discard;
}

void MainWindow::openSession(const QString& path) {
  if (!mayLeave()) return;
  errorBar_->hide();
  // A run under way would hold the command up until its end.
  if (controller_->busy()) controller_->port().stop();
  controller_->port().openSession(path.toStdString());
}

void MainWindow::openSampleSession() {
  const QString sample = resourcePath("sessions/speculative-decoding.decoscope");
  if (sample.isEmpty()) {
    showError({ErrorCode::notFound, "the sample session is not installed", "resources/sessions",
               "Reinstall Decoscope."});
    return;
  }
  // A copy: exploring it never changes the original.
  const QString folder = QStandardPaths::writableLocation(QStandardPaths::CacheLocation);
  QDir().mkpath(folder);
  const QString copy = folder + "/sample.decoscope";
  for (const char* suffix : {"", "-wal", "-shm"}) QFile::remove(copy + suffix);
  if (!QFile::copy(sample, copy)) {
    showError({ErrorCode::failed, "the sample session could not be copied", copy.toStdString(),
               "Check the space on the disk."});
    return;
  }
  QFile::setPermissions(copy, QFile::ReadOwner | QFile::WriteOwner);
  openSession(copy);
}

void MainWindow::saveAs() {
  QString path = QFileDialog::getSaveFileName(
      this, tr("Save the session"), QStringLiteral("session.decoscope"), tr("Session (*.decoscope)"));
  if (path.isEmpty()) return;
  if (QFileInfo(path).suffix().isEmpty()) path += ".decoscope";
  // The dialogue asked about replacing; the session itself never overwrites.
  for (const char* suffix : {"", "-wal", "-shm"}) QFile::remove(path + suffix);
  controller_->port().saveSessionAs(path.toStdString());
}

void MainWindow::remember(const QString& path) {
  if (path.startsWith(QStandardPaths::writableLocation(QStandardPaths::CacheLocation))) return;
  QSettings settings;
  QStringList recent = settings.value("files/recent").toStringList();
  recent.removeAll(path);
  recent.prepend(path);
  settings.setValue("files/recent", recent.mid(0, kRecentFiles));
  fillRecent();
}

void MainWindow::fillRecent() {
  const QStringList recent = QSettings().value("files/recent").toStringList();
  start_->show(recent, catalog_);
  recentMenu_->clear();
  for (const QString& path : recent) {
    QAction* one = recentMenu_->addAction(QFileInfo(path).fileName(), this, [this, path] {
      if (!QFileInfo::exists(path))
        showError({ErrorCode::notFound, "the session is not there any more", path.toStdString(),
                   "It was moved or deleted; Recent sessions → Clear forgets it."});
      else
        openPath(path);
    });
    one->setToolTip(path);
  }
  if (!recent.isEmpty()) recentMenu_->addSeparator();
  recentMenu_->addAction(tr("Clear"), this, [this] {
    QSettings().remove("files/recent");
    fillRecent();
  });
  recentMenu_->setEnabled(!recent.isEmpty());
}

void MainWindow::palette() {
  CommandPalette dialog(allActions(), this);
  dialog.exec();
}

void MainWindow::about() {
  QMessageBox::about(
      this, tr("Decoscope"),
      tr("<b>Decoscope %1</b><p>Steps a language model and shows why each token is there.</p><p>Keys: F1. "
         "Everything stays on this computer: there is no telemetry, and nothing touches the network.</p>")
          .arg(QStringLiteral(DECOSCOPE_VERSION)));
}

void MainWindow::closeEvent(QCloseEvent* event) {
  if (!mayLeave()) return event->ignore();
  QSettings settings;
  settings.setValue("window/geometry", saveGeometry());
  settings.setValue("window/state", saveState(kLayoutVersion));
  controller_->port().stop();
  event->accept();
}

void MainWindow::dragEnterEvent(QDragEnterEvent* event) {
  if (event->mimeData()->hasUrls() && event->mimeData()->urls().front().isLocalFile())
    event->acceptProposedAction();
}

void MainWindow::dropEvent(QDropEvent* event) {
  if (event->mimeData()->hasUrls()) openPath(event->mimeData()->urls().front().toLocalFile());
}

}  // namespace decoscope
