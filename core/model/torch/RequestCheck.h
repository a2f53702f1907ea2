// Whether a transformer can run a request as it stands.
#pragma once

#include <string>

#include "core/model/CacheForest.h"
#include "core/model/Model.h"
#include "core/model/torch/Architecture.h"

namespace decoscope {

// Everything but the positions, which are known later. `model` is its name, for errors: usage (malformed),
// badInput (a token outside the vocabulary, more tokens than fit), unsupported (what the net has not).
Status checkRequest(const ForwardRequest& request, const TransformerConfig& config, const CacheForest& cache,
                    const std::string& model);

}  // namespace decoscope
