// CPU time of canvas frames without a screen: culling, level of detail and the draw list, text included. What
// the driver does with the list is not part of it.
#pragma once

#include <memory>
#include <vector>

#include "core/figure/Figure.h"

namespace decoscope {

struct CanvasTimes {
  std::vector<double> milliseconds;  // one a frame
  std::size_t marks = 0;             // most boxes and lines drawn in one frame
};
// Scrolls through figures stacked downwards at this zoom, `frames` frames from top to bottom of the plane.
CanvasTimes measureCanvas(const std::vector<std::shared_ptr<const FigureIndex>>& figures, float zoom,
                          int frames);
// The zoom at which everything is in sight.
float zoomToFit(const std::vector<std::shared_ptr<const FigureIndex>>& figures);

}  // namespace decoscope
