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
#include "core/model/torch/kernels/Activation.h"
#include "core/model/torch/kernels/PackedMatrix.h"

namespace decoscope::kernels {

// What multiply() needs of the inputs beside themselves.
struct Prepared {
  const std::uint16_t* rounded = nullptr;  // bf16 weights: inputs rounded, [rows, even inputs]
  const float* sums = nullptr;             // q4 weights: sums of blocks of inputs, [rows, blocks]
};

// out[row][o] = Σ_k x[row][k] · w[o][k] for the outputs of groups [firstGroup, endGroup). x is [rows, inputs]
// floats.
void multiply(const PackedMatrix& weights, const float* x, const Prepared& prepared, std::size_t rows,
              float* out, std::size_t outStride, std::size_t firstGroup, std::size_t endGroup);
// Sums of each block of 32 inputs, [rows, blocks].
void blockSums(const float* x, std::size_t rows, std::size_t inputs, float* out);
// Rounds rows of floats for multiply(); pads to an even length.
void roundToBfloat16(const float* x, std::size_t rows, std::size_t inputs, std::uint16_t* out);

// out = x / sqrt(mean(x²) + epsilon) · weight, over [width].
void rmsNorm(const float* x, const float* weight, float epsilon, std::size_t width, float* out);
// out = (x − mean) / sqrt(variance + epsilon) · weight + bias; weight and bias may be null.
void layerNorm(const float* x, const float* weight, const float* bias, float epsilon, std::size_t width,
               float* out);
// out[i] = f(gate[i]) · up[i], or f(gate[i]) where `up` is null.
void activate(Activation kind, const float* gate, const float* up, std::size_t width, float* out);
// Turns the pairs (values[i], values[half + i]) of one head by the angles of its position.
void rotate(float* values, const float* cosine, const float* sine, std::size_t half);
// out[i] += factor · values[i].
void add(const float* values, std::size_t size, float* out, float factor = 1);

// One query head of one row.
struct AttentionQuery {
  const float* query = nullptr;  // [head size]
  std::size_t count = 0;         // slots that it sees
  const float* sink = nullptr;   // a further logit that takes probability and gives nothing
  float* weights = nullptr;      // receives the probabilities, [count]
  float* out = nullptr;          // [head size]
};
// Keys and values of one head; slots stand `stride` floats apart.
struct AttentionCache {
  const float *keys = nullptr, *values = nullptr;
  std::size_t stride = 0, headSize = 0;
  // The keys in the order in which they are seen, as turnKeys() leaves them, group after group; null: not
  // there.
  const float* turned = nullptr;
};
inline constexpr std::size_t kQueryTile = 4;

// out[d] = Σ_s softmax_s(scale · q · K[s]) V[s] for up to kQueryTile queries of the same key/value head,
// which share what is read. Scores become cap · tanh(score / cap) where cap > 0. `slots` lists what all of
// them see; null means 0 … count − 1 of each.
void attend(std::span<const AttentionQuery> queries, const AttentionCache& cache, const std::int32_t* slots,
            float scale, float cap);
// The next `count` (1 … kGroup) seen keys from `first` on, as [head size][kGroup]; behind the last one it
// stands again.
void turnKeys(const AttentionCache& cache, const std::int32_t* slots, std::size_t first, std::size_t count,
              float* out);

struct Summary {
  float largest = 0;
  double sum = 0;       // Σ exp(x − largest)
  double weighted = 0;  // Σ exp(x − largest) (x − largest)
};
// NaN anywhere makes `sum` NaN.
Summary summarise(const float* row, std::size_t size);
// The highest value; NaN where the row holds one, and minus infinity for no values.
float highest(const float* row, std::size_t size);
// The k largest, descending, ties by smaller id.
void largest(const float* row, std::size_t size, std::size_t k, std::vector<TokenId>& tokens);

}  // namespace decoscope::kernels
