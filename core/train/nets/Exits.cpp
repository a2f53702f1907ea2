#include "core/train/nets/Exits.h"

namespace decoscope::train {

Result<Exits> Exits::read(const Recipe& recipe) {
  Exits exits;
  const std::string where = recipe.folder + "/recipe.json, field options";
  const nlohmann::json& options = recipe.options;
  exits.last = recipe.shape.value("num_hidden_layers", 0);
  if (const auto list = options.find("exits"); list != options.end()) {
    if (!list->is_array()) return fail(ErrorCode::badInput, "'exits' must be a list of block numbers", where);
    for (const auto& layer : *list) {
      if (!layer.is_number_integer() || layer.get<int>() < 1 || layer.get<int>() >= exits.last ||
          (!exits.layers.empty() && layer.get<int>() <= exits.layers.back()))
        return fail(ErrorCode::badInput,
                    "'exits' must ascend and lie between 1 and " + std::to_string(exits.last - 1), where);
      exits.layers.push_back(layer.get<int>());
    }
  }
  exits.weight = optionOf(recipe, "exit_weight", 0.3);
  exits.rotate = options.value("rotate", false);
  exits.layerDrop = optionOf(recipe, "layer_drop", 0);
  if (exits.layerDrop < 0 || exits.layerDrop >= 1)
    return fail(ErrorCode::badInput, "'layer_drop' must be at least 0 and below 1", where);
  return exits;
}

std::vector<int> Exits::of(std::int64_t step) const {
  std::vector<int> list;
  if (!layers.empty() && rotate)
    list.push_back(layers[static_cast<std::size_t>(step) % layers.size()]);
  else
    list = layers;
  list.push_back(last);
  return list;
}

double Exits::weightOf(int exit, std::size_t exitsOfStep) const {
  return exit == last ? 1.0 : weight / static_cast<double>(exitsOfStep - 1);
}

Predictions::Predictions(const Batch& batch) {
  const std::int64_t length = batch.tokens.size(1) - 1;
  wanted = batch.tokens.narrow(1, 1, length).reshape({-1});
  counts = batch.text.narrow(1, 0, length).reshape({-1}).to(at::kFloat);
}

std::vector<at::Tensor> statesOf(Net& net, const Batch& batch, const std::vector<int>& exits,
                                 const Place* place, double layerDrop, at::ScalarType precision) {
  NetRequest request;
  request.tokens = batch.tokens.narrow(1, 0, batch.tokens.size(1) - 1);
  request.exits = exits;
  request.precision = precision;
  if (place) {
    request.layerDrop = layerDrop;
    request.generator = place->generator;
  }
  return net.states(request);
}

}  // namespace decoscope::train
