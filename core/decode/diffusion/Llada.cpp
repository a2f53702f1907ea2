// Masked diffusion with low-confidence re-masking. Source: Nie et al., "Large Language Diffusion Models",
// arXiv 2502.09992.
#include <algorithm>

#include "core/decode/Methods.h"
#include "core/decode/diffusion/Canvas.h"

namespace decoscope {

namespace {

struct LladaSettings {
  std::int64_t steps = 0, blockLength = 0;
  double temperature = 0, guidance = 0;
  bool randomRemasking = false;

  static LladaSettings of(const ParamSet& parameters) {
    return {parameters.integer("steps"), parameters.integer("block_length"), parameters.real("temperature"),
            parameters.real("cfg_scale"), parameters.text("remasking") == "random"};
  }
};

class LladaDecoder final : public Decoder {
 public:
  explicit LladaDecoder(LladaSettings settings) : settings_(settings) {}

  Status begin(DecodeEnvironment& environment) override {
    const std::int64_t length = environment.maxNewTokens;
    const std::int64_t block = settings_.blockLength == 0 ? length : settings_.blockLength;
    if (length < 1 || length % block != 0)
      return fail(ErrorCode::usage,
                  "the generation length " + std::to_string(length) +
                      " is not a multiple of the block length " + std::to_string(block),
                  "parameter block_length", "Choose a block length that divides --max-new-tokens.");
    blocks_ = length / block;
    const std::int64_t steps = settings_.steps == 0 ? length : settings_.steps;
    if (steps % blocks_ != 0)
      return fail(
          ErrorCode::usage,
          std::to_string(steps) + " steps do not divide evenly over " + std::to_string(blocks_) + " blocks",
          "parameter steps", "Choose a multiple of the number of blocks.");
    DECOSCOPE_TRY(canvas_.begin(environment));
    blockLength_ = block;
    passes_ = steps / blocks_;
    return {};
  }

  Status step(DecodeEnvironment& environment) override {
    Recorder& recorder = *environment.recorder;
    const std::int64_t block = pass_ / passes_;
    const std::int64_t low = canvas_.first() + block * blockLength_, high = low + blockLength_;
    const std::int64_t inBlock = pass_ % passes_;
    if (inBlock == 0) {
      masksAtStart_ = 0;
      for (std::int64_t position = low; position < high; ++position)
        masksAtStart_ += canvas_.masked(position) ? 1 : 0;
    }
    const std::int64_t quota = masksAtStart_ / passes_ + (inBlock < masksAtStart_ % passes_ ? 1 : 0);

    std::vector<std::vector<float>> rows;
    {
      Recorder::Timer timer(recorder, TimeShare::verify);
      DECOSCOPE_ASSIGN(rows, logits(environment, low));
    }
    std::vector<Canvas::Guess> open;
    for (std::int64_t position = low; position < canvas_.end(); ++position) {
      if (!canvas_.masked(position)) {
        canvas_.keepFixed(recorder, position, blockOf(position));
        continue;
      }
      DECOSCOPE_ASSIGN(
          const Canvas::Guess guess,
          propose(environment, rows[static_cast<std::size_t>(position - low)], position, recorder));
      if (position < high)
        open.push_back(guess);
      else
        canvas_.keep(recorder, guess, blockOf(position));
    }
    // The most confident win; ties go to the left.
    std::stable_sort(open.begin(), open.end(), [](const Canvas::Guess& a, const Canvas::Guess& b) {
      return a.confidence > b.confidence;
    });
    const auto chosen = open.begin() + std::min<std::int64_t>(quota, static_cast<std::int64_t>(open.size()));
    for (auto guess = chosen; guess != open.end(); ++guess)
      canvas_.keep(recorder, *guess, blockOf(guess->position));
    std::sort(open.begin(), chosen,
              [](const Canvas::Guess& a, const Canvas::Guess& b) { return a.position < b.position; });
    for (auto guess = open.begin(); guess != chosen; ++guess)
      canvas_.commit(recorder, *guess, blockOf(guess->position));
    ++pass_;
    if (pass_ == passes_ * blocks_) {
      environment.text = canvas_.tokens();
      environment.stopReason = kStopLength;
    }
    return {};
  }

  Status reconfigure(const ParamSet& parameters) override {
    const LladaSettings next = LladaSettings::of(parameters);
    if (next.steps != settings_.steps || next.blockLength != settings_.blockLength)
      return fail(ErrorCode::usage, "steps and block_length are fixed once denoising has begun",
                  "parameter steps", "Start a new run instead.");
    settings_ = next;
    return {};
  }

