#include "core/base/Clock.h"

#include <chrono>

namespace decoscope {

std::int64_t microsecondsSinceEpoch() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace decoscope
