#include <sys/stat.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>

#include "app/cli/Command.h"
#include "core/base/ResourceFolder.h"
#include "core/train/CorpusMaker.h"
#include "core/train/CorpusWriter.h"

namespace decoscope::cli {

namespace {

struct MakeOptions {
  std::string recipe;
  ModelOptions model;
  CorpusOptions corpus;
};

struct SplitOptions {
  std::string corpus, train, heldOut;
  double fraction = 0.02;
};

// A bundled recipe by its name, or a file.
std::string recipePath(const std::string& nameOrPath) {
  if (nameOrPath.ends_with(".json") || nameOrPath.find('/') != std::string::npos) return nameOrPath;
  return resourceFolder() + "/models/corpora/" + nameOrPath + ".json";
}

std::string duration(double seconds) {
  const auto minutes = static_cast<long>(seconds / 60 + 0.5);
  char text[32];
  std::snprintf(text, sizeof text, "%ld:%02ld h", minutes / 60, minutes % 60);
  return text;
}

std::string progressLine(const CorpusReport& report) {
  const auto left = report.endIndex - report.nextIndex;
  const double perText = report.done > 0 ? report.seconds / static_cast<double>(report.done) : 0;
  char text[160];
  std::snprintf(text, sizeof text, "%.0f tokens/s, %lld of %lld texts kept, %s left",
                static_cast<double>(report.counts.answerTokens) / std::max(report.seconds, 1e-9),
                static_cast<long long>(report.kept), static_cast<long long>(report.done),
                duration(perText * static_cast<double>(left)).c_str());
  return text;
}

// Redraws a bar on a terminal; writes a line now and then elsewhere.
class Progress {
 public:
  explicit Progress(std::int64_t first) : first_(first) {}
  void show(const CorpusReport& report) {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < (onTerminal() ? std::chrono::milliseconds(300) : std::chrono::seconds(60))) return;
    last_ = now;
    const double fraction =
        static_cast<double>(report.nextIndex - first_) / static_cast<double>(report.asked);
    if (onTerminal())
      drawProgress(fraction, progressLine(report));
    else
      std::fprintf(stderr, "%.1f %%: %s\n", 100 * fraction, progressLine(report).c_str());
  }

