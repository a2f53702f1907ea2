#include "core/model/weights/WeightFile.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "core/model/weights/Gguf.h"
#include "core/model/weights/MappedFile.h"
#include "core/model/weights/Readers.h"

namespace decoscope {

namespace {
namespace fs = std::filesystem;
}

void WeightTensor::release() const {
  if (mapped) releasePages(data);
}

std::int64_t WeightTensor::elements() const {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  std::int64_t count = 1;
  for (const std::int64_t dimension : shape) count *= dimension;
  return count;
}

const WeightTensor* WeightFile::find(std::string_view name) const {
  const auto found = byName_.find(name);
  return found == byName_.end() ? nullptr : found->second;
}

void WeightFile::indexTensors() {
  byName_.clear();
  for (const WeightTensor& tensor : tensors()) byName_.emplace(tensor.name, &tensor);
}

std::int64_t integerOf(const Metadata& metadata, std::string_view key, std::int64_t fallback) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return fallback;
  if (const auto* value = std::get_if<std::uint64_t>(&found->second))
    return static_cast<std::int64_t>(*value);
  if (const auto* value = std::get_if<std::int64_t>(&found->second)) return *value;
  if (const auto* value = std::get_if<double>(&found->second))
    if (*value > -0x1p62 && *value < 0x1p62) return static_cast<std::int64_t>(*value);
  return fallback;
}

std::int64_t WeightFile::integer(std::string_view key, std::int64_t fallback) const {
  return integerOf(metadata(), key, fallback);
}

double WeightFile::real(std::string_view key, double fallback) const {
  const auto found = metadata().find(key);
  if (found == metadata().end()) return fallback;
  if (const auto* value = std::get_if<double>(&found->second)) return *value;
  return static_cast<double>(integer(key, static_cast<std::int64_t>(fallback)));
}

std::string WeightFile::text(std::string_view key, std::string fallback) const {
  const auto found = metadata().find(key);
  if (found == metadata().end()) return fallback;
  if (const auto* value = std::get_if<std::string>(&found->second)) return *value;
  return fallback;
}

namespace {

bool beginsWith(const MappedFile& file, std::string_view magic) {
  const auto bytes = file.bytes();
  return bytes.size() >= magic.size() &&
         std::string_view(reinterpret_cast<const char*>(bytes.data()), magic.size()) == magic;
}

// torch.save writes a zip archive, older versions a bare pickle of protocol 2.
bool isPickle(const MappedFile& file) {
  const std::string extension = fs::path(file.path()).extension().string();
  return beginsWith(file, "\x80\x02") ||
         (beginsWith(file, "PK\x03\x04") &&
          (extension == ".bin" || extension == ".pt" || extension == ".pth" || extension == ".ckpt"));
}

}  // namespace

tl::unexpected<Error> refusePickle(const std::string& path) {
  return fail(ErrorCode::unsupported, "PyTorch pickles are not read: they can run any program", path,
              "Convert them to safetensors: load the model with transformers and save_pretrained() it.");
}

bool isGgufFile(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  char magic[4] = {};
  return stream.read(magic, 4) && std::string_view(magic, 4) == "GGUF";
}

Result<std::vector<std::string>> weightFiles(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return safetensorsFiles(path);
  if (isGgufFile(path)) return ggufShards(path);
  return std::vector<std::string>{path};
}

Result<std::shared_ptr<const WeightFile>> openWeights(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return openSafetensorsFolder(path);
  DECOSCOPE_ASSIGN(auto file, MappedFile::open(path));
  if (beginsWith(*file, "GGUF")) return openGguf(std::move(file));
  if (path.ends_with(".safetensors")) return openSafetensors({std::move(file)}, path);
  if (isPickle(*file)) return refusePickle(path);
  return fail(ErrorCode::badInput, "neither a GGUF nor a safetensors file", path,
              "GGUF files begin with the bytes 'GGUF'; safetensors files end in .safetensors.");
}

}  // namespace decoscope
