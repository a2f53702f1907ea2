#include "core/train/BatchedGenerator.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/base/Bfloat16.h"
#include "core/base/Rng.h"

namespace decoscope {

namespace {

constexpr std::int32_t kShared = -1, kDead = -2;
// Draws of tokens; apart from those of the grammar, which may have the same seed.
constexpr std::uint32_t kTokenStream = 2;

double secondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

BatchedGenerator::BatchedGenerator(Model& model, GeneratorOptions options)
    : model_(&model), options_(std::move(options)) {}

Result<BatchedGenerator> BatchedGenerator::create(Model& model, GeneratorOptions options) {
  const Capabilities can = model.capabilities();
  if (!can.causal || !can.trees)
    return fail(ErrorCode::unsupported, "texts side by side need a model of next tokens", model.info().name);
  if (options.features && !can.hiddenStates)
    return fail(ErrorCode::unsupported, "the model shows no hidden states to keep", model.info().name,
                "Leave --features out.");
  if (options.lanes < 1 || options.lanes > 4096)
    return fail(ErrorCode::usage, "from 1 to 4096 texts can grow side by side", "--batch");
  if (options.promptTokens < 1) return fail(ErrorCode::usage, "a forward takes at least one prompt token");
  return BatchedGenerator(model, std::move(options));
}

Status BatchedGenerator::run(const Source& source, const Sink& sink, const StopToken& stop) {
  lanes_.assign(static_cast<std::size_t>(options_.lanes), std::nullopt);
  owners_.clear();
  dead_ = 0;
  exhausted_ = false;
  DECOSCOPE_TRY(model_->retain(0));
  Status status = cachePrefixes(stop);
  while (status) {
    status = fillLanes(source);
    const bool busy = std::any_of(lanes_.begin(), lanes_.end(), [](const auto& lane) { return !!lane; });
    if (!status || !busy) break;
    status = advance(sink, stop);
  }
  const Status emptied = model_->retain(0);
  return status ? emptied : status;
}

Status BatchedGenerator::cachePrefixes(const StopToken& stop) {
  prefixSlots_.clear();
  prefixFeatures_.clear();
  for (const std::vector<TokenId>& prefix : options_.prefixes) {
    prefixSlots_.push_back(static_cast<std::int32_t>(owners_.size()));
    if (prefix.empty()) continue;
    ForwardRequest request;
    request.tokens = prefix;
    request.follows.assign(prefix.size(), -1);
    if (options_.features) request.taps = {{TapSite::residual, model_->info().layers}};
    DECOSCOPE_ASSIGN(const ForwardOutput output, model_->forward(request, stop));
    owners_.insert(owners_.end(), prefix.size(), kShared);
    if (options_.features)
      std::transform(output.taps.front().values.begin(), output.taps.front().values.end(),
                     std::back_inserter(prefixFeatures_), toBfloat16);
  }
  shared_ = owners_.size();
  return {};
}

Status BatchedGenerator::fillLanes(const Source& source) {
  for (auto& lane : lanes_) {
    if (lane || exhausted_) continue;
    DECOSCOPE_ASSIGN(std::optional<GenerationJob> job, source());
    exhausted_ = !job;
    if (!job) break;
    DECOSCOPE_TRY(begin(lane.emplace(), std::move(*job)));
  }
  return {};
}

Status BatchedGenerator::begin(Lane& lane, GenerationJob job) {
  const std::string where = "text " + std::to_string(job.index);
  if (job.prompt.empty() || job.maxTokens < 1 || job.topK < 1)
    return fail(ErrorCode::usage, "a text needs a prompt, a length and a top-k of at least 1", where);
  auto longest = static_cast<std::int64_t>(job.prompt.size()) + job.maxTokens;
  for (const auto& continuation : job.continuations)
    longest += static_cast<std::int64_t>(continuation.size());
  if (longest > model_->info().contextLength)
    return fail(ErrorCode::badInput,
                std::to_string(longest) + " tokens of prompt and answer do not fit into the context of " +
                    std::to_string(model_->info().contextLength),
                where, "Ask for shorter answers (max_tokens).");
  // At least the prompt's last token is run, for its logits.
  lane.fed = 0;
  lane.last = -1;
  for (std::size_t i = 0; i < options_.prefixes.size(); ++i) {
    const auto& prefix = options_.prefixes[i];
    const auto most = static_cast<std::ptrdiff_t>(std::min(prefix.size(), job.prompt.size() - 1));
    const auto agreed = std::mismatch(prefix.begin(), prefix.begin() + most, job.prompt.begin()).first;
    const auto count = static_cast<std::size_t>(agreed - prefix.begin());
    if (count <= lane.fed) continue;
    lane.fed = count;
    lane.last = prefixSlots_[i] + static_cast<std::int32_t>(count) - 1;
  }
  lane.text.index = job.index;
  lane.text.tokens = job.prompt;
  lane.given = job.prompt.size();
  if (job.outlined && !options_.endsPart)
    return fail(ErrorCode::usage, "an outlined text needs to know where parts end", where);
  lane.text.start = lane.part = job.start > 0 ? std::min(job.start, lane.given) : lane.given;
  if (options_.features && lane.fed > 0) {
    const auto end = prefixFeatures_.begin() +
                     static_cast<std::ptrdiff_t>((static_cast<std::size_t>(lane.last) + 1) * width());
    lane.text.features.assign(end - static_cast<std::ptrdiff_t>(lane.fed * width()), end);
  }
  lane.job = std::move(job);
  return {};
}

// One forward: a token of each text under way, and as much of the new prompts as fits.
Status BatchedGenerator::advance(const Sink& sink, const StopToken& stop) {
  struct Share {
    std::size_t lane, first, count;
  };
  std::vector<Share> shares;
  ForwardRequest request;
  auto room = static_cast<std::size_t>(options_.promptTokens);
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    if (!lanes_[i]) continue;
    const Lane& lane = *lanes_[i];
    const bool reading = lane.fed < lane.given;
    std::size_t count = lane.text.tokens.size() - lane.fed;
    if (reading) count = std::min(count, room), room -= count;
    if (count == 0) continue;
    const std::size_t first = request.tokens.size();
    for (std::size_t j = 0; j < count; ++j) {
      request.tokens.push_back(lane.text.tokens[lane.fed + j]);
      request.parents.push_back(j == 0 ? -1 : static_cast<std::int32_t>(first + j) - 1);
      request.follows.push_back(lane.last);
    }
    if (lane.fed + count == lane.text.tokens.size() && !lane.ending)
      request.logitRows.push_back(static_cast<std::int32_t>(first + count) - 1);
    shares.push_back({i, first, count});
  }
  if (options_.features) request.taps = {{TapSite::residual, model_->info().layers}};

