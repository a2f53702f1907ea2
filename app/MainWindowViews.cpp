// Which views stand in the middle, and what they give away.
#include <QApplication>
#include <QClipboard>
#include <QStackedWidget>
#include <QTabWidget>

#include "app/MainWindow.h"
#include "widgets/panels/EventLog.h"
#include "widgets/panels/RoundsTimeline.h"
#include "widgets/panels/TranscriptView.h"

namespace decoscope {

void MainWindow::arrangeViews(bool fresh) {
  const bool training = line_->isTraining(), cells = line_->hasCells();
  const int tree = tabs_->indexOf(tree_), lattice = tabs_->indexOf(latticePage_),
            curves = tabs_->indexOf(curves_);
  const int current = tabs_->currentIndex();
  const bool newCells = cells && !tabs_->isTabEnabled(lattice);
  const auto set = [this](int tab, bool visible) {
    if (tabs_->isTabVisible(tab) != visible) tabs_->setTabVisible(tab, visible);
  };
  // Tabs that come and go are not what a person did: they are not undone.
  tabByItself_ = true;
  set(tree, !training);
  set(lattice, !training);
  set(curves, training || line_->hasMeasures());
  tabs_->setTabEnabled(lattice, cells);
  transcript_->setVisible(!training);
  timeline_->setVisible(!training);
  outlinePages_->setCurrentIndex(training ? 2 : cells ? 1 : 0);
  if (fresh && training)
    tabs_->setCurrentIndex(curves);
  else if ((fresh && cells) || newCells)
    tabs_->setCurrentIndex(lattice);
  else if ((fresh && current == lattice && !cells) || (current == curves && !tabs_->isTabVisible(curves)))
    tabs_->setCurrentIndex(tree);
  tabByItself_ = false;
}

void MainWindow::showView(const QString& name) {
  const QHash<QString, QWidget*> pages{{"tree", tree_},
                                       {"lattice", latticePage_},
                                       {"curves", curves_},
                                       {"outline", outlinePages_},
                                       {"events", eventLog_}};
  if (name == "start")
    pages_->setCurrentIndex(0);
  else if (QWidget* page = pages.value(name);
           page && tabs_->isTabEnabled(tabs_->indexOf(page)) && tabs_->isTabVisible(tabs_->indexOf(page)))
    tabs_->setCurrentWidget(page);
}

bool MainWindow::settled() const {
  return !controller_->busy() && !tree_->layingOut() && !lattice_->layingOut() && !curves_->layingOut() &&
         line_->count() >= line_->expected();
}

FigureCanvas* MainWindow::currentCanvas() const {
  const QWidget* shown = tabs_->currentWidget();
  if (shown == curves_ || line_->isTraining()) return curves_;
  return shown == latticePage_ ? static_cast<FigureCanvas*>(lattice_) : tree_;
}

std::optional<Figure> MainWindow::currentFigure() const {
  if (line_->count() == 0) return std::nullopt;
  if (line_->hasMeasures() && (tabs_->currentWidget() == curves_ || line_->isTraining())) {
    CurveOptions options;
    options.first = curves_->first();
    options.last = curves_->last();
    return layoutCurves(*line_->curves(), options).figure;
  }
  if (tabs_->currentWidget() == latticePage_)
    return layoutLattice(line_->steps(), line_->labels(), lattice_->colour(), lattice_->throughStep());
  if (tabs_->currentWidget() == tree_ || tabs_->currentWidget() == outlinePages_) {
    const int index = shownIndex();
    return layoutTree(*line_->step(index), line_->rootOf(index), line_->labels());
  }
  return std::nullopt;
}

void MainWindow::copyCurves() {
  QApplication::clipboard()->setText(measureTable(*line_->curves(), curves_->first(), curves_->last()));
}

}  // namespace decoscope
