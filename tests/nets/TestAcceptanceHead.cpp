// SpecDec++'s head while it learns: labels and loss by hand, drafts against the models as inference runs
// them, and a training from recipe to folder.
#include <QTest>
#include <cmath>

#include "core/model/ModelLoader.h"
#include "core/train/nets/AcceptanceNet.h"
#include "core/train/nets/DraftChains.h"
#include "core/train/nets/Objective.h"
#include "tests/nets/TinyTraining.h"

using namespace decoscope;
using namespace decoscope::train;
using nlohmann::json;

namespace {

at::Tensor values(std::vector<float> list) {
  return at::tensor(list);
}

// Logits whose softmax is p.
at::Tensor logitsOf(std::vector<float> p) {
  return at::tensor(p).log().unsqueeze(0);
}

bool near(double a, double b, double tolerance = 1e-6) {
  return std::fabs(a - b) < tolerance;
}

DraftChain chainOf(std::vector<double> acceptance) {
  DraftChain chain;
  chain.acceptance = std::move(acceptance);
  return chain;
}

json headShape(bool shared = false) {
  return {{"model_type", "specdec-pp"}, {"hidden_size", 32}, {"num_blocks", 3}, {"shared_blocks", shared}};
}

}  // namespace

class TestAcceptanceHead : public QObject {
  Q_OBJECT
  const test::TinyTraining tiny_;
  std::string target_, drafter_;  // folders

  Recipe recipe() const {
    Recipe made = tiny_.recipe("acceptance-head", {{"rejection_weight", 2.0}, {"starts", 6}});
    made.shape = headShape();
    made.packing = Packing::texts;
    made.start = drafter_;
    made.teacher = target_;
    made.bfloat16 = false;
    made.schedule.length = 95;
    made.schedule.learningRate = 0.02;
    return made;
  }
  Result<Rows> rows() const {
    DECOSCOPE_ASSIGN(const auto tokenizer, loadModelTokenizer(target_));
    Rows::Source source;
    source.file = tiny_.corpus().toStdString();
    source.texts = 2000;
    return Rows::read(source, *tokenizer, Packing::texts, 95, 5);
  }

 private Q_SLOTS:
  void initTestCase() {
    const auto pair = tiny_.preparedPair();
    QVERIFY2(pair, pair ? "" : pair.error().text().c_str());
    target_ = pair->target;
    drafter_ = pair->drafter;
  }

  // Methods sheet §0.4, case A.
  void acceptanceIsTheSmallerOfOneAndTheQuotient() {
    const at::Tensor p = logitsOf({0.5f, 0.3f, 0.2f}), q = logitsOf({0.2f, 0.5f, 0.3f});
    const at::Tensor found = acceptanceOf(p.expand({3, 3}), q.expand({3, 3}), at::arange(3, at::kLong));
    const double expected[] = {1, 0.6, 2.0 / 3};
    for (int i = 0; i < 3; ++i) QVERIFY(near(found[i].item<double>(), expected[i]));
  }
  // Two tokens, P = 1 and 0.25, with estimates 0.8 and 0.4: 0.223144 + w · 0.75 · 0.510826 + 0.25 · 0.916291
  // over 1 + w · 0.75 + 0.25.
  void lossWeighsRejections_data() {
    QTest::addColumn<double>("weight");
    QTest::addColumn<double>("loss");
    QTest::newRow("plain") << 1.0 << 0.417668;
    QTest::newRow("the paper's") << 6.0 << 0.478423;
  }
  void lossWeighsRejections() {
    QFETCH(double, weight);
    QFETCH(double, loss);
    const at::Tensor logits = at::cat({logitsOf({0.2f, 0.8f}), logitsOf({0.6f, 0.4f})});
    QVERIFY(near(acceptanceLoss(logits, values({1, 0.25f}), weight).item<double>(), loss, 2e-6));
    QVERIFY(near(estimatesOf(logits)[1].item<double>(), 0.4));
    // The best estimate of P is P ÷ (P + w · (1 − P)): there the gradient vanishes.
    const auto best = static_cast<float>(0.25 / (0.25 + weight * 0.75));
    at::Tensor at = logitsOf({1 - best, best}).requires_grad_(true);
    acceptanceLoss(at, values({0.25f}), weight).backward();
    QVERIFY(at.grad().abs().max().item<double>() < 1e-6);
  }
  void areaUnderTheCurve_data() {
    QTest::addColumn<QList<float>>("estimates");
    QTest::addColumn<QList<float>>("acceptance");
    QTest::addColumn<double>("area");
    QTest::newRow("in order") << QList<float>{0.1f, 0.9f} << QList<float>{0, 1} << 1.0;
    QTest::newRow("the other way round") << QList<float>{0.9f, 0.1f} << QList<float>{0, 1} << 0.0;
    QTest::newRow("a tie counts half")
        << QList<float>{0.9f, 0.6f, 0.6f, 0.2f} << QList<float>{1, 1, 0, 0} << 0.875;
    QTest::newRow("probabilities") << QList<float>{0.1f, 0.9f} << QList<float>{0.25f, 0.75f} << 0.75;
    QTest::newRow("nothing was refused") << QList<float>{0.1f, 0.9f} << QList<float>{1, 1} << 0.5;
  }
  void areaUnderTheCurve() {
    QFETCH(QList<float>, estimates);
    QFETCH(QList<float>, acceptance);
    QFETCH(double, area);
    QVERIFY(near(areaUnderCurve(values({estimates.begin(), estimates.end()}),
                                values({acceptance.begin(), acceptance.end()})),
                 area));
  }

