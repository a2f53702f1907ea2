// Block formats after ggml: 32 weights share one half-precision scale (and, for Q4_1, one minimum).
#include <cmath>
#include <cstring>

#include "core/model/weights/WeightFile.h"

namespace decoscope {

namespace {

template <typename T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

float fromBits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

float halfToFloat(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1F, mantissa = half & 0x3FF;
  if (exponent == 0x1F) return fromBits(sign | 0x7F800000 | mantissa << 13);
  if (exponent != 0) return fromBits(sign | (exponent + 112) << 23 | mantissa << 13);
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return sign ? -magnitude : magnitude;
}

constexpr std::int64_t kBlock = 32;

void decodeBlock(ElementType type, const std::byte* block, float* out) {
  const float scale = halfToFloat(load<std::uint16_t>(block));
  if (type == ElementType::q8_0) {
    for (int i = 0; i < kBlock; ++i)
      out[i] = static_cast<float>(static_cast<std::int8_t>(block[2 + i])) * scale;
    return;
  }
  const bool shifted = type == ElementType::q4_1;
  const float minimum = shifted ? halfToFloat(load<std::uint16_t>(block + 2)) : 0;
  const std::byte* quants = block + (shifted ? 4 : 2);
  for (int i = 0; i < kBlock / 2; ++i) {
    const int low = static_cast<int>(quants[i]) & 0xF, high = static_cast<int>(quants[i]) >> 4;
    if (shifted) {
      out[i] = static_cast<float>(low) * scale + minimum;
      out[i + kBlock / 2] = static_cast<float>(high) * scale + minimum;
    } else {
      out[i] = static_cast<float>(low - 8) * scale;
      out[i + kBlock / 2] = static_cast<float>(high - 8) * scale;
    }
  }
}

}  // namespace

Status dequantise(const WeightTensor& tensor, std::int64_t begin, std::span<float> out) {
  const auto count = static_cast<std::int64_t>(out.size());
  if (begin < 0 || begin > tensor.elements() || count > tensor.elements() - begin)
    return fail(ErrorCode::usage, "the range reaches beyond the tensor", "tensor " + tensor.name);
  const std::byte* data = tensor.data.data();
  switch (tensor.type) {
    case ElementType::f32:
      std::memcpy(out.data(), data + begin * 4, out.size_bytes());
      return {};
    case ElementType::f16:
      for (std::int64_t i = 0; i < count; ++i)
        out[static_cast<std::size_t>(i)] = halfToFloat(load<std::uint16_t>(data + (begin + i) * 2));
      return {};
    case ElementType::bf16:
      for (std::int64_t i = 0; i < count; ++i)
        out[static_cast<std::size_t>(i)] =
            fromBits(static_cast<std::uint32_t>(load<std::uint16_t>(data + (begin + i) * 2)) << 16);
      return {};
    case ElementType::q8_0:
    case ElementType::q4_0:
    case ElementType::q4_1: {
      if (begin % kBlock != 0 || count % kBlock != 0)
        return fail(ErrorCode::usage, "block types are decoded in whole blocks of 32",
                    "tensor " + tensor.name);
      const std::int64_t bytes = tensor.type == ElementType::q8_0   ? 34
                                 : tensor.type == ElementType::q4_0 ? 18
                                                                    : 20;
      for (std::int64_t i = 0; i < count; i += kBlock)
        decodeBlock(tensor.type, data + (begin + i) / kBlock * bytes, out.data() + i);
      return {};
    }
    default:
      return fail(ErrorCode::unsupported, "weights of type " + tensor.typeName + " cannot be read yet",
                  "tensor " + tensor.name, "Supported: F32, F16, BF16, Q8_0, Q4_0, Q4_1.");
  }
}

}  // namespace decoscope
