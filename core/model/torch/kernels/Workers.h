// The threads of one model's CPU kernels. A forward has over a hundred parallel sections of some ten
// microseconds each, so a helper spins a little for the next section before it sleeps, and a section never
// waits for a helper that has not woken up yet.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace decoscope::kernels {

class Workers {
 public:
  // `threads` counts the calling thread; 0 takes one per core. Where the system refuses a thread, fewer are
  // used.
  explicit Workers(int threads);
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  int threads() const { return static_cast<int>(helpers_.size()) + 1; }

  // Calls body(begin, end) over pieces that together cover [0, count), each (but the last) a multiple of
  // `grain` long, on this thread and the helpers; returns when all are done. Which thread gets which piece is
  // not fixed. The first exception of a body is rethrown here; pieces not yet begun are then left out. One
  // caller at a time; a body must not call forPieces of the same workers.
  template <typename Body>
  void forPieces(std::int64_t count, std::int64_t grain, Body&& body) {
    if (count <= 0) return;
    using Plain = std::remove_reference_t<Body>;
    run(
        count, grain,
        [](void* context, std::int64_t begin, std::int64_t end) {
          (*static_cast<Plain*>(context))(begin, end);
        },
        const_cast<void*>(static_cast<const void*>(std::addressof(body))));
  }

 private:
  using Call = void (*)(void*, std::int64_t, std::int64_t);
  void run(std::int64_t count, std::int64_t grain, Call call, void* context);
  void takePieces();
  void help();

  std::vector<std::thread> helpers_;
  // The section under way; written only while it is closed and no helper is inside.
  std::int64_t count_ = 0, grain_ = 1;
  Call call_ = nullptr;
  void* context_ = nullptr;
  std::exception_ptr failure_;
  std::mutex failureMutex_;

  alignas(64) std::atomic<std::int64_t> next_{0};
  alignas(64) std::atomic<std::uint32_t> section_{0};  // counts sections; helpers wait for it to change
  alignas(64) std::atomic<std::uint32_t> inside_{
      0};  // kOpen while helpers may enter, plus the number of helpers inside
  std::atomic<bool> quit_{false};
};

}  // namespace decoscope::kernels
