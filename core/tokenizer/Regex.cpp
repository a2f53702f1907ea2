#include "core/tokenizer/Regex.h"

#include <oniguruma.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <mutex>

#include "core/base/Utf8.h"
#include "core/tokenizer/CharacterTables.h"

namespace decoscope {

namespace {

constexpr std::size_t kMaximumPattern = 64 << 10;
// Steps of backtracking, per place in the text and per search, far above what any real pattern needs; and a
// time for all searches of one text, because many slow searches are as bad as one.
constexpr unsigned long kRetriesPerPlace = 10'000'000, kRetriesPerSearch = 20'000'000, kRetriesPerByte = 32;
constexpr std::chrono::seconds kPatience(10);
constexpr std::chrono::microseconds kPatiencePerByte(10);

const OnigUChar* bytes(std::string_view text) {
  return reinterpret_cast<const OnigUChar*>(text.data());
}

void initialise() {
  static std::once_flag once;
  std::call_once(once, [] {
    OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
    onig_initialize(encodings, 1);
    onig_set_parse_depth_limit(500);
    onig_set_subexp_call_max_nest_level(20);
  });
}

std::string message(int code, OnigErrorInfo* info = nullptr) {
  OnigUChar text[ONIG_MAX_ERROR_MESSAGE_LEN];
  const int length = info ? onig_error_code_to_str(text, code, info) : onig_error_code_to_str(text, code);
  return std::string(reinterpret_cast<const char*>(text), static_cast<std::size_t>(std::max(length, 0)));
}

// Gives the properties and escapes of a pattern the characters that are younger than Oniguruma's tables:
// \p{L} becomes the class [\p{L}\x{1C89}-\x{1C8A}…], which may stand inside a class as well.
std::string withYoungerCharacters(std::string_view pattern) {
  std::string out;
  const auto widen = [&](std::string_view source, std::string property, bool negative) {
    for (char& c : property) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    std::erase_if(property, [](char c) { return c == ' ' || c == '_' || c == '-'; });
    const auto younger = youngerCharacters(property);
    if (younger.empty()) {
      out += source;
      return;
    }
    out += negative ? "[^" : "[";
    out += property.size() == 1 && source.size() == 2 ? "\\" + property : "\\p{" + property + "}";
    for (const CharacterRange& range : younger) {
      char text[40];
      std::snprintf(text, sizeof text, "\\x{%X}-\\x{%X}", static_cast<unsigned>(range.first),
                    static_cast<unsigned>(range.last));
      out += text;
    }
    out += "]";
  };
  for (std::size_t at = 0; at < pattern.size();) {
    if (pattern[at] != '\\' || at + 1 >= pattern.size()) {
      out += pattern[at++];
      continue;
    }
    const char kind = pattern[at + 1];
    if (kind == 'w' || kind == 'W' || kind == 'd' || kind == 'D') {
      widen(pattern.substr(at, 2), std::string(1, static_cast<char>(kind | 32)), kind == 'W' || kind == 'D');
      at += 2;
      continue;
    }
    const std::size_t close = pattern.find('}', at);
    if ((kind == 'p' || kind == 'P') && at + 2 < pattern.size() && pattern[at + 2] == '{' &&
        close != std::string_view::npos) {
      std::string property(pattern.substr(at + 3, close - at - 3));
      const bool inverse = property.starts_with('^');
      if (inverse) property.erase(0, 1);
      widen(pattern.substr(at, close + 1 - at), std::move(property), (kind == 'P') != inverse);
      at = close + 1;
      continue;
    }
    out += pattern.substr(at, 2);
    at += 2;
  }
  return out;
}

}  // namespace

struct Regex::Code {
  regex_t* regex = nullptr;
  ~Code() {
    if (regex) onig_free(regex);
  }
};

Regex::Regex(std::unique_ptr<Code> code) : code_(std::move(code)) {}
Regex::~Regex() = default;

Result<std::shared_ptr<const Regex>> Regex::compile(std::string_view pattern, const std::string& where) {
  if (pattern.size() > kMaximumPattern)
    return fail(ErrorCode::badInput,
                "the split pattern has " + std::to_string(pattern.size()) + " bytes; up to 65536 are read",
                where);
  initialise();
  const std::string widened = withYoungerCharacters(pattern);
  pattern = widened;
  auto code = std::make_unique<Code>();
  OnigErrorInfo info{};
  const int status = onig_new(&code->regex, bytes(pattern), bytes(pattern) + pattern.size(), ONIG_OPTION_NONE,
                              ONIG_ENCODING_UTF8, ONIG_SYNTAX_DEFAULT, &info);
  if (status != ONIG_NORMAL) {
    code->regex = nullptr;  // onig_new has freed it
    return fail(ErrorCode::badInput, "the split pattern does not compile: " + message(status, &info), where);
  }
  return std::shared_ptr<const Regex>(new Regex(std::move(code)));
}

Result<std::shared_ptr<const Regex>> Regex::literal(std::string_view text, const std::string& where) {
  std::string escaped;
  for (const char c : text) {
    if (std::string_view("\\.+*?()|[]{}^$#&-~").find(c) != std::string_view::npos) escaped += '\\';
    escaped += c;
  }
  return compile(escaped, where);
}

Status Regex::stretches(std::string_view text, std::vector<Stretch>& out) const {
  struct Region {
    OnigRegion* value = onig_region_new();
    ~Region() { onig_region_free(value, 1); }
  } region;
  struct Parameters {
    OnigMatchParam* value = onig_new_match_param();
    ~Parameters() { onig_free_match_param(value); }
  } limits;
  onig_initialize_match_param(limits.value);
  onig_set_retry_limit_in_match_of_match_param(limits.value, kRetriesPerPlace);
  onig_set_retry_limit_in_search_of_match_param(limits.value,
                                                kRetriesPerSearch + kRetriesPerByte * text.size());
  const auto deadline = std::chrono::steady_clock::now() + kPatience + kPatiencePerByte * text.size();
  const OnigUChar *begin = bytes(text), *end = begin + text.size();
  std::size_t from = 0, covered = 0;
  bool matched = false;
  for (unsigned round = 1; from <= text.size(); ++round) {
    if (round % 256 == 0 && std::chrono::steady_clock::now() > deadline)
      return fail(ErrorCode::badInput, "the tokenizer's split pattern takes too long",
                  "text byte " + std::to_string(from));
    const int place = onig_search_with_param(code_->regex, begin, end, begin + from, end, region.value,
                                             ONIG_OPTION_NONE, limits.value);
    if (place == ONIG_MISMATCH) break;
    if (place < 0)
      return fail(ErrorCode::badInput, "the tokenizer's split pattern failed: " + message(place),
                  "text byte " + std::to_string(from));
    const auto first = static_cast<std::size_t>(region.value->beg[0]),
               last = static_cast<std::size_t>(region.value->end[0]);
    if (first == last && matched && last == covered) {
      // An empty match right behind a match does not count: go on behind the next character.
      from = last < text.size() ? last + utf8Step(text.substr(last)).length : last + 1;
      continue;
    }
    if (covered != first) out.push_back({covered, first, false});
    out.push_back({first, last, true});
    from = covered = last;
    matched = true;
  }
  if (covered != text.size()) out.push_back({covered, text.size(), false});
  return {};
}

}  // namespace decoscope
