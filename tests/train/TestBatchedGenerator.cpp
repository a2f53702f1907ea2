// Texts side by side: the same ones, whatever their number and their neighbours. On table models; the
// transformer's part is in tests/torch/TestSideBySide.cpp.
#include <QTemporaryDir>
#include <QTest>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "core/model/scripted/TableModel.h"
#include "core/train/CorpusMaker.h"

using namespace decoscope;

namespace {

constexpr const char* kAlphabet = "abcdefgh .<>!";

// Probabilities that depend on the last three tokens, without pattern.
Table scrambled() {
  Table table;
  for (const char* c = kAlphabet; *c; ++c) table.vocabulary.emplace_back(1, *c);
  const auto size = static_cast<TokenId>(table.vocabulary.size());
  table.eos = size - 1;
  table.order = 3;
  std::uint64_t state = 1;
  const auto row = [&] {
    std::vector<double> values;
    double sum = 0;
    for (TokenId i = 0; i < size; ++i) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      values.push_back(static_cast<double>(state >> 40) + 1);
      if (table.vocabulary[static_cast<std::size_t>(i)].find_first_of("<>") == 0) values.back() = 0;
      sum += values.back();
    }
    for (double& value : values) value /= sum;
    return values;
  };
  table.fallback = row();
  for (TokenId a = 0; a < size; ++a)
    for (TokenId b = 0; b < size; ++b)
      for (TokenId c = 0; c < size; ++c) table.rows[{a, b, c}] = row();
  return table;
}

std::unique_ptr<Model> model() {
  static const Table table = scrambled();
  return makeTableModel(table, "table:scrambled", "fnv1a:0").model;
}

GenerationJob job(std::int64_t index) {
  GenerationJob made;
  made.index = index;
  made.prompt = {9, 10, static_cast<TokenId>(index % 8), static_cast<TokenId>(index / 8 % 8), 11};
  made.temperature = index % 5 == 0 ? 0 : 0.8;
  made.topK = 6;
  made.topP = 0.9;
  made.maxTokens = 3 + static_cast<int>(index % 40);
  return made;
}

using Texts = std::map<std::int64_t, GeneratedText>;

Result<Texts> generate(GeneratorOptions options, std::int64_t count,
                       const std::function<GenerationJob(std::int64_t)>& jobs = job) {
  const auto table = model();
  options.stops = {12};
  DECOSCOPE_ASSIGN(BatchedGenerator generator, BatchedGenerator::create(*table, std::move(options)));
  Texts texts;
  std::int64_t next = 0;
  DECOSCOPE_TRY(generator.run(
      [&]() -> Result<std::optional<GenerationJob>> {
        if (next == count) return std::nullopt;
        return jobs(next++);
      },
      [&](GeneratedText text) -> Status {
        const std::int64_t index = text.index;
        if (!texts.emplace(index, std::move(text)).second) return fail(ErrorCode::failed, "twice");
        return {};
      },
      StopToken()));
  if (table->cached() != 0) return fail(ErrorCode::failed, "the cache was not left empty");
  return texts;
}

GeneratorOptions lanes(int count, std::vector<std::vector<TokenId>> prefixes = {}, int promptTokens = 128) {
  GeneratorOptions options;
  options.lanes = count;
  options.seed = 42;
  options.prefixes = std::move(prefixes);
  options.promptTokens = promptTokens;
  return options;
}

// A table's tokenizer with a chat template.
class ChatTokenizer final : public Tokenizer {
 public:
  explicit ChatTokenizer(std::shared_ptr<const Tokenizer> inner) : inner_(std::move(inner)) {}
  std::int32_t size() const override { return inner_->size(); }
  Result<std::vector<TokenId>> encode(std::string_view text, EncodeOptions options) const override {
    return inner_->encode(text, options);
  }
  std::string bytesOf(TokenId token) const override { return inner_->bytesOf(token); }
  std::string pieceOf(TokenId token) const override { return inner_->pieceOf(token); }
  bool isSpecial(TokenId token) const override { return inner_->isSpecial(token); }
  std::optional<TokenId> idOf(std::string_view piece) const override { return inner_->idOf(piece); }
  std::optional<TokenId> bos() const override { return inner_->bos(); }
  std::vector<TokenId> stopTokens() const override { return inner_->stopTokens(); }
  const std::string& chatTemplate() const override { return template_; }
  std::string description() const override { return inner_->description(); }
  const std::string& fingerprint() const override { return inner_->fingerprint(); }

