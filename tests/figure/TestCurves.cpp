// Curves: what is collected, what is drawn of it, and that nothing is lost where there are more values than
// pixels.
#include <QTest>
#include <algorithm>
#include <cmath>
#include <ctime>
#include <random>
#include <set>

#include "core/figure/Curves.h"
#include "core/figure/Writers.h"

using namespace decoscope;

namespace {

StepRecord record(StepIndex index, std::vector<Event> events) {
  StepRecord step;
  step.run = RunId{1};
  step.step = index;
  step.events = std::move(events);
  return step;
}

// A training of `steps` records, one each ten steps of the optimiser, with one value that stands out.
CurveSet training(int steps, int outlier = -1) {
  std::mt19937 random(5);
  std::normal_distribution<double> noise;
  CurveSet set;
  for (int i = 0; i < steps; ++i) {
    const double loss = 2 + 5 * std::exp(-8.0 * i / steps) + 0.1 * noise(random) + (i == outlier ? 20 : 0);
    const std::int64_t at = 10 * i;
    std::vector<Event> events = {MeasureFact{"loss", loss, "nats", at},
                                 MeasureFact{"loss.exit", loss + 0.5, "nats", at},
                                 MeasureFact{"learning_rate", 1e-3 * (1 - 1.0 * i / steps), "", at},
                                 MeasureFact{"tokens_per_second", 900 + 20 * noise(random), "tokens/s", at}};
    if (i % 100 == 0) events.push_back(MeasureFact{"held_out_bits_per_byte", 2.5, "bits/byte", at});
    set.add(record(i, std::move(events)));
  }
  return set;
}

std::vector<const FigureLine*> linesOf(const CurvePlot& plot, std::size_t curve) {
  std::vector<const FigureLine*> lines;
  for (const FigureLine& line : plot.figure.lines)
    if (line.polyline && line.tone == curveTone(curve)) lines.push_back(&line);
  return lines;
}
std::size_t pointsDrawn(const CurvePlot& plot) {
  std::size_t points = 0;
  for (const FigureLine& line : plot.figure.lines) points += line.points.size();
  return points;
}
const FigureBox* markUnder(const CurvePlot& plot, Point at) {
  const FigureIndex index(std::make_shared<Figure>(plot.figure));
  const std::int64_t hit = index.hit(at);
  return hit < 0 ? nullptr : &plot.figure.boxes[static_cast<std::size_t>(hit)];
}
bool hasLabel(const CurvePlot& plot, const std::string& text) {
  return std::any_of(plot.figure.labels.begin(), plot.figure.labels.end(),
                     [&](const FigureLabel& label) { return label.text == text; });
}

}  // namespace

