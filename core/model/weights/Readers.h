// The two container formats behind openWeights().
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/model/weights/MappedFile.h"
#include "core/model/weights/WeightFile.h"

namespace decoscope {

// Any one shard of a split model opens all of them.
Result<std::shared_ptr<const WeightFile>> openGguf(std::shared_ptr<const MappedFile> file);

// Where the index of a sharded model says that a tensor lies: name → index into `files`.
using ShardIndex = std::map<std::string, std::size_t, std::less<>>;
// One file or the shards of one model. Names must be unique over all of them, unless `index` decides; every
// tensor of `index` must be in its shard, and those that it does not mention are kept.
Result<std::shared_ptr<const WeightFile>> openSafetensors(
    std::vector<std::shared_ptr<const MappedFile>> files, const std::string& path,
    const ShardIndex& index = {});
Result<std::shared_ptr<const WeightFile>> openSafetensorsFolder(const std::string& folder);
Result<std::vector<std::string>> safetensorsFiles(const std::string& folder);

// The tensors of one file, in the order of their names. Memory is bounded by some ten times the header, which
// is at most 100 MB by the format's own rule.
Result<std::vector<WeightTensor>> readSafetensors(const MappedFile& file);

// The weight_map of model.safetensors.index.json: tensor → file, none of them outside the folder.
Result<std::map<std::string, std::string>> readSafetensorsIndex(const MappedFile& file);

// The one refusal of PyTorch's own format.
tl::unexpected<Error> refusePickle(const std::string& path);

std::int64_t integerOf(const Metadata& metadata, std::string_view key, std::int64_t fallback);

}  // namespace decoscope
