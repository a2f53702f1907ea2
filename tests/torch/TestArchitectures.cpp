// Every family against what Hugging Face transformers computes for a tiny checkpoint of it (reference/*.json,
// made by reference/make.py): logits at every position, hidden states and attentions of the last one, greedy
// tokens; in one forward, through cached steps and through a tree.
#include <QDir>
#include <QTemporaryDir>
#include <QTest>
#include <map>

#include "tests/torch/EveryDevice.h"
#include "tests/torch/OpenedModel.h"

using namespace decoscope;
using nlohmann::json;

namespace {

const QString kReference = QStringLiteral(DECOSCOPE_SOURCE_DIR "/tests/torch/reference");

struct Stored {
  std::string type;
  std::vector<std::int64_t> shape;
  std::string bytes;
};

void writeTensors(const std::string& folder, const std::map<std::string, Stored>& tensors) {
  json header = json::object();
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", tensor.type},
                    {"shape", tensor.shape},
                    {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
    data += tensor.bytes;
  }
  const std::string text = header.dump();
  const std::uint64_t size = text.size();
  std::ofstream file(folder + "/model.safetensors", std::ios::binary);
  file.write(reinterpret_cast<const char*>(&size), 8);
  file << text << data;
}

std::string bytesOf(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
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
      for (const char* device : everyDevice())
        QTest::addRow("%s %s", qPrintable(file.chopped(5)), device) << file << device;
  }
  void conforms() {
    QFETCH(QString, file);
    QFETCH(QString, device);
    const Opened opened(file.chopped(5).toStdString(), qPrintable(device));
    Model* const model = opened.model.get();
    QVERIFY2(model, qPrintable(opened.problem));
    const json& document = opened.document;
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
  void diffusionConforms_data() {
    QTest::addColumn<QString>("file");
    QTest::addColumn<QString>("device");
    for (const char* file : {"diffusion/dream", "diffusion/llada"})
      for (const char* device : everyDevice())
        QTest::addRow("%s %s", file, device) << file << device;
  }
  // Every token sees every other: the first row shows whether it does.
  void diffusionConforms() {
    QFETCH(QString, file);
    QFETCH(QString, device);
    const Opened opened(file.toStdString(), qPrintable(device));
    QVERIFY2(opened.model, qPrintable(opened.problem));
    QVERIFY(opened.model->capabilities().maskedDiffusion && !opened.model->capabilities().causal);
    const json& document = opened.document;
    QCOMPARE(opened.model->info().maskToken, document["config"]["mask_token_id"].get<TokenId>());
    ForwardRequest request = requestOf(document["ids"].get<std::vector<TokenId>>());
    request.visibility = Visibility::full;
    const int layers = opened.model->info().layers;
    for (int layer = 0; layer <= layers; ++layer) request.taps.push_back({TapSite::residual, layer});
    for (int layer = 0; layer < layers; ++layer) request.taps.push_back({TapSite::attentionWeights, layer});
    const auto output = opened.run(request);
    QVERIFY2(output, output ? "" : output.error().text().c_str());
    const auto logits = document["logits"].get<Floats>();
    QVERIFY(largestDifference(logits, allRows(*output->logits)) <= 1e-3 * deviation(logits));
    for (const TapValue& tap : output->taps) {
      const bool residual = tap.tap.site == TapSite::residual;
      const auto wanted = document[residual ? "hidden_states_first" : "attentions_first"]
                                  [static_cast<std::size_t>(tap.tap.layer)]
                                      .get<Floats>();
      Floats first;
      const std::size_t heads = residual ? 1 : static_cast<std::size_t>(tap.shape[0]),
                        size = wanted.size() / heads;
      for (std::size_t head = 0; head < heads; ++head) {
        const auto begin =
            tap.values.begin() + static_cast<std::ptrdiff_t>(head * (tap.values.size() / heads));
        first.insert(first.end(), begin, begin + static_cast<std::ptrdiff_t>(size));
      }
      QVERIFY2(
          largestDifference(wanted, first) <= 1e-3 * std::max(deviation(wanted), 1e-3),
          qPrintable(QString("%1 of layer %2").arg(residual ? "residual" : "attention").arg(tap.tap.layer)));
    }
  }
  // OLMo 3 as its files were first written: one rotation, whose scaling is that of the layers that do not
  // slide.
  void oldRotationsOfOlmo3() {
    json document = referenceOf("olmo3.json");
    json& config = document["config"];
    const json both = config["rope_parameters"];
    config.erase("rope_parameters");
    config["rope_scaling"] = both["full_attention"];
    config["rope_theta"] = both["full_attention"]["rope_theta"];
    config["rope_scaling"].erase("rope_theta");
    config.erase("layer_types");
    const QTemporaryDir folder;
    writeCheckpoint(folder.path().toStdString(), document);
    QString problem;
    const auto model = load(folder.path().toStdString(), "cpu", problem);
    QVERIFY2(model, qPrintable(problem));
    const auto output = model->forward(requestOf(document["ids"].get<std::vector<TokenId>>()), StopToken());
    QVERIFY(output.has_value());
    const auto logits = document["logits"].get<Floats>();
    QVERIFY(largestDifference(logits, allRows(*output->logits)) <= 1e-3 * deviation(logits));
    for (const auto& [key, value] :
         {std::pair("rope_theta", json(500000.0)), std::pair("sliding_window", json(4096))}) {
      json changed = document;
      changed["config"].erase(key);  // what then counts is the family's habit
      json stated = document;
      stated["config"][key] = value;
      std::vector<Floats> rows;
      for (const json& one : {changed, stated}) {
        const QTemporaryDir other;
        writeCheckpoint(other.path().toStdString(), one);
        const auto opened = load(other.path().toStdString(), "cpu", problem);
        QVERIFY2(opened, qPrintable(problem));
        rows.push_back(allRows(
            *opened->forward(requestOf(one["ids"].get<std::vector<TokenId>>()), StopToken())->logits));
      }
      QVERIFY(rows[0] == rows[1]);
      QVERIFY(largestDifference(logits, rows[0]) > 1e-3 * deviation(logits));
    }
  }
  void cachedStepsAgreeWithOneForward_data() { conforms_data(); }
  // Token after token, across every bound at which a window closes or a rotation changes.
  void cachedStepsAgreeWithOneForward() {
    QFETCH(QString, file);
    QFETCH(QString, device);
    const Opened opened(file.chopped(5).toStdString(), qPrintable(device));
    Model* const model = opened.model.get();
    QVERIFY2(model, qPrintable(opened.problem));
    const json& document = opened.document;
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
    const Opened opened(file.chopped(5).toStdString(), qPrintable(device));
    Model* const model = opened.model.get();
    QVERIFY2(model, qPrintable(opened.problem));
    const json& document = opened.document;
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
  // GPT-OSS as published: its experts as 4-bit blocks give what the same numbers give in full.
  void expertsInBlocksAreReadAsTheirNumbers() {
    json document = referenceOf("gpt-oss.json");
    json& config = document["config"];
    // Widths that are whole blocks of 32.
    const std::map<std::int64_t, std::int64_t> wider = {{48, 64}, {80, 96}, {160, 192}};
    config["hidden_size"] = 64;
    config["intermediate_size"] = 96;
    std::map<std::string, Stored> full, blocks;
    for (const auto& [name, shape] : document["tensors"].items()) {
      auto extents = shape.get<std::vector<std::int64_t>>();
      for (auto& extent : extents)
        if (const auto found = wider.find(extent); found != wider.end()) extent = found->second;
      if (!name.ends_with("gate_up_proj") && !name.ends_with("down_proj")) {
        full[name] = blocks[name] = {"F32", extents, bytesOf(weightsOf(name, extents))};
        continue;
      }
      const std::int64_t experts = extents[0], inputs = extents[1], outputs = extents[2];
      std::string nibbles, exponents;
      for (std::int64_t i = 0; i < experts * outputs * inputs / 2; ++i)
        nibbles += static_cast<char>(i * 37 + i / 7);
      for (std::int64_t i = 0; i < experts * outputs * inputs / 32; ++i)
        exponents += static_cast<char>(122 + i % 5);
      const float levels[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
      std::vector<float> values(static_cast<std::size_t>(experts * inputs * outputs));
      for (std::int64_t e = 0; e < experts; ++e)
        for (std::int64_t r = 0; r < outputs; ++r)
          for (std::int64_t k = 0; k < inputs; ++k) {
            const std::int64_t at = (e * outputs + r) * inputs + k;
            const int byte = static_cast<unsigned char>(nibbles[static_cast<std::size_t>(at / 2)]);
            const int code = k % 2 ? byte >> 4 : byte & 15;
            const int exponent = static_cast<unsigned char>(exponents[static_cast<std::size_t>(at / 32)]);
            values[static_cast<std::size_t>((e * inputs + k) * outputs + r)] =
                (code > 7 ? -1 : 1) * std::ldexp(levels[code % 8], exponent - 127);
          }
      full[name] = {"F32", extents, bytesOf(values)};
      blocks[name + "_blocks"] = {"U8", {experts, outputs, inputs / 32, 16}, nibbles};
      blocks[name + "_scales"] = {"U8", {experts, outputs, inputs / 32}, exponents};
    }
    std::vector<std::vector<float>> logits;
    for (const auto* tensors : {&full, &blocks}) {
      const QTemporaryDir folder;
      const std::string path = folder.path().toStdString();
      if (tensors == &blocks) config["quantization_config"] = {{"quant_method", "mxfp4"}};
      std::ofstream(path + "/config.json") << config;
      writeTensors(path, *tensors);
      QString problem;
      const auto model = load(path, "cpu", problem);
      QVERIFY2(model, qPrintable(problem));
      const auto output = model->forward(requestOf(kText), StopToken());
      QVERIFY2(output, output ? "" : output.error().text().c_str());
      logits.push_back(allRows(*output->logits));
    }
    QVERIFY(deviation(logits[0]) > 0);
    QVERIFY(logits[0] == logits[1]);
  }
};

QTEST_GUILESS_MAIN(TestArchitectures)
#include "TestArchitectures.moc"