  // Methods sheet §5, golden; the head does not see the last token of the draft before it is there.
  void lengthsByTheRule_data() {
    QTest::addColumn<double>("threshold");
    QTest::addColumn<int>("least");
    QTest::addColumn<int>("length");
    QTest::newRow("0.3") << 0.3 << 2 << 4;
    QTest::newRow("0.7") << 0.7 << 2 << 6;
    QTest::newRow("at once") << 0.0 << 2 << 2;
    QTest::newRow("not before the shortest") << 0.0 << 5 << 5;
    QTest::newRow("never") << 1.0 << 2 << 8;
  }
  void lengthsByTheRule() {
    QFETCH(double, threshold);
    QFETCH(int, least);
    QFETCH(int, length);
    const DraftChain chain = chainOf(std::vector<double>(8, 1));
    QCOMPARE(lengthByRule(chain, {0.95, 0.9, 0.8, 0.7, 0.5, 0.5, 0.5, 0.5}, threshold, least), length);
  }
  // Two drafts, one of which ends the text with its first token.
  void figuresOfDrafts() {
    const std::vector<DraftChain> chains = {chainOf({0.5, 0.5}), chainOf({1})};
    const DraftFigures two = figuresOf(chains, [](const DraftChain&) { return 2; });
    QVERIFY(near(two.drafted, 1.5) && near(two.accepted, 0.875) && near(two.wasted(), 1 - 0.875 / 1.5));
    const DraftFigures one = fixedLengthsThatAccept(chains, 0.75);
    QVERIFY(near(one.drafted, 1) && near(one.accepted, 0.75));
    const DraftFigures between = fixedLengthsThatAccept(chains, 0.8125);
    QVERIFY(near(between.drafted, 1.25) && near(between.accepted, 0.8125));
    const DraftFigures beyond = fixedLengthsThatAccept(chains, 2);
    QVERIFY(near(beyond.drafted, 1.5) && near(beyond.accepted, 0.875));
    QVERIFY(near(figuresOf({}, [](const DraftChain&) { return 2; }).wasted(), 0));
  }

