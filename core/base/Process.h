// Starting other programs, and what is known of our own.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace decoscope {

enum class ProcessGroup { ours, own };

// Starts a program without a shell: words[0] is looked up on the PATH, its input is empty, its output goes to
// the descriptor `output`, its errors to ours. Signals that our threads block are not blocked there. The
// process id, which the caller waits for; 0 where the program cannot be started.
pid_t startProcess(const std::vector<std::string>& words, int output, ProcessGroup group);

// The most memory that this process has had resident.
std::int64_t peakMemoryBytes();

}  // namespace decoscope
