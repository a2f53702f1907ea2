#include "core/model/torch/LoadPlan.h"

#include <string>

#include "core/model/torch/Devices.h"

namespace decoscope {

namespace {

Result<Precision> precisionOf(const std::string& name, std::int64_t parameters, bool kernels) {
  // Small models cost little in full precision and then agree with the reference to the last token.
  if (name == "auto") return parameters < 500'000'000 ? Precision::f32 : Precision::bf16;
  for (const Precision precision :
       {Precision::f32, Precision::bf16, Precision::f16, Precision::q8, Precision::q4}) {
    if (name != kernels::weightFormatName(precision)) continue;
    if (!kernels && (precision == Precision::q8 || precision == Precision::q4))
      return fail(ErrorCode::unsupported, "quantised weights run on the CPU only", "--dtype " + name,
                  "Use f32, bf16 or f16 on this device.");
    return precision;
  }
  return fail(ErrorCode::usage, "unknown precision '" + name + "'", "--dtype",
              "Use auto, f32, bf16, f16, q8 or q4.");
}

}  // namespace

Result<LoadPlan> planOf(const LoadOptions& options, std::int64_t parameters) {
  LoadPlan plan;
  DECOSCOPE_ASSIGN(const auto devices, devicesOf(options.device));
  plan.device = devices.front();
  plan.packs = plan.device.is_cpu() && options.device != "cpu-reference";
  DECOSCOPE_ASSIGN(plan.precision, precisionOf(options.dtype, parameters, plan.packs));
  return plan;
}

}  // namespace decoscope
