// Normalizers, pre-tokenizers, post-processors and decoders of a tokenizer.json.
#include <array>

#include "core/tokenizer/Patterns.h"
#include "core/tokenizer/TokenizerJson.h"

namespace decoscope::tokenizerJson {

namespace {

constexpr int kDeepest = 32;

Status checkDepth(int depth, const std::string& where) {
  if (depth > kDeepest) return fail(ErrorCode::badInput, "sequences are nested too deeply", where);
  return {};
}

tl::unexpected<Error> unsupported(const char* what, const std::string& type, const std::string& where,
                                  const char* supported) {
  return fail(ErrorCode::unsupported, std::string("the ") + what + " '" + type + "' is not supported", where,
              std::string("Supported: ") + supported + ".");
}

Result<std::shared_ptr<const Regex>> readPattern(const json& step, const std::string& where) {
  const auto found = step.find("pattern");
  if (found == step.end()) return fail(ErrorCode::badInput, "a step has no pattern", where);
  if (found->is_string()) return Regex::literal(found->get<std::string>(), where);
  if (found->is_object() && found->contains("Regex")) return Regex::compile(textOf(*found, "Regex"), where);
  if (found->is_object() && found->contains("String")) return Regex::literal(textOf(*found, "String"), where);
  return fail(ErrorCode::badInput, "a pattern is neither a String nor a Regex", where);
}

Result<SplitBehaviour> readBehaviour(const json& step, const std::string& fallback,
                                     const std::string& where) {
  std::string name = textOf(step, "behavior");
  if (name.empty()) name = fallback;
  if (name == "Removed") return SplitBehaviour::removed;
  if (name == "Isolated") return SplitBehaviour::isolated;
  if (name == "MergedWithPrevious") return SplitBehaviour::mergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehaviour::mergedWithNext;
  if (name == "Contiguous") return SplitBehaviour::contiguous;
  return fail(ErrorCode::badInput, "unknown split behaviour '" + name + "'", where);
}

Result<std::string> decodeBase64(std::string_view text, const std::string& where) {
  static const std::array<std::int8_t, 256> values = [] {
    std::array<std::int8_t, 256> table;
    table.fill(-1);
    const std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (std::size_t i = 0; i < letters.size(); ++i)
      table[static_cast<unsigned char>(letters[i])] = static_cast<std::int8_t>(i);
    return table;
  }();
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string out;
  out.reserve(text.size() * 3 / 4);
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int value = values[static_cast<unsigned char>(c)];
    if (value < 0) return fail(ErrorCode::badInput, "the precompiled character map is not base64", where);
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>(bits >> count & 0xFF);
    }
  }
  return out;
}

PrependScheme prependScheme(const json& step) {
  const std::string scheme = textOf(step, "prepend_scheme");
  if (!flagOf(step, "add_prefix_space", true) || scheme == "never") return PrependScheme::never;
  return scheme == "first" ? PrependScheme::first : PrependScheme::always;
}

std::string replacementOf(const json& step) {
  const std::string text = textOf(step, "replacement");
  return text.empty() ? "\u2581" : text;
}

}  // namespace

Result<NormalizerPointer> readNormalizer(const json& step, const std::string& where, int depth) {
  DECOSCOPE_TRY(checkDepth(depth, where));
  if (step.is_null()) return NormalizerPointer();
  const std::string type = textOf(step, "type");
  if (type == "Sequence") {
    std::vector<NormalizerPointer> steps;
    for (const json& inner : memberOf(step, "normalizers")) {
      DECOSCOPE_ASSIGN(auto read, readNormalizer(inner, where, depth + 1));
      if (read) steps.push_back(std::move(read));
    }
    return makeNormalizerSequence(std::move(steps));
  }
  if (type == "NFC") return makeUnicodeNormalizer(NormalForm::nfc);
  if (type == "NFD") return makeUnicodeNormalizer(NormalForm::nfd);
  if (type == "NFKC") return makeUnicodeNormalizer(NormalForm::nfkc);
  if (type == "NFKD") return makeUnicodeNormalizer(NormalForm::nfkd);
  if (type == "Lowercase") return makeLowercaseNormalizer();
  if (type == "Strip")
    return makeStripNormalizer(flagOf(step, "strip_left", true), flagOf(step, "strip_right", true));
  if (type == "StripAccents") return makeStripAccentsNormalizer();
  if (type == "Prepend") return makePrependNormalizer(textOf(step, "prepend"));
  if (type == "Nmt") return makeNmtNormalizer();
  if (type == "ByteLevel") return makeByteLevelNormalizer();
  if (type == "Replace") {
    DECOSCOPE_ASSIGN(auto pattern, readPattern(step, where));
    return makeReplaceNormalizer(std::move(pattern), textOf(step, "content"));
  }
  if (type == "BertNormalizer") {
    BertNormalizerOptions options;
    options.cleanText = flagOf(step, "clean_text", true);
    options.chineseCharacters = flagOf(step, "handle_chinese_chars", true);
    options.lowercase = flagOf(step, "lowercase", true);
    options.stripAccents = flagOf(step, "strip_accents", options.lowercase);
    return makeBertNormalizer(options);
  }
  if (type == "Precompiled") {
    DECOSCOPE_ASSIGN(std::string charsmap, decodeBase64(textOf(step, "precompiled_charsmap"), where));
    return makePrecompiledNormalizer(std::move(charsmap), where);
  }
  return unsupported(
      "normalizer", type, where,
      "BertNormalizer, ByteLevel, Lowercase, NFC, NFD, NFKC, NFKD, Nmt, Precompiled, Prepend, Replace, "
      "Sequence, Strip, StripAccents");
}

