// The command line as scripts see it: documents, keys and exit codes.
#include <QFileInfo>
#include <QProcess>
#include <QTemporaryDir>
#include <QTest>
#include <cmath>
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
  void runOptionsDoWhatTheySay() {
    const QStringList base = {"run", "--json", "--model", table_, "--no-eos"};
    const auto one = [&](const QStringList& more) {
      const Outcome outcome = call(base + more);
      return outcome.code == 0 && outcome.documents.size() == 1 ? outcome.documents[0] : json();
    };
    const QStringList ten = {"--max-new-tokens", "10"};
    const json plain = one(QStringList{"--prompt", "ab"} + ten);
    QCOMPARE(plain["ids"].size(), std::size_t{10});
    QVERIFY(plain["session"].is_null());
    std::ofstream(folder_.filePath("prompt.txt").toStdString()) << "ab";
    QVERIFY(one(QStringList{"--prompt-file", folder_.filePath("prompt.txt")} + ten)["ids"] == plain["ids"]);
    QVERIFY(one(QStringList{"--prompt-ids", "0, 1"} + ten)["ids"] == plain["ids"]);
    // The text ends before the stop string, the ids with the token that completed it.
    const json stopped = one(QStringList{"--prompt", "ab", "--stop", "dd", "--stop", "ba"} + ten);
    QVERIFY(stopped["stop_reason"] == "stop_string");
    QVERIFY(stopped["text"] == "a");
    QVERIFY(stopped["ids"] == json({0, 1, 0}));
    const json few =
        one(QStringList{"--prompt", "ab", "--steps", "3", "--progress", "--name", "three"} + ten);
    QCOMPARE(few["ids"].size(), std::size_t{3});
    QVERIFY(few["stop_reason"] == "steps");
    QCOMPARE(one({"--prompt", "ab", "--max-new-tokens", "0"})["ids"].size(), std::size_t{0});
    // What is recorded.
    const auto summaries = [&](const QString& name, const QStringList& more) {
      const QString session = folder_.filePath(name);
      std::vector<std::size_t> sizes;
      if (one(QStringList{"--prompt", "ab", "--session", session} + ten + more).is_null()) return sizes;
      const json step = call({"inspect", session, "--run", "1", "--step", "1", "--json"}).documents[0];
      for (const json& event : step["events"])
        if (event["event"] == "distribution") sizes.push_back(event["entries"].size());
      return sizes;
    };
    const auto full = summaries("full.decoscope", {"--top-k-recorded", "2"});
    QVERIFY(!full.empty());
    for (const std::size_t size : full) QCOMPARE(size, std::size_t{2});
    QVERIFY(summaries("light.decoscope", {"--record", "light"}).empty());
    QVERIFY(!one(QStringList{"--prompt", "ab", "--record", "none"} + ten).is_null());
  }
  void peersAreTimedInTurn() {
    const QStringList base = {"bench",    "--json", "--suite",       "decode", "--model",         table_,
                              "--prompt", "ab",     "--repetitions", "3",      "--prompt-tokens", "64"};
    const QString calls = folder_.filePath("calls");
    const Outcome both = call(base + QStringList{"--peer", "echo loading; echo x >> '" + calls +
                                                               "'; echo '{\"decode_tokens_per_second\": 50, "
                                                               "\"prompt_tokens_per_second\": 200.5}'"});
    QVERIFY2(both.code == 0, qPrintable(both.errors));
    const json& document = both.documents[0];
    QCOMPARE(QFileInfo(calls).size(), 6);
    QVERIFY(document["prompt_tokens"] == 64);
    for (const char* key : {"tokens_per_second", "prompt_tokens_per_second"}) {
      for (const char* figure : {"median", "minimum", "maximum"})
        QVERIFY2(document[key][figure].get<double>() > 0, key);
      QVERIFY(document[key]["runs"] == 3);
    }
    QVERIFY(document["peer"]["tokens_per_second"]["median"] == 50.0);
    QVERIFY(document["peer"]["prompt_tokens_per_second"]["maximum"] == 200.5);
    const double ratio = document["ratios"]["decode"]["median"],
                 rate = document["tokens_per_second"]["median"];
    QVERIFY(std::abs(ratio - rate / 50) < 1e-9 * ratio);
    QVERIFY(document["ratios"]["prompt"]["runs"] == 3);
    // A bare number is the speed of decoding.
    const json bare = call(base + QStringList{"--peer", "echo 12.5"}).documents[0];
    QVERIFY(bare["peer"]["tokens_per_second"]["median"] == 12.5);
    QVERIFY(bare["ratios"]["prompt"].is_null());
    for (const char* wrong : {"exit 3", "echo fast", "echo -1", "echo '{\"speed\": 1}'", "true",
                              "head -c 2000000 /dev/zero", "kill -9 $$"}) {
      const Outcome outcome = call(base + QStringList{"--peer", wrong});
      QCOMPARE(outcome.code, 4);
      QVERIFY(outcome.documents[0]["error"]["where"] == std::string("--peer ") + wrong);
    }
    QCOMPARE(call({"bench", "--json", "--suite", "store", "--peer", "echo 1"}).code, 2);
    QCOMPARE(call(base + QStringList{"--prompt-tokens", "2000000"}).code, 2);
  }
  // A method's run stands between two plain ones; what is printed follows from what was measured.
  void methodsAreTimedBesidePlainDecoding() {
    const QString prompts = folder_.filePath("sets.json");
    std::ofstream(prompts.toStdString())
        << R"({"note":"of the letters that there are","one":["ab","ba"],"two":["abab"]})";
    const QStringList base = {"bench",     "methods", "--json",   "--model", table_,
                              "--prompts", prompts,   "--tokens", "24"};
    const Outcome outcome = call(base + QStringList{"--repetitions", "3", "--set", "min_p=0"});
    QVERIFY2(outcome.code == 0, qPrintable(outcome.errors));
    const json& document = outcome.documents[0];
    QVERIFY(document["suite"] == "methods" && document["tokens"] == 24);
    QCOMPARE(document["sets"].size(), std::size_t{2});
    QVERIFY(document["sets"][0]["name"] == "one" && document["sets"][1]["name"] == "two");
    QCOMPARE(document["sets"][0]["prompts"].size(), std::size_t{2});
    QVERIFY(document["mean"]["noise"]["runs"] == 9);
    QVERIFY(document["sets"][0]["mean"]["noise"]["runs"] == 6);
    for (const char* method : {"token-recycling", "lookup"}) {
      std::vector<double> ratios;
      for (const json& set : document["sets"])
        for (const json& prompt : set["prompts"]) {
          QVERIFY(prompt["plain"]["tokens_per_second"]["runs"] == 4);
          QVERIFY(prompt["plain"]["noise"]["runs"] == 3);
          const json& figures = prompt["methods"][method];
          QVERIFY(figures["ratio"]["runs"] == 3 && figures["ratio"]["minimum"].get<double>() > 0);
          QVERIFY(figures["block_efficiency"]["median"].get<double>() >= 1);
          QVERIFY(figures["same_ids"] == true);
          ratios.push_back(figures["ratio"]["median"]);
        }
      QCOMPARE(ratios.size(), std::size_t{3});
      const double mean = document["mean"]["methods"][method]["ratio"];
      QVERIFY(std::abs(mean - (ratios[0] + ratios[1] + ratios[2]) / 3) < 1e-9 * mean);
      QVERIFY(document["mean"]["methods"][method]["same_ids"] == true);
    }
    // One repetition: beside the mean of the two plain runs. Samples of a drafter lead to other texts, and a
    // parameter reaches the method that has it.
    const QString endless = "table:" + folder_.filePath("endless.json");
    std::ofstream(folder_.filePath("endless.json").toStdString())
        << R"({"vocab":["a","b"],"order":1,"default":[0.5,0.5],"rows":{"0":[0.3,0.7]}})";
    const Outcome sampled = call({"bench",
                                  "methods",
                                  "--json",
                                  "--model",
                                  endless,
                                  "--model",
                                  "drafter=" + endless,
                                  "--prompt",
                                  "ab",
                                  "--tokens",
                                  "24",
                                  "--repetitions",
                                  "1",
                                  "--methods",
                                  "chain,lookup",
                                  "--set",
                                  "temperature=1",
                                  "--set",
                                  "gamma=3",
                                  "--set",
                                  "adaptive=false"});
    QVERIFY2(sampled.code == 0, qPrintable(sampled.errors));
    const json& one = sampled.documents[0];
    const json& prompt = one["sets"][0]["prompts"][0];
    const double ratio = prompt["methods"]["chain"]["ratio"]["median"],
                 rate = prompt["methods"]["chain"]["tokens_per_second"]["median"],
                 plain = prompt["plain"]["tokens_per_second"]["median"];
    QVERIFY(std::abs(ratio - rate / plain) < 1e-9 * ratio);
    QVERIFY(prompt["plain"]["noise"]["runs"] == 1);
    QVERIFY(prompt["methods"]["chain"]["same_ids"] == false);
    QVERIFY(prompt["methods"]["lookup"]["same_ids"] == true);
    // The drafter is the target: each round gives its three tokens and one more.
    QVERIFY(prompt["methods"]["chain"]["block_efficiency"]["median"] == 4.0);
    // For people: every method once a prompt and once in the mean of each set and of all.
    QProcess process;
    process.start(QStringLiteral(DECOSCOPE_CLI),
                  {"bench", "methods", "--model", table_, "--prompts", prompts, "--repetitions", "1"});
    QVERIFY(process.waitForFinished(120'000));
    QCOMPARE(process.readAllStandardOutput().count("lookup"), 6);
    for (const char* wrong : {"[]", "{}", "3", "[\"a\",3]", "[\"\"]", "{\"x\":[]}", "{\"x\":3}", "[\"a\""}) {
      std::ofstream(prompts.toStdString()) << wrong;
      QCOMPARE(call(base).code, 3);
    }
  }
  void emptyIdsAreNoIds() {
    QVERIFY(call({"detokenize", "--model", table_, "--ids", "", "--json"}).documents[0]["text"] == "");
    QCOMPARE(call({"run", "--model", table_, "--prompt-ids", "", "--json"}).code, 3);
    QCOMPARE(call({"logits", "--model", table_, "--ids", "", "--out", "x", "--json"}).code, 3);
  }
  // What stands behind the prompt begins with the space that SentencePiece keeps in its first piece.
  void textContinuesThePrompt() {
    const QString model = DECOSCOPE_FIXTURES "/models/stories260K-hf";
    if (!QFileInfo::exists(model)) QSKIP("the reference data is not there");
    const Outcome run =
        call({"run", "--json", "--model", model, "--prompt", "Once upon a", "--max-new-tokens", "6"});
    if (run.code == 3 && run.documents[0]["error"]["code"] == "unsupported")
      QSKIP("this build cannot run it");
    QVERIFY2(run.code == 0, qPrintable(run.errors));
    QVERIFY(run.documents[0]["text"] == " time, there was a little");
    QString ids;
    for (const json& id : run.documents[0]["ids"])
      ids += (ids.isEmpty() ? "" : ",") + QString::number(id.get<int>());
    QVERIFY(call({"detokenize", "--json", "--model", model, "--ids", ids}).documents[0]["text"] ==
            "time, there was a little");
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
    const auto row = [&](const char* name, const QStringList& more, int code) {
      QTest::newRow(name) << run + QStringList{"--prompt", "a"} + more << code;
    };
    row("negative seed", {"--seed", "-1"}, 2);
    row("negative length", {"--max-new-tokens", "-1"}, 2);
    row("no repetitions", {"--repeat", "0"}, 2);
    row("half a step", {"--steps", "1.5"}, 2);
    row("no entries", {"--top-k-recorded", "0"}, 2);
    row("unknown level", {"--record", "bits"}, 2);
    row("unknown precision", {"--dtype", "f99"}, 2);
    row("unknown device", {"--device", "abacus"}, 2);
    row("negative threads", {"--threads", "-1"}, 2);
    row("empty stop string", {"--stop", ""}, 2);
    row("two prompts", {"--prompt-ids", "1"}, 2);
    row("a role twice", {"--model", "TABLE"}, 2);
    row("no value", {"--set", "temperature"}, 2);
    row("a method for other models", {"--method", "llada"}, 3);
    row("no directory", {"--session", "/nowhere/a.decoscope"}, 3);
    const QStringList model = {"--model", "TABLE", "--json"};
    QTest::newRow("no prompt") << run << 2;
    QTest::newRow("no model") << QStringList{"run", "--prompt", "a", "--json"} << 2;
    QTest::newRow("no prompt file") << run + QStringList{"--prompt-file", "/nowhere"} << 3;
    QTest::newRow("no chat file") << run + QStringList{"--chat", "/nowhere"} << 3;
    QTest::newRow("ids that are none") << run + QStringList{"--prompt-ids", "1,,2"} << 2;
    QTest::newRow("ids outside") << run + QStringList{"--prompt-ids", "1,4"} << 3;
    QTest::newRow("no text") << QStringList{"tokenize"} + model << 2;
    QTest::newRow("no file") << QStringList{"tokenize", "--file", "/nowhere"} + model << 3;
    QTest::newRow("no such id") << QStringList{"detokenize", "--ids", "4"} + model << 3;
    QTest::newRow("a word for an id") << QStringList{"detokenize", "--ids", "x"} + model << 2;
    QTest::newRow("no hidden states")
        << QStringList{"logits", "--ids", "1", "--hidden-states", "--out", "x"} + model << 3;
    QTest::newRow("no full visibility")
        << QStringList{"logits", "--ids", "1", "--visibility", "full", "--out", "x"} + model << 3;
    QTest::newRow("unknown visibility")
        << QStringList{"logits", "--ids", "1", "--visibility", "half", "--out", "x"} + model << 2;
    QTest::newRow("no place for logits")
        << QStringList{"logits", "--ids", "1", "--out", "/nowhere/x"} + model << 4;
    QTest::newRow("no method of that name") << QStringList{"methods", "show", "magic", "--json"} << 2;
    QTest::newRow("no model of that name") << QStringList{"models", "show", "/nowhere", "--json"} << 3;
    QTest::newRow("no model to verify") << QStringList{"models", "verify", "/nowhere", "--json"} << 3;
    const QStringList methods = {"bench", "methods", "--json", "--prompt", "ab", "--model", "TABLE"};
    QTest::newRow("no method to compare") << methods + QStringList{"--methods", "magic"} << 2;
    QTest::newRow("a method twice") << methods + QStringList{"--methods", "lookup,lookup"} << 2;
    QTest::newRow("a parameter of none") << methods + QStringList{"--set", "exit_layer=3"} << 2;
    QTest::newRow("a parameter out of range") << methods + QStringList{"--set", "temperature=-1"} << 2;
    QTest::newRow("two sources of prompts") << methods + QStringList{"--prompts", "/nowhere"} << 2;
    QTest::newRow("methods without a model") << QStringList{"bench", "methods", "--json"} << 2;
    QTest::newRow("no drafter to compare") << methods + QStringList{"--methods", "chain"} << 3;
    QTest::newRow("methods of another suite")
        << QStringList{"bench", "store", "--json", "--methods", "lookup"} << 2;
    QTest::newRow("no suite") << QStringList{"bench", "--suite", "sprint", "--json"} << 2;
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
    QVERIFY2(error["message"].get<std::string>().size() < 200, error["message"].get<std::string>().c_str());
    // One line for people, with the same words.
    QCOMPARE(outcome.errors.count('\n'), 1);
    QVERIFY(outcome.errors.contains(QString::fromStdString(error["message"].get<std::string>())));
  }
  void mistakesInSessionsHaveTheirExitCodes_data() {
    QTest::addColumn<QStringList>("arguments");
    QTest::addColumn<int>("code");
    const auto row = [](const QStringList& arguments, int code) {
      QTest::newRow(qPrintable(arguments.join(' '))) << arguments << code;
    };
    row({"fork", "SESSION", "--run", "9", "--step", "0"}, 3);
    row({"fork", "SESSION", "--run", "1", "--step", "99"}, 2);
    row({"fork", "SESSION", "--run", "1", "--step", "-1"}, 2);
    row({"fork", "SESSION", "--run", "1", "--step", "0", "--force", "99"}, 2);
    row({"fork", "SESSION", "--run", "1", "--step", "0", "--set", "nope=1"}, 2);
    row({"fork", "SESSION", "--run", "1", "--step", "0", "--method", "nope"}, 2);
    row({"verify", "SESSION", "--run", "9"}, 3);
    row({"verify", "TEXT"}, 3);
    row({"inspect", "SESSION", "--run", "1", "--step", "99"}, 3);
    row({"query", "SESSION", "SELECT nope"}, 2);
    row({"query", "SESSION", "SELECT 1; SELECT 2"}, 2);
    row({"query", "SESSION", ""}, 2);
    row({"export", "SESSION", "--format", "xml", "--out", "x"}, 2);
    row({"export", "SESSION", "--format", "csv", "--out", "/nowhere/x"}, 4);
    row({"render", "SESSION", "--view", "lattice", "--out", "x.svg"}, 3);
    row({"render", "SESSION", "--view", "nope", "--out", "x.svg"}, 2);
    row({"render", "SESSION", "--view", "tree", "--out", "x.bmp"}, 2);
    row({"render", "SESSION", "--view", "tree", "--step", "99", "--out", "x.svg"}, 3);
    row({"render", "SESSION", "--view", "tree", "--theme", "blue", "--out", "x.svg"}, 2);
    row({"render", "SESSION", "--view", "tree", "--width", "0", "--out", "x.svg"}, 2);
    row({"metrics", "SESSION", "--run", "9"}, 3);
    row({"metrics", "SESSION", "--run", "1", "--baseline", "9"}, 3);
  }
  void mistakesInSessionsHaveTheirExitCodes() {
    QFETCH(QStringList, arguments);
    QFETCH(int, code);
    const QString session = folder_.filePath("mistakes.decoscope"), text = folder_.filePath("text");
    if (!QFileInfo::exists(session)) {
      QCOMPARE(call({"run", "--json", "--model", table_, "--prompt", "a", "--max-new-tokens", "4", "--no-eos",
                     "--session", session})
                   .code,
               0);
      std::ofstream(text.toStdString()) << "text";
    }
    for (QString& argument : arguments) {
      if (argument == "SESSION") argument = session;
      if (argument == "TEXT") argument = text;
    }
    const Outcome outcome = call(arguments + QStringList{"--json"});
    QCOMPARE(outcome.code, code);
    QCOMPARE(outcome.documents.size(), std::size_t{1});
    QVERIFY(!outcome.documents[0]["error"]["message"].get<std::string>().empty());
  }
  void interruptKeepsWhatWasDone() {
    QProcess process;
    const QString session = folder_.filePath("interrupted.decoscope");
    process.start(QStringLiteral(DECOSCOPE_CLI),
                  {"run", "--json", "--model", table_, "--prompt", "a", "--max-new-tokens", "1000000",
                   "--no-eos", "--session", session});
    QVERIFY(process.waitForStarted());
    QTRY_VERIFY_WITH_TIMEOUT(QFile::exists(session), 20'000);
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
