#include "core/model/torch/kernels/Workers.h"

#include <algorithm>
#include <system_error>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace decoscope::kernels {

namespace {

constexpr std::uint32_t kOpen = 1u << 31;
constexpr int kSpins = 2000;  // some tens of microseconds: longer than the serial part between two sections
constexpr int kIdleSpins = 20000;  // and than what a decoder does between two forwards

void pauseBriefly() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

Workers::Workers(int threads) {
  const int wanted =
      threads > 0 ? threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  try {
    for (int i = 1; i < std::min(wanted, 1024); ++i) helpers_.emplace_back([this] { help(); });
  } catch (const std::system_error&) {
    // The kernels run on as many threads as there are.
  }
}

Workers::~Workers() {
  quit_.store(true);
  section_.fetch_add(1);
  section_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void Workers::takePieces() {
  for (std::int64_t begin = next_.load(std::memory_order_relaxed);;) {
    if (begin >= count_) return;
    // Large pieces first and small ones last, so that all threads end together whatever else a core does.
    const std::int64_t share = (count_ - begin) / (2 * threads());
    const std::int64_t end =
        std::min(begin + std::max(grain_, (share + grain_ - 1) / grain_ * grain_), count_);
    if (!next_.compare_exchange_weak(begin, end, std::memory_order_relaxed)) continue;
    try {
      call_(context_, begin, end);
    } catch (...) {
      const std::lock_guard lock(failureMutex_);
      if (!failure_) failure_ = std::current_exception();
      next_.store(count_, std::memory_order_relaxed);
    }
    begin = next_.load(std::memory_order_relaxed);
  }
}

void Workers::run(std::int64_t count, std::int64_t grain, Call call, void* context) {
  if (helpers_.empty() || count <= grain) return call(context, 0, count);
  grain_ = grain;
  count_ = count;
  call_ = call;
  context_ = context;
  next_.store(0, std::memory_order_relaxed);
  inside_.store(kOpen, std::memory_order_release);
  section_.fetch_add(1, std::memory_order_release);
  section_.notify_all();
  takePieces();
  inside_.fetch_and(~kOpen, std::memory_order_acq_rel);
  for (int spins = 0; inside_.load(std::memory_order_acquire) != 0; ++spins)
    if (spins < kSpins)
      pauseBriefly();
    else
      std::this_thread::yield();
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Workers::help() {
  std::uint32_t seen = 0;
  for (;;) {
    for (int spins = 0; spins < kIdleSpins && section_.load(std::memory_order_acquire) == seen; ++spins)
      pauseBriefly();
    section_.wait(seen, std::memory_order_acquire);
    seen = section_.load(std::memory_order_acquire);
    if (quit_.load()) return;
    std::uint32_t state = inside_.load(std::memory_order_relaxed);
    while (state & kOpen)
      if (inside_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) {
        takePieces();
        inside_.fetch_sub(1, std::memory_order_release);
        break;
      }
  }
}

}  // namespace decoscope::kernels
