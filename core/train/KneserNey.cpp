#include "core/train/KneserNey.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace decoscope {

namespace {

constexpr int kHighestOrder = 8;
constexpr int kLargestVocabulary = 1 << 24;
constexpr std::size_t kMostTokens = std::size_t{1} << 31;

// Chen and Goodman's equation 26.
KneserNey::Discounts discountsOf(const std::array<std::int64_t, 4>& countsOfCounts) {
  KneserNey::Discounts discounts;
  std::array<double, 4> t;
  std::copy(countsOfCounts.begin(), countsOfCounts.end(), t.begin());
  if (std::any_of(t.begin(), t.end(), [](double count) { return count == 0; })) return discounts;
  const double y = t[0] / (t[0] + 2 * t[1]);
  std::array<double, 3> values;
  for (std::size_t k = 0; k < 3; ++k) {
    const auto count = static_cast<double>(k + 1);
    values[k] = count - (count + 1) * y * t[k + 1] / t[k];
    if (values[k] < 0 || values[k] > count) return discounts;
  }
  return {values, true};
}

double discountOf(const KneserNey::Discounts& discounts, std::uint32_t count) {
  return count == 0 ? 0 : discounts.values[std::min<std::uint32_t>(count, 3) - 1];
}

// Σ a(hx) and b(h) from the adjusted counts of what follows h.
struct Follow {
  double total = 0, backoff = 1;
};
Follow follow(std::span<const std::uint32_t> counts, const KneserNey::Discounts& discounts) {
  Follow sum{0, 0};
  for (const std::uint32_t count : counts) {
    sum.total += count;
    sum.backoff += discountOf(discounts, count);
  }
  return sum.total > 0 ? Follow{sum.total, sum.backoff / sum.total} : Follow{};
}

}  // namespace

std::vector<std::int64_t> KneserNey::sizes() const {
  std::vector<std::int64_t> sizes;
  for (const Level& level : levels_)
    sizes.push_back(static_cast<std::int64_t>(
        level.counts.size() -
        static_cast<std::size_t>(std::count(level.counts.begin(), level.counts.end(), 0u))));
  return sizes;
}

std::int64_t KneserNey::memoryBytes() const {
  std::size_t bytes = 0;
  for (const Level& level : levels_)
    bytes += 4 * (level.tokens.size() + level.counts.size() + level.firstChild.size()) +
             8 * (level.totals.size() + level.backoffs.size());
  return static_cast<std::int64_t>(bytes);
}

Status KneserNey::check(std::span<const TokenId> text) const {
  for (const TokenId token : text)
    if (token < 0 || token >= vocabularySize_)
      return fail(ErrorCode::badInput, "token id " + std::to_string(token) + " is not in the vocabulary of " +
                                           std::to_string(vocabularySize_));
  return {};
}

KneserNey::Contexts KneserNey::beginning() const {
  Contexts contexts(levels_.size(), kNone);
  contexts[0] = 0;
  if (contexts.size() > 1) contexts[1] = static_cast<std::uint32_t>(vocabularySize_);
  return contexts;
}

std::uint32_t KneserNey::child(std::size_t length, std::uint32_t context, TokenId token) const {
  if (length == 0) return static_cast<std::uint32_t>(token);
  const Level& level = levels_[length - 1];
  const auto first = levels_[length].tokens.begin();
  const auto begin = first + level.firstChild[context], end = first + level.firstChild[context + 1];
  const auto found = std::lower_bound(begin, end, static_cast<std::uint32_t>(token));
  return found != end && *found == static_cast<std::uint32_t>(token)
             ? static_cast<std::uint32_t>(found - first)
             : kNone;
}

double KneserNey::step(const Contexts& contexts, TokenId token, Contexts& next) const {
  next.assign(contexts.size(), kNone);
  next[0] = 0;
  double probability = 1.0 / vocabularySize_;
  for (std::size_t length = 0; length < contexts.size() && contexts[length] != kNone; ++length) {
    const std::uint32_t context = contexts[length], node = child(length, context, token);
    const double total = length == 0 ? rootTotal_ : levels_[length - 1].totals[context];
    if (total == 0) continue;
    const std::uint32_t count = node == kNone ? 0 : levels_[length].counts[node];
    probability *= length == 0 ? rootBackoff_ : levels_[length - 1].backoffs[context];
    probability += (count - discountOf(discounts_[length], count)) / total;
    if (length + 1 < next.size()) next[length + 1] = node;
  }
  // A token that was never seen is still what came last.
  if (next.size() > 1) next[1] = static_cast<std::uint32_t>(token);
  return probability;
}

Result<std::vector<double>> KneserNey::logProbabilities(std::span<const TokenId> text) const {
  DECOSCOPE_TRY(check(text));
  std::vector<double> out;
  out.reserve(text.size());
  Contexts contexts = beginning(), next;
  for (const TokenId token : text) {
    out.push_back(std::log(step(contexts, token, next)));
    contexts.swap(next);
  }
  return out;
}

Result<std::vector<double>> KneserNey::distribution(std::span<const TokenId> textSoFar) const {
  DECOSCOPE_TRY(check(textSoFar));
  Contexts contexts = beginning(), next;
  for (const TokenId token : textSoFar) {
    step(contexts, token, next);
    contexts.swap(next);
  }
  std::vector<double> out;
  for (TokenId token = 0; token < vocabularySize_; ++token) out.push_back(step(contexts, token, next));
  return out;
}

