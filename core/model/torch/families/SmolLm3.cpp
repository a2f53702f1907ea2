// SmolLM 3 (Hugging Face 2025): Llama with layers that do not rotate. SmolLM 1 and 2 are llama.
#include "core/model/torch/families/Families.h"

namespace decoscope {

namespace {
constexpr int kInterval = 4;
}

Family smolLm3Family() {
  return {{"smollm3"},
          {"smollm3"},
          [](const ConfigReader& reader, Architecture& architecture) {
            readLlama(reader, architecture);
            TransformerConfig& c = architecture.config;
            c.tied = reader.boolean("tie_word_embeddings", true);
            if (reader.boolean("use_sliding_window", false)) readWindow(reader, c, 4096, nullptr);
            if (const nlohmann::json* rotary = reader.array("no_rope_layers")) {
              // Despite its name a 1 means that the layer does rotate.
              for (const nlohmann::json& rotates : *rotary)
                c.rotary.push_back(rotates.is_number_integer() && rotates.get<int>() != 0);
            } else {
              const int interval = std::max(1, reader.integer("no_rope_layer_interval", kInterval));
              for (int layer = 0; layer < c.layers; ++layer) c.rotary.push_back((layer + 1) % interval != 0);
            }
          },
          [](const GgufReader&, Architecture& architecture) {
            TransformerConfig& c = architecture.config;
            c.rotaryInterleaved = true;
            for (int layer = 0; layer < c.layers; ++layer) c.rotary.push_back((layer + 1) % kInterval != 0);
          }};
}

}  // namespace decoscope
