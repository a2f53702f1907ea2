// A reference checkpoint behind the model door, and requests for it.
#pragma once

#include <QTemporaryDir>
#include <numeric>

#include "tests/torch/Reference.h"

namespace decoscope {

using Floats = std::vector<float>;

inline const std::vector<TokenId> kText = {5, 9, 33, 7, 41, 8, 19, 60};

inline Floats allRows(const Logits& logits) {
  Floats rows;
  for (int row = 0; row < logits.rows(); ++row)
    rows.insert(rows.end(), logits.row(row).begin(), logits.row(row).end());
  return rows;
}

inline std::vector<std::int32_t> upTo(std::size_t count) {
  std::vector<std::int32_t> rows(count);
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

inline ForwardRequest requestOf(std::vector<TokenId> tokens) {
  ForwardRequest request;
  request.logitRows = upTo(tokens.size());
  request.tokens = std::move(tokens);
  return request;
}

// A reference checkpoint, loaded.
struct Opened {
  QTemporaryDir folder;
  nlohmann::json document;
  std::unique_ptr<Model> model;
  QString problem;
  explicit Opened(const std::string& name, const char* device = "cpu", const char* dtype = "f32")
      : document(referenceOf(name + ".json")) {
    writeCheckpoint(folder.path().toStdString(), document);
    model = load(folder.path().toStdString(), device, problem, dtype);
  }
  Floats tensor(const std::string& name) const {
    return weightsOf(name, document["tensors"].at(name).get<std::vector<std::int64_t>>());
  }
  Result<ForwardOutput> run(const ForwardRequest& request) const {
    return model->forward(request, StopToken());
  }
  // From an empty cache, which stays empty.
  Floats logits(const ForwardRequest& request) const {
    (void)model->retain(0);
    const auto output = run(request);
    (void)model->retain(0);
    return output ? allRows(*output->logits) : Floats();
  }
  std::vector<Floats> taps(ForwardRequest request, std::vector<Tap> taps) const {
    (void)model->retain(0);
    request.taps = std::move(taps);
    const auto output = run(request);
    (void)model->retain(0);
    std::vector<Floats> values;
    if (output)
      for (const TapValue& tap : output->taps) values.push_back(tap.values);
    return values;
  }
};

}  // namespace decoscope
