// Several texts in one cache (ForwardRequest::follows): each must read as if it were alone.
#include <QTest>

#include "tests/torch/OpenedModel.h"

using namespace decoscope;

namespace {

using Texts = std::vector<std::vector<TokenId>>;

// A text of its own for every seed.
std::vector<TokenId> someText(int seed, int length) {
  std::vector<TokenId> text;
  for (int i = 0; i < length; ++i)
    text.push_back(static_cast<TokenId>((seed * 29 + i * (7 + 2 * seed) + i * i) % 64));
  return text;
}

// The logits behind every token of a text that has the model for itself and is fed token by token.
std::vector<Floats> alone(const Opened& opened, const std::vector<TokenId>& text) {
  std::vector<Floats> rows;
  (void)opened.model->retain(0);
  for (const TokenId token : text) {
    const auto output = opened.run(requestOf({token}));
    rows.push_back(output ? allRows(*output->logits) : Floats());
  }
  (void)opened.model->retain(0);
  return rows;
}

// Texts that grow side by side, and where each of their tokens stands in the cache.
class Growing {
 public:
  Growing(const Opened& opened, Texts texts)
      : opened_(opened), texts_(std::move(texts)), slots(texts_.size()), rows(texts_.size()) {}

  // Feeds the next `count` tokens (fewer where a text ends) of each of the texts in one forward, those of one
  // text apart from each other.
  Status grow(const std::vector<std::size_t>& which, std::size_t count = 1) {
    ForwardRequest request;
    std::vector<std::size_t> owner;
    std::vector<std::int32_t> last(texts_.size(), -1);
    const int cached = opened_.model->cached();
    for (std::size_t i = 0; i < count; ++i)
      for (const std::size_t text : which) {
        if (slots[text].size() == texts_[text].size()) continue;
        request.follows.push_back(slots[text].empty() ? -1 : slots[text].back());
        request.parents.push_back(last[text]);
        last[text] = static_cast<std::int32_t>(request.tokens.size());
        request.tokens.push_back(texts_[text][slots[text].size()]);
        slots[text].push_back(cached + last[text]);
        owner.push_back(text);
      }
    request.logitRows = upTo(request.tokens.size());
    DECOSCOPE_ASSIGN(const ForwardOutput output, opened_.run(request));
    for (std::size_t i = 0; i < owner.size(); ++i) {
      const auto row = output.logits->row(static_cast<int>(i));
      rows[owner[i]].emplace_back(row.begin(), row.end());
    }
    return {};
  }
  bool ended(std::size_t text) const { return slots[text].size() == texts_[text].size(); }

 private:
  const Opened& opened_;
  Texts texts_;

 public:
  std::vector<std::vector<std::int32_t>> slots;
  std::vector<std::vector<Floats>> rows;
};

// Equal to the last bit with this project's kernels, close with plain libtorch.
bool same(const Floats& a, std::span<const float> b, bool exact) {
  if (a.empty() || a.size() != b.size()) return false;
  return exact ? std::equal(a.begin(), a.end(), b.begin()) : largestDifference(a, b) < 1e-3 * deviation(a);
}

void addFamilies(const std::vector<const char*>& families) {
  QTest::addColumn<QString>("name");
  QTest::addColumn<QString>("device");
  QTest::addColumn<QString>("dtype");
  for (const char* name : families) {
    QTest::addRow("%s f32", name) << name << "cpu" << "f32";
    QTest::addRow("%s bf16", name) << name << "cpu" << "bf16";
    QTest::addRow("%s reference", name) << name << "cpu-reference" << "f32";
  }
}

}  // namespace

