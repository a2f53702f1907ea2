#include <iostream>
#include <sstream>

#include "app/cli/Command.h"
#include "core/base/ResourceFolder.h"
#include "core/model/Comparison.h"

namespace decoscope::cli {

namespace {

struct MeasureOptions {
  std::string model, dtypes = "bf16,f16,q8,q4", file, device = "auto";
  int threads = 0;
};

json distanceJson(const PrecisionDistance& distance) {
  return {{"dtype", distance.dtype},
          {"reference", distance.referenceDtype},
          {"tokens", distance.tokens},
          {"kl_nats", distance.divergence},
          {"largest_kl_nats", distance.largestDivergence},
          {"top1_agreement", distance.agreement},
          {"perplexity", distance.perplexity},
          {"reference_perplexity", distance.referencePerplexity},
          {"perplexity_ratio", distance.perplexity / distance.referencePerplexity}};
}

Result<std::string> measuredText(const std::string& file) {
  if (!file.empty()) return readFile(file);
  return readFile(resourceFolder() + "/texts/measure.txt");
}

Result<int> measureCommand(const Context& context, const MeasureOptions& options) {
  DECOSCOPE_ASSIGN(const std::string text, measuredText(options.file));
  LoadOptions load;
  load.device = options.device;
  load.threads = options.threads;
  load.dtype = "f32";
  DECOSCOPE_ASSIGN(const LoadedModel exact, loadModel(options.model, load, context.stop));
  DECOSCOPE_ASSIGN(const std::vector<TokenId> tokens, exact.tokenizer->encode(text, {true, false}));
  json results = json::array();
  std::stringstream list(options.dtypes);
  for (std::string dtype; std::getline(list, dtype, ',');) {
    load.dtype = dtype;
    DECOSCOPE_ASSIGN(const LoadedModel other, loadModel(options.model, load, context.stop));
    DECOSCOPE_ASSIGN(const PrecisionDistance distance,
                     compareModels(*exact.model, *other.model, tokens, context.stop, drawProgress));
    clearProgress();
    // Only what the fixed text says can be compared from model to model.
    if (options.file.empty()) DECOSCOPE_TRY(storeDistance(exact.model->info().fingerprint, distance));
    results.push_back(distanceJson(distance));
    if (!context.json)
      std::cout << distance.dtype << ": KL " << distance.divergence << " nats, same top token "
                << 100 * distance.agreement << " %, perplexity " << distance.perplexity << " (f32 "
                << distance.referencePerplexity << "), over " << distance.tokens << " tokens\n";
  }
  if (context.json) printJson({{"model", exact.model->info().name}, {"precisions", results}});
  return 0;
}

}  // namespace

json storedDistances(const std::string& fingerprint) {
  json list = json::array();
  for (const char* dtype : {"bf16", "f16", "q8", "q4"})
    if (const auto distance = storedDistance(fingerprint, dtype)) list.push_back(distanceJson(*distance));
  return list;
}

void addMeasureCommand(CLI::App& models) {
  auto options = std::make_shared<MeasureOptions>();
  auto* measure = models.add_subcommand("measure", "How far each precision is from f32, on a fixed text");
  measure->add_option("MODEL,--model", options->model, "Path or name")->required();
  measure->add_option("--dtypes", options->dtypes, "Precisions with commas");
  measure->add_option("--file", options->file, "Another text; its result is not kept");
  addDevice(measure, options->device);
  measure->add_option("--threads", options->threads, "0: all cores");
  onRun(measure, [options](const Context& context) { return measureCommand(context, *options); });
}

}  // namespace decoscope::cli
