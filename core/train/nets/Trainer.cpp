#include "core/train/Trainer.h"

#include <ATen/Parallel.h>
#include <malloc.h>

#include <chrono>
#include <cmath>
#include <deque>
#include <filesystem>

#include "core/base/Hash.h"
#include "core/model/Catalog.h"
#include "core/model/ModelLoader.h"
#include "core/model/torch/Devices.h"
#include "core/model/weights/WeightFile.h"
#include "core/train/nets/Checkpoint.h"
#include "core/train/nets/Objective.h"

namespace decoscope::train {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Independent seeds for what is drawn at one place.
std::uint64_t seedOf(std::uint64_t seed, std::int64_t step, std::int64_t part) {
  const std::uint64_t x = seed ^ (static_cast<std::uint64_t>(step) * 0x9e3779b97f4a7c15ull) ^
                          (static_cast<std::uint64_t>(part + 1) * 0xbf58476d1ce4e5b9ull);
  return mixBits(x);
}

// Tensors of ever other sizes leave a heap of holes, which grew by gigabytes in an hour.
constexpr std::int64_t kTrimEvery = 25;  // steps

void giveBackMemory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

class Training {
 public:
  Training(const Recipe& recipe, const TrainingOptions& options, const StopToken& stop)
      : recipe_(recipe), options_(options), stop_(stop) {}

  Result<TrainingResult> run();

 private:
  Status prepare();
  Status one(std::int64_t step);
  Status save(std::int64_t done);
  static std::string modelFolder(const std::string& name);
  Result<Net> openNet(const std::string& name) const;
  Result<Net> createNet() const;
  // What the optimiser changes and what is saved.
  ParameterSet& learned() { return objective_->head() ? *objective_->head() : *net_; }
  std::string fingerprint() const;
  at::ScalarType precision() const { return recipe_.bfloat16 ? at::kBFloat16 : at::kFloat; }

