// The devices that libtorch has on this machine. Internal to what runs on libtorch.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "core/base/Status.h"

namespace decoscope {

// What an option names: "auto" is CUDA where there is one and the CPU elsewhere; "cpu" and "cpu-reference"
// are the CPU; "cuda" is every CUDA device there is, in their order, "cuda:1" that one. Other kinds that
// libtorch was built with go by libtorch's names. Never empty. Errors: usage (no such kind), unsupported
// (this machine has no such device).
Result<std::vector<at::Device>> devicesOf(const std::string& name);

// What libtorch says of a failure, without the addresses of its functions.
std::string reasonOf(const std::exception& exception);

// Bytes that are free on it; −1 where nobody knows.
std::int64_t freeMemory(at::Device device);

}  // namespace decoscope
