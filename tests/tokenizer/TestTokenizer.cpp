#include <QDir>
#include <QTemporaryDir>
#include <QTest>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "core/model/ModelLoader.h"
#include "core/tokenizer/Chat.h"
#include "core/tokenizer/Tokenizer.h"

using namespace decoscope;

namespace {

const std::string kFixtures = DECOSCOPE_FIXTURES;

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

bool hasFixtures() {
  return QDir(QString::fromStdString(kFixtures)).exists();
}

}  // namespace

class TestTokenizer : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void matchesReferenceIds_data() {
    QTest::addColumn<QString>("model");
    QTest::addColumn<QString>("cases");
    const QString root = QString::fromStdString(kFixtures) + "/tokenizers/";
    for (const char* name : {"gpt-2", "llama-bpe", "qwen2", "llama-spm"})
      QTest::newRow(name) << root + "gguf-vocab/ggml-vocab-" + name + ".gguf"
                          << root + "gguf-vocab/ggml-vocab-" + name + ".gguf";
    QTest::newRow("gpt2 vocab.json and merges.txt") << "" << root + "gguf-vocab/ggml-vocab-gpt-2.gguf";
    QTest::newRow("gpt2 tokenizer.json") << root + "gpt2" << root + "gguf-vocab/ggml-vocab-gpt-2.gguf";
    QTest::newRow("llama3 tokenizer.json")
        << root + "llama3" << root + "gguf-vocab/ggml-vocab-llama-bpe.gguf";
    QTest::newRow("qwen3 tokenizer.json") << root + "qwen3" << root + "gguf-vocab/ggml-vocab-qwen2.gguf";
  }
  void matchesReferenceIds() {
    if (!hasFixtures()) QSKIP("the reference data is not there");
    QFETCH(QString, model);
    QFETCH(QString, cases);
    QTemporaryDir copy;
    if (model.isEmpty()) {
      model = copy.path();
      for (const char* name : {"vocab.json", "merges.txt"})
        QFile::copy(QString::fromStdString(kFixtures) + "/tokenizers/gpt2/" + name, copy.filePath(name));
    }
    const auto tokenizer = loadModelTokenizer(model.toStdString());
    QVERIFY2(tokenizer.has_value(), tokenizer ? "" : tokenizer.error().text().c_str());
    const std::string texts = content(cases.toStdString() + ".inp"), separator = "\n__ggml_vocab_test__\n";
    std::istringstream expected(content(cases.toStdString() + ".out"));
    std::size_t at = 0;
    int compared = 0;
    for (std::string line; std::getline(expected, line); ++compared) {
      const auto end = texts.find(separator, at);
      const std::string text = texts.substr(at, end == std::string::npos ? std::string::npos : end - at);
      at = end == std::string::npos ? texts.size() : end + separator.size();
      std::vector<TokenId> ids;
      std::istringstream numbers(line);
      for (TokenId id; numbers >> id;) ids.push_back(id);
      const auto encoded = (*tokenizer)->encode(text);
      QVERIFY(encoded.has_value());
      QVERIFY2(*encoded == ids, text.c_str());
      QCOMPARE((*tokenizer)->decode(*encoded), text);
    }
    QVERIFY(compared > 20);
  }
  void storiesSpeak_data() {
    QTest::addColumn<QString>("model");
    for (const char* name :
         {"stories260K/stories260K-f32.gguf", "stories260K/stories260K-q4_0.gguf", "stories260K-hf"})
      QTest::newRow(name) << name;
  }
  void storiesSpeak() {
    if (!hasFixtures()) QSKIP("the reference data is not there");
    QFETCH(QString, model);
    const auto tokenizer = loadModelTokenizer(kFixtures + "/models/" + model.toStdString());
    QVERIFY2(tokenizer.has_value(), tokenizer ? "" : tokenizer.error().text().c_str());
    const auto golden =
        nlohmann::json::parse(content(kFixtures + "/models/stories260K-hf/golden-greedy.json"));
    auto ids = golden["greedy_ids"].get<std::vector<TokenId>>();
    QCOMPARE((*tokenizer)->bos(), std::optional<TokenId>(1));
    QCOMPARE((*tokenizer)->bosText(), std::string("<s>"));
    QCOMPARE((*tokenizer)->eosText(), std::string("</s>"));
    QCOMPARE(ids.front(), 1);
    ids.erase(ids.begin());
    // 200 tokens, the first of which is the beginning of the text.
    const std::string text = content(kFixtures + "/models/stories260K/golden-greedy-200.txt");
    const std::string decoded = (*tokenizer)->decode(ids);
    QVERIFY2(decoded.size() > 300 && (text.starts_with(decoded) || decoded.starts_with(text)),
             decoded.c_str());
    const auto back = (*tokenizer)->encode("Once upon a time", {.addSpecial = true});
    QVERIFY(back.has_value());
    QCOMPARE((*tokenizer)->decode(*back, true), std::string("Once upon a time"));
    QCOMPARE(back->front(), 1);
  }
  void anyBytesComeBack() {
    if (!hasFixtures()) QSKIP("the reference data is not there");
    const auto tokenizer = loadModelTokenizer(kFixtures + "/tokenizers/gpt2");
    QVERIFY(tokenizer.has_value());
    std::mt19937 random(1);
    for (int round = 0; round < 200; ++round) {
      std::string bytes;
      for (int i = 0; i < 50; ++i) bytes += static_cast<char>(random() % 256);
      const auto ids = (*tokenizer)->encode(bytes);
      QVERIFY(ids.has_value());
      std::string back;
      for (const TokenId id : *ids) back += (*tokenizer)->bytesOf(id);
      QCOMPARE(back, bytes);
    }
  }
  void longWordsAreNotQuadratic() {
    if (!hasFixtures()) QSKIP("the reference data is not there");
    const auto tokenizer = loadModelTokenizer(kFixtures + "/tokenizers/gpt2");
    const auto ids = (*tokenizer)->encode(std::string(300'000, 'a'));
    QVERIFY(ids.has_value() && !ids->empty());
  }
  void streamsWholeCharacters() {
    Utf8Stream stream;
    QCOMPARE(stream.push("a\xE2"), std::string("a"));
    QCOMPARE(stream.push("\x82"), std::string());
    QCOMPARE(stream.push("\xAC!"), std::string("€!"));
    QCOMPARE(stream.push("\xFFx\xF0\x9F"), std::string("\uFFFDx"));
    QCOMPARE(stream.finish(), std::string("\uFFFD"));
  }
  void smolLmPromptsAndChats() {
    if (!hasFixtures()) QSKIP("the reference data is not there");
    const auto tokenizer = loadModelTokenizer("SmolLM2-135M-Instruct");
    if (!tokenizer) QSKIP("SmolLM2 is not in the model cache");
    const auto golden = nlohmann::json::parse(content(kFixtures + "/real/smollm2/golden.json"));
    int chats = 0;
    for (const auto& test : golden["cases"]) {
      std::string text = test["text"];
      const bool chat = test["kind"] == "chat";
      if (chat) {
        const auto messages = parseChat(test["messages"].dump(), "golden.json");
        QVERIFY(messages.has_value());
        const auto rendered = renderChat(**tokenizer, *messages);
        QVERIFY2(rendered.has_value(), rendered ? "" : rendered.error().text().c_str());
        QCOMPARE(*rendered, text);
        ++chats;
      }
      const auto ids = (*tokenizer)->encode(text, {.addSpecial = false, .parseSpecial = chat});
      QCOMPARE(*ids, test["prompt_ids"].get<std::vector<TokenId>>());
    }
    QCOMPARE(chats, 3);
  }
  void aSmallFileCannotAskForMuchMemory() {
    for (
        const char* text :
        {R"({"model":{"type":"BPE","vocab":{"a":900000},"merges":[]}})",
         R"({"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"added_tokens":[{"id":900000,"content":"<x>"}]})"}) {
      QTemporaryDir folder;
      std::ofstream(folder.filePath("tokenizer.json").toStdString()) << text;
      const auto result = loadTokenizer(folder.path().toStdString());
      QVERIFY(!result);
      QCOMPARE(result.error().code, ErrorCode::badInput);
    }
  }
  void splitPatternsAreFollowedExactly() {
    VocabularyData data;
    for (const char* piece : {"a", "b", "Ã", "©", "ab"}) data.pieces.push_back(piece);
    data.merges = {{"a", "b"}};
    // A pattern that matches nothing at most places must not step into the middle of a character.
    data.splitPatterns = {"b*"};
    data.source = "test";
    const auto tokenizer = makeBytePairTokenizer(data);
    QVERIFY(tokenizer.has_value());
    const auto ids = (*tokenizer)->encode("éaé", {});
    QVERIFY(ids.has_value());
    QCOMPARE(*ids, (std::vector<TokenId>{2, 3, 0, 2, 3}));
    // One that needs more work than is allowed is an error, not another tokenization.
    data.splitPatterns = {"(a+)+$"};
    const auto slow = makeBytePairTokenizer(data);
    const auto result = (*slow)->encode(std::string(5000, 'a') + "b", {});
    if (!result)
      QVERIFY(result.error().message.find("split pattern") != std::string::npos);
    else
      QCOMPARE(result->size(), std::size_t{5000});
  }
  void tokenTypesMustMatchTheTokens() {
    // A GGUF whose type array is shorter than its vocabulary.
    const auto put = [](std::string& out, std::uint64_t value, int bytes) {
      for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
    };
    const auto text = [&](std::string& out, const std::string& value) {
      put(out, value.size(), 8);
      out += value;
    };
    std::string f = "GGUF";
    put(f, 3, 4);
    put(f, 0, 8);
    put(f, 3, 8);
    text(f, "tokenizer.ggml.model");
    put(f, 8, 4);
    text(f, "gpt2");
    text(f, "tokenizer.ggml.tokens");
    put(f, 9, 4);
    put(f, 8, 4);
    put(f, 2, 8);
    text(f, "a");
    text(f, "<|im_end|>");
    text(f, "tokenizer.ggml.token_type");
    put(f, 9, 4);
    put(f, 5, 4);
    put(f, 1, 8);
    put(f, 1, 4);
    QTemporaryDir folder;
    const std::string path = folder.filePath("t.gguf").toStdString();
    std::ofstream(path, std::ios::binary) << f;
    const auto tokenizer = loadModelTokenizer(path);
    QVERIFY(!tokenizer);
    QVERIFY2(tokenizer.error().message.find("token types") != std::string::npos,
             tokenizer.error().text().c_str());
  }
  void missingTokenizerIsNamed() {
    QTemporaryDir folder;
    const auto result = loadTokenizer(folder.path().toStdString());
    QVERIFY(!result);
    QVERIFY(result.error().where.find("tokenizer.json") != std::string::npos);
  }
};

QTEST_GUILESS_MAIN(TestTokenizer)
#include "TestTokenizer.moc"
