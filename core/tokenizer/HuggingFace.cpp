// Which of its readers a Hugging Face folder calls for.
#include "core/tokenizer/Folder.h"
#include "core/tokenizer/TokenizerJson.h"

namespace decoscope {

namespace fs = std::filesystem;

Result<std::shared_ptr<const Tokenizer>> readTokenizer(std::string_view text, const std::string& where) {
  DECOSCOPE_ASSIGN(PipelineParts parts, tokenizerJson::readPipeline(text, where));
  return makePipelineTokenizer(std::move(parts));
}

Result<std::shared_ptr<const Tokenizer>> loadTokenizer(const std::string& path) {
  std::error_code error;
  const bool isFolder = fs::is_directory(path, error);
  const fs::path place = isFolder ? fs::path(path) : fs::path(path).parent_path();
  const fs::path file = isFolder ? place / "tokenizer.json" : fs::path(path);
  const TokenizerFolder folder = openTokenizerFolder(place);
  PipelineParts parts;
  if (isFolder && !fs::exists(file, error)) {
    if (fs::exists(place / "tokenizer.model", error)) return readSentencePiece(folder);
    if (fs::exists(place / "vocab.json", error)) {
      DECOSCOPE_ASSIGN(parts, readVocabularyAndMerges(folder));
    } else if (fs::exists(place / "vocab.txt", error)) {
      DECOSCOPE_ASSIGN(parts, readWordList(folder));
    } else {
      return fail(ErrorCode::badInput, "the tokenizer is missing", file.string(),
                  "Copy tokenizer.json of the model beside its weights (or tokenizer.model, vocab.json and "
                  "merges.txt, "
                  "vocab.txt).");
    }
  } else {
    if (!fs::exists(file, error))
      return fail(ErrorCode::badInput, "the tokenizer is missing", file.string(),
                  "Copy tokenizer.json of the model beside its weights.");
    DECOSCOPE_ASSIGN(const std::string text, readWhole(file));
    DECOSCOPE_ASSIGN(parts, tokenizerJson::readPipeline(text, file.string()));
  }
  describeText(folder, parts);
  return makePipelineTokenizer(std::move(parts));
}

}  // namespace decoscope
