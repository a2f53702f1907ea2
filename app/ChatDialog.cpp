#include "app/ChatDialog.h"

#include <QComboBox>
#include <QCoreApplication>
#include <QDialogButtonBox>
#include <QFrame>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QLabel>
#include <QPlainTextEdit>
#include <QPointer>
#include <QPushButton>
#include <QScrollArea>
#include <QSplitter>
#include <QToolButton>
#include <QVBoxLayout>
#include <algorithm>

#include "widgets/style/Style.h"

namespace decoscope {

QString chatJson(const std::vector<ChatTurn>& turns) {
  QJsonArray list;
  for (const ChatTurn& turn : turns) list.append(QJsonObject{{"role", turn.role}, {"content", turn.content}});
  return QString::fromUtf8(QJsonDocument(list).toJson(QJsonDocument::Compact));
}

std::vector<ChatTurn> chatTurns(const QString& json) {
  const QJsonDocument document = QJsonDocument::fromJson(json.toUtf8());
  const QJsonArray list =
      document.isObject() ? document.object().value("messages").toArray() : document.array();
  // What this editor could not give back whole (tools, calls, content in parts) is none of its lists.
  if (document.isObject() && document.object().size() != 1) return {};
  std::vector<ChatTurn> turns;
  for (const QJsonValue& value : list) {
    const QJsonObject message = value.toObject();
    if (message.size() != 2 || !message.value("role").isString() || !message.value("content").isString())
      return {};
    turns.push_back({message.value("role").toString(), message.value("content").toString()});
  }
  return turns;
}

struct ChatDialog::Row {
  QFrame* frame = nullptr;
  QComboBox* role = nullptr;
  QPlainTextEdit* text = nullptr;
  QToolButton *up = nullptr, *down = nullptr, *remove = nullptr;
};

ChatDialog::ChatDialog(const SessionPort& port, const std::vector<ChatTurn>& turns, QWidget* parent)
    : QDialog(parent),
      port_(port),
      list_(new QVBoxLayout),
      rendered_(new QPlainTextEdit),
      count_(new QLabel) {
  setObjectName("chatDialog");
  setWindowTitle(tr("Conversation"));
  auto* layout = new QVBoxLayout(this);
  auto* splitter = new QSplitter;
  splitter->setChildrenCollapsible(false);
  auto* scroll = new QScrollArea;
  scroll->setWidgetResizable(true);
  scroll->setFrameShape(QFrame::NoFrame);
  auto* left = new QWidget;
  auto* leftLayout = new QVBoxLayout(left);
  leftLayout->setContentsMargins(0, 0, 8, 0);
  leftLayout->addLayout(list_);
  auto* add = new QPushButton(tr("Add a message"));
  add->setObjectName("addMessage");
  add->setAutoDefault(false);
  leftLayout->addWidget(add, 0, Qt::AlignLeft);
  leftLayout->addStretch(1);
  scroll->setWidget(left);
  splitter->addWidget(scroll);
  auto* right = new QWidget;
  auto* rightLayout = new QVBoxLayout(right);
  rightLayout->setContentsMargins(8, 0, 0, 0);
  auto* heading = new QLabel(tr("WHAT THE MODEL READS"));
  heading->setProperty("role", "heading");
  rendered_->setObjectName("renderedChat");
  rendered_->setAccessibleName(tr("Rendered conversation"));
  rendered_->setReadOnly(true);
  // Markers such as <|…|> are read letter by letter: no ligatures.
  QFont mono = style::tokenFont();
  mono.setStyleStrategy(QFont::PreferNoShaping);
  rendered_->setFont(mono);
  count_->setProperty("role", "dim");
  count_->setWordWrap(true);
  rightLayout->addWidget(heading);
  rightLayout->addWidget(rendered_, 1);
  rightLayout->addWidget(count_);
  splitter->addWidget(right);
  splitter->setSizes({520, 460});
  layout->addWidget(splitter, 1);
  auto* buttons = new QDialogButtonBox(QDialogButtonBox::Ok | QDialogButtonBox::Cancel);
  layout->addWidget(buttons);
  connect(buttons, &QDialogButtonBox::accepted, this, &QDialog::accept);
  connect(buttons, &QDialogButtonBox::rejected, this, &QDialog::reject);
  connect(add, &QPushButton::clicked, this, [this] {
    // Turns alternate.
    const bool user = rows_.empty() || rows_.back()->role->currentText() != "user";
    addRow({user ? QStringLiteral("user") : QStringLiteral("assistant"), {}}, static_cast<int>(rows_.size()))
        ->text->setFocus();
    settle();
  });
  delay_.setSingleShot(true);
  delay_.setInterval(150);
  connect(&delay_, &QTimer::timeout, this, &ChatDialog::preview);
  for (const ChatTurn& turn : turns) addRow(turn, static_cast<int>(rows_.size()));
  if (rows_.empty()) addRow({QStringLiteral("user"), {}}, 0);
  settle();
  resize(1000, 620);
}

ChatDialog::~ChatDialog() = default;

ChatDialog::Row* ChatDialog::addRow(const ChatTurn& turn, int at) {
  auto made = std::make_unique<Row>();
  Row* row = made.get();
  row->frame = new QFrame;
  row->frame->setProperty("role", "card");
  auto* layout = new QVBoxLayout(row->frame);
  layout->setContentsMargins(8, 6, 8, 8);
  auto* head = new QHBoxLayout;
  row->role = new QComboBox;
  row->role->setObjectName("messageRole");
  row->role->setEditable(true);
  row->role->addItems({"system", "user", "assistant", "tool"});
  row->role->setCurrentText(turn.role);
  row->role->setAccessibleName(tr("Role"));
  row->role->setToolTip(tr("Who speaks; a template may know other roles, which can be typed"));
  head->addWidget(row->role);
  head->addStretch(1);
  const auto button = [&](const QString& text, const char* name, const QString& tip) {
    auto* made = new QToolButton;
    made->setObjectName(name);
    made->setText(text);
    made->setToolTip(tip);
    made->setAccessibleName(tip);
    made->setProperty("flat", true);
    head->addWidget(made);
    return made;
  };
  row->up = button(QStringLiteral("▲"), "moveUp", tr("Move up"));
  row->down = button(QStringLiteral("▼"), "moveDown", tr("Move down"));
  row->remove = button(QStringLiteral("✕"), "removeMessage", tr("Remove"));
  layout->addLayout(head);
  row->text = new QPlainTextEdit(turn.content);
  row->text->setObjectName("messageText");
  row->text->setAccessibleName(tr("Message"));
  row->text->setTabChangesFocus(true);
  row->text->setFixedHeight(92);
  layout->addWidget(row->text);
  connect(row->role, &QComboBox::currentTextChanged, this, &ChatDialog::settle);
  connect(row->text, &QPlainTextEdit::textChanged, this, &ChatDialog::settle);
  connect(row->up, &QToolButton::clicked, this, [this, row] { move(row, -1); });
  connect(row->down, &QToolButton::clicked, this, [this, row] { move(row, 1); });
  connect(row->remove, &QToolButton::clicked, this, [this, row] { remove(row); });
  rows_.insert(rows_.begin() + at, std::move(made));
  list_->insertWidget(at, row->frame);
  return row;
}

void ChatDialog::move(Row* row, int by) {
  const auto at = std::find_if(rows_.begin(), rows_.end(), [&](const auto& r) { return r.get() == row; });
  const auto index = static_cast<int>(at - rows_.begin());
  if (index + by < 0 || index + by >= static_cast<int>(rows_.size())) return;
  std::iter_swap(at, at + by);
  list_->removeWidget(row->frame);
  list_->insertWidget(index + by, row->frame);
  settle();
}

void ChatDialog::remove(Row* row) {
  row->frame->deleteLater();
  std::erase_if(rows_, [&](const auto& r) { return r.get() == row; });
  settle();
}

std::vector<ChatTurn> ChatDialog::turns() const {
  std::vector<ChatTurn> turns;
  for (const auto& row : rows_)
    turns.push_back({row->role->currentText().trimmed(), row->text->toPlainText()});
  return turns;
}

void ChatDialog::settle() {
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    rows_[i]->up->setEnabled(i > 0);
    rows_[i]->down->setEnabled(i + 1 < rows_.size());
    rows_[i]->remove->setEnabled(rows_.size() > 1);
  }
  delay_.start();
}

void ChatDialog::preview() {
  RunRequest request;
  request.chatJson = chatJson(turns()).toStdString();
  pool_.start([port = &port_, request, ticket = ++ticket_, guard = QPointer<ChatDialog>(this)] {
    auto made = port->previewPrompt(request);
    QMetaObject::invokeMethod(qApp, [made = std::move(made), ticket, guard] {
      if (!guard || guard->ticket_ != ticket) return;
      guard->rendered_->setPlainText(made ? QString::fromStdString(made->text) : QString());
      guard->count_->setText(made ? tr("%1 tokens").arg(made->tokens.size())
                                  : QString::fromStdString(made.error().text()));
    });
  });
}

}  // namespace decoscope
