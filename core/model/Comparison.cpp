#include "core/model/Comparison.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/model/Catalog.h"

namespace decoscope {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::size_t kChunk = 128;  // rows of logits held at once

// Logits of each position of the text but the last, chunk after chunk.
Result<ForwardOutput> chunk(Model& model, std::span<const TokenId> text, std::size_t begin, std::size_t count,
                            const StopToken& stop) {
  ForwardRequest request;
  request.tokens.assign(text.begin() + static_cast<std::ptrdiff_t>(begin),
                        text.begin() + static_cast<std::ptrdiff_t>(begin + count));
  for (std::size_t i = 0; i < count; ++i) request.logitRows.push_back(static_cast<std::int32_t>(i));
  return model.forward(request, stop);
}

struct Row {
  std::span<const float> values;
  double logSum = 0;
  std::size_t best = 0;
  explicit Row(std::span<const float> row) : values(row) {
    best = static_cast<std::size_t>(std::max_element(row.begin(), row.end()) - row.begin());
    double sum = 0;
    for (const float value : row) sum += std::exp(static_cast<double>(value) - row[best]);
    logSum = row[best] + std::log(sum);
  }
  double logProbability(std::size_t token) const { return values[token] - logSum; }
};

// A text longer than the context is read in stretches of it, each from an empty cache.
template <typename Visit>
Status inChunks(std::size_t positions, int context, Visit&& visit) {
  const auto stretch = static_cast<std::size_t>(context);
  for (std::size_t at = 0; at < positions;) {
    const std::size_t within = at % stretch;
    const std::size_t count = std::min({kChunk, positions - at, stretch - within});
    DECOSCOPE_TRY(visit(at, count, within == 0));
    at += count;
  }
  return {};
}

fs::path distanceFile(const std::string& fingerprint, const std::string& dtype) {
  std::string name = fingerprint;
  std::replace(name.begin(), name.end(), ':', '-');
  return fs::path(modelCacheFolder()).parent_path() / "distances" / (name + "-" + dtype + ".json");
}

}  // namespace

Result<PrecisionDistance> compareModels(Model& reference, Model& other, std::span<const TokenId> text,
                                        const StopToken& stop, const ProgressFunction& progress) {
  if (text.size() < 2) return fail(ErrorCode::badInput, "a comparison needs at least two tokens of text");
  if (reference.info().vocabularySize != other.info().vocabularySize)
    return fail(ErrorCode::badInput, "the models have different vocabularies", other.info().name);
  PrecisionDistance result;
  result.dtype = other.info().dtype;
  result.referenceDtype = reference.info().dtype;
  const std::size_t positions = text.size() - 1;
  double divergence = 0, own = 0, theirs = 0;
  std::int64_t agreeing = 0;
  const int context = std::min(reference.info().contextLength, other.info().contextLength);
  DECOSCOPE_TRY(inChunks(positions, context, [&](std::size_t at, std::size_t count, bool fresh) -> Status {
    if (fresh) {
      DECOSCOPE_TRY(reference.retain(0));
      DECOSCOPE_TRY(other.retain(0));
    }
    if (progress) progress(static_cast<double>(at) / static_cast<double>(positions), "Comparing precisions");
    DECOSCOPE_ASSIGN(const ForwardOutput exact, chunk(reference, text, at, count, stop));
    DECOSCOPE_ASSIGN(const ForwardOutput rough, chunk(other, text, at, count, stop));
    for (std::size_t i = 0; i < count; ++i) {
      const Row p(exact.logits->row(static_cast<int>(i))), q(rough.logits->row(static_cast<int>(i)));
      if (!std::isfinite(p.logSum) || !std::isfinite(q.logSum))
        return fail(ErrorCode::failed, "the model gave a logit that is not a number", other.info().name);
      double sum = 0;
      for (std::size_t token = 0; token < p.values.size(); ++token) {
        const double log = p.logProbability(token);
        sum += std::exp(log) * (log - q.logProbability(token));
      }
      sum = std::max(sum, 0.0);
      divergence += sum;
      result.largestDivergence = std::max(result.largestDivergence, sum);
      agreeing += p.best == q.best;
      const auto next = static_cast<std::size_t>(text[at + i + 1]);
      theirs -= p.logProbability(next);
      own -= q.logProbability(next);
    }
    return {};
  }));
  const auto n = static_cast<double>(positions);
  result.tokens = static_cast<std::int64_t>(positions);
  result.divergence = divergence / n;
  result.agreement = static_cast<double>(agreeing) / n;
  result.perplexity = std::exp(own / n);
  result.referencePerplexity = std::exp(theirs / n);
  return result;
}

Result<double> perplexityOf(Model& model, std::span<const TokenId> text, const StopToken& stop) {
  if (text.size() < 2) return fail(ErrorCode::badInput, "a perplexity needs at least two tokens of text");
  double sum = 0;
  DECOSCOPE_TRY(inChunks(text.size() - 1, model.info().contextLength,
                         [&](std::size_t at, std::size_t count, bool fresh) -> Status {
                           if (fresh) DECOSCOPE_TRY(model.retain(0));
                           DECOSCOPE_ASSIGN(const ForwardOutput output, chunk(model, text, at, count, stop));
                           for (std::size_t i = 0; i < count; ++i)
                             sum -= Row(output.logits->row(static_cast<int>(i)))
                                        .logProbability(static_cast<std::size_t>(text[at + i + 1]));
                           return {};
                         }));
  return std::exp(sum / static_cast<double>(text.size() - 1));
}

std::optional<PrecisionDistance> storedDistance(const std::string& fingerprint, const std::string& dtype) {
  std::ifstream stream(distanceFile(fingerprint, dtype));
  const json document = json::parse(stream, nullptr, false);
  if (!document.is_object()) return std::nullopt;
  try {
    PrecisionDistance distance;
    distance.dtype = document.at("dtype").get<std::string>();
    distance.referenceDtype = document.at("reference").get<std::string>();
    distance.tokens = document.at("tokens").get<std::int64_t>();
    distance.divergence = document.at("divergence").get<double>();
    distance.largestDivergence = document.at("largest_divergence").get<double>();
    distance.agreement = document.at("agreement").get<double>();
    distance.perplexity = document.at("perplexity").get<double>();
    distance.referencePerplexity = document.at("reference_perplexity").get<double>();
    return distance;
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

Status storeDistance(const std::string& fingerprint, const PrecisionDistance& distance) {
  const fs::path path = distanceFile(fingerprint, distance.dtype), fresh = path.string() + ".new";
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  {
    std::ofstream stream(fresh);
    stream << json{{"dtype", distance.dtype},
                   {"reference", distance.referenceDtype},
                   {"tokens", distance.tokens},
                   {"divergence", distance.divergence},
                   {"largest_divergence", distance.largestDivergence},
                   {"agreement", distance.agreement},
                   {"perplexity", distance.perplexity},
                   {"reference_perplexity", distance.referencePerplexity}};
    if (!stream.flush()) return fail(ErrorCode::failed, "the measurement could not be kept", fresh.string());
  }
  fs::rename(fresh, path, error);
  if (error)
    return fail(ErrorCode::failed, "the measurement could not be kept", path.string(), error.message());
  return {};
}

}  // namespace decoscope
