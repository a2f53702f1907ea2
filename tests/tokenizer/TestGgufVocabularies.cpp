// The vocabularies of the references, written as GGUF: the same texts must give the same ids.
#include <QTemporaryDir>
#include <QTest>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/model/GgufTokenizer.h"
#include "core/model/ModelLoader.h"
#include "core/tokenizer/Patterns.h"
#include "core/tokenizer/Regex.h"
#include "core/tokenizer/Tokenizer.h"
#include "tests/tokenizer/GgufWriter.h"

using namespace decoscope;
using nlohmann::json;
using test::GgufWriter;

namespace {

using Ids = std::vector<TokenId>;

json readReference(const std::string& name) {
  std::ifstream file(DECOSCOPE_SOURCE_DIR "/tests/tokenizer/reference/" + name + ".json");
  return json::parse(file);
}

// Pieces by id, and their types.
struct Pieces {
  std::vector<std::string> texts;
  std::vector<std::int32_t> types;
};
Pieces piecesOf(const json& tokenizer) {
  Pieces pieces;
  const auto put = [&](const std::string& text, std::size_t id, std::int32_t type) {
    if (pieces.texts.size() <= id) {
      pieces.texts.resize(id + 1);
      pieces.types.resize(id + 1, 1);
    }
    pieces.texts[id] = text;
    pieces.types[id] = type;
  };
  for (const auto& [text, id] : tokenizer["model"]["vocab"].items()) put(text, id.get<std::size_t>(), 1);
  for (const json& added : tokenizer["added_tokens"])
    put(added["content"].get<std::string>(), added["id"].get<std::size_t>(),
        added["special"].get<bool>() ? 3 : 4);
  return pieces;
}

GgufWriter vocabulary(const std::string& model, const Pieces& pieces) {
  GgufWriter file;
  file.text("tokenizer.ggml.model", model);
  file.texts("tokenizer.ggml.tokens", pieces.texts);
  file.integers("tokenizer.ggml.token_type", pieces.types);
  return file;
}

Result<std::shared_ptr<const Tokenizer>> load(const GgufWriter& file) {
  QTemporaryDir folder;
  const std::string path = folder.filePath("vocabulary.gguf").toStdString();
  file.save(path);
  return loadModelTokenizer(path);
}

std::string errorOf(const GgufWriter& file) {
  const auto tokenizer = load(file);
  return tokenizer ? "" : tokenizer.error().text();
}

}  // namespace

