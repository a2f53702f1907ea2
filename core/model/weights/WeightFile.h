// Weight containers as named, typed, memory-mapped tensors: one interface over GGUF and safetensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "core/base/Status.h"

namespace decoscope {

enum class ElementType {
  f32,
  f16,
  bf16,
  f64,
  i8,
  i16,
  i32,
  i64,
  u8,
  u16,
  u32,
  u64,
  boolean,
  f8E4M3,
  f8E5M2,
  f8E4M3Fnuz,
  f8E5M2Fnuz,
  f8E8M0,
  f6E2M3,
  f6E3M2,
  f4,
  c64,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q8_1,
  q1_0,
  q2K,
  q3K,
  q4K,
  q5K,
  q6K,
  q8K,
  iq1S,
  iq1M,
  iq2Xxs,
  iq2Xs,
  iq2S,
  iq3Xxs,
  iq3S,
  iq4Nl,
  iq4Xs,
  tq1_0,
  tq2_0,
  mxfp4,
  nvfp4,
  other
};
const char* elementTypeName(ElementType type);  // "F32", "Q4_1", …
std::int64_t blockLength(ElementType type);     // elements that are stored together: 1, 32, 256 …

struct WeightTensor {
  std::string name;
  ElementType type = ElementType::other;
  std::string typeName;             // as the file calls it, also for types we cannot read
  std::vector<std::int64_t> shape;  // row-major: the last dimension is contiguous (GGUF's order reversed)
  std::span<const std::byte> data;  // into the map; valid as long as the file object
  bool mapped = false;              // `data` lies in a mapping of a file, not in memory of our own
  std::int64_t elements() const;
  // Tells the system that the bytes are not needed soon, so that reading a file once does not keep it in
  // memory beside what was made of it. They can be read again at any time.
  void release() const;
};

// A GGUF metadata value. Arrays of strings and of integers keep their types; others are flattened to double.
using MetadataValue = std::variant<std::uint64_t, std::int64_t, double, bool, std::string,
                                   std::vector<std::string>, std::vector<std::int64_t>, std::vector<double>>;

using Metadata = std::map<std::string, MetadataValue, std::less<>>;

// Immutable and safe to share between threads. The map stays open as long as the object lives.
class WeightFile {
 public:
  virtual ~WeightFile() = default;
  virtual const std::string& path() const = 0;
  virtual std::string format() const = 0;  // "gguf", "safetensors"
  virtual const std::vector<WeightTensor>& tensors() const = 0;
  const WeightTensor* find(std::string_view name) const;  // null when absent
  // GGUF metadata; empty for safetensors.
  virtual const Metadata& metadata() const = 0;

  std::int64_t integer(std::string_view key, std::int64_t fallback) const;
  double real(std::string_view key, double fallback) const;
  std::string text(std::string_view key, std::string fallback = {}) const;

 protected:
  void indexTensors();  // to be called when tensors() is complete

 private:
  std::unordered_map<std::string_view, const WeightTensor*> byName_;
};

// Opens and checks the whole header before returning: every count, length and offset against the file size,
// with overflow-safe arithmetic. Errors name the field and byte offset. `path` may be a GGUF under any name
// (also any one shard of a split model, which opens all of them), a .safetensors file, or a folder with
// model.safetensors or model.safetensors.index.json. PyTorch pickles are refused: they hold programs.
Result<std::shared_ptr<const WeightFile>> openWeights(const std::string& path);

// Whether a file begins as a GGUF does, whatever its name; false when it cannot be read.
bool isGgufFile(const std::string& path);

// The files whose weights openWeights(path) reads: all shards, in the order in which they are numbered or
// named.
Result<std::vector<std::string>> weightFiles(const std::string& path);

// Decodes elements [begin, begin + out.size()) of a tensor to f32; begin and size must be multiples of the
// type's blockLength() (rows always are). The result is the reference's to the last bit, for any bytes;
// integers and F64 are rounded to the nearest f32. Error unsupported for types without a decoder, naming the
// type.
Status dequantise(const WeightTensor& tensor, std::int64_t begin, std::span<float> out);

// "sha256:…" of the bytes of weightFiles(path), one after the other. Digests are kept in the user's cache
// folder, known again by path, size, times and inode; `fresh` reads the files in any case.
enum class DigestSource { cached, fresh };
Result<std::string> fileDigest(const std::string& path, DigestSource source = DigestSource::cached);
// The digest if it is known already; reads no weights.
std::optional<std::string> knownDigest(const std::string& path);

}  // namespace decoscope