Status KneserNeyTrainer::add(std::span<const TokenId> text) {
  if (stream_.size() + text.size() >= kMostTokens)
    return fail(ErrorCode::badInput, "the texts have more than " + std::to_string(kMostTokens) + " tokens");
  for (const TokenId token : text)
    if (token < 0 || token >= vocabularySize_)
      return fail(ErrorCode::badInput, "token id " + std::to_string(token) + " is not in the vocabulary of " +
                                           std::to_string(vocabularySize_));
  stream_.push_back(static_cast<std::uint32_t>(vocabularySize_));
  stream_.insert(stream_.end(), text.begin(), text.end());
  return {};
}

Result<KneserNey> KneserNeyTrainer::train(const StopToken& stop) const {
  if (order_ < 1 || order_ > kHighestOrder)
    return fail(ErrorCode::usage, "an n-gram model of order " + std::to_string(order_), "order",
                "From 1 to " + std::to_string(kHighestOrder) + " are possible.");
  if (vocabularySize_ < 1 || vocabularySize_ > kLargestVocabulary)
    return fail(ErrorCode::usage, "a vocabulary of " + std::to_string(vocabularySize_) + " entries");
  if (stream_.empty()) return fail(ErrorCode::badInput, "there are no texts to count");
  constexpr std::uint32_t kNone = KneserNey::kNone;
  const auto beginning = static_cast<std::uint32_t>(vocabularySize_);

  KneserNey model;
  model.vocabularySize_ = vocabularySize_;
  model.levels_.resize(static_cast<std::size_t>(order_));
  // How often each node of the level occurs, and of how many different tokens it stands behind.
  std::vector<std::uint32_t> occurrences(beginning + 1u), preceded;
  for (const std::uint32_t token : stream_) ++occurrences[token];
  // The first node of the level that stands at the beginning of a text; from there on all do.
  std::uint32_t firstBeginning = beginning;
  // Of the n-gram that starts at each place: its node. Of each node: that of the n-gram without its first
  // token, one level up; unused in level 0.
  std::vector<std::uint32_t> nodes = stream_, suffixes;
  for (int n = 1; n < order_; ++n) {
    if (stop.stop_requested()) return fail(ErrorCode::cancelled, "stopped");
    KneserNey::Level &shorter = model.levels_[static_cast<std::size_t>(n) - 1],
                     &level = model.levels_[static_cast<std::size_t>(n)];
    std::vector<std::uint64_t> keys;
    keys.reserve(stream_.size());
    const auto length = static_cast<std::size_t>(n);
    for (std::size_t i = 0; i < stream_.size(); ++i) {
      if (nodes[i] == kNone) continue;
      if (i + length >= stream_.size() || stream_[i + length] == beginning)
        nodes[i] = kNone;
      else
        keys.push_back(static_cast<std::uint64_t>(nodes[i]) << 32 | stream_[i + length]);
    }
    std::sort(keys.begin(), keys.end());
    const std::size_t shorterCount = occurrences.size();
    std::vector<std::uint32_t> longerOccurrences, longerSuffixes;
    shorter.firstChild.assign(shorterCount + 1, 0);
    preceded.assign(shorterCount, 0);
    for (std::size_t i = 0; i < keys.size();) {
      std::size_t last = i;
      while (last < keys.size() && keys[last] == keys[i]) ++last;
      const auto parent = static_cast<std::uint32_t>(keys[i] >> 32);
      const auto token = static_cast<std::uint32_t>(keys[i]);
      const std::uint32_t suffix =
          n == 1 ? token : model.child(length - 1, suffixes[parent], static_cast<TokenId>(token));
      ++preceded[suffix];
      ++shorter.firstChild[parent + 1];
      level.tokens.push_back(token);
      longerOccurrences.push_back(static_cast<std::uint32_t>(last - i));
      longerSuffixes.push_back(suffix);
      i = last;
    }
    for (std::size_t i = 1; i < shorter.firstChild.size(); ++i)
      shorter.firstChild[i] += shorter.firstChild[i - 1];
    for (std::size_t i = 0; i < stream_.size(); ++i)
      if (nodes[i] != kNone)
        nodes[i] = model.child(length, nodes[i], static_cast<TokenId>(stream_[i + length]));
    shorter.counts = std::move(preceded);
    std::copy(occurrences.begin() + firstBeginning, occurrences.end(),
              shorter.counts.begin() + firstBeginning);
    firstBeginning = shorter.firstChild[firstBeginning];
    occurrences = std::move(longerOccurrences);
    suffixes = std::move(longerSuffixes);
  }
  model.levels_.back().counts = std::move(occurrences);
  // That a text begins is never foretold.
  model.levels_.front().counts[beginning] = 0;

  for (const KneserNey::Level& level : model.levels_) {
    std::array<std::int64_t, 4> countsOfCounts{};
    for (const std::uint32_t count : level.counts)
      if (count >= 1 && count <= 4) ++countsOfCounts[count - 1];
    model.discounts_.push_back(discountsOf(countsOfCounts));
  }
  const Follow root = follow(model.levels_.front().counts, model.discounts_.front());
  model.rootTotal_ = root.total;
  model.rootBackoff_ = root.backoff;
  for (std::size_t n = 0; n + 1 < model.levels_.size(); ++n) {
    KneserNey::Level& level = model.levels_[n];
    const std::span<const std::uint32_t> counts = model.levels_[n + 1].counts;
    for (std::size_t node = 0; node + 1 < level.firstChild.size(); ++node) {
      const std::size_t begin = level.firstChild[node], end = level.firstChild[node + 1];
      const Follow sum = follow(counts.subspan(begin, end - begin), model.discounts_[n + 1]);
      level.totals.push_back(sum.total);
      level.backoffs.push_back(sum.backoff);
    }
  }
  return model;
}

}  // namespace decoscope
