#include "core/train/CorpusFilter.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <unordered_map>

#include "core/base/Utf8.h"

namespace decoscope {

namespace {

bool isDigit(char c) {
  return std::isdigit(static_cast<unsigned char>(c)) != 0;
}
bool isWord(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || (static_cast<unsigned char>(c) & 0x80) != 0;
}
char lower(char c) {
  return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
}
bool sameText(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

bool charactersFit(Characters characters, std::string_view text) {
  if (characters == Characters::any) return true;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = utf8Step(text.substr(at));
    const auto byte = static_cast<unsigned char>(text[at]);
    const bool control = step.length == 1 && (byte < 0x20 || byte == 0x7F) && byte != '\n' &&
                         (byte != '\t' || characters == Characters::ascii);
    // C1 controls, and the character that stands for ill-formed bytes.
    const bool odd = (step.length == 2 && byte == 0xC2 && static_cast<unsigned char>(text[at + 1]) < 0xA0) ||
                     text.substr(at, step.length) == "\xEF\xBF\xBD";
    if (!step.valid || control || odd || (characters == Characters::ascii && step.length > 1)) return false;
    at += step.length;
  }
  return true;
}

std::vector<std::string_view> wordsOf(std::string_view text) {
  std::vector<std::string_view> words;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t start = text.find_first_not_of(" \n\t", at);
    if (start == std::string_view::npos) break;
    at = std::min(text.find_first_of(" \n\t", start), text.size());
    words.push_back(text.substr(start, at - start));
  }
  return words;
}

// Those that are not empty.
std::vector<std::string_view> linesOf(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (text.substr(0, end).find_first_not_of(" \t") != std::string_view::npos)
      lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

bool mentionsOne(std::string_view text, std::string_view alternatives) {
  for (std::size_t at = 0; at <= alternatives.size();) {
    const std::size_t end = std::min(alternatives.find('|', at), alternatives.size());
    if (mentions(text, alternatives.substr(at, end - at))) return true;
    at = end + 1;
  }
  return false;
}

bool repeats(const std::vector<std::string_view>& words, int length, int times) {
  if (length <= 0 || times <= 0) return false;
  std::unordered_map<std::string, int> seen;
  for (std::size_t i = 0; i + static_cast<std::size_t>(length) <= words.size(); ++i) {
    std::string run;
    for (std::size_t j = i; j < i + static_cast<std::size_t>(length); ++j) {
      for (const char c : words[j]) run += lower(c);
      run += ' ';
    }
    if (++seen[run] >= times) return true;
  }
  return false;
}

// Whether every word keeps to the settings' length and number.
bool wordsFit(const FilterSettings& settings, std::string_view text) {
  std::unordered_map<std::string, int> seen;
  std::string word;
  for (std::size_t at = 0; at <= text.size(); ++at) {
    if (at < text.size() && isWord(text[at])) {
      word += lower(text[at]);
      continue;
    }
    const auto letters = static_cast<int>(word.size());
    if (settings.longestWord > 0 && letters > settings.longestWord) return false;
    if (settings.sameLetters > 0 && letters >= settings.sameLetters && ++seen[word] > settings.sameTimes)
      return false;
    word.clear();
  }
  return true;
}

// A number at `at`: its value, and where it ends. Commas between digits group them.
std::optional<double> numberAt(std::string_view text, std::size_t& at) {
  std::string digits;
  std::size_t end = at;
  for (; end < text.size(); ++end) {
    const bool inside = end + 1 < text.size() && isDigit(text[end + 1]) && end > at;
    if (isDigit(text[end]))
      digits += text[end];
    else if (text[end] == '.' && inside && digits.find('.') == std::string::npos)
      digits += '.';
    else if (text[end] != ',' || !inside)
      break;
  }
  double value = 0;
  const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.empty() || error != std::errc() || stop != digits.data() + digits.size()) return std::nullopt;
  at = end;
  return value;
}

// One side of an equation, as far as it was read.
class Side {
 public:
  bool wants() const { return operators_.size() == values_.size(); }  // a number comes next
  bool empty() const { return values_.empty(); }
  bool single() const { return values_.size() == 1; }
  void number(double value) { values_.push_back(value); }
  void apply(char sign) { operators_.push_back(sign); }
  double value() const {
    double sum = 0, product = values_.front();
    for (std::size_t i = 1; i < values_.size(); ++i) {
      const char sign = operators_[i - 1];
      if (sign == '*')
        product *= values_[i];
      else if (sign == '/')
        product /= values_[i];
      else
        sum += product, product = sign == '+' ? values_[i] : -values_[i];
    }
    return sum + product;
  }

 private:
  std::vector<double> values_;
  std::vector<char> operators_;
};

class SumReader {
 public:
  explicit SumReader(std::string_view text) : text_(text) {}

  bool hold() {
    while (at_ < text_.size()) step();
    finish();
    return right_;
  }

