// What a drafter is fed, and what it says.
#include <QTest>
#include <cmath>
#include <set>

#include "tests/decode/Tables.h"

using namespace decoscope;

class TestDrafting : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void treesAreGrownLevelByLevel_data() {
    QTest::addColumn<QString>("rule");
    QTest::addColumn<int>("width");
    QTest::addColumn<int>("depth");
    QTest::addColumn<int>("nodes");
    QTest::newRow("chain") << "r1" << 1 << 4 << 16;
    QTest::newRow("with replacement") << "r1" << 3 << 3 << 64;
    QTest::newRow("without replacement") << "r2" << 2 << 4 << 64;
    QTest::newRow("largest") << "r3" << 2 << 3 << 64;
    QTest::newRow("bounded in the middle of a level") << "r2" << 3 << 4 << 14;
  }
  // Each node is fed at most once, and its children are drawn from what the drafter says behind its path.
  void treesAreGrownLevelByLevel() {
    QFETCH(QString, rule);
    QFETCH(int, width);
    QFETCH(int, depth);
    QFETCH(int, nodes);
    Engine engine(recordInMemory());
    test::adopt(engine, "target", test::kTarget);
    test::adopt(engine, "drafter", test::kDrafter);
    RunRequest request;
    request.method = "specinfer";
    request.assignments = {"temperature=1",
                           "adaptive=false",
                           "rule=" + rule.toStdString(),
                           "tree_width=" + std::to_string(width),
                           "tree_depth=" + std::to_string(depth),
                           "tree_nodes=" + std::to_string(nodes)};
    request.promptTokens = {0, 1, 2, 0, 1, 2};
    request.maxNewTokens = 40;
    request.seed = 5;
    request.stopAtEnd = false;
    const RunId run = *engine.startRun(request);
    QVERIFY(test::finishRun(engine).has_value());
    const auto drafter = *parseTable(test::kDrafter, "d");
    std::size_t missing = request.promptTokens.size();  // tokens of the text that the drafter has not seen
    int deepest = 0;
    for (StepIndex index = 0; index < engine.recording().source->extent(run).second; ++index) {
      const StepPointer step = *engine.recording().source->step(run, index);
      std::vector<ProposeFact> proposed;
      std::vector<std::int32_t> fed;
      std::size_t committed = 0;
      for (const Event& event : step->events) {
        if (const auto* fact = std::get_if<ProposeFact>(&event)) proposed.push_back(*fact);
        if (const auto* fact = std::get_if<ForwardFact>(&event); fact && fact->role == "drafter")
          fed.push_back(fact->tokens);
        committed += std::holds_alternative<CommitFact>(event);
      }
      // Two equal samples are one node to the drafter.
      std::vector<std::set<std::pair<NodeId, TokenId>>> levels;
      for (const ProposeFact& node : proposed) {
        levels.resize(std::max(levels.size(), static_cast<std::size_t>(node.depth)));
        levels[static_cast<std::size_t>(node.depth) - 1].insert({node.parent, node.token});
      }
      QCOMPARE(fed.size(), levels.size());
      for (std::size_t level = 0; level < fed.size(); ++level)
        if (level > 0 || width > 1)  // a chain stays in the cache as far as it was right
          QCOMPARE(static_cast<std::size_t>(fed[level]), level == 0 ? missing : levels[level - 1].size());
      if (!fed.empty()) missing = 0;
      missing += committed;
      deepest = std::max(deepest, static_cast<int>(levels.size()));
      for (const ProposeFact& node : proposed) {
        std::vector<TokenId> text(engine.text().begin(),
                                  engine.text().begin() + static_cast<std::ptrdiff_t>(step->committedBefore));
        std::vector<TokenId> path;
        for (NodeId at = node.parent; at != kRootNode; at = proposed[static_cast<std::size_t>(at)].parent)
          path.insert(path.begin(), proposed[static_cast<std::size_t>(at)].token);
        text.insert(text.end(), path.begin(), path.end());
        QVERIFY(std::abs(node.q - test::probabilityOf(drafter, text, {node.token})) < 1e-6);
      }
    }
    QVERIFY(deepest >= 3);
  }
};

QTEST_GUILESS_MAIN(TestDrafting)
#include "TestDrafting.moc"
