// WordPiece and WordLevel.
#include "core/tokenizer/ByteTrie.h"
#include "core/tokenizer/Characters.h"
#include "core/tokenizer/SubwordModels.h"

namespace decoscope {

namespace {

class WordPieceModel final : public SubwordModel {
 public:
  WordPieceModel(Vocabulary vocabulary, WordPieceOptions options, std::string where)
      : vocabulary_(std::move(vocabulary)), options_(std::move(options)), where_(std::move(where)) {
    first_ = trieOf(options_.firstPrefix);
    continuing_ = trieOf(options_.continuingPrefix);
    unknown_ = vocabulary_.find(options_.unknown);
  }
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::string kind() const override { return "WordPiece"; }

  Status encode(std::string_view word, std::vector<TokenId>& out) const override {
    const std::size_t begin = out.size();
    bool bad = false;
    if (options_.maximumCharacters > 0) {
      std::size_t count = 0;
      eachCharacter(word, [&](char32_t, std::string_view, std::size_t) { ++count; });
      bad = count > options_.maximumCharacters;
    }
    for (std::size_t at = 0; at < word.size() && !bad;) {
      std::size_t longest = 0;
      TokenId token = -1;
      (at == 0 ? first_ : continuing_).prefixes(word.substr(at), [&](std::size_t length, std::int32_t id) {
        longest = length;
        token = id;
      });
      bad = longest == 0;
      at += longest;
      if (!bad) out.push_back(token);
    }
    if (!bad) return {};
    if (!unknown_)
      return fail(ErrorCode::badInput,
                  "the unknown token '" + options_.unknown + "' is not in the vocabulary", where_);
    out.resize(begin);
    out.push_back(*unknown_);
    return {};
  }

 private:
  ByteTrie trieOf(std::string_view prefix) const {
    std::vector<std::pair<std::string_view, std::int32_t>> entries;
    for (const std::string& piece : vocabulary_.pieces())
      if (piece.size() > prefix.size() && piece.starts_with(prefix))
        entries.emplace_back(std::string_view(piece).substr(prefix.size()), *vocabulary_.find(piece));
    return ByteTrie(std::move(entries));
  }

  Vocabulary vocabulary_;
  WordPieceOptions options_;
  std::string where_;
  ByteTrie first_, continuing_;
  std::optional<TokenId> unknown_;
};

class WordLevelModel final : public SubwordModel {
 public:
  WordLevelModel(Vocabulary vocabulary, std::string unknown, std::string where)
      : vocabulary_(std::move(vocabulary)), unknown_(std::move(unknown)), where_(std::move(where)) {}
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::string kind() const override { return "WordLevel"; }
  Status encode(std::string_view word, std::vector<TokenId>& out) const override {
    auto id = vocabulary_.find(word);
    if (!id) id = vocabulary_.find(unknown_);
    if (!id)
      return fail(
          ErrorCode::badInput,
          "the vocabulary has neither '" + std::string(word) + "' nor the unknown token '" + unknown_ + "'",
          where_);
    out.push_back(*id);
    return {};
  }

 private:
  Vocabulary vocabulary_;
  std::string unknown_, where_;
};

}  // namespace

Result<SubwordModelPointer> makeWordPieceModel(Vocabulary vocabulary, WordPieceOptions options,
                                               const std::string& where) {
  return SubwordModelPointer(
      std::make_unique<WordPieceModel>(std::move(vocabulary), std::move(options), where));
}

Result<SubwordModelPointer> makeWordLevelModel(Vocabulary vocabulary, std::string unknown,
                                               const std::string& where) {
  return SubwordModelPointer(
      std::make_unique<WordLevelModel>(std::move(vocabulary), std::move(unknown), where));
}

}  // namespace decoscope
