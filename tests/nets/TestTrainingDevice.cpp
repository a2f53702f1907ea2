// Trainings on a device that is not the CPU, held against the same ones on it: what every step and every
// evaluation measures, and what is saved.
#include <QTest>

#include "tests/accelerator/PretendDevice.h"
#include "tests/nets/TinyHeads.h"

using namespace decoscope;
using namespace decoscope::train;
using nlohmann::json;

namespace {

using Measures = std::vector<std::vector<Measure>>;  // of each step

// The first name, or number that differs from that of the CPU by more than rounding; empty where all agree.
QString difference(const Measures& device, const Measures& host) {
  if (device.size() != host.size()) return "another number of steps";
  for (std::size_t step = 0; step < host.size(); ++step) {
    if (device[step].size() != host[step].size()) return "another number of measures";
    for (std::size_t i = 0; i < host[step].size(); ++i) {
      const Measure &a = device[step][i], &b = host[step][i];
      if (a.name != b.name) return QString::fromStdString(a.name + " in the place of " + b.name);
      if (b.name != "tokens_per_second" && !(std::abs(a.value - b.value) <= 1e-6 * std::abs(b.value)))
        return QString("step %1, %2: %3 and %4")
            .arg(step + 1)
            .arg(QString::fromStdString(a.name))
            .arg(a.value, 0, 'g', 17)
            .arg(b.value, 0, 'g', 17);
    }
  }
  return {};
}

}  // namespace

class TestTrainingDevice : public QObject {
  Q_OBJECT
  const test::TinyTraining tiny_;
  std::string target_, drafter_, draftHead_;  // folders

  QString withFeatures() const { return tiny_.path("features.jsonl"); }
  Result<TrainingResult> run(const Recipe& recipe, const std::string& device, const QString& out,
                             Measures* measures = nullptr, std::int64_t steps = 0) const {
    TrainingOptions options = tiny_.options(out);
    options.device = device;
    options.steps = steps;
    options.resume = true;
    if (recipe.features) options.corpusFile = withFeatures().toStdString();
    if (measures)
      options.progress = [measures](const TrainingStep& step) { measures->push_back(step.measures); };
    return train::train(recipe, options, StopToken());
  }
  Recipe recipe(const QString& objective, const QString& options) const {
    Recipe made = tiny_.recipe(objective.toStdString());
    if (objective == "masked-diffusion") {
      made.shape["is_causal"] = false;
      made.shape["mask_token_id"] = 3;
      made.shape["shift_logits"] = true;
      made.packing = Packing::texts;
    } else if (objective == "distillation") {
      made.shape = test::tinyShape(1);
      made.teacher = target_;
    } else if (objective == "feature-head") {
      made = test::draftHeadRecipe(tiny_, target_, 200);
    } else if (objective.startsWith("acceptance-head")) {
      const bool features = objective.endsWith("features");
      made = test::acceptanceRecipe(tiny_, target_, features ? draftHead_ : drafter_);
      made.features = features;
      made.schedule.length = 95;
    }
    made.options = json::parse(options.toStdString());
    made.schedule.steps = 4;
    made.schedule.clip = 0.1;  // every gradient is longer
    made.evaluateEvery = 2;
    return made;
  }

 private Q_SLOTS:
  void initTestCase() {
    const auto pair = tiny_.preparedPair();
    QVERIFY2(pair, pair ? "" : pair.error().text().c_str());
    target_ = pair->target;
    drafter_ = pair->drafter;
    const Status written = test::writeFeatures(target_, tiny_.corpus(), withFeatures());
    QVERIFY2(written, written ? "" : written.error().text().c_str());
    const auto head = run(recipe("feature-head", "{}"), "cpu", "draft head");
    QVERIFY2(head, head ? "" : head.error().text().c_str());
    draftHead_ = head->model;
  }

  void objectives_data() {
    QTest::addColumn<QString>("objective");
    QTest::addColumn<QString>("options");
    QTest::newRow("next token") << "next-token" << R"({"exits":[1,2],"layer_drop":0.5})";
    QTest::newRow("masked diffusion") << "masked-diffusion" << R"({"prompts":0.3})";
    QTest::newRow("distillation") << "distillation" << R"({"divergence":"tvd++","hard":0.2})";
    QTest::newRow("draft head") << "feature-head" << R"({"rounds":2})";
    QTest::newRow("acceptance head by a model") << "acceptance-head" << "{}";
    QTest::newRow("acceptance head by features") << "acceptance-head with features" << "{}";
  }
  // On the second device, so that nothing may be left to which one is current.
  void objectives() {
    QFETCH(QString, objective);
    QFETCH(QString, options);
    const Recipe made = recipe(objective, options);
    const QString name = QTest::currentDataTag();
    Measures host, device;
    const auto expected = run(made, "cpu", name + " on the host", &host);
    QVERIFY2(expected, expected ? "" : expected.error().text().c_str());
    QCOMPARE(host.size(), std::size_t{4});
    const std::int64_t before = pretend::counts().operations;
    const auto found = run(made, pretend::kSecond, name + " on the device", &device);
    QVERIFY2(found, found ? "" : found.error().text().c_str());
    QVERIFY(pretend::counts().operations > before + 1000);
    const QString problem = difference(device, host);
    QVERIFY2(problem.isEmpty(), qPrintable(problem));
    for (const char* file : {"/checkpoint.safetensors", "/model/model.safetensors"})
      QVERIFY2(test::contentOf(tiny_.path(name + " on the device" + file)) ==
                   test::contentOf(tiny_.path(name + " on the host" + file)),
               file);
  }

  void aTrainingGoesOnElsewhere_data() { objectives_data(); }
  void aTrainingGoesOnElsewhere() {
    QFETCH(QString, objective);
    QFETCH(QString, options);
    const Recipe made = recipe(objective, options);
    const QString name = QTest::currentDataTag();
    Measures whole, parts;
    QVERIFY(run(made, "cpu", name + " whole", &whole));
    QVERIFY(run(made, pretend::kFirst, name + " parts", &parts, 1));
    QVERIFY(run(made, "cpu", name + " parts", &parts, 2));
    const auto last = run(made, pretend::kAll, name + " parts", &parts);
    QVERIFY2(last, last ? "" : last.error().text().c_str());
    parts[0].resize(whole[0].size());  // it ended there, so it was evaluated
    const QString problem = difference(parts, whole);
    QVERIFY2(problem.isEmpty(), qPrintable(problem));
    QCOMPARE(test::contentOf(tiny_.path(name + " parts/checkpoint.safetensors")),
             test::contentOf(tiny_.path(name + " whole/checkpoint.safetensors")));
  }

  void devicesThatThereAreNot_data() {
    QTest::addColumn<QString>("device");
    QTest::addColumn<int>("code");
    QTest::newRow("no such kind") << "abacus" << static_cast<int>(ErrorCode::usage);
    QTest::newRow("not so many") << "pretend:7" << static_cast<int>(ErrorCode::unsupported);
  }
  void devicesThatThereAreNot() {
    QFETCH(QString, device);
    QFETCH(int, code);
    const auto result = run(recipe("next-token", "{}"), device.toStdString(), "nowhere");
    QVERIFY(!result);
    QCOMPARE(static_cast<int>(result.error().code), code);
    QVERIFY(!QFile::exists(tiny_.path("nowhere")));
  }
};

QTEST_GUILESS_MAIN(TestTrainingDevice)
#include "TestTrainingDevice.moc"
