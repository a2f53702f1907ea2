// Writes tensors as one safetensors file.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/base/Status.h"

namespace decoscope {

class SafetensorsWriter {
 public:
  void add(const std::string& name, const std::vector<std::int64_t>& shape, const std::vector<float>& values);
  void add(const std::string& name, const std::vector<std::int64_t>& shape,
           const std::vector<std::int64_t>& values);
  // Rounded to the nearest bf16, ties to even.
  void addBfloat16(const std::string& name, const std::vector<std::int64_t>& shape,
                   const std::vector<float>& values);
  // Free text beside the tensors.
  void note(const std::string& key, const std::string& value) { notes_[key] = value; }
  // Writes beside `path` first and puts it in place when it is whole. Error failed where the disk refuses.
  Status write(const std::string& path) const;

 private:
  struct Entry {
    std::string name, type;
    std::vector<std::int64_t> shape;
    std::string bytes;
  };
  std::vector<Entry> entries_;
  std::map<std::string, std::string> notes_;
};

}  // namespace decoscope
