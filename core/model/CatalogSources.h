// Where models lie on disk: looks at directories and manifests, never into a weight file.
#pragma once

#include <string>
#include <vector>

namespace decoscope {

struct FoundModel {
  std::string base;          // the name without its quantisation
  std::string quantisation;  // as the file's name says it, upper case; may be empty
  std::string path;          // a folder or a GGUF; the first shard of a split one
  std::string source;
  std::string problem;  // what is wrong with it already; may be empty
};

// In the order of the sources (Catalog.h), files with one inode once. Bounded in depth and number of entries.
std::vector<FoundModel> findModels();

// "SmolLM2-135M-Instruct.Q4_1" → the name and "Q4_1"; no quantisation leaves the name as it is.
struct SplitName {
  std::string base, quantisation;
};
SplitName splitQuantisation(const std::string& stem);

}  // namespace decoscope
