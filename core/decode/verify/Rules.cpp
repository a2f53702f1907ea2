#include "core/decode/verify/Rules.h"

#include <algorithm>
#include <cmath>

namespace decoscope {

namespace {

double at(const Distribution& distribution, TokenId token) {
  return distribution[static_cast<std::size_t>(token)];
}

// min(1, p/q); a token that q could not have proposed is accepted only if p allows it.
double ratio(double p, double q) {
  return q > 0 ? std::min(1.0, p / q) : (p > 0 ? 1.0 : 0.0);
}

}  // namespace

NodeVerdict verifyIndependent(Distribution p, const Distribution& q, std::span<const TokenId> children,
                              const UniformSource& u) {
  NodeVerdict verdict;
  for (int i = 0; i < static_cast<int>(children.size()); ++i) {
    const TokenId token = children[static_cast<std::size_t>(i)];
    ChildTest test{i, at(p, token), at(q, token), u(i), 0, false, i};
    test.threshold = ratio(test.p, test.q);
    test.accepted = test.u < test.threshold;
    verdict.tests.push_back(test);
    if (test.accepted) {
      verdict.accepted = i;
      break;
    }
    p = residual(p, q);
  }
  verdict.rest = std::move(p);
  return verdict;
}

NodeVerdict verifyWithoutReplacement(Distribution p, Distribution q, std::span<const TokenId> children,
                                     const UniformSource& u) {
  NodeVerdict verdict;
  for (int i = 0; i < static_cast<int>(children.size()); ++i) {
    const TokenId token = children[static_cast<std::size_t>(i)];
    ChildTest test{i, at(p, token), at(q, token), u(i), 0, false, i};
    test.threshold = ratio(test.p, test.q);
    test.accepted = test.u < test.threshold;
    verdict.tests.push_back(test);
    if (test.accepted) {
      verdict.accepted = i;
      break;
    }
    p = residual(p, q);
    q = without(q, token);
  }
  verdict.rest = std::move(p);
  return verdict;
}

NodeVerdict verifyDeterministic(Distribution p, std::span<const TokenId> children, const UniformSource& u) {
  NodeVerdict verdict;
  for (int i = 0; i < static_cast<int>(children.size()); ++i) {
    const TokenId token = children[static_cast<std::size_t>(i)];
    ChildTest test{i, at(p, token), kUnknown, u(i), at(p, token), false, i};
    test.accepted = test.u < test.threshold;
    verdict.tests.push_back(test);
    if (test.accepted) {
      verdict.accepted = i;
      break;
    }
    p = without(p, token);
  }
  verdict.rest = std::move(p);
  return verdict;
}

NodeVerdict matchDrawn(const Distribution& p, std::span<const TokenId> children, TokenId drawn) {
  NodeVerdict verdict;
  for (int i = 0; i < static_cast<int>(children.size()); ++i) {
    const TokenId token = children[static_cast<std::size_t>(i)];
    verdict.tests.push_back({i, at(p, token), kUnknown, kUnknown, at(p, token), token == drawn, i});
    if (token == drawn) {
      verdict.accepted = i;
      break;
    }
  }
  verdict.rest = p;
  return verdict;
}

NodeVerdict verifyTypical(const Distribution& p, std::span<const TokenId> children, double epsilon,
                          double delta) {
  NodeVerdict verdict;
  const double threshold = std::min(epsilon, delta * std::exp(-entropyOf(p)));
  for (int i = 0; i < static_cast<int>(children.size()); ++i) {
    const double probability = at(p, children[static_cast<std::size_t>(i)]);
    verdict.tests.push_back({i, probability, kUnknown, kUnknown, threshold, probability > threshold, i});
    if (probability > threshold) {
      verdict.accepted = i;
      break;
    }
  }
  verdict.rest = p;
  return verdict;
}

}  // namespace decoscope
