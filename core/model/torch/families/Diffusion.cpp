// Masked diffusion: LLaDA (Nie et al. 2025) and Dream (Ye et al. 2025), which has Qwen 2's layout.
#include "core/model/torch/families/Families.h"

namespace decoscope {

namespace {

// Converters take the mask token from the configuration to the vocabulary's tokens. Files that do not say
// whether rows are shifted have them as their family does.
void readDiffusion(const GgufReader& reader, bool shifted, TransformerConfig& c) {
  constexpr const char* kKey = "tokenizer.ggml.mask_token_id";
  c.diffusion = true;
  const auto shift = reader.file().metadata().find("diffusion.shift_logits");
  c.shifted = shift == reader.file().metadata().end() ? shifted : shift->second == MetadataValue(true);
  const std::int64_t mask = reader.file().integer(kKey, -1);
  if (mask >= 0 && mask < c.vocabulary) {
    c.maskToken = static_cast<TokenId>(mask);
    return;
  }
  reader.report({ErrorCode::badInput,
                 mask < 0 ? "the file of a masked-diffusion model names no mask token"
                          : "the mask token " + std::to_string(mask) + " is not in the vocabulary",
                 reader.file().path() + ", field " + kKey, "Convert the model again, with its config.json."});
}

}  // namespace

Family lladaFamily() {
  return {{"llada"},
          {"llada"},
          [](const ConfigReader& reader, Architecture& architecture) {
            TransformerConfig& c = architecture.config;
            c.diffusion = true;
            c.layers = reader.layers("n_layers");
            c.width = reader.integer("d_model");
            c.heads = reader.integer("n_heads");
            c.keyValueHeads = reader.integer("n_kv_heads", c.heads);
            c.headSize = c.heads > 0 ? c.width / c.heads : 0;
            c.inner = reader.integer("mlp_hidden_size", 4 * c.width);
            c.vocabulary = reader.integer("embedding_size", reader.integer("vocab_size"));
            c.context = reader.integer("max_sequence_length", 4096);
            c.maskToken = reader.integer("mask_token_id");
            c.shifted = reader.boolean("shift_logits", false);
            c.normEpsilon = static_cast<float>(reader.real("rms_norm_eps", 1e-5));
            c.tied = reader.boolean("weight_tying", false);
            readRope(reader, c);
            refuse(reader, "alibi", reader.boolean("alibi", false), "linear attention biases (ALiBi) are");
            refuse(reader, "block_type", reader.text("block_type", "llama") != "llama",
                   "blocks other than llama's are");
            TensorNames& names = architecture.names;
            const std::string root = "model.transformer.", block = root + "blocks.{}.";
            names.embedding = root + "wte.weight";
            names.finalNorm = root + "ln_f.weight";
            names.head = root + "ff_out.weight";
            names.attentionNorm = block + "attn_norm.weight";
            names.query = block + "q_proj.weight";
            names.key = block + "k_proj.weight";
            names.value = block + "v_proj.weight";
            names.output = block + "attn_out.weight";
            names.mlpNorm = block + "ff_norm.weight";
            names.gate = block + "ff_proj.weight";
            names.up = block + "up_proj.weight";
            names.down = block + "ff_out.weight";
          },
          [](const GgufReader& reader, Architecture& architecture) {
            readDiffusion(reader, false, architecture.config);
            architecture.config.rotaryInterleaved = true;
          },
          true};
}

// The row of a token speaks for the one behind it, as Qwen 2's does, unless the checkpoint says otherwise.
Family dreamFamily() {
  return {{"Dream"},
          {"dream"},
          [](const ConfigReader& reader, Architecture& architecture) {
            readLlama(reader, architecture);
            architecture.config.diffusion = true;
            architecture.config.maskToken = reader.integer("mask_token_id");
            architecture.config.shifted = reader.boolean("shift_logits", true);
          },
          [](const GgufReader& reader, Architecture& architecture) {
            readDiffusion(reader, true, architecture.config);
          },
          true};
}

}  // namespace decoscope
