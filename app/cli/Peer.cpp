#include "app/cli/Peer.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <csignal>
#include <nlohmann/json.hpp>
#include <sstream>

extern char** environ;

namespace decoscope::cli {

namespace {

using nlohmann::json;

constexpr std::size_t kLongest = 1 << 20;

// Starts the command with its output on `out`, in a process group of its own. 0 where that fails.
pid_t start(const std::string& command, int out) {
  const char* const arguments[] = {"sh", "-c", command.c_str(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // Our threads block signals; the child must not inherit that.
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  pid_t child = 0;
  const int error =
      ::posix_spawn(&child, "/bin/sh", &actions, &attributes, const_cast<char* const*>(arguments), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error == 0 ? child : 0;
}

// The child's output up to its end, or up to what ends it here.
std::string collect(int in, pid_t child, const StopToken& stop) {
  std::string output;
  while (true) {
    if (stop.stop_requested() || output.size() > kLongest) {
      ::kill(-child, SIGKILL);
      return output;
    }
    pollfd wait{in, POLLIN, 0};
    if (::poll(&wait, 1, 50) <= 0) continue;
    char bytes[4096];
    const ssize_t count = ::read(in, bytes, sizeof bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return output;
    output.append(bytes, static_cast<std::size_t>(count));
  }
}

}  // namespace

Result<PeerSpeed> parsePeerSpeed(const std::string& output, const std::string& command) {
  std::istringstream lines(output);
  std::string last;
  for (std::string line; std::getline(lines, line);)
    if (line.find_first_not_of(" \t\r") != std::string::npos) last = line;
  json document = json::parse(last, nullptr, false);
  // One object over several lines.
  if (document.is_discarded()) document = json::parse(output, nullptr, false);
  const auto figure = [&](const char* key) {
    const auto found = document.is_object() ? document.find(key) : document.end();
    return document.is_object() && found != document.end() && found->is_number() ? found->get<double>() : 0.0;
  };
  const PeerSpeed speed{document.is_number() ? document.get<double>() : figure("decode_tokens_per_second"),
                        figure("prompt_tokens_per_second")};
  if (!std::isfinite(speed.decode) || speed.decode <= 0 || !std::isfinite(speed.prompt) || speed.prompt < 0)
    return fail(ErrorCode::failed, "the peer did not print its speed", "--peer " + command,
                "Expected a number, or {\"decode_tokens_per_second\": …, \"prompt_tokens_per_second\": …}.");
  return speed;
}

Result<PeerSpeed> runPeer(const std::string& command, const StopToken& stop) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return fail(ErrorCode::failed, "the peer could not be started", "--peer " + command);
  const pid_t child = start(command, ends[1]);
  ::close(ends[1]);
  const std::string output = child > 0 ? collect(ends[0], child, stop) : std::string();
  ::close(ends[0]);
  if (child <= 0) return fail(ErrorCode::failed, "the peer could not be started", "--peer " + command);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (stop.stop_requested()) return fail(ErrorCode::cancelled, "stopped");
  if (output.size() > kLongest)
    return fail(ErrorCode::failed, "the peer printed more than 1 MiB", "--peer " + command);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return fail(ErrorCode::failed,
                WIFEXITED(status) ? "the peer ended with status " + std::to_string(WEXITSTATUS(status))
                                  : "the peer was ended by signal " + std::to_string(WTERMSIG(status)),
                "--peer " + command);
  return parsePeerSpeed(output, command);
}

}  // namespace decoscope::cli
