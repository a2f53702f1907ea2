// Trainings from recipe to folder: the loss falls, a resumed training is the uninterrupted one, the model
// opens.
#include <QDir>
#include <QFile>
#include <QTest>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/model/ModelLoader.h"
#include "tests/nets/TinyTraining.h"

using namespace decoscope;
using namespace decoscope::train;
using nlohmann::json;

class TestTrainer : public QObject {
  Q_OBJECT
  const test::TinyTraining tiny_;

  QString path(const QString& name) const { return tiny_.path(name); }
  Recipe recipe(const std::string& objective, json options = json::object()) const {
    return tiny_.recipe(objective, std::move(options));
  }

 private Q_SLOTS:
  void initTestCase() {
    const Status prepared = tiny_.prepare();
    QVERIFY2(prepared.has_value(), prepared ? "" : prepared.error().text().c_str());
  }

  void lossFalls_data() {
    QTest::addColumn<QString>("objective");
    QTest::addColumn<QString>("options");
    QTest::newRow("next token") << "next-token" << "{}";
    QTest::newRow("with exits and layer drop")
        << "next-token" << R"({"exits":[1,2],"exit_weight":0.5,"rotate":true,"layer_drop":0.2})";
    QTest::newRow("masked diffusion") << "masked-diffusion" << "{}";
    QTest::newRow("masked diffusion, shifted") << "masked-diffusion" << R"({"shifted":true})";
  }
  void lossFalls() {
    QFETCH(QString, objective);
    QFETCH(QString, options);
    Recipe made = recipe(objective.toStdString(), json::parse(options.toStdString()));
    if (objective == "masked-diffusion") {
      made.shape["is_causal"] = false;
      made.shape["mask_token_id"] = 3;
      made.shape["shift_logits"] = made.options.contains("shifted");
      made.packing = Packing::texts;
      made.schedule.steps = 60;
    }
    const auto result = tiny_.run(made, QTest::currentDataTag());
    QVERIFY2(result, result ? "" : result.error().text().c_str());
    QVERIFY2(result->loss < 0.75 * result->firstLoss,
             qPrintable(QString("%1 → %2").arg(result->firstLoss).arg(result->loss)));
    QVERIFY(!result->heldOut.empty());
    // What comes out is a folder like any other.
    const auto loaded = loadModel(result->model, {}, StopToken());
    QVERIFY2(loaded, loaded ? "" : loaded.error().text().c_str());
    QCOMPARE(loaded->model->capabilities().maskedDiffusion, objective == "masked-diffusion");
    QCOMPARE(loaded->model->info().shifted, made.options.contains("shifted"));
    QCOMPARE(loaded->tokenizer->size(), 340);
  }

  void distils_data() {
    QTest::addColumn<QString>("divergence");
    for (const char* name : {"forward-kl", "reverse-kl", "tvd", "tvd++"}) QTest::newRow(name) << name;
  }
  void distils() {
    QFETCH(QString, divergence);
    const auto teacher = tiny_.run(recipe("next-token"), "teacher");
    QVERIFY2(teacher, teacher ? "" : teacher.error().text().c_str());
    Recipe student = recipe("distillation", {{"divergence", divergence.toStdString()}, {"hard", 0.1}});
    student.teacher = teacher->model;
    student.shape = test::tinyShape(1);
    student.schedule.steps = 40;
    std::vector<double> acceptance;
    TrainingOptions options = tiny_.options("student " + divergence);
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
    QVERIFY(tiny_.run(made, "whole " + objective, 0, false, &whole));
    QVERIFY(tiny_.run(made, "parts " + objective, 7, false, &parts));
    QVERIFY(tiny_.run(made, "parts " + objective, 15, true, &parts));
    const auto last = tiny_.run(made, "parts " + objective, 0, true, &parts);
    QVERIFY(last);
    QCOMPARE(parts.size(), whole.size());
    for (std::size_t i = 0; i < whole.size(); ++i) QCOMPARE(parts[i], whole[i]);  // to the last bit
    QCOMPARE(test::contentOf(path("parts " + objective + "/checkpoint.safetensors")),
             test::contentOf(path("whole " + objective + "/checkpoint.safetensors")));
    // A training that is done already stays what it is.
    const auto again = tiny_.run(made, "parts " + objective, 0, true);
    QVERIFY(again);
    QCOMPARE(again->steps, std::int64_t{24});
  }

  void refusesAnotherCheckpoint() {
    Recipe made = recipe("next-token");
    QVERIFY(tiny_.run(made, "mine", 2));
    made.seed = 6;
    const auto result = tiny_.run(made, "mine", 4, true);
    QVERIFY(!result);
    QCOMPARE(result.error().code, ErrorCode::badInput);
    QVERIFY2(QString::fromStdString(result.error().message).contains("another recipe"),
             result.error().text().c_str());
  }

  void stopsWithACheckpoint() {
    const Recipe made = recipe("next-token");
    std::stop_source source;
    TrainingOptions options = tiny_.options("stopped");
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
    QTest::newRow("nothing left") << R"({"skip":10})" << "skip";
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
                     {"shape", test::tinyShape(1)},
                     {"schedule", {{"steps", 1}, {"rows", 1}, {"length", 8}, {"learning_rate", 1}}}};
    const json changes = json::parse(change.toStdString(), nullptr, false);
    std::string text = change.toStdString();
    if (!changes.is_discarded()) {
      document.update(changes);
      text = document.dump();
    }
    std::ofstream(path("bad.json").toStdString()) << text;
    const auto result = loadRecipe(path("bad.json").toStdString(), path("").toStdString());
    QVERIFY(!result);
    QCOMPARE(result.error().code, ErrorCode::badInput);
    QVERIFY2(QString::fromStdString(result.error().text()).contains(word), result.error().text().c_str());
  }
};

QTEST_GUILESS_MAIN(TestTrainer)
#include "TestTrainer.moc"
