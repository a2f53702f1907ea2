#include "app/MainWindow.h"

#include <QApplication>
#include <QCheckBox>
#include <QComboBox>
#include <QDockWidget>
#include <QFormLayout>
#include <QFrame>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QMenuBar>
#include <QPlainTextEdit>
#include <QProgressBar>
#include <QScrollArea>
#include <QSettings>
#include <QSlider>
#include <QSplitter>
#include <QStackedWidget>
#include <QStatusBar>
#include <QStyle>
#include <QTabWidget>
#include <QTableView>
#include <QToolBar>
#include <QToolButton>
#include <QTreeView>
#include <QVBoxLayout>
#include <algorithm>

#include "app/CommandPalette.h"
#include "app/StartPage.h"
#include "widgets/panels/EventLog.h"
#include "widgets/panels/Inspector.h"
#include "widgets/panels/MetricsPanel.h"
#include "widgets/panels/ParameterForm.h"
#include "widgets/panels/RoundsTimeline.h"
#include "widgets/panels/TranscriptView.h"
#include "widgets/style/Style.h"

namespace decoscope {

namespace {

constexpr int kLayoutVersion = 1;

QLabel* heading(const QString& text) {
  auto* label = new QLabel(text);
  label->setProperty("role", "heading");
  return label;
}

// A tree's or table's current row and the shared selection follow each other.
template <typename ModelType>
void linkSelection(QAbstractItemView* view, ModelType* model, Selection* selection) {
  QObject::connect(view->selectionModel(), &QItemSelectionModel::currentChanged, view,
                   [view, model, selection](const QModelIndex& index) {
                     if (index.isValid() && view->hasFocus()) selection->select(model->markAt(index));
                   });
  QObject::connect(view, &QAbstractItemView::clicked, view,
                   [model, selection](const QModelIndex& index) { selection->select(model->markAt(index)); });
  QObject::connect(selection, &Selection::changed, view, [view, model, selection] {
    if (!view->isVisible() || view->hasFocus()) return;
    const QModelIndex at = model->indexOf(selection->selected());
    if (at.isValid()) view->setCurrentIndex(at);
  });
}

}  // namespace

MainWindow::MainWindow(std::unique_ptr<SessionPort> session, QWidget* parent)
    : QMainWindow(parent),
      controller_(std::make_unique<SessionController>(std::move(session))),
      line_(new Line(this)),
      selection_(new Selection(this)),
      history_(new ViewHistory(this)),
      runs_(new RunTreeModel(this)),
      events_(new EventModel(line_, this)),
      catalog_(new ModelCatalog(this)) {
  setObjectName("mainWindow");
  setWindowTitle(tr("Decoscope"));
  setAcceptDrops(true);
  setDockOptions(QMainWindow::AnimatedDocks | QMainWindow::AllowTabbedDocks | QMainWindow::AllowNestedDocks);
  resize(1600, 1000);
  buildCentre();
  buildDocks();
  buildActions();
  buildMenus();
  buildToolBar();
  buildStatusBar();
  connectSession();
  runs_->show(controller_->port().trace());
  setMethod(QStringLiteral("token-recycling"));
  resizeDocks({findChild<QDockWidget*>("runDock"), findChild<QDockWidget*>("inspectorDock")}, {285, 330},
              Qt::Horizontal);
  trackViews();
  defaultLayout_ = saveState(kLayoutVersion);
  QSettings settings;
  restoreGeometry(settings.value("window/geometry").toByteArray());
  restoreState(settings.value("window/state").toByteArray(), kLayoutVersion);
  lastLayout_ = saveState(kLayoutVersion);
  fillRecent();
  loadDtype_ = settings.value("model/dtype", loadDtype_).toString();
  loadDevice_ = settings.value("model/device", loadDevice_).toString();
  // The disk is looked at on a worker; menus and page fill in as it goes.
  connect(catalog_, &ModelCatalog::changed, this, [this] {
    fillModelMenu();
    fillDrafterMenu();
    fillRecent();
  });
  catalog_->refresh();
  refresh();
}

MainWindow::~MainWindow() {
  disconnect(controller_.get(), nullptr, this, nullptr);
}

void MainWindow::buildCentre() {
  auto* centre = new QWidget;
  auto* layout = new QVBoxLayout(centre);
  layout->setContentsMargins(0, 0, 0, 0);
  layout->setSpacing(0);

  errorBar_ = new QFrame;
  errorBar_->setObjectName("errorBar");
  errorBar_->setProperty("role", "error");
  auto* errorLayout = new QHBoxLayout(errorBar_);
  errorLayout->setContentsMargins(14, 7, 10, 7);
  errorLabel_ = new QLabel;
  errorLabel_->setWordWrap(true);
  errorLabel_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  auto* dismiss = new QToolButton;
  dismiss->setText(tr("Dismiss"));
  dismiss->setProperty("flat", true);
  connect(dismiss, &QToolButton::clicked, errorBar_, &QWidget::hide);
  errorLayout->addWidget(errorLabel_, 1);
  errorLayout->addWidget(dismiss);
  errorBar_->hide();
  layout->addWidget(errorBar_);

  pages_ = new QStackedWidget;
  layout->addWidget(pages_, 1);
  start_ = new StartPage;
  pages_->addWidget(start_);
  connect(start_, &StartPage::sampleWanted, this, &MainWindow::openSampleSession);
  connect(start_, &StartPage::sessionWanted, this, &MainWindow::openPath);
  connect(start_, &StartPage::modelWanted, this, [this](const QString& name) { loadModel(name); });
  connect(start_, &StartPage::bundledWanted, this, &MainWindow::openBundled);
  connect(start_, &StartPage::openWanted, this, &MainWindow::openDialog);

  auto* splitter = new QSplitter(Qt::Vertical);
  splitter->setObjectName("centreSplitter");
  splitter->setHandleWidth(1);
  splitter->setChildrenCollapsible(false);
  transcript_ = new TranscriptView(line_, selection_);
  tabs_ = new QTabWidget;
  tabs_->setObjectName("views");
  tabs_->setDocumentMode(true);
  tree_ = new TreeCanvas(line_, selection_);
  tabs_->addTab(tree_, tr("Draft tree"));

  latticePage_ = new QWidget;
  auto* latticeLayout = new QVBoxLayout(latticePage_);
  latticeLayout->setContentsMargins(0, 0, 0, 0);
  latticeLayout->setSpacing(0);
  lattice_ = new LatticeCanvas(line_, selection_);
  latticeLayout->addWidget(lattice_, 1);
  auto* scrubRow = new QWidget;
  auto* scrubLayout = new QHBoxLayout(scrubRow);
  scrubLayout->setContentsMargins(14, 6, 14, 6);
  scrub_ = new QSlider(Qt::Horizontal);
  scrub_->setObjectName("scrub");
  scrub_->setAccessibleName(tr("Denoising step"));
  auto* colour = new QComboBox;
  colour->setObjectName("latticeColour");
  colour->addItems({tr("Colour: confidence"), tr("Colour: entropy"), tr("Colour: age")});
  connect(colour, &QComboBox::currentIndexChanged, this,
          [this](int index) { lattice_->setColour(static_cast<LatticeColour>(index)); });
  connect(scrub_, &QSlider::valueChanged, this,
          [this](int value) { lattice_->setThroughStep(value >= scrub_->maximum() ? -1 : value); });
  auto* scrubLabel = new QLabel(tr("Step"));
  scrubLabel->setProperty("role", "dim");
  scrubLayout->addWidget(scrubLabel);
  scrubLayout->addWidget(scrub_, 1);
  scrubLayout->addWidget(colour);
  latticeLayout->addWidget(scrubRow);
  tabs_->addTab(latticePage_, tr("Lattice"));
  curves_ = new CurveCanvas(line_, selection_);
  tabs_->addTab(curves_, tr("Curves"));

  treeModel_ = new TreeOutlineModel(line_, this);
  latticeModel_ = new LatticeModel(line_, this);
  measureModel_ = new MeasureModel(line_, this);
  outline_ = new QTreeView;
  outline_->setObjectName("outline");
  outline_->setAccessibleName(tr("Draft trees as an outline"));
  outline_->setModel(treeModel_);
  outline_->setUniformRowHeights(true);
  outline_->setColumnWidth(0, 320);
  QFont mono = style::tokenFont();
  mono.setPointSizeF(9.5);
  outline_->setFont(mono);
  latticeTable_ = new QTableView;
  latticeTable_->setAccessibleName(tr("Lattice as a table"));
  latticeTable_->setModel(latticeModel_);
  latticeTable_->setFont(mono);
  measureTable_ = new QTableView;
  measureTable_->setObjectName("measureTable");
  measureTable_->setAccessibleName(tr("Measured numbers as a table"));
  measureTable_->setModel(measureModel_);
  measureTable_->setFont(mono);
  measureTable_->verticalHeader()->hide();
  measureTable_->setShowGrid(false);
  // As wide as what is in sight: a long training's numbers are not all looked at.
  measureTable_->horizontalHeader()->setResizeContentsPrecision(0);
  measureTable_->horizontalHeader()->setSectionResizeMode(QHeaderView::ResizeToContents);
  measureTable_->horizontalHeader()->setMinimumSectionSize(96);
  linkSelection(outline_, treeModel_, selection_);
  linkSelection(measureTable_, measureModel_, selection_);
  linkSelection(latticeTable_, latticeModel_, selection_);
  outlinePages_ = new QStackedWidget;
  outlinePages_->addWidget(outline_);
  outlinePages_->addWidget(latticeTable_);
  outlinePages_->addWidget(measureTable_);
  tabs_->addTab(outlinePages_, tr("Outline"));

  eventLog_ = new EventLog(events_, selection_);
  tabs_->addTab(eventLog_, tr("Events"));

  timeline_ = new RoundsTimeline(line_, selection_);
  splitter->addWidget(transcript_);
  splitter->addWidget(tabs_);
  splitter->addWidget(timeline_);
  splitter->setStretchFactor(1, 1);
  splitter->setSizes({86, 700, 118});
  pages_->addWidget(splitter);
  setCentralWidget(centre);

  for (FigureCanvas* canvas : {static_cast<FigureCanvas*>(tree_), static_cast<FigureCanvas*>(lattice_),
                               static_cast<FigureCanvas*>(curves_)})
    connect(canvas, &FigureCanvas::contextMenuWanted, this, &MainWindow::contextMenu);
  connect(transcript_, &TranscriptView::contextMenuWanted, this, &MainWindow::contextMenu);
  connect(line_, &Line::reset, this, [this] {
    head_ = -1;
    scrub_->setRange(0, std::max(0, line_->count() - 1));
    scrub_->setValue(scrub_->maximum());
    arrangeViews(true);
  });
  connect(line_, &Line::appended, this, [this] {
    const bool atEnd = scrub_->value() == scrub_->maximum();
    scrub_->setRange(0, std::max(0, line_->count() - 1));
    if (atEnd) scrub_->setValue(scrub_->maximum());
    arrangeViews(false);
  });
  arrangeViews(true);
  connect(selection_, &Selection::changed, this, [this] {
    updateActions();
    updateStatus();
  });
}

void MainWindow::buildDocks() {
  auto* left = new QWidget;
  left->setProperty("panel", true);
  auto* layout = new QVBoxLayout(left);
  layout->setContentsMargins(12, 8, 12, 12);
  layout->setSpacing(6);

  auto* runsRow = new QHBoxLayout;
  runsRow->addWidget(heading(tr("RUNS")), 1);
  auto* add = new QToolButton;
  add->setText(QStringLiteral("+"));
  add->setProperty("flat", true);
  add->setToolTip(tr("New run with the method, parameters and prompt below (Ctrl+R)"));
  connect(add, &QToolButton::clicked, this, [this] { newRun(); });
  runsRow->addWidget(add);
  layout->addLayout(runsRow);
  runView_ = new QTreeView;
  runView_->setObjectName("runs");
  runView_->setAccessibleName(tr("Runs"));
  runView_->setModel(runs_);
  runView_->setHeaderHidden(true);
  runView_->setRootIsDecorated(true);
  runView_->setIndentation(14);
  runView_->setIconSize({10, 10});
  runView_->setMinimumHeight(120);
  runView_->header()->setStretchLastSection(false);
  runView_->header()->setSectionResizeMode(0, QHeaderView::Stretch);
  runView_->header()->setSectionResizeMode(1, QHeaderView::ResizeToContents);
  connect(runView_->selectionModel(), &QItemSelectionModel::currentChanged, this,
          [this](const QModelIndex& index) {
            if (const RunId run = runs_->runAt(index); run && run != line_->run()) showRun(run);
          });
  connect(runs_, &QAbstractItemModel::rowsInserted, runView_,
          [this](const QModelIndex& parent) { runView_->expand(parent); });
  layout->addWidget(runView_, 1);

  layout->addSpacing(6);
  layout->addWidget(heading(tr("PARAMETERS")));
  form_ = new ParameterForm;
  seed_ = new QLineEdit(QStringLiteral("0"));
  seed_->setObjectName("seed");
  maxTokens_ = new QLineEdit(QStringLiteral("96"));
  maxTokens_->setObjectName("maxTokens");
  auto* scroll = new QScrollArea;
  scroll->setWidgetResizable(true);
  scroll->setFrameShape(QFrame::NoFrame);
  scroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  auto* inside = new QWidget;
  inside->setProperty("panel", true);
  auto* insideLayout = new QVBoxLayout(inside);
  insideLayout->setContentsMargins(0, 0, 6, 0);
  auto* common = new QFormLayout;
  common->setVerticalSpacing(5);
  common->setHorizontalSpacing(10);
  for (const auto& [name, edit, tip] :
       {std::tuple{tr("Seed"), seed_, tr("Every draw is a pure function of it")},
        {tr("New tokens"), maxTokens_, tr("At most; for diffusion the length of the answer")}}) {
    auto* label = new QLabel(name);
    label->setProperty("role", "dim");
    label->setToolTip(tip);
    label->setMinimumWidth(kLabelWidth);
    edit->setAlignment(Qt::AlignRight);
    edit->setToolTip(tip);
    edit->setAccessibleName(name);
    common->setFieldGrowthPolicy(QFormLayout::AllNonFixedFieldsGrow);
    common->addRow(label, edit);
    connect(edit, &QLineEdit::textEdited, this, &MainWindow::updateActions);
  }
  insideLayout->addWidget(form_);
  insideLayout->addLayout(common);
  insideLayout->addStretch(1);
  scroll->setWidget(inside);
  scroll->setMinimumHeight(170);
  layout->addWidget(scroll, 3);
  changedNote_ = new QLabel;
  changedNote_->setObjectName("changedNote");
  changedNote_->setWordWrap(true);
  changedNote_->hide();
  layout->addWidget(changedNote_);
  connect(form_, &ParameterForm::changed, this, &MainWindow::updateActions);
  connect(form_, &ParameterForm::changedBy, this, [this](const QString& name) {
    if (name == "adaptive") adaptiveTouched_ = true;
  });

  layout->addSpacing(6);
  auto* promptRow = new QHBoxLayout;
  promptRow->addWidget(heading(tr("PROMPT")), 1);
  chat_ = new QCheckBox(tr("chat"));
  chat_->setObjectName("chat");
  chat_->setChecked(true);
  chat_->setToolTip(tr("Renders the text with the model's chat template, as a message of the user"));
  conversation_ = new QToolButton;
  conversation_->setObjectName("conversation");
  conversation_->setProperty("flat", true);
  conversation_->setToolTip(
      tr("Edit the conversation: a system message, earlier turns, and what the model reads"));
  connect(conversation_, &QToolButton::clicked, this, [this] { actions_["edit.conversation"]->trigger(); });
  promptRow->addWidget(conversation_);
  promptRow->addWidget(chat_);
  layout->addLayout(promptRow);
  prompt_ = new QPlainTextEdit;
  prompt_->setObjectName("prompt");
  prompt_->setAccessibleName(tr("Prompt"));
  prompt_->setTabChangesFocus(true);
  prompt_->setPlaceholderText(tr("Write a prompt, then press Step"));
  prompt_->setFixedHeight(84);
  connect(prompt_, &QPlainTextEdit::textChanged, this, [this] {
    if (!filling_) promptTouched_ = true;
    updateActions();
  });
  connect(chat_, &QCheckBox::toggled, this, [this] {
    if (!filling_) promptTouched_ = true;
    showChat();
    updateActions();
  });
  layout->addWidget(prompt_);
  showChat();

  layout->addSpacing(6);
  layout->addWidget(heading(tr("METRICS · THIS RUN")));
  auto* metricsScroll = new QScrollArea;
  metricsScroll->setWidgetResizable(true);
  metricsScroll->setFrameShape(QFrame::NoFrame);
  metricsScroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  auto* metricsInside = new QWidget;
  metricsInside->setProperty("panel", true);
  auto* metricsLayout = new QVBoxLayout(metricsInside);
  metricsLayout->setContentsMargins(0, 0, 6, 0);
  metrics_ = new MetricsPanel(line_);
  metricsLayout->addWidget(metrics_);
  metricsLayout->addStretch(1);
  metricsScroll->setWidget(metricsInside);
  metricsScroll->setMinimumHeight(120);
  layout->addWidget(metricsScroll, 2);

  const auto dock = [this](const QString& name, const QString& title, QWidget* body,
                           Qt::DockWidgetArea area) {
    auto* made = new QDockWidget(title);
    made->setObjectName(name);
    made->setWidget(body);
    made->setFeatures(QDockWidget::DockWidgetMovable | QDockWidget::DockWidgetFloatable |
                      QDockWidget::DockWidgetClosable);
    addDockWidget(area, made);
    return made;
  };
  auto* run = dock("runDock", tr("Run"), left, Qt::LeftDockWidgetArea);
  run->setTitleBarWidget(new QWidget(run));
  left->setMinimumWidth(220);
  inspector_ = new Inspector(line_, selection_);
  inspector_->setMinimumWidth(250);
  auto* inspect = dock("inspectorDock", tr("Inspector"), inspector_, Qt::RightDockWidgetArea);
  inspect->setTitleBarWidget(new QWidget(inspect));
  connect(inspector_, &Inspector::forceWanted, this,
          [this](TokenId token) { forceAt(selection_->selected(), {token}); });
}

void MainWindow::buildToolBar() {
  auto* bar = addToolBar(tr("Run"));
  bar->setObjectName("toolBar");
  bar->setMovable(false);
  bar->setToolButtonStyle(Qt::ToolButtonTextOnly);
  model_ = new QToolButton;
  model_->setObjectName("modelChooser");
  model_->setText(tr("Choose a model ▾"));
  model_->setPopupMode(QToolButton::InstantPopup);
  modelMenu_ = new QMenu(model_);
  modelMenu_->setToolTipsVisible(true);
  model_->setMenu(modelMenu_);
  QFont bold = style::interfaceFont();
  bold.setWeight(QFont::DemiBold);
  model_->setFont(bold);
  bar->addWidget(model_);
  method_ = new QComboBox;
  method_->setObjectName("methodChooser");
  method_->setAccessibleName(tr("Method"));
  method_->setSizeAdjustPolicy(QComboBox::AdjustToContents);
  for (const MethodCard& card : controller_->methods()) {
    method_->addItem(QString::fromStdString(card.title), QString::fromStdString(card.name));
    QString tip = QString::fromStdString(card.summary);
    tip += tr("\n%1 · lossless: %2")
               .arg(QString::fromStdString(card.citation), QString::fromStdString(card.lossless));
    method_->setItemData(method_->count() - 1, tip, Qt::ToolTipRole);
  }
  connect(method_, &QComboBox::currentIndexChanged, this, &MainWindow::methodChosen);
  bar->addWidget(method_);
  drafter_ = new QToolButton;
  drafter_->setObjectName("drafterChooser");
  drafter_->setPopupMode(QToolButton::InstantPopup);
  drafterMenu_ = new QMenu(drafter_);
  drafter_->setMenu(drafterMenu_);
  QAction* drafterAction = bar->addWidget(drafter_);
  drafterAction->setObjectName("drafterAction");
  drafterAction->setVisible(false);
  bar->addSeparator();
  for (const char* id : {"run.first", "run.back", "run.step", "run.run", "run.stop", "run.nextReject"}) {
    bar->addAction(actions_[id]);
    if (QString(id) == "run.step" || QString(id) == "run.run")
      bar->widgetForAction(actions_[id])->setProperty("primary", true);
  }
  bar->addSeparator();
  for (const char* id : {"run.fork", "run.force"}) bar->addAction(actions_[id]);
  auto* space = new QWidget;
  space->setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Preferred);
  bar->addWidget(space);
  bar->addAction(actions_["export.figure"]);
  fillModelMenu();
  fillDrafterMenu();
}

