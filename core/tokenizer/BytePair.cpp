// Byte-level BPE from its bare parts.
#include <algorithm>

#include "core/tokenizer/ByteAlphabet.h"
#include "core/tokenizer/Pipeline.h"

namespace decoscope {

Result<std::shared_ptr<const Tokenizer>> makeBytePairTokenizer(VocabularyData data) {
  using PieceType = VocabularyData::PieceType;
  if (data.pieces.empty()) return fail(ErrorCode::badInput, "the vocabulary is empty", data.source);
  if (!data.types.empty() && data.types.size() != data.pieces.size())
    return fail(ErrorCode::badInput,
                "there are " + std::to_string(data.types.size()) + " token types for " +
                    std::to_string(data.pieces.size()) + " tokens",
                data.source);
  PipelineParts parts;
  parts.source = data.source;
  Fingerprint fingerprint;
  for (const std::string& piece : data.pieces) fingerprint.mix(piece);
  for (const auto& [left, right] : data.merges) fingerprint.mix(left), fingerprint.mix(right);
  for (const std::string& pattern : data.splitPatterns) fingerprint.mix(pattern);
  parts.fingerprint = fingerprint.text("bpe");
  parts.kind = data.byteLevel ? "BPE (byte-level)" : "BPE";

  const bool raw = !data.byteLevel;
  for (std::size_t id = 0; id < data.pieces.size(); ++id) {
    const std::string& piece = data.pieces[id];
    const PieceType type = data.types.empty() ? PieceType::normal : data.types[id];
    const bool added =
        type == PieceType::control || type == PieceType::userDefined || type == PieceType::unknown;
    if (added && !piece.empty()) {
      AddedToken token;
      token.content = piece;
      token.id = static_cast<TokenId>(id);
      token.special = type != PieceType::userDefined;
      parts.added.push_back(std::move(token));
    }
    std::string bytes = piece;
    if (!added && raw) {
      if (const auto byte = byteOfFallbackPiece(piece)) {
        bytes.assign(1, static_cast<char>(*byte));
      } else {
        for (std::size_t at; (at = bytes.find("\u2581")) != std::string::npos;) bytes.replace(at, 3, " ");
      }
    } else if (!added) {
      bytes = unspellBytes(piece);
    }
    parts.bytes.push_back(std::move(bytes));
  }
  parts.addedOrder = AddedTokens::Order::longestFirst;

  std::vector<PreTokenizerPointer> steps;
  for (const std::string& pattern : data.splitPatterns) {
    DECOSCOPE_ASSIGN(auto compiled, Regex::compile(pattern, data.source));
    steps.push_back(makeSplit(std::move(compiled), SplitBehaviour::isolated, false));
  }
  if (!raw) steps.push_back(makeByteLevel(nullptr, false));
  parts.preTokenizer = makePreTokenizerSequence(std::move(steps));
  std::vector<NormalizerPointer> rewrites;
  if (data.composeNfc) rewrites.push_back(makeUnicodeNormalizer(NormalForm::nfc));
  if (raw) {
    DECOSCOPE_ASSIGN(auto space, Regex::literal(" ", data.source));
    rewrites.push_back(makeReplaceNormalizer(std::move(space), "\u2581"));
  }
  if (!rewrites.empty()) parts.normalizer = makeNormalizerSequence(std::move(rewrites));
  if (!raw) parts.illFormed = PipelineParts::IllFormed::spelled;

  BytePairOptions options;
  options.ignoreMerges = data.ignoreMerges;
  options.lenient = true;
  options.leftover = raw ? BytePairOptions::Leftover::hexBytes : BytePairOptions::Leftover::rawBytes;
  DECOSCOPE_ASSIGN(parts.model, makeBytePairModel(Vocabulary::inOrder(std::move(data.pieces), true),
                                                  data.merges, std::move(options), data.source));
  TokenTemplate around;
  if (data.addBos && data.bos) around.push_back(*data.bos);
  around.push_back(std::nullopt);
  if (data.addEos && data.eos) around.push_back(*data.eos);
  if (around.size() > 1) parts.templates.push_back(std::move(around));
  parts.bos = data.bos;
  parts.eos = data.eos;
  if (parts.bos) parts.bosText = parts.model->vocabulary().piece(*parts.bos);
  if (parts.eos) parts.eosText = parts.model->vocabulary().piece(*parts.eos);
  parts.stops = std::move(data.stops);
  parts.chatTemplate = std::move(data.chatTemplate);
  parts.toolTemplate = std::move(data.toolTemplate);
  return makePipelineTokenizer(std::move(parts));
}

}  // namespace decoscope
