#include "core/model/torch/LoadPlan.h"

#include <string>

#include "core/model/torch/Devices.h"

namespace decoscope {

namespace {

Result<Precision> precisionOf(const std::string& name, std::int64_t parameters) {
  // Small models cost little in full precision and then agree with the reference to the last token.
  if (name == "auto") return parameters < 500'000'000 ? Precision::f32 : Precision::bf16;
  for (const Precision precision :
       {Precision::f32, Precision::bf16, Precision::f16, Precision::q8, Precision::q4})
    if (name == kernels::weightFormatName(precision)) return precision;
  return fail(ErrorCode::usage, "unknown precision '" + name + "'", "--dtype",
              "Use auto, f32, bf16, f16, q8 or q4.");
}

}  // namespace

std::string LoadPlan::deviceNames() const {
  std::string names;
  for (std::size_t i = 0; i < blocks.size(); ++i)
    if (i == 0 || blocks[i] != blocks[i - 1]) names += (i > 0 ? ", " : "") + blocks[i].str();
  return names;
}

Result<LoadPlan> planOf(const LoadOptions& options, std::int64_t parameters) {
  LoadPlan plan;
  DECOSCOPE_ASSIGN(plan.devices, devicesOf(options.device));
  plan.blocks = {plan.devices.front()};
  plan.packs = plan.devices.front().is_cpu() && options.device != "cpu-reference";
  DECOSCOPE_ASSIGN(plan.precision, precisionOf(options.dtype, parameters));
  return plan;
}

}  // namespace decoscope
