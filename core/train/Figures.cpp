#include "core/train/Figures.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace decoscope {

namespace {

constexpr std::array<const char*, 10> kKindNames = {"bits-per-byte",
                                                    "kneser-ney-ratio",
                                                    "acceptance-rate",
                                                    "mean-accepted-length",
                                                    "wasted-share",
                                                    "speed-ratio",
                                                    "generative-perplexity",
                                                    "parameters",
                                                    "bytes",
                                                    "sha256"};

// A number with as many places as its tolerance makes sense of; none given: three significant digits.
double rounded(double value, std::optional<double> tolerance) {
  if (tolerance && *tolerance == 0) return value;
  const double size = tolerance ? *tolerance : std::abs(value) / 10;
  if (!(size > 0) || !std::isfinite(value)) return value;
  const double places = std::pow(10.0, 1 - std::floor(std::log10(size)));
  return std::round(value * places) / places;
}

std::string settings(const FigureRun& run) {
  std::string text;
  for (const auto& [name, value] : run.set) text += (text.empty() ? "" : ", ") + name + " " + value;
  return text.empty() ? text : " (" + text + ")";
}

std::string models(const FigureRun& run) {
  std::string text;
  for (const auto& [role, model] : run.models)
    text += (text.empty() ? "" : ", ") + role + " " + (model == "." ? "this model" : "`" + model + "`");
  return text;
}

std::string runText(const FigureRun& run) {
  const std::string with = models(run);
  return "`" + run.method + "`" + settings(run) + (with.empty() ? "" : ", " + with) + ", at most " +
         std::to_string(run.maxNewTokens) + " tokens, seed " + std::to_string(run.seed) +
         (run.dtype == "auto" ? "" : ", in " + run.dtype);
}

std::string textsOf(const ModelFigure& figure) {
  return (figure.count > 0 ? "the first " + std::to_string(figure.count) + " texts"
                           : std::string("the texts")) +
         " of `" + figure.texts + "`";
}

}  // namespace

const char* name(FigureKind kind) {
  return kKindNames[static_cast<std::size_t>(kind)];
}

std::string ModelFigure::statedText() const {
  if (!value) return text;
  return paramText(ParamValue(*value));
}

const char* name(FigureVerdict verdict) {
  switch (verdict) {
    case FigureVerdict::agrees:
      return "agrees";
    case FigureVerdict::differs:
      return "differs";
    case FigureVerdict::informational:
      return "for information";
    case FigureVerdict::notMeasured:
      return "stated, not measured";
    case FigureVerdict::notStated:
      return "measured, not stated";
  }
  return "";
}

FigureVerdict judge(const ModelFigure& figure, const FigureMeasurement& measurement) {
  if (!measurement.value && measurement.text.empty()) return FigureVerdict::notMeasured;
  if (!figure.stated()) return FigureVerdict::notStated;
  if (figure.kind == FigureKind::sha256)
    return figure.text == measurement.text ? FigureVerdict::agrees : FigureVerdict::differs;
  if (!figure.tolerance) return FigureVerdict::informational;
  // A bound that is met exactly is met, whatever the decimals do to it in binary.
  const double slack = 1e-12 * std::abs(*figure.value);
  return std::abs(*measurement.value - *figure.value) <= *figure.tolerance + slack ? FigureVerdict::agrees
                                                                                   : FigureVerdict::differs;
}

void state(ModelFigure& figure, const FigureMeasurement& measurement) {
  if (measurement.value) figure.value = rounded(*measurement.value, figure.tolerance);
  if (!measurement.text.empty()) figure.text = measurement.text;
}

std::string methodText(const ModelFigure& figure) {
  switch (figure.kind) {
    case FigureKind::bitsPerByte:
      return textsOf(figure) + ", prompts included";
    case FigureKind::kneserNeyRatio:
      return textsOf(figure) +
             ": bits per byte ÷ those of an interpolated modified Kneser-Ney model of order " +
             std::to_string(figure.order) + " of " +
             (figure.corpusTexts > 0 ? "the first " + std::to_string(figure.corpusTexts) + " texts of "
                                     : "") +
             "the training corpus";
    case FigureKind::acceptanceRate:
      return "accepted ÷ tested proposals: " + runText(figure.run) + "; prompts: " + textsOf(figure);
    case FigureKind::meanAcceptedLength:
      return "accepted proposals a round: " + runText(figure.run) + "; prompts: " + textsOf(figure);
    case FigureKind::wastedShare:
      return "proposals that were not accepted ÷ all: " + runText(figure.run) +
             "; prompts: " + textsOf(figure);
    case FigureKind::speedRatio:
      return "tokens a second ÷ those of plain sampling: " + runText(figure.run) +
             "; prompts: " + textsOf(figure);
    case FigureKind::generativePerplexity:
      return "perplexity under `" + figure.judge + "` of what is written by " + runText(figure.run) +
             (figure.relativeTo ? " ÷ that of what is written by " + runText(*figure.relativeTo) : "") +
             "; prompts: " + textsOf(figure);
    case FigureKind::parameters:
      return "elements of all tensors";
    case FigureKind::bytes:
      return "size of the weight files";
    case FigureKind::sha256:
      return "of the weight files";
  }
  return "";
}

std::string figuresTable(std::span<const ModelFigure> figures) {
  std::string table = "| Figure | Value | How it is measured |\n|---|---|---|\n";
  for (const ModelFigure& figure : figures) {
    std::string value = figure.stated() ? figure.statedText() : "not measured yet";
    if (figure.kind == FigureKind::sha256 && figure.stated()) value = "`" + value + "`";
    if (figure.stated() && figure.tolerance && *figure.tolerance > 0)
      value += " ± " + paramText(ParamValue(*figure.tolerance));
    if (figure.stated() && !figure.unit.empty()) value += " " + figure.unit;
    table += "| " + figure.name + " | " + value + " | " + methodText(figure) + " |\n";
  }
  return table;
}

Result<std::string> withFigures(const std::string& card, std::span<const ModelFigure> figures,
                                const std::string& where) {
  const std::size_t begin = card.find(kFiguresBegin);
  const std::size_t end = begin == std::string::npos ? begin : card.find(kFiguresEnd, begin);
  if (end == std::string::npos)
    return fail(ErrorCode::badInput, "the card has no place for its figures", where,
                std::string("Put ") + kFiguresBegin + " and " + kFiguresEnd + " on lines of their own.");
  return card.substr(0, begin) + kFiguresBegin + "\n" + figuresTable(figures) + card.substr(end);
}

}  // namespace decoscope
