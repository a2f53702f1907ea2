#include "widgets/models/Numbers.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace decoscope {

QString rounded(double value, int digits) {
  if (std::isnan(value)) return QStringLiteral("–");
  if (std::isinf(value)) return value > 0 ? QStringLiteral("∞") : QStringLiteral("−∞");
  if (value != 0 && std::abs(value) < std::pow(10.0, -digits)) return QString::number(value, 'e', 2);
  // As many digits for large numbers as for small ones.
  const int large = std::abs(value) >= 10 ? static_cast<int>(std::log10(std::abs(value))) : 0;
  return QString::number(value, 'f', std::max(1, digits - large));
}

QString significant(double value, int digits) {
  return std::isfinite(value) ? QString::number(value, 'g', digits) : rounded(value);
}

QString exactText(double value) {
  if (std::isnan(value)) return QStringLiteral("not known");
  char buffer[32];
  return QString::fromLatin1(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr - buffer);
}

QString milliseconds(double value) {
  return QString::number(value, 'f', value < 10 ? 2 : 1) + QStringLiteral(" ms");
}

QString bytesText(std::int64_t bytes) {
  return bytes >= 1'000'000'000 ? QStringLiteral("%1 GB").arg(static_cast<double>(bytes) / 1e9, 0, 'f', 2)
         : bytes < 1'000'000    ? QStringLiteral("%1 kB").arg(bytes / 1000)
                                : QStringLiteral("%1 MB").arg(bytes / 1'000'000);
}

}  // namespace decoscope
