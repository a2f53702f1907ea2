#include "core/tokenizer/Pipeline.h"

#include <algorithm>
#include <cstdio>

#include "core/base/Utf8.h"
#include "core/tokenizer/ByteAlphabet.h"

namespace decoscope {

namespace {

std::size_t wellFormedLength(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const Utf8Step step = utf8Step(text.substr(at));
    if (!step.valid) break;
    at += step.length;
  }
  return at;
}

class PipelineTokenizer final : public Tokenizer {
 public:
  static Result<std::shared_ptr<const Tokenizer>> create(PipelineParts parts) {
    auto tokenizer = std::make_shared<PipelineTokenizer>();
    DECOSCOPE_TRY(tokenizer->build(std::move(parts)));
    return std::shared_ptr<const Tokenizer>(std::move(tokenizer));
  }

  std::int32_t size() const override { return static_cast<std::int32_t>(pieces_.size()); }
  std::string bytesOf(TokenId token) const override {
    return inRange(token) ? bytes_[static_cast<std::size_t>(token)] : std::string();
  }
  std::string pieceOf(TokenId token) const override {
    return inRange(token) ? pieces_[static_cast<std::size_t>(token)] : std::string();
  }
  bool isSpecial(TokenId token) const override {
    const AddedToken* added = added_.find(token);
    return added && added->special;
  }
  std::optional<TokenId> idOf(std::string_view piece) const override {
    const auto found = addedIds_.find(piece);
    return found != addedIds_.end() ? std::optional(found->second) : parts_.model->vocabulary().find(piece);
  }
  std::optional<TokenId> bos() const override { return parts_.bos; }
  std::optional<TokenId> eos() const override { return parts_.eos; }
  std::string bosText() const override { return parts_.bosText; }
  std::string eosText() const override { return parts_.eosText; }
  std::vector<std::pair<std::string, std::string>> namedTokens() const override { return parts_.named; }
  std::vector<TokenId> stopTokens() const override { return parts_.stops; }
  const std::string& chatTemplate() const override { return parts_.chatTemplate; }
  const std::string& toolChatTemplate() const override { return parts_.toolTemplate; }
  std::string description() const override { return parts_.kind + ", " + std::to_string(size()) + " pieces"; }
  const std::string& fingerprint() const override { return parts_.fingerprint; }

  Result<std::vector<TokenId>> encode(std::string_view text, EncodeOptions options) const override {
    std::vector<TokenId> ids;
    const std::size_t good =
        parts_.illFormed == PipelineParts::IllFormed::passed ? text.size() : wellFormedLength(text);
    if (good == text.size())
      DECOSCOPE_TRY(run(text, options.parseSpecial, ids));
    else if (parts_.illFormed == PipelineParts::IllFormed::replaced)
      DECOSCOPE_TRY(run(validUtf8(text), options.parseSpecial, ids));
    else
      DECOSCOPE_TRY(runAroundBadBytes(text, options.parseSpecial, ids));
    if (options.addSpecial) {
      for (const TokenTemplate& around : parts_.templates) {
        std::vector<TokenId> wrapped;
        for (const auto& part : around) {
          if (part)
            wrapped.push_back(*part);
          else
            wrapped.insert(wrapped.end(), ids.begin(), ids.end());
        }
        ids.swap(wrapped);
      }
    }
    return ids;
  }

  std::string decode(std::span<const TokenId> tokens, bool skipSpecial) const override {
    std::vector<std::string> pieces;
    pieces.reserve(tokens.size());
    const bool whole = parts_.decoder != nullptr;
    for (const TokenId token : tokens) {
      if (!inRange(token) || !known_[static_cast<std::size_t>(token)] || (skipSpecial && isSpecial(token)))
        continue;
      const auto found = whole ? found_.find(token) : found_.end();
      pieces.push_back(found != found_.end() ? found->second
                                             : (whole ? pieces_ : bytes_)[static_cast<std::size_t>(token)]);
    }
    if (whole) {
      parts_.decoder->decode(pieces);
    } else if (parts_.dropLeadingSpace && !pieces.empty() && pieces[0].starts_with(' ')) {
      pieces[0].erase(0, 1);
    }
    std::string text;
    for (const std::string& piece : pieces) text += piece;
    return validUtf8(text);
  }

 private:
  bool inRange(TokenId token) const { return token >= 0 && token < size(); }

