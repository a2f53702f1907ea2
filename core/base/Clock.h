#pragma once

#include <cstdint>

namespace decoscope {

// Microseconds since the Unix epoch, as records have them.
std::int64_t microsecondsSinceEpoch();

}  // namespace decoscope