class TestGgufVocabularies : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void bytePairs_data() {
    QTest::addColumn<QString>("reference");
    QTest::addColumn<QString>("pre");
    for (const auto& [reference, pre] :
         std::initializer_list<std::pair<const char*, const char*>>{{"gpt2", "gpt-2"},
                                                                    {"gpt2", "olmo"},
                                                                    {"llama3", "llama-bpe"},
                                                                    {"o200k", "gpt-4o"},
                                                                    {"tekken", "tekken"},
                                                                    {"falcon", "falcon"},
                                                                    {"starcoder2", "starcoder"},
                                                                    {"starcoder2", "smollm"},
                                                                    {"deepseek-v3", "deepseek-v3"},
                                                                    {"bloom", "poro-chat"}})
      QTest::addRow("%s as %s", reference, pre) << reference << pre;
  }
  void bytePairs() {
    QFETCH(QString, reference);
    QFETCH(QString, pre);
    const json expected = readReference(reference.toStdString());
    GgufWriter file = vocabulary("gpt2", piecesOf(expected["tokenizer"]));
    std::vector<std::string> merges;
    for (const json& merge : expected["tokenizer"]["model"]["merges"])
      merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
    file.texts("tokenizer.ggml.merges", merges);
    file.text("tokenizer.ggml.pre", pre.toStdString());
    const auto tokenizer = load(file);
    QVERIFY2(tokenizer.has_value(), tokenizer ? "" : tokenizer.error().text().c_str());
    QVERIFY((*tokenizer)->description().starts_with(ggufTokenizerKind("gpt2", pre.toStdString()) + ", "));
    for (const json& one : expected["cases"]) {
      const auto text = one[0].get<std::string>();
      const auto ids = (*tokenizer)->encode(text);
      QVERIFY(ids.has_value());
      QVERIFY2(*ids == one[1].get<Ids>(), (one[0].dump(-1, ' ', true) + " " + json(*ids).dump()).c_str());
      QCOMPARE((*tokenizer)->decode(*ids), text);
    }
  }
  void wordPieces_data() {
    QTest::addColumn<QString>("reference");
    QTest::addColumn<bool>("lowercase");
    QTest::newRow("uncased") << "bert-uncased" << true;
    QTest::newRow("cased") << "bert-cased" << false;
  }
  void wordPieces() {
    QFETCH(QString, reference);
    QFETCH(bool, lowercase);
    const json expected = readReference(reference.toStdString());
    Pieces pieces = piecesOf(expected["tokenizer"]);
    for (std::size_t id = 0; id < pieces.texts.size(); ++id) {
      std::string& text = pieces.texts[id];
      if (pieces.types[id] == 3) continue;
      text = text.starts_with("##") ? text.substr(2) : "\u2581" + text;
    }
    GgufWriter file = vocabulary("bert", pieces);
    file.flag("tokenizer.ggml.normalizer.lowercase", lowercase);
    const auto tokenizer = load(file);
    QVERIFY2(tokenizer.has_value(), tokenizer ? "" : tokenizer.error().text().c_str());
    QVERIFY((*tokenizer)->description().starts_with(ggufTokenizerKind("bert", "") + ", "));
    for (const json& one : expected["cases"]) {
      const auto plain = (*tokenizer)->encode(one[0].get<std::string>()),
                 parsed = (*tokenizer)
                              ->encode(one[0].get<std::string>(), {.addSpecial = true, .parseSpecial = true});
      QVERIFY(plain.has_value() && parsed.has_value());
      QVERIFY2(*plain == one[1].get<Ids>(), (one[0].dump(-1, ' ', true) + " " + json(*plain).dump()).c_str());
      QVERIFY2(*parsed == one[2].get<Ids>(),
               (one[0].dump(-1, ' ', true) + " " + json(*parsed).dump()).c_str());
    }
  }
  void everyKindCompiles() {
    std::istringstream names(preTokenizerKinds());
    int count = 0;
    for (std::string name; names >> name; ++count) {
      if (name.ends_with(',')) name.pop_back();
      const auto* kind = preTokenizerKind(name);
      QVERIFY2(kind, name.c_str());
      for (const std::string& pattern : kind->patterns) {
        const auto regex = Regex::compile(pattern, name);
        QVERIFY2(regex.has_value(), regex ? "" : regex.error().text().c_str());
      }
    }
    QVERIFY(count > 60);
  }
  // Of two places where user-defined tokens overlap, the longer one counts, wherever it stands.
  void longerTokensComeFirst() {
    Pieces pieces{{"a", "b", "c", "d", "ab", "bcd", "<s>"}, {1, 1, 1, 1, 4, 4, 3}};
    GgufWriter file = vocabulary("gpt2", pieces);
    file.text("tokenizer.ggml.pre", "gpt-2");
    const auto tokenizer = load(file);
    QVERIFY2(tokenizer.has_value(), tokenizer ? "" : tokenizer.error().text().c_str());
    QCOMPARE(*(*tokenizer)->encode("abcdab"), (Ids{0, 5, 4}));
    QCOMPARE(*(*tokenizer)->encode("a<s>", {.addSpecial = false, .parseSpecial = true}), (Ids{0, 6}));
    QCOMPARE(*(*tokenizer)->encode("a<s>"), (Ids{0}));
  }
  void defaultsAreThoseOfTheKind() {
    Pieces pieces{{"<unk>", "<s>", "</s>", "<0x41>", "\u2581", "a", "\u2581a"}, {2, 3, 3, 6, 1, 1, 1}};
    GgufWriter llama = vocabulary("llama", pieces);
    llama.reals("tokenizer.ggml.scores", {0, 0, 0, 0, -1, -2, -3});
    llama.id("tokenizer.ggml.padding_token_id", 0xFFFFFFFF);
    const auto tokenizer = load(llama);
    QVERIFY2(tokenizer.has_value(), tokenizer ? "" : tokenizer.error().text().c_str());
    QCOMPARE(*(*tokenizer)->encode("aA", {.addSpecial = true}), (Ids{1, 6, 3}));
    QCOMPARE((*tokenizer)->decode(Ids{6, 3, 6}), std::string("aA a"));
    QCOMPARE((*tokenizer)->stopTokens(), Ids{2});
    llama.flag("tokenizer.ggml.add_bos_token", false);
    llama.flag("tokenizer.ggml.add_eos_token", true);
    llama.flag("tokenizer.ggml.add_space_prefix", false);
    QCOMPARE(*(*load(llama))->encode("a", {.addSpecial = true}), (Ids{5, 2}));
  }
  void whatEndsATurn() {
    Pieces pieces{{"a", "<|im_end|>", "<|return|>", "<|call|>", "<|end|>"}, {1, 3, 3, 3, 3}};
    GgufWriter file = vocabulary("gpt2", pieces);
    file.text("tokenizer.ggml.pre", "gpt-4o");
    file.id("tokenizer.ggml.eos_token_id", 2);
    const auto tokenizer = load(file);
    QVERIFY(tokenizer.has_value());
    QCOMPARE((*tokenizer)->stopTokens(), (Ids{2, 1, 3}));
    QVERIFY(!(*tokenizer)->isSpecial(4));
    QVERIFY((*tokenizer)->isSpecial(1));
  }
  void damageIsNamed() {
    const Pieces pieces{{"a", "b"}, {1, 1}};
    GgufWriter unknown = vocabulary("gpt2", pieces);
    unknown.text("tokenizer.ggml.pre", "nobody-knows");
    QVERIFY(errorOf(unknown).find("nobody-knows") != std::string::npos);
    QVERIFY(errorOf(unknown).find("llama-bpe") != std::string::npos);
    QVERIFY(errorOf(vocabulary("rwkv", pieces)).find("rwkv") != std::string::npos);
    GgufWriter scores = vocabulary("llama", pieces);
    scores.reals("tokenizer.ggml.scores", {1});
    QVERIFY(errorOf(scores).find("scores") != std::string::npos);
    QVERIFY(errorOf(vocabulary("t5", pieces)).find("scores") != std::string::npos);
    GgufWriter charsmap = vocabulary("t5", {{"a", "</s>", "<unk>"}, {1, 3, 2}});
    charsmap.reals("tokenizer.ggml.scores", {-1, 0, 0});
    charsmap.integers("tokenizer.ggml.precompiled_charsmap", {8, 1, 1, 1, 0, 0});
    QVERIFY(errorOf(charsmap).find("character map") != std::string::npos);
    GgufWriter merge = vocabulary("gpt2", pieces);
    merge.texts("tokenizer.ggml.merges", {"ab"});
    QVERIFY(errorOf(merge).find("merge") != std::string::npos);
  }
};

QTEST_GUILESS_MAIN(TestGgufVocabularies)
#include "TestGgufVocabularies.moc"
