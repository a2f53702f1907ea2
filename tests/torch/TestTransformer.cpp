// The libtorch backend against reference data, and the promises of its kernels.
#include <QDir>
#include <QTemporaryDir>
#include <QTest>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/model/ModelLoader.h"
#include "core/model/torch/TransformerModel.h"
#include "core/model/weights/WeightFile.h"
#include "core/session/Audit.h"
#include "core/session/Engine.h"
#include "tests/torch/EveryDevice.h"

using namespace decoscope;

namespace {

const std::string kFixtures = DECOSCOPE_FIXTURES;
bool hasFixtures() {
  return QDir(QString::fromStdString(kFixtures)).exists();
}

std::vector<float> values(const WeightFile& file, const std::string& name) {
  const WeightTensor* tensor = file.find(name);
  std::vector<float> result(tensor ? static_cast<std::size_t>(tensor->elements()) : 0);
  if (tensor) (void)dequantise(*tensor, 0, result);
  return result;
}

double deviation(const std::vector<float>& v) {
  double mean = 0, sum = 0;
  for (const float x : v) mean += x / static_cast<double>(v.size());
  for (const float x : v) sum += (x - mean) * (x - mean);
  return std::sqrt(sum / static_cast<double>(v.size()));
}

double largestDifference(const std::vector<float>& a, std::span<const float> b) {
  if (a.size() != b.size()) return INFINITY;
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(a[i]) - b[i]));
  return largest;
}

LoadOptions withType(const std::string& dtype, const std::string& device = "cpu") {
  LoadOptions options;
  options.dtype = dtype;
  options.device = device;
  return options;
}

std::vector<float> rowOf(const ForwardOutput& output, int row) {
  const auto span = output.logits->row(row);
  return {span.begin(), span.end()};
}

std::vector<float> allRows(const ForwardOutput& output) {
  std::vector<float> rows;
  for (int row = 0; row < output.logits->rows(); ++row) {
    const auto span = output.logits->row(row);
    rows.insert(rows.end(), span.begin(), span.end());
  }
  return rows;
}

// An I64 tensor of ids.
std::vector<TokenId> tokensOf(const WeightFile& file, const std::string& name) {
  const WeightTensor* tensor = file.find(name);
  std::vector<TokenId> ids;
  for (std::int64_t i = 0; tensor && i < tensor->elements(); ++i) {
    std::int64_t id;
    std::memcpy(&id, tensor->data.data() + i * 8, 8);
    ids.push_back(static_cast<TokenId>(id));
  }
  return ids;
}

std::vector<TokenId> greedy(Model& model, std::vector<TokenId> prompt, int count) {
  std::vector<TokenId> ids;
  ForwardRequest request;
  request.tokens = std::move(prompt);
  for (int i = 0; i < count; ++i) {
    request.logitRows = {static_cast<std::int32_t>(request.tokens.size()) - 1};
    const auto output = model.forward(request, StopToken());
    if (!output) return ids;
    ids.push_back(*output->logits->argmax(0));
    request.tokens = {ids.back()};
  }
  return ids;
}

}  // namespace

