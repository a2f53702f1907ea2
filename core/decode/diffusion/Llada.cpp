// Masked diffusion with low-confidence re-masking. Source: Nie et al., "Large Language Diffusion Models",
// arXiv 2502.09992.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/decode/Distribution.h"
#include "core/decode/Methods.h"

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

// A candidate for one position of the canvas.
struct Candidate {
  std::int32_t position = 0;
  TokenId token = 0;
  double confidence = 0;
};

class LladaDecoder final : public Decoder {
 public:
  explicit LladaDecoder(LladaSettings settings) : settings_(settings) {}

  Status begin(DecodeEnvironment& environment) override {
    const ModelInfo& info = environment.target().model->info();
    mask_ = info.maskToken;
    prompt_ = static_cast<std::int64_t>(environment.promptLength);
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
    if (prompt_ + length > info.contextLength)
      return fail(ErrorCode::badInput,
                  "prompt and canvas together need " + std::to_string(prompt_ + length) +
                      " positions, the model has " + std::to_string(info.contextLength),
                  "--max-new-tokens", "Ask for fewer tokens.");
    blockLength_ = block;
    passes_ = steps / blocks_;
    if (canvas_.empty()) {
      canvas_ = environment.text;
      canvas_.resize(static_cast<std::size_t>(prompt_ + length), mask_);
    }
    return {};
  }

