#include "app/cli/Figures.h"

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <numeric>

namespace decoscope::cli {

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  if (values.empty()) return 0;
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double mean(const std::vector<double>& values) {
  if (values.empty()) return 0;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

json spread(const std::vector<double>& values) {
  if (values.empty()) return nullptr;
  return {{"median", median(values)},
          {"minimum", *std::min_element(values.begin(), values.end())},
          {"maximum", *std::max_element(values.begin(), values.end())},
          {"runs", values.size()}};
}

std::string shortFigure(const json& value) {
  if (!value.is_number_float()) return value.is_string() ? value.get<std::string>() : value.dump();
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value.get<double>());
  return text;
}

void printFigures(const json& figures, const std::string& before) {
  for (const auto& [key, value] : figures.items()) {
    const std::string name = before + (figures.is_array() ? std::to_string(std::stoul(key) + 1) : key);
    if (value.is_object() && value.contains("median"))
      std::cout << name << ": " << shortFigure(value["median"]) << "  (" << shortFigure(value["minimum"])
                << " to " << shortFigure(value["maximum"]) << ", " << value["runs"] << " runs)\n";
    else if (value.is_structured())
      printFigures(value, name + " ");
    else if (!value.is_null())
      std::cout << name << ": " << shortFigure(value) << '\n';
  }
}

}  // namespace decoscope::cli
