// A table model that shows features, and a draft head made of a table that checks the features it is fed: as
// in EAGLE, each of its tokens comes with the feature of the one before it, the target's own for the text and
// the one the head guessed for what it drafts. So a proposer is held to the letter of the method, and its
// drafts are known exactly.
#pragma once

#include <QTemporaryDir>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/model/AcceptanceHead.h"
#include "tests/decode/Tables.h"
#include "tests/decode/WrappedModel.h"

namespace decoscope::test {

// The feature behind a token of the text, and the head's guess of it.
inline float featureOf(TokenId token) {
  return static_cast<float>(token) + 1;
}
inline float guessOf(TokenId token) {
  return -featureOf(token);
}

class FeatureModel : public WrappedModel {
 public:
  explicit FeatureModel(std::unique_ptr<Model> inner)
      : WrappedModel(std::move(inner)), info_(inner_->info()) {
    info_.width = info_.layers = 1;
  }
  const ModelInfo& info() const override { return info_; }

 protected:
  Result<ForwardOutput> run(const ForwardRequest& request, float (*feature)(TokenId), const StopToken& stop) {
    ForwardRequest plain = request;
    plain.taps.clear();
    plain.inputs.clear();
    DECOSCOPE_ASSIGN(ForwardOutput output, inner_->forward(plain, stop));
    for (const Tap& tap : request.taps) {
      TapValue value{tap, {static_cast<std::int64_t>(request.tokens.size()), 1}, {}};
      for (const TokenId token : request.tokens) value.values.push_back(feature(token));
      output.taps.push_back(std::move(value));
    }
    return output;
  }
  ModelInfo info_;
};

class FeatureTarget final : public FeatureModel {
 public:
  using FeatureModel::FeatureModel;
  Capabilities capabilities() const override {
    Capabilities can = inner_->capabilities();
    can.hiddenStates = true;
    return can;
  }
  Result<ForwardOutput> forward(const ForwardRequest& request, const StopToken& stop) override {
    return run(request, featureOf, stop);
  }
};

class TableHead final : public FeatureModel {
 public:
  TableHead(std::unique_ptr<Model> inner, std::vector<TokenId> ranked) : FeatureModel(std::move(inner)) {
    info_.rankedTokens = std::move(ranked);
  }
  Capabilities capabilities() const override {
    Capabilities can = inner_->capabilities();
    can.followsFeatures = can.hiddenStates = true;
    return can;
  }
  Status retain(int prefix, std::span<const std::int32_t> slots) override {
    DECOSCOPE_TRY(WrappedModel::retain(prefix, slots));
    for (std::size_t i = 0; i < slots.size(); ++i)
      tokens_[static_cast<std::size_t>(prefix) + i] = tokens_[static_cast<std::size_t>(slots[i])];
    tokens_.resize(static_cast<std::size_t>(prefix) + slots.size());
    return {};
  }
  Result<ForwardOutput> forward(const ForwardRequest& request, const StopToken& stop) override {
    const bool drafts = !request.follows.empty();
    for (std::size_t i = 0; i < request.tokens.size(); ++i) {
      const TokenId before = beforeOf(request, i);
      const float fed = i < request.inputs.size() ? request.inputs[i] : 0;
      // What stands before the first slot only the feature itself says. A level that is rehearsed is fed
      // zeros.
      if (before >= 0 && fed != 0 && fed != (drafts ? guessOf(before) : featureOf(before))) ++wrong_;
      if (before < 0 && !drafts && fed < 1) ++wrong_;
      fedZero_ += fed == 0;
    }
    DECOSCOPE_ASSIGN(ForwardOutput output, run(request, guessOf, stop));
    tokens_.insert(tokens_.end(), request.tokens.begin(), request.tokens.end());
    if (output.logits && !info_.rankedTokens.empty())
      output.logits = std::make_unique<Ranked>(*output.logits, info_.rankedTokens);
    return output;
  }
  int wrong() const { return wrong_; }      // tokens fed with another feature than theirs
  int fedZero() const { return fedZero_; }  // tokens fed with none

 private:
  class Ranked final : public Logits {
   public:
    Ranked(const Logits& all, const std::vector<TokenId>& ranked) {
      for (int row = 0; row < all.rows(); ++row) {
        rows_.emplace_back();
        for (const TokenId token : ranked)
          rows_.back().push_back(all.row(row)[static_cast<std::size_t>(token)]);
      }
    }
    int rows() const override { return static_cast<int>(rows_.size()); }
    int vocabularySize() const override { return static_cast<int>(rows_.front().size()); }
    std::span<const float> row(int index) const override { return rows_[static_cast<std::size_t>(index)]; }