 private:
  std::shared_ptr<const Tokenizer> inner_;
  std::string template_ = "{% for message in messages %}<{{ message['content'] }}>{% endfor %}";
};

constexpr const char* kRecipe = R"({"name":"t","seed":9,"greedy_share":0.2,"near_duplicates":0.7,
  "sampling":{"temperature":0.9,"top_k":8,"max_tokens":30},"filter":{"words":[2,9]},
  "lists":{"x":["ab","bc","cd","de","ef","fg"]},
  "kinds":[
   {"kind":"free","prompts":["{x} {x 2}","{x}{x 2}{x 3}"]},
   {"kind":"shown","system":"h","examples":[[["a","b"]],[["c","d"],["e","f"]]],"prompts":["{x}"]},
   {"kind":"outlined","prompts":[{"text":"{x}","outline":["{x} a","b","c"]}],
    "sampling":{"part_tokens":12},"filter":{"words":[1,40],"endings":"."}}]})";

struct Made {
  std::string bytes, rejects;
  CorpusReport report;
  Status status;
};
Made make(const std::string& path, int batch, std::int64_t texts, bool resume = false,
          StopToken stop = StopToken()) {
  static const auto parts = makeTableModel(scrambled(), "table:scrambled", "fnv1a:0");
  const ChatTokenizer tokenizer(parts.tokenizer);
  const auto recipe = parseCorpusRecipe(kRecipe, "t.json");
  if (!recipe) qFatal("%s", recipe.error().text().c_str());
  CorpusOptions options;
  options.out = path;
  options.rejects = path + ".rejects";
  options.texts = texts;
  options.batch = batch;
  options.resume = resume;
  Made made;
  made.status =
      makeCorpus(*parts.model, tokenizer, *recipe, options, stop, made.report, [](const CorpusReport&) {});
  for (const auto& [file, bytes] : {std::pair(path, &made.bytes), {options.rejects, &made.rejects}}) {
    std::stringstream content;
    content << std::ifstream(file, std::ios::binary).rdbuf();
    *bytes = content.str();
  }
  return made;
}

}  // namespace

