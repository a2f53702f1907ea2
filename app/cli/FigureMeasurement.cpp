#include "app/cli/FigureMeasurement.h"

#include <algorithm>
#include <filesystem>

#include "core/model/Catalog.h"
#include "core/model/ModelFacts.h"
#include "core/model/weights/WeightFile.h"

namespace decoscope::cli {

namespace fs = std::filesystem;

namespace {

// Adds what is counted; rates are taken from the sums.
void add(RunStats& sum, const RunStats& run) {
  sum.newTokens += run.newTokens;
  sum.steps += run.steps;
  sum.proposed += run.proposed;
  sum.accepted += run.accepted;
  sum.tested += run.tested;
  sum.rounds += run.rounds;
  sum.draftSeconds += run.draftSeconds;
  sum.verifySeconds += run.verifySeconds;
  sum.otherSeconds += run.otherSeconds;
}

double decodeSeconds(const RunStats& stats) {
  return stats.draftSeconds + stats.verifySeconds + stats.otherSeconds;
}

double quotient(double a, double b) {
  return b > 0 ? a / b : 0;
}

double real(std::int64_t count) {
  return static_cast<double>(count);
}

FigureMeasurement notMeasured(std::string why) {
  FigureMeasurement measurement;
  measurement.notMeasured = std::move(why);
  return measurement;
}

// Plain sampling on the same target with those of the parameters that it has too.
FigureRun plainRun(const FigureRun& run, const MethodInfo& sampling) {
  FigureRun plain = run;
  plain.method = sampling.name;
  std::erase_if(plain.models, [](const auto& model) { return model.first != "target"; });
  std::erase_if(plain.set, [&](const auto& parameter) { return !sampling.schema.find(parameter.first); });
  return plain;
}

std::string keyOf(const ModelFigure& figure, const FigureRun& run) {
  std::string key = figure.texts + '\n' + std::to_string(figure.count) + '\n' + run.method + '\n' +
                    std::to_string(run.maxNewTokens) + '\n' + std::to_string(run.seed) + '\n' + run.dtype;
  for (const auto& [role, model] : run.models) key += '\n' + role + '=' + model;
  for (const auto& [parameter, value] : run.set) key += '\n' + parameter + ':' + value;
  return key;
}

}  // namespace

Result<std::string> modelBeside(const std::string& folder, const std::string& name) {
  if (name == ".") return folder;
  std::error_code error;
  const fs::path own = fs::path(folder).has_filename() ? fs::path(folder) : fs::path(folder).parent_path();
  const fs::path beside = own.parent_path() / name;
  if (fs::exists(beside / "config.json", error)) return beside.string();
  return resolveModel(name);
}

Result<FigureMeasurement> FigureMeasurer::measure(const ModelFigure& figure) {
  Result<FigureMeasurement> measurement = measured(figure);
  if (!measurement && measurement.error().code != ErrorCode::cancelled) {
    Error& error = measurement.error();
    error.where = "figure '" + figure.name + "'" + (error.where.empty() ? "" : ", " + error.where);
  }
  return measurement;
}

Result<FigureMeasurement> FigureMeasurer::measured(const ModelFigure& figure) {
  FigureMeasurement measurement;
  switch (figure.kind) {
    case FigureKind::bitsPerByte:
      return bitsPerByte(figure);
    case FigureKind::kneserNeyRatio:
      return kneserNeyRatio(figure);
    case FigureKind::acceptanceRate:
    case FigureKind::meanAcceptedLength:
    case FigureKind::wastedShare:
      return acceptance(figure);
    case FigureKind::speedRatio:
      return speedRatio(figure);
    case FigureKind::generativePerplexity:
      return generativePerplexity(figure);
    case FigureKind::parameters:
    case FigureKind::bytes: {
      DECOSCOPE_ASSIGN(const ModelFacts facts, modelFacts(folder_));
      measurement.value = real(figure.kind == FigureKind::bytes ? facts.bytes : facts.parameters);
      return measurement;
    }
    case FigureKind::sha256: {
      DECOSCOPE_ASSIGN(const std::string digest, fileDigest(folder_));
      measurement.text = digest.substr(digest.find(':') + 1);
      return measurement;
    }
  }
  return measurement;
}

std::string FigureMeasurer::pathOf(const std::string& file) const {
  return (fs::path(folder_) / file).lexically_normal().string();
}

Result<LoadedModel*> FigureMeasurer::scorer(const std::string& name) {
  DECOSCOPE_ASSIGN(const std::string path, modelBeside(folder_, name));
  auto found = scorers_.find(path);
  if (found == scorers_.end()) {
    DECOSCOPE_ASSIGN(LoadedModel loaded, loadModel(path, load_, stop_));
    found = scorers_.emplace(path, std::move(loaded)).first;
  }
  return &found->second;
}

Result<const FigureMeasurer::Costed*> FigureMeasurer::costOfTexts(const ModelFigure& figure) {
  const std::string key = figure.texts + '\n' + std::to_string(figure.count);
  auto found = costed_.find(key);
  if (found == costed_.end()) {
    DECOSCOPE_ASSIGN(LoadedModel* const model, scorer("."));
    Costed made;
    DECOSCOPE_ASSIGN(made.texts, scoredTexts(*model->tokenizer, pathOf(figure.texts), figure.count));
    DECOSCOPE_ASSIGN(made.cost, costOf(*model->model, made.texts, stop_, progress_));
    found = costed_.emplace(key, std::move(made)).first;
  }
  return &found->second;
}

Result<FigureMeasurement> FigureMeasurer::bitsPerByte(const ModelFigure& figure) {
  DECOSCOPE_ASSIGN(const Costed* const costed, costOfTexts(figure));
  const TextCost& cost = costed->cost;
  FigureMeasurement measurement;
  measurement.value = cost.bitsPerByte();
  measurement.inputs = {{"texts", real(cost.texts)},
                        {"bytes", real(cost.bytes)},
                        {"tokens", real(cost.tokens)},
                        {"bits", cost.bits},
                        {"perplexity", cost.perplexity()}};
  return measurement;
}

Result<FigureMeasurement> FigureMeasurer::kneserNeyRatio(const ModelFigure& figure) {
  if (corpus_.empty()) return notMeasured("the training corpus is needed: --corpus");
  DECOSCOPE_ASSIGN(const Costed* const costed, costOfTexts(figure));
  const std::vector<ScoredText>& texts = costed->texts;
  const TextCost& own = costed->cost;
  DECOSCOPE_ASSIGN(LoadedModel* const model, scorer("."));
  if (progress_) progress_(0, "Counting the corpus");
  DECOSCOPE_ASSIGN(const KneserNey counted,
                   countCorpus(*model->tokenizer, corpus_, figure.order, texts, figure.corpusTexts, stop_));
  DECOSCOPE_ASSIGN(const TextCost theirs, costOf(counted, texts));
  FigureMeasurement measurement;
  measurement.value = quotient(own.bitsPerByte(), theirs.bitsPerByte());
  measurement.inputs = {{"bits_per_byte", own.bitsPerByte()},
                        {"kneser_ney_bits_per_byte", theirs.bitsPerByte()}};
  return measurement;
}

Result<FigureMeasurement> FigureMeasurer::acceptance(const ModelFigure& figure) {
  DECOSCOPE_ASSIGN(const GeneratedPointer generated, generate(figure, figure.run));
  const RunStats& sum = generated->sum;
  if (sum.rounds == 0)
    return fail(ErrorCode::badInput, "the method '" + figure.run.method + "' proposed nothing");
  FigureMeasurement measurement;
  switch (figure.kind) {
    case FigureKind::acceptanceRate:
      measurement.value = quotient(real(sum.accepted), real(sum.tested));
      break;
    case FigureKind::wastedShare:
      measurement.value = 1 - quotient(real(sum.accepted), real(sum.proposed));
      break;
    default:
      measurement.value = quotient(real(sum.accepted), real(sum.rounds));
  }
  measurement.inputs = {{"accepted", real(sum.accepted)},
                        {"tested", real(sum.tested)},
                        {"proposed", real(sum.proposed)},
                        {"rounds", real(sum.rounds)},
                        {"new_tokens", real(sum.newTokens)}};
  return measurement;
}

Result<FigureMeasurement> FigureMeasurer::speedRatio(const ModelFigure& figure) {
  DECOSCOPE_ASSIGN(const MethodInfo* sampling, MethodRegistry::instance().find("sampling"));
  const FigureRun plain = plainRun(figure.run, *sampling);
  DECOSCOPE_ASSIGN(const std::vector<CorpusLine> lines, prompts(figure));
  Generated fast, slow, warm;
  DECOSCOPE_TRY(enter(figure.run));
  // The first of each is not counted: it pages weights in and measures what forwards cost. Then they take
  // turns, so that whatever else the machine does falls on both.
  DECOSCOPE_TRY(generateOne(figure.run, lines.front(), 0, warm));
  DECOSCOPE_TRY(generateOne(plain, lines.front(), 0, warm));
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (progress_)
      progress_(real(static_cast<std::int64_t>(i)) / static_cast<double>(lines.size()), "Timing");
    DECOSCOPE_TRY(generateOne(figure.run, lines[i], static_cast<std::int64_t>(i), fast));
    DECOSCOPE_TRY(generateOne(plain, lines[i], static_cast<std::int64_t>(i), slow));
  }
  const double own = quotient(real(fast.sum.newTokens), decodeSeconds(fast.sum)),
               theirs = quotient(real(slow.sum.newTokens), decodeSeconds(slow.sum));
  FigureMeasurement measurement;
  measurement.value = quotient(own, theirs);
  measurement.inputs = {{"tokens_per_second", own}, {"plain_tokens_per_second", theirs}};
  return measurement;
}

