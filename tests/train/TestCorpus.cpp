// Prompt grammars, recipes, filters, de-duplication and the files of corpora.
#include <QSet>
#include <QTemporaryDir>
#include <QTest>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/train/CorpusRecipe.h"
#include "core/train/CorpusWriter.h"
#include "core/train/Expression.h"
#include "core/train/NearDuplicates.h"

using namespace decoscope;
using nlohmann::json;

namespace {

CorpusRecipe recipeOf(const std::string& body) {
  auto recipe = parseCorpusRecipe(body, "test.json");
  if (!recipe) qFatal("%s", recipe.error().text().c_str());
  return std::move(*recipe);
}

std::string first(const CorpusRecipe& recipe, std::int64_t index = 0) {
  const auto prompt = recipe.grammar.expand(recipe.seed, index);
  return prompt ? prompt->text : "ERROR " + prompt.error().text();
}

// A recipe with one template over a few lists.
std::string oneTemplate(const std::string& text) {
  return R"({"name":"t","seed":5,"lists":{"one":["fox"],"vowel":["owl"],"two":["red","blue"],
    "thing":[{"text":"{a one}","many":"foxes"}],"twins":[{"text":"{two}"}]},
    "kinds":[{"kind":"k","prompts":[)" +
         json(text).dump() + R"(],"numbers":[["n",3,3],["m","n","2*n"]]}]})";
}

std::string bytesOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

constexpr const char* kStory =
    "A small fox lived near the old mill. One day she found a shiny key under a stone and took it home. Her "
    "mother looked at the key for a long time and smiled. It was the key to the garden that nobody had seen.";

}  // namespace

class TestCorpus : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void expressions_data() {
    QTest::addColumn<QString>("text");
    QTest::addColumn<qint64>("value");
    QTest::addColumn<QString>("error");
    const auto row = [](const char* text, qint64 value, const char* error = "") {
      QTest::newRow(text) << text << value << error;
    };
    row("7", 7);
    row(" a + b * 2 ", 11);
    row("(a + b) * 2", 16);
    row("-(b - a) - -2", 4);
    row("12 / 4 / 3", 1);
    row("a - b - 1", 1);
    row("7 / 2", 0, "even");
    row("7 / (a - 5)", 0, "even");
    row("a +", 0, "missing");
    row("a b", 0, "goes on");
    row("(a", 0, "closed");
    row("c", 0, "no number 'c'");
    row("3x", 0, "not a number");
    row("99999999 * 99999999", 0, "too large");
    row("9223372036854775807 * 2", 0, "too large");
    QTest::newRow("deep") << QString(100000, '(') << qint64{0} << "too deep";
    QTest::newRow("signs") << QString(100000, '-') << qint64{0} << "too deep";
  }
  void expressions() {
    QFETCH(QString, text);
    QFETCH(qint64, value);
    QFETCH(QString, error);
    const auto result = evaluate(text.toStdString(), {{"a", 5}, {"b", 3}});
    QCOMPARE(result.has_value(), error.isEmpty());
    if (result)
      QCOMPARE(*result, value);
    else
      QVERIFY2(result.error().message.find(error.toStdString()) != std::string::npos,
               result.error().message.c_str());
  }

  void templates_data() {
    QTest::addColumn<QString>("text");
    QTest::addColumn<QStringList>("results");  // one of these
    const auto row = [](const char* text, const QStringList& results) {
      QTest::newRow(text) << text << results;
    };
    row("plain", {"plain"});
    row("{one}, {Vowel}, {a one}, {A vowel}", {"fox, Owl, a fox, An owl"});
    row("{thing} and {thing.many}, {Thing.many}", {"a fox and foxes, Foxes"});
    row("{two}-{two}-{two 2}", {"red-red-blue", "blue-blue-red"});
    row("{twins} {two}", {"red red", "blue blue"});
    row("{x|{two}|}", {"x", "red", "blue", ""});
    row("{n} {=n*n-1} {<}{n}{>}", {"3 8 {3}"});
    row("{m}", {"3", "4", "5", "6"});
  }
  void templates() {
    QFETCH(QString, text);
    QFETCH(QStringList, results);
    const CorpusRecipe recipe = recipeOf(oneTemplate(text.toStdString()));
    QSet<QString> seen;
    for (int index = 0; index < 200; ++index) {
      const QString made = QString::fromStdString(first(recipe, index));
      QVERIFY2(results.contains(made), qPrintable(made));
      seen.insert(made);
      QCOMPARE(QString::fromStdString(first(recipe, index)), made);
    }
    QCOMPARE(seen.size(), results.size());  // and all of these come
  }

