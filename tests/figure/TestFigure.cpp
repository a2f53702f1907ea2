// Layouts by their geometry, writers by their bytes.
#include <QDir>
#include <QTemporaryDir>
#include <QTest>
#include <QXmlStreamReader>
#include <random>

#include "core/figure/Layouts.h"
#include "core/figure/Writers.h"

using namespace decoscope;

namespace {

std::string label(TokenId token) {
  return "t" + std::to_string(token);
}

// A random round: a walk of accepted nodes with rejected and unreached ones around it.
StepPointer randomRound(std::uint32_t seed, int nodes) {
  std::mt19937 random(seed);
  auto step = std::make_shared<StepRecord>();
  step->run = RunId{1};
  step->step = seed;
  step->committedBefore = 5;
  step->verifyMilliseconds = 10 + static_cast<double>(random() % 10);
  std::vector<int> depth;
  std::vector<std::vector<int>> children(static_cast<std::size_t>(nodes) + 1);
  for (int i = 0; i < nodes; ++i) {
    const int parent = static_cast<int>(random() % static_cast<unsigned>(i + 1)) - 1;
    depth.push_back(parent < 0 ? 1 : depth[static_cast<std::size_t>(parent)] + 1);
    auto& siblings = children[static_cast<std::size_t>(parent + 1)];
    step->events.push_back(
        ProposeFact{i, parent, i, 0.3, static_cast<std::int32_t>(siblings.size()), depth.back(), "test"});
    siblings.push_back(i);
  }
  std::vector<VerdictKind> kinds(static_cast<std::size_t>(nodes), VerdictKind::notReachedAncestor);
  int at = -1;
  std::vector<int> path;
  while (!children[static_cast<std::size_t>(at + 1)].empty()) {
    const auto& siblings = children[static_cast<std::size_t>(at + 1)];
    const auto pick = random() % (siblings.size() + 1);
    for (std::size_t i = 0; i < siblings.size(); ++i)
      kinds[static_cast<std::size_t>(siblings[i])] = i < pick    ? VerdictKind::rejected
                                                     : i == pick ? VerdictKind::accepted
                                                                 : VerdictKind::notReachedSibling;
    if (pick == siblings.size()) break;
    path.push_back(at = siblings[pick]);
  }
  for (int i = 0; i < nodes; ++i)
    step->events.push_back(VerdictFact{i, kinds[static_cast<std::size_t>(i)], VerificationRule::r3, 0.25});
  std::int64_t position = 5;
  for (const int node : path)
    step->events.push_back(CommitFact{position++, node, Provenance::accepted, node});
  step->events.push_back(DrawFact{at, DrawPurpose::bonus, 99, 0.5, 0.25, 0.75, 0.5, 0});
  step->events.push_back(CommitFact{position++, 99, Provenance::bonus, kRootNode});
  step->committedAfter = position;
  return step;
}

std::vector<const FigureBox*> nodesOf(const Figure& figure) {
  std::vector<const FigureBox*> nodes;
  for (const FigureBox& box : figure.boxes)
    if (box.id.kind == MarkId::Kind::node) nodes.push_back(&box);
  return nodes;
}

}  // namespace

