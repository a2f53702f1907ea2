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
class Widening {
 public:
  explicit Widening(std::string_view pattern) : pattern_(pattern) {}

  std::string result() {
    while (at_ < pattern_.size()) {
      if (pattern_[at_] == '\\' && at_ + 1 < pattern_.size())
        escape();
      else if (inClass_ > 0 && pattern_.substr(at_).starts_with("[:"))
        bracket();
      else
        plain();
    }
    return std::move(out_);
  }

 private:
  void copy(std::size_t count) {
    out_ += pattern_.substr(at_, count);
    at_ += count;
  }

  void plain() {
    const char c = pattern_[at_];
    if (c == '[') {
      ++inClass_;
      copy(1);
      if (pattern_.substr(at_).starts_with('^')) copy(1);
      // A bracket right at the beginning closes nothing.
      if (pattern_.substr(at_).starts_with(']')) copy(1);
      return;
    }
    if (c == ']' && inClass_ > 0) --inClass_;
    copy(1);
  }

  void ranges(std::string_view property) {
    for (const CharacterRange& range : youngerCharacters(property)) {
      char text[40];
      std::snprintf(text, sizeof text, "\\x{%X}-\\x{%X}", static_cast<unsigned>(range.first),
                    static_cast<unsigned>(range.last));
      out_ += text;
    }
  }

  // What \w matches: outside of classes, and only there, some numbers of Latin-1 as well.
  void word(bool negative) {
    out_ += negative ? "[^\\w" : "[\\w";
    if (inClass_ == 0) out_ += "\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}";
    ranges("w");
    out_ += "]";
  }

  void escape() {
    const char kind = pattern_[at_ + 1];
    if (kind == 'w' || kind == 'W') {
      word(kind == 'W');
      at_ += 2;
    } else if (kind == 'd' || kind == 'D') {
      out_ += kind == 'D' ? "[^\\d" : "[\\d";
      ranges("d");
      out_ += "]";
      at_ += 2;
    } else if ((kind == 'b' || kind == 'B') && inClass_ == 0) {
      const bool inside = kind == 'B';
      for (const char* part : {"(?:(?<=", "W", inside ? ")(?=" : ")(?!", "W", ")|(?<!", "W",
                               inside ? ")(?!" : ")(?=", "W", "))"}) {
        if (*part == 'W')
          word(false);
        else
          out_ += part;
      }
      at_ += 2;
    } else if ((kind == 'p' || kind == 'P') && pattern_.substr(at_ + 2).starts_with('{')) {
      property(kind == 'P');
    } else {
      copy(2);
    }
  }

  void property(bool negative) {
    const std::size_t close = pattern_.find('}', at_);
    if (close == std::string_view::npos) return copy(2);
    std::string name(pattern_.substr(at_ + 3, close - at_ - 3));
    if (name.starts_with('^')) {
      name.erase(0, 1);
      negative = !negative;
    }
    for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    std::erase_if(name, [](char c) { return c == ' ' || c == '_' || c == '-'; });
    if (youngerCharacters(name).empty()) return copy(close + 1 - at_);
    out_ += negative ? "[^\\p{" : "[\\p{";
    out_ += name + "}";
    ranges(name);
    out_ += "]";
    at_ = close + 1;
  }

  // [:alpha:] inside a class.
  void bracket() {
    const std::size_t close = pattern_.find(":]", at_ + 2);
    if (close == std::string_view::npos) return plain();
    const std::string_view name = pattern_.substr(at_ + 2, close - at_ - 2);
    copy(close + 2 - at_);
    if (name == "alpha" || name == "alnum") ranges("alphabetic");
    if (name == "digit" || name == "alnum") ranges("d");
    if (name == "word") ranges("w");
    if (name == "upper" || name == "lower") ranges(name);
    if (name == "punct") {
      out_ += "\\p{P}\\p{S}";
      ranges("p");
      ranges("s");
    }
  }

  std::string_view pattern_;
  std::string out_;
  std::size_t at_ = 0;
  int inClass_ = 0;
};

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
  const std::string widened = Widening(pattern).result();
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
