// The two container formats behind openWeights().
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/model/weights/MappedFile.h"
#include "core/model/weights/WeightFile.h"

namespace decoscope {

Result<std::shared_ptr<const WeightFile>> openGguf(std::shared_ptr<const MappedFile> file);
// One file or the shards of one model; tensor names must be unique over all of them.
Result<std::shared_ptr<const WeightFile>> openSafetensors(
    std::vector<std::shared_ptr<const MappedFile>> files, const std::string& path);
Result<std::shared_ptr<const WeightFile>> openSafetensorsFolder(const std::string& folder);

}  // namespace decoscope
