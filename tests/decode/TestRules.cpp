// The verification rules against the golden vectors, by exact enumeration over the numbers drawn.
#include <QTest>
#include <cmath>
#include <functional>

#include "core/decode/verify/Rules.h"

using namespace decoscope;

namespace {

const Distribution kPa = {0.5, 0.3, 0.2}, kQa = {0.2, 0.5, 0.3};
const Distribution kPb = {.1, .2, .3, .4}, kQb = {.4, .3, .2, .1};

using Rule = std::function<NodeVerdict(const Distribution&, const Distribution&, std::span<const TokenId>,
                                       const UniformSource&)>;

// Walks every outcome: children by q (with or without replacement), each test accepted with its threshold or
// not.
struct Enumeration {
  double accepted = 0;
  Distribution output;
};
Enumeration enumerate(const Distribution& p, const Distribution& q, int k, bool replace, const Rule& rule) {
  Enumeration result;
  result.output.assign(p.size(), 0);
  std::vector<TokenId> children;
  const std::function<void(const Distribution&, double)> choose = [&](const Distribution& left,
                                                                      double weight) {
    if (weight == 0) return;
    if (static_cast<int>(children.size()) < k) {
      for (std::size_t token = 0; token < left.size(); ++token) {
        if (left[token] <= 0) continue;
        children.push_back(static_cast<TokenId>(token));
        Distribution next = left;
        if (!replace) next = without(left, static_cast<TokenId>(token));
        // The last token without replacement leaves nothing to draw.
        const bool exhausted = !replace && left[token] >= 1;
        if (exhausted && static_cast<int>(children.size()) < k) {
          const int full = k;
          k = static_cast<int>(children.size());
          choose(next, weight * left[token]);
          k = full;
        } else {
          choose(next, weight * left[token]);
        }
        children.pop_back();
      }
      return;
    }
    // u = 1 rejects whatever can be rejected, which reveals every threshold and the last residual.
    const NodeVerdict all = rule(p, q, children, [](int) { return 1.0 - 1e-16; });
    double reach = weight;
    for (const ChildTest& test : all.tests) {
      const double threshold = std::min(1.0, test.threshold);
      result.output[static_cast<std::size_t>(children[static_cast<std::size_t>(test.child)])] +=
          reach * threshold;
      result.accepted += reach * threshold;
      reach *= 1 - threshold;
    }
    for (std::size_t token = 0; token < p.size(); ++token) result.output[token] += reach * all.rest[token];
  };
  choose(q, 1);
  return result;
}

bool near(double a, double b) {
  return std::abs(a - b) < 1e-12;
}
bool nearAll(const Distribution& a, const Distribution& b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!near(a[i], b[i])) return false;
  return a.size() == b.size();
}

}  // namespace

