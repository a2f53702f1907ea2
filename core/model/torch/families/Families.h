// The families of transformers, one file each. A description fills an Architecture from config.json and,
// where the family has GGUF files, adds to what every GGUF says.
#pragma once

#include <span>
#include <vector>

#include "core/model/torch/Architecture.h"
#include "core/model/torch/ConfigReader.h"

namespace decoscope {

struct Family {
  std::vector<const char*> modelTypes;  // model_type of config.json
  std::vector<const char*> ggufNames;   // general.architecture
  // Problems are reported to the reader.
  void (*fromConfig)(const ConfigReader&, Architecture&) = nullptr;
  void (*fromGguf)(const GgufReader&, Architecture&) = nullptr;  // after readGguf(); null: nothing to add
  bool diffuses = false;                                         // masked diffusion
};

std::span<const Family> families();

// Families.cpp calls each of these once.
Family llamaFamily();
Family mistralFamily();
Family mixtralFamily();
Family qwen2Family();
Family qwen3Family();
Family qwen2MixtureFamily();
Family qwen3MixtureFamily();
Family gemmaFamily();
Family gemma2Family();
Family gemma3Family();
Family phiFamily();
Family phi3Family();
Family gpt2Family();
Family gptNeoxFamily();
Family stableLmFamily();
Family starCoder2Family();
Family olmoFamily();
Family olmo2Family();
Family olmo3Family();
Family olmoeFamily();
Family smolLm3Family();
Family graniteFamily();
Family falconFamily();
Family gptOssFamily();
Family lladaFamily();
Family dreamFamily();
Family eagleFamily();

// What descriptions share.

// Sizes, names, norms and rotation as Llama's checkpoints have them; the basis of most families.
void readLlama(const ConfigReader& reader, Architecture& architecture);
// Names of Llama's layout.
TensorNames llamaNames();
// The same of a GGUF: its tensors say whether products are fused, experts are there, the head is tied.
void readGguf(const GgufReader& reader, Architecture& architecture);
// Which layers have the window: a list by layer, or every layer but each `period`th; the file's period counts
// before the one given, 0 means all.
void readWindowPattern(const GgufReader& reader, TransformerConfig& config, int period);

// rope_parameters or rope_scaling, rope_theta, partial_rotary_factor. Needs headSize and context.
void readRope(const ConfigReader& reader, TransformerConfig& config, double theta = 10000,
              double rotaryShare = 1);
// Names of activations as config.json has them.
void readActivation(const ConfigReader& reader, const char* key, const char* fallback,
                    TransformerConfig& config);
// sliding_window and layer_types; without the latter `slides` decides by layer.
void readWindow(const ConfigReader& reader, TransformerConfig& config, int fallback,
                bool (*slides)(int layer, const ConfigReader& reader));
// Which layers have experts: decoder_sparse_step and mlp_only_layers.
void readSparseLayers(const ConfigReader& reader, TransformerConfig& config);
// Experts as most checkpoints name them: mlp.gate, mlp.experts.{e}.….
void nameExperts(TensorNames& names);
// Refuses a field whose value we do not know how to honour.
void refuse(const ConfigReader& reader, const char* key, bool isSet, const std::string& what);

}  // namespace decoscope
