// Mistral (Jiang et al. 2023) and Mixtral (Jiang et al. 2024). Their GGUF files call themselves llama.
#include "core/model/torch/families/Families.h"

namespace decoscope {

Family mistralFamily() {
  return {{"mistral"}, {}, [](const ConfigReader& reader, Architecture& architecture) {
            readLlama(reader, architecture);
            readWindow(reader, architecture.config, 4096, nullptr);
          }};
}

Family mixtralFamily() {
  return {{"mixtral"}, {}, [](const ConfigReader& reader, Architecture& architecture) {
            readLlama(reader, architecture);
            TransformerConfig& c = architecture.config;
            readWindow(reader, c, 0, nullptr);
            c.mixture.experts = reader.integer("num_local_experts", 8);
            c.mixture.perToken = reader.integer("num_experts_per_tok", 2);
            c.mixture.inner = c.inner;
            TensorNames& names = architecture.names;
            names.router = "model.layers.{}.block_sparse_moe.gate.weight";
            names.expertGate = "model.layers.{}.block_sparse_moe.experts.{e}.w1.weight";
            names.expertUp = "model.layers.{}.block_sparse_moe.experts.{e}.w3.weight";
            names.expertDown = "model.layers.{}.block_sparse_moe.experts.{e}.w2.weight";
          }};
}

}  // namespace decoscope
