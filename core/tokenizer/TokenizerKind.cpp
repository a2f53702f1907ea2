#include "core/tokenizer/TokenizerKind.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace decoscope {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

// Reads a tokenizer.json event by event, up to the type of its model. The library writes the steps before the
// model and its type before its vocabulary, so that this is the beginning of the file.
class KindReader final : public json::json_sax_t {
 public:
  // Empty where it was not met.
  std::string kind() const {
    if (type_.empty() || !complete()) return {};
    return byteLevel_ ? type_ + " (byte-level)" : type_;
  }

  bool null() override { return value(); }
  bool boolean(bool) override { return value(); }
  bool number_integer(number_integer_t) override { return value(); }
  bool number_unsigned(number_unsigned_t) override { return value(); }
  bool number_float(number_float_t, const string_t&) override { return value(); }
  bool binary(binary_t&) override { return value(); }
  bool string(string_t& text) override {
    if (inSteps() && text == "ByteLevel") byteLevel_ = true;
    if (depth_ == 2 && part_ == "model" && key_ == "type") type_ = text;
    return value();
  }
  bool key(string_t& name) override {
    if (depth_ == 1) part_ = name;
    if (depth_ == 2) key_ = name;
    return ++events_ < kMostEvents;
  }
  bool start_object(std::size_t) override { return begin(); }
  bool end_object() override { return end(); }
  bool start_array(std::size_t) override { return begin(); }
  bool end_array() override { return end(); }
  bool parse_error(std::size_t, const std::string&, const json::exception&) override { return false; }

 private:
  static constexpr int kMostEvents = 400'000, kMostDepth = 64;

  bool inSteps() const { return part_ == "normalizer" || part_ == "pre_tokenizer"; }
  bool complete() const { return normalizer_ && preTokenizer_; }
  bool begin() { return ++depth_ <= kMostDepth && ++events_ < kMostEvents; }
  bool end() {
    --depth_;
    return value();
  }
  // Goes on as long as there is something to learn.
  bool value() {
    if (depth_ == 1) {
      normalizer_ = normalizer_ || part_ == "normalizer";
      preTokenizer_ = preTokenizer_ || part_ == "pre_tokenizer";
    }
    return ++events_ < kMostEvents && (type_.empty() || !complete());
  }

  int depth_ = 0, events_ = 0;
  std::string part_, key_, type_;
  bool byteLevel_ = false, normalizer_ = false, preTokenizer_ = false;
};

}  // namespace

std::string tokenizerKind(const std::string& folder) {
  std::error_code error;
  const fs::path place(folder);
  const auto has = [&](const char* name) { return fs::exists(place / name, error); };
  if (std::ifstream stream(place / "tokenizer.json", std::ios::binary); stream) {
    KindReader reader;
    json::sax_parse(stream, &reader);
    return reader.kind();
  }
  // In the order in which loadTokenizer() looks.
  if (has("tokenizer.model")) return "SentencePiece";
  if (has("vocab.json")) return has("merges.txt") ? "BPE (byte-level)" : "characters";
  return has("vocab.txt") ? "WordPiece" : "";
}

}  // namespace decoscope
