// CPU kernels of the libtorch backend, where its own leave time on the table (one token at a time, small
// trees).
//
// Promise: each row's result is bit-identical whatever the number of rows in the call and whichever other
// rows are in it. Every output is accumulated over k in one fixed order, and attention over the visible slots
// in their order, so a token gives the same logits in a prompt, a single step, a chain and a tree.
// Speculative methods rely on it for strict identity with plain decoding.
//
// Run-time dispatch through Google Highway; scalar twins are in tests/torch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/base/Ids.h"

namespace decoscope::kernels {

// Outputs are packed in groups of this many, k-major within a group: packed[group][k][16].
inline constexpr std::size_t kGroup = 16;

// A weight matrix [outputs, inputs] in the layout of the kernels; the last group is padded with zeros.
struct PackedMatrix {
  std::size_t outputs = 0, inputs = 0;
  bool halfPrecision = false;  // bf16 in pairs of k: packed[group][k / 2][16][2]; inputs padded to even
  std::vector<float> full;
  std::vector<std::uint16_t> half;

  std::size_t groups() const { return (outputs + kGroup - 1) / kGroup; }
  std::size_t bytes() const { return full.size() * 4 + half.size() * 2; }
  void resize(std::size_t outputs, std::size_t inputs, bool halfPrecision);
  // Stores row `output` ([inputs] values). Rows of different groups may be stored by different threads.
  void setRow(std::size_t output, const float* values);
};

std::uint16_t toBfloat16(float value);  // round to nearest even
float fromBfloat16(std::uint16_t value);

// out[row][o] = Σ_k x[row][k] · w[o][k] for the outputs of groups [firstGroup, endGroup). x is [rows, inputs]
// floats; for bf16 weights `xHalf` holds it rounded, [rows, even inputs].
void multiply(const PackedMatrix& weights, const float* x, const std::uint16_t* xHalf, std::size_t rows,
              float* out, std::size_t outStride, std::size_t firstGroup, std::size_t endGroup);
// Rounds rows of floats for multiply(); pads to an even length.
void roundToBfloat16(const float* x, std::size_t rows, std::size_t inputs, std::uint16_t* out);

// out = x / sqrt(mean(x²) + epsilon) · weight, over [width].
void rmsNorm(const float* x, const float* weight, float epsilon, std::size_t width, float* out);
// out[i] = silu(gate[i]) · up[i].
void siluProduct(const float* gate, const float* up, std::size_t width, float* out);
// Turns the pairs (values[i], values[half + i]) of one head by the angles of its position.
void rotate(float* values, const float* cosine, const float* sine, std::size_t half);
// out[i] += values[i].
void add(const float* values, std::size_t size, float* out);

// One query head over the given slots: out[d] = Σ_s softmax_s(q · K[s] · scale) V[s]. Keys and values of a
// slot stand `stride` floats apart; `slots` null means 0 … count−1. `weights` (may be null) receives the
// probabilities; `scratch` holds count floats.
void attend(const float* query, const float* keys, const float* values, std::size_t stride,
            std::size_t headSize, const std::int32_t* slots, std::size_t count, float scale, float* out,
            float* scratch, float* weights);

struct Summary {
  float largest = 0;
  double sum = 0;       // Σ exp(x − largest)
  double weighted = 0;  // Σ exp(x − largest) (x − largest)
};
// NaN anywhere makes `sum` NaN.
Summary summarise(const float* row, std::size_t size);
// The k largest, descending, ties by smaller id.
void largest(const float* row, std::size_t size, std::size_t k, std::vector<TokenId>& tokens);

}  // namespace decoscope::kernels
