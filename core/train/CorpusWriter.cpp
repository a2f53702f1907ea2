#include "core/train/CorpusWriter.h"

#include <bit>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/base/Files.h"
#include "core/train/NearDuplicates.h"

namespace decoscope {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::size_t kLargestOrigin = 1 << 16;

std::string originPath(const std::string& corpusPath) {
  return corpusPath + ".origin.json";
}

json originJson(const CorpusOrigin& origin) {
  return {{"recipe", origin.recipe}, {"recipe_fingerprint", origin.recipeFingerprint},
          {"model", origin.model},   {"model_fingerprint", origin.modelFingerprint},
          {"dtype", origin.dtype},   {"seed", origin.seed},
          {"width", origin.width}};
}

tl::unexpected<Error> unwritable(const std::string& path) {
  return fail(ErrorCode::failed, "the file cannot be written", path,
              "See whether the folder exists and the disk has room.");
}

Status checkOrigin(const std::string& path, const CorpusOrigin& origin) {
  const json before = json::parse(readBeginning(originPath(path), kLargestOrigin), nullptr, false);
  if (!before.is_object())
    return fail(ErrorCode::badInput, "it is not known what the corpus was made from", originPath(path),
                "Only a corpus of this command can be continued.");
  const json now = originJson(origin);
  for (const auto& [key, value] : now.items())
    if (!before.contains(key) || before[key] != value)
      return fail(ErrorCode::usage,
                  "the corpus was made with another " + key + ": " +
                      (before.contains(key) ? before[key].dump() : "none") + ", not " + value.dump(),
                  originPath(path), "Continue with the same options, or write another file.");
  return {};
}

Status writeOrigin(const std::string& path, const CorpusOrigin& origin) {
  std::ofstream file(originPath(path), std::ios::binary);
  file << originJson(origin).dump(2) << '\n';
  file.flush();
  if (!file) return unwritable(originPath(path));
  return {};
}

// Bytes up to the end of the last whole line.
Result<std::uintmax_t> wholeBytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return fail(ErrorCode::badInput, "the file cannot be read", path);
  auto end = static_cast<std::int64_t>(file.tellg());
  std::string block;
  while (end > 0) {
    const std::int64_t begin = std::max<std::int64_t>(0, end - (1 << 16));
    block.resize(static_cast<std::size_t>(end - begin));
    file.seekg(begin);
    if (!file.read(block.data(), static_cast<std::streamsize>(block.size())))
      return fail(ErrorCode::badInput, "the file cannot be read", path);
    if (const auto last = block.rfind('\n'); last != std::string::npos)
      return static_cast<std::uintmax_t>(begin) + last + 1;
    end = begin;
  }
  return 0;
}

Status cut(const std::string& path, std::uintmax_t bytes) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (error && bytes == 0) return {};
  if (error || size < bytes)
    return fail(ErrorCode::badInput, "the file ends before what the corpus says of it", path);
  if (size > bytes) fs::resize_file(path, bytes, error);
  if (error) return unwritable(path);
  return {};
}

}  // namespace

std::string featuresPath(const std::string& corpusPath) {
  return corpusPath + ".features";
}

std::string corpusLine(const CorpusLine& text, const std::string& reason) {
  nlohmann::ordered_json line = {
      {"index", text.index}, {"kind", text.kind}, {"user", text.user}, {"assistant", text.assistant}};
  if (!text.finished) line["finished"] = false;
  if (!reason.empty()) line["reason"] = reason;
  if (!text.tokens.empty()) {
    line["ids"] = text.tokens;
    line["start"] = text.answer;
    line["row"] = text.featureRow;
  }
  return line.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<CorpusWriter> CorpusWriter::open(const std::string& path, const CorpusOrigin& origin, bool resume,
                                        const std::function<void(const CorpusLine&)>& seen) {
  CorpusWriter writer;
  writer.path_ = path;
  writer.origin_ = origin;
  std::error_code error;
  const bool exists = fs::exists(path, error);
  if (exists && !resume)
    return fail(ErrorCode::usage, "the file exists", path,
                "Continue it with --resume, or name another file.");
  if (exists) {
    DECOSCOPE_TRY(checkOrigin(path, origin));
    DECOSCOPE_ASSIGN(const std::uintmax_t bytes, wholeBytes(path));
    DECOSCOPE_TRY(cut(path, bytes));
    DECOSCOPE_TRY(readCorpusLines(path, [&](const CorpusLine& text) -> Status {
      writer.lastIndex_ = std::max(writer.lastIndex_, text.index);
      writer.rows_ = std::max(writer.rows_, text.featureRow + static_cast<std::int64_t>(text.tokens.size()));
      seen(text);
      return {};
    }));
  } else {
    DECOSCOPE_TRY(writeOrigin(path, origin));
  }
  writer.lines_.open(path, std::ios::binary | std::ios::app);
  if (!writer.lines_) return unwritable(path);
  if (origin.width > 0) {
    const std::string features = featuresPath(path);
    const auto bytes =
        static_cast<std::uintmax_t>(writer.rows_) * static_cast<std::uintmax_t>(origin.width) * 2;
    DECOSCOPE_TRY(cut(features, bytes));
    writer.features_.open(features, std::ios::binary | std::ios::app);
    if (!writer.features_) return unwritable(features);
  }
  return writer;
}

Status CorpusWriter::append(CorpusLine& text, const std::vector<std::uint16_t>& features) {
  static_assert(std::endian::native == std::endian::little, "features are written as they lie in memory");
  if (origin_.width > 0) {
    const std::size_t values = text.tokens.size() * static_cast<std::size_t>(origin_.width);
    if (features.size() != values)
      return fail(ErrorCode::failed, "a text has not one row of features a token",
                  "text " + std::to_string(text.index));
    text.featureRow = rows_;
    features_.write(reinterpret_cast<const char*>(features.data()), static_cast<std::streamsize>(values * 2));
    // First, so that a line never speaks of rows that are not there.
    features_.flush();
    if (!features_) return unwritable(featuresPath(path_));
    rows_ += static_cast<std::int64_t>(text.tokens.size());
  }
  const std::string line = corpusLine(text) + '\n';
  lines_.write(line.data(), static_cast<std::streamsize>(line.size()));
  lines_.flush();
  if (!lines_) return unwritable(path_);
  lastIndex_ = text.index;
  return {};
}

double splitPosition(const CorpusLine& text) {
  return static_cast<double>(textHash(text.user + '\n' + text.assistant) >> 11) * 0x1.0p-53;
}

}  // namespace decoscope
