#include "widgets/panels/EventLog.h"

#include <QApplication>
#include <QClipboard>
#include <QCompleter>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QShortcut>
#include <QStyle>
#include <QTableView>
#include <QVBoxLayout>

#include "widgets/style/Style.h"

namespace decoscope {

EventLog::EventLog(EventModel* events, Selection* selection, QWidget* parent)
    : QWidget(parent), events_(events), filtered_(new EventFilterModel(this)), selection_(selection) {
  setObjectName("eventLog");
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(8, 8, 8, 4);
  filter_ = new QLineEdit;
  filter_->setObjectName("eventFilter");
  filter_->setClearButtonEnabled(true);
  filter_->setPlaceholderText(tr("Filter: status==rejected && p<0.1"));
  filter_->setToolTip(
      tr("Comparisons of fields joined by && || ! and brackets, or a word to look for.\nFields: %1")
          .arg(EventFilter::fields().join(QStringLiteral(", "))));
  filter_->setAccessibleName(tr("Event filter"));
  auto* completer =
      new QCompleter(QStringList{"status==rejected", "status==accepted", "event==draw", "event==verdict",
                                 "event==commit", "p<0.1", "q>0.5", "entropy>2", "status==rejected && p<0.1"},
                     filter_);
  completer->setCaseSensitivity(Qt::CaseInsensitive);
  filter_->setCompleter(completer);
  message_ = new QLabel;
  message_->setProperty("role", "dim");
  filtered_->setSourceModel(events);
  table_ = new QTableView;
  table_->setModel(filtered_);
  table_->setSelectionBehavior(QAbstractItemView::SelectRows);
  table_->setShowGrid(false);
  table_->verticalHeader()->hide();
  table_->verticalHeader()->setDefaultSectionSize(24);
  table_->horizontalHeader()->setStretchLastSection(true);
  table_->horizontalHeader()->setDefaultAlignment(Qt::AlignLeft | Qt::AlignVCenter);
  const int widths[] = {48, 112, 48, 110, 78, 78, 78, 84};
  for (int i = 0; i < 8; ++i) table_->setColumnWidth(i, widths[i]);
  QFont mono = style::tokenFont();
  mono.setPointSizeF(9);
  table_->setFont(mono);
  table_->setAccessibleName(tr("Events"));
  layout->addWidget(filter_);
  layout->addWidget(message_);
  layout->addWidget(table_, 1);
  connect(filter_, &QLineEdit::textChanged, this, &EventLog::apply);
  connect(filtered_, &QAbstractItemModel::rowsInserted, this, &EventLog::apply);
  connect(filtered_, &QAbstractItemModel::modelReset, this, &EventLog::apply);
  const auto choose = [this](const QModelIndex& index) {
    if (index.isValid()) selection_->select(filtered_->data(index, EventModel::markRole).value<MarkId>());
  };
  connect(table_, &QTableView::clicked, this, choose);
  connect(table_, &QTableView::activated, this, choose);
  auto* copy = new QShortcut(QKeySequence::Copy, table_, nullptr, nullptr, Qt::WidgetShortcut);
  connect(copy, &QShortcut::activated, this, &EventLog::copyRows);
  apply();
}

void EventLog::setFilter(const QString& text) {
  filter_->setText(text);
}

void EventLog::apply() {
  auto parsed = EventFilter::parse(filter_->text());
  filter_->setProperty("invalid", !parsed);
  filter_->style()->unpolish(filter_);
  filter_->style()->polish(filter_);
  if (!parsed) {
    message_->setText(QString::fromStdString(parsed.error().text()));
    return;
  }
  if (sender() == filter_ || sender() == nullptr) filtered_->setFilter(std::move(*parsed));
  message_->setText(filter_->text().trimmed().isEmpty()
                        ? tr("%1 events").arg(events_->rowCount())
                        : tr("%1 of %2 events").arg(filtered_->rowCount()).arg(events_->rowCount()));
}

void EventLog::copyRows() {
  QString text;
  for (const QModelIndex& index : table_->selectionModel()->selectedRows()) {
    QStringList cells;
    // The tool tip of a number holds all of its digits.
    for (int column = 0; column < EventModel::columnCount_; ++column)
      cells << filtered_->data(index.siblingAtColumn(column), Qt::ToolTipRole).toString();
    text += cells.join('\t') + '\n';
  }
  if (!text.isEmpty()) QApplication::clipboard()->setText(text);
}

}  // namespace decoscope
