#include "core/train/Expression.h"

#include <cctype>
#include <charconv>

namespace decoscope {

namespace {

constexpr std::int64_t kLargest = 1'000'000'000'000'000;
constexpr int kDeepest = 32;

// sum := product { (+|−) product }; product := atom { (*|/) atom }; atom := number | name | ( sum ) | − atom
class Evaluator {
 public:
  Evaluator(std::string_view text, const Numbers& numbers) : text_(text), numbers_(numbers) {}

  Result<std::int64_t> whole() {
    DECOSCOPE_ASSIGN(const std::int64_t value, sum(0));
    if (peek() != '\0') return wrong("the expression goes on where it should end");
    return value;
  }

 private:
  Result<std::int64_t> sum(int depth) {
    DECOSCOPE_ASSIGN(std::int64_t value, product(depth));
    while (peek() == '+' || peek() == '-') {
      const char sign = text_[at_++];
      DECOSCOPE_ASSIGN(const std::int64_t other, product(depth));
      value = sign == '+' ? value + other : value - other;
      DECOSCOPE_TRY(bounded(value));
    }
    return value;
  }

  Result<std::int64_t> product(int depth) {
    DECOSCOPE_ASSIGN(std::int64_t value, atom(depth));
    while (peek() == '*' || peek() == '/') {
      const char sign = text_[at_++];
      DECOSCOPE_ASSIGN(const std::int64_t other, atom(depth));
      if (sign == '/') {
        if (other == 0 || value % other != 0) return wrong("a division does not come out even");
        value /= other;
      } else if (__builtin_mul_overflow(value, other, &value)) {
        return wrong("a number is too large");
      }
      DECOSCOPE_TRY(bounded(value));
    }
    return value;
  }

  Result<std::int64_t> atom(int depth) {
    if (depth > kDeepest) return wrong("the expression is nested too deep");
    const char next = peek();
    if (next == '(') {
      ++at_;
      DECOSCOPE_ASSIGN(const std::int64_t value, sum(depth + 1));
      if (peek() != ')') return wrong("a parenthesis is not closed");
      ++at_;
      return value;
    }
    if (next == '-') {
      ++at_;
      DECOSCOPE_ASSIGN(const std::int64_t value, atom(depth + 1));
      return -value;
    }
    const std::size_t start = at_;
    while (at_ < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[at_])) != 0 || text_[at_] == '_'))
      ++at_;
    const std::string_view word = text_.substr(start, at_ - start);
    if (word.empty()) return wrong("a number is missing");
    if (std::isdigit(static_cast<unsigned char>(word.front())) != 0) {
      std::int64_t value = 0;
      const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
      if (error != std::errc() || end != word.data() + word.size())
        return wrong("'" + std::string(word) + "' is not a number");
      DECOSCOPE_TRY(bounded(value));
      return value;
    }
    const auto found = numbers_.find(word);
    if (found == numbers_.end()) return wrong("there is no number '" + std::string(word) + "'");
    return found->second;
  }

  char peek() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  Status bounded(std::int64_t value) const {
    if (value > kLargest || value < -kLargest) return wrong("a number is too large");
    return {};
  }
  tl::unexpected<Error> wrong(std::string what) const {
    return fail(ErrorCode::badInput, std::move(what), "expression '" + std::string(text_) + "'");
  }

  std::string_view text_;
  const Numbers& numbers_;
  std::size_t at_ = 0;
};

}  // namespace

Result<std::int64_t> evaluate(std::string_view expression, const Numbers& numbers) {
  return Evaluator(expression, numbers).whole();
}

}  // namespace decoscope
