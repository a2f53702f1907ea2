// Trainings from recipe to folder: the loss falls, a resumed training is the uninterrupted one, the model
// opens.
#include <QDir>
#include <QFile>
#include <QTemporaryDir>
#include <QTest>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/model/ModelLoader.h"
#include "core/train/Trainer.h"
#include "core/train/VocabularyFiles.h"

using namespace decoscope;
using namespace decoscope::train;
using nlohmann::json;

namespace {

QByteArray contentOf(const QString& path) {
  QFile file(path);
  return file.open(QIODevice::ReadOnly) ? file.readAll() : QByteArray();
}

json shape(int layers) {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"vocab_size", 340},
          {"hidden_size", 32},
          {"intermediate_size", 64},
          {"num_hidden_layers", layers},
          {"num_attention_heads", 2},
          {"num_key_value_heads", 1},
          {"head_dim", 16},
          {"max_position_embeddings", 128},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000},
          {"tie_word_embeddings", true},
          {"eos_token_id", 0},
          {"pad_token_id", 0}};
}

}  // namespace

class TestTrainer : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;
  QString corpus_;

  QString path(const QString& name) const { return folder_.filePath(name); }

  Recipe recipe(const std::string& objective, json options = json::object()) const {
    Recipe made;
    made.name = "tiny";
    made.objective = objective;
    made.options = std::move(options);
    made.corpus = "words";
    made.texts = 2000;
    made.vocabulary = path("vocabulary").toStdString();
    made.shape = shape(3);
    made.seed = 5;
    made.schedule.steps = 24;
    made.schedule.rows = 8;
    made.schedule.microRows = 4;
    made.schedule.length = 48;
    made.schedule.learningRate = 5e-3;
    made.schedule.warmUp = 4;
    made.evaluateEvery = 12;
    return made;
  }
  Result<TrainingResult> run(const Recipe& recipe, const QString& out, std::int64_t steps = 0,
                             bool resume = false, std::vector<double>* losses = nullptr) const {
    TrainingOptions options;
    options.resources = folder_.path().toStdString();
    options.corpusFile = corpus_.toStdString();
    options.out = path(out).toStdString();
    options.steps = steps;
    options.resume = resume;
    options.threads = 1;
    if (losses)
      options.progress = [losses](const TrainingStep& step) {
        losses->push_back(step.measures.front().value);
      };
    return train::train(recipe, options, StopToken());
  }

 private Q_SLOTS:
  void initTestCase() {
    corpus_ = path("words.jsonl");
    std::ofstream file(corpus_.toStdString());
    const char* names[] = {"Anna", "Ben", "Clara", "David", "Emma"};
    const char* animals[] = {"fox", "crow", "owl", "hen", "frog", "bear", "duck"};
    const char* places[] = {"river", "forest", "hill", "barn"};
    for (int i = 0; i < 600; ++i) {
      const std::string name = names[i % 5], animal = animals[i % 7], place = places[i % 4];
      file << json{{"index", i},
                   {"kind", "story"},
                   {"user", "Tell of " + name + " and a " + animal + ", number " + std::to_string(i) + "."},
                   {"assistant",
                    name + " went to the " + place + " and met a " + animal + " there. They were glad."}}
                  .dump()
           << "\n";
    }
    file.close();
    const auto made =
        trainVocabulary(corpus_.toStdString(), 340, 128, path("vocabulary").toStdString(), StopToken());
    QVERIFY2(made, made ? "" : made.error().text().c_str());
  }

  void lossFalls_data() {
    QTest::addColumn<QString>("objective");
    QTest::addColumn<QString>("options");
    QTest::newRow("next token") << "next-token" << "{}";
    QTest::newRow("with exits and layer drop")
        << "next-token" << R"({"exits":[1,2],"exit_weight":0.5,"rotate":true,"layer_drop":0.2})";
    QTest::newRow("masked diffusion") << "masked-diffusion" << "{}";
  }
  void lossFalls() {
    QFETCH(QString, objective);
    QFETCH(QString, options);
    Recipe made = recipe(objective.toStdString(), json::parse(options.toStdString()));
    if (objective == "masked-diffusion") {
      made.shape["is_causal"] = false;
      made.shape["mask_token_id"] = 3;
      made.packing = Packing::texts;
      made.schedule.steps = 60;
    }
    const auto result = run(made, QTest::currentDataTag());
    QVERIFY2(result, result ? "" : result.error().text().c_str());
    QVERIFY2(result->loss < 0.75 * result->firstLoss,
             qPrintable(QString("%1 → %2").arg(result->firstLoss).arg(result->loss)));
    QVERIFY(!result->heldOut.empty());
    // What comes out is a folder like any other.
    const auto loaded = loadModel(result->model, {}, StopToken());
    QVERIFY2(loaded, loaded ? "" : loaded.error().text().c_str());
    QCOMPARE(loaded->model->capabilities().maskedDiffusion, objective == "masked-diffusion");
    QCOMPARE(loaded->tokenizer->size(), 340);
  }

  void distils_data() {
    QTest::addColumn<QString>("divergence");
    for (const char* name : {"forward-kl", "reverse-kl", "tvd", "tvd++"}) QTest::newRow(name) << name;
  }
  void distils() {
    QFETCH(QString, divergence);
    const auto teacher = run(recipe("next-token"), "teacher");
    QVERIFY2(teacher, teacher ? "" : teacher.error().text().c_str());
    Recipe student = recipe("distillation", {{"divergence", divergence.toStdString()}, {"hard", 0.1}});
    student.teacher = teacher->model;
    student.shape = shape(1);
    student.schedule.steps = 40;
    std::vector<double> acceptance;
    TrainingOptions options;
    options.resources = folder_.path().toStdString();
    options.corpusFile = corpus_.toStdString();
    options.out = path("student " + divergence).toStdString();
    options.threads = 1;
    options.progress = [&](const TrainingStep& step) {
      for (const Measure& measure : step.measures)
        if (measure.name == "acceptance") acceptance.push_back(measure.value);
    };
    const auto result = train::train(student, options, StopToken());
    QVERIFY2(result, result ? "" : result.error().text().c_str());
    QCOMPARE(acceptance.size(), std::size_t{40});
    QVERIFY2(acceptance.back() > acceptance.front() + 0.1,
             qPrintable(QString("%1 → %2").arg(acceptance.front()).arg(acceptance.back())));
  }

  void resumesExactly_data() {
    QTest::addColumn<QString>("objective");
    QTest::newRow("next token") << "next-token";
    QTest::newRow("masked diffusion") << "masked-diffusion";
  }
  void resumesExactly() {
    QFETCH(QString, objective);
    Recipe made = recipe(objective.toStdString(), {{"exits", {1}}, {"layer_drop", 0.2}});
    if (objective == "masked-diffusion") {
      made.options = json::object();
      made.shape["is_causal"] = false;
      made.shape["mask_token_id"] = 3;
      made.packing = Packing::texts;
    }
    std::vector<double> whole, parts;
    QVERIFY(run(made, "whole " + objective, 0, false, &whole));
    QVERIFY(run(made, "parts " + objective, 7, false, &parts));
    QVERIFY(run(made, "parts " + objective, 15, true, &parts));
    const auto last = run(made, "parts " + objective, 0, true, &parts);
    QVERIFY(last);
    QCOMPARE(parts.size(), whole.size());
    for (std::size_t i = 0; i < whole.size(); ++i) QCOMPARE(parts[i], whole[i]);  // to the last bit
    QCOMPARE(contentOf(path("parts " + objective + "/checkpoint.safetensors")),
             contentOf(path("whole " + objective + "/checkpoint.safetensors")));
    // A training that is done already stays what it is.
    const auto again = run(made, "parts " + objective, 0, true);
    QVERIFY(again);
    QCOMPARE(again->steps, std::int64_t{24});
  }

  void refusesAnotherCheckpoint() {
    Recipe made = recipe("next-token");
    QVERIFY(run(made, "mine", 2));
    made.seed = 6;
    const auto result = run(made, "mine", 4, true);
    QVERIFY(!result);
    QCOMPARE(result.error().code, ErrorCode::badInput);
    QVERIFY2(QString::fromStdString(result.error().message).contains("another recipe"),
             result.error().text().c_str());
  }

  void stopsWithACheckpoint() {
    const Recipe made = recipe("next-token");
    std::stop_source source;
    TrainingOptions options;
    options.resources = folder_.path().toStdString();
    options.corpusFile = corpus_.toStdString();
    options.out = path("stopped").toStdString();
    options.threads = 1;
    options.progress = [&](const TrainingStep& step) {
      if (step.step == 3) source.request_stop();
    };
    const auto result = train::train(made, options, source.get_token());
    QVERIFY2(result, result ? "" : result.error().text().c_str());
    QCOMPARE(result->steps, std::int64_t{3});
    QVERIFY(QFile::exists(path("stopped/checkpoint.safetensors")));
  }

  void badRecipes_data() {
    QTest::addColumn<QString>("change");
    QTest::addColumn<QString>("word");
    QTest::newRow("not JSON") << "{" << "not JSON";
    QTest::newRow("unknown field") << R"({"lerning_rate":1})" << "lerning_rate";
    QTest::newRow("no steps") << R"({"schedule":{"rows":1,"length":8,"learning_rate":1}})" << "steps";
    QTest::newRow("wrong kind") << R"({"texts":"many"})" << "texts";
    QTest::newRow("rows")
        << R"({"schedule":{"steps":1,"rows":3,"micro_rows":2,"length":8,"learning_rate":1}})"
        << "micro_rows";
  }
  void badRecipes() {
    QFETCH(QString, change);
    QFETCH(QString, word);
    json document = {{"name", "x"},
                     {"objective", "next-token"},
                     {"corpus", "words"},
                     {"texts", 10},
                     {"vocabulary", "v"},
                     {"shape", shape(1)},
                     {"schedule", {{"steps", 1}, {"rows", 1}, {"length", 8}, {"learning_rate", 1}}}};
    const json changes = json::parse(change.toStdString(), nullptr, false);
    std::string text = change.toStdString();
    if (!changes.is_discarded()) {
      document.update(changes);
      text = document.dump();
    }
    std::ofstream(path("bad.json").toStdString()) << text;
    const auto result = loadRecipe(path("bad.json").toStdString(), folder_.path().toStdString());
    QVERIFY(!result);
    QCOMPARE(result.error().code, ErrorCode::badInput);
    QVERIFY2(QString::fromStdString(result.error().text()).contains(word), result.error().text().c_str());
  }
};

QTEST_GUILESS_MAIN(TestTrainer)
#include "TestTrainer.moc"