void MainWindow::buildStatusBar() {
  QStatusBar* bar = statusBar();
  bar->setSizeGripEnabled(false);
  const auto label = [&](const char* name, bool permanent) {
    auto* made = new QLabel;
    made->setObjectName(name);
    made->setContentsMargins(8, 0, 8, 0);
    permanent ? bar->addPermanentWidget(made) : bar->addWidget(made);
    return made;
  };
  device_ = label("statusDevice", false);
  memory_ = label("statusMemory", false);
  speed_ = label("statusSpeed", false);
  recording_ = label("statusRecording", false);
  phase_ = label("statusPhase", false);
  progress_ = new QProgressBar;
  progress_->setObjectName("progress");
  progress_->setFixedWidth(180);
  progress_->hide();
  bar->addWidget(progress_);
  cancel_ = new QToolButton;
  cancel_->setObjectName("cancel");
  cancel_->setText(tr("Cancel"));
  cancel_->setProperty("flat", true);
  cancel_->hide();
  connect(cancel_, &QToolButton::clicked, this, [this] { controller_->port().stop(); });
  bar->addWidget(cancel_);
  position_ = label("statusPosition", true);
  saved_ = label("statusSaved", true);
  // What takes less than a fifth of a second needs no progress bar.
  progressDelay_.setSingleShot(true);
  progressDelay_.setInterval(200);
  connect(&progressDelay_, &QTimer::timeout, this, &MainWindow::updateStatus);
}

