// Stated figures: their file, their table, what agrees; and what texts cost.
#include <QTemporaryDir>
#include <QTest>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/model/ModelLoader.h"
#include "core/train/Figures.h"
#include "core/train/TextCost.h"
#include "core/train/VocabularyFiles.h"

using namespace decoscope;
using nlohmann::json;

namespace {

const char* const kFigures = R"({"figures":[
 {"name":"bits","kind":"bits-per-byte","unit":"bit/byte","value":1.25,"tolerance":0.01,"texts":"a.jsonl","count":40},
 {"name":"ratio","kind":"kneser-ney-ratio","value":0.7,"tolerance":0.02,"texts":"a.jsonl","order":3,"corpus_texts":9},
 {"name":"accepted","kind":"acceptance-rate","value":null,"tolerance":0.03,"texts":"a.jsonl",
  "run":{"method":"chain","models":{"drafter":".","target":"wren"},"set":{"gamma":4,"adaptive":false,"mode":"x"},
         "max_new_tokens":64,"seed":7}},
 {"name":"speed","kind":"speed-ratio","value":1.5,"tolerance":null,"texts":"a.jsonl","run":{}},
 {"name":"others","kind":"generative-perplexity","texts":"a.jsonl","run":{"method":"llada"},"judge":"wren",
  "relative_to":{"models":{"target":"wren"},"dtype":"bf16"}},
 {"name":"size","kind":"bytes","unit":"bytes","value":4096,"tolerance":0},
 {"name":"digest","kind":"sha256","value":"abc"}]})";

FigureMeasurement measured(double value) {
  FigureMeasurement measurement;
  measurement.value = value;
  return measurement;
}

ModelFigure figureOf(std::optional<double> value, std::optional<double> tolerance) {
  ModelFigure figure;
  figure.name = "x";
  figure.value = value;
  figure.tolerance = tolerance;
  return figure;
}

}  // namespace

