// Safetensors models of several files: the index says which tensor lies in which shard.
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>

#include "core/model/weights/Readers.h"

namespace decoscope {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

// 100 000 tensors make some 10 MB.
constexpr std::size_t kMaximumIndex = 64u << 20;
constexpr std::size_t kMaximumTensors = 1u << 20;

class SafetensorsFile final : public WeightFile {
 public:
  SafetensorsFile(std::vector<std::shared_ptr<const MappedFile>> files, std::string path)
      : files_(std::move(files)), path_(std::move(path)) {}
  const std::string& path() const override { return path_; }
  std::string format() const override { return "safetensors"; }
  const std::vector<WeightTensor>& tensors() const override { return tensors_; }
  const Metadata& metadata() const override { return metadata_; }

  Status read(const ShardIndex& index) {
    std::unordered_map<std::string, std::size_t> shardOf;
    for (std::size_t shard = 0; shard < files_.size(); ++shard) {
      DECOSCOPE_ASSIGN(auto tensors, readSafetensors(*files_[shard]));
      if (tensors_.size() + tensors.size() > kMaximumTensors)
        return fail(ErrorCode::badInput,
                    "the shards hold more than " + std::to_string(kMaximumTensors) + " tensors", path_);
      for (WeightTensor& tensor : tensors) {
        const auto mapped = index.find(tensor.name);
        if (mapped != index.end() && mapped->second != shard) continue;
        if (!shardOf.emplace(tensor.name, shard).second)
          return fail(ErrorCode::badInput, "tensor '" + tensor.name + "' stands in two shards",
                      files_[shard]->path());
        tensors_.push_back(std::move(tensor));
      }
    }
    for (const auto& [name, shard] : index)
      if (!shardOf.contains(name))
        return fail(ErrorCode::badInput, "tensor '" + name + "' is not in its shard", files_[shard]->path(),
                    "Index and shards are of different models, or the download is not complete.");
    indexTensors();
    return {};
  }

 private:
  std::vector<std::shared_ptr<const MappedFile>> files_;
  std::string path_;
  std::vector<WeightTensor> tensors_;
  Metadata metadata_;
};

// Takes only {"metadata": …, "weight_map": {name: file}} and holds no more than the map.
class IndexReader final : public nlohmann::json_sax<json> {
 public:
  std::vector<std::pair<std::string, std::string>> entries;
  bool found = false;
  std::string problem;

  bool null() override { return scalar(); }
  bool boolean(bool) override { return scalar(); }
  bool number_integer(std::int64_t) override { return scalar(); }
  bool number_unsigned(std::uint64_t) override { return scalar(); }
  bool number_float(double, const std::string&) override { return scalar(); }
  bool binary(json::binary_t&) override { return scalar(); }
  bool string(std::string& value) override {
    if (!inMap_ || depth_ != 2) return scalar();
    if (entries.size() >= kMaximumTensors) return refuse("the index is too long");
    entries.emplace_back(std::move(key_), std::move(value));
    return true;
  }
  bool start_object(std::size_t) override {
    if (depth_ == 1 && key_ == "weight_map") inMap_ = found = true;
    return enter();
  }
  bool end_object() override { return leave(); }
  bool start_array(std::size_t) override { return enter(); }
  bool end_array() override { return leave(); }
  bool key(std::string& key) override {
    if (depth_ <= 2) key_ = key;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return refuse("the index is not JSON");
  }

