#include "core/model/GgufTokenizer.h"

#include <algorithm>
#include <limits>

#include "core/tokenizer/ByteAlphabet.h"
#include "core/tokenizer/Patterns.h"
#include "core/tokenizer/Pipeline.h"
#include "core/tokenizer/RawNormalizers.h"

namespace decoscope {

namespace {

using PieceType = VocabularyData::PieceType;

// Kinds, as descriptions begin.
constexpr const char *kByteLevelPairs = "BPE (byte-level)", *kPairs = "BPE",
                     *kScoredMerges = "SentencePiece BPE", *kUnigram = "Unigram", *kWordPiece = "WordPiece";

template <typename T>
const T* value(const WeightFile& file, std::string_view key) {
  const auto found = file.metadata().find(key);
  return found == file.metadata().end() ? nullptr : std::get_if<T>(&found->second);
}

bool flag(const WeightFile& file, std::string_view key, bool fallback) {
  const auto* found = value<bool>(file, key);
  return found ? *found : fallback;
}

bool isOneOf(std::string_view text, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), text) != names.end();
}

bool endsGeneration(std::string_view text) {
  return isOneOf(text, {"<|eot_id|>",
                        "<|im_end|>",
                        "<|end|>",
                        "<|return|>",
                        "<|call|>",
                        "<|flush|>",
                        "<|calls|>",
                        "<end_of_turn>",
                        "<|endoftext|>",
                        "<|eom_id|>",
                        "<EOT>",
                        "_<EOT>",
                        "[EOT]",
                        "[EOS]",
                        "<|end_of_text|>",
                        "<end_of_utterance>",
                        "<eos>",
                        "<turn|>",
                        "<｜end▁of▁sentence｜>",
                        "[e~["});
}

// A vocabulary as the file spells it, checked, with what it says of the beginning and end of texts.
struct GgufVocabulary {
  std::string where;
  std::vector<std::string> pieces;
  std::vector<PieceType> types;  // by id
  std::vector<bool> isByte;      // by id
  std::vector<float> scores;     // by id; empty if the file has none
  std::optional<TokenId> bos, eos, unknown, separator;
  std::vector<TokenId> stops;

  std::optional<TokenId> named(const WeightFile& file, std::string_view key, std::int64_t fallback) const {
    const auto valid = [&](std::int64_t id) {
      return id >= 0 && id < static_cast<std::int64_t>(pieces.size());
    };
    const std::int64_t id = file.integer(key, -1);
    // Ids out of range, 2^32-1 among them, mean "none given".
    if (valid(id)) return static_cast<TokenId>(id);
    return valid(fallback) ? std::optional(static_cast<TokenId>(fallback)) : std::nullopt;
  }
  std::optional<TokenId> spelled(std::string_view text) const {
    const auto found = std::find(pieces.begin(), pieces.end(), text);
    return found == pieces.end() ? std::nullopt : std::optional(static_cast<TokenId>(found - pieces.begin()));
  }
};

Status readTypes(const WeightFile& file, GgufVocabulary& out) {
  const std::size_t count = out.pieces.size();
  out.types.assign(count, PieceType::normal);
  out.isByte.assign(count, false);
  const auto* types = value<std::vector<std::int64_t>>(file, "tokenizer.ggml.token_type");
  if (types && types->size() != count)
    return fail(ErrorCode::badInput,
                "there are " + std::to_string(types->size()) + " token types for " + std::to_string(count) +
                    " tokens",
                out.where + ", field tokenizer.ggml.token_type",
                "The file is damaged: convert or download it again.");
  for (std::size_t id = 0; types && id < count; ++id) {
    switch ((*types)[id]) {
      case 2:
        out.types[id] = PieceType::unknown;
        break;
      case 3:
        out.types[id] = PieceType::control;
        break;
      case 4:
        out.types[id] = PieceType::userDefined;
        break;
      case 5:
        out.types[id] = PieceType::unused;
        break;
      case 6:
        out.isByte[id] = byteOfFallbackPiece(out.pieces[id]).has_value();
        break;
      default:
        break;
    }
  }
  return {};
}

