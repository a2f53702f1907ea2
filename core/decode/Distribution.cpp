#include "core/decode/Distribution.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <sstream>
#include <unordered_map>

namespace decoscope {

namespace {

constexpr double kExcluded = -std::numeric_limits<double>::infinity();

ParamSpec real(std::string name, std::string title, double value, double minimum, double maximum,
               std::string help) {
  return {std::move(name), std::move(title), ParamType::real, value, minimum, maximum, {}, "",
          std::move(help)};
}

void applyPenalties(std::vector<double>& logits, const SamplingSettings& settings, const History& history) {
  std::unordered_map<TokenId, int> seen, generated;
  const auto count = [&](std::span<const TokenId> tokens, bool isGenerated) {
    for (const TokenId token : tokens) {
      ++seen[token];
      if (isGenerated) ++generated[token];
    }
  };
  const std::size_t prompt = std::min(history.promptLength, history.text.size());
  count(history.text.first(prompt), false);
  count(history.text.subspan(prompt), true);
  count(history.path, true);
  const auto size = static_cast<TokenId>(logits.size());
  if (settings.repetitionPenalty != 1)
    for (const auto& [token, times] : seen)
      if (token >= 0 && token < size) {
        double& logit = logits[static_cast<std::size_t>(token)];
        logit = logit > 0 ? logit / settings.repetitionPenalty : logit * settings.repetitionPenalty;
      }
  if (settings.presencePenalty != 0 || settings.frequencyPenalty != 0)
    for (const auto& [token, times] : generated)
      if (token >= 0 && token < size)
        logits[static_cast<std::size_t>(token)] -=
            settings.presencePenalty + settings.frequencyPenalty * times;
}

Status normalise(std::vector<double>& logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  if (!std::isfinite(largest))
    return fail(ErrorCode::failed, "no token is left to choose from", "sampling",
                "Loosen the bans or filters.");
  double sum = 0;
  for (double& value : logits) sum += value = std::exp(value - largest);
  for (double& value : logits) value /= sum;
  return {};
}

// Zeroes all but the entries of `order` before `keep`, and normalises.
void keepFirst(Distribution& p, const std::vector<TokenId>& order, std::size_t keep) {
  double sum = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    double& value = p[static_cast<std::size_t>(order[i])];
    if (i < keep)
      sum += value;
    else
      value = 0;
  }
  for (const TokenId token : order) p[static_cast<std::size_t>(token)] /= sum;
}

std::vector<TokenId> support(const Distribution& p) {
  std::vector<TokenId> tokens;
  for (std::size_t i = 0; i < p.size(); ++i)
    if (p[i] > 0) tokens.push_back(static_cast<TokenId>(i));
  return tokens;
}

void sortDescending(std::vector<TokenId>& tokens, const Distribution& p) {
  std::stable_sort(tokens.begin(), tokens.end(), [&](TokenId a, TokenId b) {
    return p[static_cast<std::size_t>(a)] > p[static_cast<std::size_t>(b)];
  });
}

std::size_t prefixWithMass(const std::vector<TokenId>& order, const Distribution& p, double mass) {
  double sum = 0;
  std::size_t keep = 0;
  while (keep < order.size() && sum < mass) sum += p[static_cast<std::size_t>(order[keep++])];
  return std::max<std::size_t>(keep, 1);
}

}  // namespace

bool SamplingSettings::changesOrder() const {
  return repetitionPenalty != 1 || presencePenalty != 0 || frequencyPenalty != 0 || !banned.empty();
}

