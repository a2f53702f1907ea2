// Masked diffusion on a time grid, its tokens revealed in the order of a score. Source: Ye et al., "Dream 7B:
// Diffusion Large Language Models", arXiv 2508.15487, and its reference sampler.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/decode/Methods.h"
#include "core/decode/diffusion/Canvas.h"

namespace decoscope {

namespace {

enum class Order { origin, maskgit, margin, entropy };

struct DreamSettings {
  std::int64_t steps = 0, topK = 0;
  double temperature = 0, topP = 1, epsilon = 1e-3, orderTemperature = 0;
  Order order = Order::origin;

  static DreamSettings of(const ParamSet& parameters) {
    DreamSettings settings;
    settings.steps = parameters.integer("steps");
    settings.temperature = parameters.real("temperature");
    settings.topP = parameters.real("top_p");
    settings.topK = parameters.integer("top_k");
    settings.epsilon = parameters.real("eps");
    settings.orderTemperature = parameters.real("alg_temp");
    const std::string& name = parameters.text("alg");
    settings.order = name == "maskgit_plus"  ? Order::maskgit
                     : name == "topk_margin" ? Order::margin
                     : name == "entropy"     ? Order::entropy
                                             : Order::origin;
    return settings;
  }
};

// The k most probable tokens (ties to the smaller id), normalised.
void keepLargest(Distribution& p, std::int64_t k) {
  if (k <= 0 || static_cast<std::size_t>(k) >= p.size()) return;
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto kept = order.begin() + k;
  std::nth_element(order.begin(), kept, order.end(),
                   [&](std::size_t a, std::size_t b) { return p[a] != p[b] ? p[a] > p[b] : a < b; });
  std::for_each(kept, order.end(), [&](std::size_t token) { p[token] = 0; });
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= sum;
}

// How sure a filtered distribution is of `token`; greater is surer.
double scoreOf(const Distribution& p, TokenId token, Order order) {
  if (order == Order::margin) {
    double first = 0, second = 0;
    for (const double value : p)
      if (value > first)
        second = std::exchange(first, value);
      else
        second = std::max(second, value);
    return first - second;
  }
  if (order == Order::entropy) {
    double sum = 0;
    for (const double value : p) sum += value * std::log(value + 1e-10);
    return sum;
  }
  return p[static_cast<std::size_t>(token)];
}

class DreamDecoder final : public Decoder {
 public:
  explicit DreamDecoder(DreamSettings settings) : settings_(settings) {}

  Status begin(DecodeEnvironment& environment) override {
    if (environment.maxNewTokens < 1)
      return fail(ErrorCode::usage, "a canvas needs at least one position", "--max-new-tokens",
                  "Ask for more tokens.");
    DECOSCOPE_TRY(canvas_.begin(environment));
    steps_ = settings_.steps == 0 ? environment.maxNewTokens : settings_.steps;
    return {};
  }

  Status step(DecodeEnvironment& environment) override {
    Recorder& recorder = *environment.recorder;
    std::vector<std::vector<float>> rows;
    {
      Recorder::Timer timer(recorder, TimeShare::verify);
      DECOSCOPE_ASSIGN(rows, canvas_.rows(environment, canvas_.first()));
    }
    std::vector<Canvas::Guess> open;
    for (std::int64_t position = canvas_.first(); position < canvas_.end(); ++position) {
      if (!canvas_.masked(position)) {
        canvas_.keepFixed(recorder, position, 0);
        continue;
      }
      const auto& row = rows[static_cast<std::size_t>(position - canvas_.first())];
      DECOSCOPE_ASSIGN(Canvas::Guess guess, propose(environment, row, position));
      open.push_back(guess);
    }
    const double t = time(step_), s = time(step_ + 1);
    const bool last = step_ + 1 >= steps_;
    // In single precision, as the reference counts: the floor depends on it.
    const float share = 1 - static_cast<float>(s) / static_cast<float>(t);
    const auto count = last ? open.size() : static_cast<std::size_t>(static_cast<float>(open.size()) * share);
    // The surest win; ties go to the left.
    std::stable_sort(open.begin(), open.end(), [](const Canvas::Guess& a, const Canvas::Guess& b) {
      return a.confidence > b.confidence;
    });
    auto chosen = open.begin() + static_cast<std::ptrdiff_t>(count);
    if (settings_.order == Order::origin && !last)
      chosen = std::find_if(open.begin(), open.end(),
                            [&](const Canvas::Guess& guess) { return guess.confidence <= 1 - share; });
    const auto revealed = static_cast<double>(chosen - open.begin());
    for (auto guess = chosen; guess != open.end(); ++guess) canvas_.keep(recorder, *guess, 0);
    std::sort(open.begin(), chosen,
              [](const Canvas::Guess& a, const Canvas::Guess& b) { return a.position < b.position; });
    for (auto guess = open.begin(); guess != chosen; ++guess) canvas_.commit(recorder, *guess, 0);
    recorder.add(ScoreFact{kRootNode, "time", t});
    recorder.add(ScoreFact{kRootNode, "next_time", s});
    recorder.add(ScoreFact{kRootNode, "revealed", revealed});
    if (++step_ >= steps_) {
      environment.text = canvas_.tokens();
      environment.stopReason = kStopLength;
    }
    return {};
  }