Result<PreTokenizerPointer> readPreTokenizer(const json& step, const std::string& where, int depth) {
  DECOSCOPE_TRY(checkDepth(depth, where));
  if (step.is_null()) return PreTokenizerPointer();
  const std::string type = textOf(step, "type");
  if (type == "Sequence") {
    std::vector<PreTokenizerPointer> steps;
    for (const json& inner : memberOf(step, "pretokenizers")) {
      DECOSCOPE_ASSIGN(auto read, readPreTokenizer(inner, where, depth + 1));
      if (read) steps.push_back(std::move(read));
    }
    return makePreTokenizerSequence(std::move(steps));
  }
  if (type == "ByteLevel") {
    std::shared_ptr<const Regex> pattern;
    if (flagOf(step, "use_regex", true)) {
      DECOSCOPE_ASSIGN(pattern, Regex::compile(kGpt2Pattern, where));
    }
    return makeByteLevel(std::move(pattern), flagOf(step, "add_prefix_space", true));
  }
  if (type == "Split") {
    DECOSCOPE_ASSIGN(auto pattern, readPattern(step, where));
    DECOSCOPE_ASSIGN(const SplitBehaviour behaviour, readBehaviour(step, "", where));
    return makeSplit(std::move(pattern), behaviour, flagOf(step, "invert", false));
  }
  if (type == "Metaspace")
    return makeMetaspace(replacementOf(step), prependScheme(step), flagOf(step, "split", true));
  if (type == "Whitespace") return makeWords();
  if (type == "WhitespaceSplit") return makeCharacterSplit(isWhitespace, SplitBehaviour::removed);
  if (type == "BertPreTokenizer") {
    std::vector<PreTokenizerPointer> steps;
    steps.push_back(makeCharacterSplit(isWhitespace, SplitBehaviour::removed));
    steps.push_back(makeCharacterSplit(isPunctuation, SplitBehaviour::isolated));
    return makePreTokenizerSequence(std::move(steps));
  }
  if (type == "Punctuation") {
    DECOSCOPE_ASSIGN(const SplitBehaviour behaviour, readBehaviour(step, "Isolated", where));
    return makeCharacterSplit(isPunctuation, behaviour);
  }
  if (type == "Digits")
    return makeCharacterSplit(isNumeric, flagOf(step, "individual_digits", false)
                                             ? SplitBehaviour::isolated
                                             : SplitBehaviour::contiguous);
  if (type == "CharDelimiterSplit") {
    const std::string text = textOf(step, "delimiter");
    if (text.empty() || codePointAt(text).length != text.size())
      return fail(ErrorCode::badInput, "the delimiter is not one character", where);
    const char32_t delimiter = codePointAt(text).value;
    return makeCharacterSplit([delimiter](char32_t c) { return c == delimiter; }, SplitBehaviour::removed);
  }
  if (type == "UnicodeScripts") return makeUnicodeScripts();
  if (type == "FixedLength") {
    const auto found = step.find("length");
    const std::size_t length = found == step.end()           ? 5
                               : found->is_number_unsigned() ? found->get<std::size_t>()
                                                             : 0;
    if (length == 0) return fail(ErrorCode::badInput, "the length of pieces is not a positive number", where);
    return makeFixedLength(length);
  }
  return unsupported(
      "pre-tokenizer", type, where,
      "BertPreTokenizer, ByteLevel, CharDelimiterSplit, Digits, FixedLength, Metaspace, Punctuation, "
      "Sequence, Split, UnicodeScripts, Whitespace, WhitespaceSplit");
}

