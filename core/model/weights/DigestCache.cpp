#include "core/model/weights/DigestCache.h"

#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/base/CacheFolder.h"

namespace decoscope {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaximumLines = 256, kHexDigits = 64, kCheckDigits = 16;
constexpr std::time_t kSettledAfterSeconds = 2;

std::string sha256(const std::string& text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha256(), nullptr) != 1) return {};
  return hexText(digest, size);
}

std::string checkOf(const std::string& key, const std::string& digest) {
  return sha256(key + " " + digest).substr(0, kCheckDigits);
}

fs::path cachePath() {
  return fs::path(cacheFolder()) / "digests";
}

struct Line {
  std::string key, digest;
};

// Oldest first.
std::vector<Line> readLines() {
  std::vector<Line> lines;
  std::ifstream stream(cachePath());
  std::string text(kMaximumLines * 2 * (2 * kHexDigits + kCheckDigits + 3), '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  std::istringstream words(text);
  for (std::string line; std::getline(words, line);) {
    std::istringstream fields(line);
    std::string key, digest, check;
    fields >> key >> digest >> check;
    if (key.size() == kHexDigits && digest.size() == kHexDigits && check.size() == kCheckDigits &&
        check == checkOf(key, digest))
      lines.push_back({std::move(key), std::move(digest)});
  }
  return lines;
}

}  // namespace

std::string hexText(const unsigned char* bytes, std::size_t size) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < size; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

std::optional<std::string> digestKey(const std::vector<std::string>& files) {
  std::ostringstream identity;
  std::error_code error;
  for (const std::string& file : files) {
    struct stat status {};
    if (::stat(file.c_str(), &status) != 0) return std::nullopt;
    if (status.st_ctim.tv_sec + kSettledAfterSeconds > std::time(nullptr)) return std::nullopt;
    const fs::path path = fs::absolute(file, error);
    if (error) return std::nullopt;
    identity << path.string() << '\0' << status.st_size << ' ' << status.st_dev << ' ' << status.st_ino << ' '
             << status.st_mtim.tv_sec << ' ' << status.st_mtim.tv_nsec << ' ' << status.st_ctim.tv_sec << ' '
             << status.st_ctim.tv_nsec << '\n';
  }
  std::string key = sha256(identity.str());
  if (key.size() != kHexDigits) return std::nullopt;
  return key;
}

std::optional<std::string> findDigest(const std::string& key) {
  for (Line& line : readLines())
    if (line.key == key) return std::move(line.digest);
  return std::nullopt;
}

void keepDigest(const std::string& key, const std::string& digest) {
  std::vector<Line> lines = readLines();
  std::erase_if(lines, [&](const Line& line) { return line.key == key; });
  lines.push_back({key, digest});
  if (lines.size() > kMaximumLines)
    lines.erase(lines.begin(), lines.end() - static_cast<std::ptrdiff_t>(kMaximumLines));
  std::error_code error;
  fs::create_directories(cacheFolder(), error);
  std::string temporary = cachePath().string() + ".XXXXXX";
  const int descriptor = ::mkstemp(temporary.data());
  if (descriptor < 0) return;
  std::string text;
  for (const Line& line : lines)
    text += line.key + " " + line.digest + " " + checkOf(line.key, line.digest) + "\n";
  const bool written = ::write(descriptor, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(descriptor);
  if (!written || ::rename(temporary.c_str(), cachePath().c_str()) != 0) ::unlink(temporary.c_str());
}

}  // namespace decoscope
