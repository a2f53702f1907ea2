// SpecDec++: the head's arithmetic, the stopping rule, and chains that end by it. That its text is the
// target's is in TestLossless.
#include <QTest>
#include <cmath>
#include <set>

#include "core/decode/draft/StopRule.h"
#include "core/model/ModelLoader.h"
#include "core/session/Audit.h"
#include "tests/decode/Features.h"

using namespace decoscope;

namespace {

struct Chain {
  std::vector<TokenId> drafted;
  std::vector<double> estimates;
  double rejection = -1;
  std::string reason;
  int size() const { return static_cast<int>(drafted.size()); }
};

Result<std::vector<Chain>> chainsOf(Engine& engine, const std::vector<std::string>& assignments) {
  RunRequest request;
  request.method = "specdec-pp";
  request.assignments = {"temperature=1"};
  request.assignments.insert(request.assignments.end(), assignments.begin(), assignments.end());
  request.promptTokens = {0, 1, 2, 0};
  request.maxNewTokens = 200;
  request.stopAtEnd = false;
  DECOSCOPE_ASSIGN(const RunId run, engine.startRun(request));
  DECOSCOPE_TRY(test::finishRun(engine));
  const auto source = engine.recording().source;
  DECOSCOPE_ASSIGN(const AuditReport audit, auditRun(*source, run));
  if (!audit.failed.empty()) return fail(ErrorCode::failed, audit.failed.front().what);
  std::vector<Chain> chains;
  // The last rounds are cut short by the length of the text.
  for (StepIndex index = 0; index + 12 < source->extent(run).second; ++index) {
    DECOSCOPE_ASSIGN(const StepPointer step, source->step(run, index));
    Chain chain;
    for (const Event& event : step->events)
      if (const auto* note = std::get_if<NoteFact>(&event); note && note->kind == "draft")
        chain.reason = note->text;
      else if (const auto* proposed = std::get_if<ProposeFact>(&event))
        chain.drafted.push_back(proposed->token);
      else if (const auto* score = std::get_if<ScoreFact>(&event);
               score && score->name == "estimated_acceptance")
        chain.estimates.push_back(score->value);
      else if (score && score->name == "estimated_rejection")
        chain.rejection = score->value;
    chains.push_back(std::move(chain));
  }
  return chains;
}

Result<std::vector<Chain>> chainsOf(const std::vector<std::string>& assignments) {
  Engine engine(recordInMemory());
  DECOSCOPE_TRY(test::adoptJudged(engine));
  return chainsOf(engine, assignments);
}

}  // namespace