  Status step(DecodeEnvironment& environment) override {
    Recorder& recorder = *environment.recorder;
    const std::int64_t block = pass_ / passes_;
    const std::int64_t low = prompt_ + block * blockLength_, high = low + blockLength_;
    const std::int64_t inBlock = pass_ % passes_;
    if (inBlock == 0) masksAtStart_ = std::count(canvas_.begin() + low, canvas_.begin() + high, mask_);
    const std::int64_t quota = masksAtStart_ / passes_ + (inBlock < masksAtStart_ % passes_ ? 1 : 0);

    std::vector<std::vector<float>> rows;
    {
      Recorder::Timer timer(recorder, TimeShare::verify);
      DECOSCOPE_ASSIGN(rows, logits(environment, low));
    }
    std::vector<Candidate> open;
    for (std::int64_t position = low; position < static_cast<std::int64_t>(canvas_.size()); ++position) {
      const auto index = static_cast<std::size_t>(position);
      const bool masked = canvas_[index] == mask_;
      if (!masked) {
        recordCell(recorder, position, canvas_[index], kUnknown, kUnknown, CellState::fixed);
        continue;
      }
      DECOSCOPE_ASSIGN(
          const Candidate candidate,
          propose(environment, rows[static_cast<std::size_t>(position - low)], position, recorder));
      if (position < high)
        open.push_back(candidate);
      else
        recordCell(recorder, position, candidate.token, candidate.confidence, lastEntropy_,
                   CellState::masked);
      entropies_[position] = lastEntropy_;
    }
    // The most confident win; ties go to the left.
    std::stable_sort(open.begin(), open.end(),
                     [](const Candidate& a, const Candidate& b) { return a.confidence > b.confidence; });
    std::vector<Candidate> chosen(
        open.begin(), open.begin() + std::min<std::int64_t>(quota, static_cast<std::int64_t>(open.size())));
    for (std::size_t i = chosen.size(); i < open.size(); ++i)
      recordCell(recorder, open[i].position, open[i].token, open[i].confidence, entropies_[open[i].position],
                 CellState::masked);
    std::sort(chosen.begin(), chosen.end(),
              [](const Candidate& a, const Candidate& b) { return a.position < b.position; });
    for (const Candidate& candidate : chosen) {
      canvas_[static_cast<std::size_t>(candidate.position)] = candidate.token;
      if (candidate.token == mask_)
        recorder.note("warning",
                      "The mask token itself won at position " + std::to_string(candidate.position) + ".");
      recordCell(recorder, candidate.position, candidate.token, candidate.confidence,
                 entropies_[candidate.position], CellState::committed);
      recorder.add(CommitFact{candidate.position, candidate.token, Provenance::denoised, kRootNode});
    }
    ++pass_;
    if (pass_ == passes_ * blocks_) {
      environment.text = canvas_;
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
  // Rows from position `first` to the end of the canvas, guided if asked: u + (w + 1)(c − u).
  Result<std::vector<std::vector<float>>> logits(DecodeEnvironment& environment, std::int64_t first) {
    DECOSCOPE_ASSIGN(auto rows, forward(environment, canvas_, first));
    if (settings_.guidance > 0) {
      std::vector<TokenId> blank = canvas_;
      std::fill(blank.begin(), blank.begin() + prompt_, mask_);
      DECOSCOPE_ASSIGN(const auto unconditional, forward(environment, blank, first));
      const auto weight = static_cast<float>(settings_.guidance + 1);
      for (std::size_t i = 0; i < rows.size(); ++i)
        for (std::size_t j = 0; j < rows[i].size(); ++j)
          rows[i][j] = unconditional[i][j] + weight * (rows[i][j] - unconditional[i][j]);
    }
    return rows;
  }

  static Result<std::vector<std::vector<float>>> forward(DecodeEnvironment& environment,
                                                         const std::vector<TokenId>& canvas,
                                                         std::int64_t first) {
    DECOSCOPE_TRY(environment.target().sequence.retain(*environment.target().model, 0));
    ForwardRequest request;
    request.tokens = canvas;
    request.visibility = Visibility::full;
    for (auto i = static_cast<std::int32_t>(first); i < static_cast<std::int32_t>(canvas.size()); ++i)
      request.logitRows.push_back(i);
    DECOSCOPE_ASSIGN(const ForwardOutput output,
                     environment.forward("target", request, ForwardPhase::denoise));
    std::vector<std::vector<float>> rows;
    for (int i = 0; i < output.logits->rows(); ++i) {
      const auto row = output.logits->row(i);
      rows.emplace_back(row.begin(), row.end());
    }
    return rows;
  }

  Result<Candidate> propose(DecodeEnvironment& environment, const std::vector<float>& row,
                            std::int64_t position, Recorder& recorder) {
    // Confidence is the plain softmax, whatever the temperature of the draw.
    DECOSCOPE_ASSIGN(const Distribution p,
                     processLogits(row, SamplingSettings{}, {}, static_cast<std::int32_t>(row.size())));
    Candidate candidate{static_cast<std::int32_t>(position), argmax(p), 0};
    if (settings_.temperature > 0) {
      SamplingSettings warm;
      warm.temperature = settings_.temperature;
      DECOSCOPE_ASSIGN(const Distribution drawn,
                       processLogits(row, warm, {}, static_cast<std::int32_t>(row.size())));
      candidate.token = drawFrom(drawn, uniform({environment.seed, environment.stream, pass_},
                                                static_cast<NodeId>(position), DrawPurpose::gumbel))
                            .token;
    }
    candidate.confidence = settings_.randomRemasking
                               ? uniform({environment.seed, environment.stream, pass_},
                                         static_cast<NodeId>(position), DrawPurpose::order)
                               : p[static_cast<std::size_t>(candidate.token)];
    lastEntropy_ = entropyOf(p);
    if (recorder.wantsDistributions()) {
      const Recorder::Timer timer(recorder, TimeShare::recording);
      DistributionFact fact = digest(p, DistributionKind::targetRaw, kRootNode, recorder.topK());
      fact.position = candidate.position;
      recorder.add(std::move(fact));
    }
    return candidate;
  }

  void recordCell(Recorder& recorder, std::int64_t position, TokenId token, double confidence, double entropy,
                  CellState state) const {
    recorder.add(CellFact{static_cast<std::int32_t>(position),
                          static_cast<std::int32_t>((position - prompt_) / blockLength_), token, confidence,
                          entropy, state});
  }

  LladaSettings settings_;
  TokenId mask_ = -1;
  std::vector<TokenId> canvas_;
  std::int64_t prompt_ = 0, blocks_ = 1, blockLength_ = 1, passes_ = 1, pass_ = 0, masksAtStart_ = 0;
  double lastEntropy_ = kUnknown;
  std::map<std::int64_t, double> entropies_;
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
