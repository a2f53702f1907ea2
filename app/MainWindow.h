// The window: docks, menus, keys, and the wiring between a session and the views. GUI thread.
#pragma once

#include <QElapsedTimer>
#include <QMainWindow>
#include <QTimer>
#include <memory>
#include <optional>

#include "app/BundledStart.h"
#include "app/ChatDialog.h"
#include "app/ModelCatalog.h"
#include "app/SessionController.h"
#include "core/figure/Layouts.h"
#include "widgets/canvas/CurveCanvas.h"
#include "widgets/canvas/LatticeCanvas.h"
#include "widgets/canvas/TreeCanvas.h"
#include "widgets/models/EventModel.h"
#include "widgets/models/MeasureModel.h"
#include "widgets/models/OutlineModels.h"
#include "widgets/models/RunTreeModel.h"
#include "widgets/models/ViewHistory.h"

class QCheckBox;
class QComboBox;
class QFrame;
class QLabel;
class QLineEdit;
class QPlainTextEdit;
class QProgressBar;
class QSlider;
class QStackedWidget;
class QTableView;
class QTabWidget;
class QToolButton;
class QTreeView;

namespace decoscope {

class EventLog;
class Inspector;
class MetricsPanel;
class ParameterForm;
class RoundsTimeline;
class StartPage;
class TranscriptView;

class MainWindow final : public QMainWindow {
  Q_OBJECT
 public:
  explicit MainWindow(std::unique_ptr<SessionPort> session, QWidget* parent = nullptr);
  ~MainWindow() override;

  // What the command line and the menus do.
  void openPath(const QString& path);  // a session, a model file or a model folder
  void openSampleSession();
  void loadModel(const QString& nameOrPath, const QString& role = QStringLiteral("target"));
  // Opens a model that comes with the program, its drafter, a method and a prompt: what is left is Step.
  void openBundled(const BundledStart& start);
  void setPrompt(const QString& text, bool chat);

  void setChat(const std::vector<ChatTurn>& turns);  // the last of them is what the prompt field shows
  bool setMethod(const QString& method);
  bool setParameter(const QString& assignment);  // "name=value"; false when it does not fit
  void setMaxNewTokens(int tokens);
  void newRun(const Continuation& next = {});
  void step(int count = 1);
  void showRun(RunId run);
  void showView(const QString& name);  // tree, lattice, curves, outline, events, start
  void applyTheme(bool dark);
  bool settled() const;  // nothing loading, running, or being laid out
  SessionController& controller() { return *controller_; }
  Line& line() { return *line_; }
  Selection& selection() { return *selection_; }
  QString errorText() const;  // of the bar; empty when it is not shown
  QList<QAction*> allActions() const;
  // The figure of the view that is shown, as `render` makes it. Nothing for views without one.
  std::optional<Figure> currentFigure() const;

 protected:
  void closeEvent(QCloseEvent* event) override;
  void dragEnterEvent(QDragEnterEvent* event) override;
  void dropEvent(QDropEvent* event) override;

 private:
  QAction* action(const QString& id, const QString& text, const QKeySequence& keys, std::function<void()> run,
                  const QString& tip = {});
  void buildActions();
  void buildToolBar();
  void buildMenus();
  void buildCentre();
  void buildDocks();
  void buildStatusBar();
  void connectSession();
  // Shows the views that the run has something for; a fresh run is shown by the one that says most about it.
  void arrangeViews(bool fresh);
  FigureCanvas* currentCanvas() const;
  void copyCurves();

  void refresh();  // after a change of the session
  void updateActions();
  void updateStatus();
  void fillModelMenu();
  void modelDialog();
  void fillDrafterMenu();
  void showDrafter();

