// Opens whatever the user names: a GGUF file, a Hugging Face folder, "table:FILE.json", or a name that the
// catalog knows. The one place that knows which backend reads what.
#pragma once

#include <memory>
#include <string>

#include "core/model/Model.h"
#include "core/tokenizer/Tokenizer.h"

namespace decoscope {

struct LoadedModel {
  std::shared_ptr<Model> model;
  std::shared_ptr<const Tokenizer> tokenizer;  // null where the folder of a head has none
};

// Errors: notFound, badInput (names file, field, offset), unsupported (names what is supported), cancelled.
// Memory-maps the file; nothing is allocated on the word of a header before it is checked against the file
// size.
Result<LoadedModel> loadModel(const std::string& name, const LoadOptions& options, const StopToken& stop);

// Only the tokenizer of the same names: needs no weights.
Result<std::shared_ptr<const Tokenizer>> loadModelTokenizer(const std::string& name);

// Only the description: reads headers, not weights.
Result<ModelInfo> describeModel(const std::string& name);

// What a model of this description can do once it is loaded.
Capabilities capabilitiesOf(const ModelInfo& info);

}  // namespace decoscope
