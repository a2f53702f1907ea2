// Weight containers as named, typed, memory-mapped tensors: one interface over GGUF and safetensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/base/Status.h"

namespace decoscope {

enum class ElementType { f32, f16, bf16, q8_0, q4_0, q4_1, f64, i64, i32, i16, i8, u8, boolean, other };
const char* elementTypeName(ElementType type);  // "F32", "Q4_1", …

struct WeightTensor {
  std::string name;
  ElementType type = ElementType::other;
  std::string typeName;             // as the file calls it, also for types we cannot read
  std::vector<std::int64_t> shape;  // row-major: the last dimension is contiguous (GGUF's order reversed)
  std::span<const std::byte> data;  // into the map; valid as long as the file object
  std::int64_t elements() const;
};

// A GGUF metadata value. Arrays of strings and of integers keep their types; others are flattened to double.
using MetadataValue = std::variant<std::uint64_t, std::int64_t, double, bool, std::string,
                                   std::vector<std::string>, std::vector<std::int64_t>, std::vector<double>>;

// Immutable and safe to share between threads. The map stays open as long as the object lives.
class WeightFile {
 public:
  virtual ~WeightFile() = default;
  virtual const std::string& path() const = 0;
  virtual std::string format() const = 0;  // "gguf", "safetensors"
  virtual const std::vector<WeightTensor>& tensors() const = 0;
  const WeightTensor* find(std::string_view name) const;  // null when absent
  // GGUF metadata; empty for safetensors.
  virtual const std::map<std::string, MetadataValue, std::less<>>& metadata() const = 0;

  std::int64_t integer(std::string_view key, std::int64_t fallback) const;
  double real(std::string_view key, double fallback) const;
  std::string text(std::string_view key, std::string fallback = {}) const;
};

// Opens and checks the whole header before returning: every count, length and offset against the file size,
// with overflow-safe arithmetic. Errors name the field and byte offset. `path` may be a .gguf, a
// .safetensors, or a folder with model.safetensors or model.safetensors.index.json.
Result<std::shared_ptr<const WeightFile>> openWeights(const std::string& path);

// Decodes elements [begin, begin + out.size()) of a tensor to f32; begin and size must be multiples of 32 for
// block types. Error unsupported for types that have no decoder yet, naming the type.
Status dequantise(const WeightTensor& tensor, std::int64_t begin, std::span<float> out);

// "sha256:…" of a file, or of all weight files of a folder in the order of their names.
Result<std::string> fileDigest(const std::string& path);

}  // namespace decoscope
