#include "app/StartPage.h"

#include <QFileInfo>
#include <QLabel>
#include <QPushButton>
#include <QVBoxLayout>

#include "widgets/models/Numbers.h"
#include "widgets/style/Style.h"

namespace decoscope {

namespace {

QLabel* heading(const QString& text) {
  auto* label = new QLabel(text);
  label->setProperty("role", "heading");
  return label;
}

void clear(QLayout* layout) {
  while (QLayoutItem* item = layout->takeAt(0)) {
    delete item->widget();
    delete item;
  }
}

}  // namespace

StartPage::StartPage(QWidget* parent) : QWidget(parent), recent_(new QVBoxLayout), models_(new QVBoxLayout) {
  setObjectName("startPage");
  auto* outer = new QVBoxLayout(this);
  outer->setContentsMargins(56, 48, 56, 48);
  outer->setSpacing(10);
  auto* title = new QLabel(tr("See why each token is there"));
  QFont large = style::interfaceFont();
  large.setPointSizeF(20);
  large.setWeight(QFont::DemiBold);
  title->setFont(large);
  outer->addWidget(title);
  auto* lead =
      new QLabel(tr("Choose a model, write a prompt, press Step (F10). Or replay a recorded run: no model is "
                    "needed for that."));
  lead->setProperty("role", "dim");
  lead->setWordWrap(true);
  outer->addWidget(lead);
  outer->addSpacing(12);
  auto* sample = new QPushButton(tr("Open the sample session"));
  sample->setObjectName("openSample");
  sample->setDefault(true);
  auto* open = new QPushButton(tr("Open a session or a model…"));
  connect(sample, &QPushButton::clicked, this, &StartPage::sampleWanted);
  connect(open, &QPushButton::clicked, this, &StartPage::openWanted);
  auto* buttons = new QHBoxLayout;
  buttons->addWidget(sample);
  buttons->addWidget(open);
  buttons->addStretch(1);
  outer->addLayout(buttons);
  outer->addSpacing(20);
  auto* columns = new QHBoxLayout;
  columns->setSpacing(40);
  for (const auto& [name, list] :
       {std::pair{tr("RECENT SESSIONS"), recent_}, {tr("MODELS ON THIS COMPUTER"), models_}}) {
    auto* column = new QVBoxLayout;
    column->setSpacing(6);
    column->addWidget(heading(name));
    list->setSpacing(6);
    column->addLayout(list);
    column->addStretch(1);
    columns->addLayout(column, 1);
  }
  outer->addLayout(columns);
  outer->addStretch(1);
}

void StartPage::show(const QStringList& recent, const std::vector<ModelEntry>& models) {
  clear(recent_);
  clear(models_);
  const auto none = [](QVBoxLayout* layout, const QString& text) {
    auto* label = new QLabel(text);
    label->setProperty("role", "dim");
    label->setWordWrap(true);
    layout->addWidget(label);
  };
  for (const QString& path : recent.mid(0, 8)) {
    auto* button = new QPushButton(QFileInfo(path).fileName());
    button->setToolTip(path);
    connect(button, &QPushButton::clicked, this, [this, path] { Q_EMIT sessionWanted(path); });
    recent_->addWidget(button);
  }
  if (recent.isEmpty()) none(recent_, tr("None yet"));
  for (std::size_t i = 0; i < models.size() && i < 8; ++i) {
    const CatalogEntry& model = models[i].file;
    const ModelInfo& info = models[i].info;
    QString what = bytesText(model.bytes) + QStringLiteral(" · ") + QString::fromStdString(model.format);
    if (models[i].described && models[i].problem.isEmpty())
      what += tr(" · %1 parameters · %2")
                  .arg(ModelCatalog::parametersText(info.parameters), QString::fromStdString(info.fileType));
    auto* button = new QPushButton(QString::fromStdString(model.name) + QStringLiteral("    ") + what);
    button->setToolTip(QString::fromStdString(model.path) +
                       (models[i].problem.isEmpty() ? QString() : QStringLiteral("\n") + models[i].problem));
    button->setEnabled(models[i].problem.isEmpty());
    connect(button, &QPushButton::clicked, this,
            [this, name = QString::fromStdString(model.name)] { Q_EMIT modelWanted(name); });
    models_->addWidget(button);
  }
  if (models.empty())
    none(models_, tr("None found. packaging/fetch-model brings SmolLM2, or open a GGUF file or a Hugging "
                     "Face folder."));
}

}  // namespace decoscope
