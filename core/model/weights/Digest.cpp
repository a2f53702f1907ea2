#include <openssl/evp.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "core/model/weights/DigestCache.h"
#include "core/model/weights/MappedFile.h"
#include "core/model/weights/WeightFile.h"

namespace decoscope {

namespace {

constexpr std::size_t kPiece = 1 << 20;  // bytes

}  // namespace

std::optional<std::string> knownDigest(const std::string& path) {
  const auto files = weightFiles(path);
  const auto key = files ? digestKey(*files) : std::nullopt;
  const auto digest = key ? findDigest(*key) : std::nullopt;
  return digest ? std::optional("sha256:" + *digest) : std::nullopt;
}

Result<std::string> fileDigest(const std::string& path, DigestSource source) {
  DECOSCOPE_ASSIGN(const auto files, weightFiles(path));
  const auto key = digestKey(files);
  if (key && source == DigestSource::cached)
    if (const auto known = findDigest(*key)) return "sha256:" + *known;
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  if (!context || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1)
    return fail(ErrorCode::failed, "SHA-256 is not available");
  for (const std::string& name : files) {
    DECOSCOPE_ASSIGN(const auto file, MappedFile::open(name));
    // Piece by piece: what has been read need not stay in memory.
    for (auto rest = file->bytes(); !rest.empty();) {
      const auto piece = rest.first(std::min(rest.size(), kPiece));
      EVP_DigestUpdate(context.get(), piece.data(), piece.size());
      releasePages(piece);
      rest = rest.subspan(piece.size());
    }
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_DigestFinal_ex(context.get(), digest, &size);
  const std::string text = hexText(digest, size);
  // Only if nobody wrote to the files meanwhile.
  if (key && digestKey(files) == key) keepDigest(*key, text);
  return "sha256:" + text;
}

}  // namespace decoscope