class TestRules : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void residuals() {
    QVERIFY(nearAll(residual(kPa, kQa), {1, 0, 0}));
    QVERIFY(nearAll(residual(kPb, kQb), {0, 0, 0.25, 0.75}));
    QVERIFY(nearAll(residual(kPa, kPa), kPa));  // nothing is left: p itself
    QVERIFY(near(entropyOf(kPa), 1.0296530140645737));
  }
  void independentSamples() {
    const struct {
      const Distribution *p, *q;
      int k;
      double accepted;
    } cases[] = {{&kPa, &kQa, 1, 0.7},         {&kPa, &kQa, 2, 19.0 / 25}, {&kPa, &kQa, 3, 101.0 / 125},
                 {&kPb, &kQb, 1, 0.6},         {&kPb, &kQb, 2, 18.0 / 25}, {&kPb, &kQb, 3, 96.0 / 125},
                 {&kPb, &kQb, 4, 989.0 / 1250}};
    for (const auto& c : cases) {
      const Enumeration e = enumerate(*c.p, *c.q, c.k, true, verifyIndependent);
      QVERIFY2(near(e.accepted, c.accepted), qPrintable(QString::number(e.accepted, 'g', 15)));
      QVERIFY(nearAll(e.output, *c.p));
    }
  }
  void withoutReplacement() {
    const struct {
      const Distribution *p, *q;
      int k;
      double accepted;
    } cases[] = {{&kPa, &kQa, 2, 283.0 / 350},
                 {&kPa, &kQa, 3, 1},
                 {&kPb, &kQb, 2, 107.0 / 140},
                 {&kPb, &kQb, 3, 14117.0 / 16800},
                 {&kPb, &kQb, 4, 1}};
    for (const auto& c : cases) {
      const Enumeration e = enumerate(*c.p, *c.q, c.k, false, verifyWithoutReplacement);
      QVERIFY2(near(e.accepted, c.accepted), qPrintable(QString::number(e.accepted, 'g', 15)));
      QVERIFY(nearAll(e.output, *c.p));
    }
  }
  // Case B after rejecting 0 and 1.
  void withoutReplacementTrace() {
    const std::vector<TokenId> children = {0, 1, 2};
    const NodeVerdict v = verifyWithoutReplacement(kPb, kQb, children, [](int) { return 0.99; });
    QCOMPARE(v.tests.size(), std::size_t{3});
    QVERIFY(near(v.tests[1].threshold, 0) && near(v.tests[1].q, 0.5));
    const std::vector<TokenId> second = {0, 2};
    const NodeVerdict w = verifyWithoutReplacement(kPb, kQb, second, [](int) { return 0.9; });
    QVERIFY(near(w.tests[1].threshold, 0.75) && near(w.tests[1].p, 0.25) && near(w.tests[1].q, 1.0 / 3));
    const std::vector<TokenId> third = {0, 1};
    QVERIFY(nearAll(verifyWithoutReplacement(kPb, kQb, third, [](int) { return 0.99; }).rest, {0, 0, 0, 1}));
  }
  void deterministicChildren() {
    // Both forms accept with Σ p(child) and give exactly p.
    const std::vector<TokenId> children = {1, 0};
    const NodeVerdict all = verifyDeterministic(kPa, children, [](int) { return 1.0 - 1e-16; });
    Distribution output(3, 0.0);
    double reach = 1;
    for (const ChildTest& test : all.tests) {
      output[static_cast<std::size_t>(children[static_cast<std::size_t>(test.child)])] +=
          reach * test.threshold;
      reach *= 1 - test.threshold;
    }
    QVERIFY(near(1 - reach, 0.8));
    for (std::size_t i = 0; i < 3; ++i) output[i] += reach * all.rest[i];
    QVERIFY(nearAll(output, kPa));
    QCOMPARE(matchDrawn(kPa, children, 0).accepted, 1);
    QCOMPARE(matchDrawn(kPa, children, 2).accepted, -1);
  }
  void typicalAcceptanceIsAThreshold() {
    const std::vector<TokenId> children = {2, 0};
    const NodeVerdict v = verifyTypical(kPa, children, 0.25, 1);
    QCOMPARE(v.accepted, 1);  // 0.2 ≤ 0.25 < 0.5
  }
  // Deliberately wrong rules, each with the output that it is known to give: the enumeration would catch
  // them.
  void wrongRulesAreCaught() {
    const Rule resampleFromP = [](const Distribution& p, const Distribution& q,
                                  std::span<const TokenId> children, const UniformSource& u) {
      NodeVerdict v = verifyIndependent(p, q, children, u);
      v.rest = p;
      return v;
    };
    const Enumeration a = enumerate(kPa, kQa, 1, true, resampleFromP);
    QVERIFY(nearAll(a.output, {7.0 / 20, 39.0 / 100, 13.0 / 50}));
    QVERIFY(!nearAll(a.output, kPa));

    const std::vector<TokenId> argmaxChild = {1};
    const NodeVerdict v = verifyIndependent(kPa, kQa, argmaxChild, [](int) { return 1.0 - 1e-16; });
    Distribution output = v.rest;
    for (double& x : output) x *= 1 - v.tests[0].threshold;
    output[1] += v.tests[0].threshold;
    QVERIFY(nearAll(output, {0.4, 0.6, 0}));

    const Rule staleQ = [](const Distribution& p0, const Distribution& q0, std::span<const TokenId> children,
                           const UniformSource& u) {
      NodeVerdict v;
      Distribution p = p0, q = q0;
      for (int i = 0; i < static_cast<int>(children.size()); ++i) {
        const auto token = static_cast<std::size_t>(children[static_cast<std::size_t>(i)]);
        const double threshold = q[token] > 0 ? std::min(1.0, p[token] / q[token]) : 1;
        v.tests.push_back({i, p[token], q[token], u(i), threshold, false, i});
        p = residual(p, q);
        q[token] = 0;  // not normalised: the mistake
      }
      v.rest = p;
      return v;
    };
    const Enumeration b = enumerate(kPb, kQb, 2, false, staleQ);
    QVERIFY(nearAll(b.output, {0.1, 0.2, 673.0 / 1960, 699.0 / 1960}));

    // Sibling paths that each draw their own sample, the longest match winning: children 0 and 1.
    Distribution siblings(3, 0.0);
    for (std::size_t x = 0; x < 3; ++x)
      for (std::size_t y = 0; y < 3; ++y) siblings[x == 0 ? 0 : y == 1 ? 1 : x] += kPa[x] * kPa[y];
    QVERIFY(!nearAll(siblings, kPa));
  }
};

QTEST_GUILESS_MAIN(TestRules)
#include "TestRules.moc"
