// One safetensors file: eight bytes of length, a JSON header, the data. The header is read as a stream of
// events, so that a hostile one costs no more than its own size.
#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "core/model/weights/ElementTypes.h"
#include "core/model/weights/Readers.h"

namespace decoscope {

namespace {

using nlohmann::json;

constexpr std::uint64_t kMaximumHeader = 100'000'000, kMaximumElements = 1ull << 50;
constexpr std::size_t kMaximumTensors = 1u << 18, kMaximumFields = 1u << 16, kMaximumDimensions = 8;
constexpr int kMaximumDepth = 16;

struct Entry {
  std::string name, type;
  std::vector<std::uint64_t> shape, offsets;
  bool hasType = false, hasShape = false, hasOffsets = false;
};

// Collects the entries; the first thing that cannot be is kept as `problem` and ends the reading.
class HeaderReader final : public nlohmann::json_sax<json> {
 public:
  std::vector<Entry> entries;
  std::string problem;
  std::size_t problemAt = 0;

  bool null() override { return scalar(); }
  bool boolean(bool) override { return scalar(); }
  bool number_integer(std::int64_t) override { return scalar(); }
  bool number_float(double, const std::string&) override { return scalar(); }
  bool binary(json::binary_t&) override { return scalar(); }
  bool number_unsigned(std::uint64_t value) override {
    if (depth_ == 3 && list_) {
      if (list_->size() >= kMaximumDimensions) return refuse("a list of tensor '" + name() + "' is too long");
      list_->push_back(value);
      return true;
    }
    return scalar();
  }
  bool string(std::string& value) override {
    if (depth_ == 2 && !inMetadata_ && key_ == "dtype") {
      entries.back().type = value;
      entries.back().hasType = true;
      return true;
    }
    return scalar();
  }
  bool start_object(std::size_t) override {
    if (depth_ == 0 || (depth_ == 1 && !list_)) return enter();
    if (needed()) return refuseField();
    return enter();
  }
  bool end_object() override {
    --depth_;
    if (depth_ == 1 && !inMetadata_) {
      const Entry& entry = entries.back();
      if (!entry.hasType || !entry.hasShape || !entry.hasOffsets || entry.offsets.size() != 2)
        return refuse("tensor '" + entry.name + "' needs dtype, shape and two data_offsets");
    }
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ < 2) return refuse("the header is not an object of objects");
    if (depth_ == 2 && !inMetadata_ && key_ == "shape") {
      list_ = &entries.back().shape;
      entries.back().hasShape = true;
    } else if (depth_ == 2 && !inMetadata_ && key_ == "data_offsets") {
      list_ = &entries.back().offsets;
      entries.back().hasOffsets = true;
    } else if (needed()) {
      return refuseField();
    }
    return enter();
  }
  bool end_array() override {
    --depth_;
    if (depth_ == 2) list_ = nullptr;
    return true;
  }
  bool key(std::string& key) override {
    if (depth_ == 1) {
      if (!names_.insert(key).second) return refuse("'" + key + "' stands twice");
      inMetadata_ = key == "__metadata__";
      fields_.clear();
      if (!inMetadata_) {
        if (entries.size() >= kMaximumTensors)
          return refuse("there are more than " + std::to_string(kMaximumTensors) + " tensors");
        entries.emplace_back().name = key;
      }
    } else if (depth_ == 2) {
      key_ = key;
      if (fields_.size() >= kMaximumFields) return refuse("'" + name() + "' has too many fields");
      if (!fields_.insert(key).second) return refuse("'" + key + "' of '" + name() + "' stands twice");
    }
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    problem = "the header is not JSON";
    problemAt = position;
    return false;
  }

 private:
  bool refuse(std::string what) {
    problem = std::move(what);
    return false;
  }
  std::string name() const { return inMetadata_ || entries.empty() ? "__metadata__" : entries.back().name; }
  bool needed() const {
    return !inMetadata_ && ((depth_ == 2 && (key_ == "dtype" || key_ == "shape" || key_ == "data_offsets")) ||
                            (depth_ == 3 && list_));
  }
  bool refuseField() {
    return refuse("field " + key_ + " of tensor '" + name() + "' is not what it should be");
  }
  bool scalar() {
    if (depth_ < 2) return refuse("the header is not an object of objects");
    return needed() ? refuseField() : true;
  }
  bool enter() {
    if (++depth_ > kMaximumDepth) return refuse("the header is nested too deeply");
    return true;
  }

