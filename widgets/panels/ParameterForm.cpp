#include "widgets/panels/ParameterForm.h"

#include <QCheckBox>
#include <QComboBox>
#include <QFormLayout>
#include <QLabel>
#include <QLineEdit>
#include <QSignalBlocker>
#include <QStyle>

namespace decoscope {

ParameterForm::ParameterForm(QWidget* parent) : QWidget(parent), form_(new QFormLayout(this)) {
  setObjectName("parameters");
  form_->setContentsMargins(0, 0, 0, 0);
  form_->setVerticalSpacing(5);
  form_->setHorizontalSpacing(10);
  form_->setFieldGrowthPolicy(QFormLayout::AllNonFixedFieldsGrow);
}

void ParameterForm::show(const ParamSchema& schema) {
  filling_ = true;
  while (form_->rowCount() > 0) form_->removeRow(0);
  editors_.clear();
  schema_ = schema;
  std::map<std::string, std::string> kept;
  for (const ParamSpec& spec : schema_.specs()) {
    std::string value = paramText(spec.defaultValue);
    if (const auto before = values_.find(spec.name);
        before != values_.end() && schema_.parse(spec.name, before->second))
      value = before->second;
    kept[spec.name] = value;
    auto* label = new QLabel(QString::fromStdString(spec.title.empty() ? spec.name : spec.title));
    label->setProperty("role", "dim");
    label->setMinimumWidth(kLabelWidth);
    QWidget* editor = editorFor(spec);
    QString help = QString::fromStdString(spec.help);
    if (spec.type == ParamType::integer || spec.type == ParamType::real)
      help +=
          tr("\nfrom %1 to %2%3")
              .arg(spec.minimum)
              .arg(spec.maximum)
              .arg(spec.unit.empty() ? QString() : QStringLiteral(" ") + QString::fromStdString(spec.unit));
    help += tr("\ndefault %1 · --set %2=…")
                .arg(QString::fromStdString(paramText(spec.defaultValue)), QString::fromStdString(spec.name));
    label->setToolTip(help);
    editor->setToolTip(help);
    editor->setAccessibleName(label->text());
    editor->setObjectName("parameter." + QString::fromStdString(spec.name));
    form_->addRow(label, editor);
    editors_[spec.name] = editor;
  }
  values_ = std::move(kept);
  for (const ParamSpec& spec : schema_.specs())
    if (const auto value = schema_.parse(spec.name, values_[spec.name]))
      write(spec, editors_[spec.name], *value);
  filling_ = false;
}

QWidget* ParameterForm::editorFor(const ParamSpec& spec) {
  const std::string name = spec.name;
  if (spec.type == ParamType::boolean) {
    auto* box = new QCheckBox;
    connect(box, &QCheckBox::toggled, this, [this, spec](bool on) { take(spec, on ? "true" : "false"); });
    return box;
  }
  if (spec.type == ParamType::choice) {
    auto* box = new QComboBox;
    for (const std::string& choice : spec.choices) box->addItem(QString::fromStdString(choice));
    connect(box, &QComboBox::currentTextChanged, this,
            [this, spec](const QString& text) { take(spec, text.toStdString()); });
    return box;
  }
  // Numbers are typed as text: a spin box would round what it shows.
  auto* edit = new QLineEdit;
  if (spec.type != ParamType::text) edit->setAlignment(Qt::AlignRight);
  connect(edit, &QLineEdit::textEdited, this,
          [this, spec](const QString& text) { take(spec, text.trimmed().toStdString()); });
  return edit;
}

void ParameterForm::write(const ParamSpec& spec, QWidget* editor, const ParamValue& value) {
  const QSignalBlocker blocker(editor);
  if (auto* box = qobject_cast<QCheckBox*>(editor))
    box->setChecked(std::get<bool>(value));
  else if (auto* choice = qobject_cast<QComboBox*>(editor))
    choice->setCurrentText(QString::fromStdString(std::get<std::string>(value)));
  else if (auto* edit = qobject_cast<QLineEdit*>(editor))
    edit->setText(QString::fromStdString(paramText(value)));
  values_[spec.name] = paramText(value);
}

void ParameterForm::take(const ParamSpec& spec, const std::string& value) {
  if (filling_) return;
  QWidget* editor = editors_.at(spec.name);
  const auto parsed = schema_.parse(spec.name, value);
  editor->setProperty("invalid", !parsed);
  editor->style()->unpolish(editor);
  editor->style()->polish(editor);
  if (!parsed) {
    editor->setToolTip(QString::fromStdString(parsed.error().text()));
    return;
  }
  editor->setToolTip(QString::fromStdString(spec.help));
  values_[spec.name] = value;
  Q_EMIT changedBy(QString::fromStdString(spec.name));
  Q_EMIT changed();
}

void ParameterForm::setValues(const ParamSet& values) {
  for (const ParamSpec& spec : schema_.specs())
    if (const auto found = values.values().find(spec.name);
        found != values.values().end() && schema_.parse(spec.name, paramText(found->second)))
      write(spec, editors_.at(spec.name), found->second);
}

void ParameterForm::resetToDefaults() {
  for (const ParamSpec& spec : schema_.specs()) write(spec, editors_.at(spec.name), spec.defaultValue);
  Q_EMIT changed();
}

std::vector<std::string> ParameterForm::assignments(bool complete) const {
  std::vector<std::string> result;
  for (const ParamSpec& spec : schema_.specs())
    if (const std::string& value = values_.at(spec.name); complete || value != paramText(spec.defaultValue))
      result.push_back(spec.name + "=" + value);
  return result;
}

}  // namespace decoscope
