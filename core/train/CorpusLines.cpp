#include "core/train/CorpusLines.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/base/JsonDepth.h"

namespace decoscope {

using nlohmann::json;

namespace {

constexpr int kDeepest = 16;
constexpr std::size_t kLongestLine = std::size_t{16} << 20;

// A line without its break; false at the end of the file. `tooLong`: the line has no end within the limit.
bool readLine(std::istream& stream, std::string& line, bool& tooLong) {
  line.clear();
  std::streambuf& buffer = *stream.rdbuf();
  for (int c = buffer.sbumpc(); c != std::char_traits<char>::eof(); c = buffer.sbumpc()) {
    if (c == '\n') return true;
    if (line.size() == kLongestLine) {
      tooLong = true;
      return true;
    }
    line += static_cast<char>(c);
  }
  return !line.empty();
}

}  // namespace

Result<CorpusLine> readCorpusLine(std::string_view line, const std::string& where) {
  if (jsonNestsDeeper(line, kDeepest))
    return fail(ErrorCode::badInput, "the line is nested too deeply", where);
  const json document = json::parse(line.begin(), line.end(), nullptr, false);
  if (document.is_discarded() || !document.is_object())
    return fail(ErrorCode::badInput, "the line is not a JSON object", where);
  CorpusLine out;
  for (const auto& [key, text] : {std::pair{"user", &out.user}, {"assistant", &out.assistant}}) {
    const auto found = document.find(key);
    if (found == document.end() || !found->is_string())
      return fail(ErrorCode::badInput, std::string("the line has no text '") + key + "'", where,
                  R"(A corpus is lines of {"index":N,"kind":"…","user":"…","assistant":"…"}.)");
    *text = found->get<std::string>();
  }
  if (const auto kind = document.find("kind"); kind != document.end() && kind->is_string())
    out.kind = kind->get<std::string>();
  if (const auto index = document.find("index"); index != document.end() && index->is_number_integer())
    out.index = index->get<std::int64_t>();
  if (const auto finished = document.find("finished"); finished != document.end() && finished->is_boolean())
    out.finished = finished->get<bool>();
  const auto number = [&](const char* key, std::int64_t fallback) {
    const auto found = document.find(key);
    return found != document.end() && found->is_number_integer() ? found->get<std::int64_t>() : fallback;
  };
  if (const auto ids = document.find("ids"); ids != document.end() && ids->is_array()) {
    for (const json& id : *ids) {
      if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() > (1 << 30))
        return fail(ErrorCode::badInput, "'ids' holds something else than token ids", where);
      out.tokens.push_back(id.get<TokenId>());
    }
    const std::int64_t start = number("start", 0);
    if (start < 0 || start > static_cast<std::int64_t>(out.tokens.size()))
      return fail(ErrorCode::badInput, "'start' is not a place in 'ids'", where);
    out.answer = static_cast<std::int32_t>(start);
    out.featureRow = number("row", -1);
  }
  return out;
}

Status readCorpusLines(const std::string& file, const std::function<Status(const CorpusLine&)>& visit) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return fail(ErrorCode::notFound, "the corpus cannot be read", file);
  std::string line;
  bool tooLong = false;
  for (std::int64_t number = 1; readLine(stream, line, tooLong); ++number) {
    const std::string where = file + ", line " + std::to_string(number);
    if (tooLong)
      return fail(ErrorCode::badInput,
                  "the line is longer than " + std::to_string(kLongestLine >> 20) + " MiB", where);
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    DECOSCOPE_ASSIGN(const CorpusLine read, readCorpusLine(line, where));
    DECOSCOPE_TRY(visit(read));
  }
  return {};
}

}  // namespace decoscope
