// The ways to run a forward on this machine.
#pragma once

#include <vector>

#include "core/model/torch/Devices.h"
#include "tests/accelerator/PretendDevice.h"

namespace decoscope {

// The kernels, plain libtorch beside them, the pretended accelerator, and CUDA where there is one.
inline std::vector<const char*> everyDevice() {
  std::vector<const char*> names = {"cpu", "cpu-reference", pretend::kFirst};
  if (devicesOf("cuda:0")) names.push_back("cuda:0");
  return names;
}

}  // namespace decoscope