  Status force(DecodeEnvironment&, TokenId, Provenance) override {
    return fail(ErrorCode::unsupported, "a single token cannot be forced on a canvas yet", "method llada");
  }

 private:
  std::int32_t blockOf(std::int64_t position) const {
    return static_cast<std::int32_t>((position - canvas_.first()) / blockLength_);
  }

  // Rows from position `first` to the end of the canvas, guided if asked: u + (w + 1)(c − u).
  Result<std::vector<std::vector<float>>> logits(DecodeEnvironment& environment, std::int64_t first) {
    DECOSCOPE_ASSIGN(auto rows, canvas_.rows(environment, first));
    if (settings_.guidance > 0) {
      DECOSCOPE_ASSIGN(const auto unconditional, canvas_.rows(environment, first, true));
      const auto weight = static_cast<float>(settings_.guidance + 1);
      for (std::size_t i = 0; i < rows.size(); ++i)
        for (std::size_t j = 0; j < rows[i].size(); ++j)
          rows[i][j] = unconditional[i][j] + weight * (rows[i][j] - unconditional[i][j]);
    }
    return rows;
  }

  Result<Canvas::Guess> propose(DecodeEnvironment& environment, const std::vector<float>& row,
                                std::int64_t position, Recorder& recorder) {
    const DrawContext place{environment.seed, environment.stream, pass_};
    const auto vocabulary = static_cast<std::int32_t>(row.size());
    // Confidence is the plain softmax, whatever the temperature of the draw.
    DECOSCOPE_ASSIGN(const Distribution p, processLogits(row, SamplingSettings{}, {}, vocabulary));
    Canvas::Guess guess{static_cast<std::int32_t>(position), argmax(p), 0, entropyOf(p)};
    if (settings_.temperature > 0) {
      SamplingSettings warm;
      warm.temperature = settings_.temperature;
      DECOSCOPE_ASSIGN(const Distribution drawn, processLogits(row, warm, {}, vocabulary));
      guess.token = drawFrom(drawn, uniform(place, static_cast<NodeId>(position), DrawPurpose::gumbel)).token;
    }
    guess.confidence = settings_.randomRemasking
                           ? uniform(place, static_cast<NodeId>(position), DrawPurpose::order)
                           : p[static_cast<std::size_t>(guess.token)];
    Canvas::recordRow(recorder, p, DistributionKind::targetRaw, guess.position);
    return guess;
  }

  LladaSettings settings_;
  Canvas canvas_;
  std::int64_t blocks_ = 1, blockLength_ = 1, passes_ = 1, pass_ = 0, masksAtStart_ = 0;
};

}  // namespace

void addLlada(MethodRegistry& registry) {
  MethodInfo info;
  info.name = "llada";
  info.title = "Masked diffusion (LLaDA)";
  info.family = "diffusion";
  info.citation = "Nie et al. 2025, arXiv 2502.09992";
  info.summary =
      "Starts from masks and keeps a quota of the most confident guesses per forward, block by block.";
  info.lossless = "no";
  info.roles = {"target"};
  info.needs = {"masked diffusion"};
  info.schema = ParamSchema({
      {"temperature",
       "Temperature",
       ParamType::real,
       0.0,
       0,
       100,
       {},
       "",
       "Of the candidate's draw; 0 takes the most probable token. Confidence ignores it."},
      {"steps",
       "Steps",
       ParamType::integer,
       std::int64_t{0},
       0,
       1e6,
       {},
       "forwards",
       "Denoising steps in all; 0 means one per token."},
      {"block_length",
       "Block length",
       ParamType::integer,
       std::int64_t{0},
       0,
       1e6,
       {},
       "tokens",
       "Blocks are filled from left to right; 0 means one block."},
      {"remasking",
       "Re-masking",
       ParamType::choice,
       std::string("low_confidence"),
       0,
       0,
       {"low_confidence", "random"},
       "",
       "Which candidates are thrown back."},
      {"cfg_scale",
       "Guidance",
       ParamType::real,
       0.0,
       0,
       100,
       {},
       "",
       "Classifier-free guidance against a masked prompt; 0 is off."},
  });
  registry.add(std::move(info), [](const DecoderSetup& setup) -> Result<std::unique_ptr<Decoder>> {
    return std::make_unique<LladaDecoder>(LladaSettings::of(setup.parameters));
  });
}

}  // namespace decoscope
