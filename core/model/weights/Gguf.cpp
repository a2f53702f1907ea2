// GGUF versions 2 and 3, little-endian. Nothing is believed before it was compared with the file's size.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "core/model/weights/ElementTypes.h"
#include "core/model/weights/Readers.h"

namespace decoscope {

namespace {

constexpr std::uint64_t kMaximumDimensions = 4;
// A sparse file can be of any size on any disk, so its size alone bounds nothing.
constexpr std::uint64_t kMaximumString = 64ull << 20, kMaximumArray = 1ull << 24, kMaximumHeader = 1ull << 30,
                        kMaximumEntries = 1ull << 20;

enum class ValueType : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, text, array, u64, i64, f64 };

class GgufFile final : public WeightFile {
 public:
  explicit GgufFile(std::shared_ptr<const MappedFile> file) : file_(std::move(file)) {}
  const std::string& path() const override { return file_->path(); }
  std::string format() const override { return "gguf"; }
  const std::vector<WeightTensor>& tensors() const override { return tensors_; }
  const std::map<std::string, MetadataValue, std::less<>>& metadata() const override { return metadata_; }

  Status read() {
    bytes_ = file_->bytes();
    at_ = 4;
    DECOSCOPE_ASSIGN(const auto version, number<std::uint32_t>("version"));
    if (version < 2 || version > 3)
      return fail(ErrorCode::unsupported, "GGUF version " + std::to_string(version) + " is not supported",
                  place("version", 4), "Versions 2 and 3 are.");
    DECOSCOPE_ASSIGN(const auto tensorCount, number<std::uint64_t>("tensor_count"));
    DECOSCOPE_ASSIGN(const auto metadataCount, number<std::uint64_t>("metadata_kv_count"));
    // The shortest entries: a key of length 0 with one byte, a tensor with an empty name and one dimension.
    if (metadataCount > std::min(left() / 13, kMaximumEntries))
      return tooMany("metadata_kv_count", metadataCount, 16);
    if (tensorCount > std::min(left() / 32, kMaximumEntries)) return tooMany("tensor_count", tensorCount, 8);
    for (std::uint64_t i = 0; i < metadataCount; ++i) DECOSCOPE_TRY(readMetadata());
    for (std::uint64_t i = 0; i < tensorCount; ++i) DECOSCOPE_TRY(readTensorHeader());
    return placeTensors();
  }

