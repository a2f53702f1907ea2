// Where files that can be made again are kept for this user.
#pragma once

#include <string>

namespace decoscope {

// $XDG_CACHE_HOME, else ~/.cache, else /tmp/.cache. Not made.
std::string userCacheFolder();
// Ours in it: …/decoscope. Not made.
std::string cacheFolder();

}  // namespace decoscope
