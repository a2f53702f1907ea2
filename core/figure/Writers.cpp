#include "core/figure/Writers.h"

#include <pango/pangocairo.h>

#include <cairo-pdf.h>
#include <cairo-svg.h>
#include <unistd.h>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>

namespace decoscope {

namespace {

constexpr double kPixelsToPoints = 0.75;  // 96 dpi
constexpr double kMaximumSide = 30000;    // pixels; Cairo's own limit is 32767

double scaleOf(const Figure& figure, const FigureOptions& options) {
  if (options.widthMillimetres > 0)
    return options.widthMillimetres / 25.4 * 72 / std::max(1.0f, figure.bounds.width);
  if (options.fontSizePoints > 0) return options.fontSizePoints / 11;
  return kPixelsToPoints;
}

const Theme& themeOf(const FigureOptions& options) {
  return options.dark ? darkTheme() : lightTheme();
}

void setColour(cairo_t* cairo, Colour c) {
  cairo_set_source_rgba(cairo, c.r / 255.0, c.g / 255.0, c.b / 255.0, c.a / 255.0);
}

void roundedRect(cairo_t* cairo, const Rect& r, float radius) {
  const double corner = std::min<double>(radius, std::min(r.width, r.height) / 2);
  if (corner <= 0) {
    cairo_rectangle(cairo, r.x, r.y, r.width, r.height);
    return;
  }
  cairo_new_sub_path(cairo);
  cairo_arc(cairo, r.x + r.width - corner, r.y + corner, corner, -M_PI / 2, 0);
  cairo_arc(cairo, r.x + r.width - corner, r.y + r.height - corner, corner, 0, M_PI / 2);
  cairo_arc(cairo, r.x + corner, r.y + r.height - corner, corner, M_PI / 2, M_PI);
  cairo_arc(cairo, r.x + corner, r.y + corner, corner, M_PI, 3 * M_PI / 2);
  cairo_close_path(cairo);
}

struct BoxPaint {
  Colour fill, edge;
  bool filled, outlined;
  double width;
};
BoxPaint paintOf(const FigureBox& box, const Theme& theme) {
  const ToneStyle style = theme.style(box.tone);
  BoxPaint paint{style.fill, style.edge, box.filled, box.outlined, box.emphasised ? 1.8 : 1.1};
  // A mark without an outline, such as a bar, is its tone; tinted text keeps the pale fill.
  if (box.filled && !box.outlined && box.id.kind != MarkId::Kind::token && box.id.kind != MarkId::Kind::cell)
    paint.fill = style.edge;
  if (box.value >= 0) {
    paint.fill = sequentialColour(box.value);
    if (!box.emphasised) paint.fill.a = 120;
  }
  return paint;
}

class Painter {
 public:
  Painter(cairo_t* cairo, const Theme& theme)
      : cairo_(cairo), theme_(theme), layout_(pango_cairo_create_layout(cairo)) {
    // The same outlines on every machine and scale.
    cairo_font_options_t* options = cairo_font_options_create();
    cairo_font_options_set_antialias(options, CAIRO_ANTIALIAS_GRAY);
    cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_NONE);
    cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF);
    pango_cairo_context_set_font_options(pango_layout_get_context(layout_), options);
    cairo_font_options_destroy(options);
  }
  ~Painter() { g_object_unref(layout_); }
  Painter(const Painter&) = delete;
  Painter& operator=(const Painter&) = delete;

  void draw(const Figure& figure) {
    setColour(cairo_, theme_.background);
    cairo_paint(cairo_);
    for (const FigureLine& line : figure.lines)
      if (!line.above) drawLine(line);
    for (const FigureBox& box : figure.boxes) drawBox(box);
    for (const FigureLine& line : figure.lines)
      if (line.above) drawLine(line);
    for (const FigureLabel& label : figure.labels) drawLabel(label);
  }