Status readScores(const WeightFile& file, GgufVocabulary& out) {
  const auto take = [&](const auto* list) -> Status {
    if (!list) return {};
    if (list->size() != out.pieces.size())
      return fail(ErrorCode::badInput,
                  "there are " + std::to_string(list->size()) + " scores for " +
                      std::to_string(out.pieces.size()) + " tokens",
                  out.where + ", field tokenizer.ggml.scores",
                  "The file is damaged: convert or download it again.");
    for (const auto score : *list) out.scores.push_back(static_cast<float>(score));
    return {};
  };
  DECOSCOPE_TRY(take(value<std::vector<double>>(file, "tokenizer.ggml.scores")));
  return take(value<std::vector<std::int64_t>>(file, "tokenizer.ggml.scores"));
}

// Files forget to mark what ends a turn; the well-known names do, as in llama.cpp.
void readStops(const WeightFile& file, GgufVocabulary& out) {
  const auto add = [&](std::optional<TokenId> id) {
    if (id && std::find(out.stops.begin(), out.stops.end(), *id) == out.stops.end()) out.stops.push_back(*id);
  };
  add(out.eos);
  add(out.named(file, "tokenizer.ggml.eot_token_id", -1));
  add(out.named(file, "tokenizer.ggml.eom_token_id", -1));
  const bool harmony = (out.spelled("<|return|>") && out.spelled("<|call|>")) ||
                       (out.spelled("<|calls|>") && out.spelled("<|flush|>"));
  for (std::size_t id = 0; id < out.pieces.size(); ++id) {
    const std::string& piece = out.pieces[id];
    if (harmony && piece == "<|end|>") {
      // Only the end of a message there.
      std::erase(out.stops, static_cast<TokenId>(id));
      out.types[id] = PieceType::userDefined;
    } else if (endsGeneration(piece)) {
      out.types[id] = PieceType::control;
      add(static_cast<TokenId>(id));
    } else if (isOneOf(piece, {"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"})) {
      out.types[id] = PieceType::userDefined;
    }
  }
}

Result<GgufVocabulary> readVocabulary(const WeightFile& file, const std::string& model) {
  GgufVocabulary out;
  out.where = file.path();
  const auto* pieces = value<std::vector<std::string>>(file, "tokenizer.ggml.tokens");
  if (model.empty() || !pieces)
    return fail(ErrorCode::badInput, "the file carries no tokenizer",
                out.where + ", field tokenizer.ggml.tokens", "Convert the model again with its tokenizer.");
  if (pieces->empty()) return fail(ErrorCode::badInput, "the vocabulary is empty", out.where);
  out.pieces = *pieces;
  DECOSCOPE_TRY(readTypes(file, out));
  DECOSCOPE_TRY(readScores(file, out));
  const bool llama = model == "llama", t5 = model == "t5", bert = model == "bert";
  out.bos = out.named(file, "tokenizer.ggml.bos_token_id", llama ? 1 : -1);
  out.eos = out.named(file, "tokenizer.ggml.eos_token_id", llama ? 2 : t5 ? 1 : -1);
  out.unknown = out.named(file, "tokenizer.ggml.unknown_token_id", llama ? 0 : t5 ? 2 : -1);
  if (bert) {
    if (!out.bos) out.bos = out.named(file, "tokenizer.ggml.cls_token_id", -1);
    if (!out.bos) out.bos = out.spelled("[CLS]");
    out.separator = out.named(file, "tokenizer.ggml.seperator_token_id", -1);
    if (!out.separator) out.separator = out.named(file, "tokenizer.ggml.separator_token_id", -1);
    if (!out.separator) out.separator = out.spelled("[SEP]");
    if (!out.unknown) out.unknown = out.spelled("[UNK]");
  }
  readStops(file, out);
  return out;
}

