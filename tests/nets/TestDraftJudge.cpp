// What acceptance heads learn from, against the models as decoding runs them: a model as the drafter, and a
// draft head on its target's features.
#include <QTest>
#include <cmath>

#include "core/train/nets/DraftJudge.h"
#include "tests/nets/TinyHeads.h"

using namespace decoscope;
using namespace decoscope::train;
using test::allRows, test::opened;

namespace {

constexpr int kRanked = 200;
constexpr std::int64_t kLength = 95;

// softmax(logits)[column].
double probability(std::span<const float> logits, std::size_t column) {
  double sum = 0;
  for (const float value : logits) sum += std::exp(static_cast<double>(value));
  return std::exp(static_cast<double>(logits[column])) / sum;
}

}  // namespace

class TestDraftJudge : public QObject {
  Q_OBJECT
  const test::TinyTraining tiny_;
  std::string target_, drafter_, head_;  // folders

  // The corpus again, with the target's states at each token.
  QString withFeatures() const { return tiny_.path("features.jsonl"); }
  Result<Rows> rows(bool features) const {
    DECOSCOPE_ASSIGN(const auto tokenizer, loadModelTokenizer(target_));
    Rows::Source source;
    source.file = (features ? withFeatures() : tiny_.corpus()).toStdString();
    source.texts = 2000;
    source.features = features;
    source.width = 32;
    return Rows::read(source, *tokenizer, Packing::texts, kLength, 5);
  }
  // The tokens of a batch's row that belong to its text, and where its answer begins.
  static std::vector<TokenId> textOf(const Batch& batch, std::int64_t row, std::int64_t& answer) {
    std::vector<TokenId> tokens;
    answer = -1;
    for (std::int64_t i = 0; i <= kLength && batch.text[row][i].item<bool>(); ++i) {
      if (answer < 0 && batch.answer[row][i].item<bool>()) answer = i;
      tokens.push_back(static_cast<TokenId>(batch.tokens[row][i].item<std::int64_t>()));
    }
    return tokens;
  }

 private Q_SLOTS:
  void initTestCase() {
    const auto pair = tiny_.preparedPair();
    QVERIFY2(pair, pair ? "" : pair.error().text().c_str());
    target_ = pair->target;
    drafter_ = pair->drafter;
    const Status written = test::writeFeatures(target_, tiny_.corpus(), withFeatures());
    QVERIFY2(written, written ? "" : written.error().text().c_str());
    Recipe made = test::draftHeadRecipe(tiny_, target_, kRanked);
    made.schedule.length = kLength;
    made.schedule.steps = 40;
    TrainingOptions options = tiny_.options("head");
    options.corpusFile = withFeatures().toStdString();
    const auto head = train::train(made, options, StopToken());
    QVERIFY2(head, head ? "" : head.error().text().c_str());
    QVERIFY(head->loss < head->firstLoss);
    head_ = head->model;
  }

  // Every draw of an answer, with the text's own tokens before it.
  void aModelIsJudgedAsItDrafts() {
    auto net = frozenNet(drafter_), target = frozenNet(target_);
    const auto texts = rows(false);
    QVERIFY(net && target && texts);
    const auto judge = judgeByNet(std::move(*target));
    QVERIFY(judge->prepare(*net));
    const Batch batch = texts->batch(0, 3);
    const Judged judged = judge->judge(*net, batch, at::detail::createCPUGenerator(4), {0, at::kFloat});
    const LoadedModel small = opened(drafter_), large = opened(target_);
    std::int64_t place = 0;
    for (std::int64_t row = 0; row < 3; ++row) {
      std::int64_t answer = 0;
      const std::vector<TokenId> text = textOf(batch, row, answer);
      QVERIFY(small.model->retain(0) && large.model->retain(0));
      const auto q = small.model->forward(allRows(text), StopToken());
      const auto p = large.model->forward(allRows(text), StopToken());
      QVERIFY(p && q && answer > 0);
      std::vector<TokenId> read = text;
      const std::int64_t first = place;
      for (std::size_t i = static_cast<std::size_t>(answer); i < text.size(); ++i, ++place) {
        const auto drawn = static_cast<TokenId>(judged.tokens[place].item<std::int64_t>());
        const int before = static_cast<int>(i) - 1;
        const double wanted =
            std::min(1.0, probability(p->logits->row(before), static_cast<std::size_t>(drawn)) /
                              probability(q->logits->row(before), static_cast<std::size_t>(drawn)));
        QVERIFY(std::abs(judged.acceptance[place].item<double>() - wanted) < 1e-4);
        read[i] = drawn;
      }
      // Read behind one another.
      ForwardRequest request = allRows(read);
      request.taps = {{TapSite::residual, 1}};
      QVERIFY(small.model->retain(0));
      const auto states = small.model->forward(request, StopToken());
      QVERIFY(states.has_value());
      for (std::int64_t i = first; i < place; ++i)
        for (std::int64_t k = 0; k < 32; ++k)
          QVERIFY(
              std::abs(judged.states[i][k].item<float>() -
                       states->taps.front().values[static_cast<std::size_t>((answer + i - first) * 32 + k)]) <
              1e-3f);
    }
    QCOMPARE(judged.tokens.size(0), place);
  }

