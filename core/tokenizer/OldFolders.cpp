// Vocabularies from before tokenizer.json: vocab.json with merges.txt, and vocab.txt.
#include <algorithm>
#include <array>
#include <sstream>

#include "core/tokenizer/Folder.h"
#include "core/tokenizer/Patterns.h"
#include "core/tokenizer/TokenizerJson.h"

namespace decoscope {

namespace {

using nlohmann::json;

// Adds the tokens that the folder's files name, and the special ones of this kind of model if the vocabulary
// has them.
Status addTokens(const TokenizerFolder& folder, const std::vector<const char*>& keys, PipelineParts& parts) {
  DECOSCOPE_ASSIGN(parts.added, folder.addedTokens(parts.model->vocabulary().size()));
  for (const char* key : keys) {
    const std::string text = folder.tokenNamed(key);
    if (text.empty() || std::any_of(parts.added.begin(), parts.added.end(),
                                    [&](const AddedToken& token) { return token.content == text; }))
      continue;
    AddedToken token;
    token.content = text;
    token.special = true;
    const auto id = parts.model->vocabulary().find(text);
    if (!id) continue;
    token.id = *id;
    parts.added.push_back(std::move(token));
  }
  return {};
}

void fingerprintOf(const PipelineParts& parts, Fingerprint& fingerprint) {
  for (const std::string& piece : parts.model->vocabulary().pieces()) fingerprint.mix(piece);
  for (const AddedToken& token : parts.added) fingerprint.mix(token.content);
}

// The token of that text, or that text in the vocabulary.
std::optional<TokenId> named(const TokenizerFolder& folder, const PipelineParts& parts, const char* key,
                             const char* fallback) {
  const std::string text = folder.tokenNamed(key);
  return parts.idOf(text.empty() ? fallback : text);
}

constexpr std::array kSpecialKeys = {"bos_token", "eos_token", "unk_token", "pad_token",
                                     "sep_token", "cls_token", "mask_token"};

}  // namespace

Result<PipelineParts> readVocabularyAndMerges(const TokenizerFolder& folder) {
  const std::string where = (folder.path / "vocab.json").string(), name = folder.tokenizerClass();
  const bool roberta = name == "RobertaTokenizer" || name == "LongformerTokenizer" || name == "BartTokenizer";
  const bool qwen = name == "Qwen2Tokenizer";
  if (!name.empty() && !roberta && !qwen && name != "GPT2Tokenizer" && name != "CodeGenTokenizer" &&
      name != "GPTNeoXTokenizer" && name != "OPTTokenizer")
    return fail(ErrorCode::unsupported, "vocab.json of a " + name + " is not supported", where,
                "Supported: GPT2Tokenizer, RobertaTokenizer, BartTokenizer, Qwen2Tokenizer, and every "
                "tokenizer.json.");
  DECOSCOPE_ASSIGN(const json list, readJsonObject(folder.path / "vocab.json"));
  Vocabulary vocabulary;
  vocabulary.reserve(list.size());
  for (const auto& [piece, id] : list.items()) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= idLimit(list.size()))
      return fail(ErrorCode::badInput, "a token id is out of range", where + ", piece " + piece);
    vocabulary.add(piece, static_cast<TokenId>(id.get<std::uint64_t>()));
  }
  PipelineParts parts;
  parts.source = where;
  Merges merges;
  const auto text = readWhole(folder.path / "merges.txt");
  if (text) {
    std::istringstream lines(*text);
    for (std::string line; std::getline(lines, line);) {
      if (line.ends_with('\r')) line.pop_back();
      if (line.empty() || line.starts_with("#version")) continue;
      const auto space = line.find(' ');
      if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos)
        return fail(ErrorCode::badInput, "a merge is not two pieces with a space between them",
                    (folder.path / "merges.txt").string() + ", line '" + line + "'");
      merges.emplace_back(line.substr(0, space), line.substr(space + 1));
    }
  }
  Fingerprint fingerprint;
  for (const auto& [left, right] : merges) fingerprint.mix(left), fingerprint.mix(right);
  BytePairOptions options;
  if (const std::string unknown = folder.tokenNamed("unk_token"); vocabulary.find(unknown))
    options.unknown = unknown;
  DECOSCOPE_ASSIGN(parts.model, makeBytePairModel(std::move(vocabulary), merges, std::move(options), where));
  if (text) {
    DECOSCOPE_ASSIGN(auto pattern, Regex::compile(qwen ? kQwen2Pattern : kGpt2Pattern, where));
    if (qwen) parts.normalizer = makeUnicodeNormalizer(NormalForm::nfc);
    parts.preTokenizer = makeByteLevel(std::move(pattern), folder.flag("add_prefix_space", false));
    parts.decoder = makeByteLevelDecoder();
    if (!folder.flag("add_prefix_space", false)) parts.illFormed = PipelineParts::IllFormed::spelled;
    parts.kind = "BPE (byte-level)";
  } else {
    // A vocabulary without merges is one of single characters.
    parts.decoder = makeFuseDecoder();
    parts.kind = "characters";
  }
  DECOSCOPE_TRY(addTokens(folder, {kSpecialKeys.begin(), kSpecialKeys.end()}, parts));
  TokenTemplate around = {std::nullopt};
  if (roberta) {
    const auto cls = named(folder, parts, "cls_token", "<s>"),
               sep = named(folder, parts, "sep_token", "</s>");
    if (cls && sep) around = {*cls, std::nullopt, *sep};
  } else {
    const auto bos = named(folder, parts, "bos_token", "<|endoftext|>"),
               eos = named(folder, parts, "eos_token", "<|endoftext|>");
    if (folder.flag("add_bos_token", name == "OPTTokenizer") && bos) around.insert(around.begin(), *bos);
    if (folder.flag("add_eos_token", false) && eos) around.push_back(*eos);
  }
  if (around.size() > 1) parts.templates.push_back(std::move(around));
  fingerprintOf(parts, fingerprint);
  parts.fingerprint = fingerprint.text("bpe");
  return parts;
}

