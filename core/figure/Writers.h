// Figures to files. The same figure and options give the same bytes on any day. Fonts are embedded (PDF, SVG
// as outlines) or taken by name (TikZ); the title and description become alt text, the provenance goes into
// the file's metadata.
#pragma once

#include <string>

#include "core/base/Status.h"
#include "core/figure/Figure.h"
#include "core/figure/Theme.h"

namespace decoscope {

struct FigureOptions {
  bool dark = false;
  double widthMillimetres = 0;  // 0: natural size (1 unit = 1 px at 96 dpi = 0.75 pt)
  double fontSizePoints = 0;  // scales the figure so that 11-unit text has this size; 0: natural; width wins
  double pixelRatio = 2;      // PNG
  std::string provenance;     // "run 3, step 17, session …, decoscope 0.1"
};

Result<std::string> figureToSvg(const Figure& figure, const FigureOptions& options);
Result<std::string> figureToTikz(const Figure& figure, const FigureOptions& options);
Result<std::string> figureToPng(const Figure& figure, const FigureOptions& options);
Result<std::string> figureToPdf(const Figure& figure, const FigureOptions& options);
// By the path's extension (.svg, .tex, .png, .pdf); writes to a temporary file and renames. Error usage for
// another extension.
Status writeFigure(const Figure& figure, const FigureOptions& options, const std::string& path);

}  // namespace decoscope
