#include <cstdio>
#include <iostream>

#include "app/cli/RunJson.h"

namespace decoscope::cli {

namespace {

// Options that `run` and `fork` share.
struct LineOptions {
  ModelOptions model;
  std::vector<std::string> set, stop;
  std::optional<std::int64_t> maxNewTokens;
  std::optional<std::uint64_t> seed;
  std::optional<std::int64_t> steps;
  bool noEos = false, progress = false;
  std::string name;

  void add(CLI::App* command, bool modelRequired) {
    model.add(command, modelRequired);
    command->add_option("--set", set, "NAME=VALUE of a parameter; may repeat")
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    command->add_option("--stop", stop, "A text that ends the run; may repeat")
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    command->add_option("--max-new-tokens", maxNewTokens, "Most tokens to generate")->check(atLeast(0));
    // A sign would be read as a huge number.
    command->add_option("--seed", seed, "Seed of every draw")
        ->check(CLI::Validator(
            [](std::string& text) -> std::string {
              return text.starts_with('-') ? "'" + text + "' is not a whole number of at least 0" : "";
            },
            ">= 0"));
    command->add_option("--steps", steps, "Stop after this many steps")->check(atLeast(0));
    command->add_flag("--no-eos", noEos, "Go on after end-of-text tokens");
    command->add_flag("--progress", progress, "Show a progress bar");
    command->add_option("--name", name, "Name of the run");
  }
};

struct RunOptions : LineOptions {
  std::string method = "sampling", session, record = "full";
  std::optional<std::string> prompt, promptFile, chat;
  std::optional<std::vector<TokenId>> promptIds;
  std::int64_t repeat = 1;
  int topK = 32;
};

// Steps to the end of the line. The value is whether it was interrupted.
Result<bool> stepToEnd(Engine& engine, const Context& context, const LineOptions& options) {
  const bool bar = options.progress && onTerminal();
  for (std::int64_t done = 0; !options.steps || done < *options.steps; ++done) {
    Result<StepPointer> step = engine.step(context.stop);
    if (!step && step.error().code == ErrorCode::cancelled) {
      DECOSCOPE_TRY(engine.finish(RunState::stopped, "stopped"));
      return true;
    }
    if (!step) return tl::unexpected<Error>(step.error());
    if (!*step || engine.ended()) return false;
    if (bar && engine.current().maxNewTokens > 0)
      drawProgress(static_cast<double>(engine.text().size() - engine.promptLength()) /
                       static_cast<double>(engine.current().maxNewTokens),
                   "generating");
    if (context.stop.stop_requested()) {
      DECOSCOPE_TRY(engine.finish(RunState::stopped, "stopped"));
      return true;
    }
  }
  DECOSCOPE_TRY(engine.finish(RunState::paused, "steps"));
  return false;
}

Status report(const Engine& engine, const Context& context, const std::string& session) {
  if (onTerminal()) clearProgress();
  DECOSCOPE_ASSIGN(const json document, runDocument(engine, session));
  if (context.json) {
    printJson(document);
    return {};
  }
  std::cout << document["text"].get<std::string>() << std::endl;
  const json& stats = document["stats"];
  std::fprintf(stderr, "%s: %lld tokens in %lld steps, %.1f tokens/s, %.2f tokens per target forward (%s)\n",
               document["method"].get<std::string>().c_str(),
               static_cast<long long>(stats["new_tokens"].get<std::int64_t>()),
               static_cast<long long>(document["steps"].get<std::int64_t>()),
               stats["tokens_per_second"].get<double>(), stats["block_efficiency"].get<double>(),
               document["stop_reason"].get<std::string>().c_str());
  return {};
}

Result<Recording> recordingFor(const std::string& session) {
  if (session.empty()) return recordInMemory();
  DECOSCOPE_ASSIGN(Recording recording, recordInFile(session, OpenMode::create));
  if (recording.store->readOnly())
    return fail(ErrorCode::badInput, "the session cannot be written: " + recording.store->readOnlyReason(),
                session, "Close it there or choose another file.");
  return recording;
}

Result<int> runCommand(const Context& context, const RunOptions& options) {
  RunRequest request;
  request.name = options.name;
  request.method = options.method;
  request.assignments = options.set;
  request.maxNewTokens = options.maxNewTokens.value_or(128);
  request.stopStrings = options.stop;
  request.stopAtEnd = !options.noEos;
  request.topK = options.topK;
  request.recordLevel = options.record;
  request.promptTokens = options.promptIds.value_or(std::vector<TokenId>());
  const int prompts = (options.prompt ? 1 : 0) + (options.promptFile ? 1 : 0) + (options.chat ? 1 : 0) +
                      (options.promptIds ? 1 : 0);
  if (prompts != 1)
    return fail(ErrorCode::usage, prompts == 0 ? "there is no prompt" : "there is more than one prompt",
                "--prompt", "Give one of --prompt, --prompt-file, --prompt-ids, --chat.");
  if (options.prompt) request.promptText = *options.prompt;
  if (options.promptFile) {
    DECOSCOPE_ASSIGN(request.promptText, readFile(*options.promptFile));
  }
  if (options.chat) {
    DECOSCOPE_ASSIGN(request.chatJson, readFile(*options.chat));
  }
  // What can be checked without the model is checked before it is loaded.
  DECOSCOPE_ASSIGN(const MethodInfo* method, MethodRegistry::instance().find(options.method));
  DECOSCOPE_TRY(method->schema.parse(options.set));
  DECOSCOPE_TRY(parseRecordLevel(options.record));
  DECOSCOPE_ASSIGN(const auto roles, options.model.byRole());
  DECOSCOPE_ASSIGN(Recording recording, recordingFor(options.session));
  bool interrupted = false;
  {
    Engine engine(recording);
    DECOSCOPE_TRY(engine.loadModels(roles, options.model.loadOptions(), context.stop));
    for (std::int64_t i = 0; i < options.repeat && !interrupted; ++i) {
      request.seed = options.seed.value_or(0) + static_cast<std::uint64_t>(i);
      DECOSCOPE_TRY(engine.startRun(request));
      DECOSCOPE_ASSIGN(interrupted, stepToEnd(engine, context, options));
      DECOSCOPE_TRY(report(engine, context, options.session));
    }
  }
  if (recording.store) DECOSCOPE_TRY(recording.store->flush());
  return interrupted ? 130 : 0;
}

struct ForkOptions : LineOptions {
  std::string session;
  std::int64_t run = 0;
  std::optional<std::int64_t> step, at;
  std::optional<TokenId> force;
  std::optional<std::string> method;
};

Result<int> forkCommand(const Context& context, const ForkOptions& options) {
  DECOSCOPE_ASSIGN(Recording recording, recordInFile(options.session, OpenMode::readWrite));
  if (recording.store->readOnly())
    return fail(ErrorCode::badInput, "the session cannot be written: " + recording.store->readOnlyReason(),
                options.session);
  const auto parent = recording.source->run(RunId{options.run});
  if (!parent)
    return fail(ErrorCode::badInput, "there is no run " + std::to_string(options.run), "--run",
                "`inspect` lists the runs.");
  if (options.step.has_value() == options.at.has_value())
    return fail(ErrorCode::usage, "the place of the fork is given by --step or by --at", "--step",
                "Give one of the two.");
  if (options.at && !options.force)
    return fail(ErrorCode::usage, "--at needs the token that is to stand there", "--force");
  DECOSCOPE_ASSIGN(const auto given, options.model.byRole());
  bool interrupted = false;
  {
    Engine engine(recording);
    std::map<std::string, Engine::Choice> wanted;
    for (const ModelIdentity& model : parent->models) {
      LoadOptions load = options.model.loadOptions();
      if (load.dtype == "auto" && model.dtype != "f64") load.dtype = model.dtype;
      if (load.device == "auto") load.device = model.device == "cpu" ? "cpu" : "auto";
      wanted[model.role] = {model.path, load};
    }
    for (const auto& [role, name] : given) wanted[role] = {name, options.model.loadOptions()};
    DECOSCOPE_TRY(engine.loadModels(wanted, context.stop));
    ForkRequest request;
    request.run = RunId{options.run};
    request.step = options.step.value_or(0);
    if (options.at) {
      DECOSCOPE_ASSIGN(const auto text, textOf(*recording.source, request.run));
      DECOSCOPE_ASSIGN(ForkPlace place,
                       forkPlaceOf(text, recording.source->extent(request.run).second, *options.at));
      request.step = place.step;
      request.force = std::move(place.kept);
    }
    if (options.force) request.force.push_back(*options.force);
    request.method = options.method;
    request.assignments = options.set;
    request.seed = options.seed;
    request.maxNewTokens = options.maxNewTokens;
    request.name = options.name;
    ProgressFunction progress;
    if (onTerminal())
      progress = [](double fraction, const std::string& phase) { drawProgress(fraction, phase); };
    DECOSCOPE_TRY(engine.fork(request, context.stop, progress));
    DECOSCOPE_ASSIGN(interrupted, stepToEnd(engine, context, options));
    DECOSCOPE_TRY(report(engine, context, options.session));
  }
  DECOSCOPE_TRY(recording.store->flush());
  return interrupted ? 130 : 0;
}

}  // namespace

void addRunCommands(CLI::App& app) {
  auto options = std::make_shared<RunOptions>();
  auto* run = app.add_subcommand("run", "Generate with a method and record it");
  options->add(run, true);
  run->add_option("--method", options->method, "See `methods list`");
  run->add_option("--prompt", options->prompt, "The prompt");
  run->add_option("--prompt-file", options->promptFile, "A file with the prompt");
  addTokenIds(
      run, "--prompt-ids", [options](std::vector<TokenId> ids) { options->promptIds = std::move(ids); },
      "Token ids with commas, taken as they are");
  run->add_option("--chat", options->chat, "JSON file of messages");
  run->add_option("--session", options->session, "Session file to record into");
  run->add_option("--repeat", options->repeat, "Runs, with seeds S, S+1, …")->check(atLeast(1));
  run->add_option("--record", options->record, "full, light or none");
  run->add_option("--top-k-recorded", options->topK, "Entries recorded of each distribution")
      ->check(CLI::Range(1, 100000));
  onRun(run, [options](const Context& context) { return runCommand(context, *options); });

  auto forkOptions = std::make_shared<ForkOptions>();
  auto* fork = app.add_subcommand("fork", "Continue a run from a step with other choices");
  forkOptions->add(fork, false);
  fork->add_option("SESSION", forkOptions->session, "The session file")->required();
  fork->add_option("--run", forkOptions->run, "The run to fork")->required();
  fork->add_option("--step", forkOptions->step, "The step that is done again");
  fork->add_option("--at", forkOptions->at,
                   "With --force: the text position, prompt included, where the token is to stand; what the "
                   "round had written before it is kept");
  fork->add_option("--force", forkOptions->force, "Token id to commit there");
  fork->add_option("--method", forkOptions->method, "Another method");
  onRun(fork, [forkOptions](const Context& context) { return forkCommand(context, *forkOptions); });
}

}  // namespace decoscope::cli
