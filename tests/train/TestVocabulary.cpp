// The vocabulary trainer, against what Hugging Face's trainer makes of the same texts:
// reference/make_vocabulary.py.
#include <QTemporaryDir>
#include <QTest>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "core/tokenizer/Chat.h"
#include "core/train/VocabularyFiles.h"

using namespace decoscope;
using nlohmann::json;

namespace {

using Ids = std::vector<TokenId>;

const json& reference() {
  static const json document = [] {
    std::ifstream file(DECOSCOPE_SOURCE_DIR "/tests/train/reference/vocabulary.json");
    return json::parse(file);
  }();
  return document;
}

std::string writeCorpus(const QTemporaryDir& folder) {
  const std::string path = folder.filePath("corpus.jsonl").toStdString();
  std::ofstream file(path);
  for (const json& line : reference()["corpus"]) file << line.dump() << "\n";
  return path;
}

// A learner that has seen these texts.
BytePairTrainer trained(const std::vector<std::string>& texts) {
  auto trainer = BytePairTrainer::make();
  for (const std::string& text : texts)
    if (!trainer->add(text)) qFatal("a text was refused");
  return std::move(*trainer);
}

// "left right" in the spelling of pieces.
std::vector<std::string> mergesOf(const BytePairVocabulary& vocabulary) {
  std::vector<std::string> merges;
  for (const auto& [left, right] : vocabulary.merges)
    merges.push_back(vocabulary.pieces[static_cast<std::size_t>(left)] + " " +
                     vocabulary.pieces[static_cast<std::size_t>(right)]);
  return merges;
}

}  // namespace