class TestForest : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void textsGrowSideBySide_data() {
    // With windows of six tokens, learned positions, sinks and experts among them.
    addFamilies({"llama-linear", "qwen2", "gemma2", "gemma3", "gpt2", "gpt-neox", "gpt-oss", "mixtral"});
  }
  // Three texts of different content and length, whose prompts of different length come first.
  void textsGrowSideBySide() {
    QFETCH(QString, name);
    QFETCH(QString, device);
    QFETCH(QString, dtype);
    const Opened opened(name.toStdString(), qPrintable(device), qPrintable(dtype));
    QVERIFY2(opened.model, qPrintable(opened.problem));
    const Texts texts = {someText(1, 20), someText(2, 11), someText(3, 15)};
    std::vector<std::vector<Floats>> wanted;
    for (const auto& text : texts) wanted.push_back(alone(opened, text));
    Growing growing(opened, texts);
    QVERIFY(growing.grow({0}, 9));
    QVERIFY(growing.grow({2, 1}, 3));
    while (!growing.ended(0) || !growing.ended(1) || !growing.ended(2)) {
      const auto status = growing.grow({0, 1, 2});
      QVERIFY2(status, status ? "" : status.error().text().c_str());
    }
    QCOMPARE(opened.model->cached(), 46);
    for (std::size_t text = 0; text < texts.size(); ++text)
      for (std::size_t i = 0; i < texts[text].size(); ++i)
        QVERIFY2(same(wanted[text][i], growing.rows[text][i], device == "cpu"),
                 qPrintable(QString("text %1, token %2").arg(text).arg(i)));
  }

  void textsShareWhatTheyBeginWith_data() { addFamilies({"llama-linear", "qwen2", "gpt2"}); }
  // Two branches, one of them a tree, off the middle of a cached text that goes on as well.
  void textsShareWhatTheyBeginWith() {
    QFETCH(QString, name);
    QFETCH(QString, device);
    QFETCH(QString, dtype);
    const Opened opened(name.toStdString(), qPrintable(device), qPrintable(dtype));
    QVERIFY2(opened.model, qPrintable(opened.problem));
    QVERIFY(opened.run(requestOf(kText)));
    ForwardRequest request = requestOf({20, 30, 21, 40, 22, 31, 41, 50});
    request.parents = {-1, -1, 0, -1, 0, 1, 3, 5};
    request.follows = {3, 3, 99, 7, 99, 99, -7, 99};  // only those of roots are read
    const auto forked = opened.run(request);
    QVERIFY2(forked, forked ? "" : forked.error().text().c_str());
    // And off a branch: slots 8 and 10 hold 20 and 21.
    ForwardRequest further = requestOf({60, 61});
    further.parents = {-1, -1};
    further.follows = {10, 8};
    const auto again = opened.run(further);
    QVERIFY2(again, again ? "" : again.error().text().c_str());
    const auto continued = [](std::size_t length, std::vector<TokenId> rest) {
      rest.insert(rest.begin(), kText.begin(), kText.begin() + static_cast<std::ptrdiff_t>(length));
      return rest;
    };
    const Texts paths = {continued(4, {20}),     continued(4, {30}),         continued(4, {20, 21}),
                         continued(8, {40}),     continued(4, {20, 22}),     continued(4, {30, 31}),
                         continued(8, {40, 41}), continued(4, {30, 31, 50}), continued(4, {20, 21, 60}),
                         continued(4, {20, 61})};
    for (std::size_t i = 0; i < paths.size(); ++i) {
      const Logits& logits = i < 8 ? *forked->logits : *again->logits;
      const Floats row(logits.row(static_cast<int>(i % 8)).begin(),
                       logits.row(static_cast<int>(i % 8)).end());
      QVERIFY2(same(row, alone(opened, paths[i]).back(), device == "cpu"), qPrintable(QString::number(i)));
    }
  }

  void aTextCanBeDropped_data() { addFamilies({"llama-linear", "gemma2"}); }
  void aTextCanBeDropped() {
    QFETCH(QString, name);
    QFETCH(QString, device);
    QFETCH(QString, dtype);
    const Opened opened(name.toStdString(), qPrintable(device), qPrintable(dtype));
    QVERIFY2(opened.model, qPrintable(opened.problem));
    const Texts texts = {someText(4, 12), someText(5, 12), someText(6, 12)};
    std::vector<std::vector<Floats>> wanted;
    for (const auto& text : texts) wanted.push_back(alone(opened, text));
    // Whichever of them goes: the first one begins the cache, the last one ends it.
    for (std::size_t dropped = 0; dropped < texts.size(); ++dropped) {
      QVERIFY(opened.model->retain(0));
      Growing growing(opened, texts);
      QVERIFY(growing.grow({0, 1, 2}, 4));
      for (int i = 0; i < 3; ++i) QVERIFY(growing.grow({0, 1, 2}));
      std::vector<std::int32_t> kept;
      for (int slot = 0; slot < opened.model->cached(); ++slot)
        if (static_cast<std::size_t>(slot) % 3 != dropped) kept.push_back(slot);
      QVERIFY(opened.model->retain(0, kept));
      QCOMPARE(opened.model->cached(), 14);
      std::vector<std::size_t> left;
      for (std::size_t text = 0; text < texts.size(); ++text) {
        if (text == dropped) continue;
        left.push_back(text);
        for (std::int32_t& slot : growing.slots[text])
          slot = static_cast<std::int32_t>(std::find(kept.begin(), kept.end(), slot) - kept.begin());
      }
      while (!growing.ended(left[0])) QVERIFY(growing.grow(left));
      for (const std::size_t text : left)
        for (std::size_t i = 0; i < texts[text].size(); ++i)
          QVERIFY(same(wanted[text][i], growing.rows[text][i], device == "cpu"));
    }
  }

  void aGapIsClosed_data() { addFamilies({"llama-linear", "gemma2"}); }
  // A slot whose predecessor is dropped follows the nearest one that is kept, whatever stood between.
  void aGapIsClosed() {
    QFETCH(QString, name);
    QFETCH(QString, device);
    QFETCH(QString, dtype);
    const Opened opened(name.toStdString(), qPrintable(device), qPrintable(dtype));
    QVERIFY2(opened.model, qPrintable(opened.problem));
    const std::vector<TokenId> text = someText(7, 9);
    ForwardRequest next = requestOf({11});
    next.positions = {9};
    QVERIFY(opened.run(requestOf(text)));
    QVERIFY(opened.model->retain(2, std::vector<std::int32_t>{5, 6, 8}));
    const auto wanted = opened.run(next);
    QVERIFY(wanted);
    QVERIFY(opened.model->retain(0));

    Growing growing(opened, {text, someText(8, 9)});
    for (std::size_t i = 0; i < text.size(); ++i) QVERIFY(growing.grow({0, 1}));
    // Slots 0, 2, 10, 12 and 16 are of the first text, 1 and 3 the beginning of the other.
    QVERIFY(opened.model->retain(4, std::vector<std::int32_t>{10, 12, 16}));
    next.positions.clear();
    next.follows = {6};
    next.taps = {{TapSite::attentionWeights, 1}};
    const auto closed = opened.run(next);
    QVERIFY2(closed, closed ? "" : closed.error().text().c_str());
    QVERIFY(same(allRows(*wanted->logits), closed->logits->row(0), device == "cpu"));
    const std::vector<std::int64_t> shape = {opened.model->info().heads, 1, 8};
    QCOMPARE(closed->taps[0].shape, shape);
    for (std::size_t i = 0; i < closed->taps[0].values.size(); ++i)
      if (i % 8 == 1 || i % 8 == 3) QCOMPARE(closed->taps[0].values[i], 0.0f);
    // A text of which nothing is left before the slot begins there.
    QVERIFY(opened.model->retain(0, std::vector<std::int32_t>{4}));
    next.follows = {0};
    const auto single = opened.run(next);
    QVERIFY2(single, single ? "" : single.error().text().c_str());
    QVERIFY(largestDifference(allRows(*single->logits), closed->logits->row(0)) > 1e-4);
  }

  void theContextBoundsEachTextByItself_data() { addFamilies({"llama-linear", "gemma2"}); }
  void theContextBoundsEachTextByItself() {
    QFETCH(QString, name);
    QFETCH(QString, device);
    QFETCH(QString, dtype);
    const Opened opened(name.toStdString(), qPrintable(device), qPrintable(dtype));
    QVERIFY2(opened.model, qPrintable(opened.problem));
    const auto context = static_cast<std::size_t>(opened.model->info().contextLength);
    Texts texts;
    for (int i = 0; i < 6; ++i) texts.push_back(someText(i, static_cast<int>(context)));
    const std::vector<std::size_t> all = {0, 1, 2, 3, 4, 5};
    Growing growing(opened, texts);
    QVERIFY(growing.grow(all, context - 1));
    const auto status = growing.grow(all);
    QVERIFY2(status, status ? "" : status.error().text().c_str());
    QCOMPARE(static_cast<std::size_t>(opened.model->cached()), 6 * context);
    ForwardRequest beyond = requestOf({1});
    beyond.follows = {growing.slots[3].back()};
    QCOMPARE(opened.run(beyond).error().code, ErrorCode::badInput);
    // A text that sees all of the cache has no room in it.
    QCOMPARE(opened.run(requestOf({1})).error().code, ErrorCode::badInput);
    QCOMPARE(static_cast<std::size_t>(opened.model->cached()), 6 * context);
    for (const std::size_t text : {0, 3, 5})
      QVERIFY(same(alone(opened, texts[text]).back(), growing.rows[text].back(), device == "cpu"));
  }

  void resumingRepeatsTheForest_data() { addFamilies({"llama-linear", "gemma2"}); }
  void resumingRepeatsTheForest() {
    QFETCH(QString, name);
    QFETCH(QString, device);
    QFETCH(QString, dtype);
    const Opened opened(name.toStdString(), qPrintable(device), qPrintable(dtype));
    QVERIFY2(opened.model, qPrintable(opened.problem));
    Growing growing(opened, {someText(1, 7), someText(2, 5)});
    QVERIFY(growing.grow({0, 1}, 7));
    const int cached = opened.model->cached();
    ForwardRequest request = requestOf({10, 20, 11, 30});
    request.parents = {-1, -1, 0, -1};
    request.follows = {growing.slots[0].back(), growing.slots[1].back(), 0, -1};
    const auto whole = opened.run(request);
    QVERIFY2(whole, whole ? "" : whole.error().text().c_str());
    const Floats wanted = allRows(*whole->logits);
    QVERIFY(opened.model->retain(cached));
    ForwardRequest early = request;
    early.lastLayer = 1;
    early.taps = {{TapSite::residual, 1}};
    const auto shallow = opened.run(early);
    QVERIFY(shallow);
    ForwardRequest rest = request;
    rest.firstLayer = 1;
    rest.inputs = shallow->taps[0].values;
    for (const std::vector<std::int32_t>& wrong :
         {std::vector<std::int32_t>{}, {growing.slots[1].back(), growing.slots[0].back(), 0, -1}, {0, 1}}) {
      rest.follows = wrong;
      QCOMPARE(opened.run(rest).error().code, ErrorCode::usage);
    }
    rest.follows = request.follows;
    rest.parents = {-1, -1, 1, -1};
    QCOMPARE(opened.run(rest).error().code, ErrorCode::usage);
    rest.parents = request.parents;
    const auto resumed = opened.run(rest);
    QVERIFY2(resumed, resumed ? "" : resumed.error().text().c_str());
    QCOMPARE(opened.model->cached(), cached + 4);
    QVERIFY(same(wanted, allRows(*resumed->logits), device == "cpu"));
    // Tokens that were cached one after the other are resumed together.
    QVERIFY(opened.model->retain(cached));
    Floats streams;
    for (const std::size_t i : {0, 1, 2, 3}) {
      ForwardRequest step = requestOf({request.tokens[i]});
      step.follows = {i == 2 ? cached : request.follows[i]};
      step.lastLayer = 1;
      step.taps = early.taps;
      const auto output = opened.run(step);
      QVERIFY(output);
      streams.insert(streams.end(), output->taps[0].values.begin(), output->taps[0].values.end());
    }
    rest.inputs = streams;
    rest.parents = {-1, -1, -1, -1};
    rest.follows[2] = cached;
    const auto together = opened.run(rest);
    QVERIFY2(together, together ? "" : together.error().text().c_str());
    QVERIFY(same(wanted, allRows(*together->logits), device == "cpu"));
  }

  void aRotationOfTheLengthFollowsTheLongestText_data() { addFamilies({"llama-dynamic", "phi3-longrope"}); }
  // What is cached is run again as the forest that it is.
  void aRotationOfTheLengthFollowsTheLongestText() {
    QFETCH(QString, name);
    QFETCH(QString, device);
    QFETCH(QString, dtype);
    const Opened opened(name.toStdString(), qPrintable(device), qPrintable(dtype));
    QVERIFY2(opened.model, qPrintable(opened.problem));
    const Texts texts = {someText(1, 16), someText(2, 16), someText(3, 4)};
    const std::vector<Floats> first = alone(opened, texts[0]), second = alone(opened, texts[1]);
    Growing growing(opened, texts);
    QVERIFY(growing.grow({0, 2, 1}, 4));
    while (!growing.ended(0)) QVERIFY(growing.grow({1, 0}));
    for (std::size_t i = 0; i < texts[0].size(); ++i) {
      QVERIFY2(same(first[i], growing.rows[0][i], device == "cpu"), qPrintable(QString::number(i)));
      QVERIFY2(same(second[i], growing.rows[1][i], device == "cpu"), qPrintable(QString::number(i)));
    }
    // A short text beside them turns as they do: as when it is run with one of them in a single forward.
    ForwardRequest next = requestOf({9});
    next.follows = {growing.slots[2].back()};
    const auto beside = opened.run(next);
    QVERIFY(beside);
    const Floats row = allRows(*beside->logits);
    QVERIFY(opened.model->retain(0));
    ForwardRequest both;
    for (const auto& text : {texts[0], texts[2]})
      for (std::size_t i = 0; i < text.size(); ++i) {
        both.parents.push_back(i == 0 ? -1 : static_cast<std::int32_t>(both.tokens.size()) - 1);
        both.tokens.push_back(text[i]);
      }
    both.parents.push_back(static_cast<std::int32_t>(both.tokens.size()) - 1);
    both.tokens.push_back(9);
    both.follows.assign(both.tokens.size(), -1);
    both.logitRows = {static_cast<std::int32_t>(both.tokens.size()) - 1};
    const auto together = opened.run(both);
    QVERIFY2(together, together ? "" : together.error().text().c_str());
    QVERIFY(same(row, together->logits->row(0), device == "cpu"));
  }

  void badRequestsAreRefused_data() {
    QTest::addColumn<QString>("device");
    QTest::newRow("cpu") << "cpu";
    QTest::newRow("cpu-reference") << "cpu-reference";
  }
  void badRequestsAreRefused() {
    QFETCH(QString, device);
    const Opened opened("llama-linear", qPrintable(device));
    QVERIFY2(opened.model, qPrintable(opened.problem));
    ForwardRequest good = requestOf({1, 2, 3});
    good.parents = {-1, -1, 0};
    good.follows = {-1, 0, 0};
    QVERIFY(opened.run(requestOf(kText)));
    const auto refused = [&](auto&& change) {
      ForwardRequest request = good;
      change(request);
      const auto output = opened.run(request);
      return !output && output.error().code == ErrorCode::usage && opened.model->cached() == 8;
    };
    QVERIFY(refused([](ForwardRequest& r) { r.follows.pop_back(); }));
    QVERIFY(refused([](ForwardRequest& r) { r.follows.push_back(0); }));
    QVERIFY(refused([](ForwardRequest& r) { r.follows[1] = -2; }));
    QVERIFY(refused([](ForwardRequest& r) { r.follows[1] = 8; }));  // a slot of the request is no slot yet
    QVERIFY(refused([](ForwardRequest& r) { r.visibility = Visibility::block; }));
    QVERIFY(opened.model->retain(0));
    good.follows = {-1, -1, 0};
    good.visibility = Visibility::full;
    QCOMPARE(opened.run(good).error().code, ErrorCode::usage);
    good.visibility = Visibility::causal;
    QVERIFY(opened.run(good));
    QCOMPARE(opened.model->cached(), 3);
  }
};

QTEST_GUILESS_MAIN(TestForest)
#include "TestForest.moc"
