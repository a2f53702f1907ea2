// What Model.h promises of the transformer backend, beyond logits: watching, changing, resuming, reading out.
#include <QTemporaryDir>
#include <QTest>
#include <numeric>

#include "tests/torch/EveryDevice.h"
#include "tests/torch/OpenedModel.h"

using namespace decoscope;

namespace {

// y = M x (+ bias), M [outputs, inputs] row by row.
Floats product(const Floats& matrix, std::span<const float> x, const Floats& bias = {}) {
  Floats out(matrix.size() / x.size());
  for (std::size_t o = 0; o < out.size(); ++o) {
    double sum = bias.empty() ? 0 : bias[o];
    for (std::size_t i = 0; i < x.size(); ++i) sum += double{matrix[o * x.size() + i]} * x[i];
    out[o] = static_cast<float>(sum);
  }
  return out;
}

Floats rmsNormed(std::span<const float> x, const Floats& weight) {
  double squares = 0;
  for (const float value : x) squares += double{value} * value;
  const double factor = 1 / std::sqrt(squares / static_cast<double>(x.size()) + 1e-6);
  Floats out(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) out[i] = static_cast<float>(x[i] * factor * weight[i]);
  return out;
}

Floats sum(Floats a, std::span<const float> b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}

void addDevices() {
  QTest::addColumn<QString>("device");
  for (const char* device : everyDevice()) QTest::newRow(device) << device;
}

constexpr double kNear = 2e-5;

}  // namespace

