#include "core/model/weights/SafetensorsWriter.h"

#include "core/base/Bfloat16.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace decoscope {

namespace {

template <typename T>
std::string bytesOf(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

}  // namespace

void SafetensorsWriter::add(const std::string& name, const std::vector<std::int64_t>& shape,
                            const std::vector<float>& values) {
  entries_.push_back({name, "F32", shape, bytesOf(values)});
}

void SafetensorsWriter::add(const std::string& name, const std::vector<std::int64_t>& shape,
                            const std::vector<std::int64_t>& values) {
  entries_.push_back({name, "I64", shape, bytesOf(values)});
}

void SafetensorsWriter::addBfloat16(const std::string& name, const std::vector<std::int64_t>& shape,
                                    const std::vector<float>& values) {
  std::vector<std::uint16_t> rounded(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) rounded[i] = toBfloat16(values[i]);
  entries_.push_back({name, "BF16", shape, bytesOf(rounded)});
}

Status SafetensorsWriter::write(const std::string& path) const {
  nlohmann::json header = nlohmann::json::object();
  if (!notes_.empty()) header["__metadata__"] = notes_;
  std::size_t offset = 0;
  for (const Entry& entry : entries_) {
    header[entry.name] = {{"dtype", entry.type},
                          {"shape", entry.shape},
                          {"data_offsets", {offset, offset + entry.bytes.size()}}};
    offset += entry.bytes.size();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const auto length = static_cast<std::uint64_t>(text.size());
  const std::string unfinished = path + ".part";
  std::ofstream file(unfinished, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(&length), 8);
  file << text;
  for (const Entry& entry : entries_) file << entry.bytes;
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(unfinished, path, error);
  if (!file || error)
    return fail(ErrorCode::failed, "the file could not be written", path,
                "Check the path and the disk's free space.");
  return {};
}

}  // namespace decoscope
