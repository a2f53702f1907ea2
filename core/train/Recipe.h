// How a bundled model is made: a JSON file, resources/models/NAME/recipe.json. docs/models.md describes every
// field.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/base/Status.h"

namespace decoscope::train {

// How the learning rate goes and how large a step is.
struct Schedule {
  std::int64_t steps = 0;
  std::int64_t rows = 0;       // sequences of one step
  std::int64_t length = 0;     // tokens of each
  std::int64_t microRows = 0;  // sequences in memory at once; bounds the activations. 0: all
  double learningRate = 0;     // the highest
  std::int64_t warmUp = 0;     // steps in which it rises from zero
  double finalRate = 0.1;      // share of the highest that the cosine ends at
  double weightDecay = 0.1;    // decoupled, of matrices only
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
  double clip = 1;  // of the gradient's norm; 0: none

  // Of step 0 … steps − 1: a linear rise, then half a cosine (Loshchilov and Hutter 2017, arXiv 1608.03983).
  double rate(std::int64_t step) const;
};

// How texts become rows.
enum class Packing {
  stream,  // one after the other without gaps, cut into rows of equal length
  texts    // one text a row, filled up with the end token
};

struct Recipe {
  std::string name, title, licence;
  std::string folder;      // of the recipe
  std::string objective;   // "next-token", "masked-diffusion", "distillation", …: see Objective.h
  nlohmann::json options;  // of the objective
  std::string corpus;      // name of the corpus, resources/models/corpora/NAME.json
  std::int64_t texts = 0;  // how many of its texts are used
  std::int64_t skip = 0;   // the first of those, left out: what a drafter has learned from flatters it
  std::string writer;      // the model that writes them where they are not there yet
  bool features = false;   // with the states that the writer had at each token
  std::string vocabulary;  // folder of the tokenizer, relative to resources/models
  nlohmann::json shape;    // the config.json that the model will have
  std::string start;       // model whose weights it starts from; empty: drawn by the seed
  std::string teacher;     // for objectives that have one: a bundled name, a path or a catalog name
  Packing packing = Packing::stream;
  bool bfloat16 = true;  // products in bf16
  std::uint64_t seed = 0;
  Schedule schedule;
  std::int64_t evaluateEvery = 200;  // steps between looks at the held-out texts
};

// A number among the objective's options.
double optionOf(const Recipe& recipe, const char* key, double fallback);

// `name` is a bundled model's name or the path of a recipe file. Errors name file and field.
Result<Recipe> loadRecipe(const std::string& name, const std::string& resources);

}  // namespace decoscope::train