  void badTemplates_data() {
    QTest::addColumn<QString>("text");
    QTest::addColumn<QString>("error");
    const auto row = [](const char* text, const char* error) { QTest::newRow(text) << text << error; };
    row("{nothing}", "no list or number 'nothing'");
    row("{one", "not closed");
    row("one}", "closes");
    row("{one 2}", "fewer than 2");
    row("{one.many}", "no field 'many'");
    row("{one two three}", "no reference");
    row("{}", "no reference");
    QTest::newRow("deep") << QString("{a|").repeated(50000) + QString("}").repeated(50000) << "too deep";
  }
  void badTemplates() {
    QFETCH(QString, text);
    QFETCH(QString, error);
    const auto recipe = parseCorpusRecipe(oneTemplate(text.toStdString()), "test.json");
    QVERIFY(!recipe);
    QCOMPARE(recipe.error().code, ErrorCode::badInput);
    QVERIFY2(recipe.error().message.find(error.toStdString()) != std::string::npos,
             recipe.error().message.c_str());
  }

  void badRecipes_data() {
    QTest::addColumn<QString>("text");
    QTest::addColumn<QString>("error");
    const auto row = [](const char* name, const QString& text, const char* error) {
      QTest::newRow(name) << text << error;
    };
    const QString kinds = R"("kinds":[{"kind":"k","prompts":["p"]}])";
    row("no JSON", "{", "not a JSON object");
    row("no kinds", R"({"name":"t"})", "list of kinds");
    row("empty", R"({"kinds":[]})", "at least one kind");
    row("unknown field", R"({"sed":1,)" + kinds + "}", "field sed");
    row("seed", R"({"seed":-1,)" + kinds + "}", "field seed");
    row("top-k", R"({"sampling":{"top_k":0},)" + kinds + "}", "field top_k");
    row("temperature", R"({"sampling":{"temperature":"hot"},)" + kinds + "}", "field temperature");
    row("words", R"({"filter":{"words":[9,3]},)" + kinds + "}", "field words");
    row("characters", R"({"filter":{"characters":"latin"},)" + kinds + "}", "field characters");
    row("replace", R"({"replace":[["","x"]],)" + kinds + "}", "field replace");
    row("weight", R"({"kinds":[{"kind":"k","weight":0,"prompts":["p"]}]})", "weight");
    row("no prompts", R"({"kinds":[{"kind":"k","prompts":[]}]})", "at least one prompt");
    row("numbers", R"({"kinds":[{"kind":"k","prompts":["p"],"numbers":[["n",1]]}]})", "field numbers");
    row("examples", R"({"kinds":[{"kind":"k","prompts":["p"],"examples":[[["only a question"]]]}]})",
        "field examples");
    row("circle", R"({"lists":{"a":["{b}"],"b":["{a}"]},)" + kinds + "}", "refers to itself");
    row("list of numbers", R"({"lists":{"a":[1]},)" + kinds + "}", "neither a text nor an object");
    row("number in a list", R"({"lists":{"a":["{=1}"]},)" + kinds + "}", "no numbers");
  }
  void badRecipes() {
    QFETCH(QString, text);
    QFETCH(QString, error);
    const auto recipe = parseCorpusRecipe(text.toStdString(), "test.json");
    QVERIFY(!recipe);
    QCOMPARE(recipe.error().code, ErrorCode::badInput);
    const std::string told = recipe.error().text();
    QVERIFY2(told.find(error.toStdString()) != std::string::npos, told.c_str());
    QVERIFY2(told.find("test.json") != std::string::npos, told.c_str());
  }