  Status reconfigure(const ParamSet& parameters) override {
    const DreamSettings next = DreamSettings::of(parameters);
    if (next.steps != settings_.steps || next.epsilon != settings_.epsilon)
      return fail(ErrorCode::usage, "steps and eps are fixed once denoising has begun", "parameter steps",
                  "Start a new run instead.");
    settings_ = next;
    return {};
  }

  Status force(DecodeEnvironment&, TokenId, Provenance) override {
    return fail(ErrorCode::unsupported, "a single token cannot be forced on a canvas yet", "method dream");
  }

 private:
  // From 1 down to eps, evenly.
  double time(std::int64_t step) const {
    return 1 + (settings_.epsilon - 1) * static_cast<double>(step) / static_cast<double>(steps_);
  }

  Result<Canvas::Guess> propose(DecodeEnvironment& environment, const std::vector<float>& row,
                                std::int64_t position) {
    const DrawContext place{environment.seed, environment.stream, step_};
    const auto node = static_cast<NodeId>(position);
    const auto vocabulary = static_cast<std::int32_t>(row.size());
    DECOSCOPE_ASSIGN(const Distribution raw, processLogits(row, SamplingSettings{}, {}, vocabulary));
    const bool filtered = settings_.temperature > 0 || settings_.topP < 1 || settings_.topK > 0;
    Distribution p = raw;
    if (filtered) {
      SamplingSettings filter;
      filter.temperature = settings_.temperature > 0 ? settings_.temperature : 1;
      filter.topP = settings_.topP;
      DECOSCOPE_ASSIGN(p, processLogits(row, filter, {}, vocabulary));
      keepLargest(p, settings_.topK);  // last, unlike in `sampling`
    }
    Canvas::Guess guess{static_cast<std::int32_t>(position), argmax(p), 0, entropyOf(raw)};
    if (settings_.temperature > 0) guess.token = drawFrom(p, uniform(place, node, DrawPurpose::gumbel)).token;
    const double u = uniform(place, node, DrawPurpose::order);
    if (settings_.order == Order::origin) {
      guess.confidence = u;  // what is revealed, and when, is left to chance
    } else {
      guess.confidence = scoreOf(p, guess.token, settings_.order);
      // The k greatest of scores with Gumbel noise are k draws without replacement from their softmax.
      if (settings_.orderTemperature > 0)
        guess.confidence =
            guess.confidence / settings_.orderTemperature - std::log(std::max(-std::log1p(-u), 1e-300));
    }
    Recorder& recorder = *environment.recorder;
    Canvas::recordRow(recorder, raw, DistributionKind::targetRaw, guess.position);
    if (filtered) Canvas::recordRow(recorder, p, DistributionKind::target, guess.position);
    return guess;
  }

  DreamSettings settings_;
  Canvas canvas_;
  std::int64_t steps_ = 1, step_ = 0;
};

ParamSpec real(std::string name, std::string title, double value, double least, double most,
               std::string help) {
  return {std::move(name), std::move(title), ParamType::real, value, least, most, {}, "", std::move(help)};
}

ParamSpec whole(std::string name, std::string title, double most, std::string unit, std::string help) {
  return {std::move(name), std::move(title), ParamType::integer, std::int64_t{0}, 0, most, {},
          std::move(unit), std::move(help)};
}

}  // namespace

void addDream(MethodRegistry& registry) {
  MethodInfo info;
  info.name = "dream";
  info.title = "Masked diffusion (Dream)";
  info.family = "diffusion";
  info.citation = "Ye et al. 2025, arXiv 2508.15487";
  info.summary =
      "Starts from masks and reveals, on a grid of times from 1 to almost 0, the positions that a score "
      "ranks "
      "first.";
  info.lossless = "no";
  info.roles = {"target"};
  info.needs = {"masked diffusion"};
  info.schema = ParamSchema({
      real("temperature", "Temperature", 0, 0, 100,
           "Of tokens and of the scores; 0 takes the most probable token and scores at 1."),
      real("top_p", "Top-p", 1, 0, 1,
           "Keeps the fewest tokens whose probabilities reach this sum; 1 keeps all."),
      whole("top_k", "Top-k", 1e9, "tokens", "Keeps the k most probable tokens, after top-p; 0 keeps all."),
      whole("steps", "Steps", 1e6, "forwards", "Denoising steps in all; 0 means one per token."),
      {"alg",
       "Order",
       ParamType::choice,
       std::string("origin"),
       0,
       0,
       {"origin", "maskgit_plus", "topk_margin", "entropy"},
       "",
       "origin: each position is revealed by chance. Otherwise the surest first, by probability, by the "
       "distance of the two most probable tokens, or by negative entropy."},
      real("alg_temp", "Order temperature", 0, 0, 100,
           "Draws the positions from the softmax of score ÷ this; the recorded confidence then contains the "
           "noise. 0 takes the surest."),
      real("eps", "Last time", 1e-3, 1e-9, 0.5, "Where the grid of times ends."),
  });
  registry.add(std::move(info), [](const DecoderSetup& setup) -> Result<std::unique_ptr<Decoder>> {
    return std::make_unique<DreamDecoder>(DreamSettings::of(setup.parameters));
  });
}

}  // namespace decoscope
