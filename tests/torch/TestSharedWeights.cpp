// Models on the same weights: what they share, and what they do not.
#include <malloc.h>

#include <QDir>
#include <QTest>
#include <fstream>
#include <future>

#include "core/model/ModelLoader.h"
#include "core/session/Engine.h"
#include "tests/torch/OpenedModel.h"

using namespace decoscope;

namespace {

Floats logitsOf(Model& model, const ForwardRequest& request) {
  (void)model.retain(0);
  const auto output = model.forward(request, StopToken());
  (void)model.retain(0);
  return output ? allRows(*output->logits) : Floats();
}

ForwardRequest intervened(int width) {
  ForwardRequest request = requestOf(kText);
  Floats direction;
  for (int i = 0; i < width; ++i) direction.push_back(static_cast<float>(i % 5) - 2);
  request.interventions.push_back({Intervention::Kind::add, 1, -1, std::move(direction)});
  request.taps = {{TapSite::residual, 1}, {TapSite::attentionWeights, 0}};
  return request;
}

// A checkpoint in a folder, and models of it.
struct Checkpoint {
  QTemporaryDir folder;
  QString problem;
  explicit Checkpoint(nlohmann::json document) { writeCheckpoint(path(), document); }
  explicit Checkpoint(const char* name) : Checkpoint(referenceOf(std::string(name) + ".json")) {}
  std::string path() const { return folder.path().toStdString(); }
  std::unique_ptr<Model> open(const char* device = "cpu", const char* dtype = "f32", int threads = 0) {
    LoadOptions options;
    options.dtype = dtype;
    options.device = device;
    options.threads = threads;
    auto model = loadTransformer(*openWeights(path()), path(), options, StopToken());
    if (!model) return problem = QString::fromStdString(model.error().text()), nullptr;
    return std::move(*model);
  }
};

// llama3.json, widened to weigh some 30 MB in f32.
nlohmann::json large() {
  nlohmann::json document = referenceOf("llama3.json");
  constexpr int kWidth = 256, kInner = 1024, kLayers = 6, kVocabulary = 4096;
  document["config"].update({{"hidden_size", kWidth},
                             {"intermediate_size", kInner},
                             {"num_hidden_layers", kLayers},
                             {"num_attention_heads", 4},
                             {"num_key_value_heads", 4},
                             {"head_dim", 64},
                             {"vocab_size", kVocabulary},
                             {"tie_word_embeddings", true}});
  nlohmann::json tensors = {{"model.embed_tokens.weight", {kVocabulary, kWidth}},
                            {"model.norm.weight", {kWidth}}};
  for (int layer = 0; layer < kLayers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    for (const char* norm : {"input_layernorm", "post_attention_layernorm"})
      tensors[prefix + norm + ".weight"] = {kWidth};
    for (const char* side : {"q", "k", "v", "o"})
      tensors[prefix + "self_attn." + side + "_proj.weight"] = {kWidth, kWidth};
    for (const char* up : {"gate", "up"}) tensors[prefix + "mlp." + up + "_proj.weight"] = {kInner, kWidth};
    tensors[prefix + "mlp.down_proj.weight"] = {kWidth, kInner};
  }
  document["tensors"] = std::move(tensors);
  return document;
}

std::int64_t heldBytes() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<std::int64_t>(info.uordblks + info.hblkhd);
}

// Of /proc/self/status, in bytes.
std::int64_t statusBytes(const char* field) {
  std::ifstream stream("/proc/self/status");
  for (std::string line; std::getline(stream, line);)
    if (line.starts_with(field)) return std::atoll(line.c_str() + std::strlen(field) + 1) * 1024;
  return -1;
}

}  // namespace

