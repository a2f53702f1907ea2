// The forward on a device that is not the CPU, held against plain libtorch on the CPU: nothing of it may
// touch the device's memory from the host, and no operation may mix two devices.
#include <ATen/Parallel.h>
#include <QtTest>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "core/model/torch/Devices.h"
#include "core/model/torch/Memory.h"
#include "tests/accelerator/PretendDevice.h"
#include "tests/torch/OpenedModel.h"

namespace decoscope {

namespace {

double distance(const Floats& a, const Floats& b) {
  if (a.size() != b.size() || a.empty()) return INFINITY;
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(double{a[i]} - b[i]));
  return largest;
}

std::vector<std::string> families() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(DECOSCOPE_SOURCE_DIR "/tests/torch/reference"))
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<TokenId> longText(std::size_t size) {
  std::vector<TokenId> text;
  for (std::size_t i = 0; i < size; ++i) text.push_back(static_cast<TokenId>((i * 7 + i / 5) % 60));
  return text;
}

// The logits of every token, given one after the other.
Floats oneByOne(const Opened& opened, const std::vector<TokenId>& text) {
  Floats all;
  for (const TokenId token : text) {
    const auto output = opened.run(requestOf({token}));
    if (!output) return {};
    const Floats rows = allRows(*output->logits);
    all.insert(all.end(), rows.begin(), rows.end());
  }
  return all;
}

}  // namespace