class TestFigure : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void treesAreTidy() {
    for (std::uint32_t seed = 0; seed < 60; ++seed) {
      const int count = 1 + static_cast<int>(seed);
      const Figure figure = layoutTree(*randomRound(seed, count), 7, label);
      const auto nodes = nodesOf(figure);
      QCOMPARE(nodes.size(),
               static_cast<std::size_t>(count) + 2);  // every proposal, the root and the drawn token
      for (std::size_t i = 0; i < nodes.size(); ++i) {
        QVERIFY(figure.bounds.contains({nodes[i]->rect.x, nodes[i]->rect.y}) &&
                figure.bounds.contains(
                    {nodes[i]->rect.x + nodes[i]->rect.width, nodes[i]->rect.y + nodes[i]->rect.height}));
        for (std::size_t j = i + 1; j < nodes.size(); ++j)
          QVERIFY2(!nodes[i]->rect.intersects(nodes[j]->rect),
                   qPrintable(QString("seed %1: nodes %2 and %3").arg(seed).arg(i).arg(j)));
      }
      // The accepted path is one straight row with the root, and rejected nodes are all there.
      for (const FigureBox* node : nodes)
        if (node->tone == Tone::accepted || node->tone == Tone::bonus)
          QCOMPARE(node->rect.y, nodes.front()->rect.y);
    }
  }
  void indexEqualsBruteForce() {
    std::vector<StepPointer> steps;
    for (std::uint32_t i = 0; i < 200; ++i) steps.push_back(randomRound(i, 40));
    const auto figure = std::make_shared<Figure>(layoutTrees(steps, {}, label));
    const FigureIndex index(figure);
    std::mt19937 random(5);
    for (int i = 0; i < 50; ++i) {
      const Rect view{static_cast<float>(random() % 1000),
                      static_cast<float>(random() % static_cast<unsigned>(figure->bounds.height)), 900, 700};
      std::vector<std::uint32_t> found, wanted;
      index.boxesIn(view, found);
      for (std::uint32_t box = 0; box < figure->boxes.size(); ++box)
        if (figure->boxes[box].rect.intersects(view)) wanted.push_back(box);
      QCOMPARE(found, wanted);
    }
    const FigureBox& some = *nodesOf(*figure)[777];
    const std::int64_t hit = index.hit({some.rect.x + 3, some.rect.y + 3});
    QVERIFY(hit >= 0 && figure->boxes[static_cast<std::size_t>(hit)].id == some.id);
    QCOMPARE(index.hit({-50, -50}), std::int64_t{-1});
    QVERIFY(index.find(some.id) >= 0);
  }
  void missingStepsKeepTheirPlace() {
    std::vector<float> top;
    const Figure figure =
        layoutTrees({randomRound(1, 5), nullptr, randomRound(2, 5)}, {1, 2, 3}, label, &top);
    QCOMPARE(top.size(), std::size_t{3});
    QVERIFY(top[0] < top[1] && top[1] < top[2]);
  }
  void writersGiveTheSameBytes() {
    const Figure figure = layoutTree(
        *randomRound(9, 30), 7, [](TokenId token) { return token % 3 ? label(token) + "<&>" : "日本 ü·⏎"; });
    for (const bool dark : {false, true}) {
      FigureOptions options;
      options.dark = dark;
      options.provenance = "run 1 <&>";
      for (auto writer : {figureToSvg, figureToPdf, figureToPng, figureToTikz}) {
        const auto first = writer(figure, options), second = writer(figure, options);
        QVERIFY2(first.has_value(), first ? "" : first.error().text().c_str());
        QVERIFY(*first == *second);
        QVERIFY(first->size() > 1000);
      }
    }
    const auto svg = figureToSvg(figure, {});
    QXmlStreamReader xml(QByteArray::fromStdString(*svg));
    QString title;
    while (!xml.atEnd())
      if (xml.readNext() == QXmlStreamReader::StartElement && xml.name() == u"title")
        title = xml.readElementText();
    QVERIFY2(!xml.hasError(), qPrintable(xml.errorString()));
    QCOMPARE(title, QString("Draft tree of step 9"));
    QVERIFY(!(svg->find("font-family") != std::string::npos));
  }
  void widthIsKept() {
    FigureOptions options;
    options.widthMillimetres = 84;
    const auto svg = figureToSvg(layoutTree(*randomRound(3, 12), 7, label), options);
    QVERIFY(svg->find("width=\"238.11") != std::string::npos);  // 84 mm in points
  }
  void badPathsAreErrors() {
    const Figure figure = layoutTree(*randomRound(3, 12), 7, label);
    QCOMPARE(writeFigure(figure, {}, "/tmp/x.gif").error().code, ErrorCode::usage);
    QCOMPARE(writeFigure(figure, {}, "/nowhere/at/all/x.svg").error().code, ErrorCode::failed);
    QTemporaryDir folder;
    const QString path = folder.filePath("x.pdf");
    QVERIFY(writeFigure(figure, {}, path.toStdString()).has_value());
    QCOMPARE(QDir(folder.path()).entryList(QDir::Files), QStringList{"x.pdf"});
  }
  void latticesShowEveryCell() {
    auto step = std::make_shared<StepRecord>();
    for (int i = 0; i < 6; ++i)
      step->events.push_back(
          CellFact{10 + i, i / 3, i, 0.1 * i, 1, i == 2 ? CellState::committed : CellState::masked});
    const Figure figure = layoutLattice({step}, label, LatticeColour::confidence);
    int cells = 0, committed = 0;
    for (const FigureBox& box : figure.boxes)
      cells += box.id.kind == MarkId::Kind::cell, committed += box.tone == Tone::committed;
    QCOMPARE(cells, 6);
    QCOMPARE(committed, 1);
    QCOMPARE(figure.lines.size(), std::size_t{1});  // the border between the blocks
  }
};

QTEST_GUILESS_MAIN(TestFigure)
#include "TestFigure.moc"
