// What a precision changes and what it does not: the weights behind the door, rows that do not depend on
// their neighbours, the distances that are measured and kept, the memory that is asked for.
#include <QDir>
#include <QTest>

#include "core/model/Comparison.h"
#include "core/model/torch/Devices.h"
#include "core/model/torch/Memory.h"
#include "tests/torch/OpenedModel.h"

using namespace decoscope;

namespace {

// Longer than a chunk of the comparison, and than the context of the reference models.
std::vector<TokenId> longText(std::size_t count) {
  std::vector<TokenId> text;
  for (std::size_t i = 0; i < count; ++i) text.push_back(static_cast<TokenId>((i * i * 7 + i * 3 + 5) % 64));
  return text;
}

// exp of the mean negative log probability, from one forward for each stretch of the context.
double perplexityAtOnce(const Opened& opened, const std::vector<TokenId>& text) {
  const auto context = static_cast<std::size_t>(opened.model->info().contextLength);
  double sum = 0;
  for (std::size_t begin = 0; begin + 1 < text.size(); begin += context) {
    const std::size_t count = std::min(context, text.size() - 1 - begin);
    const auto first = text.begin() + static_cast<std::ptrdiff_t>(begin);
    const Floats rows = opened.logits(requestOf({first, first + static_cast<std::ptrdiff_t>(count)}));
    const std::size_t vocabulary = rows.size() / count;
    for (std::size_t i = 0; i < count; ++i) {
      double all = 0;
      for (std::size_t v = 0; v < vocabulary; ++v) all += std::exp(double{rows[i * vocabulary + v]});
      sum += std::log(all) - rows[i * vocabulary + static_cast<std::size_t>(text[begin + i + 1])];
    }
  }
  return std::exp(sum / static_cast<double>(text.size() - 1));
}

}  // namespace

