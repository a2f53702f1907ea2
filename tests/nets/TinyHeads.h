// Heads on the models of TinyTraining.h, and texts with the features that draft heads learn from.
#pragma once

#include "core/base/Bfloat16.h"
#include "core/model/ModelLoader.h"
#include "core/train/CorpusWriter.h"
#include "tests/nets/TinyTraining.h"

namespace decoscope::test {

inline LoadedModel opened(const std::string& folder, const Model* base = nullptr) {
  LoadOptions options;
  options.dtype = "f32";
  options.base = base;
  auto loaded = loadModel(folder, options, StopToken());
  if (!loaded) qFatal("%s", loaded.error().text().c_str());
  return std::move(*loaded);
}

inline ForwardRequest allRows(std::vector<TokenId> tokens) {
  ForwardRequest request;
  request.tokens = std::move(tokens);
  for (std::size_t i = 0; i < request.tokens.size(); ++i)
    request.logitRows.push_back(static_cast<std::int32_t>(i));
  return request;
}

// The corpus again, with the states that a target of three blocks has at each token.
inline Status writeFeatures(const std::string& targetFolder, const QString& corpus, const QString& out) {
  const LoadedModel target = opened(targetFolder);
  std::ifstream texts(corpus.toStdString());
  std::ofstream lines(out.toStdString());
  std::ofstream features(featuresPath(out.toStdString()), std::ios::binary);
  std::int64_t row = 0;
  const EncodeOptions options{.addSpecial = false, .parseSpecial = true};
  for (std::string text; std::getline(texts, text);) {
    nlohmann::json line = nlohmann::json::parse(text);
    const std::string prompt = "<|user|>" + line["user"].get<std::string>() + "<|end|><|wren|>";
    DECOSCOPE_ASSIGN(std::vector<TokenId> ids, target.tokenizer->encode(prompt, options));
    line["start"] = ids.size();
    DECOSCOPE_ASSIGN(const std::vector<TokenId> answer,
                     target.tokenizer->encode(line["assistant"].get<std::string>() + "<|end|>", options));
    ids.insert(ids.end(), answer.begin(), answer.end());
    line["ids"] = ids;
    line["row"] = row;
    lines << line.dump() << "\n";
    row += static_cast<std::int64_t>(ids.size());
    ForwardRequest request;
    request.tokens = ids;
    request.taps = {{TapSite::residual, 3}};
    DECOSCOPE_TRY(target.model->retain(0));
    DECOSCOPE_ASSIGN(const ForwardOutput output, target.model->forward(request, StopToken()));
    for (const float value : output.taps.front().values) {
      const std::uint16_t half = toBfloat16(value);
      features.write(reinterpret_cast<const char*>(&half), 2);
    }
  }
  return {};
}

// A draft head in EAGLE's layout of the target; the corpus has features.
inline train::Recipe draftHeadRecipe(const TinyTraining& tiny, const std::string& target, int ranked) {
  train::Recipe made = tiny.recipe("feature-head");
  made.shape = tinyShape(1);
  made.shape["architectures"] = {"LlamaForCausalLMEagle"};
  made.shape["model_type"] = "eagle";
  made.shape["draft_vocab_size"] = ranked;
  made.packing = train::Packing::texts;
  made.features = true;
  made.teacher = target;
  return made;
}

// An acceptance head of one block on a drafter.
inline train::Recipe acceptanceRecipe(const TinyTraining& tiny, const std::string& target,
                                      const std::string& drafter) {
  train::Recipe made = tiny.recipe("acceptance-head");
  made.shape = {{"model_type", "specdec-pp"}, {"hidden_size", 32}, {"num_blocks", 1}};
  made.packing = train::Packing::texts;
  made.start = drafter;
  made.teacher = target;
  return made;
}

}  // namespace decoscope::test
