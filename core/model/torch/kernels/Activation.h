// The non-linearities of MLPs.
#pragma once

namespace decoscope {

enum class Activation {
  silu,         // x · sigmoid(x)
  gelu,         // x · Φ(x), by the error function
  geluTanh,     // its tanh approximation ("gelu_new", "gelu_pytorch_tanh")
  relu,         // max(x, 0)
  clampedSwish  // GPT-OSS: g' = min(g, 7), u' = clamp(u, −7, 7); g' · sigmoid(1.702 g') · (u' + 1); gated
                // only
};

}  // namespace decoscope