 private:
  void drawLine(const FigureLine& line) {
    if (line.points.size() < 2) return;
    Colour colour = theme_.style(line.tone).edge;
    colour.a = static_cast<std::uint8_t>(std::lround(255 * line.opacity));
    setColour(cairo_, colour);
    cairo_set_line_width(cairo_, line.width);
    cairo_set_line_join(cairo_, line.polyline ? CAIRO_LINE_JOIN_ROUND : CAIRO_LINE_JOIN_MITER);
    const double dashes[] = {4, 3};
    cairo_set_dash(cairo_, dashes, line.dashed ? 2 : 0, 0);
    cairo_move_to(cairo_, line.points[0].x, line.points[0].y);
    if (line.points.size() == 4 && !line.polyline)
      cairo_curve_to(cairo_, line.points[1].x, line.points[1].y, line.points[2].x, line.points[2].y,
                     line.points[3].x, line.points[3].y);
    else
      for (std::size_t i = 1; i < line.points.size(); ++i)
        cairo_line_to(cairo_, line.points[i].x, line.points[i].y);
    cairo_stroke(cairo_);
    cairo_set_dash(cairo_, nullptr, 0, 0);
  }
  void drawBox(const FigureBox& box) {
    const BoxPaint paint = paintOf(box, theme_);
    roundedRect(cairo_, box.rect, box.radius);
    if (paint.filled) {
      setColour(cairo_, paint.fill);
      cairo_fill_preserve(cairo_);
    }
    if (paint.outlined) {
      setColour(cairo_, paint.edge);
      cairo_set_line_width(cairo_, paint.width);
      const double dashes[] = {4, 2.5};
      cairo_set_dash(cairo_, dashes, theme_.style(box.tone).dashed ? 2 : 0, 0);
      cairo_stroke(cairo_);
      cairo_set_dash(cairo_, nullptr, 0, 0);
    } else {
      cairo_new_path(cairo_);
    }
  }
  void drawLabel(const FigureLabel& label) {
    // Pango adds fallbacks glyph by glyph, so that any token is legible.
    PangoFontDescription* font = pango_font_description_from_string(
        label.face == TextFace::token ? "JetBrains Mono, DejaVu Sans Mono" : "Inter, DejaVu Sans");
    if (label.face == TextFace::heading) pango_font_description_set_weight(font, PANGO_WEIGHT_SEMIBOLD);
    pango_font_description_set_absolute_size(font, label.size * PANGO_SCALE);
    pango_layout_set_font_description(layout_, font);
    pango_font_description_free(font);
    pango_layout_set_single_paragraph_mode(layout_, TRUE);
    pango_layout_set_text(layout_, label.text.c_str(), static_cast<int>(label.text.size()));
    const bool limited = label.maximumWidth > 0;
    pango_layout_set_width(layout_, limited ? static_cast<int>(label.maximumWidth * PANGO_SCALE) : -1);
    pango_layout_set_ellipsize(layout_, limited ? PANGO_ELLIPSIZE_END : PANGO_ELLIPSIZE_NONE);
    int width = 0;
    pango_layout_set_alignment(layout_, PANGO_ALIGN_LEFT);
    pango_layout_get_size(layout_, &width, nullptr);
    PangoRectangle logical;
    pango_layout_get_extents(layout_, nullptr, &logical);
    const double w = static_cast<double>(logical.width) / PANGO_SCALE;
    const double x = label.align == TextAlign::left    ? label.at.x
                     : label.align == TextAlign::right ? label.at.x - w
                                                       : label.at.x - w / 2;
    setColour(cairo_, labelColour(label, theme_));
    cairo_move_to(cairo_, x,
                  label.at.y - static_cast<double>(pango_layout_get_baseline(layout_)) / PANGO_SCALE);
    // Outlines need no fonts where the figure is read.
    pango_cairo_layout_path(cairo_, layout_);
    cairo_fill(cairo_);
  }

  cairo_t* cairo_;
  const Theme& theme_;
  PangoLayout* layout_;
};

cairo_status_t appendBytes(void* target, const unsigned char* bytes, unsigned length) {
  static_cast<std::string*>(target)->append(reinterpret_cast<const char*>(bytes), length);
  return CAIRO_STATUS_SUCCESS;
}

std::string escapeXml(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t')
      out += c;
  }
  return out;
}

// Draws onto a vector surface made by `make` for a width and height in points.
template <typename Make>
Result<std::string> vectorFigure(const Figure& figure, const FigureOptions& options, Make make) {
  std::string bytes;
  const double scale = scaleOf(figure, options);
  cairo_surface_t* surface = make(&bytes, figure.bounds.width * scale, figure.bounds.height * scale);
  cairo_t* cairo = cairo_create(surface);
  cairo_scale(cairo, scale, scale);
  cairo_translate(cairo, -figure.bounds.x, -figure.bounds.y);
  Painter(cairo, themeOf(options)).draw(figure);
  cairo_destroy(cairo);
  cairo_surface_finish(surface);
  const cairo_status_t status = cairo_surface_status(surface);
  cairo_surface_destroy(surface);
  if (status != CAIRO_STATUS_SUCCESS)
    return fail(ErrorCode::failed,
                std::string("the figure could not be drawn: ") + cairo_status_to_string(status));
  return bytes;
}

