// Another program whose speed ours is compared with.
#pragma once

#include <string>

#include "core/base/Status.h"
#include "core/base/Stop.h"

namespace decoscope::cli {

struct PeerSpeed {
  double decode = 0;  // tokens per second
  double prompt = 0;  // the same of reading a prompt; 0: the peer did not say
};

// What a peer printed: one number, or an object with "decode_tokens_per_second" and perhaps
// "prompt_tokens_per_second"; of several lines the last one that is not empty. Error failed otherwise.
Result<PeerSpeed> parsePeerSpeed(const std::string& output, const std::string& command);

// Runs a command by the shell, its standard error on ours. Errors: failed (it could not be started, ended
// with another status than 0, printed more than 1 MiB or something else than its speed), cancelled (it and
// what it started were ended).
Result<PeerSpeed> runPeer(const std::string& command, const StopToken& stop);

}  // namespace decoscope::cli