  auto start = std::chrono::steady_clock::now();
  DECOSCOPE_ASSIGN(const ForwardOutput output, model_->forward(request, stop));
  counts_.forwardSeconds += secondsSince(start);
  ++counts_.forwards;
  start = std::chrono::steady_clock::now();
  std::vector<RowSummary> rows;
  if (output.logits) {
    int most = 1;
    for (const auto& lane : lanes_)
      if (lane && (lane->job.temperature > 0 || lane->job.outlined)) most = std::max(most, lane->job.topK);
    DECOSCOPE_ASSIGN(rows, output.logits->summaries(most));
  }
  const auto base = static_cast<std::int32_t>(owners_.size());
  std::size_t row = 0;
  for (const Share& share : shares) {
    Lane& lane = *lanes_[share.lane];
    if (options_.features) keepFeatures(lane, output.taps.front(), share.first, share.count);
    owners_.insert(owners_.end(), share.count, static_cast<std::int32_t>(share.lane));
    if (lane.fed < lane.given) counts_.promptTokens += static_cast<std::int64_t>(share.count);
    lane.fed += share.count;
    lane.last = base + static_cast<std::int32_t>(share.first + share.count) - 1;
    const bool whole = lane.fed == lane.text.tokens.size();
    if (whole && !lane.ending) DECOSCOPE_TRY(take(lane, rows[row++]));
    const bool ended = lane.text.finished || full(lane);
    if (!whole || !ended) continue;
    // The state at the last token is one more forward of it.
    if (options_.features && !lane.ending) {
      lane.ending = true;
      continue;
    }
    for (std::size_t slot = shared_; slot < owners_.size(); ++slot)
      if (owners_[slot] == static_cast<std::int32_t>(share.lane)) owners_[slot] = kDead, ++dead_;
    GeneratedText text = std::move(lane.text);
    lanes_[share.lane].reset();
    DECOSCOPE_TRY(sink(std::move(text)));
  }
  counts_.samplingSeconds += secondsSince(start);
  return dropDead();
}

Status BatchedGenerator::take(Lane& lane, const RowSummary& row) {
  if (row.tokens.empty())
    return fail(ErrorCode::failed, "the model excludes every token",
                "text " + std::to_string(lane.job.index));
  const TokenId token = choose(lane, row);
  lane.text.tokens.push_back(token);
  ++lane.written, ++lane.writtenInPart;
  ++counts_.answerTokens;
  if (!lane.job.outlined) {
    lane.text.finished = isStop(token);
  } else if (options_.endsPart(lane.job, std::span(lane.text.tokens).subspan(lane.part))) {
    const auto& continuations = lane.job.continuations;
    lane.text.finished = lane.next == continuations.size();
    if (lane.text.finished || full(lane)) return {};
    lane.writtenInPart = 0;
    lane.part = lane.text.tokens.size();
    const auto& continuation = continuations[lane.next++];
    lane.text.tokens.insert(lane.text.tokens.end(), continuation.begin(), continuation.end());
  }
  return {};
}

TokenId BatchedGenerator::choose(const Lane& lane, const RowSummary& row) const {
  const GenerationJob& job = lane.job;
  const bool greedy = job.temperature <= 0;
  const std::size_t count = std::min(row.tokens.size(), static_cast<std::size_t>(job.topK));
  std::vector<double> weights(count);
  double all = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (job.outlined && isStop(row.tokens[i])) continue;
    if (greedy) return row.tokens[i];
    weights[i] = std::exp((static_cast<double>(row.logits[i]) - row.logits[0]) / job.temperature);
    all += weights[i];
  }
  if (all <= 0) return row.tokens.front();
  // The fewest of the likeliest tokens that hold topP of the mass.
  std::size_t kept = 0;
  double mass = 0;
  while (kept < count && mass < job.topP * all) mass += weights[kept++];
  const DrawContext context{options_.seed, kTokenStream, job.index};
  const auto position = static_cast<NodeId>(lane.text.tokens.size());
  double left = uniform(context, position, DrawPurpose::sample) * mass;
  std::size_t chosen = 0;
  while (chosen + 1 < kept && left >= weights[chosen]) left -= weights[chosen++];
  return row.tokens[chosen];
}