// TikZ.
std::string texColour(Colour c) {
  char text[48];
  std::snprintf(text, sizeof text, "{rgb,255:red,%d;green,%d;blue,%d}", c.r, c.g, c.b);
  return text;
}
std::string texText(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const std::string_view rest(text.data() + i, text.size() - i);
    const std::pair<std::string_view, const char*> symbols[] = {
        {"·", "\\textperiodcentered{}"}, {"⏎", "$\\hookleftarrow$"}, {"⇥", "$\\mapsto$"},
        {"✓", "$\\checkmark$"},          {"✕", "$\\times$"},         {"★", "$\\star$"},
        {"↻", "$\\circlearrowright$"},   {"…", "\\dots{}"}};
    bool replaced = false;
    for (const auto& [symbol, tex] : symbols)
      if (rest.starts_with(symbol)) {
        out += tex;
        i += symbol.size() - 1;
        replaced = true;
        break;
      }
    if (replaced) continue;
    if (c == '\\')
      out += "\\textbackslash{}";
    else if (c == '~')
      out += "\\textasciitilde{}";
    else if (c == '^')
      out += "\\textasciicircum{}";
    else if (std::string_view("&%$#_{}").find(c) != std::string_view::npos)
      out += std::string("\\") + c;
    else
      out += c;
  }
  return out;
}
std::string opacityOf(float opacity) {
  if (opacity >= 1) return {};
  char text[32];
  std::snprintf(text, sizeof text, ",opacity=%.2f", static_cast<double>(opacity));
  return text;
}
std::string point(double x, double y) {
  char text[48];
  std::snprintf(text, sizeof text, "(%.2f,%.2f)", x, -y);
  return text;
}

}  // namespace

Result<std::string> figureToSvg(const Figure& figure, const FigureOptions& options) {
  DECOSCOPE_ASSIGN(std::string svg,
                   vectorFigure(figure, options, [](std::string* bytes, double width, double height) {
                     return cairo_svg_surface_create_for_stream(appendBytes, bytes, width, height);
                   }));
  // Cairo numbers surfaces over the life of the process; the same figure must give the same bytes.
  for (std::size_t at = svg.find("id=\"surface"); at != std::string::npos;
       at = svg.find("id=\"surface", at + 1)) {
    const std::size_t digits = at + 11, end = svg.find('"', digits);
    svg.erase(digits, end - digits);
  }
  const auto root = svg.find("<svg ");
  const auto end = svg.find('>', root);
  if (root == std::string::npos || end == std::string::npos)
    return fail(ErrorCode::failed, "the SVG could not be written");
  const std::string alternative = "\n<title>" + escapeXml(figure.title) + "</title>\n<desc>" +
                                  escapeXml(figure.description) + "</desc>\n<metadata>" +
                                  escapeXml(options.provenance) + "</metadata>";
  svg.insert(end + 1, alternative);
  svg.insert(root + 5, "role=\"img\" ");
  return svg;
}

Result<std::string> figureToPdf(const Figure& figure, const FigureOptions& options) {
  return vectorFigure(figure, options, [&](std::string* bytes, double width, double height) {
    cairo_surface_t* surface = cairo_pdf_surface_create_for_stream(appendBytes, bytes, width, height);
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_TITLE, figure.title.c_str());
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_SUBJECT, figure.description.c_str());
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_KEYWORDS, options.provenance.c_str());
    // A fixed date: the same figure gives the same bytes on any day.
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_CREATE_DATE, "2000-01-01T00:00:00Z");
    return surface;
  });
}

Result<std::string> figureToPng(const Figure& figure, const FigureOptions& options) {
  const double scale = scaleOf(figure, options) / kPixelsToPoints * options.pixelRatio;
  const double width = std::ceil(figure.bounds.width * scale),
               height = std::ceil(figure.bounds.height * scale);
  if (width < 1 || height < 1 || width > kMaximumSide || height > kMaximumSide)
    return fail(ErrorCode::usage,
                "the picture would be " + std::to_string(static_cast<long>(width)) + " × " +
                    std::to_string(static_cast<long>(height)) + " pixels",
                "--width", "Choose a smaller width, or SVG or PDF.");
  cairo_surface_t* surface =
      cairo_image_surface_create(CAIRO_FORMAT_RGB24, static_cast<int>(width), static_cast<int>(height));
  cairo_t* cairo = cairo_create(surface);
  cairo_scale(cairo, scale, scale);
  cairo_translate(cairo, -figure.bounds.x, -figure.bounds.y);
  Painter(cairo, themeOf(options)).draw(figure);
  cairo_destroy(cairo);
  std::string bytes;
  const cairo_status_t status = cairo_surface_write_to_png_stream(surface, appendBytes, &bytes);
  cairo_surface_destroy(surface);
  if (status != CAIRO_STATUS_SUCCESS)
    return fail(ErrorCode::failed,
                std::string("the picture could not be written: ") + cairo_status_to_string(status));
  return bytes;
}