void describe(const WeightFile& file, GgufVocabulary& vocabulary, PipelineParts& parts) {
  parts.source = vocabulary.where;
  parts.bos = vocabulary.bos;
  parts.eos = vocabulary.eos;
  if (parts.bos) parts.bosText = vocabulary.pieces[static_cast<std::size_t>(*parts.bos)];
  if (parts.eos) parts.eosText = vocabulary.pieces[static_cast<std::size_t>(*parts.eos)];
  parts.stops = std::move(vocabulary.stops);
  parts.chatTemplate = file.text("tokenizer.chat_template");
  parts.toolTemplate = file.text("tokenizer.chat_template.tool_use");
}

Status surround(const WeightFile& file, const GgufVocabulary& vocabulary, bool addBos, bool addEos,
                std::optional<TokenId> last, PipelineParts& parts) {
  addBos = flag(file, "tokenizer.ggml.add_bos_token", addBos);
  addEos = flag(file, "tokenizer.ggml.add_eos_token", addEos);
  TokenTemplate around = {std::nullopt};
  if (addBos && vocabulary.bos) around.insert(around.begin(), *vocabulary.bos);
  if (last) around.push_back(*last);
  if (!last && addEos && vocabulary.eos) around.push_back(*vocabulary.eos);
  if (around.size() > 1) parts.templates.push_back(std::move(around));
  return {};
}

// Added tokens, and what every token stands for, where U+2581 is a space.
void spell(const WeightFile& file, const GgufVocabulary& vocabulary, PipelineParts& parts) {
  std::string name = file.text("general.name");
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  const bool phi3 = name.find("phi-3") != std::string::npos || name.find("phi3") != std::string::npos;
  parts.addedOrder = AddedTokens::Order::longestFirst;
  for (std::size_t id = 0; id < vocabulary.pieces.size(); ++id) {
    const std::string& piece = vocabulary.pieces[id];
    const PieceType type = vocabulary.types[id];
    const bool added =
        type == PieceType::control || type == PieceType::unknown || type == PieceType::userDefined;
    if (added && !piece.empty()) {
      AddedToken token;
      token.content = piece;
      token.id = static_cast<TokenId>(id);
      token.special = type != PieceType::userDefined;
      token.stripRight = phi3 && !isOneOf(piece, {"<unk>", "<s>", "<|endoftext|>"});
      parts.added.push_back(std::move(token));
    }
    std::string bytes = piece;
    if (!added) {
      if (vocabulary.isByte[id])
        bytes.assign(1, static_cast<char>(*byteOfFallbackPiece(piece)));
      else
        for (std::size_t at; (at = bytes.find("\u2581")) != std::string::npos;) bytes.replace(at, 3, " ");
    }
    parts.bytes.push_back(std::move(bytes));
  }
}

std::string fingerprintOf(const GgufVocabulary& vocabulary, const char* kind) {
  Fingerprint fingerprint;
  for (const std::string& piece : vocabulary.pieces) fingerprint.mix(piece);
  for (const float score : vocabulary.scores) fingerprint.mix(std::to_string(score));
  return fingerprint.text(kind);
}

Result<std::shared_ptr<const Tokenizer>> bytePair(const WeightFile& file, GgufVocabulary vocabulary) {
  std::string pre = file.text("tokenizer.ggml.pre");
  if (file.text("tokenizer.ggml.model") == "gemma4") pre = "gemma4";
  const PreTokenizerKind* kind = preTokenizerKind(pre.empty() ? "default" : pre);
  if (!kind)
    return fail(ErrorCode::unsupported, "the pre-tokenizer '" + pre + "' is not supported",
                vocabulary.where + ", field tokenizer.ggml.pre", "Supported: " + preTokenizerKinds() + ".");
  VocabularyData data;
  data.source = vocabulary.where;
  data.splitPatterns = kind->patterns;
  data.ignoreMerges = kind->ignoreMerges;
  data.byteLevel = kind->byteLevel;
  if (const auto* merges = value<std::vector<std::string>>(file, "tokenizer.ggml.merges"))
    for (const std::string& merge : *merges) {
      const auto space = merge.find(' ', 1);
      if (space == std::string::npos)
        return fail(ErrorCode::badInput, "a merge has no space between its parts",
                    vocabulary.where + ", merge '" + merge + "'");
      data.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
    }
  data.pieces = std::move(vocabulary.pieces);
  data.types = std::move(vocabulary.types);
  data.bos = vocabulary.bos;
  data.eos = vocabulary.eos;
  data.stops = std::move(vocabulary.stops);
  data.addBos = flag(file, "tokenizer.ggml.add_bos_token", kind->addBos);
  data.addEos = flag(file, "tokenizer.ggml.add_eos_token", false);
  data.chatTemplate = file.text("tokenizer.chat_template");
  data.toolTemplate = file.text("tokenizer.chat_template.tool_use");
  return makeBytePairTokenizer(std::move(data));
}

