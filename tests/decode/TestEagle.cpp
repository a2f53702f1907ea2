// EAGLE's drafts on table models: what the head is fed, the shape of the trees, and the decisions of the
// controller.
#include <QTest>
#include <cmath>
#include <set>

#include "core/decode/control/Controller.h"
#include "core/session/Audit.h"
#include "core/trace/Round.h"
#include "tests/decode/Features.h"

using namespace decoscope;

namespace {

RunRequest requestOf(std::vector<std::string> assignments, std::uint64_t seed = 0) {
  RunRequest request;
  request.method = "eagle";
  request.assignments = std::move(assignments);
  request.promptTokens = {0, 1, 2, 0, 1};
  request.maxNewTokens = 24;
  request.seed = seed;
  request.stopAtEnd = false;
  return request;
}

std::vector<StepPointer> stepsOf(const Engine& engine) {
  std::vector<StepPointer> steps;
  const auto [first, end] = engine.recording().source->extent(engine.current().id);
  for (StepIndex index = first; index < end; ++index)
    steps.push_back(*engine.recording().source->step(engine.current().id, index));
  return steps;
}

template <typename Fact>
std::vector<Fact> factsOf(const StepRecord& step) {
  std::vector<Fact> facts;
  for (const Event& event : step.events)
    if (const auto* fact = std::get_if<Fact>(&event)) facts.push_back(*fact);
  return facts;
}

double scoreOf(const StepRecord& step, const std::string& name) {
  for (const ScoreFact& fact : factsOf<ScoreFact>(step))
    if (fact.name == name) return fact.value;
  return -1;
}

int drafterForwards(const StepRecord& step) {
  int count = 0;
  for (const ForwardFact& fact : factsOf<ForwardFact>(step)) count += fact.role == "head";
  return count;
}

// A drafter for the controller: costs a fixed share of a plain step a level.
class ToyProposer final : public Proposer {
 public:
  Result<DraftTree> propose(DecodeEnvironment&, const DraftBudget&) override { return DraftTree{}; }
  DraftBudget fullSize() const override { return {}; }
  Status reconfigure(const ParamSet&) override { return {}; }
};

// One level: children of the root with these probabilities.
DraftTree levelOf(const std::vector<double>& chances) {
  DraftTree tree;
  for (std::size_t i = 0; i < chances.size(); ++i)
    tree.nodes.push_back({kRootNode, static_cast<TokenId>(i), chances[i], static_cast<int>(i), 1, 0});
  return tree;
}

}  // namespace

