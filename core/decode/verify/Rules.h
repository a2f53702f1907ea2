// The verification rules for the children of one node, as pure functions of distributions and the numbers
// drawn. Notation and proofs: p is the target, q the drafter, both processed alike. Sources: Leviathan et al.
// 2023 (chain), Miao et al. 2024 (SpecInfer, several samples), Jeon et al. 2024 and Chen et al. 2024 (without
// replacement), Cai et al. 2024 (typical).
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "core/decode/Distribution.h"

namespace decoscope {

// One tested child.
struct ChildTest {
  int child = 0;
  double p = 0, q = kUnknown;  // at the moment of the test
  double u = kUnknown, threshold = kUnknown;
  bool accepted = false;
  int stage = 0;
};
struct NodeVerdict {
  int accepted = -1;             // index of the accepted child, -1: none
  std::vector<ChildTest> tests;  // in the order tested; later children were not reached
  Distribution rest;  // p after all rejections: what the emitted token is drawn from when none was accepted
};

using UniformSource = std::function<double(int child)>;

// R1: children are independent samples from q.
NodeVerdict verifyIndependent(Distribution p, const Distribution& q, std::span<const TokenId> children,
                              const UniformSource& u);
// R2: children are samples from q without replacement, in sampling order; both p and q are updated after a
// rejection.
NodeVerdict verifyWithoutReplacement(Distribution p, Distribution q, std::span<const TokenId> children,
                                     const UniformSource& u);
// R3, form (a): deterministic children, each accepted with probability p(child), p(child) set to zero after a
// rejection.
NodeVerdict verifyDeterministic(Distribution p, std::span<const TokenId> children, const UniformSource& u);
// R3, form (b), sample-then-match: `drawn` came from p; the child that equals it is accepted.
NodeVerdict matchDrawn(const Distribution& p, std::span<const TokenId> children, TokenId drawn);
// R4, typical acceptance (lossy): the first child with p > min(epsilon, delta · exp(−entropy(p))).
NodeVerdict verifyTypical(const Distribution& p, std::span<const TokenId> children, double epsilon,
                          double delta);

}  // namespace decoscope