  void methodChosen();
  void readFormFrom(const RunInfo& info);
  void chatDialog();
  void showChat();
  bool promptEdited() const;
  std::vector<std::string> changedAssignments() const;
  bool formDiffers() const;
  void applyForm(ForkRequest& request) const;  // method, parameters, seed and length of the left panel
  void runTo(const RunCondition& condition);
  void stepBack();
  void toFirstRound();
  void selectDecision(int index);  // what settled a round: its first refusal, else its last token
  void nextReject();
  void forkHere();
  // Forks the round of `mark` so that `tokens` stand where the mark does: what leads to it comes first.
  void forceAt(const MarkId& mark, const std::vector<TokenId>& tokens);
  Result<std::vector<TokenId>> tokensOf(const QString& text) const;  // a token id, or text
  void fork(StepIndex step, std::vector<TokenId> force);
  void goOn(const Continuation& next);  // a new run, a fork where the form differs, or the shown run itself
  void forceDialog();
  void conditionDialog();
  void showError(const Error& error);
  void showMessage(const QString& text);
  void copyAs(const QString& kind);
  void trackViews();
  void contextMenu(const MarkId& mark, const QPoint& at);
  void exportFigure();
  void exportTrace(const QString& kind);
  void openDialog();
  void saveAs();
  void openSession(const QString& path);
  bool mayLeave();  // asks about runs that are in memory only; false: stay
  void remember(const QString& path);
  void fillRecent();
  void palette();
  void about();
  int shownIndex() const;  // the round that the views point at
  int head() const;        // rounds before it are done; the end unless stepped back

  std::unique_ptr<SessionController> controller_;
  Line* line_;
  Selection* selection_;
  ViewHistory* history_;
  MarkId lastSelected_;
  int lastTab_ = 0, runKind_ = -1, tabKind_ = -1, layoutKind_ = -1;
  QByteArray lastLayout_;
  bool tabByItself_ = false;
  RunTreeModel* runs_;
  EventModel* events_;
  QString openedPath_;
  RunId followedRun_;
  int head_ = -1;
  bool filling_ = false, promptTouched_ = false, explainNext_ = false, adaptiveTouched_ = false;
  ModelCatalog* catalog_;
  QString loadDtype_ = QStringLiteral("auto"), loadDevice_ = QStringLiteral("auto");
  std::map<std::string, QString> roles_;  // models chosen for roles other than the target

  QHash<QString, QAction*> actions_;
  QStackedWidget* pages_ = nullptr;
  StartPage* start_ = nullptr;
  TranscriptView* transcript_ = nullptr;
  QTabWidget* tabs_ = nullptr;
  TreeCanvas* tree_ = nullptr;
  LatticeCanvas* lattice_ = nullptr;
  CurveCanvas* curves_ = nullptr;
  QWidget* latticePage_ = nullptr;
  QSlider* scrub_ = nullptr;
  QTreeView *outline_ = nullptr, *runView_ = nullptr;
  QTableView *latticeTable_ = nullptr, *measureTable_ = nullptr;
  QStackedWidget* outlinePages_ = nullptr;
  TreeOutlineModel* treeModel_ = nullptr;
  LatticeModel* latticeModel_ = nullptr;
  MeasureModel* measureModel_ = nullptr;
  EventLog* eventLog_ = nullptr;
  RoundsTimeline* timeline_ = nullptr;
  Inspector* inspector_ = nullptr;
  ParameterForm* form_ = nullptr;
  MetricsPanel* metrics_ = nullptr;
  QPlainTextEdit* prompt_ = nullptr;
  QCheckBox* chat_ = nullptr;
  QToolButton* conversation_ = nullptr;
  std::vector<ChatTurn> turns_{{QStringLiteral("user"), {}}};  // the last one's text is in the prompt field
  QLineEdit *seed_ = nullptr, *maxTokens_ = nullptr;
  QComboBox* method_ = nullptr;
  QToolButton *model_ = nullptr, *drafter_ = nullptr;
  QMenu *modelMenu_ = nullptr, *drafterMenu_ = nullptr, *recentMenu_ = nullptr;
  QLabel *changedNote_ = nullptr, *device_ = nullptr, *memory_ = nullptr, *speed_ = nullptr,
         *recording_ = nullptr, *position_ = nullptr, *saved_ = nullptr, *phase_ = nullptr,
         *errorLabel_ = nullptr;
  QProgressBar* progress_ = nullptr;
  QToolButton* cancel_ = nullptr;
  QFrame* errorBar_ = nullptr;
  QTimer progressDelay_;
  QByteArray defaultLayout_;
};

}  // namespace decoscope