class TestSharedWeights : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void modelsAreAsOneAlone_data() {
    QTest::addColumn<QString>("name");
    QTest::addColumn<QString>("device");
    QTest::addColumn<QString>("dtype");
    for (const char* name : {"llama3", "gpt2", "gpt-oss", "gemma3"}) {
      for (const char* dtype : {"f32", "bf16", "f16", "q8", "q4"})
        QTest::addRow("%s %s", name, dtype) << name << "cpu" << dtype;
      for (const char* dtype : {"f32", "bf16"})
        QTest::addRow("%s %s reference", name, dtype) << name << "cpu-reference" << dtype;
    }
  }
  void modelsAreAsOneAlone() {
    QFETCH(QString, name);
    QFETCH(QString, device);
    QFETCH(QString, dtype);
    Checkpoint checkpoint(qPrintable(name));
    const auto open = [&](int threads) {
      return checkpoint.open(qPrintable(device), qPrintable(dtype), threads);
    };
    Floats plain, changed;
    std::int64_t weights = 0;
    {
      const auto alone = open(0);
      QVERIFY2(alone, qPrintable(checkpoint.problem));
      QCOMPARE(alone->memoryBytes(), alone->info().bytes);
      weights = alone->info().bytes;
      plain = logitsOf(*alone, requestOf(kText));
      changed = logitsOf(*alone, intervened(alone->info().width));
      QVERIFY(!plain.empty());
      QVERIFY(changed != plain);
    }
    auto first = open(1);
    const auto second = open(2);
    QVERIFY2(first && second, qPrintable(checkpoint.problem));
    QCOMPARE(first->info().bytes, weights);
    QCOMPARE(second->info().bytes, weights);
    QVERIFY(weights > 0);
    QCOMPARE(first->memoryBytes(), weights / 2);
    QCOMPARE(second->memoryBytes(), weights / 2);
    // What one does leaves the other alone, with tokens in both caches.
    const std::size_t half = kText.size() / 2;
    const auto partly = second->forward(requestOf({kText.begin(), kText.begin() + half}), StopToken());
    QVERIFY(partly.has_value());
    QCOMPARE(first->cached(), 0);
    QVERIFY(logitsOf(*first, intervened(first->info().width)) == changed);
    QVERIFY(logitsOf(*first, requestOf(kText)) == plain);
    QCOMPARE(second->cached(), static_cast<int>(half));
    if (device == "cpu") {  // whose rows have the same bits in parts as in one
      const auto rest = second->forward(requestOf({kText.begin() + half, kText.end()}), StopToken());
      QVERIFY(rest.has_value());
      const Floats rows = allRows(*rest->logits);
      QVERIFY(Floats(plain.end() - static_cast<std::ptrdiff_t>(rows.size()), plain.end()) == rows);
    }
    first.reset();
    QVERIFY(second->memoryBytes() > weights);  // all of the weights, and a cache
    QVERIFY(logitsOf(*second, requestOf(kText)) == plain);
    QVERIFY(logitsOf(*second, intervened(second->info().width)) == changed);
  }

  void othersDoNotShare_data() {
    QTest::addColumn<QString>("device");
    QTest::addColumn<QString>("dtype");
    for (const char* dtype : {"bf16", "f16", "q8", "q4"}) QTest::addRow("%s", dtype) << "cpu" << dtype;
    QTest::addRow("plain libtorch") << "cpu-reference" << "f32";
  }
  void othersDoNotShare() {
    QFETCH(QString, device);
    QFETCH(QString, dtype);
    Checkpoint checkpoint("llama3");
    const auto first = checkpoint.open(), other = checkpoint.open(qPrintable(device), qPrintable(dtype));
    QVERIFY2(first && other, qPrintable(checkpoint.problem));
    QCOMPARE(first->memoryBytes(), first->info().bytes);
    QCOMPARE(other->memoryBytes(), other->info().bytes);
  }
  void configurationCounts() {
    nlohmann::json document = referenceOf("llama3.json");
    Checkpoint checkpoint(document);
    document["config"]["rms_norm_eps"] = 0.1;
    Checkpoint changed(document);
    const auto first = checkpoint.open(), other = changed.open();
    QVERIFY(first && other);
    QCOMPARE(first->info().fingerprint, other->info().fingerprint);
    QCOMPARE(other->memoryBytes(), other->info().bytes);
    QVERIFY(logitsOf(*first, requestOf(kText)) != logitsOf(*other, requestOf(kText)));
  }

  // A copy of a checkpoint is the same checkpoint; what was read first may go.
  void copiesShare() {
    auto original = std::make_unique<Checkpoint>("llama3");
    Checkpoint copy("llama3");
    auto first = original->open();
    const auto second = copy.open();
    QVERIFY(first && second);
    QCOMPARE(second->memoryBytes(), second->info().bytes / 2);
    QCOMPARE(second->info().path, copy.path());
    const Floats plain = logitsOf(*first, requestOf(kText));
    first.reset();
    original.reset();
    QVERIFY(logitsOf(*second, requestOf(kText)) == plain);
  }

  void secondCostsNoMemory_data() {
    QTest::addColumn<QString>("dtype");
    for (const char* dtype : {"f32", "bf16", "q8"}) QTest::addRow("%s", dtype) << dtype;
  }
  void secondCostsNoMemory() {
    QFETCH(QString, dtype);
    Checkpoint checkpoint(large());
    const std::int64_t before = heldBytes();
    const auto first = checkpoint.open("cpu", qPrintable(dtype));
    QVERIFY2(first, qPrintable(checkpoint.problem));
    const std::int64_t weights = first->info().bytes, held = heldBytes();
    QVERIFY(weights > 7'000'000);
    QVERIFY2(held - before > weights * 9 / 10, "the measurement sees the weights");
    std::ofstream("/proc/self/clear_refs") << "5";  // the peak begins anew
    const std::int64_t resident = statusBytes("VmRSS:"), peak = statusBytes("VmHWM:");
    const auto second = checkpoint.open("cpu", qPrintable(dtype));
    QVERIFY2(second, qPrintable(checkpoint.problem));
    QVERIFY2(heldBytes() - held < weights / 20, qPrintable(QString::number(heldBytes() - held)));
    if (peak < 0 || peak > resident + weights / 20) return;  // this system does not let us measure the peak
    const std::int64_t grown = statusBytes("VmHWM:") - resident;
    QVERIFY2(grown < std::max<std::int64_t>(weights / 10, 3'000'000), qPrintable(QString::number(grown)));
  }

  void forwardsAtOnce() {
    Checkpoint checkpoint("gpt-oss");
    const auto first = checkpoint.open("cpu", "bf16", 2), second = checkpoint.open("cpu", "bf16", 2);
    QVERIFY(first && second);
    const int width = first->info().width;
    const Floats plain = logitsOf(*first, requestOf(kText)), changed = logitsOf(*first, intervened(width));
    const auto repeat = [](Model& model, const ForwardRequest& request, const Floats& expected) {
      for (int i = 0; i < 50; ++i)
        if (logitsOf(model, request) != expected) return false;
      return true;
    };
    auto one = std::async(std::launch::async, [&] { return repeat(*first, requestOf(kText), plain); });
    auto other = std::async(std::launch::async, [&] { return repeat(*second, intervened(width), changed); });
    QVERIFY(one.get());
    QVERIFY(other.get());
  }
  void loadsAtOnce() {
    Checkpoint checkpoint(large());
    std::vector<std::future<std::unique_ptr<Model>>> loads;
    for (int i = 0; i < 4; ++i)
      loads.push_back(std::async(std::launch::async, [&] { return checkpoint.open(); }));
    std::vector<std::unique_ptr<Model>> models;
    for (auto& load : loads) models.push_back(load.get());
    for (const auto& model : models) {
      QVERIFY2(model, qPrintable(checkpoint.problem));
      QCOMPARE(model->memoryBytes(), model->info().bytes / 4);
    }
  }
  // The same checkpoint as target and drafter, in two engines at once, each on its own thread.
  void rolesAndEnginesShare() {
    Checkpoint checkpoint("llama3");
    writeTokenizer(checkpoint.path());
    const auto write = [&](const char* method, bool withDrafter,
                           std::int64_t part) -> Result<std::vector<TokenId>> {
      Engine engine(recordInMemory());
      LoadOptions options;
      options.device = "cpu";
      std::map<std::string, std::string> names = {{"target", checkpoint.path()}};
      if (withDrafter) names["drafter"] = checkpoint.path();
      DECOSCOPE_TRY(engine.loadModels(names, options, StopToken()));
      const Model& target = *engine.model();
      if (part > 0 && target.memoryBytes() > target.info().bytes / part)
        return fail(ErrorCode::failed, "the weights are not shared");
      RunRequest request;
      request.method = method;
      request.assignments = {"temperature=0"};
      request.promptTokens = kText;
      request.maxNewTokens = 60;
      request.stopAtEnd = false;
      DECOSCOPE_TRY(engine.startRun(request));
      while (!engine.ended()) DECOSCOPE_TRY(engine.step(StopToken()));
      return engine.text();
    };
    const auto alone = write("sampling", false, 1);
    QVERIFY2(alone.has_value(), alone ? "" : alone.error().text().c_str());
    QCOMPARE(alone->size(), kText.size() + 60);
    const auto both = write("chain", true, 2);
    QVERIFY2(both.has_value(), both ? "" : both.error().text().c_str());
    QVERIFY(*both == *alone);
    auto one = std::async(std::launch::async, [&] { return write("chain", true, 2); });
    auto other = std::async(std::launch::async, [&] { return write("sampling", false, 0); });
    const auto first = one.get(), second = other.get();
    QVERIFY2(first.has_value(), first ? "" : first.error().text().c_str());
    QVERIFY2(second.has_value(), second ? "" : second.error().text().c_str());
    QVERIFY(*first == *alone);
    QVERIFY(*second == *alone);
  }
  void progressOfSharedLoadEnds() {
    Checkpoint checkpoint("llama3");
    const auto first = checkpoint.open();
    double reached = 0;
    LoadOptions options;
    options.device = "cpu";
    options.dtype = "f32";
    options.progress = [&](double fraction, const std::string&) { reached = fraction; };
    const auto second =
        loadTransformer(*openWeights(checkpoint.path()), checkpoint.path(), options, StopToken());
    QVERIFY(second.has_value());
    QCOMPARE(reached, 1.0);
  }
  // A load that is stopped leaves nothing behind that another would take for the weights.
  void stoppedLoadLeavesNothing() {
    Checkpoint checkpoint("llama3");
    StopSource source;
    LoadOptions options;
    options.progress = [&](double, const std::string&) { source.request_stop(); };
    const auto stopped =
        loadTransformer(*openWeights(checkpoint.path()), checkpoint.path(), options, source.get_token());
    QCOMPARE(stopped.error().code, ErrorCode::cancelled);
    const auto model = checkpoint.open();
    QVERIFY2(model, qPrintable(checkpoint.problem));
    QVERIFY(!logitsOf(*model, requestOf(kText)).empty());
  }
};

QTEST_GUILESS_MAIN(TestSharedWeights)
#include "TestSharedWeights.moc"