class TestBatchedGenerator : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void textsDoNotDependOnTheirNeighbours_data() {
    QTest::addColumn<int>("count");
    QTest::addColumn<int>("promptTokens");
    QTest::addColumn<int>("prefixes");
    QTest::newRow("3 lanes") << 3 << 128 << 0;
    QTest::newRow("64 lanes") << 64 << 128 << 0;
    QTest::newRow("64 lanes, prompts in pieces") << 64 << 2 << 0;
    QTest::newRow("more lanes than texts") << 500 << 128 << 0;
    QTest::newRow("a shared beginning") << 5 << 128 << 1;
    QTest::newRow("several, one of them too long") << 64 << 3 << 4;
  }
  void textsDoNotDependOnTheirNeighbours() {
    QFETCH(int, count);
    QFETCH(int, promptTokens);
    QFETCH(int, prefixes);
    const std::vector<std::vector<TokenId>> all = {{9, 10}, {9, 10, 3, 4}, {}, {9, 10, 1, 1, 11, 4}};
    const auto alone = generate(lanes(1), 200);
    const auto together = generate(lanes(count, {all.begin(), all.begin() + prefixes}, promptTokens), 200);
    QVERIFY2(alone && together, together ? "" : together.error().text().c_str());
    QCOMPARE(together->size(), std::size_t{200});
    int finished = 0;
    for (const auto& [index, text] : *alone) {
      const GeneratedText& other = together->at(index);
      QCOMPARE(other.tokens, text.tokens);
      QCOMPARE(other.start, std::size_t{5});
      QCOMPARE(other.finished, text.finished);
      QCOMPARE(text.finished, text.tokens.back() == 12);
      const auto length = static_cast<int>(text.tokens.size() - text.start);
      QVERIFY(text.finished ? length <= job(index).maxTokens : length == job(index).maxTokens);
      finished += text.finished ? 1 : 0;
    }
    QVERIFY(finished > 20 && finished < 180);
  }
  // What the model itself says, token by token, without a generator.
  void greedyTextsAreTheModels() {
    const auto texts = generate(lanes(7), 60);
    QVERIFY(texts);
    for (std::int64_t index = 0; index < 60; index += 5) {
      const auto table = model();
      GenerationJob made = job(index);
      std::vector<TokenId> text = made.prompt;
      ForwardRequest request;
      request.tokens = text;
      while (text.size() < made.prompt.size() + static_cast<std::size_t>(made.maxTokens) &&
             text.back() != 12) {
        request.logitRows = {static_cast<std::int32_t>(request.tokens.size()) - 1};
        const auto output = table->forward(request, StopToken());
        QVERIFY(output);
        text.push_back(*output->logits->argmax(0));
        request.tokens = {text.back()};
      }
      QCOMPARE(texts->at(index).tokens, text);
    }
  }
  void drawsFollowTheDistribution() {
    // The first token after one prompt: 4000 texts of one token each.
    const auto one = [](std::int64_t index) {
      GenerationJob made = job(1);
      made.index = index;
      made.temperature = 0.8;
      made.maxTokens = 1;
      return made;
    };
    const auto texts = generate(lanes(64), 4000, one);
    QVERIFY(texts);
    const auto table = model();
    ForwardRequest request;
    request.tokens = one(0).prompt;
    request.logitRows = {4};
    const auto output = table->forward(request, StopToken());
    const RowSummary row = *output->logits->summary(0, 6);
    std::vector<double> weights;
    double all = 0;
    for (const float logit : row.logits) all += weights.emplace_back(std::exp(logit / 0.8));
    double mass = 0;
    std::size_t kept = 0;
    while (mass < 0.9 * all) mass += weights[kept++];
    std::map<TokenId, int> counts;
    for (const auto& [index, text] : *texts) ++counts[text.tokens.back()];
    QCOMPARE(counts.size(), kept);
    for (std::size_t i = 0; i < kept; ++i)
      QVERIFY(std::abs(counts[row.tokens[i]] / 4000.0 - weights[i] / mass) < 0.03);
  }
  void anotherSeedIsAnotherText() {
    GeneratorOptions other = lanes(8);
    other.seed = 43;
    const auto texts = generate(lanes(8), 100), others = generate(std::move(other), 100);
    int same = 0;
    for (const auto& [index, text] : *texts) {
      const bool equal = text.tokens == others->at(index).tokens;
      if (job(index).temperature == 0) QVERIFY(equal);
      same += equal ? 1 : 0;
    }
    QVERIFY(same < 50);
  }
  void outlinesAreFollowed() {
    const auto outlined = [](std::int64_t index) {
      GenerationJob made = job(index);
      made.outlined = true;
      made.start = 4;
      made.continuations = {{8, 0, 0}, {1}};
      made.maxTokens = 200;
      made.partTokens = index % 3 == 0 ? 4 : 0;
      return made;
    };
    const auto ends = [](const GenerationJob&, std::span<const TokenId> part) { return part.back() == 9; };
    GeneratorOptions one = lanes(1), many = lanes(9);
    one.endsPart = many.endsPart = ends;
    const auto alone = generate(std::move(one), 60, outlined),
               together = generate(std::move(many), 60, outlined);
    QVERIFY(alone && together);
    int whole = 0, cut = 0;
    for (const auto& [index, text] : *alone) {
      QCOMPARE(together->at(index).tokens, text.tokens);
      QVERIFY(std::count(text.tokens.begin() + 5, text.tokens.end(), 12) == 0);  // no stop token
      if (!text.finished) {
        ++cut;
        continue;
      }
      ++whole;
      QCOMPARE(text.tokens.back(), 9);
      const std::vector<TokenId> first = {9, 8, 0, 0}, second = {9, 1};
      const auto at = std::search(text.tokens.begin() + 5, text.tokens.end(), first.begin(), first.end());
      QVERIFY(at != text.tokens.end());
      QVERIFY(std::search(at + 4, text.tokens.end(), second.begin(), second.end()) != text.tokens.end());
    }
    QVERIFY(whole > 20 && cut > 5);
    QCOMPARE(generate(lanes(1), 1, outlined).error().code, ErrorCode::usage);
  }
  void mistakesAreErrors() {
    QCOMPARE(generate(lanes(0), 1).error().code, ErrorCode::usage);
    QCOMPARE(generate(lanes(1, {}, 0), 1).error().code, ErrorCode::usage);
    GeneratorOptions features = lanes(1);
    features.features = true;
    QCOMPARE(generate(std::move(features), 1).error().code, ErrorCode::unsupported);
    const auto broken = [](auto change) {
      return [change](std::int64_t index) {
        GenerationJob made = job(index);
        if (index == 20) change(made);
        return made;
      };
    };
    QCOMPARE(generate(lanes(4), 30, broken([](auto& made) { made.prompt.clear(); })).error().code,
             ErrorCode::usage);
    QCOMPARE(generate(lanes(4), 30, broken([](auto& made) { made.maxTokens = 1 << 20; })).error().code,
             ErrorCode::badInput);
    QCOMPARE(generate(lanes(4), 30, broken([](auto& made) { made.prompt[1] = 99; })).error().code,
             ErrorCode::badInput);
  }

  void corporaDoNotDependOnTheBatch() {
    QTemporaryDir folder;
    const Made one = make(folder.filePath("1").toStdString(), 1, 150);
    QVERIFY2(one.status, one.status ? "" : one.status.error().text().c_str());
    QCOMPARE(one.report.done, std::int64_t{150});
    QVERIFY(one.report.kept > 30 && one.report.kept < 150);
    QCOMPARE(one.report.kinds.size(), std::size_t{3});
    std::int64_t sum = one.report.kept;
    for (const auto& [reason, count] : one.report.rejected) sum += count;
    QCOMPARE(sum, std::int64_t{150});
    QVERIFY(one.rejects.find("\"reason\":\"") != std::string::npos);
    for (const int batch : {3, 64}) {
      const Made other = make(folder.filePath(QString::number(batch)).toStdString(), batch, 150);
      QVERIFY(other.status);
      QVERIFY(other.bytes == one.bytes);
      QVERIFY(other.rejects == one.rejects);
    }
  }
  void corporaGoOnWhereTheyEnd() {
    QTemporaryDir folder;
    const Made whole = make(folder.filePath("whole").toStdString(), 16, 150);
    const std::string path = folder.filePath("parts").toStdString();
    Made part = make(path, 16, 40);
    QVERIFY(part.status);
    QCOMPARE(make(path, 16, 150).status.error().code, ErrorCode::usage);
    std::filesystem::resize_file(path, part.bytes.size() - 5);  // in the middle of the last line
    const Made rest = make(path, 7, 150, true);
    QVERIFY2(rest.status, rest.status ? "" : rest.status.error().text().c_str());
    QVERIFY(rest.bytes == whole.bytes);
    QCOMPARE(rest.report.present + rest.report.kept, whole.report.kept);
    const Made again = make(path, 7, 150, true);
    QVERIFY(again.bytes == whole.bytes);
  }
  void aStopLeavesWholeLines() {
    QTemporaryDir folder;
    StopSource source;
    source.request_stop();
    const Made stopped = make(folder.filePath("s").toStdString(), 8, 50, false, source.get_token());
    QCOMPARE(stopped.status.error().code, ErrorCode::cancelled);
    QCOMPARE(stopped.report.nextIndex, std::int64_t{0});
    QVERIFY(stopped.bytes.empty());
  }
};

QTEST_GUILESS_MAIN(TestBatchedGenerator)
#include "TestBatchedGenerator.moc"
