// The only door to a net. Host values go in and come out; a backend keeps weights, cache and logits wherever
// it likes. Decoders, lenses and trainers of other parts see this header and never a tensor library.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/Ids.h"
#include "core/base/Status.h"
#include "core/base/Stop.h"

namespace decoscope {

// The recorded digest of one row of logits: what a session keeps instead of the whole row.
struct RowSummary {
  std::vector<TokenId> tokens;  // the k largest, descending by logit, ties by smaller id
  std::vector<float> logits;    // raw, same order
  double logSumExp = 0;         // over the whole row
  double entropy = 0;           // nats, of softmax(row)
  double tailMass = 0;          // probability not in `tokens`

  double probability(std::size_t i) const;  // softmax(row)[tokens[i]]
};

// The logits of the rows asked for, raw (no temperature, no activation). Lives on the device until read.
// One thread; valid until the next forward of the model that made it.
class Logits {
 public:
  virtual ~Logits() = default;
  virtual int rows() const = 0;
  virtual int vocabularySize() const = 0;
  // A host view of one row, [vocabulary]; stays valid as long as the handle.
  virtual std::span<const float> row(int index) const = 0;

  // The rest has host implementations over row(); a device backend overrides them to avoid the copy.
  // Error `failed` when a row holds a NaN or no finite value.
  virtual Result<TokenId> argmax(int index) const;
  virtual Result<RowSummary> summary(int index, int k) const;
  // Summaries of rows 0 … rows()-1; may use several threads.
  virtual Result<std::vector<RowSummary>> summaries(int k) const;
  // The tokens of summaries(k) alone, which cost no exponentials.
  virtual Result<std::vector<std::vector<TokenId>>> largest(int k) const;
};

// What a row may attend to.
enum class Visibility {
  causal,  // the cache and its own ancestors in the request (a chain unless `parents` says otherwise)
  full,    // every token of the request; the cache must be empty and stays empty
  block,   // the whole cache and every token of the request, which are then cached (block diffusion)
};

// Where a forward can be watched. Layers of blocks count from 0.
enum class TapSite {
  residual,  // layer 0: the embedding output; layer l: the stream after block l−1; the last one after the
             // final norm (the Hugging Face convention). [tokens, width]
  attentionWeights,  // [heads, tokens, cached + tokens]
  attentionInput,    // what queries, keys and values are made of, behind its norm. [tokens, width]
  attentionOutput,   // what the attention adds to the stream. [tokens, width]
  mlpInput,          // behind its norm. [tokens, width]
  mlpOutput,         // what the MLP adds to the stream. [tokens, width]
  preActivation,     // the product that is activated (the gate's, where there is one). [tokens, inner]
  neuron,            // what enters the down projection. [tokens, inner]; not in layers of experts
};
// Asks for the state at a site for every token of the request.
struct Tap {
  TapSite site = TapSite::residual;
  int layer = 0;
};
struct TapValue {
  Tap tap;
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};

// Changes a state during a forward for the request's token `row` (-1: all of them).
struct Intervention {
  enum class Kind {
    add,      // vector, or value for a neuron
    scale,    // by vector[0], or value for a neuron
    replace,  // by vector, or value for a neuron
    clamp     // residual: the component along `vector` becomes `value`; neuron: it becomes `value`
  } kind = Kind::add;
  int layer = 0;  // residual: counted like a residual tap, the last one before the final norm; neuron: block
  int row = -1;
  std::vector<float> vector;  // residual: [width]; for scale a single number
  enum class Site { residual, neuron } site = Site::residual;
  int neuron = 0;  // index into [inner]
  float value = 0;
};

struct ForwardRequest {
  std::vector<TokenId> tokens;
  // Absolute positions for rotary embeddings; empty means that a root gets cached() (with `follows` the
  // position behind the slot that it follows, or 0), a child its parent's position plus one.
  std::vector<std::int32_t> positions;
  // Index of each token's parent within the request, or -1 where it follows the cache directly; parents stand
  // before children. Empty means a chain; several roots are a batch of independent branches.
  std::vector<std::int32_t> parents;
  // The cache is a forest of tokens: each slot stands behind the one that it follows. One entry per token;
  // that of a root (parent −1) is the cached slot it follows, of which it sees that slot and what stands
  // before it, or −1 to begin a text of its own, which sees nothing cached. Entries of other tokens are not
  // read. Empty: every root sees the whole cache and follows its last slot. So several texts grow side by
  // side in one cache, and texts that begin alike share what they have in common. Causal visibility only.
  std::vector<std::int32_t> follows;
  Visibility visibility = Visibility::causal;
  std::vector<std::int32_t> logitRows;  // indices into `tokens`, ascending
  int lastLayer = -1;                   // run only the first `lastLayer` blocks, then norm and head; -1: all
  // States that stand in for the embedding of the tokens, [tokens, width]; empty: the embedding.
  std::vector<float> inputs;
  // Resumes an early exit: `inputs` are the residual states behind block firstLayer−1 of the last tokens in
  // the cache (they stay the last; nothing is appended), and the blocks from firstLayer on are run for them.
  // `tokens` repeats those tokens, `parents` what their forward said; positions are theirs.
  int firstLayer = 0;
  // Of layers that this forward runs only; a resumed one does not come by the stream it is given.
  std::vector<Tap> taps;
  std::vector<Intervention> interventions;
};

struct ForwardOutput {
  std::unique_ptr<Logits> logits;  // one row per entry of logitRows; null when none was asked for
  std::vector<TapValue> taps;      // in the order asked
  double milliseconds = 0;         // wall clock, device synchronised
};

// What a model can do; a decoder states what it needs and the chooser explains what is missing.
struct Capabilities {
  bool causal = true;            // next-token logits
  bool maskedDiffusion = false;  // full visibility, a mask token
  bool trees = true;             // parents other than a chain
  bool earlyExit = false;        // lastLayer
  bool hiddenStates = false;     // taps
  bool interventions = false;
  bool weights = false;  // readout(), weights()
  // A draft head: its forwards need `inputs`, the final states (after the norm) that another model had at the
  // predecessors of the tokens; its own final state is the estimate of that model's at the tokens.
  bool followsFeatures = false;
};

struct TensorDescription {
  std::string name, role, type;
  std::vector<std::int64_t> shape;
};

struct ModelInfo {
  std::string name;  // "SmolLM2-135M-Instruct"
  std::string path;
  std::string architecture;  // "llama", "llada", "table"
  std::string format;        // "gguf", "safetensors", "table"
  std::string dtype;         // precision of the loaded weights: "f32", "bf16", "f16", "q8", "q4"
  std::string fileType;      // how the weights are stored: "Q4_1", "F32"
  std::string device;        // "cpu", "cuda:0"
  std::string licence;
  std::string fingerprint;  // "sha256:…" of the file, or of the folder's weight files
  std::int64_t parameters = 0;
  std::int64_t bytes = 0;  // resident weights
  int layers = 0, width = 0, inner = 0, heads = 0, keyValueHeads = 0, contextLength = 0, vocabularySize = 0;
  TokenId maskToken = -1;  // masked diffusion only
  bool shifted = false;    // masked diffusion: the row of position j scores the token at j + 1 (Dream)
  // What the columns of logits stand for, where a draft head ranks fewer tokens than the vocabulary holds;
  // empty: every token, in order.
  std::vector<TokenId> rankedTokens;
  std::vector<TensorDescription> tensors;
};

// gate, up and down of a block's MLP (without a gate: up and down), the embedding and the LM head.
enum class MatrixRole { gate, up, down, embedding, head };

// A loaded net and its key/value cache. Threading: one thread at a time, the one that owns the session's
// model work; only info() and capabilities() may be called from others. A stopped or failed forward leaves
// the cache as it was before the call.
class Model {
 public:
  virtual ~Model() = default;
  virtual const ModelInfo& info() const = 0;
  virtual Capabilities capabilities() const = 0;

