#include "app/StartPage.h"

#include <QFileInfo>
#include <QLabel>
#include <QPushButton>
#include <QStyleOptionButton>
#include <QStylePainter>
#include <QVBoxLayout>

#include "widgets/models/Numbers.h"
#include "widgets/style/Style.h"

namespace decoscope {

namespace {

// A long name must not keep the window wide: it ends in an ellipsis where there is no room.
class ElidingButton final : public QPushButton {
 public:
  explicit ElidingButton(const QString& text) : QPushButton(text) {
    setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Fixed);
  }
  QSize minimumSizeHint() const override { return {kLeastWidth, QPushButton::minimumSizeHint().height()}; }

 protected:
  void paintEvent(QPaintEvent*) override {
    QStyleOptionButton option;
    initStyleOption(&option);
    const int room = style()->subElementRect(QStyle::SE_PushButtonContents, &option, this).width();
    option.text = option.fontMetrics.elidedText(option.text, Qt::ElideRight, room);
    QStylePainter(this).drawControl(QStyle::CE_PushButton, option);
  }

 private:
  static constexpr int kLeastWidth = 120;
};

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

StartPage::StartPage(QWidget* parent)
    : QWidget(parent),
      recent_(new QVBoxLayout),
      bundled_(new QVBoxLayout),
      models_(new QVBoxLayout),
      bundledSection_(new QWidget) {
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
  const auto column = [&] {
    auto* made = new QVBoxLayout;
    made->setSpacing(6);
    columns->addLayout(made, 1);
    return made;
  };
  const auto section = [](QVBoxLayout* into, const QString& name, QVBoxLayout* list) {
    into->addWidget(heading(name));
    list->setSpacing(6);
    into->addLayout(list);
  };
  auto* left = column();
  section(left, tr("RECENT SESSIONS"), recent_);
  left->addStretch(1);
  auto* right = column();
  bundledSection_->setObjectName("bundledModels");
  auto* bundled = new QVBoxLayout(bundledSection_);
  bundled->setContentsMargins(0, 0, 0, 14);
  bundled->setSpacing(6);
  section(bundled, tr("BUNDLED MODELS"), bundled_);
  bundledSection_->hide();
  right->addWidget(bundledSection_);
  section(right, tr("MODELS ON THIS COMPUTER"), models_);
  right->addStretch(1);
  outer->addLayout(columns);
  outer->addStretch(1);
}

void StartPage::show(const QStringList& recent, const std::vector<ModelEntry>& models) {
  clear(recent_);
  clear(bundled_);
  clear(models_);
  const auto none = [](QVBoxLayout* layout, const QString& text) {
    auto* label = new QLabel(text);
    label->setProperty("role", "dim");
    label->setWordWrap(true);
    layout->addWidget(label);
  };
  for (const QString& path : recent.mid(0, 8)) {
    auto* button = new ElidingButton(QFileInfo(path).fileName());
    button->setToolTip(path);
    connect(button, &QPushButton::clicked, this, [this, path] { Q_EMIT sessionWanted(path); });
    recent_->addWidget(button);
  }
  if (recent.isEmpty()) none(recent_, tr("None yet"));
  const std::vector<ModelEntry> bundled = bundledEntries(models);
  bundledSection_->setVisible(!bundled.empty());
  if (const auto start = bundledStart(models)) {
    auto* step = new QPushButton(tr("Step %1: no download needed").arg(start->name));
    step->setObjectName("stepBundled");
    step->setProperty("primary", true);
    step->setToolTip(start->drafter.isEmpty()
                         ? tr("Opens it with a prompt; then press Step (F10)")
                         : tr("Opens it with a prompt and its drafter; then press Step (F10)"));
    connect(step, &QPushButton::clicked, this, [this, start = *start] { Q_EMIT bundledWanted(start); });
    bundled_->addWidget(step);
  }
  for (const ModelEntry& model : bundled) bundled_->addWidget(modelButton(model));
  int shown = 0;
  for (const ModelEntry& model : models)
    if (model.file.source != "bundled" && shown++ < 8) models_->addWidget(modelButton(model));
  if (shown == 0)
    none(models_, tr("None found. packaging/fetch-model brings SmolLM2, or open a GGUF file or a Hugging "
                     "Face folder."));
}

QPushButton* StartPage::modelButton(const ModelEntry& model) {
  QString what =
      bytesText(model.file.bytes) + QStringLiteral(" · ") + QString::fromStdString(model.file.format);
  if (model.described && model.problem.isEmpty())
    what += tr(" · %1 parameters · %2")
                .arg(ModelCatalog::parametersText(model.info.parameters),
                     QString::fromStdString(model.info.fileType));
  auto* button = new ElidingButton(QString::fromStdString(model.file.name) + QStringLiteral("    ") + what);
  button->setToolTip(QString::fromStdString(model.file.path) +
                     (model.problem.isEmpty() ? QString() : QStringLiteral("\n") + model.problem));
  button->setEnabled(model.problem.isEmpty());
  connect(button, &QPushButton::clicked, this,
          [this, name = QString::fromStdString(model.file.name)] { Q_EMIT modelWanted(name); });
  return button;
}

}  // namespace decoscope
