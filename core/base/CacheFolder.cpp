#include "core/base/CacheFolder.h"

#include <cstdlib>

namespace decoscope {

std::string userCacheFolder() {
  // A relative XDG_CACHE_HOME is to be ignored, says the XDG base directory specification.
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache == '/') return cache;
  const char* home = std::getenv("HOME");
  return std::string(home && *home ? home : "/tmp") + "/.cache";
}

std::string cacheFolder() {
  return userCacheFolder() + "/decoscope";
}

}  // namespace decoscope