 private:
  void step() {
    const char c = text_[at_];
    if (c == ' ' || c == '$') {
      ++at_;
    } else if (isDigit(c)) {
      const auto value = numberAt(text_, at_);
      if (!side_.wants()) finish();
      if (value) side_.number(*value);
      words_ = 0;
    } else if (const auto sign = operatorHere()) {
      if (side_.wants())
        finish();  // a bullet, or a sign that we do not follow
      else
        side_.apply(*sign);
    } else if (c == '=') {
      ++at_;
      if (side_.wants()) return finish();
      compare();
    } else if (isWord(c)) {
      while (at_ < text_.size() && isWord(text_[at_])) ++at_;
      if (side_.wants() || ++words_ > 2) finish();  // "3 red apples + …", no more
    } else {
      ++at_;
      finish();
    }
  }

  std::optional<char> operatorHere() {
    static constexpr std::pair<std::string_view, char> kSigns[] = {
        {"+", '+'},        {"-", '-'},        {"*", '*'},           {"/", '/'},
        {"\xC3\x97", '*'}, {"\xC3\xB7", '/'}, {"\xE2\x88\x92", '-'}};
    for (const auto& [text, sign] : kSigns)
      if (text_.substr(at_).starts_with(text)) {
        at_ += text.size();
        return sign;
      }
    const bool alone = text_[at_] == 'x' && at_ > 0 && !isWord(text_[at_ - 1]) && at_ + 1 < text_.size() &&
                       !isWord(text_[at_ + 1]);
    if (!alone) return std::nullopt;
    ++at_;
    return '*';
  }

  // A side is complete: the sides of one equation agree.
  void compare() {
    const double value = side_.value();
    stated_ |= !side_.single();
    if (before_ && stated_ && !(std::abs(*before_ - value) < 0.006)) right_ = false;
    before_ = value;
    side_ = {};
    words_ = 0;
  }
  void finish() {
    if (before_ && !side_.empty() && !side_.wants()) compare();
    side_ = {};
    before_.reset();
    stated_ = false;
    words_ = 0;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  Side side_;
  std::optional<double> before_;
  bool stated_ = false, right_ = true;
  int words_ = 0;
};

}  // namespace

bool mentions(std::string_view text, std::string_view words) {
  if (words.empty()) return true;
  for (std::size_t at = 0; at + words.size() <= text.size(); ++at) {
    if (!sameText(text.substr(at, words.size()), words)) continue;
    const std::size_t end = at + words.size();
    const bool begins = at == 0 || !isWord(words.front()) || !isWord(text[at - 1]);
    const bool ends = end == text.size() || !isWord(words.back()) || !isWord(text[end]);
    if (begins && ends) return true;
  }
  return false;
}

std::optional<std::int64_t> lastNumber(std::string_view text) {
  std::optional<std::int64_t> last;
  for (std::size_t at = 0; at < text.size();) {
    if (!isDigit(text[at])) {
      ++at;
      continue;
    }
    const bool negative = at > 0 && text[at - 1] == '-' && (at == 1 || text[at - 2] == ' ');
    const auto value = numberAt(text, at);
    last.reset();
    if (value && *value == std::floor(*value) && *value < 1e15)
      last = static_cast<std::int64_t>(*value) * (negative ? -1 : 1);
  }
  return last;
}

bool sumsHold(std::string_view text) {
  return SumReader(text).hold();
}

std::optional<std::string> objection(const FilterSettings& settings, const Prompt& prompt,
                                     std::string_view text, bool finished) {
  if (settings.finished && !finished) return "unfinished";
  if (!charactersFit(settings.characters, text)) return "characters";
  const auto words = wordsOf(text);
  const auto count = static_cast<int>(words.size());
  if (count < settings.leastWords) return "too short";
  if (settings.mostWords >= 0 && count > settings.mostWords) return "too long";
  const auto lines = linesOf(text);
  const auto height = static_cast<int>(lines.size());
  if (height < settings.leastLines || (settings.mostLines >= 0 && height > settings.mostLines))
    return "lines";
  if (!settings.endings.empty() && (text.empty() || settings.endings.find(text.back()) == std::string::npos))
    return "ending";
  for (const std::string& opening : settings.openings)
    if (sameText(text.substr(0, opening.size()), opening)) return "opening";
  for (const std::string& forbidden : settings.forbidden)
    if (mentions(text, forbidden)) return "forbidden words";
  for (const std::string& required : prompt.required)
    if (!mentionsOne(text, required)) return "missing words";
  if (!prompt.eachLine.empty())
    for (const std::string_view line : lines)
      if (!mentionsOne(line, prompt.eachLine)) return "unknown item";
  if (prompt.answer && lastNumber(text) != prompt.answer) return "wrong answer";
  if (settings.sums && !sumsHold(text)) return "wrong sums";
  if (!wordsFit(settings, text)) return "words";
  if (repeats(words, settings.repeatWords, settings.repeatTimes)) return "repetition";
  return std::nullopt;
}

}  // namespace decoscope
