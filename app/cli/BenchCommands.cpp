#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "app/cli/Figures.h"
#include "app/cli/MethodsSuite.h"
#include "app/cli/Peer.h"
#include "app/cli/RunJson.h"
#include "core/model/scripted/TableModel.h"
#include "core/session/Audit.h"
#ifdef DECOSCOPE_WITH_PAINTER
#include "core/figure/Layouts.h"
#include "widgets/canvas/CanvasBenchmark.h"
#endif

namespace decoscope::cli {

namespace {

constexpr const char* kPrompt = "Explain in two sentences why the sky is blue.";

struct BenchOptions {
  ModelOptions model;
  std::string suite = "decode";
  std::optional<std::string> prompt;
  std::int64_t tokens = 64, repetitions = 5;
  std::optional<std::int64_t> promptTokens;
  std::string peer;
  // Of the suite methods.
  std::optional<std::string> prompts;
  std::vector<std::string> methods, set;
};

// Bytes a second of reading a buffer much larger than any cache: the floor of one-token decoding.
double memoryBandwidth() {
  std::vector<std::uint64_t> buffer(64 << 20, 1);
  std::vector<double> rates;
  for (int i = 0; i < 3; ++i) {
    const auto start = std::chrono::steady_clock::now();
    std::uint64_t sum = 0;
    for (const std::uint64_t value : buffer) sum += value;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    rates.push_back(static_cast<double>(buffer.size() * 8) / seconds + (sum == 1 ? 1 : 0));
  }
  return median(rates);
}

Result<double> timeRun(Engine& engine, const BenchOptions& options, const std::string& record,
                       const Context& context) {
  RunRequest request;
  request.promptText = options.prompt.value_or(kPrompt);
  request.maxNewTokens = options.tokens;
  request.stopAtEnd = false;
  request.recordLevel = record;
  DECOSCOPE_TRY(engine.startRun(request));
  while (!engine.ended()) DECOSCOPE_TRY(engine.step(context.stop));
  DECOSCOPE_ASSIGN(const RunStats stats, statsOf(*engine.recording().source, engine.current().id, true));
  return stats.tokensPerSecond;
}

// Tokens a second of reading a prompt of `count` tokens. Its first token differs from repetition to
// repetition, so that nothing in the cache can be used again.
Result<double> timePrompt(Engine& engine, std::int64_t count, std::int64_t repetition,
                          const Context& context) {
  const std::int64_t vocabulary = engine.model()->info().vocabularySize;
  RunRequest request;
  // The last token belongs to the first step.
  for (std::int64_t i = 0; i <= count; ++i)
    request.promptTokens.push_back(static_cast<TokenId>((repetition + i * 7919) % vocabulary));
  request.maxNewTokens = 1;
  request.stopAtEnd = false;
  request.recordLevel = "none";
  DECOSCOPE_TRY(engine.startRun(request));
  while (!engine.ended()) DECOSCOPE_TRY(engine.step(context.stop));
  DECOSCOPE_ASSIGN(const RunStats stats, statsOf(*engine.recording().source, engine.current().id, true));
  if (stats.targetTokens < count)
    return fail(ErrorCode::failed, "the prompt was not read as a whole", "--prompt-tokens");
  return static_cast<double>(count) / stats.prefillSeconds;
}

Result<json> benchDecode(const Context& context, const BenchOptions& options, Engine& engine) {
  const ModelInfo& info = engine.model()->info();
  const std::int64_t room = info.contextLength - 2;
  const std::int64_t count = options.promptTokens.value_or(std::min<std::int64_t>(512, room));
  if (count < 1 || count > room)
    return fail(ErrorCode::usage,
                "a prompt of " + std::to_string(count) +
                    " tokens and an answer do not fit into the context of " +
                    std::to_string(info.contextLength),
                "--prompt-tokens");
  std::vector<double> rates, prompts, peerRates, peerPrompts, ratios, promptRatios;
  for (std::int64_t i = 0; i < options.repetitions; ++i) {
    DECOSCOPE_ASSIGN(const double rate, timeRun(engine, options, "none", context));
    rates.push_back(rate);
    DECOSCOPE_ASSIGN(const double prompt, timePrompt(engine, count, i, context));
    prompts.push_back(prompt);
    if (options.peer.empty()) continue;
    // In turn, so that both meet the machine in the same mood.
    DECOSCOPE_ASSIGN(const PeerSpeed peer, runPeer(options.peer, context.stop));
    peerRates.push_back(peer.decode);
    ratios.push_back(rate / peer.decode);
    if (peer.prompt <= 0) continue;
    peerPrompts.push_back(peer.prompt);
    promptRatios.push_back(prompt / peer.prompt);
  }
  json document = {{"suite", "decode"},          {"model", info.name},
                   {"dtype", info.dtype},        {"tokens_per_second", spread(rates)},
                   {"prompt_tokens", count},     {"prompt_tokens_per_second", spread(prompts)},
                   {"weight_bytes", info.bytes}, {"one_core_read_bytes_per_second", memoryBandwidth()}};
  if (!options.peer.empty()) {
    document["peer"] = {{"command", options.peer},
                        {"tokens_per_second", spread(peerRates)},
                        {"prompt_tokens_per_second", spread(peerPrompts)}};
    document["ratios"] = {{"decode", spread(ratios)}, {"prompt", spread(promptRatios)}};
  }
  return document;
}

// The cost of recording: the same greedy run with everything recorded into a file, and with next to nothing,
// in turn.
Result<json> benchRecord(const Context& context, const BenchOptions& options, Engine& engine) {
  const std::string path =
      (std::filesystem::temp_directory_path() /
       ("decoscope-bench-" + std::to_string(std::chrono::steady_clock::now().time_since_epoch().count()) +
        ".decoscope"))
          .string();
  std::vector<double> recorded, bare, ratios;
  {
    DECOSCOPE_ASSIGN(const Recording recording, recordInFile(path, OpenMode::create));
    Engine full(recording);
    DECOSCOPE_ASSIGN(const auto roles, options.model.byRole());
    DECOSCOPE_TRY(full.loadModel("target", roles.at("target"), options.model.loadOptions(), context.stop));
    for (std::int64_t i = 0; i < options.repetitions; ++i) {
      DECOSCOPE_ASSIGN(const double without, timeRun(engine, options, "none", context));
      DECOSCOPE_ASSIGN(const double with, timeRun(full, options, "full", context));
      bare.push_back(without);
      recorded.push_back(with);
      ratios.push_back(without / with);
    }
  }
  std::error_code error;
  for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path + suffix, error);
  return json{{"suite", "record"},
              {"tokens_per_second_none", spread(bare)},
              {"tokens_per_second_full", spread(recorded)},
              {"cost_ratio", spread(ratios)}};
}

Result<json> benchStore() {
  const std::string path =
      (std::filesystem::temp_directory_path() /
       ("decoscope-store-" + std::to_string(std::chrono::steady_clock::now().time_since_epoch().count()) +
        ".decoscope"))
          .string();
  constexpr int kSteps = 4000, kNodes = 60;
  double seconds = 0;
  {
    DECOSCOPE_ASSIGN(const auto store, SessionStore::open(path, OpenMode::create));
    RunInfo info;
    info.method = "sampling";
    DECOSCOPE_ASSIGN(const RunId run, store->beginRun(info, nullptr));
    const auto start = std::chrono::steady_clock::now();
    for (int step = 0; step < kSteps; ++step) {
      auto record = std::make_shared<StepRecord>();
      record->run = run;
      record->step = step;
      for (int node = 0; node < kNodes; ++node) {
        record->events.push_back(ProposeFact{node, node - 1, node, 0.5, 0, node + 1, "bench"});
        record->events.push_back(
            VerdictFact{node, VerdictKind::accepted, VerificationRule::r3, 0.5, 0.5, 0.1, 1, 0.5, 0, 0});
      }
      DECOSCOPE_TRY(store->append(record));
    }
    DECOSCOPE_TRY(store->flush());
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  std::error_code error;
  for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path + suffix, error);
  return json{{"suite", "store"},
              {"nodes", kSteps * kNodes},
              {"seconds", seconds},
              {"nodes_per_second", kSteps * kNodes / seconds}};
}

#ifdef DECOSCOPE_WITH_PAINTER
// `rounds` rounds of `nodes` proposed nodes: four children a node, one path accepted, as a tree method
// records them.
std::vector<std::shared_ptr<const FigureIndex>> syntheticTrees(int rounds, int nodes) {
  std::vector<std::shared_ptr<const FigureIndex>> figures;
  const TokenLabel label = [](TokenId token) { return "token" + std::to_string(token); };
  for (int round = 0; round < rounds; ++round) {
    auto step = std::make_shared<StepRecord>();
    step->run = RunId{1};
    step->step = round;
    for (int node = 0; node < nodes; ++node) {
      const int parent = node / 4 - 1;
      int depth = 1;
      for (int above = parent; above >= 0; above = above / 4 - 1) ++depth;
      step->events.push_back(ProposeFact{node, parent, node + round, 0.5, node % 4, depth, "bench"});
      const VerdictKind kind = node % 16 == 0  ? VerdictKind::accepted
                               : node % 7 == 0 ? VerdictKind::rejected
                                               : VerdictKind::notReachedAncestor;
      step->events.push_back(VerdictFact{node, kind, VerificationRule::r3, 0.4, 0.5, 0.1, 0.8, 0.4, 0, 0});
    }
    figures.push_back(
        std::make_shared<FigureIndex>(std::make_shared<Figure>(layoutTrees({step}, {7}, label))));
  }
  return figures;
}

// Denoising steps over positions, every cell recorded.
std::vector<std::shared_ptr<const FigureIndex>> syntheticLattice(int steps, int positions) {
  std::vector<StepPointer> records;
  for (int row = 0; row < steps; ++row) {
    auto step = std::make_shared<StepRecord>();
    step->run = RunId{1};
    step->step = row;
    for (int position = 0; position < positions; ++position)
      step->events.push_back(CellFact{position, 0, position + row,
                                      static_cast<double>((position * 7 + row) % 100) / 100, 1.0,
                                      (position + row) % 50 == 0 ? CellState::committed : CellState::masked});
    records.push_back(std::move(step));
  }
  return {std::make_shared<FigureIndex>(std::make_shared<Figure>(layoutLattice(
      records, [](TokenId token) { return "t" + std::to_string(token); }, LatticeColour::confidence)))};
}

json benchCanvas() {
  json cases = json::array();
  for (const char* name : {"500 rounds of 60 nodes", "100 000 nodes in 1 667 rounds", "100 000 cells"}) {
    const auto start = std::chrono::steady_clock::now();
    const auto figures = name[0] == '5'                              ? syntheticTrees(500, 60)
                         : std::string_view(name).ends_with("cells") ? syntheticLattice(250, 400)
                                                                     : syntheticTrees(1667, 60);
    const double layout =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    for (const float zoom : {1.0f, 0.6f, 0.3f, 0.24f, 0.05f, zoomToFit(figures)}) {
      const CanvasTimes times = measureCanvas(figures, zoom, 120);
      cases.push_back({{"case", name},
                       {"zoom", zoom},
                       {"milliseconds", spread(times.milliseconds)},
                       {"most_marks", times.marks},
                       {"layout_milliseconds", layout}});
    }
  }
  return {{"suite", "canvas"}, {"bound_milliseconds", 8}, {"cases", cases}};
}
#endif

Result<json> methodsDocument(const Context& context, const BenchOptions& options) {
  MethodsSuite suite{builtInPrompts(), options.methods, options.set, options.tokens, options.repetitions};
  if (suite.methods.empty()) suite.methods = {"token-recycling", "lookup"};
  if (options.prompt && options.prompts)
    return fail(ErrorCode::usage, "there is more than one source of prompts", "--prompts",
                "Give one of --prompt and --prompts.");
  if (options.prompt) suite.sets = {{"", {*options.prompt}}};
  if (options.prompts) {
    DECOSCOPE_ASSIGN(suite.sets, readPromptSets(*options.prompts));
  }
  DECOSCOPE_TRY(suite.check());
  DECOSCOPE_ASSIGN(const auto roles, options.model.byRole());
  if (!roles.contains("target")) return fail(ErrorCode::usage, "this suite needs a model", "--model");
  Engine engine(recordInMemory());
  DECOSCOPE_TRY(engine.loadModels(roles, options.model.loadOptions(), context.stop));
  return benchMethods(context, suite, engine);
}

Result<int> benchCommand(const Context& context, const BenchOptions& options) {
  json document;
  if (options.suite != "decode" && (!options.peer.empty() || options.promptTokens))
    return fail(ErrorCode::usage, "a peer and a prompt are measured by the suite decode only", "--suite",
                "Leave --peer and --prompt-tokens out.");
  const bool methods = options.suite == "methods";
  if (!methods && (options.prompts || !options.methods.empty() || !options.set.empty()))
    return fail(ErrorCode::usage, "only the suite methods compares methods on prompts of a file", "--suite",
                "Leave --prompts, --methods and --set out.");
  if (methods) {
    DECOSCOPE_ASSIGN(document, methodsDocument(context, options));
  } else if (options.suite == "store") {
    DECOSCOPE_ASSIGN(document, benchStore());
  } else if (options.suite == "canvas") {
#ifdef DECOSCOPE_WITH_PAINTER
    document = benchCanvas();
#else
    return fail(ErrorCode::unsupported, "this build has no canvas", "--suite canvas",
                "Build with -DDECOSCOPE_GUI=ON; it needs Dear ImGui.");
#endif
  } else {
    DECOSCOPE_ASSIGN(const auto roles, options.model.byRole());
    if (!roles.contains("target")) return fail(ErrorCode::usage, "this suite needs a model", "--model");
    Engine engine(recordInMemory());
    DECOSCOPE_TRY(engine.loadModel("target", roles.at("target"), options.model.loadOptions(), context.stop));
    DECOSCOPE_ASSIGN(document, options.suite == "decode" ? benchDecode(context, options, engine)
                                                         : benchRecord(context, options, engine));
  }
  if (context.json)
    printJson(document);
  else if (methods)
    printMethods(document);
  else
    printFigures(document, "");
  return 0;
}

}  // namespace

