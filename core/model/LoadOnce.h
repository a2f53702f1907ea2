// Things that are costly to load and do not change then: loaded once, and shared by all who ask for the same
// one while somebody holds it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/model/Model.h"

namespace decoscope {

// `Key`: all that decides what comes out; compared with ==. Thread-safe. Holds no value itself: the last
// holder of a value frees it.
template <typename Key, typename Value>
class LoadOnce {
 public:
  using Shared = std::shared_ptr<const Value>;

  // The value that is there; else `load(progress)`, a Result<Value>, makes it on this thread. Whoever asks
  // while another thread loads it waits, and is told how far that one is; should it fail or be cancelled, the
  // next one loads. Callbacks are called without a lock. A load that asks for its own key, say from its
  // progress, gets a value of its own. Errors: those of `load`; cancelled, also where
  // the value is there.
  template <typename Load>
  Result<Shared> get(Key key, const ProgressFunction& progress, const StopToken& stop, Load&& load) {
    std::unique_lock lock(mutex_);
    while (const std::shared_ptr<Entry> entry = find([&](const Key& other) { return other == key; })) {
      if (stop.stop_requested()) return fail(ErrorCode::cancelled, "loading was cancelled");
      if (!entry->loading) {
        if (Shared value = entry->value.lock()) return value;
        continue;  // its last holder has just let go
      }
      if (entry->loader == std::this_thread::get_id()) {
        lock.unlock();
        return made(load(progress));
      }
      changed_.wait_for(lock, stop, kReportEvery, [&] { return !entry->loading; });
      if (!progress) continue;
      lock.unlock();
      progress(entry->fraction, "Waiting for the same weights");
      lock.lock();
    }
    const auto entry = std::make_shared<Entry>(std::move(key));
    entries_.push_back(entry);
    lock.unlock();
    const Ending ending{*this, entry};  // also when `load` throws
    auto loaded = made(load([&](double fraction, const std::string& phase) {
      entry->fraction = fraction;
      if (progress) progress(fraction, phase);
    }));
    if (loaded) {
      const std::lock_guard guard(mutex_);
      entry->value = *loaded;
    }
    return loaded;
  }

  // Whether somebody holds or loads a value of which `matches(key)`.
  template <typename Matches>
  bool any(const Matches& matches) {
    const std::lock_guard lock(mutex_);
    return find(matches) != nullptr;
  }

 private:
  static constexpr std::chrono::milliseconds kReportEvery{100};

  struct Entry {
    explicit Entry(Key of) : key(std::move(of)) {}
    const Key key;
    const std::thread::id loader = std::this_thread::get_id();
    std::atomic<double> fraction = 0;
    bool loading = true;
    std::weak_ptr<const Value> value;
  };
  struct Ending {
    LoadOnce& owner;
    const std::shared_ptr<Entry>& entry;
    ~Ending() {
      const std::lock_guard lock(owner.mutex_);
      entry->loading = false;
      owner.changed_.notify_all();
    }
  };

  static Result<Shared> made(Result<Value> loaded) {
    if (!loaded) return tl::unexpected<Error>(loaded.error());
    return std::make_shared<const Value>(std::move(*loaded));
  }

  // Forgets what nobody holds any more.
  template <typename Matches>
  std::shared_ptr<Entry> find(const Matches& matches) {
    std::erase_if(entries_, [](const auto& entry) { return !entry->loading && entry->value.expired(); });
    for (const auto& entry : entries_)
      if (matches(entry->key)) return entry;
    return nullptr;
  }

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<std::shared_ptr<Entry>> entries_;
};

}  // namespace decoscope
