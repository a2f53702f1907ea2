// Text to token ids and back.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/Ids.h"
#include "core/base/Status.h"

namespace decoscope {

struct EncodeOptions {
  bool addSpecial = false;    // add BOS and EOS where the tokenizer's own files say so
  bool parseSpecial = false;  // match special tokens that stand in the text (other added tokens always match)
};

// Immutable once made, so one instance may be shared by any number of threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  virtual std::int32_t size() const = 0;
  // `text` may hold any bytes; ill-formed UTF-8 is encoded byte by byte where the vocabulary allows.
  virtual Result<std::vector<TokenId>> encode(std::string_view text, EncodeOptions options = {}) const = 0;
  // The bytes that this token adds to a text that has begun already, whatever stands before it; not always
  // whole characters. Out-of-range ids give "". Streams are made of these; where a vocabulary marks the
  // beginning of words (SentencePiece, WordPiece), a text's first token has a space here that decode() takes
  // away.
  virtual std::string bytesOf(TokenId token) const = 0;
  // The token's name in the vocabulary file ("Ġthe", "<|im_end|>"), as `tokenize` prints it.
  virtual std::string pieceOf(TokenId token) const = 0;
  virtual bool isSpecial(TokenId token) const = 0;
  virtual std::optional<TokenId> idOf(std::string_view piece) const = 0;

  virtual std::optional<TokenId> bos() const = 0;
  virtual std::optional<TokenId> eos() const { return std::nullopt; }
  // What chat templates see as bos_token and eos_token; empty if the model's files name none.
  virtual std::string bosText() const { return bos() ? pieceOf(*bos()) : std::string(); }
  virtual std::string eosText() const { return eos() ? pieceOf(*eos()) : std::string(); }
  // The further tokens that the model's files name for chat templates: {"unk_token", "<unk>"}, ….
  virtual std::vector<std::pair<std::string, std::string>> namedTokens() const { return {}; }
  // Every id that ends a generation: end of text, end of turn.
  virtual std::vector<TokenId> stopTokens() const = 0;
  // The chat template as it stands in the model's files (of several, the one named "default"); empty if there
  // is none.
  virtual const std::string& chatTemplate() const = 0;
  // The one named "tool_use", for chats with tools; empty if there is none.
  virtual const std::string& toolChatTemplate() const;
  // "BPE (byte-level), 49 152 pieces" or the like, for people.
  virtual std::string description() const = 0;
  // A hash of vocabulary, merges and patterns: runs record it.
  virtual const std::string& fingerprint() const = 0;

  // The whole sequence as text, as the tokenizer's own library gives it: special tokens kept unless asked,
  // the space that encoding put before the first word taken away, ill-formed UTF-8 replaced by U+FFFD. By
  // default: bytes joined, one U+FFFD per maximal ill-formed subsequence, as the Unicode standard recommends.
  virtual std::string decode(std::span<const TokenId> tokens, bool skipSpecial = false) const;
  // The sequence as what follows a text: the bytes of its tokens joined, a leading space kept.
  std::string decodeContinuation(std::span<const TokenId> tokens, bool skipSpecial = false) const;
};

// Joins token bytes and gives out only whole characters, so that a streamed text never shows half of one.
class Utf8Stream {
 public:
  // Appends bytes; returns the characters completed by them.
  std::string push(std::string_view bytes);
  // What is left at the end, ill-formed parts as U+FFFD.
  std::string finish();

 private:
  std::string pending_;
};

// Replaces ill-formed UTF-8 by U+FFFD.
std::string validUtf8(std::string_view bytes);

// What a byte-level BPE tokenizer is made of, however its file spells it.
struct VocabularyData {
  enum class PieceType : std::uint8_t { normal, control, userDefined, unused, unknown };
  std::vector<std::string> pieces;  // by id, in the byte-to-character spelling ("Ġthe")
  std::vector<PieceType> types;     // by id; empty: all normal
  std::vector<std::pair<std::string, std::string>> merges;  // by rank
  std::vector<std::string> splitPatterns;  // pre-tokenizer regexes, applied one after another
  bool composeNfc = false;                 // normalise to Unicode form C first
  bool ignoreMerges = false;               // a whole word in the vocabulary is taken as it is
  bool byteLevel = true;  // false: pieces are plain text with U+2581 for spaces and "<0x0A>" for single bytes
  bool addBos = false, addEos = false;
  std::optional<TokenId> bos, eos;
  std::vector<TokenId> stops;  // eos and end-of-turn ids
  std::string chatTemplate, toolTemplate;
  std::string source;  // file name, for errors and descriptions
};
Result<std::shared_ptr<const Tokenizer>> makeBytePairTokenizer(VocabularyData data);

// Reads the tokenizer of a Hugging Face folder, or of a single tokenizer.json:
// - tokenizer.json: the whole pipeline that the library tokenizers knows, except at-random encoding
// (dropout);
// - without it: vocab.json with merges.txt (GPT-2, RoBERTa, Qwen 2), vocab.txt (BERT), tokenizer.model
// (SentencePiece);
// - beside it: tokenizer_config.json, special_tokens_map.json, chat_template.jinja or .json,
// generation_config.json
//   and config.json for what begins and ends a text.
// What is not supported is refused by name (ErrorCode::unsupported). Memory stays below 40 times the size of
// the files and 16 MiB. A GGUF's tokenizer is read by loadModelTokenizer (core/model).
Result<std::shared_ptr<const Tokenizer>> loadTokenizer(const std::string& path);

// The text of a tokenizer.json; `where` names it in errors.
Result<std::shared_ptr<const Tokenizer>> readTokenizer(std::string_view text, const std::string& where);

}  // namespace decoscope
