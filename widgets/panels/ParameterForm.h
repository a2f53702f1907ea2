// A form made from a parameter schema: one row a parameter, with its range, unit and help. GUI thread.
#pragma once

#include <QWidget>
#include <map>
#include <string>
#include <vector>

#include "core/base/ParamSchema.h"

class QFormLayout;

namespace decoscope {

// Rows of other settings that stand with a form line up with it at this width of the label.
inline constexpr int kLabelWidth = 116;

class ParameterForm final : public QWidget {
  Q_OBJECT
 public:
  explicit ParameterForm(QWidget* parent = nullptr);
  // Shows a schema with its defaults; values typed before under the same names are kept where they still fit.
  void show(const ParamSchema& schema);
  // Overlays recorded values.
  void setValues(const ParamSet& values);
  // "name=value" of every parameter that differs from its default, and of all when `complete`.
  std::vector<std::string> assignments(bool complete = false) const;
  void resetToDefaults();

 Q_SIGNALS:
  void changed();
  void changedBy(const QString& name);  // by hand; before changed()

 private:
  QWidget* editorFor(const ParamSpec& spec);
  void write(const ParamSpec& spec, QWidget* editor, const ParamValue& value);
  void take(const ParamSpec& spec, const std::string& value);

  ParamSchema schema_;
  std::map<std::string, std::string> values_;  // text forms, by name
  std::map<std::string, QWidget*> editors_;
  QFormLayout* form_;
  bool filling_ = false;
};

}  // namespace decoscope
