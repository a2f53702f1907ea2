// tokenizer.model, through the SentencePiece library.
#include <sentencepiece_processor.h>

#include <algorithm>
#include <exception>

#include "core/tokenizer/Charsmap.h"
#include "core/tokenizer/Folder.h"

namespace decoscope {

namespace {

constexpr const char* kSpace = "\u2581";

// The library's processor as a subword model. Its normalizer is part of it, so the pipeline around has none.
class SentencePieceModel final : public SubwordModel {
 public:
  SentencePieceModel(std::shared_ptr<const sentencepiece::SentencePieceProcessor> processor,
                     Vocabulary vocabulary, std::string where)
      : processor_(std::move(processor)), vocabulary_(std::move(vocabulary)), where_(std::move(where)) {}
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::string kind() const override { return "SentencePiece"; }
  Status encode(std::string_view text, std::vector<TokenId>& out) const override {
    try {
      std::vector<int> ids;
      const auto status = processor_->Encode(absl::string_view(text.data(), text.size()), &ids);
      if (!status.ok()) return fail(ErrorCode::failed, "SentencePiece: " + status.ToString(), where_);
      out.insert(out.end(), ids.begin(), ids.end());
    } catch (const std::exception& exception) {
      return fail(ErrorCode::failed, std::string("SentencePiece: ") + exception.what(), where_);
    }
    return {};
  }

 private:
  std::shared_ptr<const sentencepiece::SentencePieceProcessor> processor_;
  Vocabulary vocabulary_;
  std::string where_;
};

// Calls visit(number, content) for the length-delimited fields of a protocol buffer; false where it is
// damaged.
template <typename Visit>
bool eachField(std::string_view message, Visit&& visit) {
  const auto number = [&](std::uint64_t& value) {
    value = 0;
    for (int shift = 0; shift < 64 && !message.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(message[0]);
      message.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  };
  while (!message.empty()) {
    std::uint64_t key = 0, length = 0;
    if (!number(key)) return false;
    switch (key & 7) {
      case 0:
        if (!number(length)) return false;
        continue;
      case 1:
        length = 8;
        break;
      case 2:
        if (!number(length)) return false;
        break;
      case 5:
        length = 4;
        break;
      default:
        return false;
    }
    if (length > message.size()) return false;
    if ((key & 7) == 2 && !visit(key >> 3, message.substr(0, length))) return false;
    message.remove_prefix(length);
  }
  return true;
}

// The library follows the character maps of a model without looking where it steps.
bool isSafe(std::string_view model, const std::string& where) {
  constexpr std::uint64_t kNormalizer = 3, kDenormalizer = 5, kCharsmap = 2;
  return eachField(model, [&](std::uint64_t field, std::string_view specification) {
    if (field != kNormalizer && field != kDenormalizer) return true;
    return eachField(specification, [&](std::uint64_t inner, std::string_view bytes) {
      if (inner != kCharsmap) return true;
      const auto map = Charsmap::read(bytes, where);
      return map && map->isClosed();
    });
  });
}

std::string bytesOfPiece(const sentencepiece::SentencePieceProcessor& processor, int id) {
  if (processor.IsUnknown(id)) return " \u2047 ";  // what the library itself shows for it
  std::string bytes = processor.IdToPiece(id);
  if (processor.IsControl(id)) return bytes;
  if (processor.IsByte(id)) {
    const int value = static_cast<int>(std::strtol(bytes.substr(3, 2).c_str(), nullptr, 16));
    return std::string(1, static_cast<char>(value));
  }
  for (std::size_t at; (at = bytes.find(kSpace)) != std::string::npos;) bytes.replace(at, 3, " ");
  return bytes;
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> readSentencePiece(const TokenizerFolder& folder) {
  const std::string where = (folder.path / "tokenizer.model").string(), name = folder.tokenizerClass();
  for (const char* other : {"XLMRobertaTokenizer", "CamembertTokenizer", "MBartTokenizer", "MBart50Tokenizer",
                            "BarthezTokenizer", "NllbTokenizer", "XGLMTokenizer", "DebertaV2Tokenizer"})
    if (name == other)
      return fail(ErrorCode::unsupported, "a " + name + " numbers its tokens in its own way", where,
                  "Save the model with its fast tokenizer and copy tokenizer.json here.");
  DECOSCOPE_ASSIGN(const std::string file, readWhole(folder.path / "tokenizer.model"));
  auto processor = std::make_shared<sentencepiece::SentencePieceProcessor>();
  std::vector<std::string> pieces;
  PipelineParts parts;
  Fingerprint fingerprint;
  fingerprint.mix(file);
  if (!isSafe(file, where))
    return fail(ErrorCode::badInput, "the SentencePiece model is damaged", where,
                "Copy or download it again.");
  try {
    const auto status = processor->LoadFromSerializedProto(absl::string_view(file.data(), file.size()));
    if (!status.ok())
      return fail(ErrorCode::badInput, "the SentencePiece model cannot be read: " + status.ToString(), where);
    for (int id = 0; id < processor->GetPieceSize(); ++id) {
      pieces.push_back(processor->IdToPiece(id));
      parts.bytes.push_back(bytesOfPiece(*processor, id));
    }
    std::vector<std::string> sample;
    if (processor->Encode("a", &sample).ok() && !sample.empty())
      parts.dropLeadingSpace = sample[0].starts_with(kSpace);
  } catch (const std::exception& exception) {
    return fail(ErrorCode::badInput,
                std::string("the SentencePiece model cannot be read: ") + exception.what(), where);
  }
  const std::size_t count = pieces.size();
  parts.source = where;
  parts.kind = "SentencePiece";
  parts.model =
      std::make_unique<SentencePieceModel>(processor, Vocabulary::inOrder(std::move(pieces), true), where);
  DECOSCOPE_ASSIGN(parts.added, folder.addedTokens(count));
  for (int id = 0; id < static_cast<int>(count); ++id) {
    if (!processor->IsControl(id) && !processor->IsUnknown(id)) continue;
    if (std::any_of(parts.added.begin(), parts.added.end(),
                    [&](const AddedToken& token) { return token.id == id; }))
      continue;
    AddedToken token;
    token.content = processor->IdToPiece(id);
    token.id = id;
    token.special = true;
    parts.added.push_back(std::move(token));
  }
  // The library normalises by itself, so there is no normalised text to look in.
  for (AddedToken& token : parts.added) token.normalized = false;
  parts.bytes.resize(parts.size());
  for (const AddedToken& token : parts.added)
    if (static_cast<std::size_t>(token.id) >= count)
      parts.bytes[static_cast<std::size_t>(token.id)] = token.content;

  describeText(folder, parts);
  const auto own = [&](int id) { return id >= 0 ? std::optional<TokenId>(id) : std::nullopt; };
  if (!parts.bos && (parts.bos = own(processor->bos_id()))) parts.bosText = processor->IdToPiece(*parts.bos);
  if (!parts.eos && (parts.eos = own(processor->eos_id()))) {
    parts.eosText = processor->IdToPiece(*parts.eos);
    parts.stops.push_back(*parts.eos);
  }
  const bool t5 = name == "T5Tokenizer";
  TokenTemplate around = {std::nullopt};
  if (folder.flag("add_bos_token", !t5) && parts.bos) around.insert(around.begin(), *parts.bos);
  if (folder.flag("add_eos_token", t5) && parts.eos) around.push_back(*parts.eos);
  if (around.size() > 1) parts.templates.push_back(std::move(around));
  parts.fingerprint = fingerprint.text("spm");
  return makePipelineTokenizer(std::move(parts));
}

}  // namespace decoscope
