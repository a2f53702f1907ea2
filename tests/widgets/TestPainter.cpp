// What the painter hands to the driver, without one: the motion of an arriving round.
#include <imgui.h>
#include <QTest>

#include "core/figure/Layouts.h"
#include "widgets/canvas/FigurePainter.h"

using namespace decoscope;

namespace {

class NoGlyphs final : public GlyphSource {
 public:
  float shape(std::string_view, TextFace, float, std::vector<GlyphQuad>&) override { return 0; }
  std::uint64_t texture() const override { return 1; }
};

std::shared_ptr<Figure> twoBoxes(Tone tone) {
  auto figure = std::make_shared<Figure>();
  for (const float x : {0.0f, 300.0f}) {
    FigureBox box;
    box.rect = {x, 0, 60, 26};
    box.tone = tone;
    box.outlined = false;
    box.filled = true;
    figure->boxes.push_back(box);
  }
  figure->bounds = {0, 0, 400, 26};
  return figure;
}

}  // namespace

class TestPainter : public QObject {
  Q_OBJECT

  // The colours of the two boxes under this emphasis.
  static std::array<ImU32, 2> colours(Tone tone, const Emphasis& emphasis) {
    ImGuiContext* context = ImGui::CreateContext();
    ImGui::SetCurrentContext(context);
    ImGuiIO& io = ImGui::GetIO();
    io.IniFilename = nullptr;
    io.DisplaySize = {800, 600};
    unsigned char* pixels = nullptr;
    int width = 0, height = 0;
    io.Fonts->GetTexDataAsAlpha8(&pixels, &width, &height);
    ImGui::NewFrame();
    ImDrawList& list = *ImGui::GetBackgroundDrawList();
    FigurePainter painter;
    NoGlyphs glyphs;
    painter.begin(list, {{0, 0}, 1, 800, 600}, darkTheme(), false);
    const FigureIndex index(twoBoxes(tone));
    painter.figure(index, {10, 100}, emphasis);
    painter.finish(glyphs);
    std::array<ImU32, 2> found{};
    for (const ImDrawVert& vertex : list.VtxBuffer) found[vertex.pos.x < 200 ? 0 : 1] = vertex.col;
    ImGui::Render();
    ImGui::DestroyContext(context);
    return found;
  }
  static int alpha(ImU32 colour) { return static_cast<int>(colour >> IM_COL32_A_SHIFT & 0xFF); }

 private Q_SLOTS:
  void aRoundFadesIn() {
    const auto whole = colours(Tone::notReached, {});
    QCOMPARE(alpha(whole[0]), 255);
    for (const int i : {0, 1}) {
      const int half = alpha(colours(Tone::notReached, {.reveal = 0.5f})[static_cast<std::size_t>(i)]);
      QVERIFY(half > 100 && half < 160);
    }
  }
  void whatWasKeptLightsUpFromTheRootOn() {
    const auto plain = colours(Tone::accepted, {}), dark = colours(Tone::notReached, {});
    QCOMPARE(colours(Tone::accepted, {.lit = 0}), dark);
    const auto half = colours(Tone::accepted, {.lit = 0.4f});
    QCOMPARE(half[0], plain[0]);
    QCOMPARE(half[1], dark[1]);
    QCOMPARE(colours(Tone::accepted, {.lit = 1}), plain);
    // What was not kept does not light up.
    QCOMPARE(colours(Tone::rejected, {.lit = 0}), colours(Tone::rejected, {}));
  }
};

QTEST_APPLESS_MAIN(TestPainter)
#include "TestPainter.moc"
