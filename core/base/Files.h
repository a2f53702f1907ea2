// Small files, read whole.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/Status.h"

namespace decoscope {

// Errors: notFound with `unreadable` and the system's reason; badInput with `unreadable` for a file that is
// there and cannot be opened, with `tooLarge` for one of more than `limit` bytes.
Result<std::string> readWholeFile(const std::string& path, std::uintmax_t limit,
                                  const std::string& unreadable, const std::string& tooLarge);
// The first `limit` bytes; what cannot be read is empty.
std::string readBeginning(const std::string& path, std::size_t limit);

}  // namespace decoscope
