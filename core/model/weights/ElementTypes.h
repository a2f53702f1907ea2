// What is known of each element type, stated once: its name in files, its blocks, its decoder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/model/weights/WeightFile.h"

namespace decoscope {

// Decodes `blocks` whole blocks from `data` to blocks × blockLength floats. Bytes of any value are decoded.
using BlockDecoder = void (*)(const std::byte* data, std::int64_t blocks, float* out);

struct ElementTraits {
  ElementType type;
  const char* name;           // as GGUF and safetensors spell it
  std::uint32_t blockLength;  // elements that are stored together; 1 for plain numbers
  std::uint32_t blockBytes;   // what they take
  std::int32_t ggml;          // ggml's number, -1 for types that GGUF does not have
  bool safetensors;           // a dtype of safetensors
  BlockDecoder decode;        // null: can be told and skipped, but not read
};

// Lives for ever. Every ElementType but `other` has an entry.
const ElementTraits& elementTraits(ElementType type);
// Null when the number or name is unknown.
const ElementTraits* ggmlTraits(std::uint32_t number);
const ElementTraits* safetensorsTraits(std::string_view name);

}  // namespace decoscope
