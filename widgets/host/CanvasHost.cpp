#include "widgets/host/CanvasHost.h"

#include <imgui.h>

#include <QOpenGLContext>
#include <QOpenGLExtraFunctions>
#include <QOpenGLShaderProgram>
#include <cmath>
#include <cstddef>
#include <ctime>

namespace decoscope {

namespace {

constexpr const char* kVertexShader = R"(
uniform vec2 window;
in vec2 position;
in vec2 place;
in vec4 tint;
out vec2 at;
out vec4 colour;
void main() {
  at = place;
  colour = tint;
  gl_Position = vec4(2.0 * position.x / window.x - 1.0, 1.0 - 2.0 * position.y / window.y, 0.0, 1.0);
})";
constexpr const char* kFragmentShader = R"(
uniform sampler2D picture;
in vec2 at;
in vec4 colour;
out vec4 result;
void main() { result = colour * texture(picture, at); })";

double threadMilliseconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

}  // namespace

CanvasHost::CanvasHost(QWidget* parent) : QOpenGLWidget(parent) {
  setFocusPolicy(Qt::StrongFocus);
  setMouseTracking(true);
  setUpdateBehavior(QOpenGLWidget::NoPartialUpdate);
  ImGuiContext* before = ImGui::GetCurrentContext();
  context_ = ImGui::CreateContext();
  ImGui::SetCurrentContext(context_);
  ImGuiIO& io = ImGui::GetIO();
  io.IniFilename = nullptr;
  io.BackendFlags |= ImGuiBackendFlags_RendererHasVtxOffset;
  ImGui::SetCurrentContext(before);
}

CanvasHost::~CanvasHost() {
  release();
  ImGui::DestroyContext(context_);
}

void CanvasHost::release() {
  if (!program_) return;
  makeCurrent();
  QOpenGLExtraFunctions* gl = context()->extraFunctions();
  const GLuint textures[] = {fontTexture_, glyphTexture_};
  gl->glDeleteTextures(2, textures);
  vertices_.destroy();
  indices_.destroy();
  array_.destroy();
  program_.reset();
  doneCurrent();
}

void CanvasHost::initializeGL() {
  // A widget that moves to another window gets another context.
  connect(context(), &QOpenGLContext::aboutToBeDestroyed, this, &CanvasHost::release, Qt::DirectConnection);
  QOpenGLExtraFunctions* gl = context()->extraFunctions();
  const QByteArray version =
      context()->isOpenGLES() ? "#version 300 es\nprecision mediump float;\n" : "#version 330 core\n";
  program_ = std::make_unique<QOpenGLShaderProgram>();
  program_->addShaderFromSourceCode(QOpenGLShader::Vertex, version + kVertexShader);
  program_->addShaderFromSourceCode(QOpenGLShader::Fragment, version + kFragmentShader);
  program_->bindAttributeLocation("position", 0);
  program_->bindAttributeLocation("place", 1);
  program_->bindAttributeLocation("tint", 2);
  if (!program_->link()) qWarning("canvas: the shaders do not link: %s", qPrintable(program_->log()));
  array_.create();
  vertices_.create();
  indices_.create();

  const auto makeTexture = [gl](int width, int height, const void* pixels) {
    GLuint texture = 0;
    gl->glGenTextures(1, &texture);
    gl->glBindTexture(GL_TEXTURE_2D, texture);
    gl->glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, GL_LINEAR);
    gl->glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MAG_FILTER, GL_LINEAR);
    gl->glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_WRAP_S, GL_CLAMP_TO_EDGE);
    gl->glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_WRAP_T, GL_CLAMP_TO_EDGE);
    gl->glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA8, width, height, 0, GL_RGBA, GL_UNSIGNED_BYTE, pixels);
    return texture;
  };
  ImGui::SetCurrentContext(context_);
  unsigned char* pixels = nullptr;
  int width = 0, height = 0;
  ImGui::GetIO().Fonts->GetTexDataAsRGBA32(&pixels, &width, &height);
  fontTexture_ = makeTexture(width, height, pixels);
  ImGui::GetIO().Fonts->SetTexID(reinterpret_cast<ImTextureID>(static_cast<std::uintptr_t>(fontTexture_)));
  glyphTexture_ = makeTexture(atlas_.image().width(), atlas_.image().height(), atlas_.image().constBits());
  atlas_.setTexture(glyphTexture_);
}

