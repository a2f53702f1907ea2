// Every lossless method on table models: the distribution of its first three tokens is the target's own (χ²),
// and at temperature 0 its tokens are those of plain decoding.
#include <QTest>
#include <cmath>
#include <map>

#include "tests/decode/Features.h"

using namespace decoscope;

namespace {

// Upper tail of χ² by the Wilson-Hilferty approximation, good to a few per cent of p.
double chiSquareTail(double chi, int freedom) {
  const double z = (std::cbrt(chi / freedom) - (1 - 2.0 / (9 * freedom))) / std::sqrt(2.0 / (9 * freedom));
  return 0.5 * std::erfc(z / std::sqrt(2));
}

using Adopt = std::function<bool(Engine&)>;

double pValueOf(const std::string& method, const std::vector<std::string>& assignments, int runs,
                const Adopt& models = {}) {
  const Adopt adopt =
      models ? models : [&](Engine& engine) { return test::adoptFor(engine, method).has_value(); };
  Engine engine(recordInMemory());
  if (!adopt(engine)) return -1;
  const Table table = *parseTable(test::kTarget, "target");
  const std::vector<TokenId> prompt = {0, 1, 2, 0, 1};
  std::map<std::vector<TokenId>, int> counts;
  for (int seed = 0; seed < runs; ++seed) {
    if (seed % 500 == 0 && seed > 0) {  // a fresh trace now and then keeps memory flat
      engine = Engine(recordInMemory());
      if (!adopt(engine)) return -1;
    }
    RunRequest request;
    request.method = method;
    request.assignments = assignments;
    request.promptTokens = prompt;
    request.maxNewTokens = 3;
    request.seed = static_cast<std::uint64_t>(seed);
    request.recordLevel = "none";
    if (!engine.startRun(request) || !test::finishRun(engine)) return -1;
    ++counts[test::generated(engine)];
  }
  // Every outcome: three tokens, or fewer where the end token came first.
  double chi = 0, rareExpected = 0;
  int rareCount = 0, cells = 0;
  std::vector<std::vector<TokenId>> outcomes = {{}};
  std::vector<std::vector<TokenId>> finished;
  for (int depth = 0; depth < 3; ++depth) {
    std::vector<std::vector<TokenId>> next;
    for (const auto& outcome : outcomes)
      for (TokenId token = 0; token < 4; ++token) {
        auto longer = outcome;
        longer.push_back(token);
        (token == 3 || depth == 2 ? finished : next).push_back(longer);
      }
    outcomes = next;
  }
  for (const auto& outcome : finished) {
    const double expected = test::probabilityOf(table, prompt, outcome) * runs;
    if (expected < 5) {
      rareExpected += expected;
      rareCount += counts[outcome];
      continue;
    }
    chi += std::pow(counts[outcome] - expected, 2) / expected;
    ++cells;
  }
  if (rareExpected > 0) chi += std::pow(rareCount - rareExpected, 2) / rareExpected, ++cells;
  return chiSquareTail(chi, cells - 1);
}

}  // namespace

