#include "app/ModelChooser.h"

#include <QComboBox>
#include <QDialogButtonBox>
#include <QFileDialog>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QTreeWidget>
#include <QVBoxLayout>

#include "widgets/models/Numbers.h"

namespace decoscope {

namespace {

enum Column {
  nameColumn,
  sizeColumn,
  precisionColumn,
  parametersColumn,
  contextColumn,
  licenceColumn,
  canColumn
};
constexpr int kPath = Qt::UserRole;

// Columns of numbers are sorted by number.
class Row final : public QTreeWidgetItem {
 public:
  using QTreeWidgetItem::QTreeWidgetItem;
  bool operator<(const QTreeWidgetItem& other) const override {
    const int column = treeWidget() ? treeWidget()->sortColumn() : 0;
    const QVariant a = data(column, kPath + 1), b = other.data(column, kPath + 1);
    return a.isValid() && b.isValid() ? a.toLongLong() < b.toLongLong() : QTreeWidgetItem::operator<(other);
  }
};

}  // namespace

ModelChooser::ModelChooser(ModelCatalog* catalog, const MethodCard* method, const QString& dtype,
                           const QString& device, QWidget* parent)
    : QDialog(parent),
      catalog_(catalog),
      method_(method),
      search_(new QLineEdit),
      table_(new QTreeWidget),
      note_(new QLabel),
      dtype_(new QComboBox),
      device_(new QComboBox) {
  setObjectName("modelChooserDialog");
  setWindowTitle(tr("Choose a model"));
  auto* layout = new QVBoxLayout(this);
  search_->setPlaceholderText(tr("Search names, architectures and licences"));
  search_->setAccessibleName(tr("Search models"));
  search_->setClearButtonEnabled(true);
  layout->addWidget(search_);
  table_->setObjectName("models");
  table_->setAccessibleName(tr("Models on this computer"));
  table_->setRootIsDecorated(false);
  table_->setUniformRowHeights(true);
  table_->setHeaderLabels({tr("Model"), tr("Size"), tr("Stored as"), tr("Parameters"), tr("Context"),
                           tr("Licence"), tr("Can do")});
  const int widths[] = {290, 80, 80, 90, 80, 110, 260};
  for (int i = 0; i <= canColumn; ++i) table_->setColumnWidth(i, widths[i]);
  table_->setSortingEnabled(true);
  table_->sortByColumn(nameColumn, Qt::AscendingOrder);
  layout->addWidget(table_, 1);
  note_->setObjectName("modelNote");
  note_->setWordWrap(true);
  note_->setProperty("role", "dim");
  note_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  layout->addWidget(note_);

  auto* options = new QHBoxLayout;
  const auto option = [&](const QString& name, QComboBox* box, const QStringList& values, const QString& now,
                          const QString& tip) {
    auto* label = new QLabel(name);
    label->setBuddy(box);
    label->setToolTip(tip);
    box->addItems(values);
    box->setToolTip(tip);
    box->setAccessibleName(QString(name).remove('&'));
    box->setCurrentText(now);
    options->addWidget(label);
    options->addWidget(box);
  };
  dtype_->setObjectName("dtype");
  device_->setObjectName("device");
  option(
      tr("&Arithmetic"), dtype_, {"auto", "f32", "bf16", "f16", "q8", "q4"}, dtype,
      tr("What the model computes in. auto: f32 for small models on the CPU, else bf16. What this model or "
         "device cannot do is refused with a message."));
  device_->setEditable(true);
  option(tr("&Device"), device_, {"auto", "cpu", "cuda", "cuda:0", "cuda:1"}, device,
         tr("Where it runs: auto, cpu, cuda or cuda:N"));
  options->addStretch(1);
  for (const auto& [text, kind] : {std::pair{tr("Open a file…"), 0}, {tr("Open a folder…"), 1}}) {
    auto* open = new QPushButton(text);
    open->setAutoDefault(false);
    connect(open, &QPushButton::clicked, this, [this, kind = kind] {
      const QString path =
          kind == 0 ? QFileDialog::getOpenFileName(this, tr("Open a model"), {},
                                                   tr("GGUF and table models (*.gguf *.json);;All files (*)"))
                    : QFileDialog::getExistingDirectory(this, tr("Open a Hugging Face folder"));
      if (!path.isEmpty()) choose(path.endsWith(".json") ? "table:" + path : path);
    });
    options->addWidget(open);
  }
  layout->addLayout(options);

  auto* buttons = new QDialogButtonBox(QDialogButtonBox::Ok | QDialogButtonBox::Cancel);
  load_ = buttons->button(QDialogButtonBox::Ok);
  load_->setText(tr("Load"));
  layout->addWidget(buttons);
  connect(buttons, &QDialogButtonBox::rejected, this, &QDialog::reject);
  const auto take = [this] {
    if (const QTreeWidgetItem* item = table_->currentItem(); item && !item->isDisabled())
      choose(item->data(nameColumn, kPath).toString());
  };
  connect(buttons, &QDialogButtonBox::accepted, this, take);
  connect(table_, &QTreeWidget::itemActivated, this, take);
  connect(table_, &QTreeWidget::currentItemChanged, this, &ModelChooser::settle);
  connect(search_, &QLineEdit::textChanged, this, &ModelChooser::fill);
  connect(catalog_, &ModelCatalog::changed, this, &ModelChooser::fill);
  resize(1180, 560);
  catalog_->refresh();
  fill();
}

QString ModelChooser::dtype() const {
  return dtype_->currentText();
}
QString ModelChooser::device() const {
  return device_->currentText().trimmed();
}

void ModelChooser::fill() {
  const QString before =
      table_->currentItem() ? table_->currentItem()->data(nameColumn, kPath).toString() : QString();
  const QString words = search_->text().trimmed();
  table_->setSortingEnabled(false);
  table_->clear();
  for (const ModelEntry& model : catalog_->models()) {
    const QString name = QString::fromStdString(model.file.name);
    const ModelInfo& info = model.info;
    const bool known = model.described && model.problem.isEmpty();
    const QString architecture = QString::fromStdString(info.architecture),
                  licence = QString::fromStdString(info.licence);
    if (!words.isEmpty() && !(name + ' ' + architecture + ' ' + licence).contains(words, Qt::CaseInsensitive))
      continue;
    auto* row = new Row(table_);
    row->setData(nameColumn, kPath, QString::fromStdString(model.file.path));
    row->setText(nameColumn, name);
    row->setText(sizeColumn, bytesText(model.file.bytes));
    row->setData(sizeColumn, kPath + 1, static_cast<qlonglong>(model.file.bytes));
    if (known) {
      row->setText(precisionColumn, QString::fromStdString(info.fileType));
      row->setText(parametersColumn, ModelCatalog::parametersText(info.parameters));
      row->setData(parametersColumn, kPath + 1, static_cast<qlonglong>(info.parameters));
      row->setText(contextColumn, QStringLiteral("%L1").arg(info.contextLength));
      row->setData(contextColumn, kPath + 1, static_cast<qlonglong>(info.contextLength));
      row->setText(licenceColumn, licence.isEmpty() ? tr("not stated") : licence);
      row->setText(canColumn, ModelCatalog::capabilities(info).join(QStringLiteral(", ")));
    } else {
      row->setText(canColumn, model.problem.isEmpty() ? tr("reading…") : tr("cannot be opened"));
    }
    const QString why = method_ ? ModelCatalog::whyNot(model, *method_) : model.problem;
    row->setDisabled(!why.isEmpty());
    QString tip = QString::fromStdString(model.file.path) + QStringLiteral("\n") +
                  tr("found in: %1").arg(QString::fromStdString(model.file.source));
    if (known)
      tip += tr("\n%1 · %2 layers · width %3 · %L4 parameters · vocabulary %L5")
                 .arg(architecture)
                 .arg(info.layers)
                 .arg(info.width)
                 .arg(info.parameters)
                 .arg(info.vocabularySize);
    if (!why.isEmpty()) tip += QStringLiteral("\n") + why;
    for (int column = 0; column <= canColumn; ++column) row->setToolTip(column, tip);
    for (const int column : {sizeColumn, parametersColumn, contextColumn})
      row->setTextAlignment(column, Qt::AlignRight | Qt::AlignVCenter);
    row->setData(canColumn, kPath, why);
    if (row->data(nameColumn, kPath).toString() == before) table_->setCurrentItem(row);
  }
  table_->setSortingEnabled(true);
  if (!table_->currentItem())
    for (int i = 0; i < table_->topLevelItemCount() && !table_->currentItem(); ++i)
      if (!table_->topLevelItem(i)->isDisabled()) table_->setCurrentItem(table_->topLevelItem(i));
  settle();
}

void ModelChooser::settle() {
  const QTreeWidgetItem* item = table_->currentItem();
  const bool usable = item && !item->isDisabled();
  load_->setEnabled(usable);
  int grey = 0;
  QString reason;
  for (int i = 0; i < table_->topLevelItemCount(); ++i)
    if (const QString why = table_->topLevelItem(i)->data(canColumn, kPath).toString(); !why.isEmpty())
      ++grey, reason = why;
  while (reason.endsWith('.')) reason.chop(1);
  note_->setText(table_->topLevelItemCount() == 0
                     ? (catalog_->busy()
                            ? tr("Looking at the disk…")
                            : tr("No model was found. packaging/fetch-model brings SmolLM2; or open a GGUF "
                                 "file or a Hugging Face folder."))
                 : grey == 0 ? QString()
                 : grey == 1 ? tr("Grey: %1.").arg(reason)
                             : tr("%1 are grey: hover for the reason. The last: %2.").arg(grey).arg(reason));
}

void ModelChooser::choose(const QString& path) {
  chosen_ = path;
  accept();
}

}  // namespace decoscope
