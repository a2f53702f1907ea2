// The figures of a bundled model's card: what they are, what is stated, and whether a measurement agrees.
//
// A model's folder has figures.json, {"figures":[…]}, each entry
//   {"name":"bits per byte, held-out
//   texts","kind":"bits-per-byte","unit":"bit/byte","value":1.02,"tolerance":0.005,
//    "texts":"../corpora/held-out.jsonl","count":0,"order":5,"corpus_texts":40000,
//    "run":{"method":"chain","models":{"target":"wren","drafter":"."},"set":{"gamma":4},"max_new_tokens":128,"seed":0,"dtype":"auto"},
//    "judge":"wren","relative_to":{…a run…}}
// with only those of the later members that its kind takes. Models are names, "." is the model of the card,
// and paths are relative to the folder. `value` is a number (a text for sha256), or null until it was
// measured; `tolerance` is how far a measurement may lie from it, in its unit; null: the figure depends on
// the machine and is for information.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/ParamSchema.h"
#include "core/base/Status.h"

namespace decoscope {

enum class FigureKind {
  bitsPerByte,     // TextCost.h, of the card's model on `texts`
  kneserNeyRatio,  // that ÷ the bits per byte of the Kneser-Ney model of this `order` of the training corpus
  acceptanceRate,  // accepted ÷ tested proposals of all rounds of `run` over the prompts of `texts`
  meanAcceptedLength,    // accepted proposals a round of the same, the bonus token not counted
  wastedShare,           // proposals of the same that were not accepted, tested or not ÷ all proposals
  speedRatio,            // tokens a second of `run` ÷ those of plain sampling at the same temperature
  generativePerplexity,  // perplexity under `judge` of what `run` wrote; ÷ that of `relative_to`, where given
  parameters,            // elements of all tensors
  bytes,                 // of the weight files
  sha256,                // of the weight files, one after the other
};

// How a text is generated.
struct FigureRun {
  std::string method = "sampling";
  std::map<std::string, std::string> models;             // by role; without a target, the card's model
  std::vector<std::pair<std::string, std::string>> set;  // parameters; numbers as they are written
  std::int64_t maxNewTokens = 128;
  std::uint64_t seed = 0;      // of the first prompt; the next ones follow
  std::string dtype = "auto";  // of all models, as LoadOptions has it
};

struct ModelFigure {
  std::string name, unit;
  FigureKind kind = FigureKind::bitsPerByte;
  std::optional<double> value;
  std::string text;                 // of sha256, instead of `value`; empty: not stated yet
  std::optional<double> tolerance;  // in the figure's unit; at least 0
  std::string texts;                // a corpus (CorpusLines.h)
  std::int64_t count = 0;           // how many of the texts, from the first; 0: all
  int order = 5;
  std::int64_t corpusTexts = 0;  // how many texts of the corpus are counted, from the first; 0: all
  FigureRun run;
  std::string judge;
  std::optional<FigureRun> relativeTo;

  bool stated() const { return value.has_value() || !text.empty(); }
  // "0.632", "98765" or the text; "" where nothing is stated.
  std::string statedText() const;
};

// "bits-per-byte", …
const char* name(FigureKind kind);

// What was found for a figure.
struct FigureMeasurement {
  std::optional<double> value;
  std::string text;  // of sha256
  std::vector<std::pair<std::string, double>>
      inputs;               // what it was computed from, for people: {"tokens", 8123}
  std::string notMeasured;  // why there is no value; empty where there is one
};

enum class FigureVerdict {
  agrees,
  differs,
  informational,  // no tolerance
  notMeasured,    // an input is missing: what is stated was not checked
  notStated,      // there is a measurement only
};
const char* name(FigureVerdict verdict);
FigureVerdict judge(const ModelFigure& figure, const FigureMeasurement& measurement);
// States what was measured; nothing changes where nothing was.
void state(ModelFigure& figure, const FigureMeasurement& measurement);

// The figures of a folder's figures.json. Errors: notFound, badInput (names entry and member), unsupported
// (an unknown kind; the message lists the known ones).
Result<std::vector<ModelFigure>> readFigures(const std::string& folder);
Result<std::vector<ModelFigure>> parseFigures(std::string_view text, const std::string& where);
// Errors: failed.
Status writeFigures(const std::string& folder, std::span<const ModelFigure> figures);
std::string figuresJson(std::span<const ModelFigure> figures);

// The table of a card, in Markdown: name, value with tolerance and unit, how it is measured.
std::string figuresTable(std::span<const ModelFigure> figures);
// How a figure is measured, in words.
std::string methodText(const ModelFigure& figure);

inline constexpr const char* kFiguresBegin = "<!-- figures: begin -->";
inline constexpr const char* kFiguresEnd = "<!-- figures: end -->";
// The card with its table, between the two markers, made again. Error badInput where the markers are missing.
Result<std::string> withFigures(const std::string& card, std::span<const ModelFigure> figures,
                                const std::string& where);

}  // namespace decoscope
