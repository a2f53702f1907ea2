// Cooperative stopping, polled between forwards and between layers. The standard types do all we need:
// copies share one flag, and requesting a stop is safe from any thread and from a signal watcher.
#pragma once

#include <stop_token>

namespace decoscope {

using StopToken = std::stop_token;
using StopSource = std::stop_source;

}  // namespace decoscope