class TestFigures : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void fileIsRead() {
    const auto figures = parseFigures(kFigures, "f");
    QVERIFY2(figures.has_value(), figures ? "" : figures.error().text().c_str());
    QCOMPARE(figures->size(), std::size_t{7});
    const ModelFigure& bits = (*figures)[0];
    QCOMPARE(bits.kind, FigureKind::bitsPerByte);
    QCOMPARE(bits.unit, std::string("bit/byte"));
    QCOMPARE(bits.value, std::optional(1.25));
    QCOMPARE(bits.tolerance, std::optional(0.01));
    QCOMPARE(bits.texts, std::string("a.jsonl"));
    QCOMPARE(bits.count, std::int64_t{40});
    QCOMPARE((*figures)[1].order, 3);
    QCOMPARE((*figures)[1].corpusTexts, std::int64_t{9});
    const ModelFigure& accepted = (*figures)[2];
    QVERIFY(!accepted.stated());
    QCOMPARE(accepted.run.method, std::string("chain"));
    QCOMPARE(accepted.run.models.at("drafter"), std::string("."));
    QCOMPARE(accepted.run.set, (std::vector<std::pair<std::string, std::string>>{
                                   {"gamma", "4"}, {"adaptive", "false"}, {"mode", "x"}}));
    QCOMPARE(accepted.run.maxNewTokens, std::int64_t{64});
    QCOMPARE(accepted.run.seed, std::uint64_t{7});
    QVERIFY(!(*figures)[3].tolerance);
    QCOMPARE((*figures)[4].relativeTo->models.at("target"), std::string("wren"));
    QCOMPARE((*figures)[4].relativeTo->dtype, std::string("bf16"));
    QCOMPARE((*figures)[4].judge, std::string("wren"));
    QCOMPARE((*figures)[6].text, std::string("abc"));
  }
  void whatIsWrittenIsReadAgain() {
    const auto figures = parseFigures(kFigures, "f");
    QVERIFY(figures.has_value());
    const std::string written = figuresJson(*figures);
    const auto again = parseFigures(written, "g");
    QVERIFY2(again.has_value(), again ? "" : again.error().text().c_str());
    QCOMPARE(figuresJson(*again), written);
    QCOMPARE(figuresTable(*again), figuresTable(*figures));
    QVERIFY(written.find("\"adaptive\": false") != std::string::npos);
    QVERIFY(written.find("\"gamma\": 4") != std::string::npos);
    QVERIFY(written.find("\"value\": 4096") != std::string::npos);
  }
  void whatIsRefused_data() {
    QTest::addColumn<QByteArray>("entry");
    QTest::addColumn<QString>("message");
    QTest::newRow("kind") << QByteArray(R"({"name":"a","kind":"bit-per-byte","texts":"t"})")
                          << "kind 'bit-per-byte' is not supported (f, figure 0). Supported: bits-per-byte, ";
    QTest::newRow("no name") << QByteArray(R"({"kind":"bytes"})") << "no 'name'";
    QTest::newRow("value") << QByteArray(R"({"name":"a","kind":"bytes","value":"4"})")
                           << "'value' is not a number";
    QTest::newRow("tolerance") << QByteArray(R"({"name":"a","kind":"bytes","tolerance":-1})") << "at least 0";
    QTest::newRow("texts") << QByteArray(R"({"name":"a","kind":"bits-per-byte"})") << "no 'texts'";
    QTest::newRow("run") << QByteArray(R"({"name":"a","kind":"speed-ratio","texts":"t"})") << "no 'run'";
    QTest::newRow("judge") << QByteArray(
                                  R"({"name":"a","kind":"generative-perplexity","texts":"t","run":{}})")
                           << "no 'judge'";
    QTest::newRow("typo") << QByteArray(R"({"name":"a","kind":"bytes","tolerence":1})")
                          << "unknown member 'tolerence'";
    QTest::newRow("typo in a run") << QByteArray(
                                          R"({"name":"a","kind":"speed-ratio","texts":"t","run":{"sed":1}})")
                                   << "unknown member 'sed' (f, figure 0, member run)";
    QTest::newRow("order") << QByteArray(R"({"name":"a","kind":"kneser-ney-ratio","texts":"t","order":9})")
                           << "from 1 to 8";
    QTest::newRow("count") << QByteArray(R"({"name":"a","kind":"bits-per-byte","texts":"t","count":-1})")
                           << "'count' is not a whole number";
    QTest::newRow("no object") << QByteArray("[]") << "a figure is not an object";
    QTest::newRow("no JSON") << QByteArray("{") << "not an object with a list";
  }
  void whatIsRefused() {
    QFETCH(QByteArray, entry);
    QFETCH(QString, message);
    const auto figures = parseFigures("{\"figures\":[" + entry.toStdString() + "]}", "f");
    QVERIFY(!figures);
    QVERIFY2(QString::fromStdString(figures.error().text()).contains(message),
             figures.error().text().c_str());
  }
  void verdicts_data() {
    QTest::addColumn<double>("stated");
    QTest::addColumn<double>("tolerance");
    QTest::addColumn<double>("found");
    QTest::addColumn<QString>("verdict");
    QTest::newRow("inside") << 1.0 << 0.1 << 0.95 << "agrees";
    QTest::newRow("at the bound") << 1.0 << 0.1 << 1.1 << "agrees";
    QTest::newRow("above") << 1.0 << 0.1 << 1.1001 << "differs";
    QTest::newRow("below") << 1.0 << 0.1 << 0.8999 << "differs";
    QTest::newRow("exact") << 4096.0 << 0.0 << 4096.0 << "agrees";
    QTest::newRow("not exact") << 4096.0 << 0.0 << 4097.0 << "differs";
    QTest::newRow("not a number") << 1.0 << 0.1 << std::nan("") << "differs";
  }
  void verdicts() {
    QFETCH(double, stated);
    QFETCH(double, tolerance);
    QFETCH(double, found);
    QFETCH(QString, verdict);
    QCOMPARE(QString(name(judge(figureOf(stated, tolerance), measured(found)))), verdict);
  }
  void verdictsWithoutBounds() {
    QCOMPARE(judge(figureOf(1.0, {}), measured(7)), FigureVerdict::informational);
    QCOMPARE(judge(figureOf({}, 0.1), measured(7)), FigureVerdict::notStated);
    QCOMPARE(judge(figureOf(1.0, 0.1), {}), FigureVerdict::notMeasured);
    ModelFigure digest;
    digest.kind = FigureKind::sha256;
    digest.text = "ab";
    FigureMeasurement found;
    found.text = "ab";
    QCOMPARE(judge(digest, found), FigureVerdict::agrees);
    found.text = "ac";
    QCOMPARE(judge(digest, found), FigureVerdict::differs);
  }
  // As many places as the tolerance has, and one more.
  void statingRounds() {
    ModelFigure figure = figureOf({}, 0.02);
    state(figure, measured(0.63471));
    QCOMPARE(figure.value, std::optional(0.635));
    QCOMPARE(judge(figure, measured(0.63471)), FigureVerdict::agrees);
    figure = figureOf({}, 0.0);
    state(figure, measured(9876543));
    QCOMPARE(figure.value, std::optional(9876543.0));
    figure = figureOf({}, {});
    state(figure, measured(1.6789));
    QCOMPARE(figure.value, std::optional(1.68));
    figure = figureOf(2.0, 0.1);
    state(figure, {});
    QCOMPARE(figure.value, std::optional(2.0));
  }
  void cardHasTheTable() {
    const auto figures = parseFigures(kFigures, "f");
    const std::string card = std::string("# Wren\n\n") + kFiguresBegin + "\nold\n" + kFiguresEnd + "\nrest\n";
    const auto made = withFigures(card, *figures, "README.md");
    QVERIFY(made.has_value());
    QVERIFY(
        made->starts_with("# Wren\n\n<!-- figures: begin -->\n| Figure | Value | How it is measured |\n"));
    QVERIFY(made->ends_with("|\n<!-- figures: end -->\nrest\n"));
    QVERIFY(made->find("old") == std::string::npos);
    QVERIFY(
        made->find("| bits | 1.25 ± 0.01 bit/byte | the first 40 texts of `a.jsonl`, prompts included |\n") !=
        std::string::npos);
    QVERIFY(made->find(
                "| accepted | not measured yet | accepted ÷ tested proposals: `chain` (gamma 4, adaptive "
                "false, mode x), drafter this model, target `wren`, at most 64 tokens, seed 7; prompts: the "
                "texts of `a.jsonl` |\n") != std::string::npos);
    QVERIFY(made->find("| size | 4096 bytes |") != std::string::npos);
    QVERIFY(made->find("| digest | `abc` |") != std::string::npos);
    QCOMPARE(*withFigures(*made, *figures, "README.md"), *made);
    const auto refused = withFigures("# Wren\n", *figures, "README.md");
    QVERIFY(!refused);
    QCOMPARE(refused.error().where, std::string("README.md"));
    QVERIFY(!withFigures(std::string(kFiguresEnd) + kFiguresBegin, *figures, "README.md"));
  }

  // Under a table: p(b | a) = 1/2, p(a | b) = 1/4, p(c | a) = 1/8.
  void costByHand() {
    QTemporaryDir folder;
    const std::string path = folder.filePath("t.json").toStdString();
    std::ofstream(path) << R"({"vocab":["a","b","c"],"eos":null,"order":1,"default":[0.4,0.3,0.3],
      "rows":{"0":[0.375,0.5,0.125],"1":[0.25,0.25,0.5]}})";
    auto loaded = loadModel("table:" + path, {}, {});
    QVERIFY2(loaded.has_value(), loaded ? "" : loaded.error().text().c_str());
    const std::vector<ScoredText> texts = {{{0, 1, 0, 2}, 1, 7}, {{0, 1, 0}, 2, 3}};
    const auto cost = costOf(*loaded->model, texts, {});
    QVERIFY2(cost.has_value(), cost ? "" : cost.error().text().c_str());
    // 1 + 2 + 3 bits of the first, and of the second its last token only: 2.
    QVERIFY(std::abs(cost->bits - 8) < 1e-5);
    QCOMPARE(cost->texts, std::int64_t{2});
    QCOMPARE(cost->tokens, std::int64_t{4});
    QCOMPARE(cost->bytes, std::int64_t{10});
    QVERIFY(std::abs(cost->bitsPerByte() - 0.8) < 1e-6);
    QVERIFY(std::abs(cost->perplexity() - 4) < 1e-5);
    QCOMPARE(loaded->model->cached(), 0);
    const auto outside = costOf(*loaded->model, std::vector<ScoredText>{{{0, 3}, 1, 1}}, {});
    QVERIFY(!outside);
    QCOMPARE(outside.error().code, ErrorCode::badInput);
  }
  // More tokens than are scored at a time.
  void longTextsAreCutWithoutLoss() {
    QTemporaryDir folder;
    const std::string path = folder.filePath("t.json").toStdString();
    std::ofstream(path) << R"({"vocab":["a","b"],"eos":null,"order":2,"default":[0.5,0.5],
      "rows":{"0,0":[0.25,0.75],"0,1":[0.125,0.875],"1,0":[0.6,0.4],"1,1":[0.9,0.1]}})";
    auto loaded = loadModel("table:" + path, {}, {});
    QVERIFY(loaded.has_value());
    const double rows[4][2] = {{0.25, 0.75}, {0.125, 0.875}, {0.6, 0.4}, {0.9, 0.1}};
    for (const std::size_t from : {1u, 127u, 128u, 129u, 299u}) {
      ScoredText text;
      text.from = from;
      text.bytes = 1;
      double bits = 0;
      for (std::size_t i = 0; i < 300; ++i) {
        text.tokens.push_back(static_cast<TokenId>(i * i / 3 % 2));
        if (i < from) continue;
        const auto row =
            i < 2 ? std::size_t{0} : static_cast<std::size_t>(text.tokens[i - 2] * 2 + text.tokens[i - 1]);
        bits -= std::log2(i < 2 ? 0.5 : rows[row][static_cast<std::size_t>(text.tokens[i])]);
      }
      const auto cost = costOf(*loaded->model, std::vector<ScoredText>{text}, {});
      QVERIFY(cost.has_value());
      QVERIFY2(std::abs(cost->bits - bits) < 1e-3,
               qPrintable(QString("%1, not %2").arg(cost->bits).arg(bits)));
    }
  }
  // The n-gram model and a net are asked for the same tokens of the same texts.
  void textsAreRenderedChats() {
    QTemporaryDir folder;
    const std::string corpus = folder.filePath("c.jsonl").toStdString();
    {
      std::ofstream file(corpus);
      for (int i = 0; i < 20; ++i) {
        const json line = {{"index", i},
                           {"kind", "story"},
                           {"user", "Tell me of " + std::to_string(i) + " wrens."},
                           {"assistant", "A wren sang é."}};
        file << line.dump() << "\n";
      }
    }
    QVERIFY(trainVocabulary(corpus, 270, 64, folder.path().toStdString(), {}));
    const auto tokenizer = loadTokenizer(folder.path().toStdString());
    QVERIFY(tokenizer.has_value());
    const auto texts = scoredTexts(**tokenizer, corpus);
    QVERIFY2(texts.has_value(), texts ? "" : texts.error().text().c_str());
    QCOMPARE(texts->size(), std::size_t{20});
    const ScoredText& text = texts->front();
    QCOMPARE((*tokenizer)->decode(text.tokens),
             std::string("<|user|>Tell me of 0 wrens.<|end|><|wren|>A wren sang é.<|end|>"));
    QCOMPARE(text.tokens.front(), kUserToken);
    QCOMPARE(text.tokens.back(), kEndToken);
    QCOMPARE(text.bytes, std::int64_t{19 + 15});
    QCOMPARE(scoredTexts(**tokenizer, corpus, 3)->size(), std::size_t{3});

    // Held-out texts do not count for themselves.
    const std::span heldOut = std::span(*texts).first(2);
    const auto counted = countCorpus(**tokenizer, corpus, 5, heldOut, 0, {});
    QVERIFY(counted.has_value());
    KneserNeyTrainer others(5, (*tokenizer)->size());
    for (const ScoredText& one : std::span(*texts).subspan(2)) QVERIFY(others.add(one.tokens));
    const auto expected = others.train({});
    const auto cost = costOf(*counted, heldOut), again = costOf(*expected, heldOut);
    QVERIFY(cost && again);
    QCOMPARE(cost->bits, again->bits);
    // Of the first four texts the two that are not held out.
    const auto few = countCorpus(**tokenizer, corpus, 2, heldOut, 4, {});
    KneserNeyTrainer two(2, (*tokenizer)->size());
    for (const ScoredText& one : std::span(*texts).subspan(2, 2)) QVERIFY(two.add(one.tokens));
    QCOMPARE(few->sizes(), two.train({})->sizes());
    double bits = 0;
    for (const ScoredText& one : heldOut) {
      const auto logs = counted->logProbabilities(one.tokens);
      for (std::size_t i = 1; i < logs->size(); ++i) bits -= (*logs)[i] / std::log(2.0);
    }
    QVERIFY(std::abs(cost->bits - bits) < 1e-9);
    QCOMPARE(cost->tokens,
             static_cast<std::int64_t>((*texts)[0].tokens.size() + (*texts)[1].tokens.size() - 2));
  }
};

QTEST_GUILESS_MAIN(TestFigures)
#include "TestFigures.moc"
