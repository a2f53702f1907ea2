// What a training is resumed from, and the model as others open it.
#pragma once

#include <string>

#include "core/base/Status.h"
#include "core/train/nets/Optimiser.h"

namespace decoscope::train {

struct Progress {
  std::int64_t step = 0;  // steps done
};

// Weights, moments and progress in f32, wherever they are: a training may go on on another device.
// `fingerprint` identifies recipe and corpus.
Status writeCheckpoint(const std::string& path, const ParameterSet& net, Optimiser& optimiser,
                       const Progress& progress, const std::string& fingerprint);
// Error badInput for a file of another recipe, or one that does not fit.
Result<Progress> readCheckpoint(const std::string& path, ParameterSet& net, Optimiser& optimiser,
                                const std::string& fingerprint);

// A Hugging Face folder: config.json, model.safetensors in bf16, the tokenizer's files; a head on another
// model has none of its own: `tokenizer` is empty.
Status exportModel(const std::string& folder, const ParameterSet& net, const Recipe& recipe,
                   const std::string& tokenizer);

}  // namespace decoscope::train
