// Trains a model by its recipe. Everything that happens on the CPU is a function of recipe, corpus and number
// of threads: a training that is resumed from a checkpoint goes on exactly as if it had not been interrupted.
// What is drawn at random is the same on every device, and a checkpoint written on one is read on any; sums
// may be rounded otherwise there.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/base/Status.h"
#include "core/base/Stop.h"
#include "core/train/Measure.h"
#include "core/train/Recipe.h"

namespace decoscope::train {

// One step of the optimiser, for whoever shows or records it.
struct TrainingStep {
  std::int64_t step = 0, steps = 0;  // done so far, and of the whole schedule
  std::vector<Measure> measures;  // "loss", its parts, "learning_rate", "gradient_norm", "tokens_per_second"
  double secondsLeft = 0;         // to the end of this training
};

struct TrainingOptions {
  std::string resources;        // the folder that holds models/
  std::string corpusFile;       // JSONL
  std::string out;              // folder for checkpoint and model; made where it is missing
  bool resume = false;          // goes on from the checkpoint in `out`, where there is one
  std::int64_t steps = 0;       // ends after so many of the schedule's steps; 0: all
  std::string device = "auto";  // CUDA where there is one, else the CPU; cpu, cuda or cuda:N
  int threads = 0;              // of the CPU; 0: all cores
  double checkpointSeconds = 120;
  std::function<void(const TrainingStep&)> progress;  // after every step, on the calling thread
};

struct TrainingResult {
  std::int64_t steps = 0;          // done, those before a resume included
  double firstLoss = 0, loss = 0;  // of the first step of this call; mean of its last ten
  std::string checkpoint, model;   // the files written: a checkpoint, and a Hugging Face folder
  std::vector<Measure> heldOut;    // at the end
};

// Errors: badInput (recipe, corpus, a checkpoint of another recipe), usage or unsupported (a device that
// there is not), failed (a loss that is not finite, a full disk). When stopped, it writes a checkpoint and
// returns what was done.
Result<TrainingResult> train(const Recipe& recipe, const TrainingOptions& options, const StopToken& stop);

}  // namespace decoscope::train