Result<std::string> figureToTikz(const Figure& figure, const FigureOptions& options) {
  const Theme& theme = themeOf(options);
  const double scale = scaleOf(figure, options);
  char number[64];
  std::string tex = "% " + figure.title + "\n% " + options.provenance +
                    "\n\\documentclass[border=2pt]{standalone}\n\\usepackage[utf8]{inputenc}\n\\usepackage["
                    "T1]{fontenc}\n\\usepackage{amssymb}\n\\usepackage{tikz}\n\\begin{document}\n";
  std::snprintf(number, sizeof number, "%.5f", scale);
  tex += std::string("\\begin{tikzpicture}[x=") + number + "pt,y=" + number + "pt]\n";
  const auto drawLines = [&](bool above) {
    for (const FigureLine& line : figure.lines) {
      if (line.points.size() < 2 || line.above != above) continue;
      std::snprintf(number, sizeof number, "line width=%.2fpt", line.width * scale);
      tex += "\\draw[color=" + texColour(theme.style(line.tone).edge) + "," + number +
             (line.dashed ? ",dashed" : "") + (line.polyline ? ",line join=round" : "") +
             opacityOf(line.opacity) + "] " + point(line.points[0].x, line.points[0].y);
      if (line.points.size() == 4 && !line.polyline)
        tex += " .. controls " + point(line.points[1].x, line.points[1].y) + " and " +
               point(line.points[2].x, line.points[2].y) + " .. " + point(line.points[3].x, line.points[3].y);
      else
        for (std::size_t i = 1; i < line.points.size(); ++i)
          tex += " -- " + point(line.points[i].x, line.points[i].y);
      tex += ";\n";
    }
  };
  drawLines(false);
  for (const FigureBox& box : figure.boxes) {
    const BoxPaint paint = paintOf(box, theme);
    if (!paint.filled && !paint.outlined) continue;
    std::snprintf(number, sizeof number, "rounded corners=%.2fpt",
                  std::min<double>(box.radius, std::min(box.rect.width, box.rect.height) / 2) * scale);
    tex += std::string("\\path[") + number + (paint.filled ? ",fill=" + texColour(paint.fill) : "") +
           (paint.filled && paint.fill.a < 255 ? ",fill opacity=0.47" : "") +
           (paint.outlined ? ",draw=" + texColour(paint.edge) : "") +
           (paint.outlined && theme.style(box.tone).dashed ? ",dashed" : "") + "] " +
           point(box.rect.x, box.rect.y) + " rectangle " +
           point(box.rect.x + box.rect.width, box.rect.y + box.rect.height) + ";\n";
  }
  drawLines(true);
  for (const FigureLabel& label : figure.labels) {
    std::string text = label.text;
    if (label.maximumWidth > 0) {
      // About as many characters as fit, whole ones.
      const auto room = static_cast<std::size_t>(label.maximumWidth / (0.6f * label.size));
      std::size_t characters = 0, cut = 0;
      for (; cut < text.size(); ++cut)
        if ((text[cut] & 0xC0) != 0x80 && ++characters > std::max<std::size_t>(room, 1)) break;
      if (cut < text.size()) text = text.substr(0, cut) + "…";
    }
    std::snprintf(number, sizeof number, "\\fontsize{%.2f}{%.2f}\\selectfont", label.size * scale,
                  label.size * scale * 1.2);
    const char* anchor = label.align == TextAlign::left    ? "base west"
                         : label.align == TextAlign::right ? "base east"
                                                           : "base";
    tex += std::string("\\node[anchor=") + anchor +
           ",inner sep=0pt,text=" + texColour(labelColour(label, theme)) + ",font=" + number +
           (label.face == TextFace::token ? "\\ttfamily" : "\\sffamily") + "] at " +
           point(label.at.x, label.at.y) + " {" + texText(text) + "};\n";
  }
  return tex + "\\end{tikzpicture}\n\\end{document}\n";
}

Status writeFigure(const Figure& figure, const FigureOptions& options, const std::string& path) {
  const std::string extension = std::filesystem::path(path).extension().string();
  Result<std::string> bytes = fail(ErrorCode::usage, "unknown kind of figure '" + extension + "'", path,
                                   "Use .svg, .pdf, .png or .tex.");
  if (extension == ".svg")
    bytes = figureToSvg(figure, options);
  else if (extension == ".pdf")
    bytes = figureToPdf(figure, options);
  else if (extension == ".png")
    bytes = figureToPng(figure, options);
  else if (extension == ".tex")
    bytes = figureToTikz(figure, options);
  if (!bytes) return tl::unexpected<Error>(bytes.error());
  const std::string temporary = path + ".part" + std::to_string(::getpid());
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  file << *bytes;
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(temporary, path, error);
  if (!file || error) {
    std::filesystem::remove(temporary, error);
    return fail(ErrorCode::failed, "the figure could not be written", path,
                "Check the path, its permissions and the disk's free space.");
  }
  return {};
}

}  // namespace decoscope
