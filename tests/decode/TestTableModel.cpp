// Several texts in the cache of a table model, which promises what every other model does (Model.h).
#include <QTest>

#include "tests/decode/Tables.h"

using namespace decoscope;
using namespace decoscope::test;

namespace {

std::unique_ptr<Model> tableModel() {
  auto table = parseTable(kTarget, "target");
  return table ? makeTableModel(std::move(*table), "table:target", "target").model : nullptr;
}

ForwardRequest requestOf(std::vector<TokenId> tokens) {
  ForwardRequest request;
  for (std::size_t i = 0; i < tokens.size(); ++i) request.logitRows.push_back(static_cast<std::int32_t>(i));
  request.tokens = std::move(tokens);
  return request;
}

std::vector<float> rowOf(const Result<ForwardOutput>& output, int row) {
  if (!output) return {};
  const auto values = output->logits->row(row);
  return {values.begin(), values.end()};
}

// The logits behind a text that has the model for itself.
std::vector<float> alone(const std::vector<TokenId>& text) {
  const auto model = tableModel();
  return rowOf(model->forward(requestOf(text), StopToken()), static_cast<int>(text.size()) - 1);
}

}  // namespace

class TestTableModel : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void theLargestAreThoseOfSummaries() {
    const auto model = tableModel();
    const auto output = model->forward(requestOf({0, 1, 2}), StopToken());
    QVERIFY(output.has_value());
    for (const int k : {0, 1, 2, 9}) {
      const auto summaries = output->logits->summaries(k);
      const auto largest = output->logits->largest(k);
      QVERIFY(summaries && largest);
      QCOMPARE(largest->size(), std::size_t{3});
      for (std::size_t row = 0; row < 3; ++row) QVERIFY((*largest)[row] == (*summaries)[row].tokens);
    }
  }
  void textsGrowSideBySide() {
    const auto model = tableModel();
    const std::vector<std::vector<TokenId>> texts = {{0, 1, 2, 0, 1}, {2, 0, 0}, {1, 2, 1, 1}};
    std::vector<std::int32_t> last(texts.size(), -1);
    for (std::size_t i = 0; i < 5; ++i) {
      ForwardRequest request;
      std::vector<std::size_t> owner;
      for (std::size_t text = 0; text < texts.size(); ++text) {
        if (i >= texts[text].size()) continue;
        request.logitRows.push_back(static_cast<std::int32_t>(owner.size()));
        request.follows.push_back(last[text]);
        request.parents.push_back(-1);
        request.tokens.push_back(texts[text][i]);
        last[text] = model->cached() + static_cast<std::int32_t>(owner.size());
        owner.push_back(text);
      }
      const auto output = model->forward(request, StopToken());
      QVERIFY2(output, output ? "" : output.error().text().c_str());
      for (std::size_t row = 0; row < owner.size(); ++row) {
        const auto& text = texts[owner[row]];
        QCOMPARE(rowOf(output, static_cast<int>(row)),
                 alone({text.begin(), text.begin() + static_cast<std::ptrdiff_t>(i) + 1}));
      }
    }
  }

  void textsShareWhatTheyBeginWith() {
    const auto model = tableModel();
    QVERIFY(model->forward(requestOf({0, 1, 2, 0}), StopToken()));
    ForwardRequest fork = requestOf({2, 0, 1});
    fork.parents = {-1, 0, -1};
    fork.follows = {1, 50, 3};
    const auto output = model->forward(fork, StopToken());
    QVERIFY2(output, output ? "" : output.error().text().c_str());
    QCOMPARE(rowOf(output, 0), alone({0, 1, 2}));
    QCOMPARE(rowOf(output, 1), alone({0, 1, 2, 0}));
    QCOMPARE(rowOf(output, 2), alone({0, 1, 2, 0, 1}));
    // Without `follows` the whole cache is one text, its last slots 0 and 1.
    QCOMPARE(rowOf(model->forward(requestOf({1}), StopToken()), 0), alone({1, 1}));
  }

  void aDroppedSlotIsStepped() {
    const auto model = tableModel();
    // Two texts, slot by slot: 0 1 2 0 and 2 2 1 1.
    ForwardRequest request = requestOf({0, 2, 1, 2, 2, 1, 0, 1});
    request.parents = {-1, -1, 0, 1, 2, 3, 4, 5};
    request.follows.assign(8, -1);
    QVERIFY(model->forward(request, StopToken()));
    QVERIFY(model->retain(1, std::vector<std::int32_t>{3, 4, 7}));  // 0, 2 of the first; 2, 1 of the other
    QCOMPARE(model->cached(), 4);
    ForwardRequest next = requestOf({0, 0});
    next.parents = {-1, -1};
    next.follows = {2, 3};
    const auto output = model->forward(next, StopToken());
    QVERIFY2(output, output ? "" : output.error().text().c_str());
    QCOMPARE(rowOf(output, 0), alone({0, 2, 0}));
    QCOMPARE(rowOf(output, 1), alone({2, 1, 0}));
    QCOMPARE(model->retain(0, std::vector<std::int32_t>{3, 2}).error().code, ErrorCode::usage);
    QCOMPARE(model->retain(0, std::vector<std::int32_t>{9}).error().code, ErrorCode::usage);
    QCOMPARE(model->cached(), 6);
  }

  void badRequestsAreRefused() {
    const auto model = tableModel();
    QVERIFY(model->forward(requestOf({0, 1}), StopToken()));
    for (const std::vector<std::int32_t>& follows : {std::vector<std::int32_t>{0, 0}, {2}, {-2}}) {
      ForwardRequest request = requestOf({1});
      request.follows = follows;
      QCOMPARE(model->forward(request, StopToken()).error().code, ErrorCode::usage);
    }
    ForwardRequest request = requestOf({1});
    request.follows = {0};
    request.visibility = Visibility::block;
    QCOMPARE(model->forward(request, StopToken()).error().code, ErrorCode::usage);
    request.visibility = Visibility::causal;
    request.positions = {1 << 20};
    QCOMPARE(model->forward(request, StopToken()).error().code, ErrorCode::badInput);
    request.positions = {(1 << 20) - 1};
    QVERIFY(model->forward(request, StopToken()));
    request.positions.clear();
    request.follows = {2};
    QCOMPARE(model->forward(request, StopToken()).error().code, ErrorCode::badInput);
    QCOMPARE(model->cached(), 3);
  }
};

QTEST_GUILESS_MAIN(TestTableModel)
#include "TestTableModel.moc"
