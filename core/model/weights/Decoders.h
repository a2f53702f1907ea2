// The decoders behind ElementTraits, one file per family. The block formats are ggml's (ggml-common.h and
// ggml-quants.c describe them; the Python package gguf is the reference that tests compare with, bit for
// bit). Each product and sum is rounded to f32 on its own: these files are compiled without contraction to
// FMA.
#pragma once

#include <cstddef>
#include <cstdint>

namespace decoscope::decoders {

#define DECOSCOPE_DECODER(name) void name(const std::byte* data, std::int64_t blocks, float* out)

// Numbers.cpp: one number each.
DECOSCOPE_DECODER(f32);
DECOSCOPE_DECODER(f16);
DECOSCOPE_DECODER(bf16);
DECOSCOPE_DECODER(f64);
DECOSCOPE_DECODER(i8);
DECOSCOPE_DECODER(i16);
DECOSCOPE_DECODER(i32);
DECOSCOPE_DECODER(i64);
DECOSCOPE_DECODER(u8);
DECOSCOPE_DECODER(u16);
DECOSCOPE_DECODER(u32);
DECOSCOPE_DECODER(u64);
DECOSCOPE_DECODER(f8E4M3);
DECOSCOPE_DECODER(f8E5M2);
DECOSCOPE_DECODER(f8E4M3Fnuz);
DECOSCOPE_DECODER(f8E5M2Fnuz);
DECOSCOPE_DECODER(f8E8M0);

// Blocks.cpp: 32 weights share one scale.
DECOSCOPE_DECODER(q4_0);
DECOSCOPE_DECODER(q4_1);
DECOSCOPE_DECODER(q5_0);
DECOSCOPE_DECODER(q5_1);
DECOSCOPE_DECODER(q8_0);

// KQuants.cpp: 256 weights in sub-blocks whose scales are quantised themselves.
DECOSCOPE_DECODER(q2K);
DECOSCOPE_DECODER(q3K);
DECOSCOPE_DECODER(q4K);
DECOSCOPE_DECODER(q5K);
DECOSCOPE_DECODER(q6K);
DECOSCOPE_DECODER(q8K);
DECOSCOPE_DECODER(tq1_0);
DECOSCOPE_DECODER(tq2_0);

// LookUpQuants.cpp: nibbles that name one of 16 levels.
DECOSCOPE_DECODER(iq4Nl);
DECOSCOPE_DECODER(iq4Xs);
DECOSCOPE_DECODER(mxfp4);
DECOSCOPE_DECODER(nvfp4);
// The same numbers as mxfp4 where the exponents stand in a tensor of their own and neighbours share a byte, low
// half first: the checkpoints of GPT-OSS.
void mxfp4Apart(const std::byte* nibbles, const std::byte* exponents, std::int64_t blocks, float* out);

// GridQuants.cpp: 256 weights, each four or eight of which are one point of a grid.
DECOSCOPE_DECODER(iq1S);
DECOSCOPE_DECODER(iq1M);
DECOSCOPE_DECODER(iq2Xxs);
DECOSCOPE_DECODER(iq2Xs);
DECOSCOPE_DECODER(iq2S);
DECOSCOPE_DECODER(iq3Xxs);
DECOSCOPE_DECODER(iq3S);

#undef DECOSCOPE_DECODER

}  // namespace decoscope::decoders