  Status build(PipelineParts parts) {
    parts_ = std::move(parts);
    const std::size_t count = parts_.size();
    if (count == 0) return fail(ErrorCode::badInput, "the vocabulary is empty", parts_.source);
    pieces_ = parts_.model->vocabulary().pieces();
    pieces_.resize(count);
    known_.resize(count);
    for (std::size_t id = 0; id < pieces_.size(); ++id)
      known_[id] = !pieces_[id].empty() || parts_.model->vocabulary().find("") == static_cast<TokenId>(id);
    for (const AddedToken& token : parts_.added) {
      pieces_[static_cast<std::size_t>(token.id)] = token.content;
      known_[static_cast<std::size_t>(token.id)] = true;
      addedIds_.insert_or_assign(token.content, token.id);
    }
    DECOSCOPE_ASSIGN(added_,
                     AddedTokens::make(std::move(parts_.added), parts_.addedOrder, parts_.normalizer.get()));
    for (const AddedToken& token : added_.tokens())
      if (token.found != token.content) found_.insert_or_assign(token.id, token.found);
    if (parts_.decoder) {
      bytes_ = pieces_;
      for (const auto& [id, text] : found_) bytes_[static_cast<std::size_t>(id)] = text;
      for (std::string& piece : bytes_) parts_.decoder->middle(piece);
    } else {
      bytes_ = std::move(parts_.bytes);
      bytes_.resize(count);
    }
    const auto foreign = [&](TokenId id) { return !inRange(id); };
    parts_.stops.erase(std::remove_if(parts_.stops.begin(), parts_.stops.end(), foreign), parts_.stops.end());
    return {};
  }

  Status run(std::string_view text, bool parseSpecial, std::vector<TokenId>& ids) const {
    if (text.empty()) return {};
    Piece whole;
    whole.text = text;
    whole.atStart = true;
    whole.fromFirst = std::max<std::size_t>(utf8Step(text).length, 1);
    std::vector<Piece> found, pieces;
    added_.split(whole, false, parseSpecial, found);
    for (Piece& piece : found) {
      if (piece.token) {
        pieces.push_back(std::move(piece));
        continue;
      }
      if (parts_.normalizer) DECOSCOPE_TRY(parts_.normalizer->normalize(piece));
      added_.split(piece, true, parseSpecial, pieces);
    }
    if (parts_.preTokenizer) DECOSCOPE_TRY(preTokenize(*parts_.preTokenizer, pieces));
    // Words repeat: what one became is looked up, not worked out again.
    struct Known {
      std::size_t begin, count;
    };
    TextMap<Known> words;
    for (const Piece& piece : pieces) {
      if (piece.token) {
        ids.push_back(*piece.token);
        continue;
      }
      const bool shortWord = piece.text.size() <= kLongestRemembered && pieces.size() > 1;
      if (shortWord) {
        if (const auto known = words.find(piece.text); known != words.end()) {
          for (std::size_t i = 0; i < known->second.count; ++i) ids.push_back(ids[known->second.begin + i]);
          continue;
        }
      }
      const std::size_t begin = ids.size();
      DECOSCOPE_TRY(parts_.model->encode(piece.text, ids));
      if (shortWord) words.emplace(piece.text, Known{begin, ids.size() - begin});
    }
    return {};
  }

  // Ill-formed bytes are words of their own: the patterns see only well-formed text.
  Status runAroundBadBytes(std::string_view text, bool parseSpecial, std::vector<TokenId>& ids) const {
    while (!text.empty()) {
      const std::size_t good = wellFormedLength(text);
      DECOSCOPE_TRY(run(text.substr(0, good), parseSpecial, ids));
      text.remove_prefix(good);
      if (text.empty()) break;
      const std::size_t bad = utf8Step(text).length;
      DECOSCOPE_TRY(parts_.model->encode(spellBytes(text.substr(0, bad)), ids));
      text.remove_prefix(bad);
    }
    return {};
  }

  static constexpr std::size_t kLongestRemembered = 64;
  PipelineParts parts_;
  AddedTokens added_;
  TextMap<TokenId> addedIds_;
  std::unordered_map<TokenId, std::string> found_;  // added tokens that decoders see in normalised form
  std::vector<std::string> pieces_, bytes_;         // by id
  std::vector<bool> known_;                         // by id: gaps are no tokens
};

}  // namespace

std::optional<TokenId> PipelineParts::idOf(std::string_view text) const {
  if (text.empty()) return std::nullopt;
  for (const AddedToken& token : added)
    if (token.content == text) return token.id;
  return model ? model->vocabulary().find(text) : std::nullopt;
}

std::size_t PipelineParts::size() const {
  std::size_t size = model ? model->vocabulary().size() : 0;
  for (const AddedToken& token : added) size = std::max(size, static_cast<std::size_t>(token.id) + 1);
  return size;
}

Result<std::shared_ptr<const Tokenizer>> makePipelineTokenizer(PipelineParts parts) {
  return PipelineTokenizer::create(std::move(parts));
}

std::string Fingerprint::text(std::string_view kind) const {
  char digits[20];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash_));
  return std::string(kind) + "-" + digits;
}

}  // namespace decoscope
