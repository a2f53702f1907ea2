// A tokenizer as a pipeline: added tokens → normalizer → pre-tokenizer → model → post-processor, and a
// decoder for the way back. Files of every format are read into these parts.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/Hash.h"
#include "core/tokenizer/AddedTokens.h"
#include "core/tokenizer/Normalizers.h"
#include "core/tokenizer/PieceDecoder.h"
#include "core/tokenizer/PreTokenizers.h"
#include "core/tokenizer/SubwordModels.h"
#include "core/tokenizer/Tokenizer.h"

namespace decoscope {

// Where special tokens stand around the text: nullopt is the text itself. Several templates wrap one another.
using TokenTemplate = std::vector<std::optional<TokenId>>;

struct PipelineParts {
  // What becomes of ill-formed UTF-8 in a text that is to be encoded.
  enum class IllFormed {
    replaced,  // U+FFFD for each maximal ill-formed subsequence
    spelled,   // words of their own in the byte-level alphabet
    passed     // normalizer and model take any bytes
  };
  std::vector<AddedToken> added;
  AddedTokens::Order addedOrder = AddedTokens::Order::leftmostLongest;
  NormalizerPointer normalizer;      // may be null
  PreTokenizerPointer preTokenizer;  // may be null
  SubwordModelPointer model;
  std::vector<TokenTemplate> templates;
  PieceDecoderPointer decoder;  // null: `bytes` say what tokens stand for
  // By id, where there is no decoder; decode() then joins them and drops one leading space if asked.
  std::vector<std::string> bytes;
  bool dropLeadingSpace = false;
  IllFormed illFormed = IllFormed::replaced;

  std::optional<TokenId> bos, eos;
  std::string bosText, eosText;
  std::vector<std::pair<std::string, std::string>> named;  // see Tokenizer::namedTokens
  std::vector<TokenId> stops;
  std::string chatTemplate, toolTemplate;
  std::string kind;         // "BPE (byte-level)"
  std::string fingerprint;  // a hash of all that encoding depends on
  std::string source;       // file name, for errors

  // The id of a text, among added tokens and in the vocabulary.
  std::optional<TokenId> idOf(std::string_view text) const;
  // One more than the largest id.
  std::size_t size() const;
};

Result<std::shared_ptr<const Tokenizer>> makePipelineTokenizer(PipelineParts parts);

// FNV-1a over texts and what separates them.
class Fingerprint {
 public:
  void mix(std::string_view text) { hash_ = fnvStep(fnv(text, hash_), 0xFF); }
  // "bpe-0123456789abcdef"
  std::string text(std::string_view kind) const;

 private:
  std::uint64_t hash_ = kFnvStart;
};

}  // namespace decoscope
