#include "core/base/Files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace decoscope {

namespace {

std::string beginningOf(std::istream& stream, std::size_t limit) {
  std::string text(limit, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(limit));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(stream.gcount(), 0)));
  return text;
}

}  // namespace

Result<std::string> readWholeFile(const std::string& path, std::uintmax_t limit,
                                  const std::string& unreadable, const std::string& tooLarge) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) return fail(ErrorCode::notFound, unreadable + ": " + error.message(), path);
  if (size > limit) return fail(ErrorCode::badInput, tooLarge, path);
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return fail(ErrorCode::badInput, unreadable, path);
  return beginningOf(stream, static_cast<std::size_t>(size));
}

std::string readBeginning(const std::string& path, std::size_t limit) {
  std::ifstream stream(path, std::ios::binary);
  return beginningOf(stream, limit);
}

}  // namespace decoscope