  const Recipe& recipe_;
  const TrainingOptions& options_;
  const StopToken& stop_;
  at::Device device_ = at::kCPU;
  std::string tokenizerFolder_;
  std::optional<Net> net_;
  std::optional<Optimiser> optimiser_;
  std::optional<Rows> rows_;
  std::unique_ptr<Objective> objective_;
  std::vector<Measure> measures_;  // of the last step
};

// Bundled models are in the catalog; what is not there is a path.
std::string Training::modelFolder(const std::string& name) {
  const auto found = resolveModel(name);
  return found ? *found : name;
}

Result<Net> Training::openNet(const std::string& name) const {
  DECOSCOPE_ASSIGN(Net net, frozenNet(modelFolder(name)));
  net.moveTo(device_);
  return net;
}

Result<Net> Training::createNet() const {
  DECOSCOPE_ASSIGN(
      const Architecture architecture,
      architectureFromConfig(recipe_.shape.dump(), recipe_.folder + "/recipe.json, field shape"));
  DECOSCOPE_ASSIGN(Net net, Net::create(architecture, recipe_.seed));
  if (!recipe_.start.empty()) {
    DECOSCOPE_ASSIGN(const auto weights, openWeights(modelFolder(recipe_.start)));
    DECOSCOPE_TRY(net.load(*weights));
  }
  net.moveTo(device_);
  return net;
}

std::string Training::fingerprint() const {
  nlohmann::json facts = {{"shape", recipe_.shape},          {"objective", recipe_.objective},
                          {"options", recipe_.options},      {"corpus", recipe_.corpus},
                          {"texts", recipe_.texts},          {"seed", recipe_.seed},
                          {"start", recipe_.start},          {"teacher", recipe_.teacher},
                          {"rows", recipe_.schedule.rows},   {"length", recipe_.schedule.length},
                          {"steps", recipe_.schedule.steps}, {"rate", recipe_.schedule.learningRate}};
  if (recipe_.skip > 0) facts["skip"] = recipe_.skip;
  return std::to_string(std::hash<std::string>{}(facts.dump()));
}

Status Training::prepare() {
  if (options_.threads > 0) at::set_num_threads(options_.threads);
  DECOSCOPE_ASSIGN(const std::vector<at::Device> devices, devicesOf(options_.device));
  device_ = devices.front();
  const ObjectiveSetup setup{recipe_, [this](const std::string& name) { return openNet(name); }, modelFolder,
                             device_};
  DECOSCOPE_ASSIGN(objective_, makeObjective(setup));
  if (objective_->head()) {
    objective_->head()->moveTo(device_);
    DECOSCOPE_ASSIGN(net_, openNet(recipe_.start));
  } else {
    DECOSCOPE_ASSIGN(net_, createNet());
  }
  const TransformerConfig& config = net_->architecture().config;
  tokenizerFolder_ = modelFolder(recipe_.vocabulary);
  if (const fs::path bundled = fs::path(options_.resources) / "models" / recipe_.vocabulary;
      fs::exists(bundled))
    tokenizerFolder_ = bundled.string();
  DECOSCOPE_ASSIGN(const auto tokenizer, loadModelTokenizer(tokenizerFolder_));
  if (tokenizer->size() > config.vocabulary)
    return fail(ErrorCode::badInput,
                "the vocabulary has " + std::to_string(tokenizer->size()) + " tokens, the shape " +
                    std::to_string(config.vocabulary),
                recipe_.folder + "/recipe.json, field shape.vocab_size");
  Rows::Source source;
  source.file = options_.corpusFile;
  source.texts = recipe_.texts;
  source.skip = recipe_.skip;
  source.features = recipe_.features;
  source.width = config.width;
  source.device = device_;
  DECOSCOPE_ASSIGN(rows_,
                   Rows::read(source, *tokenizer, recipe_.packing, recipe_.schedule.length, recipe_.seed));
  DECOSCOPE_TRY(objective_->prepare(*net_, *rows_));
  optimiser_.emplace(learned(), recipe_.schedule);
  return {};
}

Status Training::one(std::int64_t step) {
  const Schedule& schedule = recipe_.schedule;
  const std::int64_t parts = schedule.rows / schedule.microRows;
  measures_.clear();
  double total = 0;
  for (std::int64_t part = 0; part < parts; ++part) {
    if (stop_.stop_requested()) return fail(ErrorCode::cancelled, "stopped");
    const Batch batch = rows_->batch(step * schedule.rows + part * schedule.microRows, schedule.microRows);
    const Place place{step, at::detail::createCPUGenerator(seedOf(recipe_.seed, step, part)), precision()};
    const Loss loss = objective_->loss(*net_, batch, place);
    const at::Tensor scaled = parts > 1 ? loss.total / parts : loss.total;
    total += scaled.item<double>();
    scaled.backward();
    for (std::size_t i = 0; i < loss.measures.size(); ++i) {
      if (part == 0) measures_.push_back({loss.measures[i].name, 0, loss.measures[i].unit});
      measures_[i].value += loss.measures[i].value / static_cast<double>(parts);
    }
  }
  if (!std::isfinite(total))
    return fail(ErrorCode::failed, "the loss of step " + std::to_string(step + 1) + " is not finite",
                recipe_.name, "Lower the learning rate in the recipe and resume from the last checkpoint.");
  const double norm = optimiser_->step(step);
  measures_.insert(measures_.begin(), {"loss", total, "nats"});
  measures_.push_back({"learning_rate", schedule.rate(step), ""});
  measures_.push_back({"gradient_norm", norm, ""});
  return {};
}

Status Training::save(std::int64_t done) {
  return writeCheckpoint((fs::path(options_.out) / "checkpoint.safetensors").string(), learned(), *optimiser_,
                         {done}, fingerprint());
}

Result<TrainingResult> Training::run() {
  DECOSCOPE_TRY(prepare());
  std::error_code error;
  fs::create_directories(options_.out, error);
  if (error) return fail(ErrorCode::failed, "the folder cannot be made: " + error.message(), options_.out);
  TrainingResult result;
  result.checkpoint = (fs::path(options_.out) / "checkpoint.safetensors").string();
  result.model = (fs::path(options_.out) / "model").string();
  Progress progress;
  if (options_.resume && fs::exists(result.checkpoint, error)) {
    DECOSCOPE_ASSIGN(progress, readCheckpoint(result.checkpoint, learned(), *optimiser_, fingerprint()));
  }
  const Schedule& schedule = recipe_.schedule;
  const std::int64_t end = options_.steps > 0 ? std::min(options_.steps, schedule.steps) : schedule.steps;
  const std::int64_t begin = progress.step;
  const Clock::time_point start = Clock::now();
  Clock::time_point saved = start;
  double training = 0;  // seconds spent in steps
  std::deque<double> losses;
  for (std::int64_t step = begin; step < end; ++step) {
    const Clock::time_point stepStart = Clock::now();
    if (const Status status = one(step); !status) {
      if (status.error().code != ErrorCode::cancelled) return tl::unexpected(status.error());
      break;
    }
    const double seconds = secondsSince(stepStart);
    training += seconds;
    progress.step = step + 1;
    losses.push_back(measures_.front().value);
    if (step == begin) result.firstLoss = losses.back();
    if (losses.size() > 10) losses.pop_front();
    TrainingStep report{
        progress.step, schedule.steps, std::move(measures_),
        training / static_cast<double>(progress.step - begin) * static_cast<double>(end - progress.step)};
    report.measures.push_back(
        {"tokens_per_second", static_cast<double>(schedule.rows * schedule.length) / seconds, "tokens/s"});
    if (progress.step % recipe_.evaluateEvery == 0 || progress.step == end) {
      const c10::NoGradGuard guard;
      result.heldOut = objective_->evaluate(*net_, *rows_, precision());
      report.measures.insert(report.measures.end(), result.heldOut.begin(), result.heldOut.end());
    }
    if (options_.progress) options_.progress(report);
    if (progress.step % kTrimEvery == 0) giveBackMemory();
    if (secondsSince(saved) > options_.checkpointSeconds) {
      DECOSCOPE_TRY(save(progress.step));
      saved = Clock::now();
    }
  }
  for (const double loss : losses) result.loss += loss / static_cast<double>(losses.size());
  result.steps = progress.step;
  DECOSCOPE_TRY(save(progress.step));
  DECOSCOPE_TRY(exportModel(result.model, learned(), recipe_, objective_->head() ? "" : tokenizerFolder_));
  return result;
}

}  // namespace

Result<TrainingResult> train(const Recipe& recipe, const TrainingOptions& options, const StopToken& stop) {
  try {
    return Training(recipe, options, stop).run();
  } catch (const std::exception& exception) {
    return fail(ErrorCode::failed, std::string("the training failed: ") + exception.what(), recipe.name,
                "If memory is short, lower micro_rows in the recipe.");
  }
}

}  // namespace decoscope::train
