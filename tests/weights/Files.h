// Small weight files, written byte by byte.
#pragma once

#include <bit>
#include <cstdint>
#include <fstream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace decoscope {

inline void put(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}
inline void putText(std::string& out, const std::string& text) {
  put(out, text.size(), 8);
  out += text;
}

struct GgufTensor {
  std::string name;
  std::uint32_t type = 0;  // ggml's number; 0 is F32
  std::vector<std::uint64_t> shape;
  std::string bytes;
};
using GgufValue =
    std::variant<std::string, std::uint32_t, std::vector<std::string>, float, bool, std::vector<bool>>;

inline std::string ggufBytes(const std::vector<std::pair<std::string, GgufValue>>& metadata,
                             const std::vector<GgufTensor>& tensors) {
  std::string f = "GGUF";
  put(f, 3, 4);
  put(f, tensors.size(), 8);
  put(f, metadata.size(), 8);
  for (const auto& [key, value] : metadata) {
    putText(f, key);
    if (const auto* text = std::get_if<std::string>(&value)) {
      put(f, 8, 4);
      putText(f, *text);
    } else if (const auto* number = std::get_if<std::uint32_t>(&value)) {
      put(f, 4, 4);
      put(f, *number, 4);
    } else if (const auto* real = std::get_if<float>(&value)) {
      put(f, 6, 4);
      put(f, std::bit_cast<std::uint32_t>(*real), 4);
    } else if (const auto* flag = std::get_if<bool>(&value)) {
      put(f, 7, 4);
      put(f, *flag, 1);
    } else if (const auto* flags = std::get_if<std::vector<bool>>(&value)) {
      put(f, 9, 4);
      put(f, 7, 4);
      put(f, flags->size(), 8);
      for (const bool item : *flags) put(f, item, 1);
    } else {
      const auto& list = std::get<std::vector<std::string>>(value);
      put(f, 9, 4);
      put(f, 8, 4);
      put(f, list.size(), 8);
      for (const std::string& item : list) putText(f, item);
    }
  }
  std::uint64_t offset = 0;
  for (const GgufTensor& tensor : tensors) {
    putText(f, tensor.name);
    put(f, tensor.shape.size(), 4);
    for (const std::uint64_t extent : tensor.shape) put(f, extent, 8);
    put(f, tensor.type, 4);
    put(f, offset, 8);
    offset += (tensor.bytes.size() + 31) / 32 * 32;
  }
  f.resize((f.size() + 31) / 32 * 32, '\0');
  for (const GgufTensor& tensor : tensors) {
    f += tensor.bytes;
    f.resize((f.size() + 31) / 32 * 32, '\0');
  }
  return f;
}

inline std::string safetensorsBytes(const std::string& header, std::size_t dataBytes) {
  std::string f;
  put(f, header.size(), 8);
  return f + header + std::string(dataBytes, '\1');
}

inline void writeFile(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

}  // namespace decoscope
