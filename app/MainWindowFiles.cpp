// What leaves the window and what comes in: copies, figures, traces, sessions.
#include <QApplication>
#include <QClipboard>
#include <QCloseEvent>
#include <QComboBox>
#include <QDialogButtonBox>
#include <QDir>
#include <QDragEnterEvent>
#include <QFileDialog>
#include <QFileInfo>
#include <QFormLayout>
#include <QFrame>
#include <QLineEdit>
#include <QMenu>
#include <QMessageBox>
#include <QMimeData>
#include <QSettings>
#include <QStackedWidget>
#include <QStandardPaths>
#include <QStatusBar>
#include <QTabWidget>
#include <QThreadPool>
#include <fstream>

#include "app/CommandPalette.h"
#include "app/MainWindow.h"
#include "app/StartPage.h"
#include "core/base/ResourceFolder.h"
#include "core/figure/Writers.h"
#include "core/interop/Export.h"
#include "widgets/models/Numbers.h"
#include "widgets/models/Why.h"

namespace decoscope {

namespace {

constexpr int kRecentFiles = 12, kLayoutVersion = 1;

}  // namespace

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
                                      [this, mark, token = node.token] { forceAt(mark, {token}); });
      force->setEnabled(actions_["run.force"]->isEnabled());
      force->setObjectName("forceNode");
      force->setToolTip(node.depth > 1 ? tr("Forks this round: the tokens that lead here are committed first")
                                       : tr("Forks this round with this token"));
      menu.setToolTipsVisible(true);
    }
  }
  if (mark.kind != MarkId::Kind::none) {
    if (!line_->isTraining()) {
      menu.addAction(actions_["run.fork"]);
      menu.addAction(actions_["run.force"]);
      menu.addSeparator();
    }
    QMenu* copy = menu.addMenu(tr("Copy as"));
    for (const char* id : {"edit.copyToken", "edit.copyJson", "edit.copyMarkdown", "edit.copyLatex"})
      copy->addAction(actions_[id]);
  }
  menu.addAction(actions_[line_->isTraining() ? "edit.copyCurves" : "edit.copyText"]);
  menu.addSeparator();
  for (const char* id : {"view.fit", "view.actual", "export.figure"}) menu.addAction(actions_[id]);
  menu.exec(at);
}

void MainWindow::exportFigure() {
  const QStringList names{tr("The current view"), tr("Transcript"),
                          tr("Rounds"),           tr("Distribution at the selection"),
                          tr("All draft trees"),  tr("Curves")};
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
  if (what->currentIndex() == 5 && line_->hasMeasures()) figure = layoutCurves(*line_->curves()).figure;
  const bool ofText = what->currentIndex() > 0 && what->currentIndex() < 5;
  if (!figure || (ofText && line_->isTraining())) {
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
  const QString path = QFileDialog::getSaveFileName(
      this, tr("Export the trace"), kind == "measures" ? "measures.csv" : "trace." + kind,
      kind == "jsonl" ? tr("JSON lines (*.jsonl)") : tr("CSV (*.csv)"));
  if (path.isEmpty() || !line_->source()) return;
  QThreadPool::globalInstance()->start([this, guard = QPointer<MainWindow>(this), source = line_->source(),
                                        run = line_->run(), kind, path = path.toStdString()] {
    std::ofstream out(path, std::ios::binary);
    const auto exporter = kind == "csv" ? exportCsv : kind == "measures" ? exportMeasuresCsv : exportJsonl;
    Status status = exporter(*source, run, out);
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
  const QString sample =
      QString::fromStdString(resourceFolder() + "/sessions/speculative-decoding.decoscope");
  if (!QFileInfo::exists(sample)) {
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
  start_->show(recent, catalog_->models());
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
