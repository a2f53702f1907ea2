// config.json as a stranger writes it.
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/model/torch/Architecture.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)decoscope::architectureFromConfig(std::string(reinterpret_cast<const char*>(data), size),
                                          "config.json");
  return 0;
}
