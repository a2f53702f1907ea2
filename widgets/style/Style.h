// One look for the whole application: palette, style sheet and fonts from the theme that the figures use. GUI
// thread.
#pragma once

#include <QColor>
#include <QFont>
#include <QObject>

#include "core/figure/Theme.h"

namespace decoscope::style {

QFont interfaceFont();  // Inter, then the system's
QFont tokenFont();      // JetBrains Mono, tabular figures, then the system's fixed font
// Tokens are shown letter by letter: "<|" must not become one sign. For painting only, not for copying.
QString withoutLigatures(const QString& text);
inline QColor colour(Colour c) {
  return {c.r, c.g, c.b, c.a};
}

// The theme in use; `apply` changes palette and style sheet of the application at once, and `changed` tells
// those who paint.
const Theme& theme();
class Notifier : public QObject {
  Q_OBJECT
 Q_SIGNALS:
  void changed();
};
Notifier& notifier();
void apply(const Theme& theme);

bool reducedMotion();
void setReducedMotion(bool reduced);

}  // namespace decoscope::style