Result<PipelineParts> readWordList(const TokenizerFolder& folder) {
  const std::string where = (folder.path / "vocab.txt").string();
  DECOSCOPE_ASSIGN(const std::string text, readWhole(folder.path / "vocab.txt"));
  if (validUtf8(text) != text) return fail(ErrorCode::badInput, "the vocabulary is not UTF-8", where);
  std::vector<std::string> pieces;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.ends_with('\r')) line.pop_back();
    pieces.push_back(std::move(line));
  }
  PipelineParts parts;
  parts.source = where;
  parts.kind = "WordPiece";
  BertNormalizerOptions normalizer;
  normalizer.lowercase = folder.flag("do_lower_case", true);
  normalizer.chineseCharacters = folder.flag("tokenize_chinese_chars", true);
  normalizer.stripAccents = folder.flag("strip_accents", normalizer.lowercase);
  parts.normalizer = makeBertNormalizer(normalizer);
  std::vector<PreTokenizerPointer> steps;
  steps.push_back(makeCharacterSplit(isWhitespace, SplitBehaviour::removed));
  steps.push_back(makeCharacterSplit(isPunctuation, SplitBehaviour::isolated));
  parts.preTokenizer = makePreTokenizerSequence(std::move(steps));
  WordPieceOptions options;
  if (const std::string unknown = folder.tokenNamed("unk_token"); !unknown.empty()) options.unknown = unknown;
  DECOSCOPE_ASSIGN(parts.model,
                   makeWordPieceModel(Vocabulary::inOrder(std::move(pieces)), std::move(options), where));
  parts.decoder = makeWordPieceDecoder("##", true);
  DECOSCOPE_TRY(addTokens(folder, {kSpecialKeys.begin(), kSpecialKeys.end()}, parts));
  for (const char* content : {"[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"}) {
    const auto id = parts.model->vocabulary().find(content);
    const bool known = std::any_of(parts.added.begin(), parts.added.end(),
                                   [&](const AddedToken& token) { return token.content == content; });
    if (!id || known) continue;
    AddedToken token;
    token.content = content;
    token.id = *id;
    token.special = true;
    parts.added.push_back(std::move(token));
  }
  const auto cls = named(folder, parts, "cls_token", "[CLS]"),
             sep = named(folder, parts, "sep_token", "[SEP]");
  if (cls && sep) parts.templates.push_back({*cls, std::nullopt, *sep});
  Fingerprint fingerprint;
  fingerprint.mix(normalizer.lowercase ? "lowercase" : "cased");
  fingerprintOf(parts, fingerprint);
  parts.fingerprint = fingerprint.text("wordpiece");
  return parts;
}

}  // namespace decoscope