class TestEagle : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  // Every token is fed with the feature that belongs to it: in the prompt, behind accepted paths, in the
  // tree, after a forced token, in a fork, and by a decoder that takes up a text in the middle.
  void theHeadIsFedItsFeatures() {
    Engine engine(recordInMemory());
    const auto head = test::adoptWithHead(engine);
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      RunRequest request =
          requestOf({"adaptive=false", "temperature=1", "tree_width=2", "tree_depth=3"}, seed);
      request.promptTokens.front() = static_cast<TokenId>(seed % 3);
      QVERIFY(engine.startRun(request).has_value());
      QVERIFY(test::finishRun(engine).has_value());
      ForkRequest fork;
      fork.run = engine.current().id;
      fork.step = 2;
      fork.force = {2};
      QVERIFY(engine.fork(fork, StopToken()).has_value());
      QVERIFY(test::finishRun(engine).has_value());
      ForkRequest other;
      other.run = engine.current().id;
      other.step = 4;
      other.method = "sampling";
      QVERIFY(engine.fork(other, StopToken()).has_value());
      QVERIFY(engine.step(StopToken()).has_value());
      ForkRequest back;
      back.run = engine.current().id;
      back.step = 5;
      back.method = "eagle";
      back.assignments = {"adaptive=false"};
      const auto again = engine.fork(back, StopToken());
      QVERIFY2(again.has_value(), again ? "" : again.error().text().c_str());
      QVERIFY(test::finishRun(engine).has_value());
    }
    QCOMPARE(head->wrong(), 0);
    QCOMPARE(head->fedZero(), 0);
  }
  // Features that are missing cost one forward at the start, not one a step.
  void theTextIsReadOnce() {
    Engine engine(recordInMemory());
    const auto head = test::adoptWithHead(engine);
    QVERIFY(engine.startRun(requestOf({"adaptive=false", "tree_depth=3"})).has_value());
    QVERIFY(test::finishRun(engine).has_value());
    const auto steps = stepsOf(engine);
    for (std::size_t i = 0; i < steps.size(); ++i) {
      int prefills = 0, verifications = 0, drafted = 0;
      for (const ForwardFact& fact : factsOf<ForwardFact>(*steps[i])) {
        prefills += fact.phase == ForwardPhase::prefill;
        verifications += fact.phase == ForwardPhase::verify;
        drafted += fact.role == "head";
      }
      QCOMPARE(prefills, i == 0 ? 1 : 0);
      QCOMPARE(verifications, 1);
      QVERIFY(drafted <= 3);
    }
  }
  // The children are the head's most probable tokens with its probabilities, parents first and no better than
  // them.
  void theTreeIsTheHeads() {
    Engine engine(recordInMemory());
    test::adoptWithHead(engine);
    QVERIFY(engine.startRun(requestOf({"adaptive=false", "tree_width=2", "tree_depth=4", "tree_nodes=9"}))
                .has_value());
    QVERIFY(test::finishRun(engine).has_value());
    const Table table = *parseTable(test::kDrafter, "head");
    std::vector<TokenId> text = {0, 1, 2, 0, 1};
    for (const StepPointer& step : stepsOf(engine)) {
      const auto nodes = factsOf<ProposeFact>(*step);
      const double pool = scoreOf(*step, "drafted_nodes"), levels = scoreOf(*step, "drafted_levels");
      if (!nodes.empty()) {
        // Two children of the root, and two of each of two nodes in every further level.
        QCOMPARE(pool, 2 + 4 * (levels - 1));
        QCOMPARE(static_cast<double>(nodes.size()), std::min(9.0, pool));
        QCOMPARE(levels, static_cast<double>(drafterForwards(*step)));
      }
      for (std::size_t i = 0; i < nodes.size(); ++i) {
        const ProposeFact& node = nodes[i];
        QVERIFY(node.parent < node.node);
        QCOMPARE(node.depth, node.parent < 0 ? 1 : nodes[static_cast<std::size_t>(node.parent)].depth + 1);
        const TokenId before =
            node.parent < 0 ? text.back() : nodes[static_cast<std::size_t>(node.parent)].token;
        const auto row = table.rows.find({before});
        const auto& q = row == table.rows.end() ? table.fallback : row->second;
        QVERIFY(std::abs(node.q - q[static_cast<std::size_t>(node.token)]) < 1e-6);
        int better = 0;
        for (std::size_t token = 0; token < q.size(); ++token)
          better += q[token] > q[static_cast<std::size_t>(node.token)] + 1e-9;
        QVERIFY(better <= node.rank);
      }
      for (const CommitFact& commit : factsOf<CommitFact>(*step)) text.push_back(commit.token);
    }
  }
  void aReducedVocabularyNamesItsTokens() {
    Engine engine(recordInMemory());
    const auto head = test::adoptWithHead(engine, {2, 0});
    QVERIFY(engine.startRun(requestOf({"adaptive=false", "tree_width=4", "tree_depth=3"})).has_value());
    QVERIFY(test::finishRun(engine).has_value());
    std::set<TokenId> tokens;
    for (const StepPointer& step : stepsOf(engine)) {
      std::map<NodeId, double> mass;
      for (const ProposeFact& node : factsOf<ProposeFact>(*step)) {
        tokens.insert(node.token);
        mass[node.parent] += node.q;
      }
      for (const auto& [parent, sum] : mass) QVERIFY(sum <= 1 + 1e-9);
    }
    QCOMPARE(tokens, (std::set<TokenId>{0, 2}));
    QCOMPARE(head->wrong(), 0);
  }
  void theStaticTreeIsThePapers() {
    Engine engine(recordInMemory());
    test::adoptWithHead(engine);
    RunRequest request = requestOf({"adaptive=false", "tree=static"});
    request.maxNewTokens = 40;
    QVERIFY(engine.startRun(request).has_value());
    const auto step = engine.step(StopToken());
    QVERIFY(step.has_value());
    std::map<NodeId, int> children;
    std::vector<int> byDepth(6);
    for (const ProposeFact& node : factsOf<ProposeFact>(**step)) {
      ++children[node.parent];
      ++byDepth[static_cast<std::size_t>(node.depth)];
    }
    QCOMPARE(byDepth, (std::vector<int>{0, 4, 8, 8, 3, 2}));
    QCOMPARE(children[kRootNode], 4);
    QCOMPARE(drafterForwards(**step), 5);
  }
  // |chosen| = min(count, pool), closed under parents also where values are equal, and nothing left out is
  // better.
  void rerankingKeepsParents() {
    for (int round = 0; round < 200; ++round) {
      auto draw = [&, index = 0u](double bound) mutable {
        return uniform({static_cast<std::uint64_t>(round), 0, 0}, 0, DrawPurpose::order, index++) * bound;
      };
      std::vector<double> values;
      std::vector<int> parents;
      for (int i = 0; i < 40; ++i) {
        const int parent = static_cast<int>(draw(i + 1)) - 1;
        parents.push_back(parent);
        values.push_back((parent < 0 ? 0 : values[static_cast<std::size_t>(parent)]) - std::floor(draw(3)));
      }
      const auto count = static_cast<std::size_t>(draw(50));
      const auto chosen = bestNodes(values, count);
      QCOMPARE(chosen.size(), std::min(count, values.size()));
      QVERIFY(std::is_sorted(chosen.begin(), chosen.end()));
      const std::set<std::size_t> in(chosen.begin(), chosen.end());
      double worst = 0, best = -1e9;
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (!in.contains(i)) {
          best = std::max(best, values[i]);
          continue;
        }
        worst = std::min(worst, values[i]);
        QVERIFY(parents[i] < 0 || in.contains(static_cast<std::size_t>(parents[i])));
      }
      QVERIFY(best <= worst);
    }
  }
  void runsAreCleanAndForksRepeat() {
    for (const char* adaptive : {"adaptive=true", "adaptive=false"}) {
      Engine engine(recordInMemory());
      test::adoptWithHead(engine);
      QVERIFY(engine.startRun(requestOf({adaptive, "temperature=1", "tree_width=2", "tree_depth=3"}, 7))
                  .has_value());
      QVERIFY(test::finishRun(engine).has_value());
      const RunId run = engine.current().id;
      const auto first = stepsOf(engine);
      const auto audit = auditRun(*engine.recording().source, run);
      QVERIFY(audit.has_value() && audit->failed.empty() && audit->checked > 50);
      ForkRequest fork;
      fork.run = run;
      fork.step = 3;
      QVERIFY(engine.fork(fork, StopToken()).has_value());
      QVERIFY(test::finishRun(engine).has_value());
      const auto again = stepsOf(engine);
      QCOMPARE(again.size() + 3, first.size());
      for (std::size_t i = 0; i < again.size(); ++i) {
        const auto a = factsOf<ProposeFact>(*first[i + 3]), b = factsOf<ProposeFact>(*again[i]);
        QCOMPARE(b.size(), a.size());
        for (std::size_t j = 0; j < a.size(); ++j) QVERIFY(a[j].token == b[j].token && a[j].q == b[j].q);
        const auto c = factsOf<CommitFact>(*first[i + 3]), d = factsOf<CommitFact>(*again[i]);
        QVERIFY(std::equal(c.begin(), c.end(), d.begin(), d.end(),
                           [](const CommitFact& x, const CommitFact& y) { return x.token == y.token; }));
      }
    }
  }
  void whatIsMissingIsSaid() {
    Engine engine(recordInMemory());
    test::adopt(engine, "target", test::kTarget);
    const auto none = engine.startRun(requestOf({}));
    QVERIFY(!none && none.error().text().find("'head'") != std::string::npos);
    QCOMPARE(none.error().code, ErrorCode::badInput);
    test::adopt(engine, "head", test::kDrafter);
    const auto blind = engine.startRun(requestOf({}));
    QVERIFY(!blind && blind.error().text().find("hidden states") != std::string::npos);
    test::adoptWithHead(engine);
    test::adopt(engine, "head", test::kDrafter);
    QVERIFY(engine.startRun(requestOf({})).has_value());
    const auto step = engine.step(StopToken());
    QVERIFY(!step && step.error().text().find("features") != std::string::npos);
  }

  // ---- the controller, with what forwards and levels cost given ----

  void drafts_data() {
    QTest::addColumn<double>("sure");
    QTest::addColumn<double>("level");
    QTest::addColumn<bool>("pays");
    QTest::newRow("sure and cheap") << 0.9 << 0.05 << true;
    QTest::newRow("hopeless") << 0.001 << 0.05 << false;
    QTest::newRow("sure but dear") << 0.9 << 1.5 << false;
  }
  // Drafts whose chances are as the drafter says them are kept where they pay and dropped where they do not,
  // and a long run of them loses no more than the allowance.
  void drafts() {
    QFETCH(double, sure);
    QFETCH(double, level);
    QFETCH(bool, pays);
    char cost[64];
    std::snprintf(cost, sizeof cost, "1:%g 16:%g", level, level);
    std::map<std::string, std::string> notes = {{kCostCurveNote, "1:1 2:1.05 8:1.2 64:2"},
                                                {kDraftCostNote, cost}};
    const auto controller = makeLevelController(&notes);
    DecodeEnvironment environment;
    ToyProposer proposer;
    QVERIFY(controller->begin(environment, proposer).has_value());
    double time = 0, tokens = 0;
    int drafted = 0;
    for (int round = 0; round < 400; ++round) {
      const DraftBudget budget = controller->budget({8, 1, {}});
      DraftTree tree;
      if (budget.nodes > 0) {
        tree = levelOf({sure, (1 - sure) / 2});
        time += level;
      }
      const DraftTree whole = tree;
      controller->prune(tree);
      drafted += !tree.nodes.empty();
      const double u = uniform({5, 0, round}, 0, DrawPurpose::order);
      const TokenId right = u < sure ? 0 : 9;
      const bool hit = !tree.nodes.empty() && right == 0;
      time += tree.nodes.empty() ? 1 : 1.05;
      tokens += hit ? 2 : 1;
      const std::vector<NodeId> accepted(hit ? 1 : 0, 0);
      controller->observe(tree, accepted);
      const std::vector<TokenId> continuation = {right, 1};
      if (!whole.nodes.empty()) QVERIFY(controller->observeText(whole, continuation));
    }
    QVERIFY2(pays ? drafted > 380 : drafted < 40, qPrintable(QString::number(drafted)));
    QVERIFY2(tokens / time > (pays ? 1.6 : 0.97), qPrintable(QString::number(tokens / time)));
  }
  // A drafter that is sure and wrong is found out.
  void boastingIsFoundOut() {
    std::map<std::string, std::string> notes = {{kCostCurveNote, "1:1 2:1.1 64:3"},
                                                {kDraftCostNote, "1:0.05"}};
    const auto controller = makeLevelController(&notes);
    DecodeEnvironment environment;
    ToyProposer proposer;
    QVERIFY(controller->begin(environment, proposer).has_value());
    int kept = 0;
    for (int round = 0; round < 200; ++round) {
      if (controller->budget({8, 1, {}}).nodes == 0) {
        controller->observe({}, {});
        continue;
      }
      DraftTree tree = levelOf({0.99});
      const DraftTree whole = tree;
      controller->prune(tree);
      kept += round >= 100 && !tree.nodes.empty();
      controller->observe(tree, {});
      const std::vector<TokenId> continuation = {7};
      QVERIFY(controller->observeText(whole, continuation));
    }
    QCOMPARE(kept, 0);
  }
  // A draft is not begun where its first level alone is too dear, however cheap the others are.
  void theFirstLevelHasACostOfItsOwn() {
    for (const auto& [first, begun] : {std::pair{"2:0.05", true}, std::pair{"2:3", false}}) {
      std::map<std::string, std::string> notes = {{kCostCurveNote, "1:1 2:1.05 8:1.2 64:2"},
                                                  {kDraftCostNote, "1:0.02 16:0.04"},
                                                  {kFirstLevelCostNote, first}};
      const auto controller = makeLevelController(&notes);
      DecodeEnvironment environment;
      ToyProposer proposer;
      QVERIFY(controller->begin(environment, proposer).has_value());
      QCOMPARE(controller->budget({8, 4, {}}).nodes > 0, begun);
    }
  }
  // Another level is drafted where the frontier is likely and a level is cheap, from as few nodes as pay.
  void levelsStopWhereTheyDoNotPay() {
    for (const auto& [chance, cost, least, most] :
         {std::tuple{0.95, "1:0.02 16:0.04", 1, 8}, std::tuple{0.95, "1:2", 0, 0},
          std::tuple{0.01, "1:0.05", 0, 0}}) {
      std::map<std::string, std::string> notes = {{kCostCurveNote, "1:1 2:1.05 8:1.2 64:2"},
                                                  {kDraftCostNote, cost}};
      const auto controller = makeLevelController(&notes);
      DecodeEnvironment environment;
      ToyProposer proposer;
      QVERIFY(controller->begin(environment, proposer).has_value());
      const DraftBudget budget = controller->budget({8, 4, {}});
      const DraftTree tree = levelOf({chance, 0.01, 0.005, 0.001});
      const std::vector<NodeId> frontier = {0, 1, 2, 3};
      const int worth = budget.another ? budget.another(tree, frontier) : 0;
      QVERIFY2(worth >= least && worth <= most, qPrintable(QString::number(worth)));
    }
  }
};

QTEST_GUILESS_MAIN(TestEagle)
#include "TestEagle.moc"
