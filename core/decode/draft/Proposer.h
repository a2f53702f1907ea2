// Drafting: what is proposed before the target looks. A proposer knows nothing of verification; it says how
// its children were produced, and that alone decides which rule may test them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/decode/Decoder.h"
#include "core/decode/Distribution.h"
#include "core/decode/sampling/Chooser.h"

namespace decoscope {

// How the children of a node were produced (methods sheet "Four verification rules").
enum class ChildKind {
  independent,         // samples from q with replacement: R1
  withoutReplacement,  // samples from q without replacement, in sampling order: R2
  deterministic,       // top-k, retrieval, argmax, a table: R3
};

struct DraftNode {
  NodeId parent = kRootNode;
  TokenId token = 0;
  double q = kUnknown;  // drafter's probability of the token given its path
  int rank = 0;         // among its siblings
  int depth = 1;
  int bucket = 0;  // similar nodes share one; the controller learns how often each bucket is right
};

// Nodes stand in topological order, parents first; a node's index is its NodeId.
struct DraftTree {
  ChildKind kind = ChildKind::deterministic;
  std::string owner;  // which drafter, for the record
  std::vector<DraftNode> nodes;
  std::map<NodeId, Distribution> q;  // processed q for the children of a node; needed by R1 and R2

  // Children of each node in rank order; index 0 is the root, node i at i + 1.
  std::vector<std::vector<NodeId>> children() const;
  // The tokens from the first node below the root down to `node`.
  std::vector<TokenId> path(NodeId node) const;
  // Keeps the first `count` nodes (a prefix in topological order is closed under parents).
  void truncate(std::size_t count);
  // Keeps these nodes, ascending and closed under parents, and numbers them anew.
  void keep(std::span<const std::size_t> nodes);
  // The drafter's probability of each node's whole path: the product of q along it.
  std::vector<double> reach() const;
};

// How much may be drafted. A proposer may stay below it.
struct DraftBudget {
  int nodes = 0;  // besides the root
  int depth = 0;
  // For drafts that grow by levels, each of which costs a forward: how many of the frontier, which stands
  // best first, are worth another; 0 ends the draft. Asked behind every level but the last; unset: all of
  // them.
  std::function<int(const DraftTree& grown, std::span<const NodeId> frontier)> another;
};

// What the target said about every row that it saw in a round, for proposers that learn from it.
struct RowObservation {
  NodeId node = kRootNode;       // the row stands after this node's token
  TokenId token = 0;             // that token (for the root the pending token)
  std::span<const TokenId> top;  // the target's most probable next tokens, descending
};

class Proposer {
 public:
  virtual ~Proposer() = default;
  virtual Status begin(DecodeEnvironment&) { return {}; }
  // A draft that continues the text. Its last token is the root. At most `budget` large; an empty tree is a
  // plain step.
  virtual Result<DraftTree> propose(DecodeEnvironment& environment, const DraftBudget& budget) = 0;
  // Largest useful budget, by parameters.
  virtual DraftBudget fullSize() const = 0;
  // How many of the target's most probable tokens observe() wants per row; 0: none.
  virtual int observedTokens() const { return 0; }
  // All rows of the round in level order, and the accepted path (node ids).
  virtual void observe(DecodeEnvironment&, std::span<const RowObservation>, std::span<const NodeId>) {}
  // Whether a proposal costs forwards; if not, the controller may ask for drafts that are never verified, to
  // learn.
  virtual bool free() const { return true; }
  // Whether it drafts by levels, asking the budget before each, and gives each node's q.
  virtual bool growsByLevels() const { return false; }
  // Runs a forward as for a level of so many nodes and leaves everything as it was; its wall clock in
  // milliseconds.
  virtual Result<double> rehearse(DecodeEnvironment&, int) { return 0.0; }

  // The states of the target that the proposer draws on, one vector for each token of the text; empty: none.
  virtual std::vector<Tap> watches(const DecodeEnvironment&) const { return {}; }
  // Of how many of the text's first tokens it needs no states any more.
  virtual Result<std::size_t> watched(DecodeEnvironment&) { return 0; }
  // The states of tokens of the text, the first at position `first`, which is not behind watched(): a value
  // for each of watches(), [tokens, …]. What it has already is repeated to the last bit where forwards are.
  virtual Status watch(DecodeEnvironment&, std::size_t, std::span<const TapValue>) { return {}; }

  virtual Status reconfigure(const ParamSet& parameters) = 0;
  virtual std::string exportState() const { return {}; }
  virtual Status importState(const std::string&) { return {}; }
};

// Another model's samples (or its argmax), as a chain or a tree. `role` names it; with `exitLayer` > 0 it is
// the target itself, stopped after that many blocks (self-speculation). Children follow `kind`; `width` per
// node, `depth` levels.
struct ModelDraftShape {
  std::string role = "drafter";
  std::string owner = "drafter";
  int exitLayer = -1;
  ChildKind kind = ChildKind::independent;
  int width = 1, depth = 4, nodes = 4;
};
// The shape is read from the parameters by `shapeOf`, again whenever they change.
using ShapeReader = std::function<Result<ModelDraftShape>(const ParamSet&)>;
Result<std::unique_ptr<Proposer>> makeModelProposer(const ParamSet& parameters, ShapeReader shapeOf);
// Continuations of earlier occurrences of the text's last tokens (A. Saxena, "Prompt lookup decoding", 2023).
std::unique_ptr<Proposer> makeLookupProposer(const ParamSet& parameters);
// Token Recycling's adjacency matrix (Luo et al. 2024).
std::unique_ptr<Proposer> makeRecyclingProposer(const ParamSet& parameters);
// The same table walked along its first candidates only; `gamma` tokens.
std::unique_ptr<Proposer> makeRecyclingChainProposer(const ParamSet& parameters);

// Of a pool of nodes, parents first, the `count` with the largest values, ascending by index. Where no
// child's value exceeds its parent's, that is closed under parents: of equals the earlier is taken (EAGLE-2's
// reranking).
std::vector<std::size_t> bestNodes(std::span<const double> values, std::size_t count);

}  // namespace decoscope
