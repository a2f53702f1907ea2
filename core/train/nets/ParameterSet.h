// The weights of a net under the names that they have in its checkpoint: what the optimiser, the checkpoint
// and the export know of it.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/base/Status.h"
#include "core/model/weights/WeightFile.h"

namespace decoscope::train {

struct Parameter {
  std::string name;
  at::Tensor value;    // f32, a leaf that wants a gradient unless it is frozen; all of a set on one device
  bool decays = true;  // matrices do, norms and biases do not
};

class ParameterSet {
 public:
  virtual ~ParameterSet() = default;
  ParameterSet(ParameterSet&&) = default;
  ParameterSet& operator=(ParameterSet&&) = default;

  // Sorted by name, so that checkpoints and sums over them have one order.
  std::vector<Parameter>& parameters() { return parameters_; }
  const std::vector<Parameter>& parameters() const { return parameters_; }
  const Parameter* find(const std::string& name) const;
  std::int64_t parameterCount() const;
  // Takes over every tensor of these names and shapes, and biases that only the file has; error badInput for
  // one that is missing or does not fit.
  Status load(const WeightFile& weights);
  // Where the weights are: on the CPU, before they are moved.
  at::Device device() const;
  // Puts other tensors in the place of those that are elsewhere: to be called before anybody holds them.
  void moveTo(at::Device device);
  // No gradients from now on.
  void freeze();
  // Whole numbers that the checkpoint holds beside the weights, by name.
  virtual std::map<std::string, std::vector<std::int64_t>> constants() const { return {}; }

 protected:
  ParameterSet() = default;
  // A weight that wants a gradient.
  void add(std::string name, at::Tensor value, bool decays);

 private:
  std::vector<Parameter> parameters_;
  std::map<std::string, std::size_t> byName_;
};

}  // namespace decoscope::train