Result<std::shared_ptr<const Tokenizer>> scoredMerges(const WeightFile& file, GgufVocabulary vocabulary) {
  if (vocabulary.scores.empty()) vocabulary.scores.assign(vocabulary.pieces.size(), 0);
  PipelineParts parts;
  parts.kind = kScoredMerges;
  parts.fingerprint = fingerprintOf(vocabulary, "spm");
  parts.illFormed = PipelineParts::IllFormed::passed;
  const bool prefix = flag(file, "tokenizer.ggml.add_space_prefix", true);
  parts.normalizer = makeSpaceEscaper(prefix);
  parts.dropLeadingSpace = prefix;
  spell(file, vocabulary, parts);
  DECOSCOPE_TRY(surround(file, vocabulary, true, false, std::nullopt, parts));
  describe(file, vocabulary, parts);
  DECOSCOPE_ASSIGN(parts.model, makeScoredMergeModel(Vocabulary::inOrder(std::move(vocabulary.pieces), true),
                                                     {std::move(vocabulary.scores), vocabulary.unknown},
                                                     vocabulary.where));
  return makePipelineTokenizer(std::move(parts));
}

Result<std::shared_ptr<const Tokenizer>> unigram(const WeightFile& file, GgufVocabulary vocabulary) {
  if (vocabulary.scores.empty())
    return fail(ErrorCode::badInput, "a unigram vocabulary has no scores",
                vocabulary.where + ", field tokenizer.ggml.scores");
  if (!vocabulary.unknown)
    return fail(ErrorCode::badInput, "a unigram vocabulary has no unknown token",
                vocabulary.where + ", field tokenizer.ggml.unknown_token_id");
  std::string charsmap;
  if (const auto* bytes = value<std::vector<std::int64_t>>(file, "tokenizer.ggml.precompiled_charsmap"))
    for (const std::int64_t byte : *bytes) charsmap += static_cast<char>(byte);
  DECOSCOPE_ASSIGN(Charsmap map, Charsmap::read(charsmap, vocabulary.where));
  UnigramNormalizerOptions normalizer;
  normalizer.spacePrefix = flag(file, "tokenizer.ggml.add_space_prefix", false);
  normalizer.mergeSpaces = flag(file, "tokenizer.ggml.remove_extra_whitespaces", false);
  normalizer.escapeSpaces = flag(file, "tokenizer.ggml.escape_whitespaces", true);
  normalizer.spaceAsSuffix = flag(file, "tokenizer.ggml.treat_whitespace_as_suffix", false);
  PipelineParts parts;
  parts.kind = kUnigram;
  parts.fingerprint = fingerprintOf(vocabulary, "unigram");
  parts.illFormed = PipelineParts::IllFormed::passed;
  parts.dropLeadingSpace = normalizer.spacePrefix || normalizer.mergeSpaces;
  parts.normalizer = makeUnigramNormalizer(std::move(map), normalizer);
  spell(file, vocabulary, parts);
  DECOSCOPE_TRY(surround(file, vocabulary, false, true, std::nullopt, parts));
  describe(file, vocabulary, parts);
  UnigramOptions options;
  double smallest = std::numeric_limits<float>::max();
  for (std::size_t id = 0; id < vocabulary.pieces.size(); ++id) {
    const PieceType type = vocabulary.types[id];
    const bool normal = type == PieceType::normal && !vocabulary.isByte[id];
    if (normal) smallest = std::min<double>(smallest, vocabulary.scores[id]);
    // Tokens that the user defined win against any sum of log-probabilities.
    options.scores.push_back(type == PieceType::userDefined ? 0.0 : vocabulary.scores[id]);
    options.matchable.push_back(normal || type == PieceType::userDefined || type == PieceType::unused);
  }
  options.unknown = vocabulary.unknown;
  constexpr float kUnknownPenalty = 10;
  options.unknownScore = static_cast<float>(smallest) - kUnknownPenalty;
  DECOSCOPE_ASSIGN(parts.model, makeUnigramModel(Vocabulary::inOrder(std::move(vocabulary.pieces), true),
                                                 std::move(options), vocabulary.where));
  return makePipelineTokenizer(std::move(parts));
}

