#include <QDir>
#include <QTemporaryDir>
#include <QTest>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/tokenizer/Chat.h"

using namespace decoscope;
using Json = nlohmann::ordered_json;

namespace {

const std::string kTemplates = DECOSCOPE_FIXTURES "/chat-templates";

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

}  // namespace

class TestChat : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void realTemplatesAreByteExact_data() {
    QTest::addColumn<QString>("name");
    const QDir folder(QString::fromStdString(kTemplates));
    for (const QString& name : folder.entryList({"*.jinja"}, QDir::Files))
      QTest::newRow(qPrintable(name)) << name.chopped(6);
    if (folder.entryList({"*.jinja"}, QDir::Files).isEmpty()) QTest::newRow("none") << QString();
  }
  void realTemplatesAreByteExact() {
    QFETCH(QString, name);
    if (name.isEmpty()) QSKIP("the reference data is not there");
    const std::string path = kTemplates + "/" + name.toStdString();
    const std::string chatTemplate = content(path + ".jinja");
    const Json document = Json::parse(content(path + ".json"));
    ChatOptions options;
    const auto date = parseChatDate(document["date_of_strftime_now"]);
    QVERIFY(date.has_value());
    options.date = *date;
    int compared = 0;
    for (const Json& test : document["cases"]) {
      options.bosToken = test["bos_token"];
      options.eosToken = test["eos_token"];
      Json input = test;
      for (const char* key : {"name", "expected", "error", "bos_token", "eos_token"}) input.erase(key);
      const auto chat = parseChat(input.dump(), "fixture");
      QVERIFY2(chat.has_value(), chat ? "" : chat.error().text().c_str());
      const auto result = renderChat(chatTemplate, *chat, options);
      if (test.contains("expected")) {
        QVERIFY2(result.has_value(), result ? "" : result.error().text().c_str());
        QCOMPARE(QString::fromStdString(*result), QString::fromStdString(test["expected"]));
      } else {
        QVERIFY(!result);
        QCOMPARE(result.error().message, test["error"].get<std::string>());
        QCOMPARE(result.error().code, ErrorCode::badInput);
      }
      ++compared;
    }
    QCOMPARE(compared, 8);
  }

  void chatsCarryWhatTemplatesSee() {
    const auto chat = parseChat(
        R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image"},{"type":"text","text":"b"}]},
            {"role":"assistant","content":null,"tool_calls":[{"id":"1"}]}],
            "tools":[{"name":"t"}],"enable_thinking":false,"chat_template_kwargs":{"effort":"low"},
            "add_generation_prompt":false})",
        "chat.json");
    QVERIFY2(chat.has_value(), chat ? "" : chat.error().text().c_str());
    QCOMPARE(chat->messages.size(), std::size_t{2});
    QCOMPARE(chat->messages[0].content, std::string("a\nb"));
    QCOMPARE(chat->messages[1].content, std::string());
    const std::string chatTemplate =
        "{{ messages[1].content is none }} {{ messages[1].tool_calls[0].id }} {{ tools[0].name }} {{ "
        "documents }} "
        "{{ enable_thinking }} {{ effort }} {{ add_generation_prompt }} [{{ bos_token }}] {{ eos_token is "
        "defined }}";
    const auto plain = renderChat(chatTemplate, *chat);
    QVERIFY2(plain.has_value(), plain ? "" : plain.error().text().c_str());
    QCOMPARE(*plain, std::string("True 1 t None False low False [] False"));
    const auto prompted = renderChat(chatTemplate, *chat, {.addGenerationPrompt = true, .bosToken = "<s>"});
    QCOMPARE(*prompted, std::string("True 1 t None False low True [<s>] False"));
  }

  // What programs write who fill every field: a null is none, as transformers passes it.
  void nullsAreNone() {
    const auto chat = parseChat(
        R"({"messages":[{"role":"user","content":"x","name":null},
                        {"role":null,"content":null,"tool_calls":[{"id":null}],"refusal":null}],
            "tools":null,"documents":null,"add_generation_prompt":null,"chat_template_kwargs":null,
            "enable_thinking":null})",
        "chat.json");
    QVERIFY2(chat.has_value(), chat ? "" : chat.error().text().c_str());
    QCOMPARE(chat->messages[1].role, std::string());
    QCOMPARE(chat->messages[1].content, std::string());
    QVERIFY(!chat->addGenerationPrompt);
    const auto text = renderChat(
        "{{ messages[0].name is none }} {{ messages[1].role }} {{ messages[1].content }} "
        "{{ messages[1].tool_calls[0].id is none }} {{ messages[1].refusal is defined }} {{ tools is none }} "
        "{{ documents is none }} {{ add_generation_prompt }} {{ chat_template_kwargs is defined }} "
        "{{ enable_thinking is none }} {{ messages[1]|tojson }}",
        *chat);
    QVERIFY2(text.has_value(), text ? "" : text.error().text().c_str());
    QCOMPARE(*text, std::string(
                        "True None None True True True True True False True "
                        R"({"role": null, "content": null, "tool_calls": [{"id": null}], "refusal": null})"));
    QVERIFY(!parseChat(R"({"messages":null})", "chat.json"));
    // A template that has no place for it fails with a line, as it does there.
    const auto fails = renderChat("{% for m in messages %}\n{{ m.content + '!' }}{% endfor %}", *chat);
    QVERIFY(!fails);
    QVERIFY2(fails.error().text().find("line 2") != std::string::npos, fails.error().text().c_str());
  }

  void tokenizersFillInTheirTokensAndTemplates() {
    QTemporaryDir folder;
    const auto write = [&](const char* name, const char* text) {
      std::ofstream(folder.filePath(name).toStdString()) << text;
    };
    // The vocabulary lacks the texts that the configuration names; templates see them all the same.
    write("tokenizer.json", R"({"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[]}})");
    write("tokenizer_config.json",
          R"({"bos_token":"<s>","eos_token":{"content":"</s>"},"pad_token":"<pad>","unk_token":null,
              "chat_template":[
                {"name":"default","template":"plain {{ bos_token }}{{ eos_token }}{{ pad_token }}{{ unk_token is defined }}"},
                {"name":"tool_use","template":"tools {{ tools[0].name }}{{ eos_token }}"}]})");
    write("generation_config.json", R"({"eos_token_id":[1]})");
    const auto tokenizer = loadTokenizer(folder.path().toStdString());
    QVERIFY2(tokenizer.has_value(), tokenizer ? "" : tokenizer.error().text().c_str());
    const auto plain = parseChat(R"([{"role":"user","content":"x"}])", "chat");
    QCOMPARE(renderChat(**tokenizer, *plain).value_or(""), std::string("plain <s></s><pad>False"));
    QCOMPARE(
        renderChat(**tokenizer, *plain, {.bosToken = "B", .namedTokens = {{"pad_token", "P"}}}).value_or(""),
        std::string("plain B</s>PFalse"));
    const auto tools =
        parseChat(R"({"messages":[{"role":"user","content":"x"}],"tools":[{"name":"t"}]})", "chat");
    QCOMPARE(renderChat(**tokenizer, *tools).value_or(""), std::string("tools t</s>"));
    write("tokenizer_config.json",
          R"({"chat_template":"one {{ tools[0].name }}{{ bos_token is defined }}"})");
    QCOMPARE(renderChat(**loadTokenizer(folder.path().toStdString()), *tools).value_or(""),
             std::string("one tFalse"));
  }

  void whatIsNotAChatIsRefused_data() {
    QTest::addColumn<QByteArray>("text");
    for (const char* text : {"", "{", "1", "[]", "{}", "{\"messages\":[]}", "[1]", "[[]]",
                             "{\"messages\":{}}", "{\"messages\":[{}],\"tools\":1}", "[{\"role\":\"\xFF\"}]"})
      QTest::newRow(text) << QByteArray(text);
  }
  void whatIsNotAChatIsRefused() {
    QFETCH(QByteArray, text);
    const auto chat = parseChat(text.toStdString(), "chat.json");
    QVERIFY(!chat);
    QCOMPARE(chat.error().code, ErrorCode::badInput);
    QVERIFY(chat.error().where.starts_with("chat.json"));
  }

  void datesAreRead_data() {
    QTest::addColumn<QString>("text");
    QTest::addColumn<QString>("shown");
    QTest::newRow("words") << "26 Jul 2024" << "2024-07-26 Friday 00:00:00";
    QTest::newRow("long month") << "1 february 2024" << "2024-02-01 Thursday 00:00:00";
    QTest::newRow("digits") << "2023-12-31" << "2023-12-31 Sunday 00:00:00";
    QTest::newRow("time") << "2023-12-31T23:59:58" << "2023-12-31 Sunday 23:59:58";
    for (const char* text :
         {"", "yesterday", "31 Feb 2024", "2024-13-01", "2024-01-01x", "26 Foo 2024", "2024-01-01 25:00:00"})
      QTest::newRow(text) << text << QString();
  }
  void datesAreRead() {
    QFETCH(QString, text);
    QFETCH(QString, shown);
    const auto date = parseChatDate(text.toStdString());
    QCOMPARE(date.has_value(), !shown.isEmpty());
    if (!date) return;
    const auto chat = parseChat(R"([{"role":"user","content":"x"}])", "chat");
    const auto result = renderChat("{{ strftime_now('%Y-%m-%d %A %H:%M:%S') }}", *chat, {.date = *date});
    QCOMPARE(QString::fromStdString(*result), shown);
  }
};

QTEST_GUILESS_MAIN(TestChat)
#include "TestChat.moc"