  void kindsComeByWeight() {
    const CorpusRecipe recipe = recipeOf(R"({"seed":3,"kinds":[{"kind":"a","weight":3,"prompts":["a"]},
        {"kind":"b","weight":1,"prompts":["b"]}]})");
    int counts[2] = {0, 0};
    for (int index = 0; index < 8000; ++index) ++counts[recipe.grammar.expand(3, index)->kind];
    QVERIFY(std::abs(counts[0] - 6000) < 200);
    // Another seed is another corpus.
    int same = 0;
    for (int index = 0; index < 1000; ++index)
      same += recipe.grammar.expand(3, index)->kind == recipe.grammar.expand(4, index)->kind ? 1 : 0;
    QVERIFY(same > 500 && same < 750);
  }
  void numbersThatHaveNoValuesAreErrors() {
    const CorpusRecipe recipe =
        recipeOf(R"({"kinds":[{"kind":"k","prompts":["{n}"],"numbers":[["n",5,4]]}]})");
    QVERIFY(QString::fromStdString(first(recipe)).contains("no values from 5 to 4"));
  }

  void bundledRecipes_data() {
    QTest::addColumn<QString>("name");
    for (const char* name : {"wren", "chat"}) QTest::newRow(name) << name;
  }
  // Every prompt can be made, and none is one of those that methods are measured with.
  void bundledRecipes() {
    QFETCH(QString, name);
    const std::string path = DECOSCOPE_SOURCE_DIR "/resources/models/corpora/" + name.toStdString() + ".json";
    const auto recipe = readCorpusRecipe(path);
    QVERIFY2(recipe, recipe ? "" : recipe.error().text().c_str());
    QCOMPARE(QString::fromStdString(recipe->name), name);
    QSet<QString> kept;
    std::ifstream fixture(DECOSCOPE_FIXTURES "/prompts/prompts.json");
    if (fixture) {
      const json document = json::parse(fixture);
      for (const auto& [key, prompts] : document.items())
        if (prompts.is_array())
          for (const json& prompt : prompts)
            kept.insert(QString::fromStdString(lower(prompt.get<std::string>())));
      QCOMPARE(kept.size(), 24);
    }
    QSet<QString> seen;
    for (int index = 0; index < 20000; ++index) {
      const auto prompt = recipe->grammar.expand(recipe->seed, index);
      QVERIFY2(prompt, prompt ? "" : prompt.error().text().c_str());
      QVERIFY(!prompt->text.empty() && prompt->text.find_first_of("{}|") == std::string::npos);
      const QString text = QString::fromStdString(lower(prompt->text));
      QVERIFY2(!kept.contains(text), qPrintable(text));
      seen.insert(text);
    }
    QVERIFY2(seen.size() > 6000, qPrintable(QString::number(seen.size())));
    if (kept.isEmpty()) QSKIP("the prompts that methods are measured with are not here; the rest was tested");
  }

  void filter_data() {
    QTest::addColumn<QString>("settings");
    QTest::addColumn<QString>("text");
    QTest::addColumn<bool>("finished");
    QTest::addColumn<QString>("reason");
    const auto row = [](const char* name, const char* settings, const QString& text, const char* reason,
                        bool finished = true) {
      QTest::newRow(name) << settings << text << finished << reason;
    };
    row("good", "{}", "A fox.", "");
    row("unfinished", "{}", "A fox.", "unfinished", false);
    row("lenient", R"({"finished":false})", "A fox", "", false);
    row("empty", "{}", "", "too short");
    row("too short", R"({"words":[3,4]})", "two words", "too short");
    row("too long", R"({"words":[3,4]})", "one two three four five", "too long");
    row("lines", R"({"lines":[2,2]})", "1. a\n\n2. b\n3. c", "lines");
    row("lines that are empty do not count", R"({"lines":[2,2]})", "1. a\n\n2. b", "");
    row("run", R"({"repeat_words":2,"repeat_times":3})", "a b c A B c a b", "repetition");
    row("run twice", R"({"repeat_words":2,"repeat_times":3})", "a b c a b c d", "");
    row("same word", R"({"same_letters":4,"same_times":2})", "goat, goat and goat", "words");
    row("same short word", R"({"same_letters":5,"same_times":2})", "goat, goat and goat", "");
    row("long word", R"({"longest_word":8})", "an iridescent fox", "words");
    row("control", "{}", "a\x01b", "characters");
    row("ill-formed", "{}", QString::fromUtf8("a\xEF\xBF\xBD"), "characters");
    row("umlaut is printable", "{}", QString::fromUtf8("sch\xC3\xB6n"), "");
    row("umlaut is not ASCII", R"({"characters":"ascii"})", QString::fromUtf8("sch\xC3\xB6n"), "characters");
    row("tab is not ASCII text", R"({"characters":"ascii"})", "a\tb", "characters");
    row("ending", R"({"endings":".!"})", "No end", "ending");
    row("right ending", R"({"endings":".!"})", "An end!", "");
    row("opening", R"({"openings":["Sure"]})", "sure, here it is", "opening");
    row("no opening", R"({"openings":["Sure"]})", "I am sure", "");
    row("forbidden", R"({"forbidden":["as an AI"]})", "Well, as an ai, no.", "forbidden words");
    row("forbidden within a word", R"({"forbidden":["die"]})", "The soldier and the diet.", "");
    row("wrong sum", R"({"sums":true})", "3 + 4 = 8.", "wrong sums");
  }
  void filter() {
    QFETCH(QString, settings);
    QFETCH(QString, text);
    QFETCH(bool, finished);
    QFETCH(QString, reason);
    const CorpusRecipe recipe =
        recipeOf(R"({"kinds":[{"kind":"k","prompts":["p"],"filter":)" + settings.toStdString() + "}]}");
    const auto found = objection(recipe.kinds[0].filter, {}, text.toStdString(), finished);
    QCOMPARE(QString::fromStdString(found.value_or("")), reason);
  }
  void filterOfPrompts() {
    Prompt prompt;
    prompt.required = {"sun|sunlight", "green"};
    const FilterSettings settings;
    QVERIFY(!objection(settings, prompt, "Green leaves need sunlight.", true));
    QCOMPARE(*objection(settings, prompt, "Green leaves on Sunday.", true), std::string("missing words"));
    prompt = {};
    prompt.eachLine = "cat|dog";
    QVERIFY(!objection(settings, prompt, "1. Cat\n\n2. A dog", true));
    QCOMPARE(*objection(settings, prompt, "1. Cat\n2. Rose", true), std::string("unknown item"));
    prompt = {};
    prompt.answer = 12;
    QVERIFY(!objection(settings, prompt, "She has 5 + 7. That is 12.", true));
    QCOMPARE(*objection(settings, prompt, "12 minus 3", true), std::string("wrong answer"));
  }

  void numbers_data() {
    QTest::addColumn<QString>("text");
    QTest::addColumn<bool>("holds");
    QTest::addColumn<int>("last");  // -1000: none
    const auto row = [](const char* text, bool holds, int last) {
      QTest::newRow(QByteArray(text).replace('\n', ' ')) << QString::fromUtf8(text) << holds << last;
    };
    row("nothing to see", true, -1000);
    row("3 + 4 = 7.", true, 7);
    row("3 + 4 = 8.", false, 8);
    row("She has 3 apples + 4 apples = 7 apples.", true, 7);
    row("2 + 3 * 4 = 14", true, 14);
    row("2 * 3 = 6 and 6 - 1 = 4", false, 4);
    row("3 + 4 + 5 = 7 + 5 = 12", true, 12);
    row("3 + 4 + 5 = 7 + 4 = 12", false, 12);
    row("4 x 5 = 20", true, 20);
    row("4 \xC3\x97 5 = 21", false, 21);
    row("10 / 3 = 3.33", true, -1000);
    row("$5 + $3 = $8", true, 8);
    row("- 3\n- 4 = four", true, 4);
    row("x = 5", true, 5);
    row("1,200 + 34 = 1,234", true, 1234);
    row("it is -3", true, -3);
    row("5 = 6", true, 6);
    row("3 + = 7", true, 7);
    row("a long way from 3 to 4 = 8", true, 8);
  }
  void numbers() {
    QFETCH(QString, text);
    QFETCH(bool, holds);
    QFETCH(int, last);
    QCOMPARE(sumsHold(text.toStdString()), holds);
    QCOMPARE(lastNumber(text.toStdString()).value_or(-1000), std::int64_t{last});
  }

  void duplicates() {
    NearDuplicates seen(0.7, 20);
    using Finding = NearDuplicates::Finding;
    QCOMPARE(seen.look(kStory, kStory), Finding::fresh);
    seen.add(kStory, kStory);
    QCOMPARE(seen.look(kStory, kStory), Finding::exact);
    QCOMPARE(seen.look(lower(kStory) + "!!", kStory), Finding::exact);
    std::string changed = kStory;
    changed.replace(changed.find("shiny"), 5, "rusty");
    QCOMPARE(seen.look(changed, changed), Finding::near);
    QCOMPARE(seen.look("another question", std::string(kStory) + " So it was."), Finding::near);
    // Half of it is new: 17 of some 60 shingles are shared.
    const std::string other =
        std::string(kStory).substr(0, 80) +
        " but then the rain began to fall and every path in the forest was under water, "
        "so that she had to wait until the next morning to go back to her brothers.";
    QCOMPARE(seen.look(other, other), Finding::fresh);
    seen.add("q1 The sky is blue.", "The sky is blue.");
    QCOMPARE(seen.look("q2 The sky is blue.", "The sky is blue."), Finding::fresh);
    NearDuplicates exactOnly(0);
    exactOnly.add(kStory, kStory);
    QCOMPARE(exactOnly.look(changed, changed), Finding::fresh);
  }
  // Banding finds nearly all pairs that are alike enough, and no others.
  void nearlyAllNearDuplicatesAreFound() {
    int found = 0;
    for (int text = 0; text < 200; ++text) {
      std::string original, changed;
      for (int word = 0; word < 60; ++word) {
        const std::string made = "w" + std::to_string((word * 7919 + text * 104729) % 100003);
        original += made + " ";
        changed += (word == 17 ? "other" : made) + " ";
      }
      NearDuplicates seen(0.7, 20);
      seen.add(original, original);
      found += seen.look(changed, changed) == NearDuplicates::Finding::near ? 1 : 0;
    }
    QVERIFY2(found >= 195, qPrintable(QString::number(found)));
  }

  void filesAreContinued() {
    QTemporaryDir folder;
    const std::string path = folder.filePath("c.jsonl").toStdString();
    CorpusOrigin origin{"r", "fnv1a:1", "m", "sha256:2", "bf16", 7, 2};
    const auto text = [](std::int64_t index, std::size_t tokens) {
      CorpusLine line;
      line.index = index;
      line.kind = "k";
      line.user = "q\n\"" + std::to_string(index) + "\"";
      line.assistant = "a";
      line.finished = index != 3;
      line.tokens.assign(tokens, 9);
      line.answer = 1;
      return line;
    };
    const auto none = [](const CorpusLine&) {};
    {
      auto writer = CorpusWriter::open(path, origin, false, none);
      QVERIFY2(writer, writer ? "" : writer.error().text().c_str());
      CorpusLine one = text(0, 2), two = text(3, 3);
      QVERIFY(writer->append(one, {1, 2, 3, 4}));
      QVERIFY(writer->append(two, {5, 6, 7, 8, 9, 10}));
      QCOMPARE(two.featureRow, std::int64_t{2});
      QVERIFY(!writer->append(two, {1}));
    }
    const std::string whole = bytesOf(path), features = bytesOf(featuresPath(path));
    QCOMPARE(features.size(), std::size_t{20});
    std::vector<CorpusLine> read;
    QVERIFY(readCorpusLines(path, [&](const CorpusLine& line) -> Status {
      read.push_back(line);
      return {};
    }));
    QCOMPARE(read.size(), std::size_t{2});
    QVERIFY(read[0].finished && !read[1].finished);
    QCOMPARE(read[1].user, text(3, 0).user);
    QCOMPARE(read[1].tokens.size(), std::size_t{3});
    QCOMPARE(read[1].featureRow, std::int64_t{2});

    QCOMPARE(CorpusWriter::open(path, origin, false, none).error().code, ErrorCode::usage);
    // A line and rows that were under way when the power went.
    std::ofstream(path, std::ios::app | std::ios::binary) << "{\"index\":4,\"kind";
    std::ofstream(featuresPath(path), std::ios::app | std::ios::binary) << "xyz";
    std::vector<std::int64_t> seen;
    {
      const auto writer =
          CorpusWriter::open(path, origin, true, [&](const CorpusLine& line) { seen.push_back(line.index); });
      QVERIFY2(writer, writer ? "" : writer.error().text().c_str());
      QCOMPARE(writer->lastIndex(), std::int64_t{3});
    }
    QCOMPARE(seen, (std::vector<std::int64_t>{0, 3}));
    QVERIFY(bytesOf(path) == whole);
    QVERIFY(bytesOf(featuresPath(path)) == features);

    CorpusOrigin other = origin;
    other.seed = 8;
    const auto refused = CorpusWriter::open(path, other, true, none);
    QVERIFY(!refused);
    QVERIFY(refused.error().text().find("another seed: 7, not 8") != std::string::npos);
    std::filesystem::resize_file(featuresPath(path), 6);
    QCOMPARE(CorpusWriter::open(path, origin, true, none).error().code, ErrorCode::badInput);
    QVERIFY(!CorpusWriter::open(folder.filePath("no/folder.jsonl").toStdString(), origin, true, none));
  }

  void splitsDependOnTheTextAlone() {
    int below = 0;
    for (int i = 0; i < 10000; ++i) {
      CorpusLine text;
      text.user = "question " + std::to_string(i);
      text.assistant = "answer";
      const double position = splitPosition(text);
      QVERIFY(position >= 0 && position < 1);
      text.index = 77;
      text.kind = "other";
      QCOMPARE(splitPosition(text), position);
      below += position < 0.02 ? 1 : 0;
    }
    QVERIFY2(below > 150 && below < 250, qPrintable(QString::number(below)));
  }
};

QTEST_GUILESS_MAIN(TestCorpus)
#include "TestCorpus.moc"
