// Texts that a transformer writes side by side: the same tokens and states as one after the other.
#include <QTest>
#include <map>

#include "core/train/BatchedGenerator.h"
#include "tests/torch/OpenedModel.h"

using namespace decoscope;

namespace {

using Texts = std::map<std::int64_t, GeneratedText>;

GenerationJob job(std::int64_t index) {
  GenerationJob made;
  made.index = index;
  made.prompt = {5, 9, 33, 7};
  for (std::int64_t i = 0; i <= index % 9; ++i)
    made.prompt.push_back(static_cast<TokenId>(12 + (index + i) % 50));
  made.temperature = index % 4 == 0 ? 0 : 0.9;
  made.topK = 20;
  made.topP = 0.95;
  made.maxTokens = 4 + static_cast<int>(index % 13);
  return made;
}

Result<Texts> generate(Model& model, int lanes, bool features, std::vector<std::vector<TokenId>> prefixes) {
  GeneratorOptions options;
  options.lanes = lanes;
  options.seed = 3;
  options.stops = {2, 11};
  options.features = features;
  options.prefixes = std::move(prefixes);
  options.promptTokens = 16;
  DECOSCOPE_ASSIGN(BatchedGenerator generator, BatchedGenerator::create(model, std::move(options)));
  Texts texts;
  std::int64_t next = 0;
  DECOSCOPE_TRY(generator.run(
      [&]() -> Result<std::optional<GenerationJob>> {
        if (next == 100) return std::nullopt;
        return job(next++);
      },
      [&](GeneratedText text) -> Status {
        const std::int64_t index = text.index;
        texts.emplace(index, std::move(text));
        return {};
      },
      StopToken()));
  return texts;
}

}  // namespace

class TestSideBySide : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void textsAreTheSame_data() {
    QTest::addColumn<QString>("checkpoint");
    QTest::addColumn<QString>("dtype");
    for (const char* checkpoint : {"llama3", "gemma3"})
      for (const char* dtype : {"f32", "bf16"})
        QTest::addRow("%s %s", checkpoint, dtype) << checkpoint << dtype;
  }
  void textsAreTheSame() {
    QFETCH(QString, checkpoint);
    QFETCH(QString, dtype);
    const Opened opened(checkpoint.toStdString(), "cpu", qPrintable(dtype));
    QVERIFY2(opened.model, qPrintable(opened.problem));
    const auto alone = generate(*opened.model, 1, true, {});
    QVERIFY2(alone, alone ? "" : alone.error().text().c_str());
    QCOMPARE(alone->size(), std::size_t{100});
    for (const int lanes : {3, 64}) {
      const auto together = generate(*opened.model, lanes, true, {{5, 9, 33}, {5, 9, 33, 7, 12, 13}});
      QVERIFY2(together, together ? "" : together.error().text().c_str());
      for (const auto& [index, text] : *alone) {
        QCOMPARE(together->at(index).tokens, text.tokens);
        QVERIFY(together->at(index).features == text.features);
      }
    }
    // Features are the final states of one plain forward over the text.
    const auto width = static_cast<std::size_t>(opened.model->info().width);
    for (const std::int64_t index : {0, 1, 57}) {
      const GeneratedText& text = alone->at(index);
      QCOMPARE(text.features.size(), text.tokens.size() * width);
      const Floats states =
          opened.taps(requestOf(text.tokens), {{TapSite::residual, opened.model->info().layers}}).front();
      for (std::size_t i = 0; i < states.size(); ++i) {
        std::uint32_t bits = static_cast<std::uint32_t>(text.features[i]) << 16;
        float kept = 0;
        std::memcpy(&kept, &bits, sizeof kept);
        QVERIFY(std::abs(kept - states[i]) <= std::abs(states[i]) / 256);
      }
    }
  }
};

QTEST_GUILESS_MAIN(TestSideBySide)
#include "TestSideBySide.moc"
