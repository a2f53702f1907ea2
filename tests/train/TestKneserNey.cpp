// The n-gram model: by hand, as a distribution, and against a model written from the formulas in another
// language: reference/make_kneser_ney.py.
#include <QTest>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "core/train/KneserNey.h"

using namespace decoscope;
using nlohmann::json;

namespace {

using Ids = std::vector<TokenId>;

KneserNey modelOf(const std::vector<Ids>& texts, int order, int vocabulary) {
  KneserNeyTrainer trainer(order, vocabulary);
  for (const Ids& text : texts)
    if (!trainer.add(text)) qFatal("a text was refused");
  auto model = trainer.train({});
  if (!model) qFatal("%s", model.error().text().c_str());
  return std::move(*model);
}

// Texts in which what follows depends on the two tokens before.
std::vector<Ids> randomTexts(int count, int vocabulary, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<Ids> texts;
  for (int i = 0; i < count; ++i) {
    Ids text = {1};
    const int length = static_cast<int>(random() % 30);
    for (int k = 0; k < length; ++k) {
      const TokenId last = text.back(), before = text.size() > 1 ? text[text.size() - 2] : 0;
      text.push_back(random() % 3 == 0 ? static_cast<TokenId>(random() % static_cast<unsigned>(vocabulary))
                                       : (last * 5 + before * 3 + 1) % vocabulary);
    }
    text.push_back(0);
    texts.push_back(text);
  }
  return texts;
}

}  // namespace

