#include <algorithm>
#include <csignal>
#include <cstring>
#include <iostream>
#include <thread>

#include "app/cli/Command.h"

using namespace decoscope;
using namespace decoscope::cli;

namespace {

bool hasCommand(const CLI::App& app, const std::string& name) {
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  return std::any_of(commands.begin(), commands.end(),
                     [&](const CLI::App* command) { return command->get_name() == name; });
}

bool asksForJson(int count, char** arguments) {
  for (int i = 1; i < count; ++i)
    if (std::strcmp(arguments[i], "--json") == 0) return true;
  return false;
}

// SIGINT and SIGTERM are taken by a thread of their own, so that a stop can be requested with ordinary code.
class InterruptWatcher {
 public:
  InterruptWatcher() {
    sigemptyset(&signals_);
    for (const int signal : {SIGINT, SIGTERM, SIGUSR2}) sigaddset(&signals_, signal);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    thread_ = std::thread([this] {
      while (true) {
        int signal = 0;
        if (sigwait(&signals_, &signal) != 0 || signal == SIGUSR2) return;
        // A second Ctrl-C does not wait for the forward under way.
        if (source_.stop_requested()) std::_Exit(130);
        source_.request_stop();
      }
    });
  }
  ~InterruptWatcher() {
    pthread_kill(thread_.native_handle(), SIGUSR2);
    thread_.join();
  }
  StopToken token() const { return source_.get_token(); }

 private:
  sigset_t signals_{};
  StopSource source_;
  std::thread thread_;
};

}  // namespace

int main(int count, char** arguments) {
  const InterruptWatcher watcher;
  CLI::App app(
      "Decoscope: step through the decoding of language models, record it, and look at why each token is "
      "there.",
      "decoscope-cli");
  app.require_subcommand(1);
  app.set_version_flag("--version", "decoscope-cli " DECOSCOPE_VERSION);
  addModelCommands(app);
  addTokenizerCommands(app);
  addVocabularyCommand(app);
#ifdef DECOSCOPE_WITH_TORCH
  addTrainCommand(app);
#endif
  addRunCommands(app);
  addSessionCommands(app);
  addRenderCommand(app);
  addBenchCommands(app);
  addCorpusCommands(app);
  try {
    app.parse(count, arguments);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    std::string message = error.what();
    // The parser takes an unknown command for a missing one.
    if (count > 1 && arguments[1][0] != '-' && !hasCommand(app, arguments[1]))
      message = std::string("unknown command '") + arguments[1] + "'";
    printError({ErrorCode::usage, message, "command line",
                "`decoscope-cli --help` lists the commands, `decoscope-cli COMMAND --help` the options."},
               asksForJson(count, arguments));
    return 2;
  }
  if (!chosen()) return 2;
  const Context context{watcher.token(), chosen()->json};
  const Result<int> result = chosen()->action(context);
  if (onTerminal()) clearProgress();
  if (result) return *result;
  printError(result.error(), context.json);
  return exitCodeOf(result.error());
}