class TestCurves : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void measuresBecomeCurves() {
    const CurveSet set = training(300);
    QCOMPARE(set.curves().size(), std::size_t{5});
    QCOMPARE(set.curves()[0].name, std::string("loss"));
    QCOMPARE(set.curves()[0].points.size(), std::size_t{300});
    QCOMPARE(set.curves()[4].points.size(), std::size_t{3});
    QVERIFY(set.first() == 0 && set.last() == 2990);
    // The same name in another unit is another curve; without `at` the step's number is the place.
    CurveSet more = set;
    more.add(record(400, {MeasureFact{"loss", 1, "bits"}, NoteFact{"warning", "x"}}));
    QCOMPARE(more.curves().size(), std::size_t{6});
    QVERIFY(more.curves()[5].points[0].at == 400 && set.curves().size() == 5);
    QCOMPARE(more.indexOf(MeasureFact{"loss", 0, "bits"}), std::size_t{5});
    QCOMPARE(more.indexOf(MeasureFact{"other"}), std::size_t{6});
  }

  void aUnitIsAPanel() {
    const CurveSet set = training(300);
    const CurvePlot plot = layoutCurves(set);
    QCOMPARE(plot.panels.size(), std::size_t{4});
    QCOMPARE(plot.panels[0].curves, (std::vector<std::size_t>{0, 1}));
    for (std::size_t i = 0; i < plot.panels.size(); ++i) {
      const Rect& r = plot.panels[i].plot;
      QVERIFY(plot.figure.bounds.contains({r.x, r.y}) &&
              plot.figure.bounds.contains({r.x + r.width, r.y + r.height}));
      QCOMPARE(r.x, plot.panels[0].plot.x);
      QCOMPARE(r.width, plot.panels[0].plot.width);
      if (i > 0) QVERIFY(r.y >= plot.panels[i - 1].plot.y + plot.panels[i - 1].plot.height);
    }
    // Every line stays in a panel, and every name stands at the right.
    for (const FigureLine& line : plot.figure.lines)
      if (line.polyline)
        QVERIFY(std::any_of(plot.panels.begin(), plot.panels.end(), [&](const CurvePanel& panel) {
          return std::all_of(line.points.begin(), line.points.end(), [&](Point p) {
            return p.x >= panel.plot.x - 0.01f && p.x <= panel.plot.x + panel.plot.width + 0.01f &&
                   p.y >= panel.plot.y - 0.01f && p.y <= panel.plot.y + panel.plot.height + 0.01f;
          });
        }));
    for (const Curve& curve : set.curves())
      QVERIFY(
          std::any_of(plot.figure.labels.begin(), plot.figure.labels.end(), [&](const FigureLabel& label) {
            return label.text.starts_with(curve.name + "  ") &&
                   label.at.x > plot.panels[0].plot.x + plot.panels[0].plot.width;
          }));
    QVERIFY(plot.figure.description.find("held_out_bits_per_byte: from 2.5 bits/byte at step 0") !=
            std::string::npos);
    // What has no unit and different first words is apart; what shares a first word is together.
    CurveSet plain;
    plain.add(
        record(0, {MeasureFact{"norm.gradient", 1}, MeasureFact{"norm.weights", 2}, MeasureFact{"rate", 3}}));
    QCOMPARE(layoutCurves(plain).panels.size(), std::size_t{2});
  }

  void ticksAreRound_data() {
    QTest::addColumn<double>("low");
    QTest::addColumn<double>("high");
    QTest::addColumn<QStringList>("labels");
    QTest::newRow("losses") << 0.0 << 8.0 << QStringList{"0", "2", "4", "6", "8"};
    QTest::newRow("rates") << 900.0 << 1000.0 << QStringList{"900", "950", "1000"};
    QTest::newRow("small") << 0.0 << 3e-3 << QStringList{"0", "0.001", "0.002", "0.003"};
    QTest::newRow("very small") << 0.0 << 2e-6 << QStringList{"0", "1e-06", "2e-06"};
    QTest::newRow("large") << 0.0 << 40'000.0 << QStringList{"0", "10 000", "20 000"};
    QTest::newRow("around nothing") << -1.0 << 1.0 << QStringList{"-1.0", "-0.5", "0", "1.0"};
  }
  void ticksAreRound() {
    QFETCH(double, low);
    QFETCH(double, high);
    QFETCH(QStringList, labels);
    CurveSet set;
    set.add(record(0, {MeasureFact{"x", low, "u"}}));
    set.add(record(100, {MeasureFact{"x", high, "u"}}));
    const CurvePlot plot = layoutCurves(set);
    for (const QString& label : labels) QVERIFY2(hasLabel(plot, label.toStdString()), qPrintable(label));
    QVERIFY(plot.panels[0].low < low && plot.panels[0].high > high);
  }

  void aConstantAndASinglePointHavePlaces() {
    CurveSet set;
    set.add(record(7, {MeasureFact{"x", 0.25, "u"}}));
    const CurvePlot one = layoutCurves(set);
    QVERIFY(one.first < 7 && one.last > 7);
    const FigureBox* mark = markUnder(one, {one.xOf(7), one.panels[0].yOf(0.25)});
    QVERIFY(mark && mark->id == (MarkId{MarkId::Kind::measure, RunId{1}, 7, 0}));
    QCOMPARE(mark->tooltip, std::string("step 7\nx = 0.25 u"));
    for (int i = 8; i < 200; ++i) set.add(record(i, {MeasureFact{"x", 0.25, "u"}}));
    const CurvePlot flat = layoutCurves(set);
    QVERIFY(flat.panels[0].low < 0.25 && flat.panels[0].high > 0.25);
    QVERIFY(layoutCurves({}).figure.boxes.empty());
    // Also where whole numbers are no longer told apart.
    CurveSet far;
    far.add(record(0, {MeasureFact{"x", 1, "u", INT64_MAX}}));
    const CurvePlot single = layoutCurves(far);
    QVERIFY(single.first < single.last && std::isfinite(single.xOf(9.2e18)));
  }

  void noiseIsSmoothedAndSchedulesAreNot() {
    const CurvePlot plot = layoutCurves(training(2000));
    const auto loss = linesOf(plot, 0), rate = linesOf(plot, 2);
    QCOMPARE(loss.size(), std::size_t{2});
    QVERIFY(loss[0]->opacity < 0.5f && loss[1]->opacity == 1 && loss[1]->width > loss[0]->width);
    QCOMPARE(rate.size(), std::size_t{1});
    QCOMPARE(rate[0]->opacity, 1.0f);
    QVERIFY(hasLabel(plot, "exponential moving average, span 20 values"));
    // The average of weight 2/(span + 1) without the bias of its start, recomputed here.
    const CurveSet set = training(2000);
    const std::vector<CurvePoint>& points = set.curves()[0].points;
    double sum = 0, weights = 0;
    for (const CurvePoint& point : points) {
      sum = sum * (19.0 / 21) + point.value * (2.0 / 21);
      weights = weights * (19.0 / 21) + 2.0 / 21;
    }
    QVERIFY(std::abs(loss[1]->points.back().y - plot.panels[0].yOf(sum / weights)) < 0.01f);
    QCOMPARE(loss[0]->points.front().y, plot.panels[0].yOf(points.front().value));
  }
  void spans_data() {
    QTest::addColumn<int>("points");
    QTest::addColumn<int>("span");
    for (const auto& [points, span] :
         {std::pair{0, 5}, {150, 5}, {500, 5}, {999, 5}, {1000, 10}, {20'000, 200}, {100'000, 1000}})
      QTest::addRow("%d", points) << points << span;
  }
  void spans() {
    QFETCH(int, points);
    QFETCH(int, span);
    QCOMPARE(curveSpan(static_cast<std::size_t>(points)), span);
  }

  // 100 000 values a curve: few points are drawn, every peak is among them, and it takes little time.
  void manyValuesLoseNoPeak() {
    const int outlier = 61'803;
    const CurveSet set = training(100'000, outlier);
    // Of the processor: other work on the machine does not count.
    const auto milliseconds = [start = std::clock()] {
      return 1e3 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    };
    const CurvePlot plot = layoutCurves(set, {1400, 900});
    const double took = milliseconds();
    const FigureIndex index(std::make_shared<Figure>(plot.figure));
    qInfo("laid out in %.1f ms, indexed in %.1f ms, %zu points", took, milliseconds() - took,
          pointsDrawn(plot));
    QVERIFY(took < 250);
    const auto width = static_cast<std::size_t>(plot.panels[0].plot.width);
    QVERIFY2(pointsDrawn(plot) < 4 * (width + 2) * 8 + 200, qPrintable(QString::number(pointsDrawn(plot))));
    // The value that stands out is drawn at its place, in the raw line.
    const double peak = set.curves()[0].points[static_cast<std::size_t>(outlier)].value;
    const FigureLine& raw = *linesOf(plot, 0).front();
    const auto top =
        std::min_element(raw.points.begin(), raw.points.end(), [](Point a, Point b) { return a.y < b.y; });
    QVERIFY(std::abs(top->x - plot.xOf(10.0 * outlier)) < 0.01f);
    QVERIFY(std::abs(top->y - plot.panels[0].yOf(peak)) < 0.01f);
    // Each pixel column goes from its smallest to its largest value.
    const std::vector<CurvePoint>& points = set.curves()[0].points;
    const int column = 700;
    double low = INFINITY, high = -INFINITY;
    for (const CurvePoint& point : points)
      if (static_cast<int>(std::floor(plot.xOf(point.at) - plot.panels[0].plot.x)) == column)
        low = std::min(low, point.value), high = std::max(high, point.value);
    float highest = INFINITY, lowest = -INFINITY;
    for (const Point& point : raw.points)
      if (static_cast<int>(std::floor(point.x - plot.panels[0].plot.x)) == column)
        highest = std::min(highest, point.y), lowest = std::max(lowest, point.y);
    QVERIFY(std::abs(highest - plot.panels[0].yOf(high)) < 0.01f);
    QVERIFY(std::abs(lowest - plot.panels[0].yOf(low)) < 0.01f);
  }

  // Zoomed in, every value is drawn, the lines go on over the edges, and the average is the same.
  void zoomedInEveryValueIsThere() {
    const CurveSet set = training(20'000);
    const CurvePlot whole = layoutCurves(set, {1400, 900});
    const CurvePlot part = layoutCurves(set, {1400, 900, 50'000, 51'000});
    QVERIFY(part.first == 50'000 && part.last == 51'000);
    const FigureLine& raw = *linesOf(part, 0).front();
    std::size_t found = 0;
    for (int i = 5000; i <= 5100; ++i) {
      const CurvePoint& point = set.curves()[0].points[static_cast<std::size_t>(i)];
      found += static_cast<std::size_t>(std::count_if(raw.points.begin(), raw.points.end(), [&](Point p) {
        return std::abs(p.x - part.xOf(point.at)) < 0.01f &&
               std::abs(p.y - part.panels[0].yOf(point.value)) < 0.01f;
      }));
    }
    QCOMPARE(found, std::size_t{101});
    std::set<StepIndex> steps;
    for (const FigureBox& box : part.figure.boxes)
      if (box.id.kind == MarkId::Kind::measure && box.id.item == 0) steps.insert(box.id.step);
    QCOMPARE(steps.size(), std::size_t{101});
    // One with a hundred steps under the pixel says so; here none does.
    const FigureBox* dense = markUnder(whole, {whole.xOf(50'000), whole.panels[0].plot.y + 5});
    QVERIFY(dense && dense->tooltip.find("values under this pixel") != std::string::npos);
    const FigureBox* single = markUnder(part, {part.xOf(50'500) + 0.2f, part.panels[0].plot.y + 5});
    QVERIFY(single && single->id.step == 5050 && single->tooltip.starts_with("step 50 500\nloss = "));
    QVERIFY(single->tooltip.find("values under") == std::string::npos);
    // Between two values a line runs from edge to edge.
    const CurvePlot between = layoutCurves(set, {1400, 900, 50'002, 50'008});
    QCOMPARE(linesOf(between, 2).size(), std::size_t{1});
    QCOMPARE(linesOf(between, 2).front()->points.front().x, between.panels[0].plot.x);
    // Past the end there is nothing, and nothing breaks.
    QVERIFY(linesOf(layoutCurves(set, {1400, 900, 500'000, 600'000}), 0).empty());
  }

  void marksCoverThePanel() {
    const CurvePlot plot = layoutCurves(training(700), {1000, 700});
    for (const CurvePanel& panel : plot.panels)
      for (float x = panel.plot.x + 0.25f; x < panel.plot.x + panel.plot.width; x += 7.3f) {
        const FigureBox* mark = markUnder(plot, {x, panel.plot.y + panel.plot.height / 2});
        QVERIFY(mark && mark->id.kind == MarkId::Kind::measure);
        QVERIFY(std::find(panel.curves.begin(), panel.curves.end(),
                          static_cast<std::size_t>(mark->id.item)) != panel.curves.end());
      }
    QVERIFY(!markUnder(plot, {plot.panels[0].plot.x - 5, plot.panels[0].plot.y + 5}));
  }

  void whatIsNoNumberIsMarked() {
    CurveSet set;
    for (int i = 0; i < 300; ++i) {
      const double value = i == 100 ? kUnknown : i == 150 ? INFINITY : i == 160 ? 1e308 : std::sin(i);
      set.add(record(i, {MeasureFact{"loss", value, "nats"}}));
    }
    const CurvePlot plot = layoutCurves(set);
    // Three pieces and more, no point outside, three marks at their places.
    for (const FigureLine& line : plot.figure.lines)
      for (const Point p : line.points) QVERIFY(std::isfinite(p.x) && std::isfinite(p.y));
    std::vector<float> marks;
    for (const FigureLabel& label : plot.figure.labels)
      if (label.text == "✕") marks.push_back(label.at.x);
    QCOMPARE(marks, (std::vector<float>{plot.xOf(100), plot.xOf(150), plot.xOf(160)}));
    QVERIFY(plot.panels[0].high < 2);
    QVERIFY(markUnder(plot, {plot.xOf(100), plot.panels[0].plot.y + 5})->tooltip.find("not a number") !=
            std::string::npos);
    QVERIFY(plot.figure.description.ends_with("3 values that are not finite"));
  }

  // A damaged record: places out of order, huge numbers, nothing but what is no number.
  void damagedRecordsAreDrawn() {
    CurveSet set;
    std::mt19937_64 random(9);
    for (int i = 0; i < 500; ++i)
      set.add(record(i, {MeasureFact{"a", std::ldexp(1.0, static_cast<int>(random() % 2000) - 1000), "",
                                     static_cast<std::int64_t>(random() >> 1)},
                         MeasureFact{"b", kUnknown, "u", -5}, MeasureFact{std::string(300, 'x'), 1, "v"}}));
    for (const CurveOptions& options : {CurveOptions{}, CurveOptions{1, 1}, CurveOptions{1e9f, 1e9f},
                                        CurveOptions{800, 600, -1e18, 1e18}, CurveOptions{800, 600, 5, 5}}) {
      const CurvePlot plot = layoutCurves(set, options);
      QVERIFY(plot.figure.bounds.width > 0 && plot.figure.bounds.height > 0);
      QVERIFY(plot.figure.labels.size() < 5000);
      for (const FigureLine& line : plot.figure.lines)
        for (const Point p : line.points) QVERIFY(std::isfinite(p.x) && std::isfinite(p.y));
    }
    QVERIFY(!set.curves()[0].ordered);
    const CurvePlot plot = layoutCurves(set);
    for (const FigureLine* line : linesOf(plot, 0))
      QVERIFY(std::is_sorted(line->points.begin(), line->points.end(),
                             [](Point a, Point b) { return a.x < b.x; }));
  }

  void namesDoNotMeet() {
    CurveSet set;
    for (int i = 0; i < 20; ++i) {
      std::vector<Event> events;
      for (int curve = 0; curve < 8; ++curve)
        events.push_back(MeasureFact{"loss." + std::to_string(curve), 1 + 0.001 * curve * i, "nats"});
      set.add(record(i, std::move(events)));
    }
    const CurvePlot plot = layoutCurves(set);
    std::vector<float> y;
    for (const FigureLabel& label : plot.figure.labels)
      if (label.text.starts_with("loss.")) y.push_back(label.at.y);
    std::sort(y.begin(), y.end());
    QCOMPARE(y.size(), std::size_t{8});
    for (std::size_t i = 1; i < y.size(); ++i) QVERIFY(y[i] - y[i - 1] > 11);
    // Beyond six colours lines are dashed.
    QVERIFY(curveTone(6) == curveTone(0) && linesOf(plot, 6).size() == 2);
    QVERIFY(linesOf(plot, 0)[0]->dashed != linesOf(plot, 0)[1]->dashed);
  }

  // A polyline of four points is no Bézier curve, and the same figure gives the same bytes.
  void writersDrawPolylines() {
    CurveSet set;
    for (int i = 0; i < 4; ++i) set.add(record(i, {MeasureFact{"x", i % 2 * 1.0, "u"}}));
    const CurvePlot plot = layoutCurves(set);
    QCOMPARE(linesOf(plot, 0).front()->points.size(), std::size_t{4});
    FigureOptions options;
    options.provenance = "run 1, view curves";
    for (const bool dark : {false, true}) {
      options.dark = dark;
      for (auto writer : {figureToSvg, figureToPdf, figureToPng, figureToTikz}) {
        const auto first = writer(plot.figure, options), second = writer(plot.figure, options);
        QVERIFY(first.has_value() && *first == *second);
      }
    }
    const auto tikz = figureToTikz(layoutCurves(training(300)).figure, {});
    QVERIFY(tikz->find("controls") == std::string::npos);
    QVERIFY(tikz->find(",opacity=0.34") != std::string::npos);
    const auto svg = figureToSvg(plot.figure, options);
    QVERIFY(svg->find("<title>Curves</title>") != std::string::npos);
    QVERIFY(svg->find("x: from 0 u at step 0") != std::string::npos);
    QVERIFY(svg->find("run 1, view curves") != std::string::npos);
  }
};

QTEST_GUILESS_MAIN(TestCurves)
#include "TestCurves.moc"
