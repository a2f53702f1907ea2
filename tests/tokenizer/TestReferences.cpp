// Small tokenizers of every kind, against what the libraries that made them say:
// reference/make_references.py.
#include <QDir>
#include <QElapsedTimer>
#include <QTemporaryDir>
#include <QTest>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "core/model/ModelLoader.h"
#include "core/tokenizer/Tokenizer.h"
#include "core/tokenizer/TokenizerKind.h"

using namespace decoscope;
using nlohmann::json;

namespace {

const std::string kReferences = DECOSCOPE_SOURCE_DIR "/tests/tokenizer/reference/";

json readJson(const std::string& path) {
  std::ifstream file(path);
  return json::parse(file);
}

using Ids = std::vector<TokenId>;

void compare(const Tokenizer& tokenizer, const json& one, bool decoding = true) {
  const auto text = one[0].get<std::string>();
  const auto plain = tokenizer.encode(text),
             parsed = tokenizer.encode(text, {.addSpecial = true, .parseSpecial = true});
  const QByteArray shown = QByteArray::fromStdString("text: " + one[0].dump(-1, ' ', true));
  QVERIFY2(plain.has_value(), plain ? "" : plain.error().text().c_str());
  QVERIFY2(parsed.has_value(), parsed ? "" : parsed.error().text().c_str());
  QVERIFY2(*plain == one[1].get<Ids>(), shown + " ids: " + json(*plain).dump().c_str());
  QVERIFY2(*parsed == one[2].get<Ids>(), shown + " ids with special tokens: " + json(*parsed).dump().c_str());
  if (decoding) QCOMPARE(tokenizer.decode(*parsed), one[3].get<std::string>());
}

// As a description begins.
std::string kindOf(const Tokenizer& tokenizer) {
  const std::string description = tokenizer.description();
  return description.substr(0, description.rfind(", "));
}

std::string kindOfText(const std::string& tokenizerJson) {
  const QTemporaryDir folder;
  std::ofstream(folder.filePath("tokenizer.json").toStdString()) << tokenizerJson;
  return tokenizerKind(folder.path().toStdString());
}

}  // namespace

