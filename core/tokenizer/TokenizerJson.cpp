#include "core/tokenizer/TokenizerJson.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "core/base/JsonDepth.h"

namespace decoscope::tokenizerJson {

Result<json> parseObject(std::string_view text, const std::string& where) {
  constexpr int kDeepest = 64;
  if (jsonNestsDeeper(text, kDeepest))
    return fail(ErrorCode::badInput, "the file is nested too deeply", where);
  json document = json::parse(text.begin(), text.end(), nullptr, false);
  if (document.is_discarded() || !document.is_object())
    return fail(ErrorCode::badInput, "not a JSON object", where);
  return document;
}

std::string textOf(const json& object, const char* key) {
  if (!object.is_object()) return {};
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::string tokenText(const json& object, const char* key) {
  if (!object.is_object()) return {};
  const auto found = object.find(key);
  if (found == object.end()) return {};
  if (found->is_string()) return found->get<std::string>();
  return found->is_object() ? textOf(*found, "content") : std::string();
}

bool flagOf(const json& object, const char* key, bool fallback) {
  if (!object.is_object()) return fallback;
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() ? found->get<bool>() : fallback;
}

const json& memberOf(const json& object, const char* key) {
  static const json none = json::array();
  if (!object.is_object()) return none;
  const auto found = object.find(key);
  return found != object.end() && found->is_structured() ? *found : none;
}

namespace {

Result<Vocabulary> readVocabulary(const json& model, const std::string& where) {
  const auto found = model.find("vocab");
  if (found == model.end() || !found->is_object())
    return fail(ErrorCode::badInput, "there is no vocabulary", where + ", field model.vocab");
  Vocabulary vocabulary;
  vocabulary.reserve(found->size());
  for (const auto& [piece, id] : found->items()) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= idLimit(found->size()))
      return fail(ErrorCode::badInput, "a token id is out of range", where + ", piece " + piece);
    vocabulary.add(piece, static_cast<TokenId>(id.get<std::uint64_t>()));
  }
  return vocabulary;
}

Status readMerges(const json& model, const std::string& where, Merges& out) {
  const json& list = memberOf(model, "merges");
  out.reserve(list.size());
  for (const json& merge : list) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      out.emplace_back(merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>());
    } else if (merge.is_string()) {
      const std::string& text = merge.get_ref<const std::string&>();
      if (text.starts_with("#version")) continue;
      const auto space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos)
        return fail(ErrorCode::badInput, "a merge is not two pieces with a space between them",
                    where + ", merge '" + text + "'");
      out.emplace_back(text.substr(0, space), text.substr(space + 1));
    } else {
      return fail(ErrorCode::badInput, "a merge is neither a pair nor a string",
                  where + ", field model.merges");
    }
  }
  return {};
}

Result<SubwordModelPointer> readBytePair(const json& model, const std::string& where,
                                         Fingerprint& fingerprint) {
  if (const auto dropout = model.find("dropout");
      dropout != model.end() && dropout->is_number() && dropout->get<double>() > 0)
    return fail(ErrorCode::unsupported, "a BPE with dropout encodes at random",
                where + ", field model.dropout", "Set it to null: dropout is for training.");
  DECOSCOPE_ASSIGN(Vocabulary vocabulary, readVocabulary(model, where));
  Merges merges;
  DECOSCOPE_TRY(readMerges(model, where, merges));
  for (const auto& [left, right] : merges) fingerprint.mix(left), fingerprint.mix(right);
  BytePairOptions options;
  if (const auto unknown = model.find("unk_token"); unknown != model.end() && unknown->is_string())
    options.unknown = unknown->get<std::string>();
  options.continuingPrefix = textOf(model, "continuing_subword_prefix");
  options.wordSuffix = textOf(model, "end_of_word_suffix");
  options.byteFallback = flagOf(model, "byte_fallback", false);
  options.fuseUnknown = flagOf(model, "fuse_unk", false);
  options.ignoreMerges = flagOf(model, "ignore_merges", false);
  return makeBytePairModel(std::move(vocabulary), merges, std::move(options), where);
}

