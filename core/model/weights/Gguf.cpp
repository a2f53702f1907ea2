// GGUF versions 2 and 3, little-endian. Nothing is believed before it was compared with the file's size.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "core/model/weights/ElementTypes.h"
#include "core/model/weights/Gguf.h"

namespace decoscope {

namespace {

constexpr std::uint64_t kMaximumDimensions = 4;
// A sparse file can be of any size on any disk, so its size alone bounds nothing. With these no header takes
// more than 512 MiB of memory; vocabularies of today have some 260 000 entries, models some 100 000 tensors.
constexpr std::uint64_t kMaximumHeader = 128ull << 20, kMaximumString = 64ull << 20,
                        kMaximumKeys = 1ull << 16, kMaximumTensors = 1ull << 18, kMaximumItems = 1ull << 23;

enum class ValueType : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, text, array, u64, i64, f64 };

class GgufReader {
 public:
  GgufReader(std::shared_ptr<const MappedFile> file, GgufDepth depth)
      : file_(std::move(file)), bytes_(file_->bytes()), depth_(depth) {}

  Result<GgufShard> read() {
    if (bytes_.size() < 4 || std::memcmp(bytes_.data(), "GGUF", 4) != 0)
      return fail(ErrorCode::badInput, "this is not a GGUF file", place("magic", 0),
                  "GGUF files begin with the bytes 'GGUF'.");
    at_ = 4;
    DECOSCOPE_ASSIGN(const auto version, number<std::uint32_t>("version"));
    if (version != 0 && (version & 0xFFFF) == 0)
      return fail(ErrorCode::unsupported, "big-endian GGUF files are not supported", place("version", 4),
                  "Convert it with gguf_convert_endian.py of llama.cpp.");
    if (version < 2 || version > 3)
      return fail(ErrorCode::unsupported, "GGUF version " + std::to_string(version) + " is not supported",
                  place("version", 4), "Versions 2 and 3 are: convert the model again.");
    DECOSCOPE_ASSIGN(const auto tensorCount, number<std::uint64_t>("tensor_count"));
    DECOSCOPE_ASSIGN(const auto metadataCount, number<std::uint64_t>("metadata_kv_count"));
    // The shortest entries: a key of length 0 with one byte, a tensor with an empty name and no dimension.
    if (metadataCount > std::min(left() / 13, kMaximumKeys))
      return tooMany("metadata_kv_count", metadataCount, 16);
    if (tensorCount > std::min(left() / 24, kMaximumTensors)) return tooMany("tensor_count", tensorCount, 8);
    for (std::uint64_t i = 0; i < metadataCount; ++i) DECOSCOPE_TRY(readMetadata());
    shard_.tensorCount = tensorCount;
    if (depth_ != GgufDepth::metadata) {
      for (std::uint64_t i = 0; i < tensorCount; ++i) DECOSCOPE_TRY(readTensorHeader());
      DECOSCOPE_TRY(placeTensors());
    }
    shard_.file = std::move(file_);
    return std::move(shard_);
  }

 private:
  std::uint64_t left() const { return bytes_.size() - at_; }
  std::string place(const std::string& field, std::uint64_t offset) const {
    return file_->path() + ", field " + field + ", byte " + std::to_string(offset);
  }
  tl::unexpected<Error> truncated(const std::string& field) const {
    return fail(ErrorCode::badInput, "the file ends in the middle of its header", place(field, at_),
                "Download or copy it again.");
  }
  tl::unexpected<Error> tooMany(const std::string& field, std::uint64_t count, std::uint64_t offset) const {
    return fail(ErrorCode::badInput,
                "the header claims " + std::to_string(count) +
                    " entries, more than the file can hold or than are read",
                place(field, offset), "The file is damaged or truncated.");
  }

