// Any bytes as a safetensors file: it is opened or refused; what is opened decodes and covers the data.
#include <algorithm>
#include <cstdlib>

#include "core/model/weights/Readers.h"

using namespace decoscope;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  const auto opened =
      openSafetensors({MappedFile::fromBytes("fuzz.safetensors", {begin, begin + size})}, "fuzz.safetensors");
  if (!opened) {
    if (opened.error().message.empty()) std::abort();
    return 0;
  }
  std::size_t covered = 0;
  for (const WeightTensor& tensor : (*opened)->tensors()) {
    if ((*opened)->find(tensor.name) != &tensor) std::abort();
    covered += tensor.data.size();
    std::vector<float> values(static_cast<std::size_t>(std::min<std::int64_t>(tensor.elements(), 64)));
    (void)dequantise(tensor, 0, values);
  }
  if (covered > size) std::abort();
  return 0;
}
