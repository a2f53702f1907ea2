#include "core/tokenizer/RawNormalizers.h"

#include "core/base/Utf8.h"

namespace decoscope {

namespace {

constexpr const char* kEscapedSpace = "\u2581";

class SpaceEscaper final : public Normalizer {
 public:
  explicit SpaceEscaper(bool prefix) : prefix_(prefix) {}
  Status normalize(Piece& piece) const override {
    std::string out;
    out.reserve(piece.text.size() + piece.text.size() / 2 + 3);
    if (prefix_) out += kEscapedSpace;
    for (const char c : piece.text) {
      if (c == ' ')
        out += kEscapedSpace;
      else
        out += c;
    }
    piece.text = std::move(out);
    return {};
  }

 private:
  bool prefix_;
};

class UnigramNormalizer final : public Normalizer {
 public:
  UnigramNormalizer(Charsmap map, UnigramNormalizerOptions options)
      : map_(std::move(map)), options_(options) {}
  Status normalize(Piece& piece) const override {
    const std::string space = options_.escapeSpaces ? kEscapedSpace : " ";
    const bool before = options_.spacePrefix && !options_.spaceAsSuffix,
               behind = options_.spacePrefix && options_.spaceAsSuffix;
    std::string out;
    bool prepended = false, inWord = false;
    const auto put = [&](std::string_view bytes) {
      for (const char c : bytes) {
        if (c == ' ') {
          inWord = false;
          if (!options_.mergeSpaces) out += space;
          continue;
        }
        if (!inWord) {
          inWord = true;
          if ((before && !prepended) || options_.mergeSpaces) {
            out += space;
            prepended = true;
          }
        }
        out += c;
      }
    };
    for (std::string_view rest = piece.text; !rest.empty();) {
      if (const auto found = map_.longest(rest)) {
        put(found->replacement);
        rest.remove_prefix(found->length);
        continue;
      }
      const Utf8Step step = utf8Step(rest);
      if (step.valid) {
        put(rest.substr(0, step.length));
        rest.remove_prefix(step.length);
      } else {
        put("\uFFFD");
        rest.remove_prefix(1);
      }
    }
    if (behind) out += space;
    piece.text = std::move(out);
    return {};
  }

 private:
  Charsmap map_;
  UnigramNormalizerOptions options_;
};

}  // namespace

NormalizerPointer makeSpaceEscaper(bool prefix) {
  return std::make_unique<SpaceEscaper>(prefix);
}

NormalizerPointer makeUnigramNormalizer(Charsmap map, UnigramNormalizerOptions options) {
  return std::make_unique<UnigramNormalizer>(std::move(map), options);
}

}  // namespace decoscope