class TestSpecDecPlusPlus : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  // The paper's rule on the vector of the methods sheet.
  void theRuleStopsWhereItShould() {
    for (const auto& [threshold, factors] : {std::pair(0.3, 3), std::pair(0.7, 5)}) {
      StopRule rule(threshold, 2);
      const double accepted[] = {0.95, 0.9, 0.8, 0.7, 0.5},
                   rejections[] = {0.05, 0.145, 0.316, 0.5212, 0.7606};
      for (int i = 0; i < 5; ++i) {
        rule.add(accepted[i]);
        QVERIFY(std::abs(rule.rejection() - rejections[i]) < 1e-12);
        QCOMPARE(rule.stops(i + 2), i + 1 >= factors);
        QVERIFY(!rule.stops(1));  // not before the shortest draft
      }
    }
  }
  // h ← h + SiLU(b) three times, from 0.5: with SiLU(1) = 0.7310586, SiLU(−1) = −0.2689414, SiLU(2)
  // = 1.7615942.
  void theHeadComputesItsBlocks() {
    for (const bool shared : {false, true}) {
      const QTemporaryDir folder;
      std::vector<test::NamedValues> tensors = {{"classifier.weight", {2, 1}, {0, 2}},
                                                {"classifier.bias", {2}, {0.25f, -1}}};
      const float biases[] = {1, -1, 2};
      for (int i = 0; i < (shared ? 1 : 3); ++i) {
        tensors.push_back({"blocks." + std::to_string(i) + ".weight", {1, 1}, {0}});
        tensors.push_back({"blocks." + std::to_string(i) + ".bias", {1}, {biases[i]}});
      }
      test::writeAcceptanceHead(folder.path().toStdString(), 1, 3, shared, tensors);
      const auto loaded = loadModel(folder.path().toStdString(), LoadOptions(), StopToken());
      QVERIFY2(loaded.has_value(), loaded ? "" : loaded.error().text().c_str());
      ForwardRequest request;
      request.visibility = Visibility::full;
      request.tokens = {0, 0};
      request.inputs = {0.5f, -9};
      request.logitRows = {0};
      const auto output = loaded->model->forward(request, StopToken());
      QVERIFY(output.has_value());
      const double state = shared ? 0.5 + 3 * 0.7310586 : 0.5 + 0.7310586 - 0.2689414 + 1.7615942;
      QVERIFY(std::abs(output->logits->row(0)[0] - 0.25) < 1e-6);
      QVERIFY(std::abs(output->logits->row(0)[1] - (2 * state - 1)) < 1e-5);
      const auto info = describeModel(folder.path().toStdString());
      QVERIFY(info.has_value() && info->architecture == "specdec-pp" && !capabilitiesOf(*info).causal);
    }
  }
  void damagedHeadsAreRefused_data() {
    QTest::addColumn<QByteArray>("config");
    QTest::addColumn<QString>("says");
    QTest::newRow("no width") << QByteArray(R"({"model_type":"specdec-pp","num_blocks":1})") << "hidden_size";
    QTest::newRow("many blocks") << QByteArray(
                                        R"({"model_type":"specdec-pp","hidden_size":1,"num_blocks":65})")
                                 << "num_blocks";
    QTest::newRow("other width") << QByteArray(
                                        R"({"model_type":"specdec-pp","hidden_size":2,"num_blocks":1})")
                                 << "blocks.0.weight";
    QTest::newRow("missing block") << QByteArray(
                                          R"({"model_type":"specdec-pp","hidden_size":1,"num_blocks":2})")
                                   << "blocks.1.weight";
  }
  void damagedHeadsAreRefused() {
    QFETCH(QByteArray, config);
    QFETCH(QString, says);
    const QTemporaryDir folder;
    const std::string path = folder.path().toStdString();
    test::writeAcceptanceHead(path, 1, 1, false,
                              {{"blocks.0.weight", {1, 1}, {0}},
                               {"blocks.0.bias", {1}, {0}},
                               {"classifier.weight", {2, 1}, {0, 0}},
                               {"classifier.bias", {2}, {0, 0}}});
    QVERIFY(loadModel(path, LoadOptions(), StopToken()).has_value());
    std::ofstream(path + "/config.json") << config.toStdString();
    const auto loaded = loadModel(path, LoadOptions(), StopToken());
    QVERIFY(!loaded);
    QVERIFY2(loaded.error().text().find(says.toStdString()) != std::string::npos,
             loaded.error().text().c_str());
  }
  // Threshold 0 drafts the least, threshold 1 the most; between them each chain ends by what its estimates
  // say.
  void chainsEndByTheirEstimates() {
    const auto least = chainsOf({"threshold=0", "min_length=2", "gamma=6"});
    QVERIFY2(least.has_value(), least ? "" : least.error().text().c_str());
    for (const Chain& chain : *least) QCOMPARE(chain.size(), 2);
    const auto most = chainsOf({"threshold=1", "gamma=6"});
    QVERIFY(most.has_value());
    for (const Chain& chain : *most) QCOMPARE(chain.size(), 6);
    const auto between = chainsOf({"threshold=0.4", "min_length=2", "gamma=6"});
    QVERIFY(between.has_value());
    std::set<int> lengths;
    for (const Chain& chain : *between) {
      lengths.insert(chain.size());
      QCOMPARE(chain.estimates.size(), static_cast<std::size_t>(chain.size()) - 1);
      double accepted = 1;
      for (std::size_t i = 0; i < chain.estimates.size(); ++i) {
        QVERIFY(chain.estimates[i] > 0 && chain.estimates[i] < 1);
        accepted *= chain.estimates[i];
        if (i + 1 < chain.estimates.size()) QVERIFY(1 - accepted <= 0.4 || i + 2 < 2);
      }
      QVERIFY(std::abs(chain.rejection - (1 - accepted)) < 1e-12);
      QCOMPARE(chain.reason.find("threshold") != std::string::npos, chain.rejection > 0.4);
      QVERIFY(chain.size() == 6 || chain.rejection > 0.4);
    }
    QVERIFY(lengths.size() > 1);  // otherwise the rule decided nothing
  }

  // A draft head is fed the target's features for the text and its own guesses for what it drafted; its guess
  // at a token is the state that is judged.
  void aDraftHeadIsJudgedByItsGuesses_data() {
    QTest::addColumn<QList<TokenId>>("ranked");
    QTest::addColumn<QStringList>("set");
    QTest::newRow("sampled") << QList<TokenId>{} << QStringList{};
    QTest::newRow("of some tokens") << QList<TokenId>{2, 0} << QStringList{};
    QTest::newRow("greedy") << QList<TokenId>{} << QStringList{"temperature=0"};
  }
  void aDraftHeadIsJudgedByItsGuesses() {
    QFETCH(QList<TokenId>, ranked);
    QFETCH(QStringList, set);
    Engine engine(recordInMemory());
    const auto drafter = test::adoptJudgedHead(engine, {ranked.begin(), ranked.end()});
    QVERIFY(drafter.has_value());
    std::vector<std::string> assignments = {"threshold=0.9", "gamma=6"};
    for (const QString& one : set) assignments.push_back(one.toStdString());
    const auto chains = chainsOf(engine, assignments);
    QVERIFY2(chains.has_value(), chains ? "" : chains.error().text().c_str());
    QCOMPARE((*drafter)->wrong(), 0);
    QCOMPARE((*drafter)->fedZero(), 0);
    std::set<std::size_t> lengths;
    std::set<TokenId> drafted;
    for (const Chain& chain : *chains) {
      lengths.insert(chain.drafted.size());
      QCOMPARE(chain.estimates.size(), chain.drafted.size() - 1);
      for (std::size_t i = 0; i < chain.estimates.size(); ++i) {
        // h ← h + SiLU(h / 2 − 1), classes h − 2 and 1.
        double state = test::guessOf(chain.drafted[i]);
        const double change = state / 2 - 1;
        state += change / (1 + std::exp(-change));
        QVERIFY(std::abs(chain.estimates[i] - 1 / (1 + std::exp(state - 2 - 1))) < 1e-5);
      }
      drafted.insert(chain.drafted.begin(), chain.drafted.end());
    }
    QVERIFY(!lengths.empty());
    if (!ranked.empty()) QCOMPARE(drafted, (std::set<TokenId>{0, 2}));
    // The text is the target's: a run after it starts where the head left off, and repeats plain decoding.
    RunRequest request;
    request.promptTokens = {0, 1, 2, 0};
    request.maxNewTokens = 40;
    request.stopAtEnd = false;
    request.assignments = {"temperature=0"};
    std::vector<TokenId> plain;
    for (const char* method : {"sampling", "specdec-pp"}) {
      request.method = method;
      QVERIFY(engine.startRun(request).has_value());
      QVERIFY(test::finishRun(engine).has_value());
      if (plain.empty()) plain = test::generated(engine);
      QVERIFY(test::generated(engine) == plain);
    }
  }
};

QTEST_GUILESS_MAIN(TestSpecDecPlusPlus)
#include "TestSpecDecPlusPlus.moc"