// The number as the library reads it: its reader rounds twice, which decides between sequences of equal
// probability.
double asTheLibraryReads(double value) {
  char text[40];
  const auto end = std::to_chars(text, text + sizeof text, std::fabs(value)).ptr;
  std::uint64_t digits = 0;
  int exponent = 0;
  bool fraction = false;
  for (const char* c = text; c != end; ++c) {
    if (*c == '.') {
      fraction = true;
    } else if (*c == 'e') {
      int given = 0;
      std::from_chars(c + (c[1] == '+' ? 2 : 1), end, given);
      exponent += given;
      break;
    } else {
      digits = digits * 10 + static_cast<std::uint64_t>(*c - '0');  // 17 digits at most
      if (fraction) --exponent;
    }
  }
  double result = static_cast<double>(digits);
  if (exponent < -307) {
    result /= 1e307;
    exponent += 307;
  }
  const double power =
      std::strtod(("1e" + std::to_string(std::min(std::abs(exponent), 308))).c_str(), nullptr);
  result = exponent < 0 ? result / power : result * power;
  return value < 0 ? -result : result;
}

Result<SubwordModelPointer> readUnigram(const json& model, const std::string& where,
                                        Fingerprint& fingerprint) {
  const auto list = model.find("vocab");
  if (list == model.end() || !list->is_array())
    return fail(ErrorCode::badInput, "there is no vocabulary", where + ", field model.vocab");
  std::vector<std::string> pieces;
  UnigramOptions options;
  double smallest = std::numeric_limits<double>::infinity();
  for (const json& entry : *list) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number())
      return fail(ErrorCode::badInput, "an entry of the vocabulary is not a piece and its score",
                  where + ", entry " + std::to_string(pieces.size()));
    pieces.push_back(entry[0].get<std::string>());
    options.scores.push_back(asTheLibraryReads(entry[1].get<double>()));
    smallest = std::min(smallest, options.scores.back());
    fingerprint.mix(entry[1].dump());
  }
  if (const auto unknown = model.find("unk_id"); unknown != model.end() && !unknown->is_null()) {
    if (!unknown->is_number_unsigned() || unknown->get<std::uint64_t>() >= pieces.size())
      return fail(ErrorCode::badInput, "the unknown token is not in the vocabulary",
                  where + ", field model.unk_id");
    options.unknown = static_cast<TokenId>(unknown->get<std::uint64_t>());
  }
  constexpr double kUnknownPenalty = 10;
  options.unknownScore = smallest - kUnknownPenalty;
  options.byteFallback = flagOf(model, "byte_fallback", false);
  return makeUnigramModel(Vocabulary::inOrder(std::move(pieces)), std::move(options), where);
}

Result<SubwordModelPointer> readWordPiece(const json& model, const std::string& where) {
  DECOSCOPE_ASSIGN(Vocabulary vocabulary, readVocabulary(model, where));
  WordPieceOptions options;
  if (model.contains("unk_token")) options.unknown = textOf(model, "unk_token");
  if (model.contains("continuing_subword_prefix"))
    options.continuingPrefix = textOf(model, "continuing_subword_prefix");
  if (const auto limit = model.find("max_input_chars_per_word");
      limit != model.end() && limit->is_number_unsigned())
    options.maximumCharacters = limit->get<std::size_t>();
  return makeWordPieceModel(std::move(vocabulary), std::move(options), where);
}

Status readAddedTokens(const json& document, const std::string& where, PipelineParts& parts) {
  const json& list = memberOf(document, "added_tokens");
  const std::size_t limit = idLimit(parts.model->vocabulary().size() + list.size());
  for (const json& entry : list) {
    AddedToken token;
    token.content = tokenText(entry, "content");
    if (!entry.is_object() || !entry.contains("id") || !entry["id"].is_number_unsigned() ||
        entry["id"].get<std::uint64_t>() >= limit)
      return fail(ErrorCode::badInput, "an added token has no usable id",
                  where + ", token '" + token.content + "'");
    token.id = static_cast<TokenId>(entry["id"].get<std::uint64_t>());
    if (token.content.empty()) continue;
    // The library goes by the vocabulary where it knows the text.
    token.id = parts.model->vocabulary().find(token.content).value_or(token.id);
    token.special = flagOf(entry, "special", false);
    token.singleWord = flagOf(entry, "single_word", false);
    token.stripLeft = flagOf(entry, "lstrip", false);
    token.stripRight = flagOf(entry, "rstrip", false);
    token.normalized = flagOf(entry, "normalized", !token.special);
    parts.added.push_back(std::move(token));
  }
  return {};
}

}  // namespace