 private:
  std::int64_t first_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

json reportJson(const CorpusReport& report, const MakeOptions& options, const CorpusRecipe& recipe) {
  json kinds = json::object();
  for (const auto& [kind, counts] : report.kinds)
    kinds[kind] = {{"kept", counts.first}, {"answered", counts.second}};
  return {{"recipe", recipe.name},
          {"recipe_fingerprint", recipe.fingerprint},
          {"file", options.corpus.out},
          {"prompts", report.asked},
          {"present", report.present},
          {"answered", report.done},
          {"kept", report.kept},
          {"next_index", report.nextIndex},
          {"rejected", report.rejected},
          {"kinds", kinds},
          {"forwards", report.counts.forwards},
          {"prompt_tokens", report.counts.promptTokens},
          {"tokens", report.counts.answerTokens},
          {"seconds", report.seconds},
          {"forward_seconds", report.counts.forwardSeconds},
          {"sampling_seconds", report.counts.samplingSeconds},
          {"tokens_per_second",
           report.seconds > 0 ? static_cast<double>(report.counts.answerTokens) / report.seconds : 0.0}};
}

void printReport(const CorpusReport& report) {
  std::cout << report.kept << " of " << report.done << " texts kept";
  if (report.present > 0) std::cout << ", " << report.present << " were there";
  std::cout << "\n"
            << report.counts.answerTokens << " tokens in " << duration(report.seconds) << ", "
            << static_cast<std::int64_t>(static_cast<double>(report.counts.answerTokens) /
                                         std::max(report.seconds, 1e-9))
            << " a second\n";
  for (const auto& [kind, counts] : report.kinds)
    std::cout << "  " << kind << ": " << counts.first << " of " << counts.second << "\n";
  for (const auto& [reason, count] : report.rejected)
    std::cout << "  left out, " << reason << ": " << count << "\n";
}

Result<int> makeCommand(const Context& context, const MakeOptions& options) {
  DECOSCOPE_ASSIGN(const CorpusRecipe recipe, readCorpusRecipe(recipePath(options.recipe)));
  DECOSCOPE_ASSIGN(const auto roles, options.model.byRole());
  if (roles.size() != 1 || !roles.contains("target"))
    return fail(ErrorCode::usage, "a corpus is written by one model", "--model");
  DECOSCOPE_ASSIGN(const LoadedModel loaded,
                   loadModel(roles.at("target"), options.model.loadOptions(), context.stop));
  if (onTerminal()) clearProgress();
  CorpusReport report;
  Progress progress(options.corpus.first);
  const Status status = makeCorpus(*loaded.model, *loaded.tokenizer, recipe, options.corpus, context.stop,
                                   report, [&](const CorpusReport& now) { progress.show(now); });
  const bool stopped = !status && status.error().code == ErrorCode::cancelled;
  if (!status && !stopped) return tl::unexpected(status.error());
  if (onTerminal()) clearProgress();
  if (context.json)
    printJson(reportJson(report, options, recipe));
  else
    printReport(report);
  return stopped ? 130 : 0;
}

Result<int> splitCommand(const Context& context, const SplitOptions& options) {
  for (const std::string& path : {options.train, options.heldOut})
    if (struct stat info{}; ::stat(path.c_str(), &info) == 0)
      return fail(ErrorCode::usage, "the file exists", path, "Name another file.");
  std::ofstream train(options.train, std::ios::binary), heldOut(options.heldOut, std::ios::binary);
  std::int64_t counts[2] = {0, 0};
  DECOSCOPE_TRY(readCorpusLines(options.corpus, [&](const CorpusLine& text) -> Status {
    if (context.stop.stop_requested()) return fail(ErrorCode::cancelled, "stopped");
    const bool held = splitPosition(text) < options.fraction;
    (held ? heldOut : train) << corpusLine(text) << '\n';
    ++counts[held ? 1 : 0];
    return {};
  }));
  for (const auto& [file, path] : {std::pair(&train, &options.train), {&heldOut, &options.heldOut}}) {
    file->flush();
    if (!*file) return fail(ErrorCode::failed, "the file cannot be written", *path);
  }
  if (context.json)
    printJson({{"train", {{"file", options.train}, {"texts", counts[0]}}},
               {"held_out", {{"file", options.heldOut}, {"texts", counts[1]}}}});
  else
    std::cout << counts[0] << " texts in " << options.train << ", " << counts[1] << " held out in "
              << options.heldOut << "\n";
  return 0;
}

}  // namespace

void addCorpusCommands(CLI::App& app) {
  auto options = std::make_shared<MakeOptions>();
  auto* corpus = app.add_subcommand("corpus", "Write a corpus: a model's answers to a recipe's prompts");
  corpus->add_option("RECIPE", options->recipe, "Name of a bundled recipe, or its JSON file");
  options->model.add(corpus, false);
  corpus->add_option("--out", options->corpus.out, "File to write, one JSON object a line");
  corpus->add_option("--rejects", options->corpus.rejects,
                     "File for the texts that are left out, with the reason");
  corpus->add_option("--texts", options->corpus.texts, "Prompts to answer; not every answer is kept")
      ->check(atLeast(1))
      ->default_val(1000);
  corpus->add_option("--first", options->corpus.first, "Index of the first prompt")->check(atLeast(0));
  corpus->add_option("--batch", options->corpus.batch, "Texts that grow side by side")
      ->check(CLI::Range(1, 4096));
  corpus->add_flag("--features", options->corpus.features,
                   "Keep the final state at each token in FILE.features");
  corpus->add_flag("--resume", options->corpus.resume, "Go on where the file ends");
  corpus->require_subcommand(0, 1);
  onRun(corpus, [options](const Context& context) -> Result<int> {
    for (const auto& [missing, name] : {std::pair(options->recipe.empty(), "RECIPE"),
                                        {options->corpus.out.empty(), "--out"},
                                        {options->model.models.empty(), "--model"}})
      if (missing)
        return fail(ErrorCode::usage, std::string(name) + " is required", "command line",
                    "`decoscope-cli corpus --help` lists the options.");
    return makeCommand(context, *options);
  });

  auto splitOptions = std::make_shared<SplitOptions>();
  auto* split = corpus->add_subcommand(
      "split", "Divide a corpus into training and held-out texts, by a hash of each text alone");
  split->add_option("FILE", splitOptions->corpus, "The corpus")->required();
  split->add_option("--train", splitOptions->train, "File for the texts to train on")->required();
  split->add_option("--held-out", splitOptions->heldOut, "File for the others")->required();
  split->add_option("--fraction", splitOptions->fraction, "Share of the texts that is held out")
      ->check(CLI::Range(0.0, 1.0));
  onRun(split, [splitOptions](const Context& context) { return splitCommand(context, *splitOptions); });
}

}  // namespace decoscope::cli
