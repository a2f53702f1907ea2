#include <openssl/evp.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "core/model/weights/MappedFile.h"
#include "core/model/weights/WeightFile.h"

namespace decoscope {

namespace {

std::string hex(const unsigned char* bytes, unsigned size) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

Result<std::string> sha256(const std::vector<std::string>& files) {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  if (!context || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1)
    return fail(ErrorCode::failed, "SHA-256 is not available");
  for (const std::string& path : files) {
    DECOSCOPE_ASSIGN(const auto file, MappedFile::open(path));
    EVP_DigestUpdate(context.get(), file->bytes().data(), file->bytes().size());
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_DigestFinal_ex(context.get(), digest, &size);
  return "sha256:" + hex(digest, size);
}

}  // namespace

Result<std::string> fileDigest(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!fs::is_directory(path, error)) return sha256({path});
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(path, error))
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path().string());
  if (files.empty()) return fail(ErrorCode::badInput, "the folder holds no weights", path);
  std::sort(files.begin(), files.end());
  return sha256(files);
}

}  // namespace decoscope
