#include "app/Shortcuts.h"

#include <QDialogButtonBox>
#include <QHeaderView>
#include <QKeySequenceEdit>
#include <QLabel>
#include <QPushButton>
#include <QSettings>
#include <QTreeWidget>
#include <QVBoxLayout>

namespace decoscope {

namespace {

constexpr const char* kDefaults = "defaultKeys";
constexpr const char* kTip = "plainTip";

QString settingOf(const QAction* action) {
  return QStringLiteral("keys/") + action->objectName();
}
QString nameOf(const QAction* action) {
  return action->text().remove('&').remove(QStringLiteral("…"));
}
QString textOf(const QList<QKeySequence>& keys) {
  return QKeySequence::listToString(keys, QKeySequence::PortableText);
}
QList<QKeySequence> defaultsOf(const QAction* action) {
  return QKeySequence::listFromString(action->property(kDefaults).toString(), QKeySequence::PortableText);
}

}  // namespace

void showShortcut(QAction* action, const QString& label) {
  const QKeySequence key = action->shortcut();
  const QString native = key.toString(QKeySequence::NativeText);
  const QString name = label.isEmpty() ? nameOf(action) : label;
  action->setIconText(name + (native.isEmpty() || native.size() > 4 || name.size() < 3
                                  ? QString()
                                  : QStringLiteral("  ") + native));
  QString tip = action->property(kTip).toString();
  if (tip.isEmpty()) tip = nameOf(action);
  action->setToolTip(tip + (native.isEmpty() ? QString() : QStringLiteral("  (%1)").arg(native)));
}

void loadShortcuts(const QList<QAction*>& actions) {
  const QSettings settings;
  for (QAction* action : actions) {
    action->setProperty(kDefaults, textOf(action->shortcuts()));
    if (const QVariant stored = settings.value(settingOf(action)); stored.isValid())
      action->setShortcuts(QKeySequence::listFromString(stored.toString(), QKeySequence::PortableText));
  }
}

ShortcutsDialog::ShortcutsDialog(const QList<QAction*>& actions, QWidget* parent)
    : QDialog(parent),
      actions_(actions),
      table_(new QTreeWidget),
      edit_(new QKeySequenceEdit),
      conflict_(new QLabel),
      set_(new QPushButton(tr("Set"))),
      clear_(new QPushButton(tr("No key"))),
      reset_(new QPushButton(tr("Default"))) {
  setObjectName("shortcutsDialog");
  setWindowTitle(tr("Keys"));
  auto* layout = new QVBoxLayout(this);
  table_->setObjectName("keys");
  table_->setAccessibleName(tr("Keys"));
  table_->setRootIsDecorated(false);
  table_->setUniformRowHeights(true);
  table_->setHeaderLabels({tr("Command"), tr("Keys")});
  table_->header()->setStretchLastSection(false);
  table_->header()->setSectionResizeMode(0, QHeaderView::Stretch);
  table_->setColumnWidth(1, 190);
  layout->addWidget(table_, 1);
  auto* row = new QHBoxLayout;
  edit_->setObjectName("keyEdit");
  edit_->setAccessibleName(tr("New key for the selected command"));
  set_->setObjectName("keySet");
  row->addWidget(edit_, 1);
  for (QPushButton* button : {set_, clear_, reset_}) {
    button->setAutoDefault(false);
    row->addWidget(button);
  }
  layout->addLayout(row);
  conflict_->setObjectName("keyConflict");
  conflict_->setWordWrap(true);
  conflict_->setProperty("role", "dim");
  layout->addWidget(conflict_);
  auto* buttons = new QDialogButtonBox(QDialogButtonBox::Close);
  auto* all = buttons->addButton(tr("All to defaults"), QDialogButtonBox::ResetRole);
  all->setObjectName("keysReset");
  all->setAutoDefault(false);
  layout->addWidget(buttons);
  connect(buttons, &QDialogButtonBox::rejected, this, &QDialog::reject);
  connect(all, &QPushButton::clicked, this, [this] {
    for (QAction* action : actions_) assign(action, defaultsOf(action));
    fill();
  });
  connect(edit_, &QKeySequenceEdit::keySequenceChanged, this, &ShortcutsDialog::settle);
  connect(table_, &QTreeWidget::currentItemChanged, this, [this] {
    edit_->clear();
    settle();
  });
  connect(table_, &QTreeWidget::itemActivated, this, [this] { edit_->setFocus(); });
  connect(set_, &QPushButton::clicked, this, [this] {
    if (QAction* action = current()) assign(action, {edit_->keySequence()});
    fill();
  });
  connect(clear_, &QPushButton::clicked, this, [this] {
    if (QAction* action = current()) assign(action, {});
    fill();
  });
  connect(reset_, &QPushButton::clicked, this, [this] {
    if (QAction* action = current()) assign(action, defaultsOf(action));
    fill();
  });
  fill();
  resize(580, 620);
}

QAction* ShortcutsDialog::current() const {
  const QTreeWidgetItem* item = table_->currentItem();
  return item ? qobject_cast<QAction*>(item->data(0, Qt::UserRole).value<QObject*>()) : nullptr;
}

QAction* ShortcutsDialog::holder(const QKeySequence& key, const QAction* besides) const {
  if (key.isEmpty()) return nullptr;
  for (QAction* action : actions_)
    if (action != besides && action->shortcuts().contains(key)) return action;
  return nullptr;
}

void ShortcutsDialog::assign(QAction* action, const QList<QKeySequence>& keys) {
  QSettings settings;
  const auto store = [&](QAction* changed, const QList<QKeySequence>& to) {
    changed->setShortcuts(to);
    if (to == defaultsOf(changed))
      settings.remove(settingOf(changed));
    else
      settings.setValue(settingOf(changed), textOf(to));
    showShortcut(changed);
  };
  for (const QKeySequence& key : keys)
    while (QAction* other = holder(key, action)) {
      QList<QKeySequence> left = other->shortcuts();
      left.removeAll(key);
      store(other, left);
    }
  store(action, keys);
}

void ShortcutsDialog::fill() {
  const QAction* selected = current();
  table_->clear();
  for (QAction* action : actions_) {
    auto* item = new QTreeWidgetItem(
        table_, {nameOf(action), QKeySequence::listToString(action->shortcuts(), QKeySequence::NativeText)});
    item->setData(0, Qt::UserRole, QVariant::fromValue(static_cast<QObject*>(action)));
    item->setToolTip(0, action->toolTip());
    if (action->shortcuts() != defaultsOf(action)) {
      QFont font = item->font(1);
      font.setBold(true);
      item->setFont(1, font);
      item->setToolTip(1, tr("Changed; the default is %1").arg(action->property(kDefaults).toString()));
    }
    if (action == selected) table_->setCurrentItem(item);
  }
  // Keys that belong to a view are not rebound.
  for (const auto& [what, keys] :
       {std::pair{tr("Canvas: parent, child, siblings"), QStringLiteral("← → ↑ ↓")},
        {tr("Canvas: next and previous round"), QStringLiteral("PgDn PgUp, N P")},
        {tr("Canvas: next rejected node"), QStringLiteral("R")},
        {tr("Canvas: zoom, actual size, fit"), QStringLiteral("+ − 0 Home, Ctrl+wheel")},
        {tr("Canvas: menu of the selected mark"), tr("Menu")}}) {
    auto* item = new QTreeWidgetItem(table_, {what, keys});
    item->setDisabled(true);
  }
  edit_->clear();
  settle();
}

void ShortcutsDialog::settle() {
  const QAction* action = current();
  const QKeySequence key = edit_->keySequence();
  QAction* other = action ? holder(key, action) : nullptr;
  edit_->setEnabled(action != nullptr);
  set_->setEnabled(action && !key.isEmpty());
  set_->setText(other ? tr("Take it") : tr("Set"));
  clear_->setEnabled(action && !action->shortcuts().isEmpty());
  reset_->setEnabled(action && action->shortcuts() != defaultsOf(action));
  conflict_->setText(other ? tr("%1 is the key of “%2”, which would lose it.")
                                 .arg(key.toString(QKeySequence::NativeText), nameOf(other))
                     : action ? tr("Click the field and press the new key.")
                              : tr("Choose a command to change its key."));
}

}  // namespace decoscope
