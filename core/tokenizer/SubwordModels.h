// The third step of a tokenizer's pipeline: a piece of text becomes tokens.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/Status.h"
#include "core/tokenizer/Vocabulary.h"

namespace decoscope {

// Immutable; safe to share between threads. Time grows with n log n of a piece's length at most.
class SubwordModel {
 public:
  virtual ~SubwordModel() = default;
  virtual const Vocabulary& vocabulary() const = 0;
  // Appends the tokens of a piece. Errors: a character that the vocabulary has no token for, where the kind
  // of model calls for one.
  virtual Status encode(std::string_view piece, std::vector<TokenId>& out) const = 0;
  // "BPE", "Unigram", …, for people.
  virtual std::string kind() const = 0;
};
using SubwordModelPointer = std::unique_ptr<const SubwordModel>;

// Byte-pair encoding (Sennrich et al. 2016): adjacent symbols are merged, the lowest rank first.
struct BytePairOptions {
  // What becomes of a character without a token, when there is no unknown token either.
  enum class Leftover { drop, rawBytes, hexBytes };
  std::optional<std::string> unknown;
  std::string continuingPrefix, wordSuffix;
  bool byteFallback = false;  // characters without a token become "<0x0A>" tokens
  bool fuseUnknown = false;
  bool ignoreMerges = false;  // a whole piece in the vocabulary is taken as it is
  // As llama.cpp reads GGUF files: merges may name pieces that the vocabulary lacks; of two equal merges the
  // first counts; what has no token in the end becomes single bytes.
  bool lenient = false;
  Leftover leftover = Leftover::drop;
};
using Merges = std::vector<std::pair<std::string, std::string>>;
Result<SubwordModelPointer> makeBytePairModel(Vocabulary vocabulary, const Merges& merges,
                                              BytePairOptions options, const std::string& where);

// Unigram language model (Kudo 2018): the most probable sequence of pieces.
struct UnigramOptions {
  std::vector<double> scores;   // by id
  std::vector<bool> matchable;  // by id; empty: all
  std::optional<TokenId> unknown;
  double unknownScore = 0;  // of one character
  bool byteFallback = false;
};
Result<SubwordModelPointer> makeUnigramModel(Vocabulary vocabulary, UnigramOptions options,
                                             const std::string& where);

// Greedy longest match (Schuster and Nakajima 2012).
struct WordPieceOptions {
  std::string unknown = "[UNK]";
  std::string firstPrefix;  // stands before the first piece of a word
  std::string continuingPrefix = "##";
  std::size_t maximumCharacters = 100;  // longer words are unknown; 0: no limit
};
Result<SubwordModelPointer> makeWordPieceModel(Vocabulary vocabulary, WordPieceOptions options,
                                               const std::string& where);

Result<SubwordModelPointer> makeWordLevelModel(Vocabulary vocabulary, std::string unknown,
                                               const std::string& where);

// SentencePiece BPE as llama.cpp runs it: of two adjacent symbols that form a token, those of the highest
// score are merged first; characters without a token become "<0x0A>" tokens. Takes any bytes.
struct ScoredMergeOptions {
  std::vector<float> scores;  // by id
  std::optional<TokenId> unknown;
};
Result<SubwordModelPointer> makeScoredMergeModel(Vocabulary vocabulary, ScoredMergeOptions options,
                                                 const std::string& where);

}  // namespace decoscope
