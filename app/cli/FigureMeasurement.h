// Measures the figures of a model's card again (core/train/Figures.h). What generates goes through the
// Engine, as `run` does.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "core/base/Stop.h"
#include "core/metrics/Metrics.h"
#include "core/session/Engine.h"
#include "core/train/Figures.h"
#include "core/train/TextCost.h"

namespace decoscope::cli {

// A folder in which models of one family lie side by side names its neighbours; other names are the
// catalog's.
Result<std::string> modelBeside(const std::string& folder, const std::string& name);

// One thread. Models, texts and runs that several figures need are loaded and made once.
class FigureMeasurer {
 public:
  // `corpus`: the training corpus, for figures that need it; may be empty.
  FigureMeasurer(std::string folder, std::string corpus, LoadOptions load, StopToken stop,
                 ProgressFunction progress)
      : folder_(std::move(folder)),
        corpus_(std::move(corpus)),
        load_(std::move(load)),
        stop_(std::move(stop)),
        progress_(std::move(progress)),
        engine_(recordInMemory()) {}

  // Errors: those of loading, reading texts and running; they name the figure.
  Result<FigureMeasurement> measure(const ModelFigure& figure);

 private:
  // What runs over all prompts came to, and the texts they wrote.
  struct Generated {
    RunStats sum;  // counts and seconds added up
    std::vector<ScoredText> texts;
    std::string tokenizer;  // fingerprint
  };
  // What texts cost under the card's model.
  struct Costed {
    std::vector<ScoredText> texts;
    TextCost cost;
  };
  using GeneratedPointer = std::shared_ptr<const Generated>;

  Result<FigureMeasurement> measured(const ModelFigure& figure);
  Result<FigureMeasurement> bitsPerByte(const ModelFigure& figure);
  Result<FigureMeasurement> kneserNeyRatio(const ModelFigure& figure);
  Result<FigureMeasurement> acceptance(const ModelFigure& figure);
  Result<FigureMeasurement> speedRatio(const ModelFigure& figure);
  Result<FigureMeasurement> generativePerplexity(const ModelFigure& figure);

  std::string pathOf(const std::string& file) const;
  Result<LoadedModel*> scorer(const std::string& name);
  Result<const Costed*> costOfTexts(const ModelFigure& figure);
  Result<GeneratedPointer> generate(const ModelFigure& figure, const FigureRun& run);
  Status enter(const FigureRun& run);
  Status generateOne(const FigureRun& run, const CorpusLine& line, std::int64_t index, Generated& out);
  Result<std::vector<CorpusLine>> prompts(const ModelFigure& figure) const;
  Result<double> perplexity(const std::string& judge, const Generated& generated, TextCost& cost);

  std::string folder_, corpus_;
  LoadOptions load_;
  StopToken stop_;
  ProgressFunction progress_;
  Engine engine_;
  std::map<std::string, LoadedModel> scorers_;         // by path
  std::map<std::string, Costed> costed_;               // by file and count
  std::map<std::string, GeneratedPointer> generated_;  // by all that they depend on
};

}  // namespace decoscope::cli
