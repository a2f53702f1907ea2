#include <cstdio>
#include <filesystem>
#include <iostream>

#include "app/cli/Command.h"
#include "core/base/CacheFolder.h"
#include "core/train/Trainer.h"

namespace decoscope::cli {

namespace {

struct TrainOptions {
  std::string name, corpus, out;
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
  char text[64];
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

Result<int> trainCommand(const Context& context, const TrainOptions& options) {
  DECOSCOPE_ASSIGN(const train::Recipe recipe, train::loadRecipe(options.name, DECOSCOPE_RESOURCES));
  train::TrainingOptions training;
  training.resources = DECOSCOPE_RESOURCES;
  training.corpusFile =
      options.corpus.empty() ? cacheFolder() + "/corpora/" + recipe.corpus + ".jsonl" : options.corpus;
  training.out = options.out.empty() ? cacheFolder() + "/training/" + recipe.name : options.out;
  training.resume = options.resume;
  training.steps = options.steps;
  training.threads = options.threads;
  auto last = std::chrono::steady_clock::now();
  training.progress = [&](const train::TrainingStep& step) {
    if (onTerminal())
      return drawProgress(static_cast<double>(step.step) / static_cast<double>(step.steps), lineOf(step));
    const bool evaluated = step.step % recipe.evaluateEvery == 0;
    if (!evaluated && std::chrono::steady_clock::now() - last < std::chrono::seconds(10)) return;
    last = std::chrono::steady_clock::now();
    std::fprintf(stderr, "%s\n", lineOf(step).c_str());
  };
  DECOSCOPE_ASSIGN(const train::TrainingResult result, train::train(recipe, training, context.stop));
  if (onTerminal()) clearProgress();
  if (context.json)
    printJson({{"name", recipe.name},
               {"steps", result.steps},
               {"first_loss", result.firstLoss},
               {"loss", result.loss},
               {"held_out", jsonOf(result.heldOut)},
               {"checkpoint", result.checkpoint},
               {"model", result.model}});
  else
    std::cout << recipe.name << ": " << result.steps << " steps, loss " << result.firstLoss << " → "
              << result.loss << "\ncheckpoint: " << result.checkpoint << "\nmodel: " << result.model << "\n";
  return context.stop.stop_requested() ? 130 : 0;
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
  command->add_option("--out", options->out, "Folder for checkpoint and model");
  command->add_option("--threads", options->threads, "0: all cores")->check(atLeast(0));
  onRun(command, [options](const Context& context) { return trainCommand(context, *options); });
}

}  // namespace decoscope::cli