 private:
  std::uint64_t left() const { return bytes_.size() - at_; }
  std::string place(const std::string& field, std::uint64_t offset) const {
    return path() + ", field " + field + ", byte " + std::to_string(offset);
  }
  tl::unexpected<Error> truncated(const std::string& field) const {
    return fail(ErrorCode::badInput, "the file ends in the middle of its header", place(field, at_),
                "Download or copy it again.");
  }
  tl::unexpected<Error> tooMany(const std::string& field, std::uint64_t count, std::uint64_t offset) const {
    return fail(ErrorCode::badInput,
                "the header claims " + std::to_string(count) + " entries, more than the file can hold",
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
  Result<std::string> string(const std::string& field) {
    DECOSCOPE_ASSIGN(const auto length, number<std::uint64_t>(field));
    if (length > left())
      return fail(ErrorCode::badInput,
                  "a string claims " + std::to_string(length) + " bytes, more than the file holds",
                  place(field, at_));
    if (length > kMaximumString)
      return fail(ErrorCode::badInput, "a string claims " + std::to_string(length) + " bytes",
                  place(field, at_), "Up to 64 MiB are read; the file is damaged.");
    if (at_ > kMaximumHeader)
      return fail(ErrorCode::badInput, "the header is larger than 1 GiB", place(field, at_),
                  "The file is damaged.");
    std::string value(reinterpret_cast<const char*>(bytes_.data() + at_), length);
    at_ += length;
    return value;
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
    DECOSCOPE_ASSIGN(const std::string key, string("metadata key"));
    DECOSCOPE_ASSIGN(const ValueType type, valueType(key));
    if (metadata_.contains(key))
      return fail(ErrorCode::badInput, "the metadata key '" + key + "' stands twice", place(key, begin));
    if (type == ValueType::text) {
      DECOSCOPE_ASSIGN(metadata_[key], string(key));
    } else if (type == ValueType::array) {
      DECOSCOPE_TRY(readArray(key));
    } else {
      DECOSCOPE_ASSIGN(const auto value, scalar(type, key));
      if (type == ValueType::boolean)
        metadata_[key] = std::get<std::uint64_t>(value) != 0;
      else
        std::visit([&](auto v) { metadata_[key] = MetadataValue(v); }, value);
    }
    return {};
  }

  Status readArray(const std::string& key) {
    DECOSCOPE_ASSIGN(const ValueType type, valueType(key));
    DECOSCOPE_ASSIGN(const auto count, number<std::uint64_t>(key));
    if (type == ValueType::array)
      return fail(ErrorCode::unsupported, "arrays of arrays are not supported", place(key, at_));
    if (count > std::min(left() / sizeOf(type), kMaximumArray)) return tooMany(key, count, at_ - 8);
    if (type == ValueType::text) {
      std::vector<std::string> values;
      values.reserve(count);
      for (std::uint64_t i = 0; i < count; ++i) {
        DECOSCOPE_ASSIGN(std::string value, string(key));
        values.push_back(std::move(value));
      }
      metadata_[key] = std::move(values);
      return {};
    }
    const bool real = type == ValueType::f32 || type == ValueType::f64;
    std::vector<std::int64_t> integers;
    std::vector<double> reals;
    for (std::uint64_t i = 0; i < count; ++i) {
      DECOSCOPE_ASSIGN(const auto value, scalar(type, key));
      if (real)
        reals.push_back(std::get<double>(value));
      else if (const auto* wide = std::get_if<std::uint64_t>(&value))
        integers.push_back(static_cast<std::int64_t>(*wide));
      else
        integers.push_back(std::get<std::int64_t>(value));
    }
    if (real)
      metadata_[key] = std::move(reals);
    else
      metadata_[key] = std::move(integers);
    return {};
  }

  Status readTensorHeader() {
    const std::uint64_t begin = at_;
    DECOSCOPE_ASSIGN(const std::string name, string("tensor name"));
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
    tensors_.push_back(std::move(tensor));
    return {};
  }

  Status placeTensors() {
    const std::int64_t alignment = integer("general.alignment", 32);
    if (alignment < 1 || alignment > (1 << 20) || (alignment & (alignment - 1)) != 0)
      return fail(ErrorCode::badInput,
                  "the alignment " + std::to_string(alignment) + " is not a power of two",
                  path() + ", field general.alignment");
    const auto step = static_cast<std::uint64_t>(alignment);
    const std::uint64_t base = (at_ + step - 1) / step * step;
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const auto [offset, size] = pending_[i];
      if (offset % step != 0)
        return fail(ErrorCode::badInput, "tensor '" + tensors_[i].name + "' is not aligned",
                    path() + ", offset " + std::to_string(offset));
      if (base > bytes_.size() || offset > bytes_.size() - base || size > bytes_.size() - base - offset)
        return fail(ErrorCode::badInput,
                    "tensor '" + tensors_[i].name + "' reaches beyond the end of the file",
                    path() + ", byte " + std::to_string(base) + " + " + std::to_string(offset),
                    "The file is truncated: download or copy it again.");
      tensors_[i].data = bytes_.subspan(base + offset, size);
    }
    std::vector<std::size_t> order(tensors_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return pending_[a] < pending_[b]; });
    for (std::size_t i = 1; i < order.size(); ++i) {
      const auto [offset, size] = pending_[order[i - 1]];
      if (pending_[order[i]].second > 0 && offset + size > pending_[order[i]].first)
        return fail(ErrorCode::badInput,
                    "tensors '" + tensors_[order[i - 1]].name + "' and '" + tensors_[order[i]].name +
                        "' lie on the same bytes",
                    path() + ", offset " + std::to_string(pending_[order[i]].first), "The file is damaged.");
    }
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return tensors_[a].name < tensors_[b].name; });
    for (std::size_t i = 1; i < order.size(); ++i)
      if (tensors_[order[i]].name == tensors_[order[i - 1]].name)
        return fail(ErrorCode::badInput, "tensor '" + tensors_[order[i]].name + "' stands twice", path(),
                    "The file is damaged.");
    return {};
  }

  std::shared_ptr<const MappedFile> file_;
  std::span<const std::byte> bytes_;
  std::uint64_t at_ = 0;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> pending_;  // offset and size of each tensor
  std::vector<WeightTensor> tensors_;
  std::map<std::string, MetadataValue, std::less<>> metadata_;
};

}  // namespace

Result<std::shared_ptr<const WeightFile>> openGguf(std::shared_ptr<const MappedFile> file) {
  auto reader = std::make_shared<GgufFile>(std::move(file));
  DECOSCOPE_TRY(reader->read());
  return std::shared_ptr<const WeightFile>(std::move(reader));
}

}  // namespace decoscope
