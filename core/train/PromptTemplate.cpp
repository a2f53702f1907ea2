#include "core/train/PromptTemplate.h"

#include <cctype>
#include <charconv>

namespace decoscope {

namespace {

constexpr int kDeepest = 16;

bool isName(std::string_view text) {
  if (text.empty() || std::isdigit(static_cast<unsigned char>(text.front())) != 0) return false;
  for (const char c : text)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_') return false;
  return true;
}

class Reader {
 public:
  explicit Reader(std::string_view whole) : whole_(whole) {}

  Result<TemplateParts> parts(std::string_view text, int depth) const {
    if (depth > kDeepest) return wrong("braces are nested too deep");
    TemplateParts result;
    std::string literal;
    const auto flush = [&] {
      if (!literal.empty()) result.push_back({TemplatePart::Sort::literal, std::move(literal), {}});
      literal.clear();
    };
    for (std::size_t at = 0; at < text.size();) {
      if (text[at] == '}') return wrong("a brace closes that was not opened");
      if (text[at] != '{') {
        literal += text[at++];
        continue;
      }
      const std::size_t end = closing(text, at);
      if (end == std::string_view::npos) return wrong("a brace is not closed");
      const std::string_view inside = text.substr(at + 1, end - at - 1);
      at = end + 1;
      if (inside == "<" || inside == ">") {
        literal += inside == "<" ? '{' : '}';
        continue;
      }
      flush();
      DECOSCOPE_ASSIGN(TemplatePart part, choice(inside, depth));
      result.push_back(std::move(part));
    }
    flush();
    return result;
  }

 private:
  static std::size_t closing(std::string_view text, std::size_t open) {
    int depth = 0;
    for (std::size_t at = open; at < text.size(); ++at) {
      if (text[at] == '{') ++depth;
      if (text[at] == '}' && --depth == 0) return at;
    }
    return std::string_view::npos;
  }

  Result<TemplatePart> choice(std::string_view inside, int depth) const {
    if (inside.starts_with('='))
      return TemplatePart{TemplatePart::Sort::expression, std::string(inside.substr(1)), {}};
    std::vector<std::string_view> pieces;
    std::size_t start = 0;
    int open = 0;
    for (std::size_t at = 0; at < inside.size(); ++at) {
      open += inside[at] == '{' ? 1 : inside[at] == '}' ? -1 : 0;
      if (inside[at] != '|' || open != 0) continue;
      pieces.push_back(inside.substr(start, at - start));
      start = at + 1;
    }
    pieces.push_back(inside.substr(start));
    if (pieces.size() == 1) return reference(inside);
    TemplatePart part{TemplatePart::Sort::alternatives, {}, {}};
    for (const std::string_view piece : pieces) {
      DECOSCOPE_ASSIGN(TemplateParts alternative, parts(piece, depth + 1));
      part.alternatives.push_back(std::move(alternative));
    }
    return part;
  }

  Result<TemplatePart> reference(std::string_view inside) const {
    TemplatePart part{TemplatePart::Sort::reference, {}, {}};
    std::string_view rest = inside;
    if (rest.starts_with("a ") || rest.starts_with("A ")) {
      part.article = true;
      part.capital = rest.front() == 'A';
      rest.remove_prefix(2);
    }
    if (const auto dot = rest.find('.'); dot != std::string_view::npos) {
      part.field = rest.substr(dot + 1);
      rest = rest.substr(0, dot);
    }
    if (const auto space = rest.find(' '); space != std::string_view::npos) {
      const std::string_view number = rest.substr(space + 1);
      const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), part.which);
      if (error != std::errc() || end != number.data() + number.size() || part.which < 1 || part.which > 99)
        return wrong("'" + std::string(inside) + "' is no reference");
      rest = rest.substr(0, space);
    }
    if (!isName(rest) || !isName(part.field)) return wrong("'" + std::string(inside) + "' is no reference");
    part.text = rest;
    return part;
  }

  tl::unexpected<Error> wrong(std::string what) const {
    return fail(ErrorCode::badInput, std::move(what), "template '" + std::string(whole_) + "'");
  }

  std::string_view whole_;
};

}  // namespace

Result<TemplateParts> parseTemplate(std::string_view text) {
  return Reader(text).parts(text, 0);
}

}  // namespace decoscope
