// Draft heads of EAGLE-1 and EAGLE-2 (Li et al. 2024, arXiv 2401.15077 and 2406.16858): blocks of Llama over
// fc · concat(embedding of the token, feature of its predecessor). Their output estimates the token's
// feature, the state that the target has there behind its final norm. Embedding and LM head are the target's.
// A reduced vocabulary is named as EAGLE-3 does (arXiv 2503.01840): draft_vocab_size, and `d2t`, the distance
// from the ranked token's index to its id.
#include "core/model/torch/families/Families.h"

namespace decoscope {

namespace {

void readEagle(const ConfigReader& reader, Architecture& architecture) {
  readLlama(reader, architecture);
  TransformerConfig& c = architecture.config;
  TensorNames& names = architecture.names;
  c.followsFeatures = true;
  c.rankedTokens = reader.integer("draft_vocab_size", 0);
  if (c.rankedTokens > c.vocabulary)
    reader.report({ErrorCode::badInput,
                   "more tokens are ranked than the vocabulary holds",
                   reader.where() + ", field draft_vocab_size",
                   {}});
  // What a target does to its logits, where it does.
  const double divisor = reader.real("logits_scaling", 1);
  if (divisor > 0) c.logitScale = static_cast<float>(1 / divisor);
  c.logitCap = static_cast<float>(reader.real("final_logit_softcapping", 0));
  // Such rotations make the cache stale when the text grows, and the features it was made from are gone by
  // then.
  const RopeScaling::Kind kind = c.rope.scaling.kind;
  refuse(reader, "rope_scaling", kind == RopeScaling::Kind::dynamic || kind == RopeScaling::Kind::longrope,
         "rotations that change with the length of the text are, for draft heads,");
  for (std::string TensorNames::*name : {&TensorNames::attentionNorm, &TensorNames::query, &TensorNames::key,
                                         &TensorNames::value, &TensorNames::output, &TensorNames::mlpNorm,
                                         &TensorNames::gate, &TensorNames::up, &TensorNames::down})
    (names.*name).erase(0, std::string("model.").size());
  names.embedding = names.finalNorm = names.head = {};
  names.fuse = "fc.weight";
  names.ranked = "d2t";
}

}  // namespace

Family eagleFamily() {
  return {{"eagle"}, {}, readEagle};
}

}  // namespace decoscope
