// `corpus` and `corpus split`, as scripts see them.
#include <QFile>
#include <QProcess>
#include <QTemporaryDir>
#include <QTest>
#include <fstream>
#include <nlohmann/json.hpp>

using nlohmann::json;

namespace {

struct Outcome {
  int code = -1;
  json document;
};

Outcome call(const QStringList& arguments) {
  QProcess process;
  process.start(QStringLiteral(DECOSCOPE_CLI), arguments + QStringList{"--json"});
  if (!process.waitForFinished(60'000) || process.exitStatus() != QProcess::NormalExit) return {};
  return {process.exitCode(), json::parse(process.readAllStandardOutput().toStdString(), nullptr, false)};
}

}  // namespace

class TestCorpusCommands : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;
  QString path(const char* name) const { return folder_.filePath(name); }
  void write(const char* name, const std::string& text) const {
    std::ofstream(path(name).toStdString()) << text;
  }

 private Q_SLOTS:
  void initTestCase() {
    write("table.json", R"({"vocab":["a","b"],"eos":1,"order":0})");
    write("recipe.json", R"({"name":"r","kinds":[{"kind":"k","prompts":["a"]}]})");
    write("broken.json", R"({"kinds":[{"kind":"k","prompts":["{nothing}"]}]})");
    std::string lines;
    for (int i = 0; i < 500; ++i)
      lines +=
          json{{"index", i}, {"kind", "k"}, {"user", "q" + std::to_string(i)}, {"assistant", "a"}}.dump() +
          "\n";
    write("corpus.jsonl", lines);
  }
  void mistakesHaveTheirExitCodes_data() {
    QTest::addColumn<QStringList>("arguments");
    QTest::addColumn<int>("code");
    QTest::addColumn<QString>("told");
    const QString table = "table:" + path("table.json");
    const QStringList out = {"--out", path("new.jsonl")};
    const auto row = [](const char* name, const QStringList& arguments, int code, const char* told) {
      QTest::newRow(name) << (QStringList{"corpus"} + arguments) << code << told;
    };
    row("nothing", {}, 2, "RECIPE is required");
    row("no file", {"wren", "--model", table}, 2, "--out is required");
    row("no model", QStringList{"wren"} + out, 2, "--model is required");
    row("no such recipe", QStringList{"nightingale", "--model", table} + out, 3, "recipe cannot be read");
    row("broken recipe", QStringList{path("broken.json"), "--model", table} + out, 3, "nothing");
    row("no such model", QStringList{path("recipe.json"), "--model", path("no.gguf")} + out, 3, "");
    row("no chat template", QStringList{path("recipe.json"), "--model", table} + out, 3, "no chat template");
    row("two models", QStringList{"wren", "--model", table, "--model", "drafter=" + table} + out, 2,
        "one model");
    row("batch", QStringList{"wren", "--model", table, "--batch", "0"} + out, 2, "--batch");
    row("no corpus", {"split", path("none.jsonl"), "--train", path("t0"), "--held-out", path("h0")}, 3,
        "cannot be read");
    row("split onto itself",
        {"split", path("corpus.jsonl"), "--train", path("corpus.jsonl"), "--held-out", path("h1")}, 2,
        "exists");
  }
  void mistakesHaveTheirExitCodes() {
    QFETCH(QStringList, arguments);
    QFETCH(int, code);
    QFETCH(QString, told);
    const Outcome outcome = call(arguments);
    QCOMPARE(outcome.code, code);
    const std::string message = outcome.document["error"]["message"];
    QVERIFY2(message.find(told.toStdString()) != std::string::npos, message.c_str());
    QVERIFY(!QFile::exists(path("new.jsonl")));
  }
  void splitsAreTheSameInAnyOrder() {
    const Outcome outcome = call({"corpus", "split", path("corpus.jsonl"), "--train", path("train"),
                                  "--held-out", path("held"), "--fraction", "0.1"});
    QCOMPARE(outcome.code, 0);
    const int train = outcome.document["train"]["texts"], held = outcome.document["held_out"]["texts"];
    QCOMPARE(train + held, 500);
    QVERIFY(held > 25 && held < 80);
    // A smaller corpus holds out the same ones.
    QFile whole(path("corpus.jsonl")), heldFile(path("held"));
    QVERIFY(whole.open(QIODevice::ReadOnly) && heldFile.open(QIODevice::ReadOnly));
    QList<QByteArray> lines = whole.readAll().split('\n');
    const QList<QByteArray> heldLines = heldFile.readAll().split('\n');
    lines = lines.mid(0, 200);
    write("part.jsonl", (lines.join('\n') + "\n").toStdString());
    QCOMPARE(call({"corpus", "split", path("part.jsonl"), "--train", path("train2"), "--held-out",
                   path("held2"), "--fraction", "0.1"})
                 .code,
             0);
    QFile heldPart(path("held2"));
    QVERIFY(heldPart.open(QIODevice::ReadOnly));
    const QList<QByteArray> partLines = heldPart.readAll().split('\n');
    QVERIFY(partLines.size() > 5);
    for (const QByteArray& line : partLines) QVERIFY(heldLines.contains(line));
    for (const QByteArray& line : lines) QCOMPARE(partLines.contains(line), heldLines.contains(line));
  }
};

QTEST_GUILESS_MAIN(TestCorpusCommands)
#include "TestCorpusCommands.moc"