Result<FigureMeasurement> FigureMeasurer::generativePerplexity(const ModelFigure& figure) {
  DECOSCOPE_ASSIGN(const GeneratedPointer own, generate(figure, figure.run));
  FigureMeasurement measurement;
  TextCost cost;
  DECOSCOPE_ASSIGN(const double perplexityOfOwn, perplexity(figure.judge, *own, cost));
  measurement.value = perplexityOfOwn;
  measurement.inputs = {{"perplexity", perplexityOfOwn}, {"tokens", real(cost.tokens)}};
  if (figure.relativeTo) {
    DECOSCOPE_ASSIGN(const GeneratedPointer other, generate(figure, *figure.relativeTo));
    DECOSCOPE_ASSIGN(const double perplexityOfOther, perplexity(figure.judge, *other, cost));
    measurement.value = quotient(perplexityOfOwn, perplexityOfOther);
    measurement.inputs.emplace_back("other_perplexity", perplexityOfOther);
    measurement.inputs.emplace_back("other_tokens", real(cost.tokens));
  }
  return measurement;
}

Result<double> FigureMeasurer::perplexity(const std::string& judgeName, const Generated& generated,
                                          TextCost& cost) {
  DECOSCOPE_ASSIGN(LoadedModel* const model, scorer(judgeName));
  if (model->tokenizer->fingerprint() != generated.tokenizer)
    return fail(ErrorCode::badInput, "the judge reads other tokens than the model writes", judgeName);
  DECOSCOPE_ASSIGN(cost, costOf(*model->model, generated.texts, stop_, progress_));
  if (cost.tokens == 0) return fail(ErrorCode::badInput, "nothing was written");
  return cost.perplexity();
}

