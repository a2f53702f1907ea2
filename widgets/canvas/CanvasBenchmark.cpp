#include "widgets/canvas/CanvasBenchmark.h"

#include <imgui.h>

#include <algorithm>
#include <chrono>

#include "widgets/canvas/FigurePainter.h"

namespace decoscope {

namespace {

constexpr float kWidth = 1600, kHeight = 1000;

// ImGui's own font stands in for the atlas: the same quads, one a letter.
class FontGlyphs final : public GlyphSource {
 public:
  float shape(std::string_view text, TextFace, float size, std::vector<GlyphQuad>& out) override {
    const ImFont* font = ImGui::GetFont();
    const float scale = size / font->FontSize;
    float x = 0;
    for (const char c : text) {
      const ImFontGlyph* glyph = font->FindGlyph(static_cast<unsigned char>(c));
      out.push_back({x + glyph->X0 * scale, glyph->Y0 * scale, x + glyph->X1 * scale, glyph->Y1 * scale,
                     glyph->U0, glyph->V0, glyph->U1, glyph->V1, false});
      x += glyph->AdvanceX * scale;
    }
    return x;
  }
  std::uint64_t texture() const override { return 1; }
};

float heightOf(const std::vector<std::shared_ptr<const FigureIndex>>& figures) {
  float height = 0;
  for (const auto& index : figures) height += index->figure().bounds.height;
  return height;
}

}  // namespace

float zoomToFit(const std::vector<std::shared_ptr<const FigureIndex>>& figures) {
  float width = 1;
  for (const auto& index : figures) width = std::max(width, index->figure().bounds.width);
  return std::max(0.01f, std::min(kWidth / width, kHeight / std::max(1.0f, heightOf(figures))));
}

CanvasTimes measureCanvas(const std::vector<std::shared_ptr<const FigureIndex>>& figures, float zoom,
                          int frames) {
  ImGuiContext* before = ImGui::GetCurrentContext();
  ImGuiContext* context = ImGui::CreateContext();
  ImGui::SetCurrentContext(context);
  ImGuiIO& io = ImGui::GetIO();
  io.IniFilename = nullptr;
  io.BackendFlags |= ImGuiBackendFlags_RendererHasVtxOffset;
  io.DisplaySize = {kWidth, kHeight};
  io.DeltaTime = 1.0f / 60;
  unsigned char* pixels = nullptr;
  int width = 0, height = 0;
  io.Fonts->GetTexDataAsAlpha8(&pixels, &width, &height);

  std::vector<float> tops;
  float top = 0;
  for (const auto& index : figures) {
    tops.push_back(top);
    top += index->figure().bounds.height;
  }
  FigurePainter painter;
  FontGlyphs glyphs;
  CanvasTimes times;
  for (int frame = 0; frame < frames; ++frame) {
    const auto start = std::chrono::steady_clock::now();
    ImGui::NewFrame();
    CanvasView view{{0, std::max(0.0f, top - kHeight / zoom) * static_cast<float>(frame) /
                            static_cast<float>(std::max(1, frames - 1))},
                    zoom,
                    kWidth,
                    kHeight};
    painter.begin(*ImGui::GetBackgroundDrawList(), view, darkTheme(), true);
    const Rect visible = view.visible();
    auto first =
        static_cast<std::size_t>(std::upper_bound(tops.begin(), tops.end(), visible.y) - tops.begin());
    first = first > 0 ? first - 1 : 0;
    for (std::size_t i = first; i < figures.size() && tops[i] < visible.y + visible.height; ++i)
      painter.figure(*figures[i], {0, tops[i]}, {});
    painter.finish(glyphs);
    ImGui::Render();
    times.milliseconds.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    times.marks = std::max(times.marks, painter.marks());
  }
  ImGui::DestroyContext(context);
  ImGui::SetCurrentContext(before);
  return times;
}

}  // namespace decoscope
