#include "core/decode/diffusion/Canvas.h"

#include <algorithm>

namespace decoscope {

Status Canvas::begin(DecodeEnvironment& environment) {
  if (!tokens_.empty()) return {};
  const ModelInfo& info = environment.target().model->info();
  const auto prompt = static_cast<std::int64_t>(environment.promptLength);
  const std::int64_t length = environment.maxNewTokens;
  if (prompt + length > info.contextLength)
    return fail(ErrorCode::badInput,
                "prompt and canvas together need " + std::to_string(prompt + length) +
                    " positions, the model has " + std::to_string(info.contextLength),
                "--max-new-tokens", "Ask for fewer tokens.");
  mask_ = info.maskToken;
  prompt_ = prompt;
  tokens_ = environment.text;
  tokens_.resize(static_cast<std::size_t>(prompt + length), mask_);
  return {};
}

Result<std::vector<std::vector<float>>> Canvas::rows(DecodeEnvironment& environment, std::int64_t from,
                                                     bool blank) const {
  RoleModel& target = environment.target();
  DECOSCOPE_TRY(target.sequence.retain(*target.model, 0));
  ForwardRequest request;
  request.tokens = tokens_;
  if (blank) std::fill(request.tokens.begin(), request.tokens.begin() + prompt_, mask_);
  request.visibility = Visibility::full;
  const std::int64_t shift = target.model->info().shifted ? 1 : 0;
  const std::int64_t begin = std::max<std::int64_t>(from - shift, 0);
  for (std::int64_t position = begin; position < end() - shift; ++position)
    request.logitRows.push_back(static_cast<std::int32_t>(position));
  if (request.logitRows.empty()) request.logitRows.push_back(0);  // a shifted canvas of one position
  DECOSCOPE_ASSIGN(const ForwardOutput output, environment.forward("target", request, ForwardPhase::denoise));
  std::vector<std::vector<float>> rows;
  for (std::int64_t position = from; position < end(); ++position) {
    const auto row = output.logits->row(static_cast<int>(std::max(position - shift, begin) - begin));
    rows.emplace_back(row.begin(), row.end());
  }
  return rows;
}

void Canvas::commit(Recorder& recorder, const Guess& guess, std::int32_t block) {
  tokens_[static_cast<std::size_t>(guess.position)] = guess.token;
  if (guess.token == mask_)
    recorder.note("warning", "The mask token itself won at position " + std::to_string(guess.position) + ".");
  recorder.add(
      CellFact{guess.position, block, guess.token, guess.confidence, guess.entropy, CellState::committed});
  recorder.add(CommitFact{guess.position, guess.token, Provenance::denoised, kRootNode});
}

void Canvas::keep(Recorder& recorder, const Guess& guess, std::int32_t block) const {
  recorder.add(
      CellFact{guess.position, block, guess.token, guess.confidence, guess.entropy, CellState::masked});
}

void Canvas::keepFixed(Recorder& recorder, std::int64_t position, std::int32_t block) const {
  recorder.add(CellFact{static_cast<std::int32_t>(position), block,
                        tokens_[static_cast<std::size_t>(position)], kUnknown, kUnknown, CellState::fixed});
}

void Canvas::recordRow(Recorder& recorder, const Distribution& p, DistributionKind kind,
                       std::int32_t position) {
  if (!recorder.wantsDistributions()) return;
  const Recorder::Timer timer(recorder, TimeShare::recording);
  DistributionFact fact = digest(p, kind, kRootNode, recorder.topK());
  fact.position = position;
  recorder.add(std::move(fact));
}

}  // namespace decoscope
