#include "core/base/Hash.h"

#include <sstream>

namespace decoscope {

std::string fnvFingerprint(std::string_view bytes) {
  std::ostringstream out;
  out << "fnv1a:" << std::hex << fnv(bytes);
  return out.str();
}

}  // namespace decoscope
