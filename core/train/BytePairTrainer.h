// A byte-level BPE vocabulary, learnt from texts.
//
// Sources: R. Sennrich, B. Haddow, A. Birch, "Neural machine translation of rare words with subword units"
// (ACL 2016), algorithm 1; A. Radford et al. 2019 (GPT-2) for the byte alphabet and the cut into words.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/Ids.h"
#include "core/base/Status.h"
#include "core/base/Stop.h"
#include "core/tokenizer/PreTokenizers.h"

namespace decoscope {

// What was learnt. Ids: the special tokens, the 256 bytes in the order of the byte-level alphabet's
// characters (as in GPT-2's own vocabulary), then what the merges made, in the order of merging.
struct BytePairVocabulary {
  std::vector<std::string> pieces;                       // by id, in the byte-to-character spelling ("Ġthe")
  std::vector<std::pair<TokenId, TokenId>> merges;       // by rank
  int specialTokens = 0;                                 // how many of the first ids they take
  std::int64_t texts = 0, bytes = 0, distinctWords = 0;  // what it was learnt from
  std::int64_t tokens = 0;                               // how many tokens those texts are in it
};

struct VocabularyOptions {
  int size = 2048;  // entries in all
  std::vector<std::string> special;
  // A pair seen less often than this is not merged: it says something of one text, not of the language.
  std::int64_t leastCount = 2;
};

// Counts the words of texts, then merges. One thread. Memory: the distinct words, not the texts.
//
// Words are what the pre-tokenizer makes of a text: each digit (Unicode N) by itself, then GPT-2's pattern;
// no merge crosses their borders. The result is a function of the texts as a multiset: the pair that is
// merged next is the one with the highest count and, of several, the one with the smallest left id, then
// right id. A pair that spells a piece which is there already gets that piece's id, and no new entry. These
// are the rules of BpeTrainer in Hugging Face's tokenizers, which makes the same merges.
class BytePairTrainer {
 public:
  static Result<BytePairTrainer> make();

  // `text` holds no special tokens. Errors: badInput for ill-formed UTF-8.
  Status add(std::string_view text);
  // Errors: usage (a size that has no room for bytes and special tokens, or beyond 2^20), badInput (the texts
  // have too few pairs to fill it), cancelled.
  Result<BytePairVocabulary> learn(const VocabularyOptions& options, const StopToken& stop) const;

 private:
  explicit BytePairTrainer(PreTokenizerPointer words) : preTokenizer_(std::move(words)) {}
  PreTokenizerPointer preTokenizer_;
  std::unordered_map<std::string, std::int64_t> words_;  // spelled in the byte alphabet
  std::int64_t texts_ = 0, bytes_ = 0;
};

}  // namespace decoscope
