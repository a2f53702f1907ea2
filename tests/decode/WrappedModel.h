// A model that passes everything on to another one; tests override what they watch or break.
#pragma once

#include <memory>

#include "core/model/Model.h"

namespace decoscope::test {

class WrappedModel : public Model {
 public:
  explicit WrappedModel(std::unique_ptr<Model> inner) : inner_(std::move(inner)) {}
  const ModelInfo& info() const override { return inner_->info(); }
  Capabilities capabilities() const override { return inner_->capabilities(); }
  int cached() const override { return inner_->cached(); }
  std::int64_t memoryBytes() const override { return inner_->memoryBytes(); }
  Status retain(int prefix, std::span<const std::int32_t> slots) override {
    return inner_->retain(prefix, slots);
  }
  Result<ForwardOutput> forward(const ForwardRequest& request, const StopToken& stop) override {
    return inner_->forward(request, stop);
  }

 protected:
  std::unique_ptr<Model> inner_;
};

}  // namespace decoscope::test
