// What a forward of n tokens costs: the curve c(n) that decides how large a draft tree may be, the floor of
// one-token decoding, and the cost of summarising the rows that a session records. Needs
// SmolLM2-135M-Instruct in the model cache; set DECOSCOPE_BENCH_MODEL for another.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/model/ModelLoader.h"

using namespace decoscope;

namespace {

constexpr int kContext = 128;  // tokens in the cache before the timed forward

Model* model(const std::string& dtype) {
  static std::map<std::string, Result<LoadedModel>> models;
  const auto found = models.find(dtype);
  if (found != models.end()) return found->second ? found->second->model.get() : nullptr;
  const char* name = std::getenv("DECOSCOPE_BENCH_MODEL");
  LoadOptions options;
  options.dtype = dtype;
  options.device = "cpu";
  auto& loaded = models.emplace(dtype, loadModel(name ? name : "SmolLM2-135M-Instruct", options, StopToken()))
                     .first->second;
  return loaded ? loaded->model.get() : nullptr;
}

std::vector<TokenId> someTokens(int count, int vocabulary) {
  std::vector<TokenId> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back(static_cast<TokenId>((i * 7919 + 13) % vocabulary));
  return tokens;
}

// One forward of n tokens after the same context, as a chain or as a tree of two children a node.
void forward(benchmark::State& state, const std::string& dtype, bool tree, bool allRows) {
  Model* target = model(dtype);
  if (!target) return state.SkipWithError("the model is not there");
  const int rows = static_cast<int>(state.range(0));
  ForwardRequest context;
  context.tokens = someTokens(kContext, target->info().vocabularySize);
  if (!target->retain(0) || !target->forward(context, StopToken()))
    return state.SkipWithError("the context cannot be read");
  ForwardRequest request;
  request.tokens = someTokens(rows, target->info().vocabularySize);
  for (int i = 0; i < rows; ++i) {
    if (tree) request.parents.push_back(i == 0 ? -1 : (i - 1) / 2);
    if (allRows || i + 1 == rows) request.logitRows.push_back(i);
  }
  for (auto _ : state) {
    auto output = target->forward(request, StopToken());
    if (!output || !target->retain(kContext)) return state.SkipWithError("the forward failed");
    benchmark::DoNotOptimize(output->logits->row(0).data());
  }
  state.SetItemsProcessed(state.iterations() * rows);
  // All weights are read once a forward, so this is the rate to hold against the memory's.
  state.SetBytesProcessed(state.iterations() * target->info().bytes);
}

// As many texts side by side in one cache as the first argument says, each as long as the second, slot by
// slot in turns, as they come about where texts are written in numbers.
Status growTexts(Model& target, int texts, int length) {
  DECOSCOPE_TRY(target.retain(0));
  for (int i = 0; i < length; ++i) {
    ForwardRequest step;
    step.tokens = someTokens(texts, target.info().vocabularySize);
    step.parents.assign(step.tokens.size(), -1);
    for (int text = 0; text < texts; ++text) step.follows.push_back(i == 0 ? -1 : (i - 1) * texts + text);
    DECOSCOPE_TRY(target.forward(step, StopToken()));
  }
  return {};
}

// A further token of each of the texts.
void sideBySide(benchmark::State& state) {
  Model* target = model("bf16");
  if (!target) return state.SkipWithError("the model is not there");
  const int texts = static_cast<int>(state.range(0)), length = static_cast<int>(state.range(1));
  if (!growTexts(*target, texts, length)) return state.SkipWithError("the texts cannot be read");
  ForwardRequest request;
  request.tokens = someTokens(texts, target->info().vocabularySize);
  request.parents.assign(request.tokens.size(), -1);
  for (int text = 0; text < texts; ++text) {
    request.follows.push_back((length - 1) * texts + text);
    request.logitRows.push_back(text);
  }
  for (auto _ : state) {
    auto output = target->forward(request, StopToken());
    if (!output || !target->retain(texts * length)) return state.SkipWithError("the forward failed");
    benchmark::DoNotOptimize(output->logits->row(0).data());
  }
  state.SetItemsProcessed(state.iterations() * texts);
}

// One of the texts is dropped, which moves nearly every slot.
void dropText(benchmark::State& state) {
  Model* target = model("bf16");
  if (!target) return state.SkipWithError("the model is not there");
  const int texts = static_cast<int>(state.range(0)), length = static_cast<int>(state.range(1));
  if (!growTexts(*target, texts, length)) return state.SkipWithError("the texts cannot be read");
  std::vector<std::int32_t> kept;
  for (int slot = 0; slot < texts * length; ++slot)
    if (slot % texts != 0) kept.push_back(slot);
  for (auto _ : state)
    if (!target->retain(0, kept)) return state.SkipWithError("the text cannot be dropped");
}

void summaries(benchmark::State& state) {
  Model* target = model("f32");
  if (!target) return state.SkipWithError("the model is not there");
  constexpr int kRows = 16;
  ForwardRequest request;
  request.tokens = someTokens(kRows, target->info().vocabularySize);
  for (int i = 0; i < kRows; ++i) request.logitRows.push_back(i);
  if (!target->retain(0)) return state.SkipWithError("the cache cannot be emptied");
  const auto output = target->forward(request, StopToken());
  if (!output) return state.SkipWithError("the forward failed");
  for (auto _ : state) benchmark::DoNotOptimize(output->logits->summaries(static_cast<int>(state.range(0))));
  state.SetItemsProcessed(state.iterations() * kRows);
}

void curve(benchmark::internal::Benchmark* bench) {
  for (const int rows : {1, 2, 4, 8, 16, 32, 64}) bench->Arg(rows);
  bench->Unit(benchmark::kMillisecond)->UseRealTime();
}

BENCHMARK_CAPTURE(forward, chain_f32, "f32", false, true)->Apply(curve);
BENCHMARK_CAPTURE(forward, chain_bf16, "bf16", false, true)->Apply(curve);
BENCHMARK_CAPTURE(forward, tree_bf16, "bf16", true, true)
    ->Arg(16)
    ->Arg(64)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(forward, prompt_f32, "f32", false, false)
    ->Arg(512)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(forward, prompt_bf16, "bf16", false, false)
    ->Arg(512)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
// Once each: what comes before takes longer than what is measured.
BENCHMARK(sideBySide)
    ->Args({64, 200})
    ->Args({16, 200})
    ->Iterations(20)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK(dropText)->Args({64, 200})->Iterations(1)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(summaries)->Arg(1)->Arg(32)->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace
