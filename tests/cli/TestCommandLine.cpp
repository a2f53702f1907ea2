// The command line as scripts see it: documents, keys and exit codes.
#include <QFileInfo>
#include <QProcess>
#include <QTemporaryDir>
#include <QTest>
#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>

using nlohmann::json;

namespace {

struct Outcome {
  int code = -1;
  std::vector<json> documents;
  QString errors;
};

Outcome call(const QStringList& arguments) {
  QProcess process;
  process.start(QStringLiteral(DECOSCOPE_CLI), arguments);
  Outcome outcome;
  if (!process.waitForFinished(120'000) || process.exitStatus() != QProcess::NormalExit) return outcome;
  outcome.code = process.exitCode();
  for (const QByteArray& line : process.readAllStandardOutput().split('\n'))
    if (!line.isEmpty()) outcome.documents.push_back(json::parse(line.toStdString(), nullptr, false));
  outcome.errors = QString::fromUtf8(process.readAllStandardError());
  return outcome;
}

}  // namespace

class TestCommandLine : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;
  QString table_, session_;

 private Q_SLOTS:
  void initTestCase() {
    table_ = "table:" + folder_.filePath("table.json");
    session_ = folder_.filePath("a.decoscope");
    std::ofstream(folder_.filePath("table.json").toStdString())
        << R"({"vocab":["a","b","c","d"],"bos":null,"eos":3,"order":1,"default":[0.4,0.3,0.2,0.1],"rows":{"0":[0.1,0.6,0.2,0.1],"1":[0.5,0.1,0.3,0.1]}})";
  }
  void renderChat() {
    const QString chat = folder_.filePath("chat.json"), chatTemplate = folder_.filePath("chat.jinja");
    std::ofstream(chat.toStdString()) << R"({"messages":[{"role":"user","content":"Hi"}],"mood":"calm"})";
    std::ofstream(chatTemplate.toStdString())
        << "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}\n{{ raise_exception('No "
           "system') }}"
           "{% endif %}{{ m.content }}{% endfor %}{{ strftime_now('|%d %b %Y') }}|{{ tools }}|{{ mood }}"
           "{% if add_generation_prompt %}|go{% endif %}";
    const QStringList base = {"render-chat", "--json", "--template", chatTemplate, "--messages", chat};
    const Outcome plain = call(base + QStringList{"--bos", "<s>", "--date", "26 Jul 2024"});
    QVERIFY2(plain.code == 0, qPrintable(plain.errors));
    QCOMPARE(plain.documents[0]["text"].get<std::string>(), std::string("<s>Hi|26 Jul 2024|None|calm|go"));
    const Outcome closed =
        call(base + QStringList{"--no-generation-prompt", "--date", "2024-01-02", "--set", "mood=\"sad\""});
    QCOMPARE(closed.documents[0]["text"].get<std::string>(), std::string("Hi|02 Jan 2024|None|sad"));
    QCOMPARE(call(base + QStringList{"--date", "soon"}).code, 2);
    QCOMPARE(call({"render-chat", "--json", "--messages", chat}).code, 2);
    std::ofstream(chat.toStdString()) << R"([{"role":"system","content":"Be brief."}])";
    const Outcome raised = call(base);
    QCOMPARE(raised.code, 3);
    QCOMPARE(raised.documents[0]["error"]["message"].get<std::string>(), std::string("No system"));
    QCOMPARE(raised.documents[0]["error"]["where"].get<std::string>(), std::string("chat template, line 2"));
  }
  void runForkVerifyInspectQueryExport() {
    const Outcome run = call({"run", "--json", "--method", "chain", "--model", table_, "--model",
                              "drafter=" + table_, "--prompt", "abc", "--max-new-tokens", "12", "--seed", "3",
                              "--set", "temperature=1", "--no-eos", "--session", session_});
    QVERIFY2(run.code == 0, qPrintable(run.errors));
    QCOMPARE(run.documents.size(), std::size_t{1});
    const json& document = run.documents[0];
    for (const char* key :
         {"run", "method", "prompt_ids", "ids", "text", "stop_reason", "steps", "stats", "session", "rounds"})
      QVERIFY2(document.contains(key), key);
    QCOMPARE(document["ids"].size(), std::size_t{12});
    QCOMPARE(document["stop_reason"].get<std::string>(), std::string("length"));
    for (const char* key :
         {"new_tokens", "steps", "target_forwards", "drafter_forwards", "target_tokens", "drafter_tokens",
          "proposed", "accepted", "acceptance_rate", "mean_accepted_length", "block_efficiency", "seconds",
          "prefill_seconds", "draft_seconds", "verify_seconds", "other_seconds", "tokens_per_second",
          "peak_memory_bytes"})
      QVERIFY2(document["stats"].contains(key), key);
    // The same model drafts: everything is accepted.
    QCOMPARE(document["stats"]["acceptance_rate"].get<double>(), 1.0);

    const Outcome fork = call({"fork", session_, "--run", "1", "--step", "1", "--json"});
    QVERIFY2(fork.code == 0, qPrintable(fork.errors));
    QVERIFY(fork.documents[0]["ids"] == document["ids"]);
    QCOMPARE(call({"verify", session_, "--json"}).code, 0);
    // A token forced at a position of the text; a place is given once, and needs a token.
    const Outcome at = call({"fork", session_, "--run", "1", "--at", "8", "--force", "1", "--json"});
    QVERIFY2(at.code == 0, qPrintable(at.errors));
    const std::size_t index = 8 - document["prompt_ids"].size();
    QCOMPARE(at.documents[0]["ids"][index].get<int>(), 1);
    for (std::size_t i = 0; i < index; ++i) QVERIFY(at.documents[0]["ids"][i] == document["ids"][i]);
    for (const QStringList& wrong :
         {QStringList{}, QStringList{"--at", "8"}, QStringList{"--at", "8", "--force", "1", "--step", "0"},
          QStringList{"--at", "0", "--force", "1"}, QStringList{"--at", "800", "--force", "1"}})
      QCOMPARE(call(QStringList{"fork", session_, "--run", "1", "--json"} + wrong).code, 2);
    QCOMPARE(call({"verify", session_, "--json"}).code, 0);
    const Outcome inspect = call({"inspect", session_, "--json"});
    QCOMPARE(inspect.documents[0]["runs"].size(), std::size_t{3});
    QVERIFY(inspect.documents[0]["runs"][0]["steps"] == document["steps"]);
    QCOMPARE(
        call({"inspect", session_, "--run", "1", "--step", "0", "--json"}).documents[0]["events"].empty(),
        false);
    QVERIFY(call({"query", session_, "SELECT count(*) AS n FROM step WHERE run=1", "--json"})
                .documents[0][0]["n"] == document["steps"]);
    QCOMPARE(call({"query", session_, "DELETE FROM step", "--json"}).code, 2);
    for (const char* format : {"jsonl", "csv"})
      QCOMPARE(call({"export", session_, "--format", format, "--out", folder_.filePath(format)}).code, 0);
    QVERIFY(QFileInfo(folder_.filePath("csv")).size() > 100);
    QVERIFY(call({"metrics", session_, "--run", "1", "--json"}).documents[0]["runs"][0]["metrics"].size() >
            10);
  }
  void repeatPrintsOneDocumentALine() {
    const Outcome run = call({"run", "--json", "--model", table_, "--prompt", "a", "--max-new-tokens", "5",
                              "--set", "temperature=1", "--seed", "7", "--repeat", "4"});
    QCOMPARE(run.documents.size(), std::size_t{4});
    const Outcome last = call({"run", "--json", "--model", table_, "--prompt", "a", "--max-new-tokens", "5",
                               "--set", "temperature=1", "--seed", "10"});
    QVERIFY(run.documents[3]["ids"] == last.documents[0]["ids"]);
  }
  void tokenizers() {
    QVERIFY(call({"tokenize", "--model", table_, "--text", "abca", "--json"}).documents[0]["ids"] ==
            json({0, 1, 2, 0}));
    QVERIFY(call({"detokenize", "--model", table_, "--ids", "0,1,2", "--json"}).documents[0]["text"] ==
            json("abc"));
  }
  void lists() {
    QVERIFY(call({"models", "list", "--json"}).documents[0]["models"].is_array());
    const json methods = call({"methods", "list", "--json"}).documents[0]["methods"];
    QVERIFY(methods.size() >= 6);
    for (const json& method : methods)
      QVERIFY(method["roles"].is_array() && method["lossless"].is_string() && method.contains("name"));
    QCOMPARE(call({"selftest", "--json"}).code, 0);
  }
  void mistakesHaveTheirExitCodes_data() {
    QTest::addColumn<QStringList>("arguments");
    QTest::addColumn<int>("code");
    const QStringList run = {"run", "--json", "--model", "TABLE"};
    QTest::newRow("unknown option") << QStringList{"run", "--nonsense", "--json"} << 2;
    QTest::newRow("unknown command") << QStringList{"fly", "--json"} << 2;
    QTest::newRow("unknown method") << run + QStringList{"--prompt", "a", "--method", "magic"} << 2;
    QTest::newRow("unknown parameter") << run + QStringList{"--prompt", "a", "--set", "gama=3"} << 2;
    QTest::newRow("out of range") << run + QStringList{"--prompt", "a", "--set", "top_p=2"} << 2;
    QTest::newRow("no such model") << QStringList{"run",      "--json", "--model", "/nowhere/m.gguf",
                                                  "--prompt", "a"}
                                   << 3;
    QTest::newRow("empty prompt") << run + QStringList{"--prompt", ""} << 3;
    QTest::newRow("not in the vocabulary") << run + QStringList{"--prompt", "xyz"} << 3;
    QTest::newRow("missing role") << run + QStringList{"--prompt", "a", "--method", "chain"} << 3;
    QTest::newRow("no such session") << QStringList{"inspect", "/nowhere.decoscope", "--json"} << 3;
  }
  void mistakesHaveTheirExitCodes() {
    QFETCH(QStringList, arguments);
    QFETCH(int, code);
    for (QString& argument : arguments)
      if (argument == "TABLE") argument = table_;
    const Outcome outcome = call(arguments);
    QCOMPARE(outcome.code, code);
    QCOMPARE(outcome.documents.size(), std::size_t{1});
    const json& error = outcome.documents[0]["error"];
    for (const char* key : {"code", "message", "where", "hint"}) QVERIFY2(error.contains(key), key);
    QVERIFY(!error["message"].get<std::string>().empty());
  }
  void interruptKeepsWhatWasDone() {
    QProcess process;
    const QString session = folder_.filePath("interrupted.decoscope");
    process.start(QStringLiteral(DECOSCOPE_CLI),
                  {"run", "--json", "--model", table_, "--prompt", "a", "--max-new-tokens", "1000000",
                   "--no-eos", "--session", session});
    QVERIFY(process.waitForStarted());
    QTest::qWait(600);
    ::kill(static_cast<pid_t>(process.processId()), SIGINT);
    QVERIFY(process.waitForFinished(20'000));
    QCOMPARE(process.exitCode(), 130);
    const json runs = call({"inspect", session, "--json"}).documents[0]["runs"];
    QVERIFY(runs[0]["steps"].get<int>() > 0);
    QCOMPARE(runs[0]["state"].get<std::string>(), std::string("stopped"));
  }
};

QTEST_GUILESS_MAIN(TestCommandLine)
#include "TestCommandLine.moc"
