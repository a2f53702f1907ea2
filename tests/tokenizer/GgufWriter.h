// GGUF files that hold a vocabulary and nothing else.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

namespace decoscope::test {

class GgufWriter {
 public:
  void text(const std::string& key, const std::string& value) {
    begin(key, 8);
    string(value);
  }
  void flag(const std::string& key, bool value) {
    begin(key, 7);
    number(value, 1);
  }
  void id(const std::string& key, std::uint32_t value) {
    begin(key, 4);
    number(value, 4);
  }
  void texts(const std::string& key, const std::vector<std::string>& values) {
    array(key, 8, values.size());
    for (const std::string& value : values) string(value);
  }
  void integers(const std::string& key, const std::vector<std::int32_t>& values) {
    array(key, 5, values.size());
    for (const std::int32_t value : values) number(static_cast<std::uint32_t>(value), 4);
  }
  void reals(const std::string& key, const std::vector<float>& values) {
    array(key, 6, values.size());
    for (const float value : values) {
      std::uint32_t bits;
      std::memcpy(&bits, &value, 4);
      number(bits, 4);
    }
  }
  std::string bytes() const {
    GgufWriter header;
    header.body_ = "GGUF";
    header.number(3, 4);
    header.number(0, 8);
    header.number(entries_, 8);
    return header.body_ + body_;
  }
  void save(const std::string& path) const { std::ofstream(path, std::ios::binary) << bytes(); }

 private:
  void number(std::uint64_t value, int size) {
    for (int i = 0; i < size; ++i) body_ += static_cast<char>(value >> (8 * i));
  }
  void string(const std::string& value) {
    number(value.size(), 8);
    body_ += value;
  }
  void begin(const std::string& key, std::uint32_t type) {
    string(key);
    number(type, 4);
    ++entries_;
  }
  void array(const std::string& key, std::uint32_t type, std::size_t count) {
    begin(key, 9);
    number(type, 4);
    number(count, 8);
  }
  std::string body_;
  std::uint64_t entries_ = 0;
};

}  // namespace decoscope::test