const ParamSchema& samplingSchema() {
  static const ParamSchema schema({
      real("temperature", "Temperature", 0, 0, 100,
           "Divides the logits before softmax; 0 takes the most probable token."),
      {"top_k",
       "Top-k",
       ParamType::integer,
       std::int64_t{0},
       0,
       1e9,
       {},
       "tokens",
       "Keeps the k most probable tokens; 0 keeps all."},
      real("top_p", "Top-p", 1, 0, 1,
           "Keeps the fewest tokens whose probabilities reach this sum; 1 keeps all."),
      real("min_p", "Min-p", 0, 0, 1,
           "Drops tokens below this fraction of the largest probability; 0 keeps all."),
      real("typical_p", "Typical-p", 1, 0, 1,
           "Keeps the tokens whose surprisal is nearest to the entropy until they reach this mass; 1 keeps "
           "all."),
      real("repetition_penalty", "Repetition penalty", 1, 0.01, 100,
           "Divides positive (multiplies negative) logits of tokens that stand in the text; 1 is off."),
      real("presence_penalty", "Presence penalty", 0, -100, 100,
           "Subtracted once from the logit of each generated token."),
      real("frequency_penalty", "Frequency penalty", 0, -100, 100,
           "Subtracted from a token's logit for each time it was generated."),
      {"banned",
       "Banned tokens",
       ParamType::text,
       std::string(),
       0,
       0,
       {},
       "ids",
       "Token ids, separated by commas, that may not be chosen."},
  });
  return schema;
}

Result<SamplingSettings> samplingSettings(const ParamSet& parameters) {
  SamplingSettings settings;
  settings.temperature = parameters.real("temperature");
  settings.topK = parameters.integer("top_k");
  settings.topP = parameters.real("top_p");
  settings.minP = parameters.real("min_p");
  settings.typicalP = parameters.real("typical_p");
  settings.repetitionPenalty = parameters.real("repetition_penalty");
  settings.presencePenalty = parameters.real("presence_penalty");
  settings.frequencyPenalty = parameters.real("frequency_penalty");
  std::stringstream banned(parameters.text("banned"));
  for (std::string part; std::getline(banned, part, ',');) {
    char* end = nullptr;
    const long long id = std::strtoll(part.c_str(), &end, 10);
    if (end == part.c_str() || *end != '\0' || id < 0 || id > std::numeric_limits<TokenId>::max())
      return fail(ErrorCode::usage, "'" + part + "' is not a token id", "parameter banned",
                  "Give ids with commas: 12,345");
    settings.banned.push_back(static_cast<TokenId>(id));
  }
  return settings;
}

Result<Distribution> processLogits(std::span<const float> raw, const SamplingSettings& settings,
                                   const History& history, std::int32_t usable) {
  std::vector<double> logits(raw.begin(), raw.end());
  for (std::size_t i = 0; i < logits.size(); ++i)
    if (std::isnan(logits[i]) || logits[i] == std::numeric_limits<double>::infinity())
      return fail(ErrorCode::failed, "the model gave a logit that is not a number",
                  "token " + std::to_string(i),
                  "The weights may be damaged, or the precision too low: try --dtype f32.");
  for (auto i = static_cast<std::size_t>(std::max(usable, 0)); i < logits.size(); ++i) logits[i] = kExcluded;
  applyPenalties(logits, settings, history);
  for (const TokenId token : settings.banned)
    if (token >= 0 && static_cast<std::size_t>(token) < logits.size())
      logits[static_cast<std::size_t>(token)] = kExcluded;
  if (settings.greedy()) {
    DECOSCOPE_TRY(normalise(logits));
    return logits;
  }
  for (double& logit : logits) logit /= settings.temperature;
  DECOSCOPE_TRY(normalise(logits));
  Distribution& p = logits;

  if (settings.topK > 0 && static_cast<std::size_t>(settings.topK) < p.size()) {
    std::vector<TokenId> order = support(p);
    sortDescending(order, p);
    keepFirst(p, order, static_cast<std::size_t>(settings.topK));
  }
  if (settings.typicalP < 1) {
    const double entropy = entropyOf(p);
    std::vector<TokenId> order = support(p);
    std::stable_sort(order.begin(), order.end(), [&](TokenId a, TokenId b) {
      return std::abs(-std::log(p[static_cast<std::size_t>(a)]) - entropy) <
             std::abs(-std::log(p[static_cast<std::size_t>(b)]) - entropy);
    });
    keepFirst(p, order, prefixWithMass(order, p, settings.typicalP));
  }
  if (settings.topP < 1) {
    std::vector<TokenId> order = support(p);
    sortDescending(order, p);
    keepFirst(p, order, prefixWithMass(order, p, settings.topP));
  }
  if (settings.minP > 0) {
    const double bound = settings.minP * *std::max_element(p.begin(), p.end());
    double sum = 0;
    for (double& value : p) {
      if (value < bound) value = 0;
      sum += value;
    }
    for (double& value : p) value /= sum;
  }
  return logits;
}

