#include "app/cli/Command.h"

#include <unistd.h>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <set>
#include <sstream>

namespace decoscope::cli {

int exitCodeOf(const Error& error) {
  switch (error.code) {
    case ErrorCode::usage:
      return 2;
    case ErrorCode::badInput:
    case ErrorCode::notFound:
    case ErrorCode::unsupported:
      return 3;
    case ErrorCode::failed:
      return 4;
    case ErrorCode::cancelled:
      return 130;
    case ErrorCode::checkFailed:
      return 1;
  }
  return 4;
}

std::optional<Chosen>& chosen() {
  static std::optional<Chosen> instance;
  return instance;
}

void onRun(CLI::App* command, Action action) {
  auto asJson = std::make_shared<bool>(false);
  command->add_flag("--json", *asJson, "Print one JSON document");
  command->callback([action = std::move(action), asJson] { chosen() = Chosen{action, *asJson}; });
}

void printJson(const json& document) {
  std::cout << document.dump(-1, ' ', false, json::error_handler_t::replace) << '\n' << std::flush;
}

void printError(const Error& error, bool asJson) {
  std::cerr << "decoscope-cli: " << error.text() << '\n';
  if (asJson)
    printJson({{"error",
                {{"code", errorCodeName(error.code)},
                 {"message", error.message},
                 {"where", error.where},
                 {"hint", error.hint}}}});
}

bool onTerminal() {
  return ::isatty(STDERR_FILENO) == 1;
}

void drawProgress(double fraction, const std::string& phase) {
  constexpr int kWidth = 30;
  const int filled = static_cast<int>(fraction * kWidth + 0.5);
  std::string bar(static_cast<std::size_t>(filled), '#');
  bar.resize(kWidth, '.');
  std::fprintf(stderr, "\r[%s] %3.0f %% %s\033[K", bar.c_str(), fraction * 100, phase.c_str());
}

void clearProgress() {
  std::fprintf(stderr, "\r\033[K");
}

void ModelOptions::add(CLI::App* command, bool required) {
  auto* option = command->add_option("--model", models,
                                     "Model: path, name, table:FILE.json, or ROLE=… for another role");
  // One value for each --model, so that positional arguments are left alone.
  option->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  if (required) option->required();
  command->add_option("--dtype", dtype, "auto, f32, bf16, f16, q8 or q4");
  command->add_option("--device", device, "auto, cpu, cuda or cuda:N");
  command->add_option("--threads", threads, "Threads of the CPU backend; 0 takes all cores")
      ->check(CLI::NonNegativeNumber);
}

LoadOptions ModelOptions::loadOptions() const {
  LoadOptions options;
  options.dtype = dtype;
  options.device = device;
  options.threads = threads;
  if (onTerminal())
    options.progress = [](double fraction, const std::string& phase) { drawProgress(fraction, phase); };
  return options;
}

Result<std::map<std::string, std::string>> ModelOptions::byRole() const {
  static const std::set<std::string> kRoles = {"target",  "drafter", "diffusion", "head",
                                               "amateur", "reward",  "leading",   "sentence"};
  std::map<std::string, std::string> roles;
  for (const std::string& model : models) {
    std::string role = "target", name = model;
    if (const auto equals = model.find('=');
        equals != std::string::npos && kRoles.contains(model.substr(0, equals))) {
      role = model.substr(0, equals);
      name = model.substr(equals + 1);
    }
    if (!roles.emplace(role, name).second)
      return fail(ErrorCode::usage, "the role '" + role + "' has two models", "--model " + model);
  }
  return roles;
}

Result<std::string> readFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  if (!file.is_open() || file.bad()) return fail(ErrorCode::badInput, "the file cannot be read", path);
  return content.str();
}

}  // namespace decoscope::cli
