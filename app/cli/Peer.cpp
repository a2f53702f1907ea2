#include "app/cli/Peer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <csignal>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/base/Process.h"

namespace decoscope::cli {

namespace {

using nlohmann::json;

constexpr std::size_t kLongest = 1 << 20;

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
  const pid_t child = startProcess({"/bin/sh", "-c", command}, ends[1], ProcessGroup::own);
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
