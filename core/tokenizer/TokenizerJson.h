// tokenizer.json, the serialised pipeline of Hugging Face's tokenizers. Internal to core/tokenizer: includes
// the JSON library.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "core/base/Status.h"
#include "core/tokenizer/Pipeline.h"

namespace decoscope::tokenizerJson {

using nlohmann::json;

// Parses an object. Errors: what is not one, or is nested more than 64 deep, which would cost much memory.
Result<json> parseObject(std::string_view text, const std::string& where);

// A string member; "" where it is missing or something else.
std::string textOf(const json& object, const char* key);
// A token given as "text" or as {"content": "text"}.
std::string tokenText(const json& object, const char* key);
bool flagOf(const json& object, const char* key, bool fallback);
// A member that is an object or array; an empty one where it is missing.
const json& memberOf(const json& object, const char* key);

// Steps of the pipeline; null where `step` is null. Errors: unsupported, naming the type; badInput.
Result<NormalizerPointer> readNormalizer(const json& step, const std::string& where, int depth = 0);
Result<PreTokenizerPointer> readPreTokenizer(const json& step, const std::string& where, int depth = 0);
Result<PieceDecoderPointer> readDecoder(const json& step, const std::string& where, int depth = 0);
// Appends the templates of a post-processor.
Status readPostProcessor(const json& step, const std::string& where, std::vector<TokenTemplate>& out,
                         int depth = 0);
Result<SubwordModelPointer> readModel(const json& model, const std::string& where, Fingerprint& fingerprint);

// All parts that the file itself knows: no beginning and end of texts, no chat template.
Result<PipelineParts> readPipeline(std::string_view text, const std::string& where);

}  // namespace decoscope::tokenizerJson
