// Text of canvases as quads of one texture, rasterised by Qt: any script, with the system's fallback fonts,
// emoji in colour. Dear ImGui's own atlas is static and knows one font at a time. GUI thread.
#pragma once

#include <QFont>
#include <QHash>
#include <QImage>

#include "widgets/canvas/FigurePainter.h"

namespace decoscope {

class GlyphAtlas final : public GlyphSource {
 public:
  GlyphAtlas();
  // Pixels of the screen per unit; a change clears the atlas, so that text is sharp at every scale.
  void setPixelRatio(qreal ratio);
  float shape(std::string_view text, TextFace face, float size, std::vector<GlyphQuad>& out) override;
  std::uint64_t texture() const override { return texture_; }
  void setTexture(std::uint64_t texture) { texture_ = texture; }

  const QImage& image() const { return image_; }  // RGBA, straight alpha; row 0 first
  // The rows that changed since the last call; empty when none did.
  QRect takeChanged();
  // Grows when the atlas had to be cleared: quads shaped before it are void.
  int generation() const { return generation_; }

 private:
  struct Glyph {
    float advance = 0, left = 0, top = 0, width = 0, height = 0;  // pixels of the rasterised size
    QPoint at;
    bool coloured = false, blank = false;
  };
  const Glyph& glyph(const QString& cluster, TextFace face, int pixels);
  bool place(const QSize& size, QPoint& at);
  void clear();
  QFont font(TextFace face, int pixels) const;

  QImage image_;
  QRect changed_;
  QHash<QString, Glyph> glyphs_;
  std::vector<Glyph> ascii_;  // [face][pixels][character], filled on demand
  std::vector<bool> asciiKnown_;
  int x_ = 0, y_ = 0, shelf_ = 0;
  int generation_ = 0;
  qreal ratio_ = 1;
  std::uint64_t texture_ = 0;
};

}  // namespace decoscope
