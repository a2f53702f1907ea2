// What decoders of masked diffusion share: a canvas of masks behind the prompt, the rows that a model gives
// for its positions, and the record of its cells.
#pragma once

#include <cstdint>
#include <vector>

#include "core/decode/Decoder.h"
#include "core/decode/Distribution.h"

namespace decoscope {

class Canvas {
 public:
  // What a row says of a masked position.
  struct Guess {
    std::int32_t position = 0;
    TokenId token = 0;
    double confidence = 0;  // what positions are ranked by
    double entropy = 0;     // nats, of the plain softmax of the row
  };

  // The prompt and environment.maxNewTokens masks; a canvas that stands already is left as it is. Error
  // badInput where the model has too few positions.
  Status begin(DecodeEnvironment& environment);

  TokenId mask() const { return mask_; }
  // Positions: the first behind the prompt, and one behind the last.
  std::int64_t first() const { return prompt_; }
  std::int64_t end() const { return static_cast<std::int64_t>(tokens_.size()); }
  bool masked(std::int64_t position) const { return tokens_[static_cast<std::size_t>(position)] == mask_; }
  const std::vector<TokenId>& tokens() const { return tokens_; }

  // Raw logits of positions [from, end()), one forward with full visibility. Each row scores the token at its
  // own position: rows of a model that scores the next one (ModelInfo::shifted) are moved; position 0 has
  // none before it then and keeps its own. `blank`: as if the prompt were masked too.
  Result<std::vector<std::vector<float>>> rows(DecodeEnvironment& environment, std::int64_t from,
                                               bool blank = false) const;

  // Writes a guess, and records cell and commit; a warning where the mask itself won.
  void commit(Recorder& recorder, const Guess& guess, std::int32_t block);
  // Records a position that stays as it is.
  void keep(Recorder& recorder, const Guess& guess, std::int32_t block) const;
  void keepFixed(Recorder& recorder, std::int64_t position, std::int32_t block) const;
  // The digest of a row, where distributions are wanted.
  static void recordRow(Recorder& recorder, const Distribution& p, DistributionKind kind,
                        std::int32_t position);

 private:
  TokenId mask_ = -1;
  std::vector<TokenId> tokens_;
  std::int64_t prompt_ = 0;
};

}  // namespace decoscope
