// Stands in for libFuzzer in ordinary builds: runs the target on every file of the folders and files that are
// named. Returns 77 (skipped) when there is none, 1 when a file takes more memory than 64 MiB and 64 times
// its size. Under a sanitizer memory is not judged: it keeps what was freed.
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <new>
#include <string>
#include <vector>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define DECOSCOPE_SANITIZED
#endif
#endif
#if !defined(__SANITIZE_ADDRESS__) && !defined(DECOSCOPE_SANITIZED)
#define DECOSCOPE_COUNT_MEMORY
#endif

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

std::atomic<std::size_t> held{0}, most{0};  // bytes

bool replay(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(stream), {}};
  const std::size_t before = held;
  most = before;
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  const std::size_t used = most - before, allowed = (std::size_t{64} << 20) + 64 * bytes.size();
  if (used > allowed)
    std::fprintf(stderr, "%s (%zu bytes) took %zu bytes of memory\n", path.c_str(), bytes.size(), used);
  return used <= allowed;
}

}  // namespace

#ifdef DECOSCOPE_COUNT_MEMORY
namespace {

void* take(std::size_t size) {
  void* block = std::malloc(size);
  if (!block) {
    std::fprintf(stderr, "an allocation of %zu bytes failed\n", size);
    std::abort();
  }
  const std::size_t now = held += malloc_usable_size(block);
  std::size_t before = most;
  while (now > before && !most.compare_exchange_weak(before, now)) {
  }
  return block;
}

void release(void* block) {
  if (!block) return;
  held -= malloc_usable_size(block);
  std::free(block);
}

}  // namespace

void* operator new(std::size_t size) {
  return take(size);
}
void* operator new[](std::size_t size) {
  return take(size);
}
void operator delete(void* block) noexcept {
  release(block);
}
void operator delete[](void* block) noexcept {
  release(block);
}
void operator delete(void* block, std::size_t) noexcept {
  release(block);
}
void operator delete[](void* block, std::size_t) noexcept {
  release(block);
}
#endif

int main(int count, char** arguments) {
  namespace fs = std::filesystem;
  std::vector<fs::path> files;
  for (int i = 1; i < count; ++i) {
    std::error_code error;
    if (fs::is_directory(arguments[i], error)) {
      for (const auto& entry : fs::recursive_directory_iterator(arguments[i]))
        if (entry.is_regular_file()) files.push_back(entry.path());
    } else if (fs::exists(arguments[i], error)) {
      files.emplace_back(arguments[i]);
    }
  }
  if (files.empty()) {
    std::printf("SKIP: there is no corpus\n");
    return 77;
  }
  std::sort(files.begin(), files.end());
  const auto good = std::count_if(files.begin(), files.end(), replay);
  std::printf("%zu inputs replayed\n", files.size());
  return good == static_cast<std::ptrdiff_t>(files.size()) ? 0 : 1;
}
