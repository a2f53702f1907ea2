#include "widgets/style/Style.h"

#include <QApplication>
#include <QFontDatabase>
#include <QPalette>
#include <QStyleFactory>
#include <QToolTip>

namespace decoscope::style {

namespace {

const Theme* current = &darkTheme();
bool motionReduced = false;

QString hex(Colour c) {
  return colour(c).name();
}

QString sheet(const Theme& t) {
  QString css = QStringLiteral(R"(
QMainWindow, QDialog { background: @panel; }
QMainWindow::separator { background: @line; width: 1px; height: 1px; }
QMainWindow::separator:hover { background: @accent; }
QMenuBar { background: @panel; border-bottom: 1px solid @line; padding: 2px 8px; }
QMenuBar::item { padding: 4px 9px; border-radius: 4px; background: transparent; color: @dim; }
QMenuBar::item:selected { background: @raised; color: @text; }
QMenu { background: @raised; border: 1px solid @line; padding: 5px; }
QMenu::item { padding: 5px 26px 5px 22px; border-radius: 4px; }
QMenu::item:selected { background: @select; }
QMenu::item:disabled { color: @faint; }
QMenu::separator { height: 1px; background: @line; margin: 5px 6px; }
QToolBar { background: @panel; border: 0; border-bottom: 1px solid @line; spacing: 6px; padding: 6px 10px; }
QToolBar::separator { background: @line; width: 1px; margin: 5px 4px; }
QToolButton { background: @raised; border: 1px solid @line; border-radius: 6px; padding: 5px 11px; color: @text; }
QToolButton:hover { border-color: @dim; }
QToolButton:pressed, QToolButton:checked { background: @select; }
QToolButton:disabled { color: @faint; background: @panel; }
QToolButton[primary="true"] { background: @primary; border-color: @primaryLine; font-weight: 600; }
QToolButton[primary="true"]:disabled { background: @panel; border-color: @line; color: @faint; }
QToolButton[flat="true"] { background: transparent; border-color: transparent; padding: 2px 6px; color: @dim; }
QToolButton[flat="true"]:hover { background: @raised; color: @text; }
QToolButton::menu-indicator { image: none; width: 0; }
QPushButton { background: @raised; border: 1px solid @line; border-radius: 6px; padding: 5px 14px; }
QPushButton:hover { border-color: @dim; }
QPushButton:default, QPushButton[primary="true"] { background: @primary; border-color: @primaryLine; }
QPushButton:disabled { color: @faint; }
QComboBox, QLineEdit, QSpinBox, QDoubleSpinBox, QPlainTextEdit, QTextEdit { background: @field; border: 1px solid @line; border-radius: 5px; padding: 3px 7px; selection-background-color: @select; selection-color: @text; }
QComboBox:focus, QLineEdit:focus, QSpinBox:focus, QDoubleSpinBox:focus, QPlainTextEdit:focus { border-color: @accent; }
QLineEdit[invalid="true"] { border-color: @rejected; }
QComboBox::drop-down { border: 0; width: 18px; }
QComboBox::down-arrow { image: url(:/icons/down-@kind.svg); width: 9px; height: 9px; }
QTreeView::branch { background: @panel; }
QTreeView::branch:selected { background: @select; }
QTreeView::branch:has-children:closed { image: url(:/icons/right-@kind.svg); }
QTreeView::branch:has-children:open { image: url(:/icons/down-@kind.svg); }
QCheckBox::indicator:checked { image: url(:/icons/check-@kind.svg); }
QComboBox QAbstractItemView { background: @raised; border: 1px solid @line; selection-background-color: @select; }
QAbstractSpinBox::up-button, QAbstractSpinBox::down-button { width: 0; border: 0; }
QAbstractItemView { background: @panel; border: 0; selection-background-color: @select; selection-color: @text; alternate-background-color: @panel; outline: 0; }
QTreeView::item, QTableView::item, QListView::item { padding: 3px 2px; border: 0; }
QTreeView::item:selected, QTableView::item:selected, QListView::item:selected { background: @select; color: @text; }
QHeaderView::section { background: @panel; color: @dim; border: 0; border-bottom: 1px solid @line; padding: 4px 6px; }
QTableView { gridline-color: transparent; }
QTabBar { background: @panel; qproperty-drawBase: 0; }
QTabBar::tab { background: transparent; color: @dim; padding: 8px 13px; border: 0; border-bottom: 2px solid transparent; }
QTabBar::tab:selected { color: @text; border-bottom-color: @accent; }
QTabBar::tab:hover { color: @text; }
QTabBar::tab:disabled { color: @faint; }
QTabWidget::pane { border: 0; border-top: 1px solid @line; }
QDockWidget { titlebar-close-icon: none; titlebar-normal-icon: none; color: @dim; }
QDockWidget::title { background: @panel; padding: 7px 10px 3px 10px; }
QScrollArea, QScrollArea > QWidget > QWidget[panel="true"] { background: @panel; border: 0; }
QScrollBar:vertical { background: transparent; width: 10px; margin: 0; }
QScrollBar:horizontal { background: transparent; height: 10px; margin: 0; }
QScrollBar::handle { background: @line; border-radius: 3px; min-height: 24px; min-width: 24px; margin: 2px; }
QScrollBar::handle:hover { background: @faint; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }
QStatusBar { background: @panel; border-top: 1px solid @line; color: @dim; }
QStatusBar::item { border: 0; }
QToolTip { background: @raised; color: @text; border: 1px solid @line; padding: 5px; }
QProgressBar { background: @field; border: 1px solid @line; border-radius: 4px; text-align: center; max-height: 14px; }
QProgressBar::chunk { background: @primaryLine; border-radius: 3px; }
QCheckBox::indicator { width: 14px; height: 14px; border: 1px solid @faint; border-radius: 3px; background: @field; }
QCheckBox::indicator:checked { background: @accent; border-color: @accent; }
QSlider::groove:horizontal { height: 4px; background: @line; border-radius: 2px; }
QSlider::handle:horizontal { background: @accent; width: 12px; margin: -5px 0; border-radius: 6px; }
QLabel[role="heading"] { color: @dim; font-size: 8.5pt; font-weight: 600; letter-spacing: 0.6px; }
QLabel[role="dim"] { color: @dim; }
QFrame[role="card"] { background: @raised; border: 1px solid @line; border-radius: 8px; }
QFrame[role="card"][verdict="rejected"] { background: @rejectedFill; border-color: @rejectedEdge; }
QFrame[role="card"][verdict="accepted"] { background: @acceptedFill; border-color: @acceptedEdge; }
QFrame[role="card"][verdict="bonus"] { background: @bonusFill; border-color: @bonusEdge; }
QFrame[role="card"][verdict="resampled"] { background: @resampledFill; border-color: @resampledEdge; }
QDialogButtonBox { dialogbuttonbox-buttons-have-icons: 0; }
QFrame[role="error"] { background: @rejectedFill; border: 0; border-bottom: 1px solid @rejectedEdge; }
)");
  const auto mixed = [](Colour a, Colour b, float share) {
    const auto one = [share](int x, int y) {
      return static_cast<int>(static_cast<float>(x) * (1 - share) + static_cast<float>(y) * share);
    };
    return QColor(one(a.r, b.r), one(a.g, b.g), one(a.b, b.b)).name();
  };
  const Colour accent = t.style(Tone::accepted).edge;
  css.replace("@primaryLine", mixed(t.panel, accent, t.dark ? 0.5f : 0.6f));
  css.replace("@primary", mixed(t.panel, accent, t.dark ? 0.25f : 0.18f));
  for (const auto& [word, tone] : {std::pair{"rejected", Tone::rejected},
                                   {"accepted", Tone::accepted},
                                   {"bonus", Tone::bonus},
                                   {"resampled", Tone::resampled}}) {
    css.replace(QStringLiteral("@%1Fill").arg(word), mixed(t.panel, t.style(tone).edge, 0.08f));
    css.replace(QStringLiteral("@%1Edge").arg(word), mixed(t.panel, t.style(tone).edge, 0.45f));
  }
  css.replace("@rejected", hex(t.style(Tone::rejected).edge));
  css.replace("@accent", hex(accent));
  css.replace("@select", mixed(t.panel, accent, 0.16f));
  css.replace("@field", hex(t.background));
  css.replace("@panel", hex(t.panel));
  css.replace("@raised", hex(t.raised));
  css.replace("@line", hex(t.line));
  css.replace("@text", hex(t.text));
  css.replace("@dim", hex(t.dim));
  css.replace("@faint", hex(t.faint));
  css.replace("@kind", t.dark ? "dark" : "light");
  return css;
}

}  // namespace

QFont interfaceFont() {
  QFont font(QStringList{"Inter", "Noto Sans", "DejaVu Sans"}, 10);
  font.setStyleHint(QFont::SansSerif);
  return font;
}

QFont tokenFont() {
  QFont font(QStringList{"JetBrains Mono", "Noto Sans Mono", "DejaVu Sans Mono"}, 10);
  font.setStyleHint(QFont::Monospace);
  return font;
}

QString withoutLigatures(const QString& text) {
  const auto joins = [](QChar c) { return c.unicode() < 128 && (c.isPunct() || c.isSymbol()); };
  QString result;
  for (qsizetype i = 0; i < text.size(); ++i) {
    if (i > 0 && joins(text[i]) && joins(text[i - 1])) result += QChar(0x200C);
    result += text[i];
  }
  return result;
}

const Theme& theme() {
  return *current;
}

Notifier& notifier() {
  static Notifier notifier;
  return notifier;
}

void apply(const Theme& theme) {
  current = &theme;
  QPalette palette;
  palette.setColor(QPalette::Window, colour(theme.panel));
  palette.setColor(QPalette::Base, colour(theme.background));
  palette.setColor(QPalette::AlternateBase, colour(theme.panel));
  palette.setColor(QPalette::Button, colour(theme.raised));
  for (const QPalette::ColorRole role :
       {QPalette::WindowText, QPalette::Text, QPalette::ButtonText, QPalette::ToolTipText,
        QPalette::HighlightedText, QPalette::BrightText})
    palette.setColor(role, colour(theme.text));
  palette.setColor(QPalette::ToolTipBase, colour(theme.raised));
  palette.setColor(QPalette::PlaceholderText, colour(theme.faint));
  palette.setColor(QPalette::Highlight, colour(theme.style(Tone::accepted).fill));
  palette.setColor(QPalette::Link, colour(theme.style(Tone::accepted).edge));
  palette.setColor(QPalette::Mid, colour(theme.line));
  palette.setColor(QPalette::Dark, colour(theme.line));
  for (const QPalette::ColorRole role : {QPalette::WindowText, QPalette::Text, QPalette::ButtonText})
    palette.setColor(QPalette::Disabled, role, colour(theme.faint));
  QApplication::setStyle(QStyleFactory::create("Fusion"));
  QApplication::setPalette(palette);
  QToolTip::setPalette(palette);
  QApplication::setFont(interfaceFont());
  qApp->setStyleSheet(sheet(theme));
  Q_EMIT notifier().changed();
}

bool reducedMotion() {
  return motionReduced;
}
void setReducedMotion(bool reduced) {
  motionReduced = reduced;
}

}  // namespace decoscope::style
