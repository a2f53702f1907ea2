#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "core/model/weights/ElementTypes.h"
#include "core/model/weights/Readers.h"

namespace decoscope {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::uint64_t kMaximumHeader = 100'000'000;

class SafetensorsFile final : public WeightFile {
 public:
  SafetensorsFile(std::vector<std::shared_ptr<const MappedFile>> files, std::string path)
      : files_(std::move(files)), path_(std::move(path)) {}
  const std::string& path() const override { return path_; }
  std::string format() const override { return "safetensors"; }
  const std::vector<WeightTensor>& tensors() const override { return tensors_; }
  const std::map<std::string, MetadataValue, std::less<>>& metadata() const override { return metadata_; }

  Status read() {
    std::set<std::string> names;
    for (const auto& file : files_) DECOSCOPE_TRY(readOne(*file, names));
    return {};
  }

 private:
  Status readOne(const MappedFile& file, std::set<std::string>& names) {
    const auto bytes = file.bytes();
    if (bytes.size() < 8)
      return fail(ErrorCode::badInput, "the file is too short for a safetensors header", file.path());
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    if (length > kMaximumHeader || length > bytes.size() - 8)
      return fail(ErrorCode::badInput, "the header claims " + std::to_string(length) + " bytes",
                  file.path() + ", byte 0", "The file is damaged or truncated.");
    const char* begin = reinterpret_cast<const char*>(bytes.data()) + 8;
    bool repeated = false;
    std::vector<std::set<std::string>> keys;
    const json::parser_callback_t watch = [&](int, json::parse_event_t event, json& parsed) {
      if (event == json::parse_event_t::object_start)
        keys.emplace_back();
      else if (event == json::parse_event_t::object_end)
        keys.pop_back();
      else if (event == json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
        repeated = true;
      return true;
    };
    const json header = json::parse(begin, begin + length, watch, false);
    if (header.is_discarded() || !header.is_object())
      return fail(ErrorCode::badInput, "the header is not a JSON object", file.path() + ", byte 8");
    if (repeated)
      return fail(ErrorCode::badInput, "the header names something twice", file.path() + ", byte 8");
    const auto buffer = bytes.subspan(8 + length);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> spans;
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") continue;
      DECOSCOPE_ASSIGN(WeightTensor tensor, readEntry(file, name, entry, buffer, spans));
      if (!names.insert(name).second)
        return fail(ErrorCode::badInput, "tensor '" + name + "' stands twice", file.path());
      tensors_.push_back(std::move(tensor));
    }
    std::sort(spans.begin(), spans.end());
    std::uint64_t end = 0;
    for (const auto& [from, to] : spans) {
      if (from != end)
        return fail(ErrorCode::badInput,
                    from < end ? "two tensors overlap" : "there is a hole between tensors",
                    file.path() + ", data byte " + std::to_string(from));
      end = to;
    }
    if (end != buffer.size())
      return fail(ErrorCode::badInput,
                  "the tensors end at byte " + std::to_string(end) + " of " + std::to_string(buffer.size()) +
                      " data bytes",
                  file.path(), "The file is damaged or truncated.");
    return {};
  }

