#include "core/train/NearDuplicates.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>

#include "core/base/Hash.h"

namespace decoscope {

namespace {

constexpr std::size_t kShingleWords = 5;
// A bucket that overflows holds texts that share a common opening; its first ones stand for it.
constexpr std::size_t kMostInBucket = 16;

// Hashes of the words, without case and punctuation.
std::vector<std::uint64_t> wordHashes(std::string_view text) {
  std::vector<std::uint64_t> words;
  std::uint64_t hash = kFnvStart;
  bool inside = false;
  const auto finish = [&] {
    if (inside) words.push_back(mixBits(hash));
    hash = kFnvStart;
    inside = false;
  };
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || byte >= 0x80) {
      hash = fnvStep(hash, static_cast<unsigned char>(std::tolower(byte)));
      inside = true;
    } else if (std::isspace(byte) != 0 || c == '-') {
      finish();
    }
  }
  finish();
  return words;
}

double jaccard(const std::vector<std::uint32_t>& a, const std::vector<std::uint32_t>& b) {
  std::size_t common = 0;
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    common += a[i] == b[j] ? 1 : 0;
    const bool stepA = a[i] <= b[j], stepB = b[j] <= a[i];
    i += stepA ? 1 : 0;
    j += stepB ? 1 : 0;
  }
  const std::size_t all = a.size() + b.size() - common;
  return all == 0 ? 1 : static_cast<double>(common) / static_cast<double>(all);
}

}  // namespace

std::uint64_t textHash(std::string_view text) {
  std::uint64_t hash = 0;
  for (const std::uint64_t word : wordHashes(text)) hash = mixBits(hash + 0x9E3779B97F4A7C15ull) ^ word;
  return mixBits(hash);
}

NearDuplicates::NearDuplicates(double resemblance, int leastWords)
    : resemblance_(resemblance), leastWords_(leastWords) {}

NearDuplicates::Signature NearDuplicates::signatureOf(std::string_view text) const {
  Signature signature;
  const auto words = wordHashes(text);
  if (resemblance_ <= 0 || words.size() < std::max(kShingleWords, static_cast<std::size_t>(leastWords_)))
    return signature;
  for (std::size_t i = 0; i + kShingleWords <= words.size(); ++i) {
    std::uint64_t hash = 0;
    for (std::size_t j = i; j < i + kShingleWords; ++j)
      hash = mixBits(hash + 0x9E3779B97F4A7C15ull) ^ words[j];
    signature.shingles.push_back(static_cast<std::uint32_t>(mixBits(hash) >> 32));
  }
  std::sort(signature.shingles.begin(), signature.shingles.end());
  signature.shingles.erase(std::unique(signature.shingles.begin(), signature.shingles.end()),
                           signature.shingles.end());
  for (std::size_t band = 0; band < kBands; ++band) {
    std::uint64_t key = band + 1;
    for (std::size_t row = 0; row < kRows; ++row) {
      const std::uint64_t salt = mixBits((band * kRows + row + 1) * 0x9E3779B97F4A7C15ull);
      std::uint64_t least = std::numeric_limits<std::uint64_t>::max();
      for (const std::uint32_t shingle : signature.shingles) least = std::min(least, mixBits(shingle ^ salt));
      key = mixBits(key ^ least);
    }
    signature.bands.push_back(key);
  }
  return signature;
}

NearDuplicates::Finding NearDuplicates::look(std::string_view identity, std::string_view text) const {
  if (exact_.contains(textHash(identity))) return Finding::exact;
  const Signature signature = signatureOf(text);
  for (const std::uint64_t band : signature.bands) {
    const auto bucket = buckets_.find(band);
    if (bucket == buckets_.end()) continue;
    for (const std::uint32_t other : bucket->second)
      if (jaccard(signature.shingles, texts_[other]) >= resemblance_) return Finding::near;
  }
  return Finding::fresh;
}

void NearDuplicates::add(std::string_view identity, std::string_view text) {
  exact_.insert(textHash(identity));
  Signature signature = signatureOf(text);
  if (signature.bands.empty()) return;
  const auto number = static_cast<std::uint32_t>(texts_.size());
  for (const std::uint64_t band : signature.bands) {
    auto& bucket = buckets_[band];
    if (bucket.size() < kMostInBucket) bucket.push_back(number);
  }
  texts_.push_back(std::move(signature.shingles));
}

}  // namespace decoscope