Result<std::shared_ptr<const Tokenizer>> wordPiece(const WeightFile& file, GgufVocabulary vocabulary) {
  PipelineParts parts;
  parts.kind = kWordPiece;
  parts.fingerprint = fingerprintOf(vocabulary, "wordpiece");
  parts.dropLeadingSpace = true;
  BertNormalizerOptions normalizer;
  normalizer.lowercase = flag(file, "tokenizer.ggml.normalizer.lowercase", true);
  normalizer.stripAccents = flag(file, "tokenizer.ggml.normalizer.strip_accents", normalizer.lowercase);
  parts.normalizer = makeBertNormalizer(normalizer);
  std::vector<PreTokenizerPointer> steps;
  steps.push_back(makeCharacterSplit(isWhitespace, SplitBehaviour::removed));
  steps.push_back(makeCharacterSplit(isPunctuation, SplitBehaviour::isolated));
  parts.preTokenizer = makePreTokenizerSequence(std::move(steps));
  spell(file, vocabulary, parts);
  for (const AddedToken& token : parts.added) parts.bytes[static_cast<std::size_t>(token.id)].insert(0, " ");
  DECOSCOPE_TRY(surround(file, vocabulary, true, false, vocabulary.separator, parts));
  describe(file, vocabulary, parts);
  WordPieceOptions options;
  // The converter writes the beginnings of words with U+2581 and takes the "##" off the rest.
  options.firstPrefix = "\u2581";
  options.continuingPrefix.clear();
  if (vocabulary.unknown) options.unknown = vocabulary.pieces[static_cast<std::size_t>(*vocabulary.unknown)];
  DECOSCOPE_ASSIGN(parts.model, makeWordPieceModel(Vocabulary::inOrder(std::move(vocabulary.pieces), true),
                                                   std::move(options), vocabulary.where));
  return makePipelineTokenizer(std::move(parts));
}

}  // namespace

std::string ggufTokenizerKind(const std::string& model, const std::string& pre) {
  if (model == "gpt2" || model == "gemma4") {
    const PreTokenizerKind* kind = preTokenizerKind(model == "gemma4" ? model
                                                    : pre.empty()     ? "default"
                                                                      : pre);
    return !kind ? "" : kind->byteLevel ? kByteLevelPairs : kPairs;
  }
  return model == "llama" ? kScoredMerges : model == "t5" ? kUnigram : model == "bert" ? kWordPiece : "";
}

Result<std::shared_ptr<const Tokenizer>> tokenizerFromGguf(const WeightFile& file) {
  const std::string model = file.text("tokenizer.ggml.model");
  DECOSCOPE_ASSIGN(GgufVocabulary vocabulary, readVocabulary(file, model));
  if (model == "gpt2" || model == "gemma4") return bytePair(file, std::move(vocabulary));
  if (model == "llama") return scoredMerges(file, std::move(vocabulary));
  if (model == "t5") return unigram(file, std::move(vocabulary));
  if (model == "bert") return wordPiece(file, std::move(vocabulary));
  return fail(
      ErrorCode::unsupported, "a tokenizer of kind '" + model + "' is not supported",
      file.path() + ", field tokenizer.ggml.model",
      "Supported: gpt2 (byte-level BPE), gemma4, llama (SentencePiece BPE), t5 (unigram), bert (WordPiece).");
}

}  // namespace decoscope
