// Every family against what Hugging Face transformers computes for a tiny checkpoint of it (reference/*.json,
// made by reference/make.py): logits at every position, hidden states and attentions of the last one, greedy
// tokens; in one forward, through cached steps and through a tree.
#include <QDir>
#include <QTemporaryDir>
#include <QTest>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/model/torch/TransformerModel.h"
#include "core/model/weights/WeightFile.h"

using namespace decoscope;
using nlohmann::json;

namespace {

const QString kReference = QStringLiteral(DECOSCOPE_SOURCE_DIR "/tests/torch/reference");

// The same numbers as `weight` in make.py.
std::vector<float> weightsOf(const std::string& name, const std::vector<std::int64_t>& shape) {
  std::uint64_t seed = 0xCBF29CE484222325;
  for (const char c : name) seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  std::size_t count = 1;
  for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
  const bool norm = shape.size() == 1 && name.ends_with("weight");
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    std::uint64_t z = seed + (i + 1) * 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    z ^= z >> 31;
    const float u = static_cast<float>(z >> 40) * 0x1p-24f - 0.5f;
    values[i] = norm ? 1.0f + u * 0.5f : u * 0.5f;
  }
  return values;
}

void writeCheckpoint(const std::string& folder, const json& document) {
  std::ofstream(folder + "/config.json") << document["config"];
  json header = json::object();
  std::vector<float> data;
  for (const auto& [name, shape] : document["tensors"].items()) {
    const auto values = weightsOf(name, shape.get<std::vector<std::int64_t>>());
    header[name] = {{"dtype", "F32"},
                    {"shape", shape},
                    {"data_offsets", {data.size() * 4, (data.size() + values.size()) * 4}}};
    data.insert(data.end(), values.begin(), values.end());
  }
  const std::string text = header.dump();
  const std::uint64_t size = text.size();
  std::ofstream file(folder + "/model.safetensors", std::ios::binary);
  file.write(reinterpret_cast<const char*>(&size), 8);
  file.write(text.data(), static_cast<std::streamsize>(size));
  file.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size() * 4));
}

double deviation(const std::vector<float>& v) {
  double mean = 0, sum = 0;
  for (const float x : v) mean += x / static_cast<double>(v.size());
  for (const float x : v) sum += (x - mean) * (x - mean);
  return std::sqrt(sum / static_cast<double>(v.size()));
}

double largestDifference(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return INFINITY;
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(a[i]) - b[i]));
  return largest;
}

std::unique_ptr<Model> load(const std::string& folder, const char* device, QString& problem) {
  const auto weights = openWeights(folder);
  if (!weights) return problem = QString::fromStdString(weights.error().text()), nullptr;
  LoadOptions options;
  options.dtype = "f32";
  options.device = device;
  auto model = loadTransformer(*weights, folder, options, StopToken());
  if (!model) return problem = QString::fromStdString(model.error().text()), nullptr;
  return std::move(*model);
}

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
