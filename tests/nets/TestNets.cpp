// The differentiable forward against the one that inference runs, and the losses against the methods sheet's
// numbers.
#include <ATen/ATen.h>

#include <QDir>
#include <QTest>
#include <cmath>

#include "core/train/nets/Objective.h"
#include "tests/torch/OpenedModel.h"

using namespace decoscope;
using namespace decoscope::train;

namespace {

at::Tensor row(std::initializer_list<float> values) {
  return at::tensor(std::vector<float>(values)).unsqueeze(0);
}

// Logits whose softmax is p.
at::Tensor logitsOf(std::initializer_list<float> p) {
  return row(p).log();
}

Result<Net> netOf(const std::string& folder) {
  DECOSCOPE_ASSIGN(const auto weights, openWeights(folder));
  DECOSCOPE_ASSIGN(const Architecture architecture, architectureOf(*weights, folder));
  DECOSCOPE_ASSIGN(Net net, Net::create(architecture, 1));
  DECOSCOPE_TRY(net.load(*weights));
  return net;
}

}  // namespace

class TestNets : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void forwardEqualsInference_data() {
    QTest::addColumn<QString>("name");
    for (const char* name : {"llama3", "llama-linear", "llama-yarn", "qwen2-plain", "qwen2", "qwen3-plain",
                             "smollm3", "olmo2", "granite", "starcoder2"})
      QTest::newRow(name) << name;
  }
  void forwardEqualsInference() {
    QFETCH(QString, name);
    const Opened opened(name.toStdString());
    QVERIFY2(opened.model, qPrintable(opened.problem));
    auto net = netOf(opened.folder.path().toStdString());
    QVERIFY2(net, net ? "" : net.error().text().c_str());
    const std::vector<TokenId> text(kText.begin(), kText.end());
    const Floats expected = opened.logits(requestOf(text));
    NetRequest request;
    request.tokens = at::tensor(std::vector<std::int64_t>(text.begin(), text.end())).unsqueeze(0);
    request.exits = {net->architecture().config.layers};
    request.precision = at::kFloat;
    const at::Tensor logits = net->logits(net->states(request).front(), at::kFloat).detach().contiguous();
    QCOMPARE(logits.numel(), static_cast<std::int64_t>(expected.size()));
    double deviation = 0, worst = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      deviation += expected[i] * expected[i];
      worst = std::max<double>(worst, std::fabs(expected[i] - logits.const_data_ptr<float>()[i]));
    }
    deviation = std::sqrt(deviation / static_cast<double>(expected.size()));
    QVERIFY2(worst < 2e-4 * deviation, qPrintable(QString("%1 of %2").arg(worst).arg(deviation)));
  }

  void refusesWhatItCannotTrain_data() {
    QTest::addColumn<QString>("name");
    QTest::addColumn<QString>("word");
    QTest::newRow("experts") << "mixtral" << "experts";
    QTest::newRow("learned positions") << "gpt2" << "another layout";
    QTest::newRow("sinks") << "gpt-oss" << "sinks";
  }
  void refusesWhatItCannotTrain() {
    QFETCH(QString, name);
    QFETCH(QString, word);
    const Opened opened(name.toStdString());
    const auto net = netOf(opened.folder.path().toStdString());
    QVERIFY(!net);
    QCOMPARE(net.error().code, ErrorCode::unsupported);
    QVERIFY2(QString::fromStdString(net.error().message).contains(word), net.error().text().c_str());
  }

  // Methods sheet §0.4, case A, and §10.
  void divergences() {
    const at::Tensor p = logitsOf({0.5f, 0.3f, 0.2f}), q = logitsOf({0.2f, 0.5f, 0.3f});
    const auto near = [](const at::Tensor& value, double expected) {
      return std::fabs(value.item<double>() - expected) < 1e-6;
    };
    QVERIFY(near(forwardKl(p, q), 0.2238047));
    QVERIFY(near(reverseKl(p, q), 0.1937942));
    QVERIFY(near(totalVariation(p, q), 0.3));
    QVERIFY(near(forwardKl(p, p), 0));
    QVERIFY(near(totalVariation(q, q), 0));
  }
  void gradientOfTotalVariation() {
    at::Tensor logits = row({0.3f, -0.2f, 0.9f, 0.1f}).requires_grad_(true);
    const at::Tensor p = logitsOf({0.4f, 0.3f, 0.1f, 0.2f});
    totalVariation(p, logits).sum().backward();
    const std::vector<float> expected = {-0.101003f, -0.061261f, 0.244959f, -0.082694f};
    for (int i = 0; i < 4; ++i)
      QVERIFY(std::fabs(logits.grad()[0][i].item<float>() - expected[static_cast<std::size_t>(i)]) < 1e-5f);
  }
  // A constant shift of the reward changes nothing, its spread only the length.
  void rewardIsNormalised() {
    at::Tensor logits = row({0.3f, -0.2f, 0.9f, 0.1f}).requires_grad_(true);
    const at::Tensor p = logitsOf({0.4f, 0.3f, 0.1f, 0.2f});
    totalVariation(p, logits).sum().backward();
    const at::Tensor plain = logits.grad().clone();
    logits.mutable_grad() = at::Tensor();
    totalVariationPlus(p, logits).sum().backward();
    // Three of four rewards are 1: their deviation is √(3/16).
    const at::Tensor scaled = logits.grad() * std::sqrt(3.0 / 16.0);
    QVERIFY((scaled - plain).abs().max().item<double>() < 1e-5);
    // No reward at all must give no gradient, and no NaN.
    logits.mutable_grad() = at::Tensor();
    totalVariationPlus(logits.detach(), logits).sum().backward();
    QVERIFY(logits.grad().abs().max().item<double>() < 1e-6);
  }

  void scheduleRisesAndFalls() {
    Schedule schedule;
    schedule.steps = 101;
    schedule.warmUp = 10;
    schedule.learningRate = 1;
    schedule.finalRate = 0.1;
    QCOMPARE(schedule.rate(0), 0.1);
    QCOMPARE(schedule.rate(9), 1.0);
    QCOMPARE(schedule.rate(10), 1.0);
    QVERIFY(std::fabs(schedule.rate(55) - 0.55) < 1e-12);
    QVERIFY(std::fabs(schedule.rate(100) - 0.1) < 1e-12);
  }
};

QTEST_GUILESS_MAIN(TestNets)
#include "TestNets.moc"
