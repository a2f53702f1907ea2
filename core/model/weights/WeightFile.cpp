#include "core/model/weights/WeightFile.h"

#include <filesystem>

#include "core/model/weights/Readers.h"

namespace decoscope {

namespace {
namespace fs = std::filesystem;
}

std::int64_t WeightTensor::elements() const {
  std::int64_t count = 1;
  for (const std::int64_t dimension : shape) count *= dimension;
  return count;
}

const WeightTensor* WeightFile::find(std::string_view name) const {
  for (const WeightTensor& tensor : tensors())
    if (tensor.name == name) return &tensor;
  return nullptr;
}

std::int64_t WeightFile::integer(std::string_view key, std::int64_t fallback) const {
  const auto found = metadata().find(key);
  if (found == metadata().end()) return fallback;
  if (const auto* value = std::get_if<std::uint64_t>(&found->second))
    return static_cast<std::int64_t>(*value);
  if (const auto* value = std::get_if<std::int64_t>(&found->second)) return *value;
  if (const auto* value = std::get_if<double>(&found->second)) return static_cast<std::int64_t>(*value);
  return fallback;
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

Result<std::shared_ptr<const WeightFile>> openWeights(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return openSafetensorsFolder(path);
  DECOSCOPE_ASSIGN(auto file, MappedFile::open(path));
  const auto bytes = file->bytes();
  if (bytes.size() >= 4 && std::string_view(reinterpret_cast<const char*>(bytes.data()), 4) == "GGUF")
    return openGguf(std::move(file));
  if (path.ends_with(".safetensors")) return openSafetensors({std::move(file)}, path);
  return fail(ErrorCode::badInput, "neither a GGUF nor a safetensors file", path,
              "GGUF files begin with the bytes 'GGUF'; safetensors files end in .safetensors.");
}

}  // namespace decoscope