class TestModelDoor : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  // ---- taps ----

  void everyTapIsWhatItSays_data() { addDevices(); }
  void everyTapIsWhatItSays() {
    QFETCH(QString, device);
    const Opened opened("llama-linear", qPrintable(device));
    QVERIFY2(opened.model, qPrintable(opened.problem));
    const ModelInfo& info = opened.model->info();
    const auto width = static_cast<std::size_t>(info.width), inner = static_cast<std::size_t>(info.inner);
    const std::size_t cached = 3, rows = kText.size() - cached;
    ForwardRequest prompt = requestOf({kText.begin(), kText.begin() + cached});
    QVERIFY(opened.run(prompt));
    for (int layer = 0; layer < info.layers; ++layer) {
      ForwardRequest request = requestOf({kText.begin() + cached, kText.end()});
      const std::vector<TapSite> sites = {
          TapSite::residual,        TapSite::attentionInput, TapSite::attentionWeights,
          TapSite::attentionOutput, TapSite::mlpInput,       TapSite::preActivation,
          TapSite::neuron,          TapSite::mlpOutput,      TapSite::residual};
      for (const TapSite site : sites) request.taps.push_back({site, layer});
      ++request.taps.back().layer;
      const auto output = opened.run(request);
      QVERIFY2(output, output ? "" : output.error().text().c_str());
      QVERIFY(opened.model->retain(static_cast<int>(cached)));
      QCOMPARE(output->taps.size(), sites.size());
      for (std::size_t i = 0; i < sites.size(); ++i) {
        const TapValue& tap = output->taps[i];
        QVERIFY(tap.tap.site == sites[i] && tap.tap.layer == request.taps[i].layer);
        const std::vector<std::int64_t> shape =
            sites[i] == TapSite::attentionWeights
                ? std::vector<std::int64_t>{info.heads, static_cast<std::int64_t>(rows),
                                            static_cast<std::int64_t>(rows + cached)}
                : std::vector<std::int64_t>{static_cast<std::int64_t>(rows),
                                            sites[i] == TapSite::neuron || sites[i] == TapSite::preActivation
                                                ? info.inner
                                                : info.width};
        QCOMPARE(tap.shape, shape);
        QCOMPARE(static_cast<std::int64_t>(tap.values.size()),
                 std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>()));
      }
      const auto row = [&](std::size_t tap, std::size_t index) {
        const Floats& values = output->taps[tap].values;
        return std::span(values).subspan(index * values.size() / rows, values.size() / rows);
      };
      const std::string block = "model.layers." + std::to_string(layer) + ".";
      const auto tensor = [&](const char* name) { return opened.tensor(block + name); };
      for (std::size_t i = 0; i < rows; ++i) {
        const auto before = row(0, i);
        QVERIFY(largestDifference(row(1, i), rmsNormed(before, tensor("input_layernorm.weight"))) < kNear);
        const Floats middle = sum({before.begin(), before.end()}, row(3, i));
        const Floats mlpIn = rmsNormed(middle, tensor("post_attention_layernorm.weight"));
        QVERIFY(largestDifference(row(4, i), mlpIn) < kNear);
        // From weights(), which must then be the ones that the forward used.
        const auto matrix = [&](MatrixRole role) {
          return *opened.model->weights(role, layer, false, 0,
                                        role == MatrixRole::down ? info.width : info.inner);
        };
        const Floats gate = product(matrix(MatrixRole::gate), mlpIn, tensor("mlp.gate_proj.bias"));
        QVERIFY(largestDifference(row(5, i), gate) < kNear);
        Floats neurons = product(matrix(MatrixRole::up), mlpIn, tensor("mlp.up_proj.bias"));
        for (std::size_t n = 0; n < inner; ++n) neurons[n] *= gate[n] / (1 + std::exp(-gate[n]));
        QVERIFY(largestDifference(row(6, i), neurons) < kNear);
        const Floats out = product(matrix(MatrixRole::down), neurons, tensor("mlp.down_proj.bias"));
        QVERIFY(largestDifference(row(7, i), out) < kNear);
        Floats after = sum(middle, out);
        if (layer + 1 == info.layers) after = rmsNormed(after, opened.tensor("model.norm.weight"));
        QCOMPARE(after.size(), width);
        QVERIFY(largestDifference(row(8, i), after) < kNear);
        for (int head = 0; head < info.heads; ++head) {
          const std::size_t total = rows + cached;
          const auto attention = std::span(output->taps[2].values)
                                     .subspan((static_cast<std::size_t>(head) * rows + i) * total, total);
          double whole = 0;
          for (std::size_t slot = 0; slot < total; ++slot) {
            QVERIFY(slot <= cached + i ? attention[slot] > 0 : attention[slot] == 0);
            whole += attention[slot];
          }
          QVERIFY(std::abs(whole - 1) < 1e-5);
        }
      }
    }
  }

  void theStreamIsTheSumOfItsBranches_data() {
    QTest::addColumn<QString>("name");
    QTest::addColumn<QString>("device");
    // Pre-norm, norms behind the branches, a factor on the branches, both branches from one stream, experts.
    for (const char* name : {"llama-linear", "gemma2", "olmo2", "granite", "gpt-neox", "phi", "gpt2",
                             "stablelm-parallel", "mixtral"})
      for (const char* device : everyDevice())
        QTest::addRow("%s %s", name, device) << name << device;
  }
  void theStreamIsTheSumOfItsBranches() {
    QFETCH(QString, name);
    QFETCH(QString, device);
    const Opened opened(name.toStdString(), qPrintable(device));
    QVERIFY2(opened.model, qPrintable(opened.problem));
    const int layers = opened.model->info().layers;
    const ForwardRequest request = requestOf(kText);
    for (int layer = 0; layer < layers; ++layer) {
      const auto taps = opened.taps(request, {{TapSite::residual, layer},
                                              {TapSite::attentionOutput, layer},
                                              {TapSite::mlpOutput, layer},
                                              {TapSite::residual, layer + 1}});
      QCOMPARE(taps.size(), std::size_t{4});
      const Floats after = sum(sum(taps[0], taps[1]), taps[2]);
      if (layer + 1 < layers) {
        QVERIFY(largestDifference(after, taps[3]) < 1e-4);
        QVERIFY(largestDifference(after, taps[0]) > 1e-2);
      } else {
        // The last state is normed; read out without another norm, or before it with one.
        const Floats logits = opened.logits(request);
        const auto normed = opened.model->readout(taps[3], false), raw = opened.model->readout(after, true);
        QVERIFY(normed && raw);
        if (device == "cpu") QVERIFY(allRows(**normed) == logits);
        QVERIFY(largestDifference(allRows(**normed), logits) < 1e-4);
        QVERIFY(largestDifference(allRows(**raw), logits) < 1e-3 * deviation(logits));
      }
    }
  }

  void whatAForwardDoesNotComeByIsRefused_data() { addDevices(); }
  void whatAForwardDoesNotComeByIsRefused() {
    QFETCH(QString, device);
    const Opened opened("llama-linear", qPrintable(device)), experts("mixtral", qPrintable(device));
    QVERIFY(opened.model && experts.model);
    const int layers = opened.model->info().layers;
    const auto code = [](const Opened& model, ForwardRequest request) {
      const auto output = model.run(request);
      return output ? ErrorCode::failed : output.error().code;
    };
    ForwardRequest request = requestOf(kText);
    for (const Tap tap : {Tap{TapSite::residual, -1}, Tap{TapSite::residual, layers + 1},
                          Tap{TapSite::neuron, layers}, Tap{TapSite::attentionWeights, -1}}) {
      request.taps = {tap};
      QCOMPARE(code(opened, request), ErrorCode::usage);
    }
    request.lastLayer = 1;
    for (const Tap tap : {Tap{TapSite::residual, 2}, Tap{TapSite::mlpOutput, 1}}) {
      request.taps = {tap};
      QCOMPARE(code(opened, request), ErrorCode::usage);
    }
    request.lastLayer = -1;
    for (const TapSite site : {TapSite::neuron, TapSite::preActivation}) {
      request.taps = {{site, 1}};
      QCOMPARE(code(experts, request), ErrorCode::unsupported);
    }
    QCOMPARE(opened.model->cached(), 0);
  }

  // ---- interventions ----

  void theStreamCanBeChanged_data() {
    QTest::addColumn<QString>("device");
    QTest::addColumn<int>("kind");
    QTest::addColumn<int>("layer");
    QTest::addColumn<int>("row");
    const char* names[] = {"add", "scale", "replace", "clamp"};
    for (const char* device : everyDevice())
      for (int kind = 0; kind < 4; ++kind)
        for (const int layer : {0, 1, 3})
          for (const int row : {-1, 0, 4})
            QTest::addRow("%s layer %d row %d %s", names[kind], layer, row, device)
                << device << kind << layer << row;
  }
  void theStreamCanBeChanged() {
    QFETCH(QString, device);
    QFETCH(int, kind);
    QFETCH(int, layer);
    QFETCH(int, row);
    const Opened opened("llama-linear", qPrintable(device));
    QVERIFY2(opened.model, qPrintable(opened.problem));
    const ModelInfo& info = opened.model->info();
    const auto width = static_cast<std::size_t>(info.width);
    Intervention change;
    change.kind = static_cast<Intervention::Kind>(kind);
    change.layer = layer;
    change.row = row;
    change.value = 1.75f;
    for (std::size_t i = 0; i < width; ++i) change.vector.push_back(std::sin(static_cast<float>(i)));
    const Floats vector = change.vector;
    if (change.kind == Intervention::Kind::scale) change.vector = {-0.5f};
    ForwardRequest request = requestOf(kText);
    // The stream before the final norm is not tapped; it is the sum of what is.
    const bool last = layer == info.layers;
    const auto plain = last ? opened.taps(request, {{TapSite::residual, layer - 1},
                                                    {TapSite::attentionOutput, layer - 1},
                                                    {TapSite::mlpOutput, layer - 1}})
                            : opened.taps(request, {{TapSite::residual, layer}});
    QVERIFY(!plain.empty());
    Floats wanted = last ? sum(sum(plain[0], plain[1]), plain[2]) : plain[0];
    const double length = std::sqrt(std::inner_product(vector.begin(), vector.end(), vector.begin(), 0.0));
    for (std::size_t r = 0; r < kText.size(); ++r) {
      if (row >= 0 && r != static_cast<std::size_t>(row)) continue;
      const std::span<float> state(wanted.data() + r * width, width);
      double along = 0;
      for (std::size_t i = 0; i < width; ++i) along += state[i] * vector[i] / length;
      for (std::size_t i = 0; i < width; ++i) switch (change.kind) {
          case Intervention::Kind::add:
            state[i] += vector[i];
            break;
          case Intervention::Kind::scale:
            state[i] *= -0.5f;
            break;
          case Intervention::Kind::replace:
            state[i] = vector[i];
            break;
          case Intervention::Kind::clamp:
            state[i] += static_cast<float>((1.75 - along) * vector[i] / length);
        }
    }
    const Floats untouched = opened.logits(request);
    request.interventions = {change};
    const Floats changed = opened.logits(request);
    QVERIFY(largestDifference(changed, untouched) > 1e-3);
    if (last) {
      const auto read = opened.model->readout(wanted, true);
      QVERIFY(read);
      QVERIFY(largestDifference(allRows(**read), changed) < 1e-3 * deviation(changed));
    } else {
      const auto seen = opened.taps(request, {{TapSite::residual, layer}});
      QVERIFY(!seen.empty());
      QVERIFY(largestDifference(seen[0], wanted) < 1e-4);
    }
    // Rows before the changed one cannot see it.
    if (row == 4 && device == "cpu") {
      const auto before = 4 * untouched.size() / kText.size();
      QVERIFY(std::equal(untouched.begin(), untouched.begin() + static_cast<std::ptrdiff_t>(before),
                         changed.begin()));
    }
  }

  void neuronsCanBeChanged_data() {
    QTest::addColumn<QString>("device");
    QTest::addColumn<int>("kind");
    QTest::addColumn<int>("row");
    const char* names[] = {"add", "scale", "replace", "clamp"};
    for (const char* device : everyDevice())
      for (int kind = 0; kind < 4; ++kind)
        for (const int row : {-1, 3})
          QTest::addRow("%s row %d %s", names[kind], row, device) << device << kind << row;
  }
  void neuronsCanBeChanged() {
    QFETCH(QString, device);
    QFETCH(int, kind);
    QFETCH(int, row);
    const Opened opened("llama-linear", qPrintable(device));
    QVERIFY2(opened.model, qPrintable(opened.problem));
    const auto width = static_cast<std::size_t>(opened.model->info().width),
               inner = static_cast<std::size_t>(opened.model->info().inner);
    for (int layer = 0; layer < opened.model->info().layers; ++layer) {
      const std::size_t neuron = 17 + static_cast<std::size_t>(layer);
      Intervention change;
      change.site = Intervention::Site::neuron;
      change.kind = static_cast<Intervention::Kind>(kind);
      change.layer = layer;
      change.row = row;
      change.neuron = static_cast<int>(neuron);
      change.value = 2.5f;
      const std::vector<Tap> taps = {{TapSite::neuron, layer}, {TapSite::mlpOutput, layer}};
      ForwardRequest request = requestOf(kText);
      const auto plain = opened.taps(request, taps);
      request.interventions = {change};
      const auto changed = opened.taps(request, taps);
      QCOMPARE(changed.size(), std::size_t{2});
      const auto column = opened.model->weights(MatrixRole::down, layer, true, change.neuron, 1);
      QVERIFY(column && column->size() == width);
      Floats neurons = plain[0], out = plain[1];
      for (std::size_t r = 0; r < kText.size(); ++r) {
        if (row >= 0 && r != static_cast<std::size_t>(row)) continue;
        float& value = neurons[r * inner + neuron];
        const float old = value;
        if (change.kind == Intervention::Kind::add)
          value += 2.5f;
        else if (change.kind == Intervention::Kind::scale)
          value *= 2.5f;
        else
          value = 2.5f;
        for (std::size_t i = 0; i < width; ++i) out[r * width + i] += (value - old) * (*column)[i];
      }
      QVERIFY(changed[0] == neurons);
      QVERIFY(largestDifference(changed[1], out) < kNear);
      QVERIFY(largestDifference(changed[1], plain[1]) > 1e-4);
    }
  }

  void changesThatDoNotFitAreRefused_data() { addDevices(); }
  void changesThatDoNotFitAreRefused() {
    QFETCH(QString, device);
    const Opened opened("llama-linear", qPrintable(device)), experts("mixtral", qPrintable(device));
    QVERIFY(opened.model && experts.model);
    const int layers = opened.model->info().layers;
    const Floats vector(static_cast<std::size_t>(opened.model->info().width), 1.0f);
    using Kind = Intervention::Kind;
    using Site = Intervention::Site;
    const std::vector<Intervention> wrong = {
        {Kind::add, 0, 0, {1.0f}},
        {Kind::add, 0, 0, Floats(vector.size() + 1)},
        {Kind::scale, 0, 0, vector},
        {Kind::scale, 0, 0, {}},
        {Kind::clamp, 0, 0, Floats(vector.size())},
        {Kind::add, -1, 0, vector},
        {Kind::add, layers + 1, 0, vector},
        {Kind::add, 0, 8, vector},
        {Kind::add, 0, -2, vector},
        {Kind::add, layers, 0, {}, Site::neuron, 0},
        {Kind::add, 0, 0, {}, Site::neuron, -1},
        {Kind::add, 0, 0, {}, Site::neuron, opened.model->info().inner},
    };
    for (std::size_t i = 0; i < wrong.size(); ++i) {
      ForwardRequest request = requestOf(kText);
      request.interventions = {wrong[i]};
      const auto output = opened.run(request);
      QVERIFY2(!output && output.error().code == ErrorCode::usage, qPrintable(QString::number(i)));
    }
    ForwardRequest request = requestOf(kText);
    request.interventions = {{Kind::add, 1, 0, {}, Site::neuron, 0}};
    QVERIFY(!experts.run(request));
    QVERIFY(opened.run(request));
  }

  // ---- what rows see ----

  void blocksSeeThemselvesAndTheCache_data() { addDevices(); }
  void blocksSeeThemselvesAndTheCache() {
    QFETCH(QString, device);
    const Opened opened("llama-linear", qPrintable(device));
    QVERIFY2(opened.model, qPrintable(opened.problem));
    ForwardRequest request = requestOf(kText);
    const Floats causal = opened.logits(request);
    request.visibility = Visibility::full;
    const auto full = opened.run(request);
    QVERIFY(full);
    const Floats wanted = allRows(*full->logits);
    QCOMPARE(opened.model->cached(), 0);
    QVERIFY(largestDifference(wanted, causal) > 1e-2);
    request.visibility = Visibility::block;
    const auto block = opened.run(request);
    QVERIFY(block && allRows(*block->logits) == wanted);
    QCOMPARE(opened.model->cached(), 8);
    // A second block sees the first, whole, and itself, whole.
    ForwardRequest second = requestOf({3, 50, 12, 21});
    second.visibility = Visibility::block;
    second.taps = {{TapSite::attentionWeights, 2}};
    const auto next = opened.run(second);
    QVERIFY(next);
    QCOMPARE(opened.model->cached(), 12);
    for (const float weight : next->taps[0].values) QVERIFY(weight > 0);
    const Floats after = allRows(*next->logits);
    QVERIFY(opened.model->retain(8));
    second.tokens[3] = 22;
    const auto other = opened.run(second);
    QVERIFY(other && largestDifference(other->logits->row(0), next->logits->row(0)) > 1e-4);
    // Other tokens in the first block, the same in the second.
    QVERIFY(opened.model->retain(0));
    second.tokens[3] = 21;
    request.tokens[0] = 6;
    QVERIFY(opened.run(request));
    const auto changed = opened.run(second);
    QVERIFY(changed && largestDifference(allRows(*changed->logits), after) > 1e-4);
    // A causal step behind the blocks; full visibility needs an empty cache.
    QVERIFY(opened.run(requestOf({4})));
    request.visibility = Visibility::full;
    QCOMPARE(opened.run(request).error().code, ErrorCode::usage);
  }

  void branchesAreSeparateForwards_data() { addDevices(); }
  // Several roots: independent branches of different lengths behind one cache, their rows interleaved.
  void branchesAreSeparateForwards() {
    QFETCH(QString, device);
    const Opened opened("qwen2", qPrintable(device));
    QVERIFY2(opened.model, qPrintable(opened.problem));
    const std::vector<std::vector<TokenId>> branches = {{10, 11, 12}, {20}, {30, 31}};
    ForwardRequest batch = requestOf({10, 20, 30, 11, 31, 12});
    batch.parents = {-1, -1, -1, 0, 2, 3};
    const std::vector<std::vector<int>> places = {{0, 3, 5}, {1}, {2, 4}};
    for (const std::size_t known : {std::size_t{0}, kText.size()}) {
      const auto prepare = [&] {
        return opened.model->retain(0) && (known == 0 || opened.run(requestOf(kText)));
      };
      QVERIFY(prepare());
      const auto together = opened.run(batch);
      QVERIFY2(together, together ? "" : together.error().text().c_str());
      for (std::size_t branch = 0; branch < branches.size(); ++branch) {
        QVERIFY(prepare());
        const auto alone = opened.run(requestOf(branches[branch]));
        QVERIFY(alone);
        for (std::size_t i = 0; i < branches[branch].size(); ++i) {
          const auto one = alone->logits->row(static_cast<int>(i)),
                     same = together->logits->row(places[branch][i]);
          if (device == "cpu")
            QVERIFY(std::equal(one.begin(), one.end(), same.begin()));
          else
            QVERIFY(largestDifference(one, same) < 1e-4);
        }
      }
    }
  }

  // ---- inputs, early exit, resuming ----

  void inputsStandInForTokens_data() {
    QTest::addColumn<QString>("device");
    QTest::addColumn<QString>("dtype");
    for (const char* device : everyDevice())
      for (const char* dtype : {"f32", "bf16", "f16"})
        QTest::addRow("%s %s", device, dtype) << device << dtype;
  }
  void inputsStandInForTokens() {
    QFETCH(QString, device);
    QFETCH(QString, dtype);
    const Opened opened("llama-linear", qPrintable(device), qPrintable(dtype));
    QVERIFY2(opened.model, qPrintable(opened.problem));
    ForwardRequest request = requestOf(kText);
    const Floats wanted = opened.logits(request);
    for (const TokenId token : kText) {
      const auto row = opened.model->weights(MatrixRole::embedding, 0, false, token, 1);
      QVERIFY(row);
      request.inputs.insert(request.inputs.end(), row->begin(), row->end());
    }
    std::fill(request.tokens.begin(), request.tokens.end(), 0);
    // A graph takes tokens only, and its rows are padded.
    const double most = device.startsWith("cpu") ? 0 : 0.05 * deviation(wanted);
    QVERIFY(largestDifference(opened.logits(request), wanted) <= most);
    request.inputs.pop_back();
    QCOMPARE(opened.run(request).error().code, ErrorCode::usage);
  }

  void resumingIsOneForward_data() {
    QTest::addColumn<QString>("name");
    QTest::addColumn<QString>("device");
    QTest::addColumn<int>("exit");
    QTest::addColumn<bool>("tree");
    for (const char* name : {"llama-linear", "gemma2", "gpt2", "gpt-neox"})
      for (const char* device : everyDevice())
        for (const int exit : {1, 2})
          for (const bool tree : {false, true})
            QTest::addRow("%s %s after %d %s", name, device, exit, tree ? "tree" : "chain")
                << name << device << exit << tree;
  }
  void resumingIsOneForward() {
    QFETCH(QString, name);
    QFETCH(QString, device);
    QFETCH(int, exit);
    QFETCH(bool, tree);
    const Opened opened(name.toStdString(), qPrintable(device));
    QVERIFY2(opened.model, qPrintable(opened.problem));
    ForwardRequest request = requestOf({10, 11, 12, 13, 14, 15});
    if (tree) request.parents = {-1, 0, 0, 1, 1, 2};
    QVERIFY(opened.run(requestOf(kText)));
    const auto whole = opened.run(request);
    QVERIFY(whole);
    const Floats wanted = allRows(*whole->logits);
    const auto continued = opened.run(requestOf({44}));
    QVERIFY(continued);
    const Floats after = allRows(*continued->logits);

    QVERIFY(opened.model->retain(8));
    ForwardRequest early = request;
    early.lastLayer = exit;
    early.taps = {{TapSite::residual, exit}};
    const auto shallow = opened.run(early);
    QVERIFY2(shallow, shallow ? "" : shallow.error().text().c_str());
    QVERIFY(allRows(*shallow->logits) != wanted);
    QCOMPARE(opened.model->cached(), 14);
    ForwardRequest rest = request;
    rest.firstLayer = exit;
    rest.inputs = shallow->taps[0].values;
    const auto resumed = opened.run(rest);
    QVERIFY2(resumed, resumed ? "" : resumed.error().text().c_str());
    QCOMPARE(opened.model->cached(), 14);
    const auto next = opened.run(requestOf({44}));
    QVERIFY(next);
    if (device == "cpu") {
      QVERIFY(allRows(*resumed->logits) == wanted);
      QVERIFY(allRows(*next->logits) == after);
    } else {
      QVERIFY(largestDifference(allRows(*resumed->logits), wanted) < 1e-3 * deviation(wanted));
      QVERIFY(largestDifference(allRows(*next->logits), after) < 1e-3 * deviation(wanted));
    }
  }

  void resumingAtTheEndOfTheContextIsPossible() {
    const Opened opened("llama-linear");
    QVERIFY(opened.model);
    const auto context = static_cast<std::size_t>(opened.model->info().contextLength);
    ForwardRequest request = requestOf(std::vector<TokenId>(context, 7));
    request.logitRows = {static_cast<std::int32_t>(context) - 1};
    const Floats wanted = opened.logits(request);
    request.lastLayer = 1;
    request.taps = {{TapSite::residual, 1}};
    const auto early = opened.run(request);
    QVERIFY(early);
    ForwardRequest rest = request;
    rest.lastLayer = -1;
    rest.taps.clear();
    rest.firstLayer = 1;
    rest.inputs = early->taps[0].values;
    const auto resumed = opened.run(rest);
    QVERIFY2(resumed, resumed ? "" : resumed.error().text().c_str());
    QVERIFY(allRows(*resumed->logits) == wanted);
  }

  void wrongResumptionsAreRefused() {
    const Opened opened("llama-linear");
    QVERIFY(opened.model);
    const auto width = static_cast<std::size_t>(opened.model->info().width);
    ForwardRequest early = requestOf(kText);
    early.lastLayer = 1;
    QVERIFY(opened.run(early));
    ForwardRequest good = requestOf(kText);
    good.firstLayer = 1;
    good.inputs.assign(kText.size() * width, 0.5f);
    const auto refused = [&](auto&& change) {
      ForwardRequest request = good;
      change(request);
      const auto output = opened.run(request);
      return !output && output.error().code == ErrorCode::usage;
    };
    QVERIFY(refused([](ForwardRequest& r) { r.inputs.clear(); }));
    QVERIFY(refused([](ForwardRequest& r) { r.inputs.pop_back(); }));
    QVERIFY(refused([](ForwardRequest& r) { r.firstLayer = -1; }));
    QVERIFY(refused([](ForwardRequest& r) { r.firstLayer = 3; }));
    QVERIFY(refused([](ForwardRequest& r) { r.lastLayer = 1; }));
    QVERIFY(refused([](ForwardRequest& r) { r.visibility = Visibility::full; }));
    QVERIFY(refused([](ForwardRequest& r) { r.tokens[2] = 1; }));
    QVERIFY(refused([](ForwardRequest& r) { r.taps = {{TapSite::residual, 1}}; }));
    QVERIFY(refused([](ForwardRequest& r) { r.taps = {{TapSite::mlpOutput, 0}}; }));
    QVERIFY(refused(
        [&](ForwardRequest& r) { r.interventions = {{Intervention::Kind::add, 1, 0, Floats(width, 1)}}; }));
    QVERIFY(refused([&](ForwardRequest& r) {
      r.tokens.push_back(1);
      r.inputs.resize(r.tokens.size() * width);
    }));
    QVERIFY(opened.run(good));
    QCOMPARE(opened.model->cached(), 8);
  }

  // A rotation that depends on the length: what is cached is run again, and a stop in that does no harm.
  void aStoppedChangeOfRotationIsDoneAgain_data() { addDevices(); }
  void aStoppedChangeOfRotationIsDoneAgain() {
    QFETCH(QString, device);
    const Opened opened("phi3-longrope", qPrintable(device));
    QVERIFY2(opened.model, qPrintable(opened.problem));
    const auto ids = opened.document["ids"].get<std::vector<TokenId>>();
    const Floats wanted = opened.logits(requestOf(ids));
    const auto half = ids.begin() + 4;
    QVERIFY(opened.run(requestOf({ids.begin(), half})));
    StopSource stop;
    stop.request_stop();
    const auto stopped = opened.model->forward(requestOf({half, ids.end()}), stop.get_token());
    QCOMPARE(stopped.error().code, ErrorCode::cancelled);
    QCOMPARE(opened.model->cached(), 4);
    const auto again = opened.run(requestOf({half, ids.end()}));
    QVERIFY(again);
    QVERIFY(largestDifference(again->logits->row(static_cast<int>(ids.size()) - 5),
                              std::span(wanted).last(wanted.size() / ids.size())) < 1e-3 * deviation(wanted));
  }

  // ---- read-out ----

  void readoutIsTheHead_data() { addDevices(); }
  void readoutIsTheHead() {
    QFETCH(QString, device);
    const Opened opened("granite", qPrintable(device));  // its logits are scaled
    QVERIFY2(opened.model, qPrintable(opened.problem));
    for (const int layer : {0, 1, 2}) {
      ForwardRequest request = requestOf(kText);
      request.lastLayer = std::max(layer, 1);
      const auto taps = opened.taps(request, {{TapSite::residual, request.lastLayer}});
      QVERIFY(!taps.empty());
      const auto read = opened.model->readout(taps[0], true);
      QVERIFY(read);
      const Floats exit = opened.logits(request);
      if (device == "cpu") QVERIFY(allRows(**read) == exit);
      QVERIFY(largestDifference(allRows(**read), exit) < 1e-4);
      const auto bare = opened.model->readout(taps[0], false);
      QVERIFY(bare && largestDifference(allRows(**bare), exit) > 1e-3);
    }
    QVERIFY(!opened.model->readout({}, true));
    QVERIFY(!opened.model->readout(Floats(5), true));
    QCOMPARE(opened.model->cached(), 0);
  }
};

QTEST_GUILESS_MAIN(TestModelDoor)
#include "TestModelDoor.moc"
