#include "app/CommandPalette.h"

#include <QKeyEvent>
#include <QLineEdit>
#include <QListWidget>
#include <QVBoxLayout>
#include <algorithm>

namespace decoscope {

CommandPalette::CommandPalette(const QList<QAction*>& actions, QWidget* parent)
    : QDialog(parent, Qt::Popup), actions_(actions), search_(new QLineEdit), list_(new QListWidget) {
  setObjectName("commandPalette");
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(8, 8, 8, 8);
  search_->setPlaceholderText(tr("Type a command"));
  search_->setAccessibleName(tr("Command"));
  search_->installEventFilter(this);
  layout->addWidget(search_);
  layout->addWidget(list_);
  resize(520, 380);
  move(parent->mapToGlobal(QPoint((parent->width() - width()) / 2, 60)));
  connect(search_, &QLineEdit::textChanged, this, &CommandPalette::fill);
  connect(search_, &QLineEdit::returnPressed, this, &CommandPalette::trigger);
  connect(list_, &QListWidget::itemClicked, this, &CommandPalette::trigger);
  fill();
  search_->setFocus();
}

int CommandPalette::score(const QString& name, const QString& words) {
  int total = 0, last = -2;
  qsizetype at = 0;
  for (const QChar c : words) {
    if (c.isSpace()) continue;
    qsizetype found = at;
    while (found < name.size() && name[found].toLower() != c.toLower()) ++found;
    if (found >= name.size()) return -1;
    total += 1 + (found == last + 1 ? 4 : 0) + (found == 0 || name[found - 1].isSpace() ? 3 : 0);
    last = static_cast<int>(found);
    at = found + 1;
  }
  return total;
}

void CommandPalette::fill() {
  list_->clear();
  std::vector<std::pair<int, QAction*>> found;
  for (QAction* action : actions_) {
    const int fit = score(action->text().remove('&'), search_->text());
    if (fit >= 0) found.push_back({fit, action});
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  for (const auto& [fit, action] : found) {
    const QString keys = action->shortcut().toString(QKeySequence::NativeText);
    auto* item = new QListWidgetItem(
        action->text().remove('&') + (keys.isEmpty() ? QString() : QStringLiteral("    ") + keys), list_);
    item->setData(Qt::UserRole, QVariant::fromValue(static_cast<QObject*>(action)));
    item->setToolTip(action->toolTip());
    if (!action->isEnabled()) item->setFlags(item->flags() & ~Qt::ItemIsEnabled);
  }
  list_->setCurrentRow(0);
}

void CommandPalette::trigger() {
  const QListWidgetItem* item = list_->currentItem();
  auto* action = item ? qobject_cast<QAction*>(item->data(Qt::UserRole).value<QObject*>()) : nullptr;
  if (!action || !action->isEnabled()) return;
  accept();
  action->trigger();
}

bool CommandPalette::eventFilter(QObject* object, QEvent* event) {
  if (event->type() == QEvent::KeyPress) {
    const int key = static_cast<QKeyEvent*>(event)->key();
    if (key == Qt::Key_Up || key == Qt::Key_Down) {
      list_->setCurrentRow(std::clamp(list_->currentRow() + (key == Qt::Key_Down ? 1 : -1), 0,
                                      std::max(0, list_->count() - 1)));
      return true;
    }
  }
  return QDialog::eventFilter(object, event);
}

}  // namespace decoscope