  static Result<WeightTensor> readEntry(const MappedFile& file, const std::string& name, const json& entry,
                                        std::span<const std::byte> buffer,
                                        std::vector<std::pair<std::uint64_t, std::uint64_t>>& spans) {
    const auto bad = [&](const std::string& what) {
      return fail(ErrorCode::badInput, what, file.path() + ", tensor " + name);
    };
    const auto wholeNumbers = [](const json& list) {
      return list.is_array() &&
             std::all_of(list.begin(), list.end(), [](const json& n) { return n.is_number_unsigned(); });
    };
    if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") ||
        !entry.contains("data_offsets") || !entry["dtype"].is_string() || !wholeNumbers(entry["shape"]) ||
        !wholeNumbers(entry["data_offsets"]) || entry["data_offsets"].size() != 2 ||
        entry["shape"].size() > 8)
      return bad("the entry needs dtype, shape and two data_offsets");
    WeightTensor tensor;
    tensor.name = name;
    tensor.typeName = entry["dtype"].get<std::string>();
    const ElementTraits* type = safetensorsTraits(tensor.typeName);
    if (!type)
      return fail(ErrorCode::unsupported, "the type " + tensor.typeName + " is not supported",
                  file.path() + ", tensor " + name);
    tensor.type = type->type;
    std::uint64_t elements = 1;
    for (const json& dimension : entry["shape"]) {
      const auto extent = dimension.get<std::uint64_t>();
      if (extent > (1ull << 50) || (extent != 0 && elements > (1ull << 50) / extent))
        return bad("the shape is too large");
      elements *= extent;
      tensor.shape.push_back(static_cast<std::int64_t>(extent));
    }
    if (elements % type->blockLength != 0) return bad("the elements do not fill whole bytes");
    const std::uint64_t size = elements / type->blockLength * type->blockBytes;
    const auto from = entry["data_offsets"][0].get<std::uint64_t>(),
               to = entry["data_offsets"][1].get<std::uint64_t>();
    if (from > to || to > buffer.size()) return bad("data_offsets reach beyond the end of the file");
    if (to - from != size)
      return bad("shape and dtype need " + std::to_string(size) + " bytes, data_offsets give " +
                 std::to_string(to - from));
    tensor.data = buffer.subspan(from, to - from);
    if (from != to) spans.emplace_back(from, to);
    return tensor;
  }

  std::vector<std::shared_ptr<const MappedFile>> files_;
  std::string path_;
  std::vector<WeightTensor> tensors_;
  std::map<std::string, MetadataValue, std::less<>> metadata_;
};

}  // namespace

Result<std::shared_ptr<const WeightFile>> openSafetensors(
    std::vector<std::shared_ptr<const MappedFile>> files, const std::string& path) {
  auto reader = std::make_shared<SafetensorsFile>(std::move(files), path);
  DECOSCOPE_TRY(reader->read());
  return std::shared_ptr<const WeightFile>(std::move(reader));
}

Result<std::shared_ptr<const WeightFile>> openSafetensorsFolder(const std::string& folder) {
  std::error_code error;
  const fs::path single = fs::path(folder) / "model.safetensors",
                 index = fs::path(folder) / "model.safetensors.index.json";
  std::vector<std::shared_ptr<const MappedFile>> files;
  if (fs::exists(single, error)) {
    DECOSCOPE_ASSIGN(auto file, MappedFile::open(single.string()));
    files.push_back(std::move(file));
    return openSafetensors(std::move(files), folder);
  }
  if (!fs::exists(index, error))
    return fail(ErrorCode::badInput, "the folder holds no weights", folder,
                "Expected model.safetensors or model.safetensors.index.json.");
  std::ifstream stream(index);
  const json document = json::parse(stream, nullptr, false);
  if (!document.is_object() || !document.contains("weight_map") || !document["weight_map"].is_object())
    return fail(ErrorCode::badInput, "the index has no weight_map", index.string());
  std::set<std::string> shards;
  for (const auto& [name, shard] : document["weight_map"].items()) {
    if (!shard.is_string())
      return fail(ErrorCode::badInput, "a shard of the index is not a file name",
                  index.string() + ", tensor " + name);
    const fs::path relative = shard.get<std::string>();
    if (relative.is_absolute() || std::find(relative.begin(), relative.end(), "..") != relative.end())
      return fail(ErrorCode::badInput, "a shard lies outside the folder",
                  index.string() + ", tensor " + name);
    shards.insert(relative.string());
  }
  for (const std::string& shard : shards) {
    DECOSCOPE_ASSIGN(auto file, MappedFile::open((fs::path(folder) / shard).string()));
    files.push_back(std::move(file));
  }
  DECOSCOPE_ASSIGN(auto weights, openSafetensors(std::move(files), folder));
  for (const auto& [name, shard] : document["weight_map"].items())
    if (!weights->find(name))
      return fail(ErrorCode::badInput,
                  "tensor '" + name + "' is not in its shard " + shard.get<std::string>(), index.string());
  return weights;
}

}  // namespace decoscope
