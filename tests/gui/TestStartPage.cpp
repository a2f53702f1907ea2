// The start page: what it lists, and that a bundled model is stepped after one press.
#include <QComboBox>
#include <QDir>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QSignalSpy>

#include "app/StartPage.h"
#include "core/model/ModelLoader.h"
#include "tests/gui/RealWindow.h"

using namespace decoscope;
using test::openWindow;
using test::trigger;
using test::waitFor;

namespace {

ModelEntry entry(const std::string& name, const std::string& source, std::int64_t parameters, int vocabulary,
                 const std::string& architecture = "llama") {
  ModelEntry made;
  made.file.name = name;
  made.file.path = "/models/" + name;
  made.file.format = "safetensors";
  made.file.source = source;
  made.described = true;
  made.info.name = name;
  made.info.architecture = architecture;
  made.info.format = "safetensors";
  made.info.parameters = parameters;
  made.info.vocabularySize = vocabulary;
  return made;
}

QStringList buttonsOf(const QWidget& page) {
  QStringList texts;
  for (const QPushButton* button : page.findChildren<QPushButton*>())
    if (button->isVisibleTo(&page)) texts << button->text();
  return texts;
}

}  // namespace

class TestStartPage : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;
  QString models_;  // tiny real models in the place of the bundled ones; empty without fixtures

 private Q_SLOTS:
  void initTestCase() {
    test::prepareSettings(folder_);
    const QString fixtures = QStringLiteral(DECOSCOPE_FIXTURES) + "/hf/";
    if (!QFile::exists(fixtures + "olmo2-postnorm") || !QFile::exists(fixtures + "gpt2")) return;
    models_ = folder_.filePath("resources/models");
    for (const auto& [from, to] : {std::pair{"olmo2-postnorm", "wren"}, {"gpt2", "wren-tiny"}}) {
      QVERIFY(QDir().mkpath(models_ + "/" + to));
      for (const char* file : {"config.json", "model.safetensors", "tokenizer.json"})
        QVERIFY(QFile::link(fixtures + from + "/" + file, models_ + "/" + to + "/" + file));
      // As Wren's: the chat template stands in tokenizer_config.json.
      QFile config(models_ + "/" + to + "/tokenizer_config.json");
      QVERIFY(config.open(QFile::WriteOnly));
      config.write(
          R"({"chat_template":"{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}wren:"})");
    }
    QFile index(models_ + "/bundled.json");
    QVERIFY(index.open(QFile::WriteOnly));
    index.write(
        R"({"models":[{"name":"wren","path":"wren"},{"name":"wren-tiny","path":"wren-tiny","role":"drafter","for":["wren"]}]})");
  }

  void whatIsStepped_data() {
    QTest::addColumn<QStringList>("names");  // "name:source:parameters:vocabulary:architecture"
    QTest::addColumn<QString>("target");
    QTest::addColumn<QString>("drafter");
    QTest::newRow("none bundled") << QStringList{"wren:decoscope:100:8:llama"} << "" << "";
    QTest::newRow("alone") << QStringList{"wren:bundled:100:8:llama"} << "/models/wren" << "";
    QTest::newRow("with its drafter")
        << QStringList{"wren:bundled:100:8:llama", "wren-tiny:bundled:10:8:llama",
                       "wren-nested:bundled:5:8:llama"}
        << "/models/wren" << "/models/wren-tiny";
    QTest::newRow("the smallest that fits") << QStringList{"wren:bundled:100:8:llama", "b:bundled:20:8:llama",
                                                           "c:bundled:10:8:llama", "d:bundled:1:9:llama"}
                                            << "/models/wren" << "/models/c";
    QTest::newRow("too large to draft")
        << QStringList{"wren:bundled:100:8:llama", "b:bundled:60:8:llama"} << "/models/wren" << "";
    QTest::newRow("others do not stand in for it") << QStringList{"head:bundled:100:8:llama"} << "" << "";
    QTest::newRow("a drafter from elsewhere is not taken")
        << QStringList{"wren:bundled:100:8:llama", "wren-tiny:decoscope:10:8:llama"} << "/models/wren" << "";
    QTest::newRow("diffusion writes no next token") << QStringList{"wren:bundled:100:8:llada"} << "" << "";
  }
  void whatIsStepped() {
    QFETCH(QStringList, names);
    QFETCH(QString, target);
    QFETCH(QString, drafter);
    std::vector<ModelEntry> models;
    for (const QString& name : names) {
      const QStringList parts = name.split(':');
      models.push_back(entry(parts[0].toStdString(), parts[1].toStdString(), parts[2].toLongLong(),
                             parts[3].toInt(), parts[4].toStdString()));
      if (parts[4] == "llada") models.back().info.maskToken = 3;
    }
    const auto start = bundledStart(models);
    QCOMPARE(start.has_value(), !target.isEmpty());
    if (!start) return;
    QCOMPARE(start->target, target);
    QCOMPARE(start->drafter, drafter);
    QCOMPARE(start->method, drafter.isEmpty() ? QString("token-recycling") : QString("chain"));
    // What is not described yet, or cannot be opened, is not offered.
    for (ModelEntry& model : models) model.problem = "damaged";
    QVERIFY(!bundledStart(models));
  }

  void bundledModelsComeFirstAndOnlyWhereThereAreSome() {
    StartPage page;
    const auto* section = page.findChild<QWidget*>("bundledModels");
    const ModelEntry own = entry("SmolLM2", "decoscope", 134'000'000, 49'152);
    page.show({}, {own});
    QVERIFY(!section->isVisibleTo(&page));
    QVERIFY(!page.findChild<QPushButton*>("stepBundled"));
    const std::vector<ModelEntry> models = {own, entry("wren", "bundled", 9'000'000, 2048),
                                            entry("wren-tiny", "bundled", 900'000, 2048)};
    page.show({}, models);
    QVERIFY(section->isVisibleTo(&page));
    const QStringList buttons = buttonsOf(page);
    const auto place = [&](const QString& start) {
      for (int i = 0; i < buttons.size(); ++i)
        if (buttons[i].startsWith(start)) return i;
      return -1;
    };
    QCOMPARE(buttons.filter("wren").size(), 2);
    QVERIFY(place("Step Wren: no download needed") >= 0);
    QVERIFY(place("Step Wren") < place("wren  ") && place("wren-tiny") < place("SmolLM2"));
    QSignalSpy wanted(&page, &StartPage::bundledWanted), opened(&page, &StartPage::modelWanted);
    page.findChild<QPushButton*>("stepBundled")->click();
    QCOMPARE(wanted.size(), 1);
    QCOMPARE(wanted.front().front().value<BundledStart>().drafter, QString("/models/wren-tiny"));
    for (QPushButton* button : page.findChildren<QPushButton*>())
      if (button->text().startsWith("wren-tiny")) button->click();
    QCOMPARE(opened.front().front().toString(), QString("wren-tiny"));
    page.show({}, {});
    QVERIFY(!section->isVisibleTo(&page));
  }

  // With real (tiny) weights in the place of Wren's: one press, then Step.
  void onePressAndItSteps() {
    if (models_.isEmpty()) QSKIP("no model fixtures");
    std::vector<ModelEntry> models;
    for (const char* name : {"wren", "wren-tiny"}) {
      ModelEntry made;
      made.file.name = name;
      made.file.path = (models_ + "/" + name).toStdString();
      made.file.source = "bundled";
      const auto info = describeModel(made.file.path);
      QVERIFY2(info.has_value(), info ? "" : info.error().text().c_str());
      made.described = true;
      made.info = *info;
      // Random weights of one size: only the names say which is the drafter.
      made.info.parameters = made.file.name == "wren" ? 1000 : 100;
      models.push_back(std::move(made));
    }
    auto w = openWindow();
    const auto start = bundledStart(models);
    QVERIFY(start && !start->drafter.isEmpty());
    w->openBundled(*start);
    waitFor(*w, [&] { return !w->controller().state().modelName.empty() && !w->controller().busy(); });
    QCOMPARE(w->findChild<QComboBox*>("methodChooser")->currentData().toString(), QString("chain"));
    QCOMPARE(w->findChild<QPlainTextEdit*>("prompt")->toPlainText(), start->prompt);
    w->setMaxNewTokens(8);
    trigger(*w, "run.step");
    waitFor(*w, [&] { return w->line().count() == 1 && w->settled(); });
    QVERIFY(w->line().hasProposals());
    const RunInfo& info = *w->line().info();
    QCOMPARE(info.method, std::string("chain"));
    QCOMPARE(info.models.size(), std::size_t{2});
    QCOMPARE(info.models[1].role, std::string("drafter"));
    QVERIFY(QString::fromStdString(info.models[1].path).endsWith("wren-tiny"));
    QCOMPARE(info.notes.at("prompt_kind"), std::string("chat"));
  }

  // The same through the catalog, from a resources folder of the program.
  void theCatalogBringsIt() {
    if (models_.isEmpty()) QSKIP("no model fixtures");
    qputenv("DECOSCOPE_RESOURCES", folder_.filePath("resources").toUtf8());
    const auto restore = qScopeGuard([] { qunsetenv("DECOSCOPE_RESOURCES"); });
    const auto found = listModels();
    if (std::none_of(found.begin(), found.end(), [](const CatalogEntry& e) { return e.source == "bundled"; }))
      QSKIP("the catalog lists no bundled models yet");
    auto w = openWindow();
    QTRY_VERIFY_WITH_TIMEOUT(w->findChild<QPushButton*>("stepBundled"), 20'000);
    QVERIFY(w->findChild<QWidget*>("bundledModels")->isVisible());
    QTest::mouseClick(w->findChild<QPushButton*>("stepBundled"), Qt::LeftButton);
    waitFor(*w, [&] { return !w->controller().state().modelName.empty() && !w->controller().busy(); });
    w->setMaxNewTokens(8);
    trigger(*w, "run.step");
    waitFor(*w, [&] { return w->line().count() == 1 && w->settled(); });
  }
};

int main(int argc, char** argv) {
  return test::runWindowTest<TestStartPage>(argc, argv);
}

#include "TestStartPage.moc"
