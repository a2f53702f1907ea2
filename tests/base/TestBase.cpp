#include <QTest>

#include "core/base/ParamSchema.h"
#include "core/base/Rng.h"

using namespace decoscope;

class TestBase : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  // Known answers of Philox4x32-10 (Salmon et al., test vectors).
  void philoxKnownAnswers() {
    QVERIFY((philox({0, 0, 0, 0}, {0, 0}) ==
             std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
    constexpr std::uint32_t f = 0xffffffff;
    QVERIFY((philox({f, f, f, f}, {f, f}) ==
             std::array<std::uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  }
  void drawsDependOnEveryCoordinate() {
    const double u = uniform({1, 0, 5}, 3, DrawPurpose::verdict);
    QVERIFY(u >= 0 && u < 1);
    QCOMPARE(uniform({1, 0, 5}, 3, DrawPurpose::verdict), u);
    for (const double other :
         {uniform({2, 0, 5}, 3, DrawPurpose::verdict), uniform({1, 1, 5}, 3, DrawPurpose::verdict),
          uniform({1, 0, 6}, 3, DrawPurpose::verdict), uniform({1, 0, 5}, 4, DrawPurpose::verdict),
          uniform({1, 0, 5}, 3, DrawPurpose::sample), uniform({1, 0, 5}, 3, DrawPurpose::verdict, 1)})
      QVERIFY(other != u);
  }
  void drawsAreUniform() {
    constexpr int kBins = 20, kDraws = 40000;
    int bins[kBins] = {};
    for (int i = 0; i < kDraws; ++i)
      ++bins[static_cast<int>(uniform({7, 0, i}, kRootNode, DrawPurpose::sample) * kBins)];
    double chi = 0;
    for (const int count : bins) chi += std::pow(count - kDraws / kBins, 2) / (kDraws / kBins);
    QVERIFY2(chi < 43.8, qPrintable(QString::number(chi)));  // 19 degrees of freedom, p = 0.001
  }
  void parametersAreChecked() {
    const ParamSchema schema({{"gamma", "", ParamType::integer, std::int64_t{4}, 1, 8, {}, "", ""},
                              {"rule", "", ParamType::choice, std::string("r1"), 0, 0, {"r1", "r3"}, "", ""},
                              {"temperature", "", ParamType::real, 0.5, 0, 2, {}, "", ""},
                              {"adaptive", "", ParamType::boolean, true, 0, 1, {}, "", ""}});
    const std::vector<std::string> good = {"gamma=8", "temperature=0.1", "rule=r3", "adaptive=false"};
    const auto set = schema.parse(good);
    QVERIFY(set.has_value());
    QCOMPARE(set->integer("gamma"), 8);
    QCOMPARE(set->real("temperature"), 0.1);
    QCOMPARE(set->text("rule"), std::string("r3"));
    QVERIFY(!set->boolean("adaptive"));
    for (const char* bad : {"gamma=9", "gamma=1.5", "gamma=", "rule=r2", "temperature=nan", "temperature=-1",
                            "adaptive=maybe", "gamma", "=3", "gama=3"}) {
      const std::vector<std::string> one = {bad};
      const auto result = schema.parse(one);
      QVERIFY2(!result && result.error().code == ErrorCode::usage, bad);
    }
    QCOMPARE(schema.parse("gama", "3").error().hint, std::string("Did you mean gamma?"));
  }
};

QTEST_GUILESS_MAIN(TestBase)
#include "TestBase.moc"
