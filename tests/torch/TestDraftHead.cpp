// Draft heads of EAGLE's layout: against plain torch (reference/heads, made by reference/make-eagle.py), at
// the model door, in the session, and drafting for a tiny Llama whose text they must not change.
#include <QTest>
#include <fstream>

#include "core/model/ModelLoader.h"
#include "core/session/Audit.h"
#include "core/session/Engine.h"
#include "tests/torch/EveryDevice.h"
#include "tests/decode/Features.h"
#include "tests/torch/OpenedModel.h"

using namespace decoscope;

namespace {

constexpr const char* kOneLayer = "one layer";
constexpr const char* kRanked = "two layers, bias, ranked";

const nlohmann::json& reference() {
  static const nlohmann::json document = referenceOf("heads/eagle.json");
  return document;
}

// A head's folder: `d2t` in whole numbers, everything else as the names say.
void writeHead(const std::string& folder, nlohmann::json document) {
  std::ofstream(folder + "/config.json") << document["config"];
  nlohmann::json header = nlohmann::json::object();
  std::string data;
  const auto put = [&](const std::string& name, const char* type, const std::vector<std::int64_t>& shape,
                       const void* bytes, std::size_t size) {
    header[name] = {{"dtype", type}, {"shape", shape}, {"data_offsets", {data.size(), data.size() + size}}};
    data.append(static_cast<const char*>(bytes), size);
  };
  if (document.contains("d2t")) {
    const auto distances = document["d2t"].get<std::vector<std::int64_t>>();
    put("d2t", "I64", {static_cast<std::int64_t>(distances.size())}, distances.data(), distances.size() * 8);
  }
  for (const auto& [name, shape] : document["tensors"].items()) {
    const auto sizes = shape.get<std::vector<std::int64_t>>();
    const Floats values = weightsOf(name, sizes);
    put(name, "F32", sizes, values.data(), values.size() * 4);
  }
  const std::string text = header.dump();
  const std::uint64_t size = text.size();
  std::ofstream file(folder + "/model.safetensors", std::ios::binary);
  file.write(reinterpret_cast<const char*>(&size), 8);
  file << text << data;
}

struct Head {
  QTemporaryDir folder;
  nlohmann::json document;
  std::unique_ptr<Model> model;
  std::string problem;
  Head(const char* name, const Model* base, const char* device = "cpu", const char* dtype = "f32")
      : Head(reference()["cases"][name], base, device, dtype) {}
  Head(nlohmann::json described, const Model* base, const char* device = "cpu", const char* dtype = "f32")
      : document(std::move(described)) {
    writeHead(path(), document);
    const auto weights = openWeights(path());
    LoadOptions options;
    options.dtype = dtype;
    options.device = device;
    options.base = base;
    auto loaded = loadTransformer(*weights, path(), options, StopToken());
    if (loaded)
      model = std::move(*loaded);
    else
      problem = loaded.error().text();
  }
  std::string path() const { return folder.path().toStdString(); }
};

std::vector<TokenId> tokens(const char* name) {
  return reference()[name].get<std::vector<TokenId>>();
}

// The features that the reference fed, from row `first` on.
Floats features(std::size_t first, std::size_t count) {
  const std::size_t all = tokens("tokens").size() + tokens("tree_tokens").size();
  const Floats whole = weightsOf("features", {static_cast<std::int64_t>(all), 48});
  return {whole.begin() + static_cast<std::ptrdiff_t>(first * 48),
          whole.begin() + static_cast<std::ptrdiff_t>((first + count) * 48)};
}

ForwardRequest textRequest(int layers) {
  ForwardRequest request = requestOf(tokens("tokens"));
  request.inputs = features(0, request.tokens.size());
  request.taps = {{TapSite::residual, layers}};
  return request;
}

void append(Floats& to, const Floats& values) {
  to.insert(to.end(), values.begin(), values.end());
}

// A tiny target and a head in an engine, as files.
struct Session {
  QTemporaryDir target;
  std::unique_ptr<Head> head;
  Engine engine{recordInMemory()};
};

Status open(Session& session, const char* dtype = "f32", const char* head = kRanked) {
  const std::string folder = session.target.path().toStdString();
  writeCheckpoint(folder, referenceOf("llama-yarn.json"));
  writeTokenizer(folder);
  session.head = std::make_unique<Head>(head, nullptr);
  LoadOptions options;
  options.dtype = dtype;
  return session.engine.loadModels({{"head", {session.head->path(), options}}, {"target", {folder, options}}},
                                   StopToken());
}

Status finish(Engine& engine) {
  while (!engine.ended()) DECOSCOPE_TRY(engine.step(StopToken()));
  return {};
}

RunRequest request(const char* method, std::uint64_t seed, std::vector<std::string> assignments) {
  RunRequest request;
  request.method = method;
  request.assignments = std::move(assignments);
  for (int i = 0; i < 12; ++i)
    request.promptTokens.push_back(static_cast<TokenId>(uniform({seed, 1, i}, 0, DrawPurpose::order) * 64));
  request.maxNewTokens = 40;
  request.seed = seed;
  request.stopAtEnd = false;
  return request;
}

}  // namespace

