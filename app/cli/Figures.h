// Measured figures and how they are shown.
#pragma once

#include <string>
#include <vector>

#include "app/cli/Command.h"

namespace decoscope::cli {

double median(std::vector<double> values);  // 0 of none
double mean(const std::vector<double>& values);
// {"median", "minimum", "maximum", "runs"}; null of none.
json spread(const std::vector<double>& values);

std::string shortFigure(const json& value);  // four digits
// A line for every figure of a document, named by the keys that lead to it, each name behind `before`.
void printFigures(const json& figures, const std::string& before);

}  // namespace decoscope::cli
