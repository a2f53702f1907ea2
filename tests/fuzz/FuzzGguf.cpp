// Any bytes as a GGUF file: it is opened or refused; what is opened decodes.
#include <algorithm>
#include <cstdlib>

#include "core/model/GgufTokenizer.h"
#include "core/model/weights/Gguf.h"
#include "core/model/weights/Readers.h"

using namespace decoscope;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  const auto file = MappedFile::fromBytes("fuzz.gguf", {begin, begin + size});
  const auto peeked = readGguf(file, GgufDepth::tensors);
  const auto opened = openGguf(file);
  if (opened && !peeked) std::abort();
  if (!opened) {
    if (opened.error().message.empty()) std::abort();
    return 0;
  }
  for (const WeightTensor& tensor : (*opened)->tensors()) {
    if ((*opened)->find(tensor.name) != &tensor) std::abort();
    const std::int64_t length = blockLength(tensor.type);
    std::vector<float> values(
        static_cast<std::size_t>(std::min<std::int64_t>(tensor.elements(), 4 * length)));
    (void)dequantise(tensor, 0, values);
    (void)dequantise(tensor, tensor.elements() - static_cast<std::int64_t>(values.size()), values);
  }
  (void)(*opened)->integer("general.alignment", 0);
  (void)(*opened)->real("general.alignment", 0);
  (void)tokenizerFromGguf(**opened);
  return 0;
}