  template <typename T>
  Result<T> number(const std::string& field) {
    if (left() < sizeof(T)) return truncated(field);
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }
  // Where a string lies; at_ is behind it.
  Result<std::string_view> string(const std::string& field) {
    DECOSCOPE_ASSIGN(const auto length, number<std::uint64_t>(field));
    if (length > left())
      return fail(ErrorCode::badInput,
                  "a string claims " + std::to_string(length) + " bytes, more than the file holds",
                  place(field, at_));
    if (length > kMaximumString)
      return fail(ErrorCode::badInput, "a string claims " + std::to_string(length) + " bytes",
                  place(field, at_), "Up to 64 MiB are read; the file is damaged.");
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data() + at_), length);
    DECOSCOPE_TRY(advance(length, field));
    return text;
  }
  Status advance(std::uint64_t size, const std::string& field) {
    at_ += size;
    if (at_ > kMaximumHeader)
      return fail(ErrorCode::badInput, "the header is larger than 128 MiB", place(field, at_),
                  "The file is damaged.");
    return {};
  }

  static std::size_t sizeOf(ValueType type) {
    static constexpr std::size_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 0, 8, 8, 8};
    return kSizes[static_cast<std::size_t>(type)];
  }

  // Any scalar number: as the integer it is, or as a double.
  Result<std::variant<std::int64_t, std::uint64_t, double>> scalar(ValueType type, const std::string& key) {
    using Scalar = std::variant<std::int64_t, std::uint64_t, double>;
    const auto widen = [](auto value, auto wide) {
      return value.map([&](auto v) { return Scalar(static_cast<decltype(wide)>(v)); });
    };
    switch (type) {
      case ValueType::u8:
      case ValueType::boolean:
        return widen(number<std::uint8_t>(key), std::uint64_t{});
      case ValueType::i8:
        return widen(number<std::int8_t>(key), std::int64_t{});
      case ValueType::u16:
        return widen(number<std::uint16_t>(key), std::uint64_t{});
      case ValueType::i16:
        return widen(number<std::int16_t>(key), std::int64_t{});
      case ValueType::u32:
        return widen(number<std::uint32_t>(key), std::uint64_t{});
      case ValueType::i32:
        return widen(number<std::int32_t>(key), std::int64_t{});
      case ValueType::f32:
        return widen(number<float>(key), double{});
      case ValueType::u64:
        return widen(number<std::uint64_t>(key), std::uint64_t{});
      case ValueType::i64:
        return widen(number<std::int64_t>(key), std::int64_t{});
      case ValueType::f64:
        return widen(number<double>(key), double{});
      default:
        return fail(ErrorCode::badInput, "not a number", place(key, at_));
    }
  }

  Result<ValueType> valueType(const std::string& key) {
    DECOSCOPE_ASSIGN(const auto type, number<std::uint32_t>(key));
    if (type > 12)
      return fail(ErrorCode::badInput, "unknown metadata type " + std::to_string(type), place(key, at_ - 4));
    return static_cast<ValueType>(type);
  }

  Status readMetadata() {
    const std::uint64_t begin = at_;
    DECOSCOPE_ASSIGN(const std::string_view view, string("metadata key"));
    const std::string key(view);
    DECOSCOPE_ASSIGN(const ValueType type, valueType(key));
    if (shard_.metadata.contains(key))
      return fail(ErrorCode::badInput, "the metadata key '" + key + "' stands twice", place(key, begin));
    if (type == ValueType::text) {
      DECOSCOPE_ASSIGN(const std::string_view text, string(key));
      shard_.metadata[key] = std::string(text);
    } else if (type == ValueType::array) {
      DECOSCOPE_TRY(readArray(key));
    } else {
      DECOSCOPE_ASSIGN(const auto value, scalar(type, key));
      if (type == ValueType::boolean)
        shard_.metadata[key] = std::get<std::uint64_t>(value) != 0;
      else
        std::visit([&](auto v) { shard_.metadata[key] = MetadataValue(v); }, value);
    }
    return {};
  }

  Status readArray(const std::string& key) {
    DECOSCOPE_ASSIGN(const ValueType type, valueType(key));
    DECOSCOPE_ASSIGN(const auto count, number<std::uint64_t>(key));
    if (type == ValueType::array)
      return fail(ErrorCode::unsupported, "arrays of arrays are not supported", place(key, at_));
    if (count > left() / sizeOf(type)) return tooMany(key, count, at_ - 8);
    if (depth_ != GgufDepth::all) return skipArray(type, count, key);
    if (count > kMaximumItems - items_) return tooMany(key, count, at_ - 8);
    items_ += count;
    if (type == ValueType::text) {
      std::vector<std::string> values;
      values.reserve(count);
      for (std::uint64_t i = 0; i < count; ++i) {
        DECOSCOPE_ASSIGN(const std::string_view value, string(key));
        values.emplace_back(value);
      }
      shard_.metadata[key] = std::move(values);
    } else if (type == ValueType::f32 || type == ValueType::f64) {
      DECOSCOPE_ASSIGN(shard_.metadata[key], numbers<double>(type, count, key));
    } else {
      DECOSCOPE_ASSIGN(shard_.metadata[key], numbers<std::int64_t>(type, count, key));
    }
    return {};
  }

  template <typename T>
  Result<std::vector<T>> numbers(ValueType type, std::uint64_t count, const std::string& key) {
    std::vector<T> values;
    values.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) {
      DECOSCOPE_ASSIGN(const auto value, scalar(type, key));
      std::visit([&](auto number) { values.push_back(static_cast<T>(number)); }, value);
    }
    return values;
  }

  Status skipArray(ValueType type, std::uint64_t count, const std::string& key) {
    if (type != ValueType::text) return advance(count * sizeOf(type), key);
    for (std::uint64_t i = 0; i < count; ++i) DECOSCOPE_TRY(string(key));
    return {};
  }

  Status readTensorHeader() {
    const std::uint64_t begin = at_;
    DECOSCOPE_ASSIGN(const std::string_view view, string("tensor name"));
    const std::string name(view);
    DECOSCOPE_ASSIGN(const auto dimensions, number<std::uint32_t>(name));
    if (dimensions > kMaximumDimensions)
      return fail(ErrorCode::badInput,
                  "tensor '" + name + "' claims " + std::to_string(dimensions) + " dimensions",
                  place(name, at_ - 4), "GGUF allows up to four.");
    WeightTensor tensor;
    tensor.name = name;
    std::uint64_t elements = 1;
    for (std::uint32_t i = 0; i < dimensions; ++i) {
      DECOSCOPE_ASSIGN(const auto size, number<std::uint64_t>(name));
      if (size > (1ull << 40) || (size > 0 && elements > (1ull << 48) / size))
        return fail(ErrorCode::badInput,
                    "tensor '" + name + "' claims a dimension of " + std::to_string(size),
                    place(name, at_ - 8), "The file is damaged.");
      elements *= size;
      tensor.shape.insert(tensor.shape.begin(), static_cast<std::int64_t>(size));
    }
    DECOSCOPE_ASSIGN(const auto typeId, number<std::uint32_t>(name));
    DECOSCOPE_ASSIGN(const auto offset, number<std::uint64_t>(name));
    const ElementTraits* type = ggmlTraits(typeId);
    if (!type)
      return fail(ErrorCode::unsupported,
                  "tensor '" + name + "' has the unknown type " + std::to_string(typeId), place(name, begin));
    const auto row = tensor.shape.empty() ? 1 : static_cast<std::uint64_t>(tensor.shape.back());
    if (row % type->blockLength != 0)
      return fail(
          ErrorCode::badInput,
          "rows of tensor '" + name + "' are not whole blocks of " + std::to_string(type->blockLength),
          place(name, begin));
    tensor.type = type->type;
    tensor.typeName = type->name;
    pending_.push_back({offset, elements / type->blockLength * type->blockBytes});
    shard_.tensors.push_back(std::move(tensor));
    return {};
  }

  Status placeTensors() {
    const std::int64_t alignment = metadataInteger(shard_, "general.alignment", 32);
    if (alignment < 1 || alignment > (1 << 20) || (alignment & (alignment - 1)) != 0)
      return fail(ErrorCode::badInput,
                  "the alignment " + std::to_string(alignment) + " is not a power of two",
                  file_->path() + ", field general.alignment");
    const auto step = static_cast<std::uint64_t>(alignment);
    const std::uint64_t base = (at_ + step - 1) / step * step;
    for (std::size_t i = 0; i < shard_.tensors.size(); ++i) {
      const auto [offset, size] = pending_[i];
      if (offset % step != 0)
        return fail(ErrorCode::badInput, "tensor '" + shard_.tensors[i].name + "' is not aligned",
                    file_->path() + ", offset " + std::to_string(offset));
      if (base > bytes_.size() || offset > bytes_.size() - base || size > bytes_.size() - base - offset)
        return fail(ErrorCode::badInput,
                    "tensor '" + shard_.tensors[i].name + "' reaches beyond the end of the file",
                    file_->path() + ", byte " + std::to_string(base) + " + " + std::to_string(offset),
                    "The file is truncated: download or copy it again.");
      shard_.tensors[i].data = bytes_.subspan(base + offset, size);
      shard_.tensors[i].mapped = file_->mapped();
    }
    std::vector<std::size_t> order(shard_.tensors.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return pending_[a] < pending_[b]; });
    for (std::size_t i = 1; i < order.size(); ++i) {
      const auto [offset, size] = pending_[order[i - 1]];
      if (pending_[order[i]].second > 0 && offset + size > pending_[order[i]].first)
        return fail(ErrorCode::badInput,
                    "tensors '" + shard_.tensors[order[i - 1]].name + "' and '" +
                        shard_.tensors[order[i]].name + "' lie on the same bytes",
                    file_->path() + ", offset " + std::to_string(pending_[order[i]].first),
                    "The file is damaged.");
    }
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return shard_.tensors[a].name < shard_.tensors[b].name; });
    for (std::size_t i = 1; i < order.size(); ++i)
      if (shard_.tensors[order[i]].name == shard_.tensors[order[i - 1]].name)
        return fail(ErrorCode::badInput, "tensor '" + shard_.tensors[order[i]].name + "' stands twice",
                    file_->path(), "The file is damaged.");
    return {};
  }

  std::shared_ptr<const MappedFile> file_;
  std::span<const std::byte> bytes_;
  GgufDepth depth_;
  std::uint64_t at_ = 0, items_ = 0;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> pending_;  // offset and size of each tensor
  GgufShard shard_;
};

}  // namespace

Result<GgufShard> readGguf(std::shared_ptr<const MappedFile> file, GgufDepth depth) {
  return GgufReader(std::move(file), depth).read();
}

}  // namespace decoscope
