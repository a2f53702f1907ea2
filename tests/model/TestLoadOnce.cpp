// Loading once what several ask for.
#include <QTest>
#include <future>
#include <latch>

#include "core/model/LoadOnce.h"

using namespace decoscope;

namespace {

using Loads = LoadOnce<int, std::string>;

// A load that another thread can hold up.
struct Held {
  std::latch begun{1}, let{1};
  Result<std::string> outcome = std::string("held");
  Result<std::string> operator()(const ProgressFunction& progress) {
    progress(0.25, "Reading");
    begun.count_down();
    let.wait();
    return outcome;
  }
};

std::future<Result<Loads::Shared>> start(Loads& loads, Held& held, StopToken stop = {}) {
  auto future = std::async(std::launch::async,
                           [&loads, &held, stop] { return loads.get(1, {}, stop, std::ref(held)); });
  held.begun.wait();
  return future;
}

// Counts how often it is called.
struct Counted {
  int& count;
  Result<std::string> operator()(const ProgressFunction&) const {
    ++count;
    return std::string("counted");
  }
};

// A thread that waits for what is being loaded; known to wait once it was told so.
struct Waiter {
  std::latch waits{1};
  std::once_flag told;
  double fraction = 0;
  std::string phase;
  StopSource stop;
  int loaded = 0;
  std::future<Result<Loads::Shared>> result;
  explicit Waiter(Loads& loads) {
    result = std::async(std::launch::async, [this, &loads] {
      const auto progress = [this](double at, const std::string& name) {
        std::call_once(told, [&] {
          fraction = at;
          phase = name;
          waits.count_down();
        });
      };
      return loads.get(1, progress, stop.get_token(), Counted{loaded});
    });
  }
};

}  // namespace

class TestLoadOnce : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void sharesWhileHeld() {
    Loads loads;
    int count = 0;
    const auto load = [&](int key) { return *loads.get(key, {}, {}, Counted{count}); };
    Loads::Shared first = load(1), second = load(1);
    QCOMPARE(second.get(), first.get());
    QCOMPARE(count, 1);
    const Loads::Shared other = load(2);
    QVERIFY(other != first);
    QCOMPARE(count, 2);
    first.reset();
    QCOMPARE(load(1).get(), second.get());
    StopSource stopped;
    stopped.request_stop();
    QCOMPARE(loads.get(1, {}, stopped.get_token(), Counted{count}).error().code, ErrorCode::cancelled);
    QVERIFY(loads.any([](int key) { return key == 1; }));
    second.reset();
    QVERIFY(!loads.any([](int key) { return key == 1; }));
    QCOMPARE(*load(1), std::string("counted"));
    QCOMPARE(count, 3);
  }
  void laterOnesWait() {
    Loads loads;
    Held held;
    auto first = start(loads, held);
    QVERIFY(loads.any([](int key) { return key == 1; }));
    Waiter one(loads), other(loads);
    one.waits.wait();
    other.waits.wait();
    QCOMPARE(one.fraction, 0.25);
    QCOMPARE(one.phase, std::string("Waiting for the same weights"));
    // Other things are loaded meanwhile.
    int count = 0;
    QVERIFY(loads.get(2, {}, {}, Counted{count}));
    held.let.count_down();
    const Loads::Shared value = *first.get();
    QCOMPARE(one.result.get()->get(), value.get());
    QCOMPARE(other.result.get()->get(), value.get());
    QCOMPARE(one.loaded + other.loaded, 0);
  }
  void nextOneLoadsAfterFailure_data() {
    QTest::addColumn<bool>("throws");
    QTest::addRow("an error") << false;
    QTest::addRow("an exception") << true;
  }
  void nextOneLoadsAfterFailure() {
    QFETCH(bool, throws);
    Loads loads;
    Held held;
    held.outcome = fail(ErrorCode::cancelled, "stopped");
    auto first = std::async(std::launch::async, [&] {
      return loads.get(1, {}, {}, [&](const ProgressFunction& progress) {
        auto outcome = held(progress);
        if (throws) throw std::bad_alloc();
        return outcome;
      });
    });
    held.begun.wait();
    Waiter one(loads), other(loads);
    one.waits.wait();
    other.waits.wait();
    held.let.count_down();
    if (throws)
      QVERIFY_THROWS_EXCEPTION(std::bad_alloc, (void)first.get());
    else
      QCOMPARE(first.get().error().code, ErrorCode::cancelled);
    const auto a = one.result.get(), b = other.result.get();
    QCOMPARE(**a, std::string("counted"));
    QCOMPARE(b->get(), a->get());
    QCOMPARE(one.loaded + other.loaded, 1);
  }
  void waitingCanBeCancelled() {
    Loads loads;
    Held held;
    auto first = start(loads, held);
    Waiter one(loads);
    one.waits.wait();
    one.stop.request_stop();
    QCOMPARE(one.result.get().error().code, ErrorCode::cancelled);
    QCOMPARE(one.loaded, 0);
    held.let.count_down();
    QCOMPARE(**first.get(), std::string("held"));
  }
  void loadInsideItselfEnds() {
    Loads loads;
    int inner = 0;
    Loads::Shared nested;
    const auto outer = loads.get(1, {}, {}, [&](const ProgressFunction&) -> Result<std::string> {
      nested = *loads.get(1, {}, {}, Counted{inner});
      return std::string("outer");
    });
    QCOMPARE(**outer, std::string("outer"));
    QCOMPARE(*nested, std::string("counted"));
    QCOMPARE(loads.get(1, {}, {}, Counted{inner})->get(), outer->get());
    QCOMPARE(inner, 1);
  }
};

QTEST_GUILESS_MAIN(TestLoadOnce)
#include "TestLoadOnce.moc"