  // States and probabilities of each draft, by the models as decoding runs them.
  void draftsEqualInference() {
    auto drafter = frozenNet(drafter_), target = frozenNet(target_);
    const auto texts = rows();
    QVERIFY(drafter && target && texts);
    const std::vector<DraftChain> chains = draftChains(*drafter, *target, *texts, {3, 6, 9, at::kFloat});
    QVERIFY(chains.size() >= 3 && chains.size() % 3 == 0);
    LoadOptions options;
    options.dtype = "f32";
    auto small = loadModel(drafter_, options, StopToken()), large = loadModel(target_, options, StopToken());
    QVERIFY(small && large);
    const auto probability = [](const Logits& logits, int row, TokenId token) {
      const auto values = logits.row(row);
      double sum = 0;
      for (const float value : values) sum += std::exp(static_cast<double>(value));
      return std::exp(static_cast<double>(values[static_cast<std::size_t>(token)])) / sum;
    };
    int ended = 0;
    for (const DraftChain& chain : chains) {
      QVERIFY(chain.length() >= 1 && chain.length() <= 6);
      const bool end = chain.tokens.back() == texts->endToken();
      ended += end ? 1 : 0;
      QVERIFY(end || chain.length() == 6);
      const int before = static_cast<int>(chain.tokens.size()) - chain.length();
      ForwardRequest request;
      request.tokens = chain.tokens;
      for (int i = 0; i < chain.length(); ++i) request.logitRows.push_back(before - 1 + i);
      QVERIFY(small->model->retain(0) && large->model->retain(0));
      const auto p = large->model->forward(request, StopToken());
      request.taps = {{TapSite::residual, 1}};
      const auto q = small->model->forward(request, StopToken());
      QVERIFY(p && q);
      for (int i = 0; i < chain.length(); ++i) {
        const TokenId token = chain.tokens[static_cast<std::size_t>(before + i)];
        const double wanted =
            std::min(1.0, probability(*p->logits, i, token) / probability(*q->logits, i, token));
        QVERIFY(near(chain.acceptance[static_cast<std::size_t>(i)], wanted, 1e-4));
        for (int k = 0; k < 32; ++k)
          QVERIFY(near(chain.states[i][k].item<double>(),
                       q->taps.front().values[static_cast<std::size_t>((before + i) * 32 + k)], 1e-3));
      }
    }
    QVERIFY(ended > 0 && ended < static_cast<int>(chains.size()));
    // The same again.
    const std::vector<DraftChain> again = draftChains(*drafter, *target, *texts, {3, 6, 9, at::kFloat});
    QCOMPARE(again.size(), chains.size());
    for (std::size_t i = 0; i < chains.size(); ++i) QCOMPARE(again[i].tokens, chains[i].tokens);
  }

  // What learns is what the reader of the checkpoint computes.
  void headEqualsItsReader_data() {
    QTest::addColumn<bool>("shared");
    QTest::newRow("own blocks") << false;
    QTest::newRow("one block for all") << true;
  }
  void headEqualsItsReader() {
    QFETCH(bool, shared);
    Recipe made = recipe();
    made.shape = headShape(shared);
    const auto trained = tiny_.run(made, QTest::currentDataTag());
    QVERIFY2(trained, trained ? "" : trained.error().text().c_str());
    auto net = AcceptanceNet::create(made.shape.dump(), "shape", 1);
    QVERIFY(net.has_value());
    QCOMPARE(net->parameters().size(), std::size_t{shared ? 4u : 8u});
    const auto weights = openWeights(trained->model);
    QVERIFY(weights && net->load(**weights));
    const auto loaded = loadModel(trained->model, LoadOptions(), StopToken());
    QVERIFY2(loaded, loaded ? "" : loaded.error().text().c_str());
    at::Generator generator = at::detail::createCPUGenerator(3);
    const at::Tensor states = at::randn({4, 32}, generator, at::TensorOptions(at::kFloat));
    const at::Tensor expected = net->logits(states).detach();
    ForwardRequest request;
    request.visibility = Visibility::full;
    request.tokens = {0, 0, 0, 0};
    request.logitRows = {0, 1, 2, 3};
    request.inputs.assign(states.const_data_ptr<float>(), states.const_data_ptr<float>() + states.numel());
    const auto output = loaded->model->forward(request, StopToken());
    QVERIFY(output.has_value());
    for (int row = 0; row < 4; ++row)
      for (int column = 0; column < 2; ++column)
        QVERIFY(near(output->logits->row(row)[static_cast<std::size_t>(column)],
                     expected[row][column].item<double>(), 1e-4));
    // It has no vocabulary of its own.
    QVERIFY(!QFile::exists(QString::fromStdString(trained->model + "/tokenizer.json")));
  }

