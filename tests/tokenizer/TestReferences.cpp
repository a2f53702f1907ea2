// Small tokenizers of every kind, against what the libraries that made them say:
// reference/make_references.py.
#include <QDir>
#include <QTemporaryDir>
#include <QTest>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/model/ModelLoader.h"
#include "core/tokenizer/Tokenizer.h"

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
    for (const json& one : reference["cases"]) compare(**tokenizer, one);
    QCOMPARE((*tokenizer)->eosText(), std::string("<|endoftext|>"));
    QCOMPARE((*tokenizer)->bosText(), std::string("<|endoftext|>"));
    QCOMPARE((*tokenizer)->stopTokens(), Ids{(*tokenizer)->idOf("<|endoftext|>").value()});
    QCOMPARE((*tokenizer)->chatTemplate(), std::string("D"));
    QCOMPARE((*tokenizer)->toolChatTemplate(), std::string("T"));
    std::ofstream(folder.filePath("chat_template.jinja").toStdString()) << "J";
    QCOMPARE((*loadTokenizer(folder.path().toStdString()))->chatTemplate(), std::string("J"));
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
