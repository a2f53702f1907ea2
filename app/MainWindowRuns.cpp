// Models, methods and runs: loading, stepping, rewinding, forking, forcing, running to a condition.
#include <QCheckBox>
#include <QComboBox>
#include <QDialogButtonBox>
#include <QDir>
#include <QFileDialog>
#include <QFileInfo>
#include <QFormLayout>
#include <QFrame>
#include <QLabel>
#include <QLineEdit>
#include <QListWidget>
#include <QMenu>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QSettings>
#include <QStackedWidget>
#include <QToolBar>
#include <QToolButton>
#include <QTreeView>
#include <QVBoxLayout>

#include "app/MainWindow.h"
#include "app/ModelChooser.h"
#include "widgets/models/Numbers.h"
#include "widgets/models/Why.h"
#include "widgets/panels/ParameterForm.h"
#include "widgets/style/Style.h"

namespace decoscope {

// ---- Models and methods

void MainWindow::fillModelMenu() {
  if (!modelMenu_) return;
  modelMenu_->clear();
  const MethodCard* method = controller_->method(method_->currentData().toString().toStdString());
  for (const ModelEntry& entry : catalog_->models()) {
    QString text =
        QString::fromStdString(entry.file.name) + QStringLiteral("   ") + bytesText(entry.file.bytes);
    if (entry.described && entry.problem.isEmpty())
      text += QStringLiteral(" · %1 · %2")
                  .arg(QString::fromStdString(entry.info.fileType),
                       ModelCatalog::parametersText(entry.info.parameters));
    QAction* one = modelMenu_->addAction(text);
    const QString why = method ? ModelCatalog::whyNot(entry, *method) : entry.problem;
    one->setEnabled(why.isEmpty());
    one->setToolTip(QString::fromStdString(entry.file.path) + (why.isEmpty() ? QString() : "\n" + why));
    connect(one, &QAction::triggered, this,
            [this, path = QString::fromStdString(entry.file.path)] { loadModel(path); });
  }
  if (!catalog_->models().empty()) modelMenu_->addSeparator();
  modelMenu_->addAction(actions_["file.models"]);
}

void MainWindow::modelDialog() {
  ModelChooser dialog(catalog_, controller_->method(method_->currentData().toString().toStdString()),
                      loadDtype_, loadDevice_, this);
  if (dialog.exec() != QDialog::Accepted) return;
  loadDtype_ = dialog.dtype();
  loadDevice_ = dialog.device();
  QSettings settings;
  settings.setValue("model/dtype", loadDtype_);
  settings.setValue("model/device", loadDevice_);
  loadModel(dialog.chosen());
}

void MainWindow::fillDrafterMenu() {
  if (!drafterMenu_) return;
  drafterMenu_->clear();
  const auto choose = [this](const QString& path) {
    roles_["drafter"] = path;
    showDrafter();
    if (!controller_->state().modelName.empty()) loadModel(path, QStringLiteral("drafter"));
  };
  for (const ModelEntry& entry : catalog_->models()) {
    QAction* one =
        drafterMenu_->addAction(QString::fromStdString(entry.file.name), this,
                                [choose, path = QString::fromStdString(entry.file.path)] { choose(path); });
    one->setEnabled(entry.problem.isEmpty());
    one->setToolTip(QString::fromStdString(entry.file.path) +
                    (entry.problem.isEmpty() ? QString() : "\n" + entry.problem));
  }
  drafterMenu_->addAction(tr("Open a model file…"), this, [this, choose] {
    const QString path = QFileDialog::getOpenFileName(this, tr("Open a drafter"), {},
                                                      tr("Models (*.gguf *.json);;All files (*)"));
    if (!path.isEmpty()) choose(path.endsWith(".json") ? "table:" + path : path);
  });
  showDrafter();
}

void MainWindow::showDrafter() {
  const QString chosen = roles_["drafter"];
  drafter_->setText(
      tr("drafter: %1 ▾").arg(chosen.isEmpty() ? tr("none") : QFileInfo(chosen).completeBaseName()));
}

void MainWindow::loadModel(const QString& nameOrPath, const QString& role) {
  errorBar_->hide();
  if (controller_->state().activity == Activity::running) controller_->port().stop();
  controller_->port().loadModel(role.toStdString(), nameOrPath.toStdString(), loadDtype_.toStdString(),
                                loadDevice_.toStdString());
}

void MainWindow::openBundled(const BundledStart& start) {
  if (start.drafter.isEmpty())
    roles_.erase("drafter");
  else
    roles_["drafter"] = start.drafter;
  showDrafter();
  setMethod(start.method);
  setPrompt(start.prompt, true);
  loadModel(start.target);
  prompt_->setFocus();
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
  // The controller that keeps decoding fast often drafts nothing, and this window is for looking at drafts: a
  // person who has not said otherwise sees them at full size.
  if (!filling_ && !adaptiveTouched_ && card->schema.find("adaptive")) {
    ParamSet full;
    full.set("adaptive", false);
    form_->setValues(full);
  }
  method_->setToolTip(tr("%1\n%2\nlossless: %3")
                          .arg(QString::fromStdString(card->summary), QString::fromStdString(card->citation),
                               QString::fromStdString(card->lossless)));
  const bool drafts = std::find(card->roles.begin(), card->roles.end(), "drafter") != card->roles.end();
  if (auto* bar = findChild<QToolBar*>("toolBar"))
    for (QAction* one : bar->actions())
      if (one->objectName() == "drafterAction") one->setVisible(drafts);
  fillModelMenu();
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
  if (name == "adaptive") adaptiveTouched_ = true;
  form_->setValues(one);
  updateActions();
  return true;
}

void MainWindow::setPrompt(const QString& text, bool chat) {
  turns_ = {{QStringLiteral("user"), text}};
  prompt_->setPlainText(text);
  chat_->setChecked(chat);
  showChat();
}

void MainWindow::setChat(const std::vector<ChatTurn>& turns) {
  if (turns.empty()) return;
  turns_ = turns;
  prompt_->setPlainText(turns_.back().content);
  chat_->setChecked(true);
  showChat();
}

void MainWindow::showChat() {
  conversation_->setVisible(chat_->isChecked());
  const auto before = static_cast<int>(turns_.size()) - 1;
  conversation_->setText(before == 0   ? tr("conversation…")
                         : before == 1 ? tr("1 message before…")
                                       : tr("%1 messages before…").arg(before));
  prompt_->setAccessibleName(before == 0 ? tr("Prompt")
                                         : tr("Last message, of the %1").arg(turns_.back().role));
}

void MainWindow::chatDialog() {
  std::vector<ChatTurn> turns = turns_;
  turns.back().content = prompt_->toPlainText();
  ChatDialog dialog(controller_->port(), turns, this);
  if (dialog.exec() != QDialog::Accepted || dialog.turns() == turns) return;
  setChat(dialog.turns());
  promptTouched_ = true;
  updateActions();
}
void MainWindow::setMaxNewTokens(int tokens) {
  maxTokens_->setText(QString::number(tokens));
}

// ---- Runs

void MainWindow::newRun(const Continuation& next) {
  const MethodCard* card = controller_->method(method_->currentData().toString().toStdString());
  if (!card) return;
  RunRequest request;
  request.name = card->title;
  request.method = card->name;
  request.assignments = form_->assignments();
  const QString prompt = prompt_->toPlainText();
  request.promptText = prompt.toStdString();
  if (chat_->isChecked()) {
    std::vector<ChatTurn> turns = turns_;
    turns.back().content = prompt;
    request.chatJson = chatJson(turns).toStdString();
  }
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
  request.dtype = loadDtype_.toStdString();
  request.device = loadDevice_.toStdString();
  if (controller_->state().modelName.empty() && controller_->state().activity == Activity::idle) {
    showError({ErrorCode::badInput, "no model is loaded", "",
               "Choose one in the tool bar; packaging/fetch-model brings SmolLM2."});
    return;
  }
  errorBar_->hide();
  promptTouched_ = false;
  head_ = -1;
  controller_->port().startRun(request, next);
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
  if (!line_->info() || line_->isTraining()) return false;
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

void MainWindow::goOn(const Continuation& next) {
  if (!line_->run() || promptEdited()) return newRun(next);
  errorBar_->hide();
  SessionPort& port = controller_->port();
  if (formDiffers()) {
    // Other parameters from here on: a continuation, so that what was done stays.
    ForkRequest request;
    request.run = line_->run();
    request.step = head();
    applyForm(request);
    request.name = method_->currentText().toStdString();
    port.fork(request, next);
  } else if (controller_->state().run != line_->run()) {
    followedRun_ = line_->run();
    port.setCurrentRun(line_->run(), next);
  } else if (next.run) {
    port.run(next.condition);
  } else {
    port.step(next.steps);
  }
}

void MainWindow::step(int count) {
  const int at = head();
  if (line_->run() && !promptEdited() && !formDiffers() && at < line_->count()) {
    // Stepped back: walk forward again over what is recorded.
    errorBar_->hide();
    head_ = at + count >= line_->count() ? -1 : at + count;
    selection_->select({MarkId::Kind::round, line_->step(head() - 1)->run, head() - 1, -1});
    return;
  }
  tree_->setFollowing(true);
  explainNext_ = true;
  goOn({.steps = count});
}

void MainWindow::runTo(const RunCondition& condition) {
  if (controller_->state().activity == Activity::running) {
    controller_->port().pause();
    return;
  }
  goOn({.run = true, .condition = condition});
  head_ = -1;
  tree_->setFollowing(true);
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

void MainWindow::forkHere() {
  const int selected = line_->indexOf(selection_->selected());
  fork(std::min(selected >= 0 ? selected : head(), line_->count()), {});
}

void MainWindow::forceAt(const MarkId& mark, const std::vector<TokenId>& tokens) {
  const int index = line_->indexOf(mark);
  if (index < 0) return fork(head(), tokens);
  std::vector<TokenId> path = line_->pathTo(mark);
  if (!path.empty()) path.pop_back();
  path.insert(path.end(), tokens.begin(), tokens.end());
  fork(index, std::move(path));
}

Result<std::vector<TokenId>> MainWindow::tokensOf(const QString& text) const {
  bool number = false;
  const int id = text.trimmed().toInt(&number);
  if (number && id >= 0) return std::vector<TokenId>{id};
  const auto encode = [this](const QString& words) {
    RunRequest request;
    // Typed as tokens are shown: a mid-dot is a space, a return sign a line break.
    request.promptText = QString(words).replace(QChar(0xB7), ' ').replace(QChar(0x23CE), '\n').toStdString();
    return controller_->port().previewPrompt(request);
  };
  DECOSCOPE_ASSIGN(PromptPreview preview, encode(text));
  // What the tokenizer puts before every prompt is what two different ones begin with.
  const auto one = encode(QStringLiteral("a")), other = encode(QStringLiteral("b"));
  if (one && other && one->tokens.size() > 1 && one->tokens.front() == other->tokens.front())
    preview.tokens.erase(preview.tokens.begin());
  return preview.tokens;
}

void MainWindow::fork(StepIndex step, std::vector<TokenId> force) {
  if (!line_->run()) return;
  ForkRequest request;
  request.run = line_->run();
  request.step = step;
  request.force = std::move(force);
  if (formDiffers()) applyForm(request);
  request.name = line_->info() ? line_->info()->name : std::string();
  errorBar_->hide();
  head_ = -1;
  const auto steps = static_cast<int>(request.force.size());
  explainNext_ = steps > 0;
  controller_->port().fork(request, {.steps = steps});
}

void MainWindow::forceDialog() {
  if (!line_->run()) return;
  const int index = shownIndex();
  if (index < 0) return;
  // The place of the selected node or token; for a round the token after its root.
  MarkId place = selection_->selected();
  std::vector<TokenId> path = line_->pathTo(place);
  if (path.empty()) place = {MarkId::Kind::round, line_->step(index)->run, index, -1};
  const TokenId before = path.size() > 1 ? path[path.size() - 2] : line_->rootOf(index);
  QDialog dialog(this);
  dialog.setObjectName("forceDialog");
  dialog.setWindowTitle(tr("Force a token"));
  auto* layout = new QVBoxLayout(&dialog);
  QString leading;
  for (std::size_t i = 0; i + 1 < path.size(); ++i) leading += line_->text(path[i]);
  auto* lead = new QLabel((leading.isEmpty()
                               ? tr("Forks at round %1.").arg(index)
                               : tr("Forks at round %1 and commits “%2” first.").arg(index).arg(leading)) +
                          tr(" The token after “%1” will be:").arg(line_->text(before)));
  lead->setWordWrap(true);
  auto* list = new QListWidget;
  QFont mono = style::tokenFont();
  list->setFont(mono);
  const Distributions choices = distributionsOf(*line_, place, 32);
  for (const DistributionRow& row : choices.rows) {
    auto* item =
        new QListWidgetItem(QStringLiteral("%1    p = %2").arg(line_->text(row.token), rounded(row.p)), list);
    item->setData(Qt::UserRole, row.token);
    item->setToolTip(tr("token %1\np = %2").arg(row.token).arg(exactText(row.p)));
  }
  auto* id = new QLineEdit;
  id->setObjectName("forceId");
  id->setPlaceholderText(tr("or a token id, or text such as ·the"));
  id->setAccessibleName(tr("Token id or text"));
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
  const auto tokens = id->text().isEmpty() ? fail(ErrorCode::usage, "no token was given", "Force token",
                                                  "Choose one of the list, or type an id or text.")
                                           : tokensOf(id->text());
  if (!tokens) return showError(tokens.error());
  forceAt(place, *tokens);
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
  auto* hint = new QLabel;
  hint->setProperty("role", "dim");
  hint->setWordWrap(true);
  form->addRow(hint);
  // A bound to begin with: the selected token where one is selected.
  const std::vector<TokenId> path = line_->pathTo(selection_->selected());
  const auto settle = [&] {
    const auto chosen = static_cast<Kind>(kind->currentData().toInt());
    bound->setEnabled(chosen != Kind::nextReject);
    switch (chosen) {
      case Kind::entropyAbove:
        bound->setText(QStringLiteral("2.0"));
        hint->setText(tr("Pauses after a step whose raw target distribution is less certain than this."));
        break;
      case Kind::probabilityBelow:
        bound->setText(QStringLiteral("0.1"));
        hint->setText(tr("Pauses after a step that wrote a token which the raw target gave less than this."));
        break;
      case Kind::token:
        bound->setText(QString::number(path.empty() ? 0 : path.back()));
        hint->setText(path.empty()
                          ? tr("Pauses after a step that wrote this token. Select a token to take its id.")
                          : tr("Pauses after a step that wrote this token; %1 is the selected “%2”.")
                                .arg(path.back())
                                .arg(line_->text(path.back())));
        break;
      case Kind::step:
        bound->setText(QString::number(head() + 10));
        hint->setText(tr("Pauses before this step; steps count from 0, and %1 are done.").arg(head()));
        break;
      default:
        hint->setText(tr("Pauses after a step in which the target refused a proposal."));
    }
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
  if (line_->run() && line_->run() != run)
    history_->record(runKind_, static_cast<qlonglong>(line_->run().value), static_cast<qlonglong>(run.value));
  selection_->clear();
  line_->show(controller_->port().trace(), run);
  runs_->setCurrent(run);
  // What a training was made with is in its own card; the form stays as it is, for the next run.
  if (line_->info() && !line_->isTraining()) readFormFrom(*line_->info());
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
    const auto chat = info.notes.find("chat"), kind = info.notes.find("prompt_kind");
    const auto turns =
        chat == info.notes.end() ? std::vector<ChatTurn>{} : chatTurns(QString::fromStdString(chat->second));
    if (!turns.empty())
      setChat(turns);
    else
      setPrompt(QString::fromStdString(info.promptText), kind != info.notes.end() && kind->second == "chat");
  }
  filling_ = false;
  promptTouched_ = false;
}

}  // namespace decoscope
