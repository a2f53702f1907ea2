// Every family against what Hugging Face transformers computes for a tiny checkpoint of it (reference/*.json,
// made by reference/make.py): logits at every position, hidden states and attentions of the last one, greedy
// tokens; in one forward, through cached steps and through a tree.
#include <QDir>
#include <QTemporaryDir>
#include <QTest>

#include "tests/torch/Reference.h"

using namespace decoscope;
using nlohmann::json;

namespace {

const QString kReference = QStringLiteral(DECOSCOPE_SOURCE_DIR "/tests/torch/reference");

}  // namespace

class TestArchitectures : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void conforms_data() {
    QTest::addColumn<QString>("file");
    QTest::addColumn<QString>("device");
    const QStringList files = QDir(kReference).entryList({"*.json"});
    QVERIFY(files.size() >= 20);
    for (const QString& file : files)
      for (const char* device : {"cpu", "cpu-reference"})
        QTest::addRow("%s %s", qPrintable(file.chopped(5)), device) << file << device;
  }
  void conforms() {
    QFETCH(QString, file);
    QFETCH(QString, device);
    std::ifstream stream((kReference + "/" + file).toStdString());
    const json document = json::parse(stream);
    QTemporaryDir folder;
    writeCheckpoint(folder.path().toStdString(), document);
    QString problem;
    const auto model = load(folder.path().toStdString(), qPrintable(device), problem);
    QVERIFY2(model, qPrintable(problem));
    const auto ids = document["ids"].get<std::vector<TokenId>>();
    const auto logits = document["logits"].get<std::vector<float>>();
    const std::size_t vocabulary = logits.size() / ids.size();
    const double tolerance = 1e-3 * deviation(logits);
    const auto wantedRow = [&](std::size_t row) {
      return std::span(logits).subspan(row * vocabulary, vocabulary);
    };

    ForwardRequest request;
    request.tokens = ids;
    for (std::size_t i = 0; i < ids.size(); ++i) request.logitRows.push_back(static_cast<std::int32_t>(i));
    const int layers = model->info().layers;
    for (int layer = 0; layer <= layers; ++layer) request.taps.push_back({TapSite::residual, layer});
    for (int layer = 0; layer < layers; ++layer) request.taps.push_back({TapSite::attentionWeights, layer});
    const auto output = model->forward(request, StopToken());
    QVERIFY2(output, output ? "" : output.error().text().c_str());
    for (std::size_t row = 0; row < ids.size(); ++row)
      QVERIFY2(largestDifference(output->logits->row(static_cast<int>(row)), wantedRow(row)) <= tolerance,
               qPrintable(QString("row %1").arg(row)));
    for (const TapValue& tap : output->taps) {
      const bool residual = tap.tap.site == TapSite::residual;
      const auto wanted = document[residual ? "hidden_states_last" : "attentions_last"]
                                  [static_cast<std::size_t>(tap.tap.layer)]
                                      .get<std::vector<float>>();
      std::vector<float> last;
      if (residual) {
        last.assign(tap.values.end() - static_cast<std::ptrdiff_t>(wanted.size()), tap.values.end());
      } else {
        const auto rows = static_cast<std::size_t>(tap.shape[1]),
                   total = static_cast<std::size_t>(tap.shape[2]);
        for (std::size_t head = 0; head < static_cast<std::size_t>(tap.shape[0]); ++head) {
          const auto begin =
              tap.values.begin() + static_cast<std::ptrdiff_t>(((head + 1) * rows - 1) * total);
          last.insert(last.end(), begin, begin + static_cast<std::ptrdiff_t>(total));
        }
      }
      QVERIFY2(
          largestDifference(wanted, last) <= 1e-3 * std::max(deviation(wanted), 1e-3),
          qPrintable(QString("%1 of layer %2").arg(residual ? "residual" : "attention").arg(tap.tap.layer)));
    }

    // The greedy path, in cached steps, against tokens that were found without a cache.
    const auto greedy = document["greedy"].get<std::vector<TokenId>>();
    TokenId next = *output->logits->argmax(static_cast<int>(ids.size()) - 1);
    for (std::size_t i = 0; i < greedy.size(); ++i) {
      QCOMPARE(next, greedy[i]);
      ForwardRequest step;
      step.tokens = {next};
      step.logitRows = {0};
      const auto more = model->forward(step, StopToken());
      QVERIFY2(more, more ? "" : more.error().text().c_str());
      next = *more->logits->argmax(0);
    }
  }
  void cachedStepsAgreeWithOneForward_data() { conforms_data(); }
  // Token after token, across every bound at which a window closes or a rotation changes.
  void cachedStepsAgreeWithOneForward() {
    QFETCH(QString, file);
    QFETCH(QString, device);
    std::ifstream stream((kReference + "/" + file).toStdString());
    const json document = json::parse(stream);
    QTemporaryDir folder;
    writeCheckpoint(folder.path().toStdString(), document);
    QString problem;
    const auto model = load(folder.path().toStdString(), qPrintable(device), problem);
    QVERIFY2(model, qPrintable(problem));
    const auto ids = document["ids"].get<std::vector<TokenId>>();
    const auto logits = document["logits"].get<std::vector<float>>();
    const std::size_t vocabulary = logits.size() / ids.size();
    for (std::size_t i = 0; i < ids.size(); ++i) {
      ForwardRequest step;
      step.tokens = {ids[i]};
      step.logitRows = {0};
      const auto output = model->forward(step, StopToken());
      QVERIFY2(output, output ? "" : output.error().text().c_str());
      // Where the rotation depends on the length, only the last row has seen the whole of it.
      if (i + 1 == ids.size())
        QVERIFY(largestDifference(output->logits->row(0), std::span(logits).last(vocabulary)) <=
                1e-3 * deviation(logits));
    }
  }
  void treesAndStepsAgreeWithOneForward_data() { conforms_data(); }
  // The prompt, cached in part, then its rest once as a chain and once twice over as two branches of a tree.
  void treesAndStepsAgreeWithOneForward() {
    QFETCH(QString, file);
    QFETCH(QString, device);
    std::ifstream stream((kReference + "/" + file).toStdString());
    const json document = json::parse(stream);
    if (file == "llama-dynamic.json") QSKIP("its rotation depends on the length of the whole forward");
    QTemporaryDir folder;
    writeCheckpoint(folder.path().toStdString(), document);
    QString problem;
    const auto model = load(folder.path().toStdString(), qPrintable(device), problem);
    QVERIFY2(model, qPrintable(problem));
    const auto ids = document["ids"].get<std::vector<TokenId>>();
    const auto logits = document["logits"].get<std::vector<float>>();
    const std::size_t vocabulary = logits.size() / ids.size(), known = ids.size() - 3;
    ForwardRequest prompt;
    prompt.tokens.assign(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(known));
    QVERIFY(model->forward(prompt, StopToken()));
    ForwardRequest tree;
    tree.tokens = {ids[known], ids[known], ids[known + 1], ids[known + 1], ids[known + 2], ids[known + 2]};
    tree.parents = {-1, -1, 1, 0, 2, 3};
    tree.logitRows = {4, 5};
    const auto branches = model->forward(tree, StopToken());
    QVERIFY2(branches, branches ? "" : branches.error().text().c_str());
    const auto wanted = std::span(logits).last(vocabulary);
    for (int row = 0; row < 2; ++row)
      QVERIFY(largestDifference(branches->logits->row(row), wanted) <= 1e-3 * deviation(logits));
    const auto left = branches->logits->row(0), right = branches->logits->row(1);
    if (device == "cpu") QVERIFY(std::equal(left.begin(), left.end(), right.begin()));
    // Keeping one branch and going on is the same as a chain.
    const std::vector<std::int32_t> path = {static_cast<std::int32_t>(known) + 1,
                                            static_cast<std::int32_t>(known) + 2,
                                            static_cast<std::int32_t>(known) + 4};
    QVERIFY(model->retain(static_cast<int>(known), path));
    ForwardRequest step;
    step.tokens = {7};
    step.logitRows = {0};
    const auto kept = model->forward(step, StopToken());
    QVERIFY(kept);
    const std::vector<float> through(kept->logits->row(0).begin(), kept->logits->row(0).end());
    QVERIFY(model->retain(0));
    ForwardRequest whole;
    whole.tokens = ids;
    whole.tokens.push_back(7);
    whole.logitRows = {static_cast<std::int32_t>(ids.size())};
    const auto direct = model->forward(whole, StopToken());
    QVERIFY(direct);
    if (device == "cpu")
      QVERIFY(std::equal(through.begin(), through.end(), direct->logits->row(0).begin()));
    else
      QVERIFY(largestDifference(direct->logits->row(0), through) <= 1e-3 * deviation(logits));
  }
};

QTEST_GUILESS_MAIN(TestArchitectures)
#include "TestArchitectures.moc"
