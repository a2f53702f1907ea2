// Trainings that take a fraction of a second: a corpus of 600 texts over few words, its vocabulary of 340
// tokens, and recipes for nets of width 32.
#pragma once

#include <QByteArray>
#include <QFile>
#include <QString>
#include <QTemporaryDir>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/train/Trainer.h"
#include "core/train/VocabularyFiles.h"

namespace decoscope::test {

inline QByteArray contentOf(const QString& path) {
  QFile file(path);
  return file.open(QIODevice::ReadOnly) ? file.readAll() : QByteArray();
}

inline nlohmann::json tinyShape(int layers) {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"vocab_size", 340},
          {"hidden_size", 32},
          {"intermediate_size", 64},
          {"num_hidden_layers", layers},
          {"num_attention_heads", 2},
          {"num_key_value_heads", 1},
          {"head_dim", 16},
          {"max_position_embeddings", 128},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000},
          {"tie_word_embeddings", true},
          {"eos_token_id", 0},
          {"pad_token_id", 0}};
}

class TinyTraining {
 public:
  // Writes corpus and vocabulary; call it once.
  Status prepare() const {
    std::ofstream file(corpus().toStdString());
    const char* names[] = {"Anna", "Ben", "Clara", "David", "Emma"};
    const char* animals[] = {"fox", "crow", "owl", "hen", "frog", "bear", "duck"};
    const char* places[] = {"river", "forest", "hill", "barn"};
    for (int i = 0; i < 600; ++i) {
      const std::string name = names[i % 5], animal = animals[i % 7], place = places[i % 4];
      file << nlohmann::json{{"index", i},
                             {"kind", "story"},
                             {"user",
                              "Tell of " + name + " and a " + animal + ", number " + std::to_string(i) + "."},
                             {"assistant", name + " went to the " + place + " and met a " + animal +
                                               " there. They were glad."}}
                  .dump()
           << "\n";
    }
    file.close();
    const auto made =
        trainVocabulary(corpus().toStdString(), 340, 128, path("vocabulary").toStdString(), StopToken());
    if (!made) return tl::unexpected(made.error());
    return {};
  }
  QString path(const QString& name) const { return folder_.filePath(name); }
  QString corpus() const { return path("words.jsonl"); }

  train::Recipe recipe(const std::string& objective,
                       nlohmann::json options = nlohmann::json::object()) const {
    train::Recipe made;
    made.name = "tiny";
    made.objective = objective;
    made.options = std::move(options);
    made.corpus = "words";
    made.texts = 2000;
    made.vocabulary = path("vocabulary").toStdString();
    made.shape = tinyShape(3);
    made.seed = 5;
    made.schedule.steps = 24;
    made.schedule.rows = 8;
    made.schedule.microRows = 4;
    made.schedule.length = 48;
    made.schedule.learningRate = 5e-3;
    made.schedule.warmUp = 4;
    made.evaluateEvery = 12;
    return made;
  }
  train::TrainingOptions options(const QString& out) const {
    train::TrainingOptions options;
    options.resources = folder_.path().toStdString();
    options.corpusFile = corpus().toStdString();
    options.out = path(out).toStdString();
    options.device = "cpu";
    options.threads = 1;
    return options;
  }
  Result<train::TrainingResult> run(const train::Recipe& recipe, const QString& out, std::int64_t steps = 0,
                                    bool resume = false, std::vector<double>* losses = nullptr) const {
    train::TrainingOptions how = options(out);
    how.steps = steps;
    how.resume = resume;
    if (losses)
      how.progress = [losses](const train::TrainingStep& step) {
        losses->push_back(step.measures.front().value);
      };
    return train::train(recipe, how, StopToken());
  }
  // Folders of a target of three blocks that has learned, and of a drafter of one that has learned less.
  struct Pair {
    std::string target, drafter;
  };
  Result<Pair> preparedPair() const {
    DECOSCOPE_TRY(prepare());
    return targetAndDrafter();
  }
  Result<Pair> targetAndDrafter() const {
    train::Recipe made = recipe("next-token");
    made.schedule.steps = 80;
    DECOSCOPE_ASSIGN(const train::TrainingResult target, run(made, "target"));
    made.shape = tinyShape(1);
    made.schedule.steps = 30;
    DECOSCOPE_ASSIGN(const train::TrainingResult drafter, run(made, "drafter"));
    return Pair{target.model, drafter.model};
  }

 private:
  QTemporaryDir folder_;
};

}  // namespace decoscope::test