class TestVocabulary : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void mergesByHand_data() {
    QTest::addColumn<QStringList>("texts");
    QTest::addColumn<QStringList>("merges");
    QTest::newRow("highest count") << QStringList{"ba ba", "ba"} << QStringList{"b a"};
    QTest::newRow("ties: smallest left") << QStringList{"xy ab xy ab"} << QStringList{"a b"};
    QTest::newRow("ties: smallest right") << QStringList{"ay ay ax ax"} << QStringList{"a x"};
    QTest::newRow("counts are kept up to date")
        << QStringList{"abc abc abc", "ab", "ab"} << QStringList{"a b", "ab c"};
    QTest::newRow("runs merge from the left") << QStringList{"aaa aaa"} << QStringList{"a a", "aa a"};
    // (b, c) sinks from three to one when "ab" takes its b.
    QTest::newRow("a waiting pair sinks")
        << QStringList{"abc abc ab bc de de"} << QStringList{"a b", "d e", "ab c"};
    QTest::newRow("digits stand alone") << QStringList{"12 12 12 ab ab"} << QStringList{"a b"};
    QTest::newRow("words stand alone") << QStringList{"a-a-a-a ab ab"} << QStringList{"a b"};
  }
  void mergesByHand() {
    QFETCH(QStringList, texts);
    QFETCH(QStringList, merges);
    std::vector<std::string> given;
    // Words apart, so that no pair holds a space.
    for (const QString& text : texts)
      for (const QString& word : text.split(' ')) given.push_back(word.toStdString());
    VocabularyOptions options;
    options.size = 256 + static_cast<int>(merges.size());
    const auto vocabulary = trained(given).learn(options, {});
    QVERIFY2(vocabulary.has_value(), vocabulary ? "" : vocabulary.error().text().c_str());
    std::vector<std::string> expected;
    for (const QString& merge : merges) expected.push_back(merge.toStdString());
    QCOMPARE(mergesOf(*vocabulary), expected);
  }
  void theOrderOfTextsDoesNotMatter() {
    std::vector<std::string> texts;
    for (const json& line : reference()["corpus"]) texts.push_back(line["assistant"].get<std::string>());
    VocabularyOptions options;
    options.size = 400;
    const auto first = trained(texts).learn(options, {});
    std::shuffle(texts.begin(), texts.end(), std::mt19937(3));
    const auto second = trained(texts).learn(options, {});
    QVERIFY(first && second);
    QCOMPARE(second->merges, first->merges);
    QCOMPARE(second->tokens, first->tokens);
  }
  void mergesAreThoseOfTheLibrary() {
    QTemporaryDir folder;
    const auto vocabulary = trainVocabulary(writeCorpus(folder), reference()["size"].get<int>(), 512,
                                            folder.filePath("out").toStdString(), {});
    QVERIFY2(vocabulary.has_value(), vocabulary ? "" : vocabulary.error().text().c_str());
    QCOMPARE(mergesOf(*vocabulary), reference()["merges"].get<std::vector<std::string>>());
    QCOMPARE(vocabulary->pieces.size(), reference()["size"].get<std::size_t>());
    QCOMPARE(vocabulary->texts, std::int64_t{122});
    // The count of tokens is that of encoding.
    const auto tokenizer = loadTokenizer(folder.filePath("out").toStdString());
    QVERIFY2(tokenizer.has_value(), tokenizer ? "" : tokenizer.error().text().c_str());
    std::int64_t tokens = 0;
    for (const json& line : reference()["corpus"])
      for (const char* side : {"user", "assistant"})
        tokens += static_cast<std::int64_t>((*tokenizer)->encode(line[side].get<std::string>())->size());
    QCOMPARE(vocabulary->tokens, tokens);
  }
  void idsAreThoseOfTheLibrary() {
    QTemporaryDir folder;
    const std::string out = folder.filePath("out").toStdString();
    QVERIFY(trainVocabulary(writeCorpus(folder), reference()["size"].get<int>(), 512, out, {}));
    const auto tokenizer = loadTokenizer(out);
    QVERIFY2(tokenizer.has_value(), tokenizer ? "" : tokenizer.error().text().c_str());
    QVERIFY(reference()["cases"].size() > 60);
    for (const json& one : reference()["cases"]) {
      const auto text = one[0].get<std::string>();
      const auto ids = (*tokenizer)->encode(text, {.addSpecial = true, .parseSpecial = true});
      QVERIFY(ids.has_value());
      QVERIFY2(*ids == one[1].get<Ids>(), one.dump(-1, ' ', true).c_str());
      QCOMPARE((*tokenizer)->decode(*ids), one[2].get<std::string>());
    }
  }
  // Any well-formed text, special tokens spelt out in it included.
  void everyTextComesBack() {
    QTemporaryDir folder;
    const std::string out = folder.filePath("out").toStdString();
    QVERIFY(trainVocabulary(writeCorpus(folder), 300, 0, out, {}));
    const auto tokenizer = loadTokenizer(out);
    QVERIFY(tokenizer.has_value());
    std::mt19937 random(11);
    for (int round = 0; round < 2000; ++round) {
      QString text;
      const int length = static_cast<int>(random() % 40);
      for (int i = 0; i < length; ++i) {
        const char32_t limits[] = {0x80, 0x80, 0x250, 0x3100, 0x10000, 0x110000};
        char32_t c = random() % limits[random() % 6];
        if (c >= 0xD800 && c < 0xE000) c = U'<';
        text += QString::fromUcs4(&c, 1);
        if (random() % 16 == 0) text += "<|wren|>";
      }
      const std::string bytes = text.toStdString();
      for (const bool special : {false, true}) {
        const auto ids = (*tokenizer)->encode(bytes, {.parseSpecial = special});
        QVERIFY(ids.has_value());
        QCOMPARE((*tokenizer)->decode(*ids), bytes);
      }
    }
  }
  void specialTokensAndTemplate() {
    QTemporaryDir folder;
    const std::string out = folder.filePath("deep/out").toStdString();
    QVERIFY(trainVocabulary(writeCorpus(folder), 300, 512, out, {}));
    const auto read = loadTokenizer(out);
    QVERIFY(read.has_value());
    const Tokenizer& tokenizer = **read;
    QCOMPARE(tokenizer.size(), 300);
    QCOMPARE(tokenizer.idOf("<|end|>"), std::optional(kEndToken));
    QCOMPARE(tokenizer.idOf("<|user|>"), std::optional(kUserToken));
    QCOMPARE(tokenizer.idOf("<|wren|>"), std::optional(kWrenToken));
    QCOMPARE(tokenizer.idOf("<|mask|>"), std::optional(kMaskToken));
    for (TokenId id = 0; id < 300; ++id) QCOMPARE(tokenizer.isSpecial(id), id < 4);
    QCOMPARE(tokenizer.eos(), std::optional(kEndToken));
    QCOMPARE(tokenizer.stopTokens(), Ids{kEndToken});
    QVERIFY(!tokenizer.bos());
    const auto chat = parseChat(
        R"([{"role":"user","content":"Hi"},{"role":"assistant","content":"Yes?"},{"role":"user","content":" 7 "}])",
        "test");
    QVERIFY(chat.has_value());
    QCOMPARE(*renderChat(tokenizer, *chat),
             std::string("<|user|>Hi<|end|><|wren|>Yes?<|end|><|user|> 7 <|end|><|wren|>"));
    ChatOptions closed;
    closed.addGenerationPrompt = false;
    QCOMPARE(*renderChat(tokenizer, *chat, closed),
             std::string("<|user|>Hi<|end|><|wren|>Yes?<|end|><|user|> 7 <|end|>"));
    const auto system = parseChat(R"([{"role":"system","content":"Be brief"}])", "test");
    const auto refused = renderChat(tokenizer, *system);
    QVERIFY(!refused);
    QCOMPARE(refused.error().message, std::string("Wren knows the roles user and assistant only"));
  }
  void whatIsRefused_data() {
    QTest::addColumn<QByteArray>("corpus");
    QTest::addColumn<int>("size");
    QTest::addColumn<QString>("message");
    const QByteArray good = R"({"user":"ab ab","assistant":"ab"})";
    QTest::newRow("not JSON") << good + "\nab" << 261 << "line 2";
    QTest::newRow("no assistant") << QByteArray(R"({"user":"ab"})") << 261 << "no text 'assistant'";
    QTest::newRow("deep") << QByteArray("{\"user\":") + QByteArray(40, '[') << 261 << "nested too deeply";
    QTest::newRow("too small") << good << 259 << "From 260";
    QTest::newRow("too few pairs") << good << 300 << "pairs for 261 entries only, not 300";
    QTest::newRow("huge") << good << 1 << "From 260 to 1048576";
    QTest::newRow("empty") << QByteArray() << 261 << "pairs for 260 entries only";
    QTest::newRow("ill-formed") << QByteArray("{\"user\":\"\xFF\",\"assistant\":\"\"}") << 261
                                << "not a JSON object";
  }
  void whatIsRefused() {
    QFETCH(QByteArray, corpus);
    QFETCH(int, size);
    QFETCH(QString, message);
    QTemporaryDir folder;
    const std::string path = folder.filePath("corpus.jsonl").toStdString();
    std::ofstream(path) << corpus.toStdString();
    const auto result = trainVocabulary(path, size, 0, folder.filePath("out").toStdString(), {});
    QVERIFY(!result);
    QVERIFY2(QString::fromStdString(result.error().text()).contains(message), result.error().text().c_str());
    const auto missing = trainVocabulary(path + ".not", 300, 0, folder.path().toStdString(), {});
    QCOMPARE(missing.error().code, ErrorCode::notFound);
  }
  void aSpelledSpecialTokenIsNoMerge() {
    VocabularyOptions options;
    options.special = {"ab"};
    options.size = 258;
    const auto vocabulary = trained({"ab", "ab", "cd", "cd"}).learn(options, {});
    QVERIFY(vocabulary.has_value());
    QCOMPARE(mergesOf(*vocabulary), std::vector<std::string>{"c d"});
  }
  void stopEndsIt() {
    StopSource source;
    source.request_stop();
    VocabularyOptions options;
    options.size = 257;
    const auto stopped = trained({"ab", "ab"}).learn(options, source.get_token());
    QVERIFY(!stopped);
    QCOMPARE(stopped.error().code, ErrorCode::cancelled);
  }
};

QTEST_GUILESS_MAIN(TestVocabulary)
#include "TestVocabulary.moc"