Result<SubwordModelPointer> readModel(const json& model, const std::string& where, Fingerprint& fingerprint) {
  if (!model.is_object()) return fail(ErrorCode::badInput, "there is no model", where + ", field model");
  std::string type = textOf(model, "type");
  if (type.empty()) {
    // Old files do not say.
    const auto vocabulary = model.find("vocab");
    type = model.contains("merges")                              ? "BPE"
           : vocabulary != model.end() && vocabulary->is_array() ? "Unigram"
           : model.contains("max_input_chars_per_word")          ? "WordPiece"
                                                                 : "WordLevel";
  }
  if (type == "BPE") return readBytePair(model, where, fingerprint);
  if (type == "Unigram") return readUnigram(model, where, fingerprint);
  if (type == "WordPiece") return readWordPiece(model, where);
  if (type == "WordLevel") {
    DECOSCOPE_ASSIGN(Vocabulary vocabulary, readVocabulary(model, where));
    return makeWordLevelModel(std::move(vocabulary), textOf(model, "unk_token"), where);
  }
  return fail(ErrorCode::unsupported, "a tokenizer of kind '" + type + "' is not supported", where,
              "Supported: BPE, Unigram, WordLevel, WordPiece.");
}

Result<PipelineParts> readPipeline(std::string_view text, const std::string& where) {
  DECOSCOPE_ASSIGN(const json document, parseObject(text, where));
  try {
    const auto member = [&](const char* key) -> const json& {
      static const json none;
      const auto found = document.find(key);
      return found == document.end() ? none : *found;
    };
    PipelineParts parts;
    parts.source = where;
    Fingerprint fingerprint;
    DECOSCOPE_ASSIGN(parts.model, readModel(member("model"), where, fingerprint));
    DECOSCOPE_ASSIGN(parts.normalizer, readNormalizer(member("normalizer"), where));
    DECOSCOPE_ASSIGN(parts.preTokenizer, readPreTokenizer(member("pre_tokenizer"), where));
    DECOSCOPE_ASSIGN(parts.decoder, readDecoder(member("decoder"), where));
    DECOSCOPE_TRY(readPostProcessor(member("post_processor"), where, parts.templates));
    DECOSCOPE_TRY(readAddedTokens(document, where, parts));
    const auto size = static_cast<TokenId>(parts.size());
    for (const TokenTemplate& around : parts.templates)
      for (const auto& id : around)
        if (id && *id >= size)
          return fail(ErrorCode::badInput,
                      "the post-processor names the token " + std::to_string(*id) +
                          ", which is not in the vocabulary",
                      where);
    std::vector<std::string> pieces = parts.model->vocabulary().pieces();
    pieces.resize(static_cast<std::size_t>(size));
    for (const AddedToken& token : parts.added) pieces[static_cast<std::size_t>(token.id)] = token.content;
    for (const std::string& piece : pieces) fingerprint.mix(piece);
    for (const char* key : {"normalizer", "pre_tokenizer"}) fingerprint.mix(member(key).dump());
    const std::string kind = parts.model->kind();
    const std::string steps = member("pre_tokenizer").dump() + member("normalizer").dump();
    const bool byteLevel = steps.find("\"ByteLevel\"") != std::string::npos;
    parts.kind = byteLevel ? kind + " (byte-level)" : kind;
    // A prefix would come before every stretch between ill-formed bytes.
    if (byteLevel && steps.find("\"add_prefix_space\":true") == std::string::npos)
      parts.illFormed = PipelineParts::IllFormed::spelled;
    std::string prefix;
    for (const char c : kind) prefix += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    parts.fingerprint = fingerprint.text(prefix);
    return parts;
  } catch (const json::exception& exception) {
    return fail(ErrorCode::badInput, std::string("the file has an unexpected shape: ") + exception.what(),
                where);
  }
}

}  // namespace decoscope::tokenizerJson
