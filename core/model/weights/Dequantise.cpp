#include <string>

#include "core/model/weights/ElementTypes.h"

namespace decoscope {

Status dequantise(const WeightTensor& tensor, std::int64_t begin, std::span<float> out) {
  const auto count = static_cast<std::int64_t>(out.size());
  const std::string where = "tensor " + tensor.name;
  if (begin < 0 || begin > tensor.elements() || count > tensor.elements() - begin)
    return fail(ErrorCode::usage, "the range reaches beyond the tensor", where);
  const ElementTraits& traits = elementTraits(tensor.type);
  if (!traits.decode)
    return fail(
        ErrorCode::unsupported, "weights of type " + tensor.typeName + " cannot be read", where,
        "Supported: F32, F16, BF16, F64, F8, integers, and ggml's Q, IQ and TQ types, MXFP4 and NVFP4.");
  if (count == 0) return {};
  const std::int64_t length = traits.blockLength, bytes = traits.blockBytes;
  if (begin % length != 0 || count % length != 0)
    return fail(ErrorCode::usage,
                tensor.typeName + " is decoded in whole blocks of " + std::to_string(length), where);
  if (static_cast<std::int64_t>(tensor.data.size()) / bytes < (begin + count) / length)
    return fail(ErrorCode::badInput, "the tensor has fewer bytes than its shape needs", where);
  traits.decode(tensor.data.data() + begin / length * bytes, count / length, out.data());
  return {};
}

}  // namespace decoscope
