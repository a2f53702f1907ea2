#include "core/model/torch/families/Families.h"

namespace decoscope {

std::span<const Family> families() {
  static const Family all[] = {
      llamaFamily(),        mistralFamily(),      mixtralFamily(), qwen2Family(),   qwen3Family(),
      qwen2MixtureFamily(), qwen3MixtureFamily(), gemmaFamily(),   gemma2Family(),  gemma3Family(),
      phiFamily(),          phi3Family(),         gpt2Family(),    gptNeoxFamily(), stableLmFamily(),
      starCoder2Family(),   olmoFamily(),         olmo2Family(),   olmo3Family(),   olmoeFamily(),
      smolLm3Family(),      graniteFamily(),      falconFamily(),  gptOssFamily(),  lladaFamily(),
      dreamFamily(),        eagleFamily()};
  return all;
}

}  // namespace decoscope