class TestPrecisions : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void weightsAreTheFiles_data() {
    QTest::addColumn<QString>("device");
    QTest::addColumn<QString>("dtype");
    QTest::addColumn<double>("bound");  // of the largest magnitude in a row
    QTest::newRow("f32") << "cpu" << "f32" << 0.0;
    QTest::newRow("f32 reference") << "cpu-reference" << "f32" << 0.0;
    QTest::newRow("f16") << "cpu" << "f16" << 0x1p-11;
    QTest::newRow("f16 reference") << "cpu-reference" << "f16" << 0x1p-11;
    QTest::newRow("bf16") << "cpu" << "bf16" << 0x1p-8;
    QTest::newRow("bf16 reference") << "cpu-reference" << "bf16" << 0x1p-8;
    // Half a step of the codes, and the scale in 16 bits.
    QTest::newRow("q8") << "cpu" << "q8" << 0.5 / 127 + 0x1p-10;
    QTest::newRow("q4") << "cpu" << "q4" << 1.0 / 15 + 0x1p-8;
  }
  void weightsAreTheFiles() {
    QFETCH(QString, device);
    QFETCH(QString, dtype);
    QFETCH(double, bound);
    const Opened opened("llama-linear", qPrintable(device), qPrintable(dtype));
    QVERIFY2(opened.model, qPrintable(opened.problem));
    const ModelInfo& info = opened.model->info();
    struct Case {
      MatrixRole role;
      const char* name;
      int outputs, inputs;
    };
    for (const Case& one : {Case{MatrixRole::gate, "model.layers.1.mlp.gate_proj.weight", 80, 48},
                            Case{MatrixRole::up, "model.layers.1.mlp.up_proj.weight", 80, 48},
                            Case{MatrixRole::down, "model.layers.1.mlp.down_proj.weight", 48, 80},
                            Case{MatrixRole::embedding, "model.embed_tokens.weight", 64, 48},
                            Case{MatrixRole::head, "lm_head.weight", 64, 48}}) {
      const Floats wanted = opened.tensor(one.name);
      const auto all = opened.model->weights(one.role, 1, false, 0, one.outputs);
      QVERIFY2(all && all->size() == wanted.size(), one.name);
      if (bound == 0)
        QVERIFY2(*all == wanted, one.name);
      else
        QVERIFY2(largestDifference(*all, wanted) <= bound * 0.25, one.name);  // weights reach ± 0.25
      const auto inputs = static_cast<std::size_t>(one.inputs),
                 outputs = static_cast<std::size_t>(one.outputs);
      const auto rows = opened.model->weights(one.role, 1, false, 5, 3);
      QVERIFY(rows && rows->size() == 3 * inputs);
      QVERIFY(std::equal(rows->begin(), rows->end(), all->begin() + static_cast<std::ptrdiff_t>(5 * inputs)));
      const auto columns = opened.model->weights(one.role, 1, true, 7, 2);
      QVERIFY(columns && columns->size() == 2 * outputs);
      for (std::size_t o = 0; o < outputs; ++o)
        for (std::size_t c = 0; c < 2; ++c) QCOMPARE((*columns)[o * 2 + c], (*all)[o * inputs + 7 + c]);
      QVERIFY(opened.model->weights(one.role, 1, false, one.outputs, 0)->empty());
      for (const auto& [first, count] : std::vector<std::pair<std::int64_t, std::int64_t>>{
               {-1, 1}, {0, one.outputs + 1}, {one.outputs, 1}, {0, -1}, {INT64_MAX, INT64_MAX}})
        QCOMPARE(opened.model->weights(one.role, 1, false, first, count).error().code, ErrorCode::usage);
      QCOMPARE(opened.model->weights(one.role, 1, true, 0, one.inputs + 1).error().code, ErrorCode::usage);
    }
    for (const int layer : {-1, info.layers})
      QCOMPARE(opened.model->weights(MatrixRole::up, layer, false, 0, 1).error().code, ErrorCode::usage);
  }
  void matricesThatAreNotThereAreRefused() {
    const Opened experts("mixtral"), ungated("gpt2");
    QVERIFY(experts.model && ungated.model);
    QCOMPARE(experts.model->weights(MatrixRole::up, 0, false, 0, 1).error().code, ErrorCode::unsupported);
    QCOMPARE(ungated.model->weights(MatrixRole::gate, 0, false, 0, 1).error().code, ErrorCode::unsupported);
    // GPT-2 keeps its matrices the other way round in the file.
    const auto up = ungated.model->weights(MatrixRole::up, 0, false, 0, ungated.model->info().inner);
    const Floats file = ungated.tensor("transformer.h.0.mlp.c_fc.weight");
    QVERIFY(up && up->size() == file.size());
    const auto width = static_cast<std::size_t>(ungated.model->info().width), inner = up->size() / width;
    for (std::size_t o = 0; o < inner; ++o)
      for (std::size_t i = 0; i < width; ++i) QCOMPARE((*up)[o * width + i], file[i * inner + o]);
  }

  // ---- precisions ----

  void treesEqualChainsInEveryPrecision_data() {
    QTest::addColumn<QString>("name");
    QTest::addColumn<QString>("dtype");
    for (const char* name : {"llama-linear", "gemma2", "mixtral"})
      for (const char* dtype : {"q8", "q4", "f16", "bf16"})
        QTest::addRow("%s %s", name, dtype) << name << dtype;
  }
  void treesEqualChainsInEveryPrecision() {
    QFETCH(QString, name);
    QFETCH(QString, dtype);
    const Opened opened(name.toStdString(), "cpu", qPrintable(dtype));
    QVERIFY2(opened.model, qPrintable(opened.problem));
    QCOMPARE(opened.model->info().dtype, dtype.toStdString());
    QVERIFY(opened.run(requestOf(kText)));
    ForwardRequest tree = requestOf({10, 11, 12, 13, 14, 15});
    tree.parents = {-1, 0, 0, 1, 1, 2};
    const auto whole = opened.run(tree);
    QVERIFY(whole);
    const std::vector<std::vector<TokenId>> paths = {{10},         {10, 11},     {10, 12},
                                                     {10, 11, 13}, {10, 11, 14}, {10, 12, 15}};
    for (std::size_t node = 0; node < paths.size(); ++node) {
      QVERIFY(opened.model->retain(0));
      std::vector<TokenId> text = kText;
      text.insert(text.end(), paths[node].begin(), paths[node].end());
      const auto inOne = opened.run(requestOf(text));
      QVERIFY(inOne);
      const auto wanted = whole->logits->row(static_cast<int>(node));
      const Floats chain(inOne->logits->row(static_cast<int>(text.size()) - 1).begin(),
                         inOne->logits->row(static_cast<int>(text.size()) - 1).end());
      QVERIFY(std::equal(wanted.begin(), wanted.end(), chain.begin()));
      QVERIFY(opened.model->retain(0));
      Floats last;
      for (const TokenId token : text) last = allRows(*opened.run(requestOf({token}))->logits);
      QVERIFY(last == chain);
    }
  }

  // ---- distances ----

  void aModelIsNoDistanceFromItself() {
    const Opened one("llama-linear"), other("llama-linear");
    QVERIFY(one.model && other.model);
    const auto text = longText(300);
    const auto distance = compareModels(*one.model, *other.model, text, StopToken());
    QVERIFY2(distance, distance ? "" : distance.error().text().c_str());
    QCOMPARE(distance->tokens, std::int64_t{299});
    QCOMPARE(distance->divergence, 0.0);
    QCOMPARE(distance->largestDivergence, 0.0);
    QCOMPARE(distance->agreement, 1.0);
    QCOMPARE(distance->perplexity, distance->referencePerplexity);
    QCOMPARE(distance->referencePerplexity, *perplexityOf(*one.model, text, StopToken()));
  }
  void coarserPrecisionsAreFartherOff() {
    const Opened exact("llama-linear"), half("llama-linear", "cpu", "f16"), four("llama-linear", "cpu", "q4");
    QVERIFY(exact.model && half.model && four.model);
    const auto text = longText(100);
    const auto fine = compareModels(*exact.model, *half.model, text, StopToken()),
               coarse = compareModels(*exact.model, *four.model, text, StopToken());
    QVERIFY(fine && coarse);
    QCOMPARE(fine->dtype, std::string("f16"));
    QCOMPARE(coarse->dtype, std::string("q4"));
    QCOMPARE(coarse->referenceDtype, std::string("f32"));
    QVERIFY(fine->divergence > 0 && fine->divergence < 1e-4);
    QVERIFY(coarse->divergence > 10 * fine->divergence && coarse->largestDivergence >= coarse->divergence);
    QVERIFY(fine->agreement > 0.95 && coarse->agreement <= fine->agreement);
  }
  void perplexityDoesNotDependOnChunks_data() {
    QTest::addColumn<int>("count");
    for (const int count : {2, 100, 128, 129, 130, 300}) QTest::addRow("%d tokens", count) << count;
  }
  void perplexityDoesNotDependOnChunks() {
    QFETCH(int, count);
    const Opened opened("gpt2");
    QVERIFY(opened.model);
    const auto text = longText(static_cast<std::size_t>(count));
    const auto found = perplexityOf(*opened.model, text, StopToken());
    QVERIFY2(found, found ? "" : found.error().text().c_str());
    const double wanted = perplexityAtOnce(opened, text);
    QVERIFY2(std::abs(*found - wanted) < 1e-9 * wanted,
             qPrintable(QString("%1, %2").arg(*found).arg(wanted)));
  }
  void textsAndModelsThatDoNotFitAreRefused() {
    const Opened one("llama-linear"), other("llama-linear");
    QVERIFY(one.model && other.model);
    const std::vector<TokenId> single = {1};
    QCOMPARE(perplexityOf(*one.model, single, StopToken()).error().code, ErrorCode::badInput);
    QCOMPARE(compareModels(*one.model, *other.model, single, StopToken()).error().code, ErrorCode::badInput);
    StopSource stop;
    stop.request_stop();
    QCOMPARE(perplexityOf(*one.model, longText(9), stop.get_token()).error().code, ErrorCode::cancelled);
  }
  void distancesAreKept() {
    const QTemporaryDir cache;
    const QByteArray before = qgetenv("XDG_CACHE_HOME");
    qputenv("XDG_CACHE_HOME", cache.path().toUtf8());
    PrecisionDistance distance{"q8", "f32", 2000, 0.1 / 3, 0.25, 0.987, 12.5, 12.25};
    QVERIFY(!storedDistance("sha256:ab", "q8"));
    QVERIFY(storeDistance("sha256:ab", distance));
    const auto read = storedDistance("sha256:ab", "q8");
    QVERIFY(read);
    QVERIFY(read->dtype == "q8" && read->referenceDtype == "f32" && read->tokens == 2000);
    QVERIFY(read->divergence == 0.1 / 3 && read->largestDivergence == 0.25 && read->agreement == 0.987 &&
            read->perplexity == 12.5 && read->referencePerplexity == 12.25);
    QVERIFY(!storedDistance("sha256:ab", "q4"));
    QVERIFY(!storedDistance("sha256:cd", "q8"));
    const QString file = cache.filePath("decoscope/distances/sha256-ab-q8.json");
    QVERIFY(QFile::exists(file));
    for (const char* damaged : {"", "{", "[]", "{\"dtype\":\"q8\"}", "{\"dtype\":8}"}) {
      std::ofstream(file.toStdString()) << damaged;
      QVERIFY2(!storedDistance("sha256:ab", "q8"), damaged);
    }
    QVERIFY(storeDistance("sha256:ab", distance));
    QVERIFY(storedDistance("sha256:ab", "q8"));
    // Where nothing can be written, an error says so.
    QVERIFY(QDir(cache.filePath("decoscope/distances")).removeRecursively());
    std::ofstream(cache.filePath("decoscope/distances").toStdString()) << "in the way";
    QCOMPARE(storeDistance("sha256:ab", distance).error().code, ErrorCode::failed);
    qputenv("XDG_CACHE_HOME", before);
  }

  // ---- memory ----

  void memoryIsEstimated() {
    ModelInfo info;
    info.parameters = 1'000'000;
    info.layers = 2;
    info.width = 64;
    info.heads = 8;
    info.keyValueHeads = 4;
    info.contextLength = 100;
    QCOMPARE(estimateMemory(info, Precision::f32).weights, std::int64_t{4'000'000});
    QCOMPARE(estimateMemory(info, Precision::bf16).weights, std::int64_t{2'000'000});
    QVERIFY(estimateMemory(info, Precision::q4).weights < estimateMemory(info, Precision::q8).weights);
    QCOMPARE(estimateMemory(info, Precision::q8).cache, std::int64_t{2 * 4 * 100 * 2 * 4 * 8});
    info.contextLength = 1 << 20;
    QCOMPARE(estimateMemory(info, Precision::q8).cache, std::int64_t{2 * 4 * 4096 * 2 * 4 * 8});
    QVERIFY(checkMemory(info, Precision::f32, {at::kCPU}));
  }
  void modelsThatDoNotFitAreRefusedWithFigures() {
    ModelInfo info;
    info.path = "huge.gguf";
    info.layers = 100;
    info.width = 8192;
    info.heads = info.keyValueHeads = 64;
    info.contextLength = 8192;
    info.parameters = 1'000'000'000'000'000;
    const auto refused = checkMemory(info, Precision::f32, {at::kCPU});
    QVERIFY(!refused);
    const Error& error = refused.error();
    QCOMPARE(error.code, ErrorCode::failed);
    QCOMPARE(error.where, std::string("huge.gguf"));
    for (const char* figure :
         {"4000000.0 GB of weights", "26.8 GB of cache", "4000026.8 GB in f32", "are free"})
      QVERIFY2(error.message.find(figure) != std::string::npos, error.message.c_str());
    QVERIFY(error.hint.find("--dtype") == std::string::npos);
    // Too large in f32 and not in 4 bits: the hint says so.
    info.layers = 1;
    info.contextLength = 1;
    info.parameters = freeMemory(at::kCPU) / 3;
    const auto smaller = checkMemory(info, Precision::f32, {at::kCPU});
    QVERIFY(!smaller);
    QVERIFY2(smaller.error().hint.find("q4 (") != std::string::npos, smaller.error().hint.c_str());
  }
};

QTEST_GUILESS_MAIN(TestPrecisions)
#include "TestPrecisions.moc"
