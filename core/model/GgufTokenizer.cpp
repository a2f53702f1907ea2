#include "core/model/GgufTokenizer.h"

#include <algorithm>

#include "core/tokenizer/Patterns.h"

namespace decoscope {

namespace {

template <typename T>
const T* value(const WeightFile& file, std::string_view key) {
  const auto found = file.metadata().find(key);
  return found == file.metadata().end() ? nullptr : std::get_if<T>(&found->second);
}

Result<std::vector<std::string>> patternsFor(const std::string& kind, const std::string& where) {
  if (kind == "gpt-2" || kind == "default" || kind.empty()) return std::vector<std::string>{kGpt2Pattern};
  if (kind == "smollm") return std::vector<std::string>{kDigitPattern, kGpt2Pattern};
  if (kind == "llama-bpe" || kind == "llama3") return std::vector<std::string>{kLlama3Pattern};
  if (kind == "qwen2") return std::vector<std::string>{kQwen2Pattern};
  return fail(ErrorCode::unsupported, "the pre-tokenizer '" + kind + "' is not supported yet",
              where + ", field tokenizer.ggml.pre", "Supported: gpt-2, smollm, llama-bpe, qwen2.");
}

std::optional<TokenId> tokenAt(const WeightFile& file, std::string_view key, std::size_t size) {
  const std::int64_t id = file.integer(key, -1);
  if (id < 0 || id >= static_cast<std::int64_t>(size)) return std::nullopt;
  return static_cast<TokenId>(id);
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> tokenizerFromGguf(const WeightFile& file) {
  const std::string where = file.path();
  const std::string model = file.text("tokenizer.ggml.model");
  const auto* pieces = value<std::vector<std::string>>(file, "tokenizer.ggml.tokens");
  if (model.empty() || !pieces)
    return fail(ErrorCode::badInput, "the file carries no tokenizer", where + ", field tokenizer.ggml.tokens",
                "Convert the model again with its tokenizer.");
  if (model != "gpt2")
    return fail(ErrorCode::unsupported, "a tokenizer of kind '" + model + "' is not supported yet",
                where + ", field tokenizer.ggml.model", "Supported: gpt2 (byte-level BPE).");
  VocabularyData data;
  data.source = where;
  data.pieces = *pieces;
  const std::string pre = file.text("tokenizer.ggml.pre");
  DECOSCOPE_ASSIGN(data.splitPatterns, patternsFor(pre, where));
  data.ignoreMerges = pre == "llama-bpe" || pre == "llama3";
  if (const auto* types = value<std::vector<std::int64_t>>(file, "tokenizer.ggml.token_type"))
    for (const std::int64_t type : *types)
      data.types.push_back(type == 3   ? VocabularyData::PieceType::control
                           : type == 4 ? VocabularyData::PieceType::userDefined
                                       : VocabularyData::PieceType::normal);
  if (!data.types.empty() && data.types.size() != data.pieces.size())
    return fail(ErrorCode::badInput,
                "there are " + std::to_string(data.types.size()) + " token types for " +
                    std::to_string(data.pieces.size()) + " tokens",
                where + ", field tokenizer.ggml.token_type",
                "The file is damaged: convert or download it again.");
  if (const auto* merges = value<std::vector<std::string>>(file, "tokenizer.ggml.merges"))
    for (const std::string& merge : *merges) {
      const auto space = merge.find(' ', 1);
      if (space == std::string::npos)
        return fail(ErrorCode::badInput, "a merge has no space between its parts",
                    where + ", merge '" + merge + "'");
      data.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
    }
  data.bos = tokenAt(file, "tokenizer.ggml.bos_token_id", pieces->size());
  data.eos = tokenAt(file, "tokenizer.ggml.eos_token_id", pieces->size());
  if (const auto* add = value<bool>(file, "tokenizer.ggml.add_bos_token"))
    data.addBos = *add;
  else
    data.addBos = pre == "llama-bpe";
  if (const auto* add = value<bool>(file, "tokenizer.ggml.add_eos_token")) data.addEos = *add;
  if (data.eos) data.stops.push_back(*data.eos);
  if (const auto turn = tokenAt(file, "tokenizer.ggml.eot_token_id", pieces->size());
      turn && turn != data.eos)
    data.stops.push_back(*turn);
  for (const char* name : {"<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>"}) {
    const auto found = std::find(pieces->begin(), pieces->end(), name);
    if (found == pieces->end()) continue;
    const auto id = static_cast<TokenId>(found - pieces->begin());
    const bool control =
        data.types.empty() || data.types[static_cast<std::size_t>(id)] == VocabularyData::PieceType::control;
    if (control && std::find(data.stops.begin(), data.stops.end(), id) == data.stops.end())
      data.stops.push_back(id);
  }
  data.chatTemplate = file.text("tokenizer.chat_template");
  return makeBytePairTokenizer(std::move(data));
}

}  // namespace decoscope