void CanvasHost::paintGL() {
  const double start = threadMilliseconds();
  ImGui::SetCurrentContext(context_);
  atlas_.setPixelRatio(devicePixelRatioF());
  ImGuiIO& io = ImGui::GetIO();
  io.DisplaySize = {static_cast<float>(width()), static_cast<float>(height())};
  io.DeltaTime = 1.0f / 60;
  int generation = 0;
  // A full atlas is cleared while the frame is made; the frame is then made again with the new one.
  for (int attempt = 0; attempt < 2 && generation != atlas_.generation(); ++attempt) {
    generation = atlas_.generation();
    ImGui::NewFrame();
    drawFrame(*ImGui::GetBackgroundDrawList(), painter_, atlas_);
    ImGui::Render();
  }
  upload();
  render(*ImGui::GetDrawData());
  frameMilliseconds_ = threadMilliseconds() - start;
  ++frames_;
}

void CanvasHost::upload() {
  const QRect changed = atlas_.takeChanged();
  if (changed.isEmpty()) return;
  QOpenGLExtraFunctions* gl = context()->extraFunctions();
  gl->glBindTexture(GL_TEXTURE_2D, glyphTexture_);
  // Whole rows: they lie together in memory.
  gl->glTexSubImage2D(GL_TEXTURE_2D, 0, 0, changed.top(), atlas_.image().width(), changed.height(), GL_RGBA,
                      GL_UNSIGNED_BYTE, atlas_.image().constScanLine(changed.top()));
}

void CanvasHost::render(const ImDrawData& data) {
  QOpenGLExtraFunctions* gl = context()->extraFunctions();
  const Colour clear = clearColour();
  const auto ratio = static_cast<float>(devicePixelRatioF());
  gl->glViewport(0, 0, static_cast<int>(std::lround(static_cast<float>(width()) * ratio)),
                 static_cast<int>(std::lround(static_cast<float>(height()) * ratio)));
  gl->glDisable(GL_SCISSOR_TEST);
  gl->glDisable(GL_DEPTH_TEST);
  gl->glDisable(GL_CULL_FACE);
  gl->glClearColor(static_cast<float>(clear.r) / 255, static_cast<float>(clear.g) / 255,
                   static_cast<float>(clear.b) / 255, 1);
  gl->glClear(GL_COLOR_BUFFER_BIT);
  if (!program_ || !program_->isLinked()) return;
  gl->glEnable(GL_BLEND);
  gl->glBlendFuncSeparate(GL_SRC_ALPHA, GL_ONE_MINUS_SRC_ALPHA, GL_ONE, GL_ONE_MINUS_SRC_ALPHA);
  program_->bind();
  program_->setUniformValue("window", QVector2D(static_cast<float>(width()), static_cast<float>(height())));
  program_->setUniformValue("picture", 0);
  gl->glActiveTexture(GL_TEXTURE0);
  array_.bind();
  vertices_.bind();
  indices_.bind();
  for (int i = 0; i < data.CmdListsCount; ++i) {
    const ImDrawList& list = *data.CmdLists[i];
    vertices_.allocate(list.VtxBuffer.Data, list.VtxBuffer.size_in_bytes());
    indices_.allocate(list.IdxBuffer.Data, list.IdxBuffer.size_in_bytes());
    for (const ImDrawCmd& command : list.CmdBuffer) {
      if (command.ElemCount == 0) continue;
      // The offset goes into the pointers: ES 3.0 has no base vertex.
      const auto base = static_cast<std::size_t>(command.VtxOffset) * sizeof(ImDrawVert);
      const auto attribute = [&](GLuint index, int size, GLenum type, bool normalised, std::size_t offset) {
        gl->glEnableVertexAttribArray(index);
        gl->glVertexAttribPointer(index, size, type, normalised, sizeof(ImDrawVert),
                                  reinterpret_cast<const void*>(base + offset));
      };
      attribute(0, 2, GL_FLOAT, false, offsetof(ImDrawVert, pos));
      attribute(1, 2, GL_FLOAT, false, offsetof(ImDrawVert, uv));
      attribute(2, 4, GL_UNSIGNED_BYTE, true, offsetof(ImDrawVert, col));
      gl->glBindTexture(GL_TEXTURE_2D,
                        static_cast<GLuint>(reinterpret_cast<std::uintptr_t>(command.TextureId)));
      gl->glDrawElements(
          GL_TRIANGLES, static_cast<int>(command.ElemCount),
          sizeof(ImDrawIdx) == 2 ? GL_UNSIGNED_SHORT : GL_UNSIGNED_INT,
          reinterpret_cast<const void*>(static_cast<std::uintptr_t>(command.IdxOffset) * sizeof(ImDrawIdx)));
    }
  }
  array_.release();
  program_->release();
}

}  // namespace decoscope