TokenId argmax(const Distribution& p) {
  return static_cast<TokenId>(std::max_element(p.begin(), p.end()) - p.begin());
}

Draw drawFrom(const Distribution& p, double u) {
  double cumulative = 0;
  Draw last;
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (p[i] <= 0) continue;
    last = {static_cast<TokenId>(i), cumulative, cumulative + p[i]};
    cumulative += p[i];
    if (u < cumulative) return last;
  }
  // The sum fell short of u by rounding: the last token with mass owns the rest.
  last.high = std::max(last.high, std::nextafter(u, 2.0));
  return last;
}

Distribution residual(const Distribution& p, const Distribution& q) {
  Distribution rest(p.size());
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) sum += rest[i] = std::max(0.0, p[i] - q[i]);
  if (sum <= 0) return p;
  for (double& value : rest) value /= sum;
  return rest;
}

Distribution without(const Distribution& p, TokenId token) {
  Distribution rest = p;
  rest[static_cast<std::size_t>(token)] = 0;
  const double sum = std::accumulate(rest.begin(), rest.end(), 0.0);
  if (sum <= 0) return p;
  for (double& value : rest) value /= sum;
  return rest;
}

double entropyOf(const Distribution& p) {
  double entropy = 0;
  for (const double value : p)
    if (value > 0) entropy -= value * std::log(value);
  return entropy;
}

int rankOf(const Distribution& p, TokenId token) {
  const double own = p[static_cast<std::size_t>(token)];
  int rank = 0;
  for (std::size_t i = 0; i < p.size(); ++i)
    if (p[i] > own || (p[i] == own && static_cast<TokenId>(i) < token)) ++rank;
  return rank;
}

DistributionFact digest(const Distribution& p, DistributionKind kind, NodeId node, int topK, int stage) {
  DistributionFact fact;
  fact.kind = kind;
  fact.node = node;
  fact.stage = stage;
  fact.entropy = entropyOf(p);
  std::vector<TokenId> order = support(p);
  const auto keep = std::min(order.size(), static_cast<std::size_t>(std::max(topK, 0)));
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(keep), order.end(),
                    [&](TokenId a, TokenId b) {
                      const double pa = p[static_cast<std::size_t>(a)], pb = p[static_cast<std::size_t>(b)];
                      return pa != pb ? pa > pb : a < b;
                    });
  order.resize(keep);
  double mass = 0;
  for (const TokenId token : order) {
    fact.probabilities.push_back(static_cast<float>(p[static_cast<std::size_t>(token)]));
    mass += p[static_cast<std::size_t>(token)];
  }
  fact.tokens = std::move(order);
  fact.tailMass = std::max(0.0, 1 - mass);
  return fact;
}

DistributionFact digest(const RowSummary& summary, DistributionKind kind, NodeId node) {
  DistributionFact fact;
  fact.kind = kind;
  fact.node = node;
  fact.tokens = summary.tokens;
  fact.entropy = summary.entropy;
  fact.tailMass = summary.tailMass;
  for (std::size_t i = 0; i < summary.tokens.size(); ++i)
    fact.probabilities.push_back(static_cast<float>(summary.probability(i)));
  return fact;
}

}  // namespace decoscope