class TestTransformer : public QObject {
  Q_OBJECT
 private:
  // A run of a fixture's model reveals what its reference decode reveals, step by step.
  static void denoisesAs(const char* folder, const char* group, const QString& name, int length,
                         const char* method, std::vector<std::string> assignments) {
    const std::string path = kFixtures + "/hf/" + folder;
    std::ifstream file(path + "/reference.json");
    const auto document = nlohmann::json::parse(file);
    const auto& wanted = document[group][name.toStdString()];
    Engine engine(recordInMemory());
    QVERIFY(engine.loadModel("target", path, withType("f32"), StopToken()).has_value());
    RunRequest request;
    request.method = method;
    request.promptTokens = document["prompt_ids"].get<std::vector<TokenId>>();
    request.maxNewTokens = length;
    request.assignments = std::move(assignments);
    const RunId run = *engine.startRun(request);
    std::size_t index = 0;
    while (!engine.ended()) {
      const auto step = engine.step(StopToken());
      QVERIFY2(step.has_value(), step ? "" : step.error().text().c_str());
      std::vector<int> positions;
      std::vector<TokenId> tokens;
      std::vector<double> confidence;
      for (const Event& event : (*step)->events)
        if (const auto* cell = std::get_if<CellFact>(&event); cell && cell->state == CellState::committed) {
          positions.push_back(cell->position);
          tokens.push_back(cell->token);
          confidence.push_back(cell->confidence);
        }
      const auto& reference = wanted["trajectory"][index++];
      QCOMPARE(positions, reference["positions"].get<std::vector<int>>());
      QCOMPARE(tokens, reference["tokens"].get<std::vector<TokenId>>());
      for (std::size_t i = 0; i < confidence.size(); ++i)
        QVERIFY(std::abs(confidence[i] - reference["confidence"][i].get<double>()) < 1e-4);
    }
    QCOMPARE(engine.text(), wanted["ids"].get<std::vector<TokenId>>());
    QCOMPARE(textOf(*engine.recording().source, run)->size(), wanted["ids"].size());
    const auto report = auditRun(*engine.recording().source, run);
    QVERIFY(report.has_value() && report->failed.empty());
  }