class TestKneserNey : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  // Texts "ab" and "ac" over {a, b, c, d}, order 2; too few counts for discounts, so D1 = 1/2, D2 = 1.
  // Unigrams, by tokens before: a 1 (the beginning), b 1, c 1: total 3, b(ε) = 3 · 1/2 / 3 = 1/2.
  //   p(a) = p(b) = p(c) = 1/2 / 3 + 1/2 · 1/4 = 7/24; p(d) = 1/8.
  // After the beginning: "a" twice, so p(a) = (2 − 1) / 2 + 1/2 · 7/24 = 31/48, p(b) = 1/2 · 7/24 = 7/48.
  // After a: b 1, c 1, so b(a) = 1/2: p(b | a) = 1/2 / 2 + 1/2 · 7/24 = 19/48, p(d | a) = 1/16.
  // After b nothing ever came: p(a | b) = p(a).
  void byHand() {
    const KneserNey model = modelOf({{0, 1}, {0, 2}}, 2, 4);
    const auto near = [](double value, double expected) { return std::abs(value - expected) < 1e-15; };
    const auto begin = *model.distribution({});
    QVERIFY(near(begin[0], 31.0 / 48));
    QVERIFY(near(begin[1], 7.0 / 48));
    QVERIFY(near(begin[3], 1.0 / 16));
    const auto afterA = *model.distribution(Ids{0});
    QVERIFY(near(afterA[1], 19.0 / 48));
    QVERIFY(near(afterA[2], 19.0 / 48));
    QVERIFY(near(afterA[0], 7.0 / 48));
    QVERIFY(near(afterA[3], 1.0 / 16));
    const auto afterB = *model.distribution(Ids{0, 1});
    QVERIFY(near(afterB[0], 7.0 / 24));
    QVERIFY(near(afterB[3], 1.0 / 8));
    QVERIFY(near((*model.logProbabilities(Ids{0, 1}))[1], std::log(19.0 / 48)));
    QVERIFY(!model.discounts()[0].fromCounts);
    // Bigrams: the beginning with a, a with b, a with c.
    QCOMPARE(model.sizes(), (std::vector<std::int64_t>{3, 3}));
  }
  // Order 1 with counts 1, 2, 3 and 4 once each: Y = 1/3, so D1 = 1 − 2/3, D2 = 2 − 1, D3+ = 3 − 4/3.
  void discountsByHand() {
    const KneserNey model = modelOf({{0, 1, 1, 2, 2, 2, 3, 3, 3, 3}}, 1, 5);
    const auto& discounts = model.discounts()[0];
    QVERIFY(discounts.fromCounts);
    const double expected[] = {1.0 / 3, 1.0, 5.0 / 3};
    for (std::size_t k = 0; k < 3; ++k) QVERIFY(std::abs(discounts.values[k] - expected[k]) < 1e-15);
    // b(ε) = (1/3 + 1 + 5/3 + 5/3) / 10.
    const auto p = *model.distribution({});
    const double backoff = 14.0 / 30;
    QVERIFY(std::abs(p[4] - backoff / 5) < 1e-15);
    QVERIFY(std::abs(p[3] - ((4 - 5.0 / 3) / 10 + backoff / 5)) < 1e-15);
  }
  void probabilitiesSumToOne_data() {
    QTest::addColumn<int>("order");
    for (int order = 1; order <= 8; ++order) QTest::addRow("order %d", order) << order;
  }
  void probabilitiesSumToOne() {
    QFETCH(int, order);
    constexpr int kVocabulary = 23;  // 20 to 22 are never seen
    const KneserNey model = modelOf(randomTexts(400, 20, 7), order, kVocabulary);
    std::mt19937 random(static_cast<unsigned>(order));
    std::vector<Ids> contexts = randomTexts(200, 20, 7);
    for (Ids& context : contexts) context.resize(context.size() - random() % context.size());
    for (int i = 0; i < 200; ++i) {
      Ids context(random() % 9);
      for (TokenId& token : context) token = static_cast<TokenId>(random() % kVocabulary);
      contexts.push_back(context);
    }
    for (const Ids& context : contexts) {
      const auto p = *model.distribution(context);
      double sum = 0;
      for (const double one : p) {
        QVERIFY(one > 0);
        sum += one;
      }
      QVERIFY2(std::abs(sum - 1) < 1e-12, qPrintable(QString::number(sum, 'g', 17)));
    }
  }
  void tokenByTokenIsTheDistribution() {
    const KneserNey model = modelOf(randomTexts(300, 20, 5), 5, 20);
    for (const Ids& text : randomTexts(40, 20, 6)) {
      const auto logs = *model.logProbabilities(text);
      for (std::size_t i = 0; i < text.size(); ++i)
        QCOMPARE(
            logs[i],
            std::log((*model.distribution(std::span(text).first(i)))[static_cast<std::size_t>(text[i])]));
    }
  }
  // What the longer context knows helps: the texts depend on two tokens.
  void orderThreeIsBetterThanTwo() {
    const auto texts = randomTexts(2000, 20, 8), heldOut = randomTexts(200, 20, 9);
    double last = 0;
    for (const int order : {1, 2, 3}) {
      const KneserNey model = modelOf(texts, order, 20);
      double sum = 0;
      for (const Ids& text : heldOut) {
        const auto logs = model.logProbabilities(text);
        for (const double one : *logs) sum += one;
      }
      if (order > 1) QVERIFY(sum > 0.95 * last);
      last = sum;
    }
  }
  void againstTheReference() {
    std::ifstream file(DECOSCOPE_SOURCE_DIR "/tests/train/reference/kneser-ney.json");
    const json reference = json::parse(file);
    for (const json& one : reference) {
      const KneserNey model = modelOf(one["texts"].get<std::vector<Ids>>(), one["order"], one["vocabulary"]);
      const auto discounts = one["discounts"].get<std::vector<std::array<double, 3>>>();
      QCOMPARE(model.discounts().size(), discounts.size());
      for (std::size_t n = 0; n < discounts.size(); ++n)
        for (std::size_t k = 0; k < 3; ++k)
          QVERIFY(std::abs(model.discounts()[n].values[k] - discounts[n][k]) < 1e-12);
      const auto heldOut = one["held_out"].get<std::vector<Ids>>();
      QVERIFY(heldOut.size() > 5);
      for (std::size_t i = 0; i < heldOut.size(); ++i) {
        const auto logs = *model.logProbabilities(heldOut[i]);
        const auto expected = one["log_probabilities"][i].get<std::vector<double>>();
        QCOMPARE(logs.size(), expected.size());
        for (std::size_t k = 0; k < logs.size(); ++k)
          QVERIFY2(std::abs(logs[k] - expected[k]) < 1e-9,
                   qPrintable(
                       QString("text %1, token %2: %3, not %4").arg(i).arg(k).arg(logs[k]).arg(expected[k])));
      }
    }
  }
  void whatIsRefused() {
    KneserNeyTrainer trainer(5, 4);
    QCOMPARE(trainer.add(Ids{1, 4}).error().code, ErrorCode::badInput);
    QCOMPARE(trainer.add(Ids{-1}).error().code, ErrorCode::badInput);
    QCOMPARE(trainer.train({}).error().code, ErrorCode::badInput);
    QVERIFY(trainer.add(Ids{1, 2}));
    StopSource source;
    source.request_stop();
    QCOMPARE(trainer.train(source.get_token()).error().code, ErrorCode::cancelled);
    const auto model = trainer.train({});
    QCOMPARE(model->logProbabilities(Ids{4}).error().code, ErrorCode::badInput);
    QCOMPARE(KneserNeyTrainer(0, 4).train({}).error().code, ErrorCode::usage);
    QCOMPARE(KneserNeyTrainer(9, 4).train({}).error().code, ErrorCode::usage);
    QCOMPARE(KneserNeyTrainer(2, 0).train({}).error().code, ErrorCode::usage);
  }
  void emptyTextsAndLongVocabularies() {
    const KneserNey model = modelOf({{}, {}}, 3, 8);
    const auto uniform = model.distribution(Ids{3});
    for (const double p : *uniform) QCOMPARE(p, 0.125);
    const KneserNey wide = modelOf({{100000, 2}, {100000, 3}}, 3, 100001);
    QVERIFY((*wide.logProbabilities(Ids{100000}))[0] > std::log(0.4));
  }
};

QTEST_GUILESS_MAIN(TestKneserNey)
#include "TestKneserNey.moc"
