// Word patterns of well-known tokenizers, for files that name them instead of spelling them out. The patterns
// are those of the models' own tokenizer files.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace decoscope {

inline constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr const char* kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr const char* kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr const char* kDigitPattern = R"(\p{N})";

// How a GGUF file's tokenizer.ggml.pre kind cuts text, and what it implies.
struct PreTokenizerKind {
  std::vector<std::string> patterns;  // applied one after another, matches isolated
  bool ignoreMerges = false;
  bool addBos = false;    // where the file does not say
  bool byteLevel = true;  // false: plain text with U+2581 for spaces
};
// Null for a kind that is not known.
const PreTokenizerKind* preTokenizerKind(std::string_view name);
// "bailingmoe, bloom, …", for errors.
std::string preTokenizerKinds();

}  // namespace decoscope