  // Tokens in the cache. A causal forward appends its tokens as slots cached(), cached()+1, … in request
  // order; with `lastLayer` set, only the layers that ran are filled, so such slots must be dropped again by
  // retain().
  virtual int cached() const = 0;
  // Runs the net. Errors: usage (malformed request), badInput (more tokens than the context holds),
  // cancelled (stop was requested; polled between layers), failed (out of memory, device).
  virtual Result<ForwardOutput> forward(const ForwardRequest& request, const StopToken& stop) = 0;
  // Keeps slots [0, prefix) and then `slots` (ascending, ≥ prefix) moved up to follow them; drops all others.
  // Tail rollback is retain(n); keeping one path of a tree is retain(L, path slots). A slot whose predecessor
  // is dropped follows the nearest one before it that is kept.
  virtual Status retain(int prefix, std::span<const std::int32_t> slots = {}) = 0;

  // Sends vectors [count, width] through the LM head, after the final norm if `norm`; leaves the cache alone.
  // Error unsupported where a model has no hidden states.
  virtual Result<std::unique_ptr<Logits>> readout(std::span<const float> vectors, bool norm);
  // Weights as the forward uses them, as f32: rows [first, first + count) of a matrix [outputs, inputs] by
  // its role, or its columns where `columns`. Error usage for a range outside; unsupported as above.
  virtual Result<std::vector<float>> weights(MatrixRole role, int layer, bool columns, std::int64_t first,
                                             std::int64_t count) const;

  // Bytes held for weights and cache now. Of weights that n models share, each counts one nth.
  virtual std::int64_t memoryBytes() const = 0;
};

using ProgressFunction = std::function<void(double fraction, const std::string& phase)>;

struct LoadOptions {
  std::string dtype =
      "auto";  // auto, f32, bf16, f16, q8, q4 (auto: f32 on the CPU for small files, else bf16)
  std::string device = "auto";  // auto, cpu, cuda, cuda:N
  int threads = 0;              // 0: all cores
  ProgressFunction progress;    // called on the loading thread
  // The model that a draft head was trained for: it borrows that model's embedding and LM head, so the model
  // must outlive it. Null where nothing is borrowed.
  const Model* base = nullptr;
};

}  // namespace decoscope
