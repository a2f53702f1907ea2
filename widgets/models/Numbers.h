// How numbers are shown: rounded for reading, every digit for copying.
#pragma once

#include <QString>
#include <cstdint>

namespace decoscope {

QString rounded(double value, int digits = 4);      // "0.4023"; "–" when not known
QString significant(double value, int digits = 6);  // "2.46633", "8.22467e-10"
QString exactText(double value);        // the fewest digits that read back to the same number; "not known"
QString milliseconds(double value);     // "17.9 ms"
QString bytesText(std::int64_t bytes);  // "93 MB"

}  // namespace decoscope
