// The method-neutral facts of a decoding step. Nothing here is named after a method: if a fact is missing,
// add a neutral one. Every number on screen comes from one of these.
//
// Notation (methods after Leviathan et al. 2023): p is the target's distribution and q the drafter's, both
// after the same processing (temperature, filters, penalties) unless a field says raw. Probabilities are in
// [0, 1], entropies in nats, times in milliseconds. NaN means "not known", never zero.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "core/base/Ids.h"
#include "core/base/Rng.h"

namespace decoscope {

inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

// Who wrote a token of the text. `kept`: a fork repeats a token of the line it left, before one that was
// forced.
enum class Provenance : std::uint8_t { prompt, plain, accepted, resampled, bonus, forced, denoised, kept };
// What became of a proposed node.
enum class VerdictKind : std::uint8_t { accepted, rejected, notReachedSibling, notReachedAncestor, pruned };
// How it was decided. R1: independent samples from q; R2: samples without replacement; R3: deterministic
// children (one draw of the target per node, matched against them); R4: a lossy threshold; greedy: argmax.
enum class VerificationRule : std::uint8_t { greedy, r1, r2, r3, r4 };
enum class CellState : std::uint8_t { prompt, masked, committed, fixed, remasked };
enum class ForwardPhase : std::uint8_t { prefill, plain, draft, verify, denoise };
enum class DistributionKind : std::uint8_t { targetRaw, target, draft, residual };

const char* name(Provenance value);        // "plain", "accepted", …
const char* name(VerdictKind value);       // "accepted", "rejected", "not_reached_sibling", …
const char* name(VerificationRule value);  // "greedy", "R1", …
const char* name(CellState value);
const char* name(ForwardPhase value);
const char* name(DistributionKind value);
const char* name(DrawPurpose value);  // "sample", "residual", …

// One forward of a model.
struct ForwardFact {
  std::string role;  // "target", "drafter", …
  ForwardPhase phase = ForwardPhase::plain;
  std::int32_t tokens = 0;  // tokens in the forward
  std::int32_t cached = 0;  // tokens in the cache before it
  std::int32_t lastLayer = -1;
  double milliseconds = 0;
};

// The digest of a distribution over the vocabulary that follows node `node` (kRootNode: the pending token;
// for a lattice cell see `position`). `residual` stages count the rejections before it.
struct DistributionFact {
  DistributionKind kind = DistributionKind::target;
  NodeId node = kRootNode;
  std::int32_t position = -1;  // canvas position for lattices, else -1
  std::int32_t stage = 0;
  std::vector<TokenId> tokens;  // descending probability
  std::vector<float> probabilities;
  double entropy = kUnknown;  // of the whole distribution
  double tailMass = 0;        // probability outside `tokens`
};

// A proposed token: a node of the round's draft tree.
struct ProposeFact {
  NodeId node = 0;
  NodeId parent = kRootNode;
  TokenId token = 0;
  double q = kUnknown;     // drafter's probability; unknown for retrieval
  std::int32_t rank = 0;   // among its siblings, from 0, in the order they are tried
  std::int32_t depth = 1;  // the pending token has depth 0
  std::string owner;       // which drafter: "drafter", "lookup", "self-draft", …
};

struct VerdictFact {
  NodeId node = 0;
  VerdictKind verdict = VerdictKind::rejected;
  VerificationRule rule = VerificationRule::greedy;
  // Target probability at the moment of the test (after earlier residual updates). Of a node that was not
  // tested: what the target would have given it in its parent's row, where that row was processed or nothing
  // had to be (greedy); otherwise unknown, and pRaw says it before processing.
  double p = kUnknown;
  double q = kUnknown;
  double u = kUnknown;  // the number drawn; unknown when nothing was drawn
  // R1, R2: accepted when u < threshold = min(1, p/q). R4: accepted when p > threshold; nothing is drawn. R3:
  // the probability of acceptance, p; the DrawFact at the parent decides (accepted when it drew this token)
  // and u is unknown here. Greedy: unknown; accepted when the parent's DrawFact chose this token; p and q are
  // then softmax values before any temperature.
  double threshold = kUnknown;
  double pRaw = kUnknown;   // softmax of the raw logits
  std::int32_t pRank = -1;  // rank of the token under the target, from 0; -1 unknown
  std::int32_t stage = 0;   // rejections at this parent before this test
};

// A token drawn (or chosen, at temperature 0) from a distribution.
struct DrawFact {
  NodeId node = kRootNode;  // the distribution is the one that follows this node
  DrawPurpose purpose = DrawPurpose::sample;
  TokenId token = 0;
  double u = kUnknown;  // unknown for argmax
  double low = kUnknown,
         high = kUnknown;         // the token's interval of the cumulative distribution: low ≤ u < high
  double probability = kUnknown;  // for argmax the softmax of the raw logits
  std::int32_t stage = 0;
};

struct CommitFact {
  std::int64_t position = 0;  // in the whole text, prompt included
  TokenId token = 0;
  Provenance provenance = Provenance::plain;
  NodeId node = kRootNode;  // the node it came from, kRootNode where it was not proposed
};

struct RollbackFact {
  std::string role;
  std::int32_t dropped = 0;  // cache entries that were computed and not kept
};

// One position of a canvas at this denoising step.
struct CellFact {
  std::int32_t position = 0;  // in the canvas, prompt included
  std::int32_t block = 0;
  TokenId token = 0;             // the candidate, or the fixed token
  double confidence = kUnknown;  // the number that was ranked
  double entropy = kUnknown;
  CellState state = CellState::masked;
};

struct SwitchFact {
  std::string what, from, to, reason;
};  // model in the lead, exit layer, draft size
struct ScoreFact {
  NodeId node = kRootNode;
  std::string name;
  double value = kUnknown;
};
// The score that a forced step records: what the target would have given the token, softmax of the raw
// logits.
inline constexpr const char* kForcedProbability = "forced_probability";
struct NoteFact {
  std::string kind, text;
};  // "stop", "warning", "controller", …
// A number that is followed over steps: a loss, a rate, a size. What has one unit is drawn in one panel.
struct MeasureFact {
  std::string name;  // "loss", "loss.exit", "learning_rate", "tokens_per_second", "held_out_bits_per_byte"
  double value = kUnknown;  // not finite: what a training that diverges gives
  std::string unit;         // "nats", "bits/byte", "tokens/s"; empty for a plain number
  std::int64_t at = -1;     // the place on its axis, such as the optimiser's step; -1: the step's own number
};

using Event = std::variant<ForwardFact, DistributionFact, ProposeFact, VerdictFact, DrawFact, CommitFact,
                           RollbackFact, CellFact, SwitchFact, ScoreFact, NoteFact, MeasureFact>;

const char* eventName(const Event& event);  // "forward", "propose", …

}  // namespace decoscope
