#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/Status.h"

namespace decoscope::cli {

// Collects tensors and writes them as one safetensors file.
class SafetensorsWriter {
 public:
  void add(const std::string& name, const std::vector<std::int64_t>& shape, const std::vector<float>& values);
  void add(const std::string& name, const std::vector<std::int64_t>& shape,
           const std::vector<std::int64_t>& values);
  Status write(const std::string& path) const;

 private:
  struct Entry {
    std::string name, type;
    std::vector<std::int64_t> shape;
    std::string bytes;
  };
  std::vector<Entry> entries_;
};

}  // namespace decoscope::cli
