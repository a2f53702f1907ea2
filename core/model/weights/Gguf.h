// One GGUF file as it lies on disk: versions 2 and 3, little-endian. Nothing is believed before it was
// compared with the file's size, and no header takes more than 512 MiB of memory.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/model/weights/MappedFile.h"
#include "core/model/weights/WeightFile.h"

namespace decoscope {

// How much is read. Arrays (vocabularies, mostly) are passed over by all but the last.
enum class GgufDepth { metadata, tensors, all };

struct GgufShard {
  std::shared_ptr<const MappedFile> file;
  Metadata metadata;
  std::vector<WeightTensor> tensors;  // data lies in `file`; empty for GgufDepth::metadata
  std::uint64_t tensorCount = 0;      // as the header says
};

// Errors name the file, field and byte offset.
Result<GgufShard> readGguf(std::shared_ptr<const MappedFile> file, GgufDepth depth);

// The files of a split model (name-00002-of-00003.gguf), all of them, first to last, given any of them; the
// path itself when the file is not split. Error notFound naming a shard that is missing.
Result<std::vector<std::string>> ggufShards(const std::string& path);
// The shard's number, count and the path before "-00002-of-00003.gguf"; nothing for other names.
struct ShardName {
  std::string prefix;
  int number = 0, count = 0;  // numbers count from 1
  std::string path(int number) const;
};
std::optional<ShardName> shardName(const std::string& path);

// A metadata value as an integer or text, or the fallback.
std::int64_t metadataInteger(const GgufShard& shard, std::string_view key, std::int64_t fallback);
std::string metadataText(const GgufShard& shard, std::string_view key, std::string fallback = {});

}  // namespace decoscope
