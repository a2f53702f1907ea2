// The commands about models, as scripts see them.
#include <QDir>
#include <QProcess>
#include <QRegularExpression>
#include <QTemporaryDir>
#include <QTest>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/model/weights/WeightFile.h"
#include "tests/weights/Files.h"

using namespace decoscope;
using nlohmann::json;

namespace {

struct Outcome {
  int code = -1;
  json document;
};

}  // namespace

class TestModelCommands : public QObject {
  Q_OBJECT
  QTemporaryDir home_;

  QProcessEnvironment environment() const {
    QProcessEnvironment environment = QProcessEnvironment::systemEnvironment();
    environment.insert("HOME", home_.path());
    environment.insert("XDG_CACHE_HOME", home_.filePath("cache"));
    environment.insert("DECOSCOPE_MODELS", home_.filePath("models"));
    for (const char* other :
         {"HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "OLLAMA_MODELS", "LLAMA_CACHE"})
      environment.remove(other);
    return environment;
  }
  Outcome call(const QStringList& arguments) const {
    QProcess process;
    process.setProcessEnvironment(environment());
    process.start(QStringLiteral(DECOSCOPE_CLI), arguments);
    if (!process.waitForFinished(60'000) || process.exitStatus() != QProcess::NormalExit) return {};
    return {process.exitCode(), json::parse(process.readAllStandardOutput().toStdString(), nullptr, false)};
  }
  std::string path(const char* name) const { return home_.filePath(name).toStdString(); }

 private Q_SLOTS:
  void initTestCase() {
    QDir(home_.path()).mkpath("models");
    const auto model = [](const char* architecture) {
      return ggufBytes({{"general.architecture", std::string(architecture)},
                        {"general.license", std::string("mit")},
                        {std::string(architecture) + ".block_count", std::uint32_t{3}}},
                       {{"t", 0, {4, 2}, std::string(32, 'x')}});
    };
    writeFile(path("models/Strange-Q4_0.gguf"), model("strange"));
    writeFile(path("models/Cut.gguf"), "GGUF");
  }
  void listHasOneItemForEach() {
    const Outcome list = call({"models", "list", "--json"});
    QCOMPARE(list.code, 0);
    json models = json::array();
    for (const json& model : list.document["models"])
      if (model["source"] != "bundled") models.push_back(model);
    QCOMPARE(models.size(), std::size_t{2});
    QVERIFY(models[0]["name"] == "Cut");
    QVERIFY(models[0]["problem"].is_string());
    QVERIFY(models[0]["architecture"].is_null());
    for (const char* key :
         {"name", "path", "format", "source", "bytes", "architecture", "parameters", "layers", "dtype",
          "quantisation", "context", "licence", "tokenizer", "sha256", "capabilities"})
      for (const json& model : models) QVERIFY2(model.contains(key), key);
    QVERIFY(models[0]["capabilities"].is_null());
    QVERIFY(models[1]["capabilities"] == json::array());  // nobody here runs it
    QVERIFY(models[1]["tokenizer"].is_null());
    QVERIFY(!models[1].contains("problem"));
    QVERIFY(models[1]["name"] == "Strange");
    QVERIFY(models[1]["source"] == "DECOSCOPE_MODELS");
    QVERIFY(models[1]["parameters"] == 8);
    QVERIFY(models[1]["layers"] == 3);
    QVERIFY(models[1]["context"].is_null());
    QCOMPARE(call({"models", "list"}).code, 0);
  }
  // The list says the same as a long look, where that is cheap; a digest only when somebody has computed it.
  void listAgreesWithShow() {
    const auto listed = [&](const std::string& name) {
      const json document = call({"models", "list", "--json"}).document;
      for (const json& model : document["models"])
        if (model["name"] == name) return model;
      return json::object();
    };
    const json models = call({"models", "list", "--json"}).document["models"];
    int compared = 0;
    for (const json& model : models) {
      if (model["source"] != "bundled" || model.contains("problem")) continue;
      const json shown =
          call({"models", "show", QString::fromStdString(model["name"].get<std::string>()), "--json"})
              .document;
      QVERIFY2(model["capabilities"] == shown["capabilities"], model.dump().c_str());
      if (shown["tokenizer"].is_null())
        QVERIFY2(model["tokenizer"].is_null(), model.dump().c_str());
      else
        QVERIFY2(
            shown["tokenizer"].get<std::string>().starts_with(model["tokenizer"].get<std::string>() + ", "),
            model.dump().c_str());
      ++compared;
    }
    QVERIFY(compared > 0);
    QTest::qWait(3100);  // until the files count as settled
    writeFile(path("models/Other-F32.gguf"), ggufBytes({{"general.architecture", std::string("strange")}},
                                                       {{"t", 0, {4}, std::string(16, 'y')}}));
    QVERIFY(listed("Strange").at("sha256").is_null());
    const json digest = call({"models", "show", "Strange", "--json"}).document["sha256"];
    QVERIFY(digest.is_string());
    QVERIFY(listed("Strange")["sha256"] == digest);
    QVERIFY(listed("Other").at("sha256").is_null());
    QVERIFY(QFile::remove(QString::fromStdString(path("models/Other-F32.gguf"))));
  }
  void showSaysWhatTheHeadersSay() {
    const Outcome show = call({"models", "show", "strange", "--json"});
    QCOMPARE(show.code, 0);
    for (const char* key : {"name", "path", "architecture", "parameters", "layers", "dtype", "context",
                            "tokenizer", "licence", "sha256", "capabilities", "tensors", "problem"})
      QVERIFY2(show.document.contains(key), key);
    QVERIFY(show.document["name"] == "Strange");
    QVERIFY(show.document["licence"] == "mit");
    QCOMPARE(show.document["tensors"].size(), std::size_t{1});
    QCOMPARE(show.document["sha256"].get<std::string>().size(), std::size_t{64});
  }
  // A table for people: what was measured of the weights with this digest, and nothing where nothing was.
  void showIsReadable() {
    const auto shown = [&] {
      QProcess process;
      process.setProcessEnvironment(environment());
      process.start(QStringLiteral(DECOSCOPE_CLI), {"models", "show", "Strange"});
      return process.waitForFinished(60'000) ? QString::fromUtf8(process.readAllStandardOutput()) : QString();
    };
    const QString before = shown();
    QVERIFY2(before.contains("licence       mit\n"), qPrintable(before));
    QVERIFY(before.contains("models measure Strange"));
    const std::string digest = call({"models", "show", "strange", "--json"}).document["sha256"];
    QVERIFY(QDir(home_.path()).mkpath("cache/decoscope/distances"));
    writeFile(
        path(("cache/decoscope/distances/sha256-" + digest + "-q8.json").c_str()),
        R"({"dtype":"q8","reference":"f32","tokens":2000,"divergence":0.00025,"largest_divergence":0.01,)"
        R"("agreement":0.985,"perplexity":10.01,"reference_perplexity":10.0})");
    const QString after = shown();
    QVERIFY2(after.contains("over 2000 tokens"), qPrintable(after));
    QVERIFY2(after.contains(QRegularExpression("q8 +0\\.00025 +98\\.50 % +10\\.0100 +\\+0\\.100 %\n")),
             qPrintable(after));
    QVERIFY(!after.contains("models measure"));
    const json precisions = call({"models", "show", "strange", "--json"}).document["precisions"];
    QCOMPARE(precisions.size(), std::size_t{1});
    QVERIFY(precisions[0]["kl_nats"] == 0.00025 && precisions[0]["top1_agreement"] == 0.985);
  }
  void mistakesHaveTheirExitCodes() {
    const Outcome typo = call({"models", "show", "Strnge", "--json"});
    QCOMPARE(typo.code, 3);
    QVERIFY(typo.document["error"]["hint"] == "Did you mean Strange?");
    QCOMPARE(call({"models", "show", "Cut", "--json"}).code, 3);
    QCOMPARE(call({"models", "fetch", "Nothing", "--json"}).code, 3);
    const Outcome there = call({"models", "fetch", "Strange", "--json"});
    QCOMPARE(there.code, 0);
    QVERIFY(there.document["fetched"] == false);
  }
  void dequantiseWritesTheReference_data() {
    QTest::addColumn<QString>("tensor");
    const auto expected = openWeights(DECOSCOPE_FIXTURES "/quant/all-types-dequantised.safetensors");
    if (!expected) QSKIP("the reference data is not there");
    for (const WeightTensor& tensor : (*expected)->tensors())
      QTest::newRow(tensor.name.c_str()) << QString::fromStdString(tensor.name);
  }
  void dequantiseWritesTheReference() {
    QFETCH(QString, tensor);
    const std::string out = path("out.safetensors"), name = tensor.toStdString();
    QCOMPARE(call({"dequantise", DECOSCOPE_FIXTURES "/quant/all-types.gguf", "--tensor", tensor, "--out",
                   QString::fromStdString(out), "--json"})
                 .code,
             0);
    const auto written = openWeights(out),
               expected = openWeights(DECOSCOPE_FIXTURES "/quant/all-types-dequantised.safetensors");
    QVERIFY(written && expected);
    const WeightTensor *one = (*written)->find(name), *other = (*expected)->find(name);
    QVERIFY(one && other);
    QCOMPARE(one->typeName, std::string("F32"));
    QCOMPARE(one->shape, other->shape);
    QCOMPARE(one->data.size(), other->data.size());
    QVERIFY(std::memcmp(one->data.data(), other->data.data(), one->data.size()) == 0);
  }
};

QTEST_GUILESS_MAIN(TestModelCommands)
#include "TestModelCommands.moc"