bool BatchedGenerator::full(const Lane& lane) {
  const GenerationJob& job = lane.job;
  return lane.written >= job.maxTokens ||
         (job.outlined && job.partTokens > 0 && lane.writtenInPart >= job.partTokens);
}

bool BatchedGenerator::isStop(TokenId token) const {
  return std::find(options_.stops.begin(), options_.stops.end(), token) != options_.stops.end();
}

void BatchedGenerator::keepFeatures(Lane& lane, const TapValue& tap, std::size_t row,
                                    std::size_t count) const {
  const auto begin = tap.values.begin() + static_cast<std::ptrdiff_t>(row * width());
  std::transform(begin, begin + static_cast<std::ptrdiff_t>(count * width()),
                 std::back_inserter(lane.text.features), toBfloat16);
}

// Slots of ended texts go when they are more than a third, so that moving the others stays a small part of
// the work.
Status BatchedGenerator::dropDead() {
  const auto all = static_cast<std::int64_t>(owners_.size() - shared_);
  if (dead_ * 3 <= all) return {};
  std::vector<std::int32_t> kept, moved(owners_.size(), -1);
  for (std::size_t slot = 0; slot < owners_.size(); ++slot) {
    if (owners_[slot] == kDead) continue;
    moved[slot] = static_cast<std::int32_t>(slot < shared_ ? slot : shared_ + kept.size());
    if (slot >= shared_) kept.push_back(static_cast<std::int32_t>(slot));
  }
  DECOSCOPE_TRY(model_->retain(static_cast<int>(shared_), kept));
  for (auto& lane : lanes_)
    if (lane && lane->last >= 0) lane->last = moved[static_cast<std::size_t>(lane->last)];
  std::erase(owners_, kDead);
  dead_ = 0;
  return {};
}

}  // namespace decoscope