  // The first draw of each answer stands behind the text alone, so drafting itself gives its state.
  void aDraftHeadIsJudgedAsItDrafts() {
    auto net = frozenNet(head_);
    const auto texts = rows(true);
    QVERIFY(net && texts);
    auto judge = judgeByFeatures(target_, head_);
    QVERIFY2(judge.has_value(), judge ? "" : judge.error().text().c_str());
    QVERIFY((*judge)->prepare(*net));
    const Batch batch = texts->batch(0, 4);
    const Judged judged = (*judge)->judge(*net, batch, at::detail::createCPUGenerator(4), {0, at::kFloat});
    const LoadedModel target = opened(target_), head = opened(head_, target.model.get());
    const std::vector<TokenId>& ranked = head.model->info().rankedTokens;
    QCOMPARE(ranked.size(), std::size_t{kRanked});
    std::int64_t place = 0;
    for (std::int64_t row = 0; row < 4; ++row) {
      std::int64_t answer = 0;
      const std::vector<TokenId> text = textOf(batch, row, answer);
      QVERIFY(target.model->retain(0) && head.model->retain(0));
      const auto p = target.model->forward(allRows(text), StopToken());
      QVERIFY(p && answer > 1);
      // Slot j holds token j + 1 and feature j.
      const at::Tensor features = batch.features[row].contiguous();
      const auto* feature = features.const_data_ptr<float>();
      ForwardRequest request = allRows({text.begin() + 1, text.begin() + answer});
      request.inputs.assign(feature, feature + (answer - 1) * 32);
      request.taps = {{TapSite::residual, 1}};
      const auto guessed = head.model->forward(request, StopToken());
      QVERIFY2(guessed, guessed ? "" : guessed.error().text().c_str());
      const auto drawn = static_cast<TokenId>(judged.tokens[place].item<std::int64_t>());
      const auto column = std::find(ranked.begin(), ranked.end(), drawn) - ranked.begin();
      QVERIFY(column < kRanked);
      const double q =
          probability(guessed->logits->row(static_cast<int>(answer) - 2), static_cast<std::size_t>(column));
      const double truth =
          probability(p->logits->row(static_cast<int>(answer) - 1), static_cast<std::size_t>(drawn));
      // The features are kept in bf16.
      QVERIFY2(std::abs(judged.acceptance[place].item<double>() - std::min(1.0, truth / q)) < 0.05,
               qPrintable(QString("%1 and %2").arg(judged.acceptance[place].item<double>()).arg(truth / q)));
      ForwardRequest next = allRows({drawn});
      const std::vector<float>& guesses = guessed->taps.front().values;
      next.inputs.assign(guesses.end() - 32, guesses.end());
      next.taps = request.taps;
      const auto read = head.model->forward(next, StopToken());
      QVERIFY(read.has_value());
      for (std::int64_t k = 0; k < 32; ++k)
        QVERIFY(std::abs(judged.states[place][k].item<float>() -
                         read->taps.front().values[static_cast<std::size_t>(k)]) < 1e-3f);
      place += static_cast<std::int64_t>(text.size()) - answer;
    }
    QCOMPARE(judged.tokens.size(0), place);
  }

  // What a drafter has learned from is left out, features and all.
  void skippedTextsAreNotRead() {
    const auto tokenizer = loadModelTokenizer(target_);
    QVERIFY(tokenizer.has_value());
    Rows::Source source;
    source.file = withFeatures().toStdString();
    source.texts = 500;
    source.features = true;
    source.width = 32;
    source.heldOut = 0;
    const auto all = Rows::read(source, **tokenizer, Packing::texts, kLength, 5);
    source.skip = 490;
    const auto last = Rows::read(source, **tokenizer, Packing::texts, kLength, 5);
    QVERIFY(all && last);
    QCOMPARE(all->texts(), std::int64_t{500});
    QCOMPARE(last->texts(), std::int64_t{10});
    QVERIFY(at::equal(last->batch(0, 10).tokens, all->batch(490, 10).tokens));
    QVERIFY(at::equal(last->batch(0, 10).features, all->batch(490, 10).features));
  }

  void mixedInTokensAreNotJudged() {
    auto net = frozenNet(drafter_), target = frozenNet(target_);
    const auto texts = rows(false);
    QVERIFY(net && target && texts);
    const auto judge = judgeByNet(std::move(*target));
    const Batch batch = texts->batch(0, 32);
    const auto count = [&](double mixing) {
      return static_cast<double>(
          judge->judge(*net, batch, at::detail::createCPUGenerator(4), {mixing, at::kFloat}).tokens.size(0));
    };
    const double share = 1 - count(0.3) / count(0);
    QVERIFY2(std::abs(share - 0.3) < 0.06, qPrintable(QString::number(share)));
  }

  void theOtherKindOfDrafterIsRefused() {
    auto head = frozenNet(head_), small = frozenNet(drafter_), target = frozenNet(target_);
    QVERIFY(head && small && target);
    const auto byFeatures = judgeByFeatures(target_, head_);
    QVERIFY(byFeatures.has_value());
    for (const Status& status :
         {judgeByNet(std::move(*target))->prepare(*head), (*byFeatures)->prepare(*small)}) {
      QVERIFY(!status);
      QCOMPARE(status.error().code, ErrorCode::badInput);
      QVERIFY(status.error().where.find("start") != std::string::npos);
    }
  }

  // From recipe to folder.
  void anAcceptanceHeadLearnsFromADraftHead() {
    Recipe made = test::acceptanceRecipe(tiny_, target_, head_);
    made.features = true;
    made.schedule.length = kLength;
    made.schedule.learningRate = 0.02;
    made.schedule.steps = 40;
    TrainingOptions options = tiny_.options("acceptance");
    options.corpusFile = withFeatures().toStdString();
    const auto result = train::train(made, options, StopToken());
    QVERIFY2(result, result ? "" : result.error().text().c_str());
    QVERIFY2(result->loss < result->firstLoss,
             qPrintable(QString("%1 → %2").arg(result->firstLoss).arg(result->loss)));
    QCOMPARE(opened(result->model).model->info().width, 32);
  }
};

QTEST_GUILESS_MAIN(TestDraftJudge)
#include "TestDraftJudge.moc"
