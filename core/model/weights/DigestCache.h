// Digests of large files, kept between runs in <cache folder>/digests so that a load need not read everything
// twice. A line is: key, digest, check, each in hexadecimal. The key is a hash of path, size, inode, device
// and both times of every file, so nothing about the user's folders stands there. A line that is damaged in
// any way is passed over; writers replace the file as a whole, so that readers never see half of it and the
// last of two writers wins.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace decoscope {

// Nothing when a file cannot be looked at, or was changed so recently that another change might not be seen.
std::optional<std::string> digestKey(const std::vector<std::string>& files);
std::optional<std::string> findDigest(const std::string& key);
// Failures are passed over: it is a cache. Keeps the 256 newest.
void keepDigest(const std::string& key, const std::string& digest);

std::string hexText(const unsigned char* bytes, std::size_t size);

}  // namespace decoscope
