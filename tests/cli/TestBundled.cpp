// The bundled models as a user has them: they can be trained again, run, and their cards hold.
#include <QFile>
#include <QProcess>
#include <QTemporaryDir>
#include <QTest>
#include <nlohmann/json.hpp>

using nlohmann::json;

namespace {

const QString kModels = QStringLiteral(DECOSCOPE_SOURCE_DIR "/resources/models");

struct Outcome {
  int code = -1;
  json document;
  QString problem;
};

}  // namespace

class TestBundled : public QObject {
  Q_OBJECT
  QTemporaryDir home_;

  Outcome call(const QStringList& arguments) const {
    QProcess process;
    QProcessEnvironment environment = QProcessEnvironment::systemEnvironment();
    environment.insert("XDG_CACHE_HOME", home_.filePath("cache"));
    environment.insert("DECOSCOPE_RESOURCES", DECOSCOPE_SOURCE_DIR "/resources");
    process.setProcessEnvironment(environment);
    process.start(QStringLiteral(DECOSCOPE_CLI), arguments);
    if (!process.waitForFinished(500'000) || process.exitStatus() != QProcess::NormalExit) return {};
    return {process.exitCode(), json::parse(process.readAllStandardOutput().toStdString(), nullptr, false),
            QString::fromUtf8(process.readAllStandardError().right(2000))};
  }

 private Q_SLOTS:
  // The evaluation texts themselves are never trained on, so each is put a little differently.
  void trainingLowersTheLoss() {
    QFile kept(kModels + "/corpora/held-out.jsonl"), corpus(home_.filePath("texts.jsonl"));
    QVERIFY(kept.open(QIODevice::ReadOnly) && corpus.open(QIODevice::WriteOnly));
    for (QByteArray line = kept.readLine(); !line.isEmpty(); line = kept.readLine()) {
      json text = json::parse(line.toStdString());
      text["user"] = text["user"].get<std::string>() + " Please.";
      corpus.write(QByteArray::fromStdString(text.dump() + "\n"));
    }
    corpus.close();
    const Outcome trained = call({"train", "wren-tiny", "--steps", "50", "--corpus", corpus.fileName(),
                                  "--out", home_.filePath("tiny"), "--json"});
    QVERIFY2(trained.code == 0, qPrintable(trained.problem));
    QCOMPARE(trained.document["steps"].get<int>(), 50);
    const double first = trained.document["first_loss"], last = trained.document["loss"];
    QVERIFY2(last < 0.6 * first, qPrintable(QString("%1 → %2").arg(first).arg(last)));
    // What it made is a model, and its curve a session.
    const Outcome run =
        call({"run", "--method", "sampling", "--model", QString::fromStdString(trained.document["model"]),
              "--prompt", "The fox", "--max-new-tokens", "8", "--json"});
    QVERIFY2(run.code == 0, qPrintable(run.problem));
    const Outcome curve = call({"inspect", QString::fromStdString(trained.document["session"]), "--json"});
    QVERIFY2(curve.code == 0, qPrintable(curve.problem));
    QCOMPARE(curve.document["runs"][0]["steps"].get<int>(), 50);
  }

  void selftestRunsEach() {
    const Outcome outcome = call({"selftest", "--json"});
    QVERIFY2(outcome.code == 0,
             qPrintable(QString::fromStdString(outcome.document.dump()) + outcome.problem));
    QStringList names;
    for (const json& check : outcome.document["checks"]) names << QString::fromStdString(check["name"]);
    for (const char* model : {"wren", "wren-tiny", "wren-nested", "wren-diffusion", "wren-tiny-acceptance"})
      QVERIFY2(names.filter("bundled model " + QString(model) + " ").size() == 1, model);
  }

  // Nobody names a drafter or a head.
  void methodsFillTheirRoles() {
    const Outcome run = call({"run", "--method", "specdec-pp", "--model", "wren", "--prompt", "The fox",
                              "--max-new-tokens", "24", "--json"});
    QVERIFY2(run.code == 0, qPrintable(run.problem));
    QVERIFY(run.document["stats"]["proposed"].get<int>() > 0);
    // The head was not made for another drafter.
    const Outcome other = call({"run", "--method", "specdec-pp", "--model", "wren", "--model", "drafter=wren",
                                "--prompt", "The fox", "--json"});
    QCOMPARE(other.code, 3);
    QVERIFY2(other.problem.contains("head"), qPrintable(other.problem));
  }

  void cardsHold_data() {
    QTest::addColumn<QString>("model");
    for (const char* model : {"wren", "wren-tiny", "wren-nested", "wren-tiny-acceptance"})
      QTest::newRow(model) << model;
  }
  void cardsHold() {
    QFETCH(QString, model);
    const Outcome outcome = call({"models", "verify", model, "--json"});
    QVERIFY2(outcome.code == 0,
             qPrintable(QString::fromStdString(outcome.document.dump()) + outcome.problem));
  }
};

QTEST_GUILESS_MAIN(TestBundled)
#include "TestBundled.moc"
