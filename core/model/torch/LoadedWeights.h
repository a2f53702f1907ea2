// Weights as models run on them: loaded once for all models of this process that want the same bytes.
// Internal to the libtorch backend.
#pragma once

#include <memory>
#include <string>

#include "core/model/LoadOnce.h"
#include "core/model/torch/TransformerLoader.h"

namespace decoscope {

// Immutable; forwards of several threads may read it at once. A model adds its cache, its workspace and its
// threads.
struct LoadedWeights {
  Transformer transformer;
  std::shared_ptr<const WeightFile> file;   // packed models read rows of the embedding from it
  const WeightTensor* embedding = nullptr;  // in the file; null for draft heads
};

// What decides the bytes. Threads do not.
struct WeightsKey {
  struct Form {
    Architecture architecture;
    Precision precision = Precision::f32;
    std::vector<at::Device> blocks;
    bool packs = true;
    // Of a draft head: the weights that it borrows from, or the model where that is of another kind; it
    // outlives the head.
    const void* lender = nullptr;
    bool operator==(const Form&) const = default;
  };
  std::string digest;  // of the files
  Form form;
  bool operator==(const WeightsKey&) const = default;
};

LoadOnce<WeightsKey, LoadedWeights>& loadedWeights();

}  // namespace decoscope
