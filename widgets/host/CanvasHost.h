// A Dear ImGui draw list in a Qt widget: owns the context, the renderer (OpenGL 3.3 or ES 3.0) and the atlas.
// Subclasses fill the list; nothing is repainted while nothing changes. GUI thread.
#pragma once

#include <QOpenGLBuffer>
#include <QOpenGLVertexArrayObject>
#include <QOpenGLWidget>
#include <memory>

#include "widgets/host/GlyphAtlas.h"

struct ImGuiContext;
struct ImDrawData;
class QOpenGLShaderProgram;

namespace decoscope {

class CanvasHost : public QOpenGLWidget {
  Q_OBJECT
 public:
  explicit CanvasHost(QWidget* parent = nullptr);
  ~CanvasHost() override;
  // CPU time of this thread that the last frame took, from the first call to the hand-over to the driver, in
  // milliseconds. A software driver's rasterising happens after it, or on threads of its own.
  double frameMilliseconds() const { return frameMilliseconds_; }
  std::uint64_t frames() const { return frames_; }

 protected:
  virtual void drawFrame(ImDrawList& list, FigurePainter& painter, GlyphSource& glyphs) = 0;
  virtual Colour clearColour() const = 0;
  void initializeGL() override;
  void paintGL() override;

 private:
  void upload();
  void render(const ImDrawData& data);
  void release();

  ImGuiContext* context_ = nullptr;
  GlyphAtlas atlas_;
  FigurePainter painter_;
  std::unique_ptr<QOpenGLShaderProgram> program_;
  QOpenGLBuffer vertices_{QOpenGLBuffer::VertexBuffer}, indices_{QOpenGLBuffer::IndexBuffer};
  QOpenGLVertexArrayObject array_;
  unsigned fontTexture_ = 0, glyphTexture_ = 0;
  double frameMilliseconds_ = 0;
  std::uint64_t frames_ = 0;
};

}  // namespace decoscope
