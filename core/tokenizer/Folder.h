// What stands beside a tokenizer in a Hugging Face folder. Internal to core/tokenizer.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/base/Status.h"
#include "core/tokenizer/Pipeline.h"

namespace decoscope {

struct TokenizerFolder {
  std::filesystem::path path;
  nlohmann::json config;    // tokenizer_config.json; an empty object where it is missing
  nlohmann::json specials;  // special_tokens_map.json

  // "LlamaTokenizer"; "Fast" at the end is left out. "" where no file says.
  std::string tokenizerClass() const;
  // "<s>" for "bos_token", from the first file that says.
  std::string tokenNamed(const char* key) const;
  bool flag(const char* key, bool fallback) const;
  // added_tokens_decoder of tokenizer_config.json and added_tokens.json, by id. Errors: an id beyond what a
  // vocabulary of that size may have.
  Result<std::vector<AddedToken>> addedTokens(std::size_t vocabularySize) const;
};

// Reads a whole file. Errors: notFound, or larger than `limit`.
Result<std::string> readWhole(const std::filesystem::path& path, std::uintmax_t limit = 256u << 20);
Result<nlohmann::json> readJsonObject(const std::filesystem::path& path);
TokenizerFolder openTokenizerFolder(const std::filesystem::path& path);

// Fills in bos, eos, the other named tokens, stops and chat templates.
void describeText(const TokenizerFolder& folder, PipelineParts& parts);

// Folders without tokenizer.json. Errors: unsupported, naming the class; notFound where none of their files
// is there.
Result<PipelineParts> readVocabularyAndMerges(const TokenizerFolder& folder);
Result<PipelineParts> readWordList(const TokenizerFolder& folder);
Result<std::shared_ptr<const Tokenizer>> readSentencePiece(const TokenizerFolder& folder);

}  // namespace decoscope
