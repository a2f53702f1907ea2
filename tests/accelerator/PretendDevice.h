// A device that libtorch takes for an accelerator, for tests where there is none: two of them, in this
// process.
//
// Its memory lies behind addresses that nobody may read, so that host code which does dies at once.
// Operations run on the CPU, on their own device's memory alone: a tensor of another device is refused as
// CUDA refuses it. A graph records operations without running those that write into what is there, refuses
// what would make a stream wait, and plays them again. Linking the object library is all it takes.
#pragma once

#include <cstdint>

namespace decoscope::pretend {

inline constexpr const char* kFirst = "pretend:0";
inline constexpr const char* kSecond = "pretend:1";
inline constexpr const char* kAll = "pretend";

struct Counts {
  std::int64_t operations = 0;  // not those that a graph played
  std::int64_t captures = 0, replays = 0;
  std::int64_t copiesToHost = 0, bytesToHost = 0;
};
// Since the process began; one thread.
Counts counts();

// What a device says is free; all of its memory is unlimited otherwise.
void setFreeMemory(std::int64_t bytes);

}  // namespace decoscope::pretend
