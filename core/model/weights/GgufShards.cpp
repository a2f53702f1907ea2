#include <algorithm>
#include <charconv>
#include <filesystem>
#include <unordered_set>

#include "core/model/weights/Gguf.h"
#include "core/model/weights/Readers.h"

namespace decoscope {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kExtension = ".gguf";
constexpr int kMaximumShards = 9999;

std::string fiveDigits(int number) {
  std::string digits = std::to_string(number);
  return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
}

std::optional<int> readFiveDigits(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.size() != 5 || text.front() == '-' || error != std::errc() || end != text.data() + text.size())
    return std::nullopt;
  return number;
}

class GgufFile final : public WeightFile {
 public:
  explicit GgufFile(std::vector<GgufShard> shards) : path_(shards.front().file->path()) {
    metadata_ = std::move(shards.front().metadata);
    for (GgufShard& shard : shards) {
      files_.push_back(std::move(shard.file));
      tensors_.insert(tensors_.end(), std::make_move_iterator(shard.tensors.begin()),
                      std::make_move_iterator(shard.tensors.end()));
    }
    indexTensors();
  }
  const std::string& path() const override { return path_; }
  std::string format() const override { return "gguf"; }
  const std::vector<WeightTensor>& tensors() const override { return tensors_; }
  const Metadata& metadata() const override { return metadata_; }

 private:
  std::string path_;
  std::vector<std::shared_ptr<const MappedFile>> files_;
  std::vector<WeightTensor> tensors_;
  Metadata metadata_;
};

std::int64_t splitCount(const GgufShard& shard) {
  return metadataInteger(shard, "split.count", 1);
}

// The other files that `shard` says there are, by name only.
Result<std::vector<std::string>> namesOf(const GgufShard& shard) {
  const std::string& path = shard.file->path();
  const std::int64_t count = splitCount(shard), number = metadataInteger(shard, "split.no", 0);
  if (count <= 1) return std::vector<std::string>{path};
  if (count > kMaximumShards || number < 0 || number >= count)
    return fail(ErrorCode::badInput,
                "the header claims to be shard " + std::to_string(number) + " of " + std::to_string(count),
                path + ", field split.no", "The file is damaged.");
  const auto name = shardName(path);
  if (!name || name->number != number + 1 || name->count != count)
    return fail(ErrorCode::badInput,
                "this is shard " + std::to_string(number + 1) + " of " + std::to_string(count) +
                    " of a split model, but its name does not say so",
                path,
                "Name the shards …-" + fiveDigits(static_cast<int>(number) + 1) + "-of-" +
                    fiveDigits(static_cast<int>(count)) + ".gguf, as they were.");
  std::vector<std::string> names;
  std::error_code error;
  for (int i = 1; i <= name->count; ++i) {
    names.push_back(name->path(i));
    if (!fs::exists(names.back(), error))
      return fail(ErrorCode::notFound,
                  "shard " + std::to_string(i) + " of " + std::to_string(count) + " is missing", names.back(),
                  "All shards of a split model must lie in one folder.");
  }
  return names;
}

Status checkShards(const std::vector<GgufShard>& shards) {
  const std::int64_t claimed = metadataInteger(shards.front(), "split.tensors.count", -1);
  std::uint64_t tensors = 0;
  std::unordered_set<std::string_view> names;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const GgufShard& shard = shards[i];
    const std::string& path = shard.file->path();
    if (metadataInteger(shard, "split.no", -1) != static_cast<std::int64_t>(i) ||
        splitCount(shard) != static_cast<std::int64_t>(shards.size()))
      return fail(ErrorCode::badInput,
                  "this file is not shard " + std::to_string(i + 1) + " of " + std::to_string(shards.size()),
                  path + ", field split.no", "The shards are of different models or were renamed.");
    if (metadataInteger(shard, "split.tensors.count", claimed) != claimed)
      return fail(ErrorCode::badInput, "the shards disagree on the number of tensors",
                  path + ", field split.tensors.count", "The shards are of different models.");
    for (const WeightTensor& tensor : shard.tensors)
      if (!names.insert(tensor.name).second)
        return fail(ErrorCode::badInput, "tensor '" + tensor.name + "' stands in two shards", path);
    tensors += shard.tensors.size();
  }
  if (claimed >= 0 && tensors != static_cast<std::uint64_t>(claimed))
    return fail(ErrorCode::badInput,
                "the shards hold " + std::to_string(tensors) + " tensors of " + std::to_string(claimed),
                shards.front().file->path() + ", field split.tensors.count", "Download the model again.");
  return {};
}

}  // namespace

std::string ShardName::path(int index) const {
  return prefix + "-" + fiveDigits(index) + "-of-" + fiveDigits(count) + std::string(kExtension);
}

// "…-00002-of-00003.gguf"
std::optional<ShardName> shardName(const std::string& path) {
  constexpr std::size_t kSuffix = std::string_view("-00002-of-00003.gguf").size();
  if (path.size() <= kSuffix || !path.ends_with(kExtension)) return std::nullopt;
  const std::string_view suffix = std::string_view(path).substr(path.size() - kSuffix);
  const auto number = readFiveDigits(suffix.substr(1, 5)), count = readFiveDigits(suffix.substr(10, 5));
  if (suffix.front() != '-' || suffix.substr(6, 4) != "-of-" || !number || !count || *number < 1 ||
      *number > *count)
    return std::nullopt;
  return ShardName{path.substr(0, path.size() - kSuffix), *number, *count};
}

Result<std::vector<std::string>> ggufShards(const std::string& path) {
  DECOSCOPE_ASSIGN(auto file, MappedFile::open(path));
  DECOSCOPE_ASSIGN(const GgufShard shard, readGguf(std::move(file), GgufDepth::metadata));
  return namesOf(shard);
}

Result<std::shared_ptr<const WeightFile>> openGguf(std::shared_ptr<const MappedFile> file) {
  const std::string path = file->path();
  DECOSCOPE_ASSIGN(GgufShard first, readGguf(std::move(file), GgufDepth::all));
  std::vector<GgufShard> shards;
  if (splitCount(first) > 1) {
    DECOSCOPE_ASSIGN(const auto names, namesOf(first));
    for (const std::string& name : names) {
      if (name == path) {
        shards.push_back(std::move(first));
        continue;
      }
      DECOSCOPE_ASSIGN(auto next, MappedFile::open(name));
      DECOSCOPE_ASSIGN(GgufShard shard, readGguf(std::move(next), GgufDepth::all));
      shards.push_back(std::move(shard));
    }
    DECOSCOPE_TRY(checkShards(shards));
  } else {
    shards.push_back(std::move(first));
  }
  return std::make_shared<const GgufFile>(std::move(shards));
}

std::int64_t metadataInteger(const GgufShard& shard, std::string_view key, std::int64_t fallback) {
  return integerOf(shard.metadata, key, fallback);
}

std::string metadataText(const GgufShard& shard, std::string_view key, std::string fallback) {
  const auto found = shard.metadata.find(key);
  if (found == shard.metadata.end()) return fallback;
  if (const auto* value = std::get_if<std::string>(&found->second)) return *value;
  return fallback;
}

}  // namespace decoscope