 private:
  bool refuse(std::string what) {
    problem = std::move(what);
    return false;
  }
  bool scalar() { return inMap_ ? refuse("a shard of the index is not a file name") : true; }
  bool enter() {
    if (inMap_ && depth_ >= 2) return refuse("a shard of the index is not a file name");
    return ++depth_ <= 16 || refuse("the index is nested too deeply");
  }
  bool leave() {
    if (--depth_ == 1) inMap_ = false;
    return true;
  }
  int depth_ = 0;
  bool inMap_ = false;
  std::string key_;
};

struct Index {
  std::vector<std::string> shards;  // paths, in the order of their names
  ShardIndex where;
};

Result<Index> openIndex(const fs::path& path) {
  DECOSCOPE_ASSIGN(const auto file, MappedFile::open(path.string()));
  DECOSCOPE_ASSIGN(const auto shardOf, readSafetensorsIndex(*file));
  std::map<std::string, std::size_t> numbers;
  for (const auto& [tensor, shard] : shardOf) numbers.emplace(shard, 0);
  Index index;
  for (auto& [shard, number] : numbers) {
    number = index.shards.size();
    index.shards.push_back((path.parent_path() / shard).string());
    std::error_code error;
    if (!fs::exists(index.shards.back(), error))
      return fail(ErrorCode::notFound, "the shard " + shard + " is missing", index.shards.back(),
                  "The index names it: download the rest of the model.");
  }
  for (const auto& [tensor, shard] : shardOf) index.where.emplace(tensor, numbers.at(shard));
  return index;
}

// A folder holds one file or an index; an index without entries is a model without weights.
Result<Index> indexOf(const std::string& folder) {
  std::error_code error;
  const fs::path single = fs::path(folder) / "model.safetensors",
                 index = fs::path(folder) / "model.safetensors.index.json";
  if (fs::exists(single, error)) return Index{{single.string()}, {}};
  if (fs::exists(index, error)) return openIndex(index);
  for (const char* pickle : {"pytorch_model.bin", "pytorch_model.bin.index.json"})
    if (fs::exists(fs::path(folder) / pickle, error)) return refusePickle(folder + "/" + pickle);
  return fail(ErrorCode::badInput, "the folder holds no weights", folder,
              "Expected model.safetensors or model.safetensors.index.json.");
}

}  // namespace

Result<std::map<std::string, std::string>> readSafetensorsIndex(const MappedFile& file) {
  const auto bytes = file.bytes();
  if (bytes.size() > kMaximumIndex)
    return fail(ErrorCode::badInput, "the index is larger than 64 MiB", file.path());
  IndexReader reader;
  const char* begin = reinterpret_cast<const char*>(bytes.data());
  if (!json::sax_parse(begin, begin + bytes.size(), &reader) && reader.problem.empty())
    reader.problem = "the index is not JSON";
  if (reader.problem.empty() && !reader.found) reader.problem = "the index has no weight_map";
  if (!reader.problem.empty()) return fail(ErrorCode::badInput, reader.problem, file.path());
  std::map<std::string, std::string> shards;
  for (auto& [tensor, shard] : reader.entries) {
    const fs::path relative = shard;
    if (relative.empty() || relative.is_absolute() ||
        std::find(relative.begin(), relative.end(), "..") != relative.end())
      return fail(ErrorCode::badInput, "a shard lies outside the folder", file.path() + ", tensor " + tensor);
    if (!shards.emplace(tensor, std::move(shard)).second)
      return fail(ErrorCode::badInput, "tensor '" + tensor + "' stands twice in the index", file.path());
  }
  return shards;
}

Result<std::shared_ptr<const WeightFile>> openSafetensors(
    std::vector<std::shared_ptr<const MappedFile>> files, const std::string& path, const ShardIndex& index) {
  auto reader = std::make_shared<SafetensorsFile>(std::move(files), path);
  DECOSCOPE_TRY(reader->read(index));
  return std::shared_ptr<const WeightFile>(std::move(reader));
}

Result<std::vector<std::string>> safetensorsFiles(const std::string& folder) {
  DECOSCOPE_ASSIGN(Index index, indexOf(folder));
  return std::move(index.shards);
}

Result<std::shared_ptr<const WeightFile>> openSafetensorsFolder(const std::string& folder) {
  DECOSCOPE_ASSIGN(const Index index, indexOf(folder));
  std::vector<std::shared_ptr<const MappedFile>> files;
  for (const std::string& shard : index.shards) {
    DECOSCOPE_ASSIGN(auto file, MappedFile::open(shard));
    files.push_back(std::move(file));
  }
  return openSafetensors(std::move(files), folder, index.where);
}

}  // namespace decoscope