void addBenchCommands(CLI::App& app) {
  auto options = std::make_shared<BenchOptions>();
  auto* bench = app.add_subcommand("bench", "Figures of speed, as medians with spread");
  options->model.add(bench, false);
  bench->add_option("SUITE,--suite", options->suite, "decode, record, canvas, store or methods")
      ->check(CLI::IsMember({"decode", "record", "canvas", "store", "methods"}));
  bench->add_option("--prompt", options->prompt, "What the runs begin with");
  bench->add_option("--tokens", options->tokens, "Tokens a run")->check(atLeast(1));
  bench->add_option("--prompt-tokens", options->promptTokens, "Tokens of the prompt whose reading is timed")
      ->check(atLeast(1));
  bench->add_option("--peer", options->peer,
                    "A command to compare with; it prints tokens a second of decoding, or an object with "
                    "decode_tokens_per_second and prompt_tokens_per_second");
  bench->add_option("--repetitions", options->repetitions, "Runs")->check(atLeast(1));
  bench
      ->add_option(
          "--methods", options->methods,
          "Suite methods: names with commas, each beside plain sampling in turn (token-recycling,lookup)")
      ->delimiter(',');
  bench->add_option(
      "--prompts", options->prompts,
      "Suite methods: a JSON file of user turns, a list or an object of lists (a few built in)");
  bench
      ->add_option("--set", options->set,
                   "Suite methods: NAME=VALUE for every method that has it; may repeat (adaptive=true)")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  onRun(bench, [options](const Context& context) { return benchCommand(context, *options); });
}

}  // namespace decoscope::cli