class TestDevice : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void initTestCase() { at::set_num_threads(1); }
  void cleanup() { pretend::setFreeMemory(std::int64_t{1} << 60); }

  void agreesWithTheCpu_data() {
    QTest::addColumn<QString>("name");
    QTest::addColumn<QString>("dtype");
    for (const std::string& name : families())
      for (const char* dtype : {"f32", "bf16", "q8", "q4"})
        QTest::addRow("%s %s", name.c_str(), dtype) << QString::fromStdString(name) << dtype;
  }
  void agreesWithTheCpu() {
    QFETCH(QString, name);
    QFETCH(QString, dtype);
    const std::string type = dtype.toStdString();
    const Opened device(name.toStdString(), pretend::kFirst, type.c_str()),
        host(name.toStdString(), "cpu-reference", type.c_str());
    QVERIFY2(device.model && host.model, qPrintable(device.problem + host.problem));
    QCOMPARE(device.model->info().device, std::string(pretend::kFirst));
    QCOMPARE(device.model->info().bytes, host.model->info().bytes);
    const double most = type == "f32" ? 5e-5 : 0.05;
    const Floats wanted = host.logits(requestOf(kText));
    const auto output = device.run(requestOf(kText));
    QVERIFY2(output.has_value(), output ? "" : output.error().text().c_str());
    QVERIFY2(distance(allRows(*output->logits), wanted) <= most * deviation(wanted),
             qPrintable(QString::number(distance(allRows(*output->logits), wanted) / deviation(wanted))));
    // By another way: the rows of one shape, from graphs where there are any.
    QVERIFY(device.model->retain(0).has_value());
    const Floats single = oneByOne(device, kText);
    QVERIFY2(distance(single, wanted) <= most * deviation(wanted),
             qPrintable(QString::number(distance(single, wanted) / deviation(wanted))));
    for (const MatrixRole role : {MatrixRole::embedding, MatrixRole::head}) {
      const auto here = device.model->weights(role, 0, false, 3, 2),
                 there = host.model->weights(role, 0, false, 3, 2);
      QVERIFY(here && there && *here == *there);
    }
  }

  // What is kept in codes on a device is what the CPU's kernels multiply with.
  void quantisesAsTheKernelsDo_data() {
    QTest::addColumn<QString>("dtype");
    for (const char* dtype : {"q8", "q4"}) QTest::newRow(dtype) << dtype;
  }
  void quantisesAsTheKernelsDo() {
    QFETCH(QString, dtype);
    const std::string type = dtype.toStdString();
    for (const char* name : {"llama3", "gpt2", "mixtral"}) {
      const Opened device(name, pretend::kFirst, type.c_str()), kernels(name, "cpu", type.c_str());
      QVERIFY(device.model && kernels.model);
      const int rows = device.model->info().vocabularySize;
      const auto here = device.model->weights(MatrixRole::head, 0, false, 0, rows),
                 there = kernels.model->weights(MatrixRole::head, 0, false, 0, rows);
      QVERIFY(here && there);
      QVERIFY(distance(*here, *there) < 1e-7);
      const Floats wanted = kernels.logits(requestOf(kText));
      const double apart = distance(device.logits(requestOf(kText)), wanted) / deviation(wanted);
      // Inputs are rounded to bf16 there, and an expert may be chosen differently.
      QVERIFY2(apart <= 0.1, qPrintable(QString("%1 %2").arg(name).arg(apart)));
    }
  }

  // ---- graphs ----

  void replaysWhatItCaptured() {
    const Opened device("llama3", pretend::kFirst), host("llama3", "cpu-reference");
    QVERIFY(device.model && host.model);
    const auto text = longText(100);
    const pretend::Counts before = pretend::counts();
    const Floats got = oneByOne(device, text), wanted = oneByOne(host, text);
    QVERIFY(distance(got, wanted) <= 5e-5 * deviation(wanted));
    const pretend::Counts after = pretend::counts();
    QCOMPARE(after.captures - before.captures, std::int64_t{1});
    QCOMPARE(after.replays - before.replays, std::int64_t{99});
  }
  // The cache and the tables of rotations grow, and graphs that know the old ones must go.
  void graphsSurviveGrowth() {
    const Opened device("gemma3", pretend::kFirst), host("gemma3", "cpu-reference");
    QVERIFY(device.model && host.model);
    const int context = device.model->info().contextLength;
    for (int at = 0; at + 8 <= context; at += 7) {
      const auto part = longText(static_cast<std::size_t>(at) + 7);
      const std::vector<TokenId> next(part.end() - 7, part.end());
      const auto here = device.run(requestOf(next)), there = host.run(requestOf(next));
      QVERIFY(here && there);
      const Floats wanted = allRows(*there->logits);
      QVERIFY2(distance(allRows(*here->logits), wanted) <= 5e-5 * deviation(wanted),
               qPrintable(QString::number(at)));
    }
  }
  // Trees of all sizes, kept paths and forgotten ends.
  void draftsTreesInGraphs() {
    for (const char* name : {"llama3", "gemma2", "gpt2"}) {
      const Opened device(name, pretend::kFirst), host(name, "cpu-reference");
      QVERIFY(device.model && host.model);
      for (const Opened* opened : {&device, &host}) QVERIFY(opened->run(requestOf(kText)).has_value());
      const pretend::Counts before = pretend::counts();
      for (const int size : {1, 2, 3, 5, 7, 9, 13, 5, 9}) {
        ForwardRequest tree = requestOf(longText(static_cast<std::size_t>(size)));
        for (int i = 0; i < size; ++i) tree.parents.push_back((i + 1) / 2 - 1);
        const auto here = device.run(tree), there = host.run(tree);
        QVERIFY2(here && there, here ? "" : here.error().text().c_str());
        const Floats wanted = allRows(*there->logits);
        QVERIFY2(distance(allRows(*here->logits), wanted) <= 5e-5 * deviation(wanted),
                 qPrintable(QString("%1 %2").arg(name).arg(size)));
        const int base = device.model->cached() - size;
        std::vector<std::int32_t> path = {base};
        if (size > 4) path.push_back(base + 2);
        QVERIFY(device.model->retain(base, path).has_value());
        QVERIFY(host.model->retain(base, path).has_value());
      }
      // They are shapes of 1, 2, 3, 6, 8, 12 and 16 rows; 8 was the text's, 6 and 12 come again.
      QCOMPARE(pretend::counts().captures - before.captures, std::int64_t{6});
      QCOMPARE(pretend::counts().replays - before.replays, std::int64_t{3});
    }
  }
  void textsSideBySideInGraphs() {
    const Opened device("llama3", pretend::kFirst), host("llama3", "cpu-reference");
    QVERIFY(device.model && host.model);
    ForwardRequest begin = requestOf({5, 9, 33});
    begin.parents = {-1, -1, -1};
    begin.follows = {-1, -1, -1};
    ForwardRequest next = requestOf({7, 41, 8, 19});
    next.parents = {-1, -1, -1, 1};
    next.follows = {2, 0, 1, 0};
    for (const ForwardRequest& request : {begin, next}) {
      const auto here = device.run(request), there = host.run(request);
      QVERIFY(here && there);
      const Floats wanted = allRows(*there->logits);
      QVERIFY(distance(allRows(*here->logits), wanted) <= 5e-5 * deviation(wanted));
    }
  }
  // What a graph gave stays what it was when it is played again.
  void logitsOutliveTheNextForward() {
    const Opened device("llama3", pretend::kFirst);
    QVERIFY(device.model);
    QVERIFY(device.run(requestOf({5})).has_value());
    const auto first = device.run(requestOf({9}));
    QVERIFY(first.has_value());
    const auto second = device.run(requestOf({33}));
    QVERIFY(second.has_value());
    const Opened host("llama3", "cpu-reference");
    const Floats wanted = oneByOne(host, {5, 9, 33});
    const auto size = static_cast<std::ptrdiff_t>(host.model->info().vocabularySize);
    QVERIFY(distance(allRows(*first->logits), Floats(wanted.begin() + size, wanted.begin() + 2 * size)) <
            1e-4);
    QVERIFY(distance(allRows(*second->logits), Floats(wanted.end() - size, wanted.end())) < 1e-4);
  }
  // A graph is one call; without it a token costs this many. Few of them are one kernel less to wait for.
  void operationsOfABlock() {
    const Opened device("llama3", pretend::kFirst);
    QVERIFY(device.model);
    QVERIFY(device.run(requestOf({5})).has_value());
    ForwardRequest watched = requestOf({9});
    watched.taps = {{TapSite::residual, 0}};  // not replayed
    const std::int64_t before = pretend::counts().operations;
    QVERIFY(device.run(watched).has_value());
    const auto spent = static_cast<double>(pretend::counts().operations - before);
    const double block = spent / device.model->info().layers;
    qInfo("%.1f operations a block, the ends included", block);
    QVERIFY(block < 60);
  }

  // ---- logits ----

  void summariesStayOnTheDevice() {
    const Opened device("llama3", pretend::kFirst), host("llama3", "cpu-reference");
    QVERIFY(device.model && host.model);
    const auto here = device.run(requestOf(kText)), there = host.run(requestOf(kText));
    QVERIFY(here && there);
    const pretend::Counts before = pretend::counts();
    const auto got = here->logits->summaries(5);
    QVERIFY(got.has_value());
    const pretend::Counts after = pretend::counts();
    QCOMPARE(after.copiesToHost - before.copiesToHost, std::int64_t{1});
    QVERIFY(after.bytesToHost - before.bytesToHost <= static_cast<std::int64_t>(kText.size()) * 13 * 8);
    const auto wanted = there->logits->summaries(5);
    QVERIFY(wanted.has_value());
    const auto largest = here->logits->largest(3), wantedLargest = there->logits->largest(3);
    QVERIFY(largest && wantedLargest && *largest == *wantedLargest);
    for (std::size_t row = 0; row < kText.size(); ++row) {
      const RowSummary &a = (*got)[row], &b = (*wanted)[row];
      QCOMPARE(a.tokens, b.tokens);
      QVERIFY(distance(a.logits, b.logits) < 1e-4);
      QVERIFY(std::abs(a.logSumExp - b.logSumExp) < 1e-4 && std::abs(a.entropy - b.entropy) < 1e-4);
      QVERIFY(std::abs(a.tailMass - b.tailMass) < 1e-4);
      const int index = static_cast<int>(row);
      QCOMPARE(*here->logits->argmax(index), *there->logits->argmax(index));
      QCOMPARE(here->logits->summary(index, 5)->tokens, b.tokens);
      QVERIFY(distance({here->logits->row(index).begin(), here->logits->row(index).end()},
                       {there->logits->row(index).begin(), there->logits->row(index).end()}) < 1e-4);
    }
    QVERIFY(here->logits->summaries(0)->front().tokens.empty());
    const int all = device.model->info().vocabularySize;
    QCOMPARE(here->logits->summary(0, all + 7)->tokens, there->logits->summary(0, all + 7)->tokens);
  }

  // ---- several devices ----

  void dealsOutBlocks() {
    using Counts = std::vector<int>;
    const SplitNeeds needs{10, 100, 50, 200};
    QCOMPARE(splitBlocks(needs, {-1, -1}), (Counts{10, 0}));
    QCOMPARE(splitBlocks(needs, {1'000'000, 1'000'000}), (Counts{10, 0}));
    // 0.92 · 700 = 644: 50 beside the first, five blocks of 100.
    QCOMPARE(splitBlocks(needs, {700, 1'000'000}), (Counts{5, 5}));
    QCOMPARE(splitBlocks(needs, {700, 400, 1'000'000}), (Counts{5, 3, 2}));
    // All blocks would fit on the first, but not what stands behind the last one.
    QCOMPARE(splitBlocks(needs, {1'200, 1'000}), (Counts{9, 1}));
    // Nothing fits: libtorch will say so, the last one takes what is left.
    QCOMPARE(splitBlocks(needs, {1, 1}), (Counts{1, 9}));
    QCOMPARE(splitBlocks(needs, {1}), (Counts{10}));
  }
  void runsFromDeviceToDevice_data() {
    QTest::addColumn<QString>("name");
    for (const std::string& name : families()) QTest::newRow(name.c_str()) << QString::fromStdString(name);
  }
  void runsFromDeviceToDevice() {
    QFETCH(QString, name);
    const Opened host(name.toStdString(), "cpu-reference");
    QVERIFY(host.model);
    const auto need = host.model->info().bytes + host.model->info().bytes / 2;
    QTemporaryDir folder;
    writeCheckpoint(folder.path().toStdString(), host.document);
    QString problem;
    std::unique_ptr<Model> device;
    // The more is free, the more blocks stand on the first one; with little the model is refused.
    for (std::int64_t bytes = need / 8; !device && bytes < 40 * need; bytes += need / 8) {
      pretend::setFreeMemory(bytes);
      device = load(folder.path().toStdString(), pretend::kAll, problem, "f32");
    }
    QVERIFY2(device, qPrintable(problem));
    QCOMPARE(device->info().device, std::string("pretend:0, pretend:1"));
    ForwardRequest request = requestOf(kText);
    const int layers = device->info().layers;
    for (int layer = 0; layer <= layers; ++layer) request.taps.push_back({TapSite::residual, layer});
    for (int layer = 0; layer < layers; ++layer) request.taps.push_back({TapSite::attentionWeights, layer});
    const auto here = device->forward(request, StopToken()), there = host.run(request);
    QVERIFY2(here && there, here ? "" : here.error().text().c_str());
    const Floats wanted = allRows(*there->logits);
    QVERIFY(distance(allRows(*here->logits), wanted) <= 5e-5 * deviation(wanted));
    for (std::size_t i = 0; i < here->taps.size(); ++i)
      QVERIFY(distance(here->taps[i].values, there->taps[i].values) < 1e-4);
    // An early exit on the first device, read by the head on the last.
    QVERIFY(device->retain(0).has_value() && host.model->retain(0).has_value());
    request.taps.clear();
    request.lastLayer = 1;
    const auto early = device->forward(request, StopToken()), earlyThere = host.run(request);
    QVERIFY(early && earlyThere);
    QVERIFY(distance(allRows(*early->logits), allRows(*earlyThere->logits)) < 1e-4);
    // A kept path moves in the caches of both.
    const std::vector<std::int32_t> path = {2, 3, 5};
    QVERIFY(device->retain(1, path).has_value() && host.model->retain(1, path).has_value());
    request = requestOf({9, 33});
    const auto after = device->forward(request, StopToken()), afterThere = host.run(request);
    QVERIFY(after && afterThere);
  }

  void namesDevices() {
    QCOMPARE(devicesOf("cpu")->size(), std::size_t{1});
    QVERIFY(devicesOf("auto")->front().is_cpu());
    QCOMPARE(devicesOf(pretend::kAll)->size(), std::size_t{2});
    QCOMPARE(devicesOf(pretend::kSecond)->front().str(), std::string(pretend::kSecond));
    QCOMPARE(devicesOf("pretend:2").error().code, ErrorCode::unsupported);
    QCOMPARE(devicesOf("cuda").error().code, ErrorCode::unsupported);
    QCOMPARE(devicesOf("cuda").error().message, std::string("there is no CUDA device"));
    for (const char* name : {"", "gpu", "cuda:", "cuda:x", "cpu:0", "meta", "cuda:-2"})
      QCOMPARE(devicesOf(name).error().code, ErrorCode::usage);
  }
};

}  // namespace decoscope

QTEST_GUILESS_MAIN(decoscope::TestDevice)
#include "TestDevice.moc"
