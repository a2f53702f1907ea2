// What the commands of decoscope-cli share: results, errors, exit codes, progress.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/base/Status.h"
#include "core/base/Stop.h"
#include "core/model/ModelLoader.h"

namespace decoscope::cli {

using nlohmann::json;

// 0 done, 1 a check failed, 2 wrong usage, 3 bad input, 4 the run failed, 130 interrupted.
int exitCodeOf(const Error& error);

// Set by the front end before a command runs.
struct Context {
  StopToken stop;     // Ctrl-C
  bool json = false;  // the one document on stdout
};

// A command's work; its value is the exit code.
using Action = std::function<Result<int>(const Context&)>;

// Adds `--json` to a command and registers what it does.
void onRun(CLI::App* command, Action action);
// What the parsed command line asked for.
struct Chosen {
  Action action;
  bool json = false;
};
std::optional<Chosen>& chosen();

void printJson(const json& document);  // one line, round-trip precision, ill-formed text replaced
void printError(const Error& error, bool asJson);
bool onTerminal();  // whether stderr is one
void drawProgress(double fraction, const std::string& phase);
void clearProgress();

// `--model`, `--dtype`, `--device`, `--threads`.
struct ModelOptions {
  std::vector<std::string> models;  // "PATH" or "role=PATH"
  std::string dtype = "auto", device = "auto";
  int threads = 0;

  void add(CLI::App* command, bool required);
  LoadOptions loadOptions() const;
  // By role; "target" for a plain PATH. Error usage for a role given twice.
  Result<std::map<std::string, std::string>> byRole() const;
};

Result<std::string> readFile(const std::string& path);

// Validators whose messages say what is expected.
CLI::Validator atLeast(std::int64_t least);  // a whole number
CLI::Validator moreThanNothing();            // a number

// `--device`: auto, cpu, cuda or cuda:N; other names are wrong usage.
void addDevice(CLI::App* command, std::string& device);

// An option of token ids with commas. An empty text is an empty list; what is no number is wrong usage.
CLI::Option* addTokenIds(CLI::App* command, const std::string& name,
                         std::function<void(std::vector<TokenId>)> take, const std::string& help);

void addModelCommands(CLI::App& app);
void addVerifyCommand(CLI::App& models);   // `models verify`
void addMeasureCommand(CLI::App& models);  // `models measure`
// What `models measure` found earlier for the weights with this fingerprint.
json storedDistances(const std::string& fingerprint);
void addTokenizerCommands(CLI::App& app);
void addVocabularyCommand(CLI::App& app);
void addTrainCommand(CLI::App& app);
void addRunCommands(CLI::App& app);
void addSessionCommands(CLI::App& app);
void addRenderCommand(CLI::App& app);
void addBenchCommands(CLI::App& app);
void addSelftestCommand(CLI::App& app);
void addCorpusCommands(CLI::App& app);

}  // namespace decoscope::cli