void MainWindow::connectSession() {
  connect(controller_.get(), &SessionController::changed, this, &MainWindow::refresh);
  connect(controller_.get(), &SessionController::failed, this, &MainWindow::showError);
  connect(controller_.get(), &SessionController::sourceReplaced, this, [this] {
    followedRun_ = {};
    selection_->clear();
    line_->show(nullptr, {});
    history_->clear();
    runs_->show(controller_->port().trace());
    const auto runs = controller_->port().trace()->runs();
    if (!runs.empty()) showRun(runs.front().id);
    history_->clear();
    const SessionState& state = controller_->state();
    if (!state.sessionPath.empty()) remember(QString::fromStdString(state.sessionPath));
    if (state.readOnly)
      showMessage(
          tr("Opened for reading only: another program is writing this session, or the file is read-only. "
             "Save a copy to go on from it."));
  });
}

void MainWindow::refresh() {
  const SessionState& state = controller_->state();
  runs_->refresh();
  // A run that was just made is shown.
  if (state.run && state.run != followedRun_) {
    followedRun_ = state.run;
    if (line_->run() != state.run) showRun(state.run);
  }
  line_->refresh();
  if (line_->run()) runs_->setCurrent(line_->run());
  // After a Step the card says at once what was decided; during a Run the selection stays the user's.
  if (explainNext_ && state.activity == Activity::idle && line_->count() > 0 && line_->run() == state.run &&
      line_->count() == line_->expected()) {
    explainNext_ = false;
    selectDecision(line_->count() - 1);
  }
  const bool anything = line_->run() || !state.modelName.empty() || state.activity != Activity::idle;
  pages_->setCurrentIndex(anything ? 1 : 0);
  updateActions();
  updateStatus();
}

}  // namespace decoscope
