#include "core/model/weights/ElementTypes.h"

#include <algorithm>

#include "core/model/weights/Decoders.h"

namespace decoscope {

namespace {

// In the order of ElementType.
constexpr ElementTraits kTypes[] = {
    {ElementType::f32, "F32", 1, 4, 0, true, decoders::f32},
    {ElementType::f16, "F16", 1, 2, 1, true, decoders::f16},
    {ElementType::bf16, "BF16", 1, 2, 30, true, decoders::bf16},
    {ElementType::f64, "F64", 1, 8, 28, true, decoders::f64},
    {ElementType::i8, "I8", 1, 1, 24, true, decoders::i8},
    {ElementType::i16, "I16", 1, 2, 25, true, decoders::i16},
    {ElementType::i32, "I32", 1, 4, 26, true, decoders::i32},
    {ElementType::i64, "I64", 1, 8, 27, true, decoders::i64},
    {ElementType::u8, "U8", 1, 1, -1, true, decoders::u8},
    {ElementType::u16, "U16", 1, 2, -1, true, decoders::u16},
    {ElementType::u32, "U32", 1, 4, -1, true, decoders::u32},
    {ElementType::u64, "U64", 1, 8, -1, true, decoders::u64},
    {ElementType::boolean, "BOOL", 1, 1, -1, true, decoders::u8},
    {ElementType::f8E4M3, "F8_E4M3", 1, 1, -1, true, decoders::f8E4M3},
    {ElementType::f8E5M2, "F8_E5M2", 1, 1, -1, true, decoders::f8E5M2},
    {ElementType::f8E4M3Fnuz, "F8_E4M3FNUZ", 1, 1, -1, true, decoders::f8E4M3Fnuz},
    {ElementType::f8E5M2Fnuz, "F8_E5M2FNUZ", 1, 1, -1, true, decoders::f8E5M2Fnuz},
    {ElementType::f8E8M0, "F8_E8M0", 1, 1, -1, true, decoders::f8E8M0},
    {ElementType::f6E2M3, "F6_E2M3", 4, 3, -1, true, nullptr},
    {ElementType::f6E3M2, "F6_E3M2", 4, 3, -1, true, nullptr},
    {ElementType::f4, "F4", 2, 1, -1, true, nullptr},
    {ElementType::c64, "C64", 1, 8, -1, true, nullptr},
    {ElementType::q4_0, "Q4_0", 32, 18, 2, false, decoders::q4_0},
    {ElementType::q4_1, "Q4_1", 32, 20, 3, false, decoders::q4_1},
    {ElementType::q5_0, "Q5_0", 32, 22, 6, false, decoders::q5_0},
    {ElementType::q5_1, "Q5_1", 32, 24, 7, false, decoders::q5_1},
    {ElementType::q8_0, "Q8_0", 32, 34, 8, false, decoders::q8_0},
    {ElementType::q8_1, "Q8_1", 32, 36, 9, false, nullptr},
    {ElementType::q1_0, "Q1_0", 128, 18, 41, false, nullptr},
    {ElementType::q2K, "Q2_K", 256, 84, 10, false, decoders::q2K},
    {ElementType::q3K, "Q3_K", 256, 110, 11, false, decoders::q3K},
    {ElementType::q4K, "Q4_K", 256, 144, 12, false, decoders::q4K},
    {ElementType::q5K, "Q5_K", 256, 176, 13, false, decoders::q5K},
    {ElementType::q6K, "Q6_K", 256, 210, 14, false, decoders::q6K},
    {ElementType::q8K, "Q8_K", 256, 292, 15, false, decoders::q8K},
    {ElementType::iq1S, "IQ1_S", 256, 50, 19, false, decoders::iq1S},
    {ElementType::iq1M, "IQ1_M", 256, 56, 29, false, decoders::iq1M},
    {ElementType::iq2Xxs, "IQ2_XXS", 256, 66, 16, false, decoders::iq2Xxs},
    {ElementType::iq2Xs, "IQ2_XS", 256, 74, 17, false, decoders::iq2Xs},
    {ElementType::iq2S, "IQ2_S", 256, 82, 22, false, decoders::iq2S},
    {ElementType::iq3Xxs, "IQ3_XXS", 256, 98, 18, false, decoders::iq3Xxs},
    {ElementType::iq3S, "IQ3_S", 256, 110, 21, false, decoders::iq3S},
    {ElementType::iq4Nl, "IQ4_NL", 32, 18, 20, false, decoders::iq4Nl},
    {ElementType::iq4Xs, "IQ4_XS", 256, 136, 23, false, decoders::iq4Xs},
    {ElementType::tq1_0, "TQ1_0", 256, 54, 34, false, decoders::tq1_0},
    {ElementType::tq2_0, "TQ2_0", 256, 66, 35, false, decoders::tq2_0},
    {ElementType::mxfp4, "MXFP4", 32, 17, 39, false, decoders::mxfp4},
    {ElementType::nvfp4, "NVFP4", 64, 36, 40, false, decoders::nvfp4},
};
constexpr ElementTraits kOther = {ElementType::other, "?", 1, 1, -1, false, nullptr};

constexpr bool inOrder() {
  for (std::size_t i = 0; i < std::size(kTypes); ++i)
    if (static_cast<std::size_t>(kTypes[i].type) != i) return false;
  return std::size(kTypes) == static_cast<std::size_t>(ElementType::other);
}
static_assert(inOrder());

template <typename Wanted>
const ElementTraits* find(Wanted wanted) {
  const auto* found = std::find_if(std::begin(kTypes), std::end(kTypes), wanted);
  return found == std::end(kTypes) ? nullptr : found;
}

}  // namespace

const ElementTraits& elementTraits(ElementType type) {
  return type == ElementType::other ? kOther : kTypes[static_cast<std::size_t>(type)];
}

const ElementTraits* ggmlTraits(std::uint32_t number) {
  return find([&](const ElementTraits& traits) {
    return traits.ggml >= 0 && static_cast<std::uint32_t>(traits.ggml) == number;
  });
}

const ElementTraits* safetensorsTraits(std::string_view name) {
  return find([&](const ElementTraits& traits) { return traits.safetensors && name == traits.name; });
}

const char* elementTypeName(ElementType type) {
  return elementTraits(type).name;
}

std::int64_t blockLength(ElementType type) {
  return elementTraits(type).blockLength;
}

}  // namespace decoscope
