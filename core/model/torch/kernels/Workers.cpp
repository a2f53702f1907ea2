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
  for (;;) {
    const std::int64_t begin = next_.fetch_add(piece_, std::memory_order_relaxed);
    if (begin >= count_) return;
    try {
      call_(context_, begin, std::min(begin + piece_, count_));
    } catch (...) {
      const std::lock_guard lock(failureMutex_);
      if (!failure_) failure_ = std::current_exception();
      next_.store(count_, std::memory_order_relaxed);
    }
  }
}

void Workers::run(std::int64_t count, std::int64_t grain, Call call, void* context) {
  if (helpers_.empty() || count <= grain) return call(context, 0, count);
  // A few pieces a thread even out what other programs take from a core.
  const std::int64_t share = count / (3 * threads());
  piece_ = std::max(grain, (share + grain - 1) / grain * grain);
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
    for (int spins = 0; spins < kSpins && section_.load(std::memory_order_acquire) == seen; ++spins)
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
