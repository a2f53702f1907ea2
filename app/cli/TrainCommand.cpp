#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "app/cli/Command.h"
#include "core/base/CacheFolder.h"
#include "core/base/Process.h"
#include "core/base/ResourceFolder.h"
#include "core/session/Engine.h"
#include "core/trace/MeasuredRun.h"
#include "core/train/CorpusLines.h"
#include "core/train/CorpusMaker.h"
#include "core/train/Trainer.h"

namespace decoscope::cli {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct TrainOptions {
  std::string name, corpus, out, session, device = "auto";
  bool resume = false;
  std::int64_t steps = 0;
  int threads = 0;
};

std::string duration(double seconds) {
  char text[32];
  const auto whole = static_cast<long long>(seconds);
  if (whole >= 3600)
    std::snprintf(text, sizeof text, "%lld h %02lld min", whole / 3600, whole / 60 % 60);
  else
    std::snprintf(text, sizeof text, "%lld:%02lld min", whole / 60, whole % 60);
  return text;
}

// One line of what a step measured.
std::string lineOf(const train::TrainingStep& step) {
  char text[96];
  std::snprintf(text, sizeof text, "step %lld/%lld", static_cast<long long>(step.step),
                static_cast<long long>(step.steps));
  std::string line = text;
  for (const train::Measure& measure : step.measures) {
    std::snprintf(text, sizeof text, "  %s %.4g", measure.name.c_str(), measure.value);
    line += text;
  }
  return line + "  left " + duration(step.secondsLeft);
}

json jsonOf(const std::vector<train::Measure>& measures) {
  json object = json::object();
  for (const train::Measure& measure : measures) object[measure.name] = measure.value;
  return object;
}

// ---- the corpus ----

struct CorpusSize {
  std::int64_t texts = 0, bytes = 0, next = 0;  // next: index of the prompt after the last text
};

Result<CorpusSize> sizeOf(const std::string& file) {
  CorpusSize size;
  std::error_code error;
  if (!fs::exists(file, error)) return size;
  DECOSCOPE_TRY(readCorpusLines(file, [&](const CorpusLine& text) -> Status {
    ++size.texts;
    size.bytes += static_cast<std::int64_t>(text.user.size() + text.assistant.size());
    size.next = text.index + 1;
    return {};
  }));
  return size;
}

// Texts enough for the steps wanted: the corpus is written in the order of its indices, so what is there is
// always the beginning of the whole.
Status prepareCorpus(const Context& context, const train::Recipe& recipe, const TrainOptions& options,
                     const std::string& file) {
  constexpr std::int64_t kPrompts = 500;  // asked between two looks at the size
  constexpr double kBytesPerToken = 3;    // no vocabulary in use needs fewer; better a few texts too many
  const train::Schedule& schedule = recipe.schedule;
  const bool all = options.steps == 0 || options.steps >= schedule.steps;
  const auto wanted = static_cast<double>(options.steps * schedule.rows * schedule.length) * kBytesPerToken;
  const auto enough = [&](const CorpusSize& size) {
    return size.texts >= recipe.texts || (!all && static_cast<double>(size.bytes) >= wanted);
  };
  DECOSCOPE_ASSIGN(CorpusSize size, sizeOf(file));
  if (enough(size)) return {};
  if (recipe.writer.empty())
    return fail(ErrorCode::badInput,
                "the corpus holds fewer texts than the recipe asks for, and nobody writes more",
                recipe.folder + "/recipe.json, field writer", "Give the texts by --corpus.");
  DECOSCOPE_ASSIGN(const CorpusRecipe made,
                   readCorpusRecipe(resourceFolder() + "/models/corpora/" + recipe.corpus + ".json"));
  LoadOptions load;
  load.dtype = "bf16";
  load.device = options.device;
  load.threads = options.threads;
  DECOSCOPE_ASSIGN(const LoadedModel writer, loadModel(recipe.writer, load, context.stop));
  fs::create_directories(fs::path(file).parent_path());
  CorpusOptions corpus;
  corpus.out = file;
  corpus.resume = true;
  corpus.features = recipe.features;
  auto last = Clock::now();
  while (!enough(size)) {
    corpus.texts = size.next + kPrompts;
    CorpusReport report;
    DECOSCOPE_TRY(makeCorpus(
        *writer.model, *writer.tokenizer, made, corpus, context.stop, report, [&](const CorpusReport& now) {
          if (!onTerminal() && Clock::now() - last < std::chrono::seconds(60)) return;
          last = Clock::now();
          const std::int64_t texts = size.texts + now.kept;
          const std::string line = "writing the corpus: " + std::to_string(texts) + " texts";
          if (onTerminal())
            drawProgress(static_cast<double>(texts) / static_cast<double>(recipe.texts), line);
          else
            std::fprintf(stderr, "%s\n", line.c_str());
        }));
    DECOSCOPE_ASSIGN(size, sizeOf(file));
    size.next = std::max(size.next, report.nextIndex);
  }
  return {};
}

// ---- the record ----

RunInfo runOf(const train::Recipe& recipe) {
  RunInfo info;
  info.method = "train:" + recipe.name;
  info.name = "Training of " + (recipe.title.empty() ? recipe.name : recipe.title);
  info.seed = recipe.seed;
  const train::Schedule& schedule = recipe.schedule;
  info.parameters.set("objective", recipe.objective);
  info.parameters.set("corpus", recipe.corpus);
  info.parameters.set("texts", recipe.texts);
  info.parameters.set("steps", schedule.steps);
  info.parameters.set("rows", schedule.rows);
  info.parameters.set("length", schedule.length);
  info.parameters.set("learning_rate", schedule.learningRate);
  info.parameters.set("warm_up", schedule.warmUp);
  info.parameters.set("weight_decay", schedule.weightDecay);
  info.notes["shape"] = recipe.shape.dump();
  info.notes["options"] = recipe.options.dump();
  return info;
}

// A new session, or where a training is resumed its own again, with a run that continues the last one.
Result<Recording> openRecord(const std::string& file, bool resume, RunInfo& info) {
  std::error_code error;
  if (resume && fs::exists(file, error)) {
    DECOSCOPE_ASSIGN(Recording recording, recordInFile(file, OpenMode::readWrite));
    for (const RunInfo& run : recording.source->runs())
      if (run.method == info.method) {
        info.parent = run.id;
        info.forkStep = recording.source->extent(run.id).second;
      }
    return recording;
  }
  for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(file + suffix, error);
  return recordInFile(file, OpenMode::create);
}

// ---- the command ----

void print(const Context& context, const train::Recipe& recipe, const train::TrainingResult& result,
           const std::string& session) {
  if (context.json) {
    printJson({{"name", recipe.name},
               {"steps", result.steps},
               {"first_loss", result.firstLoss},
               {"loss", result.loss},
               {"held_out", jsonOf(result.heldOut)},
               {"checkpoint", result.checkpoint},
               {"model", result.model},
               {"session", session}});
    return;
  }
  std::cout << recipe.name << ": " << result.steps << " of " << recipe.schedule.steps << " steps, loss "
            << result.firstLoss << " → " << result.loss << "\n";
  for (const train::Measure& measure : result.heldOut)
    std::cout << measure.name << ": " << measure.value << (measure.unit.empty() ? "" : " ") << measure.unit
              << "\n";
  std::cout << "checkpoint: " << result.checkpoint << "\nmodel: " << result.model << "\nsession: " << session
            << "\n";
}

Result<int> trainCommand(const Context& context, const TrainOptions& options) {
  DECOSCOPE_ASSIGN(const train::Recipe recipe, train::loadRecipe(options.name, resourceFolder()));
  train::TrainingOptions training;
  training.resources = resourceFolder();
  training.corpusFile = options.corpus;
  if (options.corpus.empty()) {
    training.corpusFile = cacheFolder() + "/corpora/" + recipe.corpus + ".jsonl";
    DECOSCOPE_TRY(prepareCorpus(context, recipe, options, training.corpusFile));
  }
  training.out = options.out.empty() ? cacheFolder() + "/training/" + recipe.name : options.out;
  training.resume = options.resume;
  training.steps = options.steps;
  training.device = options.device;
  training.threads = options.threads;
  std::error_code error;
  fs::create_directories(training.out, error);
  const std::string session =
      options.session.empty() ? training.out + "/training.decoscope" : options.session;
  RunInfo info = runOf(recipe);
  DECOSCOPE_ASSIGN(Recording recording, openRecord(session, options.resume, info));
  DECOSCOPE_ASSIGN(MeasuredRun run, MeasuredRun::begin(*recording.sink, std::move(info)));
  auto last = Clock::now();
  Status recorded;
  training.progress = [&](const train::TrainingStep& step) {
    std::vector<MeasureFact> facts;
    for (const train::Measure& measure : step.measures)
      facts.push_back({measure.name, measure.value, measure.unit, step.step});
    if (recorded) recorded = run.add(std::move(facts));
    if (onTerminal())
      return drawProgress(static_cast<double>(step.step) / static_cast<double>(step.steps), lineOf(step));
    if (step.step % recipe.evaluateEvery != 0 && Clock::now() - last < std::chrono::seconds(10)) return;
    last = Clock::now();
    std::fprintf(stderr, "%s\n", lineOf(step).c_str());
  };
  const auto result = train::train(recipe, training, context.stop);
  if (onTerminal()) clearProgress();
  const bool stopped = context.stop.stop_requested();
  DECOSCOPE_TRY(run.finish(!result   ? RunState::failed
                           : stopped ? RunState::stopped
                                     : RunState::finished,
                           !result   ? "error"
                           : stopped ? "stopped"
                                     : "steps",
                           peakMemoryBytes()));
  if (recording.store) DECOSCOPE_TRY(recording.store->flush());
  DECOSCOPE_TRY(recorded);
  if (!result) return tl::unexpected(result.error());
  print(context, recipe, *result, session);
  return stopped ? 130 : 0;
}

}  // namespace

void addTrainCommand(CLI::App& app) {
  auto options = std::make_shared<TrainOptions>();
  auto* command = app.add_subcommand("train", "Train a bundled model again by its recipe");
  command->add_option("NAME", options->name, "A bundled model, or the path of a recipe.json")->required();
  command->add_flag("--resume", options->resume, "Go on from the last checkpoint");
  command->add_option("--steps", options->steps, "End after so many of the recipe's steps")
      ->check(atLeast(1));
  command->add_option("--corpus", options->corpus, "JSONL of texts instead of the recipe's");
  command->add_option("--out", options->out, "Folder for checkpoint, model and session");
  command->add_option("--session", options->session, "Session file of the curves; default: in the folder");
  addDevice(command, options->device);
  command->add_option("--threads", options->threads, "0: all cores")->check(atLeast(0));
  onRun(command, [options](const Context& context) { return trainCommand(context, *options); });
}

}  // namespace decoscope::cli