 private Q_SLOTS:
  void conforms_data() {
    QTest::addColumn<QString>("folder");
    QTest::addColumn<QString>("device");
    for (const char* folder :
         {"llama-gqa-untied", "llama-bias-headdim", "llama3-rope-scaled", "qwen2-bias", "qwen3-qknorm",
          "qwen3-moe", "smollm3-nope", "mistral-sliding", "gemma2-softcap", "gemma3-local-global",
          "phi3-fused", "gpt2", "gpt-neox-parallel", "olmo2-postnorm"})
      for (const char* device : everyDevice())
        QTest::addRow("%s %s", folder, device) << folder << device;
  }
  void conforms() {
    if (!hasFixtures()) QSKIP("the reference data is not there");
    QFETCH(QString, folder);
    QFETCH(QString, device);
    const std::string path = kFixtures + "/hf/" + folder.toStdString();
    auto loaded = loadModel(path, withType("f32", device.toStdString()), StopToken());
    QVERIFY2(loaded.has_value(), loaded ? "" : loaded.error().text().c_str());
    const auto reference = openWeights(path + "/reference.safetensors");
    QVERIFY(reference.has_value());
    ForwardRequest request;
    request.tokens = tokensOf(**reference, "input_ids");
    for (std::size_t i = 0; i < request.tokens.size(); ++i)
      request.logitRows.push_back(static_cast<std::int32_t>(i));
    const int layers = loaded->model->info().layers;
    for (int layer = 0; layer <= layers; ++layer) request.taps.push_back({TapSite::residual, layer});
    for (int layer = 0; layer < layers; ++layer) request.taps.push_back({TapSite::attentionWeights, layer});
    const auto output = loaded->model->forward(request, StopToken());
    QVERIFY2(output.has_value(), output ? "" : output.error().text().c_str());
    const std::vector<float> logits = values(**reference, "logits");
    QVERIFY(largestDifference(logits, allRows(*output)) <= 1e-3 * deviation(logits));
    for (const TapValue& tap : output->taps) {
      const bool residual = tap.tap.site == TapSite::residual;
      const auto wanted =
          values(**reference, (residual ? "hidden_states." : "attentions.") + std::to_string(tap.tap.layer));
      QVERIFY2(
          largestDifference(wanted, tap.values) <= 1e-3 * std::max(deviation(wanted), 1e-3),
          qPrintable(QString("%1 of layer %2").arg(residual ? "residual" : "attention").arg(tap.tap.layer)));
    }
    std::ifstream file(path + "/reference.json");
    const auto greedyPath = nlohmann::json::parse(file)["greedy"];
    auto ids = greedyPath["prompt_ids"].get<std::vector<TokenId>>();
    const auto wanted = greedyPath["ids"].get<std::vector<TokenId>>();
    QVERIFY(wanted.size() > ids.size());
    QVERIFY(loaded->model->retain(0, {}).has_value());
    const auto more = greedy(*loaded->model, ids, static_cast<int>(wanted.size() - ids.size()));
    ids.insert(ids.end(), more.begin(), more.end());
    QCOMPARE(ids, wanted);
  }
  void maskedDiffusionConforms_data() {
    QTest::addColumn<QString>("folder");
    QTest::addColumn<QString>("device");
    for (const char* folder : {"llada-layout", "dream-layout"})
      for (const char* device : everyDevice())
        QTest::addRow("%s %s", folder, device) << folder << device;
  }
  void maskedDiffusionConforms() {
    if (!hasFixtures()) QSKIP("the reference data is not there");
    QFETCH(QString, folder);
    QFETCH(QString, device);
    const std::string path = kFixtures + "/hf/" + folder.toStdString();
    auto loaded = loadModel(path, withType("f32", device.toStdString()), StopToken());
    QVERIFY2(loaded.has_value(), loaded ? "" : loaded.error().text().c_str());
    QVERIFY(loaded->model->capabilities().maskedDiffusion);
    const auto reference = openWeights(path + "/reference.safetensors");
    QVERIFY(reference.has_value());
    ForwardRequest request;
    request.tokens = tokensOf(**reference, "canvas");
    request.visibility = Visibility::full;
    for (std::size_t i = 0; i < request.tokens.size(); ++i)
      request.logitRows.push_back(static_cast<std::int32_t>(i));
    const auto output = loaded->model->forward(request, StopToken());
    QVERIFY2(output.has_value(), output ? "" : output.error().text().c_str());
    QCOMPARE(loaded->model->cached(), 0);
    const std::vector<float> wanted = values(**reference, "logits");
    QVERIFY(largestDifference(wanted, allRows(*output)) <= 1e-3 * deviation(wanted));
    request.visibility = Visibility::causal;
    QCOMPARE(loaded->model->forward(request, StopToken()).error().code, ErrorCode::unsupported);
  }
  // A trained model, from the folder and from the GGUF with its own order of rotary rows.
  void storiesGolden() {
    if (!hasFixtures()) QSKIP("the reference data is not there");
    std::ifstream file(kFixtures + "/models/stories260K-hf/golden-greedy.json");
    const auto golden = nlohmann::json::parse(file);
    const auto wanted = golden["greedy_ids"].get<std::vector<TokenId>>();
    const auto firstLogits = golden["first_logits"].get<std::vector<float>>();
    for (const char* name : {"/models/stories260K-hf", "/models/stories260K/stories260K-f32.gguf"})
      for (const char* device : everyDevice()) {
        const std::string path = kFixtures + name;
        const auto weights = openWeights(path);
        QVERIFY2(weights.has_value(), weights ? "" : weights.error().text().c_str());
        auto model = loadTransformer(*weights, path, withType("f32", device), StopToken());
        QVERIFY2(model.has_value(), model ? "" : model.error().text().c_str());
        ForwardRequest request;
        request.tokens = {1};
        request.logitRows = {0};
        const auto output = (*model)->forward(request, StopToken());
        QVERIFY(output.has_value());
        QVERIFY(largestDifference(firstLogits, output->logits->row(0)) <= 1e-3 * deviation(firstLogits));
        QVERIFY((*model)->retain(0, {}).has_value());
        std::vector<TokenId> ids = {1};
        const auto length = std::min(wanted.size(), static_cast<std::size_t>((*model)->info().contextLength));
        const auto more = greedy(**model, ids, static_cast<int>(length) - 1);
        ids.insert(ids.end(), more.begin(), more.end());
        QCOMPARE(ids,
                 std::vector<TokenId>(wanted.begin(), wanted.begin() + static_cast<std::ptrdiff_t>(length)));
      }
  }
  // However many tokens a forward holds, each row is the same to the last bit.
  void anyNumberOfTokensGivesTheSameBits_data() {
    QTest::addColumn<QString>("name");
    QTest::addColumn<QString>("dtype");
    for (const char* dtype : {"f32", "bf16"})
      for (const char* name : {"/hf/llama-gqa-untied", "/hf/llama-bias-headdim", "/hf/llama3-rope-scaled",
                               "/hf/qwen3-qknorm", "/hf/mistral-sliding", "SmolLM2-135M-Instruct"})
        QTest::addRow("%s %s", name, dtype) << name << dtype;
  }
  void anyNumberOfTokensGivesTheSameBits() {
    if (!hasFixtures()) QSKIP("the reference data is not there");
    QFETCH(QString, name);
    QFETCH(QString, dtype);
    const bool tiny = name.startsWith('/');
    auto loaded = loadModel(tiny ? kFixtures + name.toStdString() : name.toStdString(),
                            withType(dtype.toStdString()), StopToken());
    if (!tiny && !loaded) QSKIP("SmolLM2 is not in the model cache");
    QVERIFY2(loaded.has_value(), loaded ? "" : loaded.error().text().c_str());
    Model& model = *loaded->model;
    constexpr int kCount = 45;
    std::vector<TokenId> text;
    for (int i = 0; i < kCount; ++i) text.push_back(static_cast<TokenId>((i * 37 + 11) % 300));
    const auto inPieces = [&](int size) {
      std::vector<std::vector<float>> rows;
      if (!model.retain(0, {})) return rows;
      for (int begin = 0; begin < kCount; begin += size) {
        ForwardRequest request;
        for (int i = begin; i < std::min(kCount, begin + size); ++i) {
          request.tokens.push_back(text[static_cast<std::size_t>(i)]);
          request.logitRows.push_back(i - begin);
        }
        const auto output = model.forward(request, StopToken());
        if (!output) return std::vector<std::vector<float>>();
        for (int row = 0; row < output->logits->rows(); ++row) rows.push_back(rowOf(*output, row));
      }
      return rows;
    };
    const auto single = inPieces(1);
    QCOMPARE(single.size(), static_cast<std::size_t>(kCount));
    for (const int size : {2, 3, 7, 16, kCount})
      QVERIFY2(inPieces(size) == single, qPrintable(QString("pieces of %1").arg(size)));
  }
  void treesEqualChainsToTheLastBit_data() {
    QTest::addColumn<QString>("folder");
    // The window of the second one is shorter than the text.
    for (const char* folder : {"llama-gqa-untied", "mistral-sliding", "qwen3-qknorm", "smollm3-nope"})
      QTest::newRow(folder) << folder;
  }
  void treesEqualChainsToTheLastBit() {
    if (!hasFixtures()) QSKIP("the reference data is not there");
    QFETCH(QString, folder);
    const std::string path = kFixtures + "/hf/" + folder.toStdString();
    // A tree forward equals the chains that it stands for, bit for bit; so does one step after another.
    for (const char* dtype : {"f32", "bf16"}) {
      auto loaded = loadModel(path, withType(dtype), StopToken());
      QVERIFY(loaded.has_value());
      Model& model = *loaded->model;
      const std::vector<TokenId> prompt = {5, 9, 100, 33, 7, 41, 8, 19, 64, 2, 90, 3};
      ForwardRequest request;
      request.tokens = prompt;
      QVERIFY(model.forward(request, StopToken()).has_value());
      ForwardRequest tree;
      tree.tokens = {10, 11, 12, 13, 14, 15};
      tree.parents = {-1, 0, 0, 1, 1, 2};  // the worked example of the method sheet
      tree.logitRows = {0, 1, 2, 3, 4, 5};
      const auto whole = model.forward(tree, StopToken());
      QVERIFY(whole.has_value());
      std::vector<std::vector<float>> rows;
      for (int i = 0; i < 6; ++i) rows.push_back(rowOf(*whole, i));
      // Keep the path 0, 2, 5 and go on from there.
      QVERIFY(model.retain(12, std::vector<std::int32_t>{12, 14, 17}).has_value());
      QCOMPARE(model.cached(), 15);
      ForwardRequest next;
      next.tokens = {77};
      next.logitRows = {0};
      const auto after = rowOf(*model.forward(next, StopToken()), 0);
      const std::vector<std::vector<TokenId>> paths = {{10},         {10, 11},     {10, 12},
                                                       {10, 11, 13}, {10, 11, 14}, {10, 12, 15}};
      for (std::size_t i = 0; i < paths.size(); ++i) {
        QVERIFY(model.retain(0, {}).has_value());
        std::vector<TokenId> text = prompt;
        text.insert(text.end(), paths[i].begin(), paths[i].end());
        std::vector<float> last;
        for (const TokenId token : text) {
          next.tokens = {token};
          last = rowOf(*model.forward(next, StopToken()), 0);
        }
        QVERIFY2(last == rows[i], qPrintable(QString("%1, node %2").arg(dtype).arg(i)));
        if (i == 5) {
          next.tokens = {77};
          QVERIFY(rowOf(*model.forward(next, StopToken()), 0) == after);
        }
      }
    }
  }
  void futureTokensDoNotMatterForCausalModels() {
    if (!hasFixtures()) QSKIP("the reference data is not there");
    auto loaded = loadModel(kFixtures + "/hf/llama-gqa-untied", withType("f32"), StopToken());
    ForwardRequest request;
    request.tokens = {5, 9, 100};
    request.logitRows = {0, 1};
    const auto first = rowOf(*loaded->model->forward(request, StopToken()), 1);
    QVERIFY(loaded->model->retain(0, {}).has_value());
    request.tokens[2] = 101;
    QVERIFY(rowOf(*loaded->model->forward(request, StopToken()), 1) == first);
  }
  void badRequestsAreRefusedAndHarmless() {
    if (!hasFixtures()) QSKIP("the reference data is not there");
    auto loaded = loadModel(kFixtures + "/hf/llama-gqa-untied", withType("f32"), StopToken());
    Model& model = *loaded->model;
    ForwardRequest request;
    QVERIFY(!model.forward(request, StopToken()));
    request.tokens = {100000};
    QCOMPARE(model.forward(request, StopToken()).error().code, ErrorCode::badInput);
    request.tokens.assign(257, 1);
    QCOMPARE(model.forward(request, StopToken()).error().code, ErrorCode::badInput);
    request.tokens = {1, 2};
    StopSource stop;
    stop.request_stop();
    QCOMPARE(model.forward(request, stop.get_token()).error().code, ErrorCode::cancelled);
    QCOMPARE(model.cached(), 0);
    request.parents = {-1, 1};
    QVERIFY(!model.forward(request, StopToken()));
    QVERIFY(!model.retain(5, {}));
  }
  void interventionsChangeTheResidualStream() {
    if (!hasFixtures()) QSKIP("the reference data is not there");
    for (const char* device : everyDevice()) {
      auto loaded = loadModel(kFixtures + "/hf/llama-gqa-untied", withType("f32", device), StopToken());
      QVERIFY(loaded.has_value());
      const auto width = static_cast<std::size_t>(loaded->model->info().width);
      const auto residual = [&](std::vector<Intervention> changes) {
        ForwardRequest request;
        request.tokens = {5, 9, 100};
        request.taps = {{TapSite::residual, 1}};
        request.interventions = std::move(changes);
        const auto output = loaded->model->forward(request, StopToken());
        if (!output || !loaded->model->retain(0, {})) return std::vector<float>();
        return output->taps.front().values;
      };
      const auto plain = residual({});
      QCOMPARE(plain.size(), 3 * width);
      std::vector<float> vector(width);
      for (std::size_t i = 0; i < width; ++i) vector[i] = std::sin(static_cast<float>(i));
      const auto added = residual({{Intervention::Kind::add, 1, 1, vector}});
      const auto scaled = residual({{Intervention::Kind::scale, 1, -1, {2.0f}}});
      const auto replaced = residual({{Intervention::Kind::replace, 1, 2, vector}});
      for (std::size_t i = 0; i < plain.size(); ++i) {
        QCOMPARE(added[i], i / width == 1 ? plain[i] + vector[i % width] : plain[i]);
        QCOMPARE(scaled[i], 2 * plain[i]);
        QCOMPARE(replaced[i], i / width == 2 ? vector[i % width] : plain[i]);
      }
    }
  }
  void unusableModelsAreRefusedByName() {
    if (!hasFixtures()) QSKIP("the reference data is not there");
    // A copy of a good folder, spoilt in one way after another.
    QTemporaryDir folder;
    const QString source = QString::fromStdString(kFixtures) + "/hf/llama-gqa-untied/";
    for (const char* name : {"config.json", "model.safetensors", "tokenizer.json"}) {
      QVERIFY(QFile::copy(source + name, folder.filePath(name)));
      QFile::setPermissions(folder.filePath(name), QFile::ReadOwner | QFile::WriteOwner);
    }
    const std::string path = folder.path().toStdString();
    std::ifstream stream(path + "/config.json");
    const auto good = nlohmann::json::parse(stream);
    const auto errorWith = [&](const char* field, nlohmann::json value) {
      auto changed = good;
      changed[field] = std::move(value);
      std::ofstream(path + "/config.json") << changed;
      const auto loaded = loadModel(path, withType("f32"), StopToken());
      return loaded ? Error{ErrorCode::failed, "it loaded"} : loaded.error();
    };
    const Error missing = errorWith("num_hidden_layers", 4);
    QCOMPARE(missing.code, ErrorCode::badInput);
    QVERIFY(missing.text().find("model.layers.3.") != std::string::npos);
    const Error shape = errorWith("intermediate_size", 128);
    QCOMPARE(shape.code, ErrorCode::badInput);
    QVERIFY2(shape.text().find("[112, 64]") != std::string::npos &&
                 shape.text().find("[128, 64]") != std::string::npos,
             shape.text().c_str());
    QVERIFY(errorWith("hidden_size", "wide").text().find("hidden_size") != std::string::npos);
    QCOMPARE(errorWith("num_attention_heads", 0).code, ErrorCode::badInput);
    QCOMPARE(errorWith("hidden_act", "squiglu").code, ErrorCode::unsupported);
    const Error unknown = errorWith("model_type", "mamba");
    QCOMPARE(unknown.code, ErrorCode::unsupported);
    for (const char* name : {"mamba", "gpt_neox", "llada"})
      QVERIFY2(unknown.text().find(name) != std::string::npos, unknown.text().c_str());
    std::ofstream(path + "/config.json") << good;
    QVERIFY(loadModel(path, withType("f32"), StopToken()).has_value());
    QCOMPARE(loadModel(path, withType("f7"), StopToken()).error().code, ErrorCode::usage);
    QCOMPARE(loadModel(path, withType("f32", "gpu"), StopToken()).error().code, ErrorCode::usage);
    StopSource stop;
    stop.request_stop();
    QCOMPARE(loadModel(path, withType("f32"), stop.get_token()).error().code, ErrorCode::cancelled);
    QVERIFY(QFile::remove(folder.filePath("tokenizer.json")));
    const auto withoutTokenizer = loadModel(path, withType("f32"), StopToken());
    QVERIFY(!withoutTokenizer);
    QVERIFY2(withoutTokenizer.error().text().find("tokenizer.json") != std::string::npos,
             withoutTokenizer.error().text().c_str());
  }
  void earlyExitIsTheLensOfThatLayer() {
    if (!hasFixtures()) QSKIP("the reference data is not there");
    auto loaded = loadModel(kFixtures + "/hf/llama-gqa-untied", withType("f32"), StopToken());
    ForwardRequest request;
    request.tokens = {5, 9, 100};
    request.logitRows = {2};
    request.lastLayer = loaded->model->info().layers;
    const auto exit = rowOf(*loaded->model->forward(request, StopToken()), 0);
    QVERIFY(loaded->model->retain(0, {}).has_value());
    request.lastLayer = -1;
    QVERIFY(rowOf(*loaded->model->forward(request, StopToken()), 0) == exit);
    QVERIFY(loaded->model->retain(0, {}).has_value());
    request.lastLayer = 1;
    QVERIFY(rowOf(*loaded->model->forward(request, StopToken()), 0) != exit);
  }
  void theLargestAreThoseOfSummaries() {
    if (!hasFixtures()) QSKIP("the reference data is not there");
    const auto loaded = loadModel(kFixtures + "/hf/llama-gqa-untied", withType("f32", "cpu"), StopToken());
    QVERIFY(loaded.has_value());
    ForwardRequest request;
    request.tokens = {5, 6, 7, 8};
    request.logitRows = {0, 1, 2, 3};
    const auto output = loaded->model->forward(request, StopToken());
    QVERIFY(output.has_value());
    const auto summaries = output->logits->summaries(8);
    const auto largest = output->logits->largest(8);
    QVERIFY(summaries && largest);
    QCOMPARE(largest->size(), std::size_t{4});
    for (std::size_t row = 0; row < 4; ++row) {
      QVERIFY((*largest)[row] == (*summaries)[row].tokens);
      QCOMPARE(*output->logits->argmax(static_cast<int>(row)), (*largest)[row].front());
    }
  }
  void lladaDecodesStepByStep_data() {
    QTest::addColumn<QString>("name");
    QTest::addColumn<int>("steps");
    QTest::addColumn<int>("length");
    QTest::addColumn<int>("block");
    QTest::newRow("one block") << "steps16_gen32_block32" << 16 << 32 << 32;
    QTest::newRow("four blocks") << "steps32_gen32_block8" << 32 << 32 << 8;
    QTest::newRow("uneven quota") << "steps12_gen40_block20" << 12 << 40 << 20;
  }
  void lladaDecodesStepByStep() {
    if (!hasFixtures()) QSKIP("the reference data is not there");
    QFETCH(QString, name);
    QFETCH(int, steps);
    QFETCH(int, length);
    QFETCH(int, block);
    denoisesAs("llada-layout", "low_confidence_greedy", name, length, "llada",
               {"steps=" + std::to_string(steps), "block_length=" + std::to_string(block)});
  }
  void dreamDecodesStepByStep_data() {
    QTest::addColumn<QString>("order");
    QTest::addColumn<int>("steps");
    for (const char* order : {"maskgit_plus", "topk_margin", "entropy"})
      for (const int steps : {8, 24}) QTest::addRow("%s, %d steps", order, steps) << order << steps;
  }
  void dreamDecodesStepByStep() {
    if (!hasFixtures()) QSKIP("the reference data is not there");
    QFETCH(QString, order);
    QFETCH(int, steps);
    denoisesAs("dream-layout", "diffusion_generate_greedy",
               QStringLiteral("%1_steps%2_gen24").arg(order).arg(steps), 24, "dream",
               {"steps=" + std::to_string(steps), "alg=" + order.toStdString()});
  }
  void aFullContextEndsTheRunCleanly_data() {
    QTest::addColumn<QString>("method");
    for (const char* method : {"sampling", "token-recycling", "lookup", "self-draft"})
      QTest::newRow(method) << method;
  }
  void aFullContextEndsTheRunCleanly() {
    if (!hasFixtures()) QSKIP("the reference data is not there");
    QFETCH(QString, method);
    Engine engine(recordInMemory());
    QVERIFY(
        engine.loadModel("target", kFixtures + "/hf/llama-gqa-untied", withType("f32", "cpu"), StopToken())
            .has_value());
    const std::int64_t context = engine.model()->info().contextLength;
    QCOMPARE(context, std::int64_t{256});
    RunRequest request;
    request.method = method.toStdString();
    for (TokenId token = 0; token < 240; ++token) request.promptTokens.push_back(5 + token % 7);
    request.maxNewTokens = 10'000;
    request.stopAtEnd = false;
    const RunId run = *engine.startRun(request);
    while (!engine.ended()) {
      const auto step = engine.step(StopToken());
      QVERIFY2(step.has_value(), step ? "" : step.error().text().c_str());
    }
    QCOMPARE(engine.current().stopReason, std::string("context"));
    QVERIFY(static_cast<std::int64_t>(engine.text().size()) >= context - 1 &&
            static_cast<std::int64_t>(engine.text().size()) <= context + 1);
    const auto report = auditRun(*engine.recording().source, run);
    QVERIFY(report.has_value() && report->failed.empty());
  }
  void aSelfDraftedRunForksExactly() {
    if (!hasFixtures()) QSKIP("the reference data is not there");
    const Recording recording = recordInMemory();
    RunId first;
    const auto load = [](Engine& engine) {
      return engine.loadModel("target", kFixtures + "/hf/llama-gqa-untied", withType("f32", "cpu"),
                              StopToken());
    };
    {
      Engine engine(recording);
      QVERIFY(load(engine).has_value());
      RunRequest request;
      request.method = "self-draft";
      request.assignments = {"temperature=0.9"};
      request.promptTokens = {5, 9, 33, 2, 71, 8};
      request.maxNewTokens = 40;
      request.stopAtEnd = false;
      request.seed = 4;
      first = *engine.startRun(request);
      while (!engine.ended()) QVERIFY(engine.step(StopToken()).has_value());
    }
    const StepIndex end = recording.source->extent(first).second;
    for (const StepIndex at : {StepIndex{0}, end / 2}) {
      Engine engine(recording);
      QVERIFY(load(engine).has_value());
      ForkRequest request;
      request.run = first;
      request.step = at;
      const auto fork = engine.fork(request, StopToken());
      QVERIFY2(fork.has_value(), fork ? "" : fork.error().text().c_str());
      while (!engine.ended()) QVERIFY(engine.step(StopToken()).has_value());
      const auto before = textOf(*recording.source, first), after = textOf(*recording.source, *fork);
      QCOMPARE(before->size(), after->size());
      for (std::size_t i = 0; i < before->size(); ++i) QCOMPARE((*before)[i].token, (*after)[i].token);
      for (StepIndex step = at; step < end; ++step) {
        // Number for number: everything but the times.
        const auto a = *recording.source->step(first, step), b = *recording.source->step(*fork, step);
        QCOMPARE(a->events.size(), b->events.size());
        for (std::size_t i = 0; i < a->events.size(); ++i)
          if (const auto* verdict = std::get_if<VerdictFact>(&a->events[i])) {
            const auto& other = std::get<VerdictFact>(b->events[i]);
            QCOMPARE(verdict->verdict, other.verdict);
            QVERIFY(std::memcmp(&verdict->p, &other.p, sizeof verdict->p) == 0 &&
                    std::memcmp(&verdict->u, &other.u, sizeof verdict->u) == 0);
          }
      }
    }
  }
  void smolLmGolden() {
    if (!hasFixtures()) QSKIP("the reference data is not there");
    Engine engine(recordInMemory());
    if (!engine.loadModel("target", "SmolLM2-135M-Instruct", withType("f32"), StopToken()))
      QSKIP("SmolLM2 is not in the model cache");
    std::ifstream file(kFixtures + "/real/smollm2/golden.json");
    const auto golden = nlohmann::json::parse(file);
    for (const auto& test : golden["cases"])
      for (const auto& [method, set] : std::vector<std::pair<std::string, std::vector<std::string>>>{
               {"sampling", {}},
               {"token-recycling", {}},
               {"token-recycling", {"adaptive=false", "tree_nodes=16"}},
               {"lookup", {}},
               {"chain", {"drafter=self", "gamma=2"}}}) {
        RunRequest request;
        request.method = method;
        request.assignments = set;
        request.promptTokens = test["prompt_ids"].get<std::vector<TokenId>>();
        request.maxNewTokens = 64;
        request.stopAtEnd = false;
        request.recordLevel = "none";
        QVERIFY(engine.startRun(request).has_value());
        while (!engine.ended()) QVERIFY(engine.step(StopToken()).has_value());
        const std::vector<TokenId> ids(
            engine.text().begin() + static_cast<std::ptrdiff_t>(engine.promptLength()), engine.text().end());
        QVERIFY2(ids == test["greedy_ids"].get<std::vector<TokenId>>(), method.c_str());
      }
  }
};

QTEST_GUILESS_MAIN(TestTransformer)
#include "TestTransformer.moc"