class TestReferences : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void tokenizerJson_data() {
    QTest::addColumn<QString>("file");
    for (const QString& name : QDir(QString::fromStdString(kReferences)).entryList({"*.json"}))
      if (!name.startsWith("spm-")) QTest::newRow(qPrintable(name)) << name;
  }
  void tokenizerJson() {
    QFETCH(QString, file);
    const json reference = readJson(kReferences + file.toStdString());
    const auto tokenizer = readTokenizer(reference["tokenizer"].dump(), file.toStdString());
    QVERIFY2(tokenizer.has_value(), tokenizer ? "" : tokenizer.error().text().c_str());
    QVERIFY(reference["cases"].size() > 40);
    for (const json& one : reference["cases"]) compare(**tokenizer, one);
    // Known from the beginning of the file as the library writes it, and from all of it in another order.
    const std::string kind = kindOf(**tokenizer);
    std::ifstream stream(kReferences + file.toStdString());
    const std::string text = nlohmann::ordered_json::parse(stream)["tokenizer"].dump();
    const std::size_t vocabulary = text.find("\"vocab\":", text.find("\"model\":"));
    QVERIFY(vocabulary != std::string::npos);
    QCOMPARE(kindOfText(text), kind);
    QCOMPARE(kindOfText(text.substr(0, vocabulary)), kind);
    QCOMPARE(kindOfText(reference["tokenizer"].dump()), kind);
  }
  void kindsAreNotGuessed() {
    const auto text = [](const std::string& type, std::size_t pieces) {
      std::string vocabulary;
      for (std::size_t i = 0; i < pieces; ++i)
        vocabulary += (i ? ",\"" : "\"") + std::to_string(i) + "\":" + std::to_string(i);
      return R"({"normalizer":null,"model":{)" + type + R"("vocab":{)" + vocabulary +
             R"(}},"pre_tokenizer":{"type":"ByteLevel"}})";
    };
    QCOMPARE(kindOfText(text(R"("type":"BPE",)", 10)), std::string("BPE (byte-level)"));
    QCOMPARE(kindOfText(text("", 10)), std::string());
    QCOMPARE(kindOfText(text(R"("type":"BPE",)", 300'000)), std::string());  // too far behind
    QCOMPARE(kindOfText(std::string(100'000, '[')), std::string());
    QCOMPARE(kindOfText(""), std::string());
    QCOMPARE(tokenizerKind("/nowhere"), std::string());
  }
  void sentencePiece_data() {
    QTest::addColumn<QString>("model");
    QTest::addColumn<QString>("cases");
    for (const char* name : {"spm-bpe", "spm-unigram"}) {
      QTest::newRow(name) << name << QString(name) + ".json";
      QTest::addRow("%s.gguf", name) << QString(name) + ".gguf" << QString(name) + ".json";
    }
  }
  void sentencePiece() {
    QFETCH(QString, model);
    QFETCH(QString, cases);
    const auto tokenizer = loadModelTokenizer(kReferences + model.toStdString());
    QVERIFY2(tokenizer.has_value(), tokenizer ? "" : tokenizer.error().text().c_str());
    const json reference = readJson(kReferences + cases.toStdString());
    QVERIFY(reference["cases"].size() > 40);
    if (!model.endsWith(".gguf"))
      QCOMPARE(tokenizerKind(kReferences + model.toStdString()), kindOf(**tokenizer));
    const TokenId unknown = (*tokenizer)->idOf("<unk>").value();
    for (const json& one : reference["cases"]) {
      // The library's decoding knows no control tokens, and GGUF files do not say how to show unknown ones.
      compare(**tokenizer, one, false);
      const auto ids = one[1].get<Ids>();
      if (!model.endsWith(".gguf") || std::find(ids.begin(), ids.end(), unknown) == ids.end())
        QCOMPARE((*tokenizer)->decode(ids), one[3].get<std::string>());
    }
  }
  // The same vocabulary as GGUF writes it for BERT is not at hand; the one of a folder is the list of its
  // pieces.
  void wordListFolder() {
    const json reference = readJson(kReferences + "bert-uncased.json");
    std::vector<std::string> pieces(reference["tokenizer"]["model"]["vocab"].size());
    for (const auto& [piece, id] : reference["tokenizer"]["model"]["vocab"].items())
      pieces[id.get<std::size_t>()] = piece;
    QTemporaryDir folder;
    std::ofstream list(folder.filePath("vocab.txt").toStdString());
    for (const std::string& piece : pieces) list << piece << '\n';
    list.close();
    const auto tokenizer = loadTokenizer(folder.path().toStdString());
    QVERIFY2(tokenizer.has_value(), tokenizer ? "" : tokenizer.error().text().c_str());
    QCOMPARE(tokenizerKind(folder.path().toStdString()), kindOf(**tokenizer));
    for (const json& one : reference["cases"]) compare(**tokenizer, one);
  }
  void mergesFolder() {
    const json reference = readJson(kReferences + "gpt2.json");
    QTemporaryDir folder;
    std::ofstream(folder.filePath("vocab.json").toStdString())
        << reference["tokenizer"]["model"]["vocab"].dump();
    std::ofstream merges(folder.filePath("merges.txt").toStdString());
    merges << "#version: 0.2\n";
    for (const json& merge : reference["tokenizer"]["model"]["merges"])
      merges << merge[0].get<std::string>() << ' ' << merge[1].get<std::string>() << '\n';
    merges.close();
    std::ofstream(folder.filePath("tokenizer_config.json").toStdString())
        << R"({"tokenizer_class":"GPT2Tokenizer","bos_token":"<|endoftext|>","eos_token":{"content":"<|endoftext|>"},
               "chat_template":[{"name":"default","template":"D"},{"name":"tool_use","template":"T"}]})";
    const auto tokenizer = loadTokenizer(folder.path().toStdString());
    QVERIFY2(tokenizer.has_value(), tokenizer ? "" : tokenizer.error().text().c_str());
    QCOMPARE(tokenizerKind(folder.path().toStdString()), kindOf(**tokenizer));
    for (const json& one : reference["cases"]) compare(**tokenizer, one);
    QCOMPARE((*tokenizer)->eosText(), std::string("<|endoftext|>"));
    QCOMPARE((*tokenizer)->bosText(), std::string("<|endoftext|>"));
    QCOMPARE((*tokenizer)->stopTokens(), Ids{(*tokenizer)->idOf("<|endoftext|>").value()});
    QCOMPARE((*tokenizer)->chatTemplate(), std::string("D"));
    QCOMPARE((*tokenizer)->toolChatTemplate(), std::string("T"));
    std::ofstream(folder.filePath("chat_template.jinja").toStdString()) << "J";
    QCOMPARE((*loadTokenizer(folder.path().toStdString()))->chatTemplate(), std::string("J"));
  }
  // Every beginning of a file is an error, and so is every step of a kind that nobody knows.
  void damageIsAnError() {
    json tokenizer = readJson(kReferences + "llama2-first.json")["tokenizer"];
    const std::string whole = tokenizer.dump();
    for (std::size_t length = 0; length < whole.size(); length += 97)
      QVERIFY(!readTokenizer(std::string_view(whole).substr(0, length), "damaged"));
    QVERIFY(!readTokenizer(std::string(100'000, '['), "deep"));
    for (const char* step : {"normalizer", "pre_tokenizer", "post_processor", "decoder", "model"}) {
      json other = tokenizer;
      other[step] = {{"type", "Unheard"}};
      const auto result = readTokenizer(other.dump(), "other");
      QVERIFY(!result);
      QCOMPARE(result.error().code, ErrorCode::unsupported);
      QVERIFY2(result.error().message.find("Unheard") != std::string::npos, result.error().message.c_str());
    }
    json missing = tokenizer;
    missing["post_processor"]["special_tokens"]["<s>"]["ids"] = {100'000};
    QVERIFY(!readTokenizer(missing.dump(), "missing"));
    json deep = {{"type", "NFC"}};
    for (int i = 0; i < 20; ++i) deep = {{"type", "Sequence"}, {"normalizers", json::array({deep})}};
    tokenizer["normalizer"] = deep;
    QVERIFY(readTokenizer(tokenizer.dump(), "deep").has_value());
    for (int i = 0; i < 20; ++i) deep = {{"type", "Sequence"}, {"normalizers", json::array({deep})}};
    tokenizer["normalizer"] = deep;
    QVERIFY(!readTokenizer(tokenizer.dump(), "deeper"));
  }
  void damagedSentencePieceModelsAreErrors() {
    std::mt19937 random(1);
    for (const char* name : {"spm-bpe", "spm-unigram"}) {
      std::ifstream file(kReferences + name + "/tokenizer.model", std::ios::binary);
      std::ostringstream content;
      content << file.rdbuf();
      const std::string model = content.str();
      QVERIFY(model.size() > 1000);
      int refused = 0;
      for (int round = 0; round < 400; ++round) {
        std::string damaged = model;
        damaged[random() % damaged.size()] = static_cast<char>(random());
        if (round % 4 == 0) damaged.resize(random() % damaged.size());
        QTemporaryDir folder;
        std::ofstream(folder.filePath("tokenizer.model").toStdString(), std::ios::binary) << damaged;
        const auto result = loadTokenizer(folder.path().toStdString());
        if (result)
          (void)(*result)->encode("Hello  world\n");
        else
          ++refused;
      }
      QVERIFY(refused > 50);
    }
    QTemporaryDir folder;
    std::ofstream(folder.filePath("tokenizer.model").toStdString(), std::ios::binary)
        << "this is not a model";
    const auto result = loadTokenizer(folder.path().toStdString());
    QVERIFY(!result);
    QCOMPARE(result.error().code, ErrorCode::badInput);
  }
  // Ill-formed bytes come back where the vocabulary can spell them, and become U+FFFD where it cannot.
  void illFormedText() {
    const auto load = [](const char* name) {
      return *readTokenizer(readJson(kReferences + name + ".json")["tokenizer"].dump(), name);
    };
    const std::string bad = "a\xFF\xC3 b\xE2\x82";
    const auto bytes = load("gpt2");
    std::string back;
    const auto spelled = bytes->encode(bad);
    for (const TokenId id : *spelled) back += bytes->bytesOf(id);
    QCOMPARE(back, bad);
    for (const char* name : {"llama2-legacy", "bert-cased", "t5", "gpt2-prefix", "words"}) {
      const auto tokenizer = load(name);
      QCOMPARE(*tokenizer->encode(bad), *tokenizer->encode(validUtf8(bad)));
    }
  }
  // Words may be whole documents.
  void longTextsAreNotQuadratic_data() { tokenizerJson_data(); }
  void longTextsAreNotQuadratic() {
    QFETCH(QString, file);
    const auto tokenizer =
        readTokenizer(readJson(kReferences + file.toStdString())["tokenizer"].dump(), "long");
    for (const char* unit : {"a", " ", "\n", "é", "<", "1", "▁"}) {
      std::string text;
      while (text.size() < 100'000) text += unit;
      QElapsedTimer timer;
      timer.start();
      const auto ids = (*tokenizer)->encode(text);
      QVERIFY2(ids.has_value(), ids ? "" : ids.error().text().c_str());
      QVERIFY2(timer.elapsed() < 10'000, unit);
    }
  }
  // What a stream shows is what decode() shows, but for the space before the first word.
  void streamsAgreeWithDecoding_data() {
    QTest::addColumn<QString>("file");
    for (const char* name :
         {"gpt2", "llama3", "llama2-legacy", "llama2-always", "gemma", "bert-uncased", "t5"})
      QTest::newRow(name) << QString(name) + ".json";
  }
  void streamsAgreeWithDecoding() {
    QFETCH(QString, file);
    const json reference = readJson(kReferences + file.toStdString());
    const auto tokenizer = readTokenizer(reference["tokenizer"].dump(), file.toStdString());
    for (const json& one : reference["cases"]) {
      const auto ids = one[1].get<Ids>();
      std::string whole = (*tokenizer)->decode(ids);
      Utf8Stream stream;
      std::string shown;
      for (const TokenId id : ids) shown += stream.push((*tokenizer)->bytesOf(id));
      shown += stream.finish();
      QCOMPARE(shown, (*tokenizer)->decodeContinuation(ids));
      if (shown != whole) {
        // Metaspace drops every mark of the first piece, the others one space.
        const auto text = shown.find_first_not_of(' ');
        QCOMPARE(shown.substr(std::min(text, shown.size())),
                 whole.substr(std::min(whole.find_first_not_of(' '), whole.size())));
        QVERIFY(shown.starts_with(' '));
      }
    }
  }
};

QTEST_GUILESS_MAIN(TestReferences)
#include "TestReferences.moc"