   private:
    std::vector<std::vector<float>> rows_;
  };
  // The token that this one stands behind; −1 where none is in the cache.
  TokenId beforeOf(const ForwardRequest& request, std::size_t i) const {
    if (request.follows.empty() && i > 0) return request.tokens[i - 1];
    const int slot = request.follows.empty() ? static_cast<int>(tokens_.size()) - 1 : request.follows[i];
    return slot < 0 ? -1 : tokens_[static_cast<std::size_t>(slot)];
  }
  std::vector<TokenId> tokens_;
  int wrong_ = 0, fedZero_ = 0;
};

// Puts a target with features and a head into the engine; the head is returned to be asked.
inline std::shared_ptr<TableHead> adoptWithHead(Engine& engine, std::vector<TokenId> ranked = {},
                                                const char* headTable = kDrafter) {
  auto target = makeTableModel(*parseTable(kTarget, "target"), "table:target", "target");
  engine.adoptModel("target", "target",
                    {std::make_shared<FeatureTarget>(std::move(target.model)), target.tokenizer});
  auto table = makeTableModel(*parseTable(headTable, "head"), "table:head", "head");
  auto head = std::make_shared<TableHead>(std::move(table.model), std::move(ranked));
  engine.adoptModel("head", "head", {head, nullptr});
  return head;
}

// An acceptance head's folder: `values` in the order of the tensors' names.
struct NamedValues {
  std::string name;
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};
inline void writeAcceptanceHead(const std::string& folder, int width, int blocks, bool shared,
                                const std::vector<NamedValues>& tensors) {
  std::ofstream(folder + "/config.json") << nlohmann::json{{"model_type", "specdec-pp"},
                                                           {"hidden_size", width},
                                                           {"num_blocks", blocks},
                                                           {"shared_blocks", shared}};
  nlohmann::json header = nlohmann::json::object();
  std::string data;
  for (const NamedValues& tensor : tensors) {
    const std::size_t size = tensor.values.size() * sizeof(float);
    header[tensor.name] = {
        {"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {data.size(), data.size() + size}}};
    data.append(reinterpret_cast<const char*>(tensor.values.data()), size);
  }
  const std::string text = header.dump();
  const std::uint64_t size = text.size();
  std::ofstream file(folder + "/model.safetensors", std::ios::binary);
  file.write(reinterpret_cast<const char*>(&size), sizeof size);
  file << text << data;
}

// An acceptance head that doubts some of the states of the models above.
inline Result<std::unique_ptr<Model>> makeDoubter() {
  const QTemporaryDir folder;
  writeAcceptanceHead(folder.path().toStdString(), 1, 1, false,
                      {{"blocks.0.weight", {1, 1}, {0.5f}},
                       {"blocks.0.bias", {1}, {-1}},
                       {"classifier.weight", {2, 1}, {1, 0}},
                       {"classifier.bias", {2}, {-2, 1}}});
  return loadAcceptanceHead(folder.path().toStdString());
}

// A target, a drafter that shows its states and an acceptance head for it.
inline Status adoptJudged(Engine& engine) {
  DECOSCOPE_ASSIGN(auto head, makeDoubter());
  adopt(engine, "target", kTarget);
  auto drafter = makeTableModel(*parseTable(kDrafter, "drafter"), "table:drafter", "drafter");
  engine.adoptModel("drafter", "drafter",
                    {std::make_shared<FeatureTarget>(std::move(drafter.model)), drafter.tokenizer});
  engine.adoptModel("head", "head", {std::move(head), nullptr});
  return {};
}

// The same with a draft head on the target's features as the drafter; it is returned to be asked.
inline Result<std::shared_ptr<TableHead>> adoptJudgedHead(Engine& engine, std::vector<TokenId> ranked = {}) {
  DECOSCOPE_ASSIGN(auto head, makeDoubter());
  const auto drafter = adoptWithHead(engine, std::move(ranked));
  engine.adoptModel("drafter", "drafter", {drafter, nullptr});
  engine.adoptModel("head", "head", {std::move(head), nullptr});
  return drafter;
}

// Whatever this method needs.
inline Status adoptFor(Engine& engine, const std::string& method) {
  if (method == "specdec-pp") return adoptJudged(engine);
  adoptWithHead(engine);
  adopt(engine, "drafter", kDrafter);
  return {};
}

}  // namespace decoscope::test