  void gradientsReachTheHeadOnly() {
    const Recipe made = recipe();
    const ObjectiveSetup setup{made, frozenNet, [](const std::string& name) { return name; }};
    const auto objective = makeObjective(setup);
    auto drafter = frozenNet(drafter_);
    const auto texts = rows();
    QVERIFY(objective && drafter && texts);
    QVERIFY((*objective)->prepare(*drafter, *texts));
    ParameterSet& head = *(*objective)->head();
    const Place place{0, at::detail::createCPUGenerator(1), at::kFloat};
    (*objective)->loss(*drafter, texts->batch(0, 8), place).total.backward();
    for (const Parameter& parameter : head.parameters()) {
      QVERIFY2(parameter.value.grad().defined(), parameter.name.c_str());
      QVERIFY2(parameter.value.grad().abs().max().item<double>() > 0, parameter.name.c_str());
    }
    for (const Parameter& parameter : drafter->parameters()) QVERIFY(!parameter.value.grad().defined());
  }
  // A drafter that is its own target has every token accepted.
  void ownTokensAreAccepted() {
    Recipe made = recipe();
    made.teacher = drafter_;
    const ObjectiveSetup setup{made, frozenNet, [](const std::string& name) { return name; }};
    const auto objective = makeObjective(setup);
    auto drafter = frozenNet(drafter_);
    const auto texts = rows();
    QVERIFY(objective && drafter && texts);
    const Place place{0, at::detail::createCPUGenerator(1), at::kFloat};
    const Loss loss = (*objective)->loss(*drafter, texts->batch(0, 8), place);
    QCOMPARE(loss.measures.front().name, std::string("acceptance"));
    QVERIFY(near(loss.measures.front().value, 1));
  }

  void lossFallsAndWasteToo() {
    Recipe made = recipe();
    made.schedule.steps = 60;
    made.evaluateEvery = 60;
    const auto result = tiny_.run(made, "falls");
    QVERIFY2(result, result ? "" : result.error().text().c_str());
    QVERIFY2(result->loss < 0.9 * result->firstLoss,
             qPrintable(QString("%1 → %2").arg(result->firstLoss).arg(result->loss)));
    std::map<std::string, double> measured;
    for (const Measure& measure : result->heldOut) measured[measure.name] = measure.value;
    QVERIFY2(measured["held_out_area_under_curve"] > 0.6,
             qPrintable(QString::number(measured["held_out_area_under_curve"])));
    QVERIFY(measured["held_out_drafted"] >= 2 && measured["held_out_drafted"] <= 20);
    QVERIFY2(measured["held_out_wasted"] < measured["held_out_wasted_at_fixed_length"],
             qPrintable(QString("%1 and %2")
                            .arg(measured["held_out_wasted"])
                            .arg(measured["held_out_wasted_at_fixed_length"])));
  }

  void resumesExactly() {
    const Recipe made = recipe();
    std::vector<double> whole, parts;
    QVERIFY(tiny_.run(made, "whole", 0, false, &whole));
    QVERIFY(tiny_.run(made, "parts", 5, false, &parts));
    QVERIFY(tiny_.run(made, "parts", 13, true, &parts));  // behind an evaluation
    QVERIFY(tiny_.run(made, "parts", 0, true, &parts));
    QCOMPARE(parts.size(), whole.size());
    for (std::size_t i = 0; i < whole.size(); ++i) QCOMPARE(parts[i], whole[i]);  // to the last bit
    for (const char* file : {"checkpoint.safetensors", "model/model.safetensors"})
      QCOMPARE(test::contentOf(tiny_.path(QString("parts/") + file)),
               test::contentOf(tiny_.path(QString("whole/") + file)));
  }

  void badRecipes_data() {
    QTest::addColumn<QString>("change");
    QTest::addColumn<QString>("word");
    QTest::newRow("no drafter") << R"({"start":""})" << "drafter";
    QTest::newRow("another width") << R"({"shape":{"hidden_size":16,"num_blocks":1}})" << "width 16";
    QTest::newRow("no blocks") << R"({"shape":{"hidden_size":32}})" << "num_blocks";
    QTest::newRow("nothing would be judged") << R"({"options":{"mixing":1}})" << "mixing";
    QTest::newRow("no weight") << R"({"options":{"rejection_weight":0}})" << "rejection_weight";
  }
  void badRecipes() {
    QFETCH(QString, change);
    QFETCH(QString, word);
    Recipe made = recipe();
    const json changes = json::parse(change.toStdString());
    if (changes.contains("start")) made.start = changes["start"];
    if (changes.contains("shape")) made.shape = changes["shape"];
    if (changes.contains("options")) made.options = changes["options"];
    const auto result = tiny_.run(made, "bad");
    QVERIFY(!result);
    QCOMPARE(result.error().code, ErrorCode::badInput);
    QVERIFY2(QString::fromStdString(result.error().text()).contains(word), result.error().text().c_str());
  }
};

QTEST_GUILESS_MAIN(TestAcceptanceHead)
#include "TestAcceptanceHead.moc"