Result<PieceDecoderPointer> readDecoder(const json& step, const std::string& where, int depth) {
  DECOSCOPE_TRY(checkDepth(depth, where));
  if (step.is_null()) return makeJoiningDecoder();
  const std::string type = textOf(step, "type");
  if (type == "Sequence") {
    std::vector<PieceDecoderPointer> steps;
    for (const json& inner : memberOf(step, "decoders")) {
      DECOSCOPE_ASSIGN(auto read, readDecoder(inner, where, depth + 1));
      steps.push_back(std::move(read));
    }
    return makeDecoderSequence(std::move(steps));
  }
  if (type == "ByteLevel") return makeByteLevelDecoder();
  if (type == "Metaspace")
    return makeMetaspaceDecoder(replacementOf(step), prependScheme(step) != PrependScheme::never);
  if (type == "WordPiece") return makeWordPieceDecoder(textOf(step, "prefix"), flagOf(step, "cleanup", true));
  if (type == "BPEDecoder") return makeSuffixDecoder(textOf(step, "suffix"));
  if (type == "ByteFallback") return makeByteFallbackDecoder();
  if (type == "Fuse") return makeFuseDecoder();
  if (type == "Strip") {
    const auto count = [&](const char* key) {
      const auto found = step.find(key);
      return found != step.end() && found->is_number_unsigned() ? found->get<std::size_t>() : std::size_t{0};
    };
    return makeStripDecoder(textOf(step, "content"), count("start"), count("stop"));
  }
  if (type == "Replace") {
    DECOSCOPE_ASSIGN(auto pattern, readPattern(step, where));
    return makeReplaceDecoder(std::move(pattern), textOf(step, "content"));
  }
  if (type == "CTC")
    return makeCtcDecoder(textOf(step, "pad_token"), textOf(step, "word_delimiter_token"),
                          flagOf(step, "cleanup", true));
  return unsupported(
      "decoder", type, where,
      "BPEDecoder, ByteFallback, ByteLevel, CTC, Fuse, Metaspace, Replace, Sequence, Strip, WordPiece");
}

namespace {

Result<TokenId> idIn(const json& value, const std::string& where) {
  // Generous: an id beyond the vocabulary is found later.
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > 0x7FFFFFFF)
    return fail(ErrorCode::badInput, "the post-processor names a token id that is no id", where);
  return static_cast<TokenId>(value.get<std::uint64_t>());
}

Status readTemplate(const json& step, const std::string& where, TokenTemplate& out) {
  const json& tokens = memberOf(step, "special_tokens");
  for (const json& part : memberOf(step, "single")) {
    if (const auto sequence = part.find("Sequence"); sequence != part.end()) {
      if (textOf(*sequence, "id") != "A")
        return fail(ErrorCode::badInput, "the template for one text names a second one", where);
      out.push_back(std::nullopt);
      continue;
    }
    const std::string name = textOf(memberOf(part, "SpecialToken"), "id");
    const json& token = memberOf(tokens, name.c_str());
    if (!token.contains("ids"))
      return fail(ErrorCode::badInput, "the template names the token '" + name + "' and does not define it",
                  where);
    for (const json& value : token["ids"]) {
      DECOSCOPE_ASSIGN(const TokenId id, idIn(value, where));
      out.push_back(id);
    }
  }
  return {};
}

// ["[CLS]", 101]
Result<TokenId> pairedId(const json& step, const char* key, const std::string& where) {
  const json& pair = memberOf(step, key);
  if (!pair.is_array() || pair.size() != 2)
    return fail(ErrorCode::badInput,
                std::string("the post-processor's '") + key + "' is not a token and its id", where);
  return idIn(pair[1], where);
}

}  // namespace

Status readPostProcessor(const json& step, const std::string& where, std::vector<TokenTemplate>& out,
                         int depth) {
  DECOSCOPE_TRY(checkDepth(depth, where));
  if (step.is_null()) return {};
  const std::string type = textOf(step, "type");
  if (type == "Sequence") {
    for (const json& inner : memberOf(step, "processors"))
      DECOSCOPE_TRY(readPostProcessor(inner, where, out, depth + 1));
    return {};
  }
  if (type == "ByteLevel") return {};  // moves offsets only
  if (type == "TemplateProcessing") {
    TokenTemplate around;
    DECOSCOPE_TRY(readTemplate(step, where, around));
    out.push_back(std::move(around));
    return {};
  }
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    DECOSCOPE_ASSIGN(const TokenId cls, pairedId(step, "cls", where));
    DECOSCOPE_ASSIGN(const TokenId sep, pairedId(step, "sep", where));
    out.push_back({cls, std::nullopt, sep});
    return {};
  }
  return unsupported("post-processor", type, where,
                     "BertProcessing, ByteLevel, RobertaProcessing, Sequence, TemplateProcessing");
}

}  // namespace decoscope::tokenizerJson
