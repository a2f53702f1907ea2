// Where the files lie that come with the program: models, texts, sample sessions.
#pragma once

#include <string>

namespace decoscope {

// $DECOSCOPE_RESOURCES; else share/decoscope beside the program's own folder, where it is installed; else the
// source tree's.
std::string resourceFolder();

}  // namespace decoscope