Result<std::vector<CorpusLine>> FigureMeasurer::prompts(const ModelFigure& figure) const {
  std::vector<CorpusLine> lines;
  const std::string path = pathOf(figure.texts);
  DECOSCOPE_TRY(readCorpusLines(path, [&](const CorpusLine& line) -> Status {
    if (figure.count == 0 || static_cast<std::int64_t>(lines.size()) < figure.count) lines.push_back(line);
    return {};
  }));
  if (lines.empty()) return fail(ErrorCode::badInput, "the file has no texts", path);
  return lines;
}

Status FigureMeasurer::enter(const FigureRun& run) {
  LoadOptions load = load_;
  if (load.dtype == "auto") load.dtype = run.dtype;
  std::map<std::string, Engine::Choice> choices = {{"target", {folder_, load}}};
  for (const auto& [role, model] : run.models) {
    DECOSCOPE_ASSIGN(const std::string path, modelBeside(folder_, model));
    choices[role] = {path, load};
  }
  return engine_.loadModels(choices, stop_);
}

Status FigureMeasurer::generateOne(const FigureRun& run, const CorpusLine& line, std::int64_t index,
                                   Generated& out) {
  const Recording recording = recordInMemory();
  engine_.moveTo(recording);
  RunRequest request;
  request.method = run.method;
  for (const auto& [parameter, value] : run.set) request.assignments.push_back(parameter + "=" + value);
  request.chatJson = chatJson(line.user);
  request.maxNewTokens = run.maxNewTokens;
  request.seed = run.seed + static_cast<std::uint64_t>(index);
  request.recordLevel = "light";
  DECOSCOPE_ASSIGN(const RunId id, engine_.startRun(request));
  while (!engine_.ended()) DECOSCOPE_TRY(engine_.step(stop_));
  DECOSCOPE_ASSIGN(const RunStats stats, statsOf(*recording.source, id, true));
  add(out.sum, stats);
  ScoredText text;
  text.tokens = engine_.text();
  text.from = engine_.promptLength();
  // A diffusion canvas goes on behind the end of its text.
  const std::vector<TokenId> stops = engine_.tokenizer()->stopTokens();
  const auto answer = text.tokens.begin() + static_cast<std::ptrdiff_t>(text.from);
  const auto end = std::find_first_of(answer, text.tokens.end(), stops.begin(), stops.end());
  if (end != text.tokens.end()) text.tokens.erase(end + 1, text.tokens.end());
  if (text.tokens.size() > text.from) out.texts.push_back(std::move(text));
  out.tokenizer = engine_.tokenizer()->fingerprint();
  return {};
}

Result<FigureMeasurer::GeneratedPointer> FigureMeasurer::generate(const ModelFigure& figure,
                                                                  const FigureRun& run) {
  GeneratedPointer& known = generated_[keyOf(figure, run)];
  if (known) return known;
  DECOSCOPE_TRY(enter(run));
  DECOSCOPE_ASSIGN(const std::vector<CorpusLine> lines, prompts(figure));
  auto made = std::make_shared<Generated>();
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (progress_)
      progress_(static_cast<double>(i) / static_cast<double>(lines.size()), "Generating with " + run.method);
    DECOSCOPE_TRY(generateOne(run, lines[i], static_cast<std::int64_t>(i), *made));
  }
  known = std::move(made);
  return known;
}

}  // namespace decoscope::cli
