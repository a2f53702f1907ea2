// The limits of the render that runs on this thread.
#pragma once

#include <cstdint>

#include "core/tokenizer/jinja/Template.h"

namespace decoscope::jinja {

// While it lives, chargeSteps and checkSize of this thread draw on it.
class Budget {
 public:
  explicit Budget(const RenderLimits& limits);
  ~Budget();
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  void charge(std::uint64_t steps);
  void check(std::uint64_t bytes) const;

 private:
  RenderLimits limits_;
  std::uint64_t steps_ = 0;
  std::int64_t baseline_ = 0;
  Budget* outer_ = nullptr;
  int outerDepth_ = 0;
};

}  // namespace decoscope::jinja
