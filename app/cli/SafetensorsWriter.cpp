#include "app/cli/SafetensorsWriter.h"

#include <fstream>
#include <nlohmann/json.hpp>

namespace decoscope::cli {

void SafetensorsWriter::add(const std::string& name, const std::vector<std::int64_t>& shape,
                            const std::vector<float>& values) {
  entries_.push_back(
      {name, "F32", shape, {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)}});
}
void SafetensorsWriter::add(const std::string& name, const std::vector<std::int64_t>& shape,
                            const std::vector<std::int64_t>& values) {
  entries_.push_back({name,
                      "I64",
                      shape,
                      {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(std::int64_t)}});
}

Status SafetensorsWriter::write(const std::string& path) const {
  nlohmann::json header = nlohmann::json::object();
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
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(&length), 8);
  file << text;
  for (const Entry& entry : entries_) file << entry.bytes;
  file.close();
  if (!file)
    return fail(ErrorCode::failed, "the file could not be written", path,
                "Check the path and the disk's free space.");
  return {};
}

}  // namespace decoscope::cli