class TestLossless : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void sampledOutputIsTheTargets_data() {
    QTest::addColumn<QString>("method");
    QTest::addColumn<QStringList>("set");
    QTest::newRow("sampling") << "sampling" << QStringList{};
    QTest::newRow("chain R1") << "chain" << QStringList{"gamma=3"};
    QTest::newRow("chain R3") << "chain" << QStringList{"gamma=3", "rule=r3"};
    QTest::newRow("tree R1") << "specinfer" << QStringList{"rule=r1", "tree_width=2", "tree_depth=2"};
    QTest::newRow("tree R2") << "specinfer" << QStringList{"rule=r2", "tree_width=3", "tree_depth=2"};
    QTest::newRow("tree R3") << "specinfer" << QStringList{"rule=r3", "tree_width=2", "tree_depth=2"};
    QTest::newRow("lookup") << "lookup" << QStringList{"adaptive=false"};
    QTest::newRow("token recycling") << "token-recycling" << QStringList{"adaptive=false"};
    QTest::newRow("eagle") << "eagle" << QStringList{"adaptive=false", "tree_width=2", "tree_depth=3"};
    QTest::newRow("eagle, static") << "eagle" << QStringList{"adaptive=false", "tree=static"};
    QTest::newRow("SpecDec++") << "specdec-pp" << QStringList{"threshold=0.4"};
    QTest::newRow("eagle, adaptive") << "eagle" << QStringList{"adaptive=true", "tree_depth=3"};
  }
  void sampledOutputIsTheTargets() {
    QFETCH(QString, method);
    QFETCH(QStringList, set);
    std::vector<std::string> assignments = {"temperature=1"};
    for (const QString& one : set) assignments.push_back(one.toStdString());
    const double p = pValueOf(method.toStdString(), assignments, 20'000);
    QVERIFY2(p > 0.001, qPrintable(QString::number(p)));
  }
  void aJudgedDraftHeadIsExact_data() {
    QTest::addColumn<QList<TokenId>>("ranked");
    QTest::newRow("all tokens") << QList<TokenId>{};
    QTest::newRow("some tokens") << QList<TokenId>{0, 2};
  }
  void aJudgedDraftHeadIsExact() {
    QFETCH(QList<TokenId>, ranked);
    const double p = pValueOf("specdec-pp", {"temperature=1", "threshold=0.4"}, 10'000, [&](Engine& engine) {
      return test::adoptJudgedHead(engine, {ranked.begin(), ranked.end()}).has_value();
    });
    QVERIFY2(p > 0.001, qPrintable(QString::number(p)));
  }
  // The test above has teeth: the lossy rule fails it.
  void theLossyRuleIsCaught() {
    const double p =
        pValueOf("specinfer", {"temperature=1", "rule=r4", "tree_width=2", "tree_depth=2"}, 20'000);
    QVERIFY2(p >= 0 && p < 1e-6, qPrintable(QString::number(p)));
  }
  void greedyIdentity() {
    const std::pair<const char*, std::vector<std::string>> methods[] = {
        {"chain", {}},
        {"chain", {"rule=r3"}},
        {"chain", {"drafter=lookup"}},
        {"chain", {"drafter=recycling"}},
        {"specinfer", {"rule=r2"}},
        {"lookup", {}},
        {"lookup", {"adaptive=false"}},
        {"token-recycling", {}},
        {"token-recycling", {"adaptive=false"}},
        {"eagle", {}},
        {"eagle", {"adaptive=false"}},
        {"eagle", {"adaptive=false", "tree=static"}}};
    Engine engine(recordInMemory());
    QVERIFY(test::adoptFor(engine, "eagle").has_value());
    for (std::uint64_t prompt = 0; prompt < 100; ++prompt) {
      RunRequest request;
      for (int i = 0; i < 6; ++i)
        request.promptTokens.push_back(
            static_cast<TokenId>(uniform({prompt, 0, i}, 0, DrawPurpose::order) * 3));
      request.maxNewTokens = 17;
      QVERIFY(engine.startRun(request).has_value());
      QVERIFY(test::finishRun(engine).has_value());
      const auto plain = test::generated(engine);
      for (const auto& [method, set] : methods) {
        request.method = method;
        request.assignments = set;
        QVERIFY(engine.startRun(request).has_value());
        QVERIFY(test::finishRun(engine).has_value());
        QVERIFY2(test::generated(engine) == plain, method);
      }
      request.assignments.clear();
      request.method = "sampling";
    }
  }
  // Deterministic drafts draw each token with the number of its position: the sampled text is that of plain
  // sampling itself.
  void deterministicDraftsRepeatPlainSampling() {
    Engine engine(recordInMemory());
    QVERIFY(test::adoptFor(engine, "eagle").has_value());
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
      std::vector<TokenId> plain;
      for (const char* method : {"sampling", "lookup", "token-recycling", "eagle"}) {
        RunRequest request;
        request.method = method;
        request.assignments = {"temperature=1.3"};
        request.promptTokens = {0, 1, 2, 0};
        request.maxNewTokens = 20;
        request.seed = seed;
        request.stopAtEnd = false;
        QVERIFY(engine.startRun(request).has_value());
        QVERIFY(test::finishRun(engine).has_value());
        if (plain.empty()) plain = test::generated(engine);
        QCOMPARE(test::generated(engine), plain);
      }
    }
  }
};

QTEST_GUILESS_MAIN(TestLossless)
#include "TestLossless.moc"