class TestDraftHead : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void agreesWithTheReference_data() {
    QTest::addColumn<QString>("name");
    QTest::addColumn<QString>("device");
    for (const char* name : {kOneLayer, kRanked})
      for (const char* device : everyDevice())
        QTest::addRow("%s, %s", name, device) << name << device;
  }
  // The text in one forward, then the tree level by level, each token behind the slot that it follows.
  void agreesWithTheReference() {
    QFETCH(QString, name);
    QFETCH(QString, device);
    const Opened base("llama-yarn", device.toLatin1());
    const Head head(name.toLatin1().constData(), base.model.get(), device.toLatin1());
    QVERIFY2(head.model, head.problem.c_str());
    QVERIFY(head.model->capabilities().followsFeatures);
    const int layers = head.model->info().layers;
    auto output = head.model->forward(textRequest(layers), StopToken());
    QVERIFY2(output.has_value(), output ? "" : output.error().text().c_str());
    Floats states = output->taps.front().values, logits = allRows(*output->logits);
    const auto tree = tokens("tree_tokens");
    const auto parents = reference()["tree_parents"].get<std::vector<std::int32_t>>();
    const auto text = static_cast<std::int32_t>(tokens("tokens").size());
    for (const auto& [first, end] : {std::pair(0u, 2u), std::pair(2u, 4u), std::pair(4u, 5u)}) {
      ForwardRequest level = requestOf({tree.begin() + first, tree.begin() + end});
      level.parents.assign(end - first, -1);
      for (std::uint32_t i = first; i < end; ++i)
        level.follows.push_back(parents[i] < 0 ? text - 1 : text + parents[i]);
      level.inputs = features(static_cast<std::size_t>(text) + first, end - first);
      level.taps = {{TapSite::residual, layers}};
      output = head.model->forward(level, StopToken());
      QVERIFY2(output.has_value(), output ? "" : output.error().text().c_str());
      append(states, output->taps.front().values);
      append(logits, allRows(*output->logits));
    }
    QVERIFY(largestDifference(states, head.document["features"].get<Floats>()) < 2e-5);
    QVERIFY(largestDifference(logits, head.document["logits"].get<Floats>()) < 2e-5);
    const bool ranked = head.document.contains("d2t");
    QCOMPARE(
        head.model->info().rankedTokens,
        ranked ? (std::vector<TokenId>{0, 3, 4, 9, 17, 21, 30, 31, 42, 55, 60, 63}) : std::vector<TokenId>{});
  }
  // Rows have the same bits alone and in company, in every precision.
  void rowsDoNotDependOnTheirForward() {
    for (const char* dtype : {"f32", "bf16", "q8"}) {
      const Opened base("llama-yarn", "cpu", dtype);
      const Head head(kRanked, base.model.get(), "cpu", dtype);
      QVERIFY2(head.model, head.problem.c_str());
      const ForwardRequest all = textRequest(2);
      const auto together = head.model->forward(all, StopToken());
      QVERIFY(together.has_value());
      const Floats wanted = allRows(*together->logits);
      QVERIFY(head.model->retain(0).has_value());
      Floats alone;
      for (std::size_t i = 0; i < all.tokens.size(); ++i) {
        ForwardRequest one = requestOf({all.tokens[i]});
        one.inputs = features(i, 1);
        append(alone, allRows(*head.model->forward(one, StopToken())->logits));
      }
      QVERIFY(alone == wanted);
    }
  }
  void theHeadIsTheTargets() {
    const Opened base("llama-yarn");
    const Head head(kRanked, base.model.get());
    const auto mine = head.model->weights(MatrixRole::head, 0, false, 5, 1);
    const auto theirs = base.model->weights(MatrixRole::head, 0, false, 21, 1);
    QVERIFY(mine.has_value() && theirs.has_value() && *mine == *theirs);
    const auto embedding = head.model->weights(MatrixRole::embedding, 0, false, 40, 2);
    QVERIFY(embedding.has_value() &&
            *embedding == *base.model->weights(MatrixRole::embedding, 0, false, 40, 2));
  }
  void theWholeHeadIsLentWithoutACopy_data() {
    QTest::addColumn<QString>("device");
    QTest::addColumn<QString>("baseType");
    QTest::addColumn<QString>("headType");
    QTest::addColumn<int>("bytes");  // of fc [48, 96], the block, and the LM head [64, 48] where it is a copy
    constexpr int kOwn = 48 * 96 + 2 * 48 * 48 + 2 * 24 * 48 + 3 * 80 * 48, kHead = 64 * 48;
    QTest::newRow("f32") << "cpu" << "f32" << "f32" << 4 * kOwn;
    QTest::newRow("bf16") << "cpu" << "bf16" << "bf16" << 2 * kOwn;
    QTest::newRow("f16") << "cpu" << "f16" << "f16" << 2 * kOwn;
    QTest::newRow("plain libtorch") << "cpu-reference" << "bf16" << "bf16" << 2 * kOwn;
    QTest::newRow("other precision") << "cpu" << "f32" << "bf16" << 2 * (kOwn + kHead);
  }
  void theWholeHeadIsLentWithoutACopy() {
    QFETCH(QString, device);
    QFETCH(QString, baseType);
    QFETCH(QString, headType);
    QFETCH(int, bytes);
    const auto open = [&](const Opened& base) {
      return Head(kOneLayer, base.model.get(), qPrintable(device), qPrintable(headType));
    };
    const auto row = [](const Model& model, TokenId token) {
      return *model.weights(MatrixRole::head, 0, false, token, 1);
    };
    const Opened base("llama-yarn", qPrintable(device), qPrintable(baseType));
    const Head head = open(base);
    QVERIFY2(head.model, head.problem.c_str());
    QCOMPARE(head.model->info().bytes, std::int64_t{bytes});
    QCOMPARE(head.model->memoryBytes(), std::int64_t{bytes});
    if (headType == baseType) QCOMPARE(row(*head.model, 63), row(*base.model, 63));
    // Heads on models that share their weights share theirs; on another model they do not.
    const Opened same("llama-yarn", qPrintable(device), qPrintable(baseType));
    const Head second = open(same);
    QVERIFY2(second.model, second.problem.c_str());
    QCOMPARE(second.model->memoryBytes(), std::int64_t{bytes / 2});
    const Opened stranger("llama-linear", qPrintable(device), qPrintable(baseType));
    const Head elsewhere = open(stranger);
    QVERIFY2(elsewhere.model, elsewhere.problem.c_str());
    QCOMPARE(elsewhere.model->memoryBytes(), std::int64_t{bytes});
  }
  void whatDoesNotFitIsRefused_data() {
    QTest::addColumn<QString>("patch");
    QTest::addColumn<QString>("says");
    QTest::newRow("width") << R"([{"op":"replace","path":"/config/hidden_size","value":96}])" << "width 96";
    QTest::newRow("vocabulary") << R"([{"op":"replace","path":"/config/vocab_size","value":65}])"
                                << "65 tokens";
    QTest::newRow("no draft_vocab_size") << R"([{"op":"remove","path":"/config/draft_vocab_size"}])"
                                         << "draft_vocab_size";
    QTest::newRow("more than the vocabulary")
        << R"([{"op":"replace","path":"/config/draft_vocab_size","value":99}])" << "more tokens are ranked";
    QTest::newRow("other count") << R"([{"op":"replace","path":"/config/draft_vocab_size","value":13}])"
                                 << "d2t";
    QTest::newRow("token outside") << R"([{"op":"replace","path":"/d2t/11","value":53}])" << "names no token";
    QTest::newRow("token before the first")
        << R"([{"op":"replace","path":"/d2t/0","value":-1}])" << "names no token";
    QTest::newRow("token twice") << R"([{"op":"replace","path":"/d2t/1","value":-1}])" << "again";
    QTest::newRow("no fusion") << R"([{"op":"remove","path":"/tensors/fc.weight"}])" << "fc.weight";
    QTest::newRow("length-dependent rotation")
        << R"([{"op":"add","path":"/config/rope_scaling","value":{"rope_type":"dynamic","factor":4.0}}])"
        << "not supported";
  }
  void whatDoesNotFitIsRefused() {
    QFETCH(QString, patch);
    QFETCH(QString, says);
    const Opened base("llama-yarn");
    const nlohmann::json changed =
        reference()["cases"][kRanked].patch(nlohmann::json::parse(patch.toStdString()));
    const Head head(changed, base.model.get());
    QVERIFY(!head.model);
    QVERIFY2(head.problem.find(says.toStdString()) != std::string::npos, head.problem.c_str());
  }
  void aHeadAloneIsDescribedButNotLoaded() {
    const Head head(kRanked, nullptr);
    QVERIFY(!head.model);
    QVERIFY2(head.problem.find("borrows") != std::string::npos, head.problem.c_str());
    const auto info = describeModel(head.path());
    QVERIFY(info.has_value());
    QCOMPARE(info->architecture, std::string("eagle"));
    QCOMPARE(info->width, 48);
    QVERIFY(capabilitiesOf(*info).followsFeatures);
    for (const TensorDescription& tensor : info->tensors) QVERIFY2(!tensor.role.empty(), tensor.name.c_str());
    const Opened base("llama-yarn");
    const Head loaded(kRanked, base.model.get());
    const auto blind = loaded.model->forward(requestOf({1, 2}), StopToken());
    QVERIFY(!blind && blind.error().code == ErrorCode::usage);
  }

  // ---- in a session ----

  // The tokens are those of plain decoding, whatever the head says, and the record audits clean.
  void theTextIsTheTargets_data() {
    QTest::addColumn<QString>("dtype");
    QTest::addColumn<QStringList>("set");
    for (const char* dtype : {"f32", "bf16"}) {
      QTest::addRow("greedy, %s", dtype) << dtype << QStringList{"temperature=0"};
      QTest::addRow("sampled, %s", dtype) << dtype << QStringList{"temperature=1.2"};
    }
  }
  void theTextIsTheTargets() {
    QFETCH(QString, dtype);
    QFETCH(QStringList, set);
    Session session;
    const Status opened = open(session, dtype.toLatin1());
    QVERIFY2(opened.has_value(), opened ? "" : opened.error().text().c_str());
    int accepted = 0;
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
      std::vector<TokenId> plain;
      for (const char* extra : {"", "adaptive=false", "tree=static", "adaptive=true"}) {
        std::vector<std::string> assignments;
        for (const QString& one : set) assignments.push_back(one.toStdString());
        if (*extra) assignments.push_back(extra);
        if (std::string(extra) == "tree=static") assignments.push_back("adaptive=false");
        QVERIFY(
            session.engine.startRun(request(*extra ? "eagle" : "sampling", seed, assignments)).has_value());
        const Status done = finish(session.engine);
        QVERIFY2(done.has_value(), done ? "" : done.error().text().c_str());
        if (!*extra) {
          plain = session.engine.text();
          continue;
        }
        QVERIFY2(session.engine.text() == plain, extra);
        const RunId run = session.engine.current().id;
        const auto audit = auditRun(*session.engine.recording().source, run);
        QVERIFY(audit.has_value() && audit->failed.empty());
        const auto [first, end] = session.engine.recording().source->extent(run);
        accepted += static_cast<int>(plain.size()) - 12 - static_cast<int>(end - first);
      }
    }
    QVERIFY(accepted > 0);  // otherwise nothing was tested
  }
  void aForkRepeatsNumberForNumber() {
    Session session;
    QVERIFY(open(session, "bf16").has_value());
    QVERIFY(session.engine.startRun(request("eagle", 3, {"temperature=1", "adaptive=false"})).has_value());
    QVERIFY(finish(session.engine).has_value());
    const RunId run = session.engine.current().id;
    const auto trace = session.engine.recording().source;
    ForkRequest fork;
    fork.run = run;
    fork.step = 4;
    QVERIFY(session.engine.fork(fork, StopToken()).has_value());
    QVERIFY(finish(session.engine).has_value());
    const RunId again = session.engine.current().id;
    QCOMPARE(trace->extent(again).second, trace->extent(run).second);
    for (StepIndex step = 4; step < trace->extent(run).second; ++step) {
      const StepPointer a = *trace->step(run, step), b = *trace->step(again, step);
      std::vector<ProposeFact> left, right;
      for (const Event& event : a->events)
        if (const auto* fact = std::get_if<ProposeFact>(&event)) left.push_back(*fact);
      for (const Event& event : b->events)
        if (const auto* fact = std::get_if<ProposeFact>(&event)) right.push_back(*fact);
      QCOMPARE(right.size(), left.size());
      for (std::size_t i = 0; i < left.size(); ++i)
        QVERIFY(left[i].token == right[i].token && left[i].q == right[i].q &&
                left[i].parent == right[i].parent);
    }
    AuditReport report;
    QVERIFY(auditAgainstModel(session.engine, run, StopToken(), report).has_value());
    QVERIFY(report.failed.empty() && report.checked > 0);
  }
  // A target that changes takes its head along: a fitting one is loaded again for it, another is refused in
  // words.
  void theHeadFollowsItsTarget() {
    Session session;
    QVERIFY(open(session).has_value());
    QVERIFY(session.engine.model("head") != nullptr);
    QTemporaryDir other;
    writeCheckpoint(other.path().toStdString(), referenceOf("qwen2-plain.json"));  // as wide, another net
    writeTokenizer(other.path().toStdString());
    LoadOptions options;
    options.dtype = "f32";
    QVERIFY(session.engine.loadModel("target", other.path().toStdString(), options, StopToken()).has_value());
    QVERIFY(session.engine.model("head") == nullptr);
    const auto started = session.engine.startRun(request("eagle", 1, {}));
    QVERIFY2(started.has_value(), started ? "" : started.error().text().c_str());
    QVERIFY(session.engine.model("head") != nullptr);
    QVERIFY(finish(session.engine).has_value());
    QTemporaryDir wide;
    writeCheckpoint(wide.path().toStdString(), referenceOf("stablelm.json"));  // of width 64
    writeTokenizer(wide.path().toStdString());
    QVERIFY(session.engine.loadModel("target", wide.path().toStdString(), options, StopToken()).has_value());
    const auto refused = session.engine.startRun(request("eagle", 1, {}));
    QVERIFY(!refused);
    QVERIFY2(refused.error().text().find("width 48") != std::string::npos, refused.error().text().c_str());
  }
  // Nobody names a head: the bundled one is taken, for the target that it names and for no other.
  void aBundledHeadFillsTheRole() {
    const QTemporaryDir resources;
    const std::string models = resources.path().toStdString() + "/models";
    QDir(resources.path()).mkpath("models/head");
    writeHead(models + "/head", reference()["cases"][kRanked]);
    qputenv("DECOSCOPE_RESOURCES", resources.path().toUtf8());
    Session session;
    const std::string folder = session.target.path().toStdString();
    writeCheckpoint(folder, referenceOf("llama-yarn.json"));
    writeTokenizer(folder);
    LoadOptions options;
    options.dtype = "f32";
    QVERIFY(session.engine.loadModel("target", folder, options, StopToken()).has_value());
    const auto missing = session.engine.startRun(request("eagle", 1, {}));
    QVERIFY(!missing && missing.error().text().find("'head'") != std::string::npos);
    for (const std::string& made : {std::string("another"), session.engine.model()->info().fingerprint}) {
      std::ofstream(models + "/bundled.json") << nlohmann::json{
          {"models", {{{"name", "a head"}, {"path", "head"}, {"role", "head"}, {"for", {made}}}}}};
      const auto started = session.engine.startRun(request("eagle", 1, {}));
      QCOMPARE(started.has_value(), made != "another");
    }
    QVERIFY(finish(session.engine).has_value());
    QCOMPARE(session.engine.current().models.size(), std::size_t{2});
    QCOMPARE(session.engine.current().models.back().role, std::string("head"));
    std::ofstream(models + "/bundled.json") << "[]";
    Session fresh;
    QVERIFY(fresh.engine.loadModel("target", folder, options, StopToken()).has_value());
    const auto damaged = fresh.engine.startRun(request("eagle", 1, {}));
    QVERIFY(!damaged && damaged.error().text().find("bundled.json") != std::string::npos);
    qunsetenv("DECOSCOPE_RESOURCES");
  }
  // Two bundled models for one role: each method has its own, also where a line that changed its method is
  // run again.
  void bundledModelsAreCastByMethod() {
    const QTemporaryDir resources;
    const std::string models = resources.path().toStdString() + "/models";
    for (const char* folder : {"head", "small", "judge"})
      QDir(resources.path()).mkpath(QString("models/") + folder);
    writeHead(models + "/head", reference()["cases"][kRanked]);
    writeCheckpoint(models + "/small", referenceOf("llama-yarn.json"));
    writeTokenizer(models + "/small");
    test::writeAcceptanceHead(
        models + "/judge", 48, 0, false,
        {{"classifier.weight", {2, 48}, Floats(96, 0.1f)}, {"classifier.bias", {2}, {0, 1}}});
    qputenv("DECOSCOPE_RESOURCES", resources.path().toUtf8());
    Session session;
    const std::string folder = session.target.path().toStdString();
    writeCheckpoint(folder, referenceOf("llama-yarn.json"));
    writeTokenizer(folder);
    LoadOptions options;
    options.dtype = "f32";
    QVERIFY(session.engine.loadModel("target", folder, options, StopToken()).has_value());
    const std::string target = session.engine.model()->info().fingerprint;
    std::ofstream(models + "/bundled.json") << nlohmann::json{
        {"models",
         {{{"name", "a head"}, {"path", "head"}, {"role", "head"}, {"for", {target}}, {"methods", {"eagle"}}},
          {{"name", "small"}, {"path", "small"}, {"role", "drafter"}, {"for", {target}}},
          {{"name", "judge"},
           {"path", "judge"},
           {"role", "head"},
           {"for", {target}},
           {"methods", {"specdec-pp"}},
           {"beside", {{"drafter", "small"}}}}}}};
    const auto cast = [&](const Engine& engine) {
      std::string names;
      for (const ModelIdentity& identity : engine.current().models)
        if (identity.role != "target") names += identity.role + "=" + identity.name + " ";
      return names;
    };
    const auto started = session.engine.startRun(request("eagle", 1, {"adaptive=false"}));
    QVERIFY2(started.has_value(), started ? "" : started.error().text().c_str());
    QCOMPARE(cast(session.engine), std::string("head=head "));
    for (int i = 0; i < 3; ++i) QVERIFY(session.engine.step(StopToken()).has_value());
    ForkRequest fork;
    fork.run = *started;
    fork.step = 3;
    fork.method = "specdec-pp";
    const auto forked = session.engine.fork(fork, StopToken());
    QVERIFY2(forked.has_value(), forked ? "" : forked.error().text().c_str());
    QCOMPARE(cast(session.engine), std::string("drafter=small head=judge "));
    QVERIFY(finish(session.engine).has_value());
    const std::vector<TokenId> text = session.engine.text();
    // From the prompt on, through both methods, and on with the first.
    fork.run = *forked;
    fork.step = 4;
    fork.method = "eagle";
    const auto back = session.engine.fork(fork, StopToken());
    QVERIFY2(back.has_value(), back ? "" : back.error().text().c_str());
    QCOMPARE(cast(session.engine), std::string("head=head "));
    QVERIFY(finish(session.engine).has_value());
    QCOMPARE(session.engine.text(), text);  // at temperature 0 all write the same
    // A drafter that somebody chose is not the one that the head was made for.
    QVERIFY(session.engine.loadModel("drafter", folder, options, StopToken()).has_value());
    const auto without = session.engine.startRun(request("specdec-pp", 1, {}));
    QVERIFY(!without && without.error().text().find("'head'") != std::string::npos);
    qunsetenv("DECOSCOPE_RESOURCES");
  }
};

QTEST_GUILESS_MAIN(TestDraftHead)
#include "TestDraftHead.moc"