  int depth_ = 0;
  bool inMetadata_ = false;
  std::string key_;
  std::vector<std::uint64_t>* list_ = nullptr;
  std::set<std::string, std::less<>> names_, fields_;
};

Result<WeightTensor> tensorOf(const MappedFile& file, Entry& entry, std::span<const std::byte> buffer) {
  const std::string where = file.path() + ", tensor " + entry.name;
  const ElementTraits* type = safetensorsTraits(entry.type);
  if (!type) return fail(ErrorCode::unsupported, "the type " + entry.type + " is not supported", where);
  WeightTensor tensor;
  tensor.type = type->type;
  tensor.typeName = type->name;
  std::uint64_t elements = 1;
  for (const std::uint64_t extent : entry.shape) {
    if (extent > kMaximumElements || (extent != 0 && elements > kMaximumElements / extent))
      return fail(ErrorCode::badInput, "the shape is too large", where);
    elements *= extent;
    tensor.shape.push_back(static_cast<std::int64_t>(extent));
  }
  if (elements % type->blockLength != 0)
    return fail(ErrorCode::badInput, "the elements do not fill whole bytes", where);
  const std::uint64_t size = elements / type->blockLength * type->blockBytes;
  const std::uint64_t from = entry.offsets[0], to = entry.offsets[1];
  if (from > to || to > buffer.size())
    return fail(ErrorCode::badInput, "data_offsets reach beyond the end of the file", where,
                "The file is damaged or truncated: download or copy it again.");
  if (to - from != size)
    return fail(ErrorCode::badInput,
                "shape and dtype need " + std::to_string(size) + " bytes, data_offsets give " +
                    std::to_string(to - from),
                where);
  tensor.data = buffer.subspan(from, size);
  tensor.mapped = file.mapped();
  tensor.name = std::move(entry.name);
  return tensor;
}

// Together the tensors cover the data exactly.
Status checkCover(const MappedFile& file, const std::vector<WeightTensor>& tensors,
                  std::span<const std::byte> buffer) {
  std::vector<std::pair<std::size_t, std::size_t>> spans;
  for (const WeightTensor& tensor : tensors)
    if (!tensor.data.empty()) spans.emplace_back(tensor.data.data() - buffer.data(), tensor.data.size());
  std::sort(spans.begin(), spans.end());
  std::size_t end = 0;
  for (const auto& [from, size] : spans) {
    if (from != end)
      return fail(ErrorCode::badInput, from < end ? "two tensors overlap" : "there is a hole between tensors",
                  file.path() + ", data byte " + std::to_string(from));
    end = from + size;
  }
  if (end != buffer.size())
    return fail(ErrorCode::badInput,
                "the tensors end at byte " + std::to_string(end) + " of " + std::to_string(buffer.size()) +
                    " data bytes",
                file.path(), "The file is damaged or truncated.");
  return {};
}

}  // namespace

Result<std::vector<WeightTensor>> readSafetensors(const MappedFile& file) {
  const auto bytes = file.bytes();
  if (bytes.size() < 8)
    return fail(ErrorCode::badInput, "the file is too short for a safetensors header", file.path());
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  if (length > kMaximumHeader || length > bytes.size() - 8)
    return fail(ErrorCode::badInput, "the header claims " + std::to_string(length) + " bytes",
                file.path() + ", byte 0", "The file is damaged or truncated.");
  const char* begin = reinterpret_cast<const char*>(bytes.data()) + 8;
  HeaderReader header;
  if (length == 0 || *begin != '{') {
    header.problem = "the header does not begin with '{'";
  } else if (!json::sax_parse(begin, begin + length, &header) && header.problem.empty()) {
    header.problem = "the header is not JSON";
  }
  if (!header.problem.empty())
    return fail(ErrorCode::badInput, header.problem,
                file.path() + ", byte " + std::to_string(8 + header.problemAt));
  const auto buffer = bytes.subspan(8 + length);
  std::vector<WeightTensor> tensors;
  tensors.reserve(header.entries.size());
  for (Entry& entry : header.entries) {
    DECOSCOPE_ASSIGN(WeightTensor tensor, tensorOf(file, entry, buffer));
    tensors.push_back(std::move(tensor));
  }
  DECOSCOPE_TRY(checkCover(file, tensors, buffer));
  std::sort(tensors.begin(), tensors.end(),
            [](const WeightTensor& a, const WeightTensor& b) { return a.name < b.name; });
  return tensors;
}

}  // namespace decoscope
