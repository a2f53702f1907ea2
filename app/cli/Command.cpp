#include "app/cli/Command.h"

#include <unistd.h>
#include <charconv>
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
  command->callback([command, action = std::move(action), asJson] {
    // A command's own callback comes after that of its subcommand, which is what was asked for.
    if (command->get_subcommands().empty()) chosen() = Chosen{action, *asJson};
  });
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
  command->add_option("--dtype", dtype, "auto, f32, bf16, f16, q8 or q4")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "f16", "q8", "q4"}));
  addDevice(command, device);
  command->add_option("--threads", threads, "Threads of the CPU backend; 0 takes all cores")
      ->check(atLeast(0));
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

CLI::Validator atLeast(std::int64_t least) {
  return CLI::Validator(
      [least](std::string& text) -> std::string {
        std::int64_t value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error == std::errc() && end == text.data() + text.size() && value >= least) return "";
        return "'" + text + "' is not a whole number of at least " + std::to_string(least);
      },
      ">= " + std::to_string(least));
}

CLI::Validator moreThanNothing() {
  return CLI::Validator(
      [](std::string& text) -> std::string {
        double value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error == std::errc() && end == text.data() + text.size() && value > 0 && value < 1e9) return "";
        return "'" + text + "' is not a number above 0";
      },
      "> 0");
}

void addDevice(CLI::App* command, std::string& device) {
  command->add_option("--device", device, "auto, cpu, cuda or cuda:N")
      ->check(CLI::Validator(
          [](std::string& text) -> std::string {
            const bool numbered = text.starts_with("cuda:") && text.size() > 5 && text.size() < 9 &&
                                  text.find_first_not_of("0123456789", 5) == std::string::npos;
            const bool known = text == "auto" || text == "cpu" || text == "cpu-reference" || text == "cuda";
            return known || numbered ? "" : "unknown device '" + text + "'; use auto, cpu, cuda or cuda:N";
          },
          "DEVICE"));
}

CLI::Option* addTokenIds(CLI::App* command, const std::string& name,
                         std::function<void(std::vector<TokenId>)> take, const std::string& help) {
  const auto read = [name, take = std::move(take)](const std::string& text) {
    std::vector<TokenId> ids;
    const char* at = text.data();
    const char* const end = at + text.size();
    while (at < end) {
      while (at < end && *at == ' ') ++at;
      TokenId id = 0;
      const auto [after, error] = std::from_chars(at, end, id);
      const char* next = after;
      while (next < end && *next == ' ') ++next;
      if (error != std::errc() || (next < end && *next != ',') || next + 1 == end)
        throw CLI::ValidationError(name, "not token ids with commas: " + text);
      ids.push_back(id);
      at = next == end ? end : next + 1;
    }
    take(std::move(ids));
  };
  return command->add_option_function<std::string>(name, read, help);
}

Result<std::string> readFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  if (!file.is_open() || file.bad()) return fail(ErrorCode::badInput, "the file cannot be read", path);
  return content.str();
}

}  // namespace decoscope::cli
