// `models verify` on models that state figures: small random nets with a vocabulary of their own, side by
// side as bundled models are.
#include <QDir>
#include <QProcess>
#include <QTemporaryDir>
#include <QTest>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/model/ModelLoader.h"
#include "core/model/weights/WeightFile.h"
#include "core/train/Figures.h"
#include "core/train/TextCost.h"
#include "core/train/VocabularyFiles.h"
#include "tests/torch/Reference.h"

using namespace decoscope;
using nlohmann::json;

namespace {

constexpr int kVocabulary = 300, kPrompts = 6;

struct Outcome {
  int code = -1;
  json document;
  QByteArray errors;
};

Outcome call(const QStringList& arguments) {
  QProcess process;
  process.start(QStringLiteral(DECOSCOPE_CLI), arguments);
  if (!process.waitForFinished(120'000) || process.exitStatus() != QProcess::NormalExit) return {};
  return {process.exitCode(), json::parse(process.readAllStandardOutput().toStdString(), nullptr, false),
          process.readAllStandardError()};
}

std::string textOf(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// A llama of that many layers.
json llama(int layers) {
  constexpr int kWidth = 32, kInner = 48;
  json tensors = {{"model.embed_tokens.weight", {kVocabulary, kWidth}}, {"model.norm.weight", {kWidth}}};
  for (int layer = 0; layer < layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    for (const char* norm : {"input_layernorm", "post_attention_layernorm"})
      tensors[prefix + norm + ".weight"] = {kWidth};
    for (const char* side : {"q", "k", "v", "o"})
      tensors[prefix + "self_attn." + side + "_proj.weight"] = {kWidth, kWidth};
    tensors[prefix + "mlp.gate_proj.weight"] = {kInner, kWidth};
    tensors[prefix + "mlp.up_proj.weight"] = {kInner, kWidth};
    tensors[prefix + "mlp.down_proj.weight"] = {kWidth, kInner};
  }
  return {{"config",
           {{"architectures", {"LlamaForCausalLM"}},
            {"model_type", "llama"},
            {"hidden_size", kWidth},
            {"intermediate_size", kInner},
            {"num_hidden_layers", layers},
            {"num_attention_heads", 4},
            {"num_key_value_heads", 4},
            {"max_position_embeddings", 256},
            {"rms_norm_eps", 1e-6},
            {"rope_theta", 10000.0},
            {"tie_word_embeddings", true},
            {"vocab_size", kVocabulary},
            {"eos_token_id", 0}}},
          {"tensors", tensors}};
}

// A masked-diffusion model in LLaDA's layout.
json llada() {
  constexpr int kWidth = 32, kInner = 48;
  json tensors = {{"model.transformer.wte.weight", {kVocabulary, kWidth}},
                  {"model.transformer.ff_out.weight", {kVocabulary, kWidth}},
                  {"model.transformer.ln_f.weight", {kWidth}}};
  const std::string prefix = "model.transformer.blocks.0.";
  for (const char* norm : {"attn_norm", "ff_norm"}) tensors[prefix + norm + ".weight"] = {kWidth};
  for (const char* side : {"q_proj", "k_proj", "v_proj", "attn_out"})
    tensors[prefix + side + ".weight"] = {kWidth, kWidth};
  for (const char* up : {"ff_proj", "up_proj"}) tensors[prefix + up + ".weight"] = {kInner, kWidth};
  tensors[prefix + "ff_out.weight"] = {kWidth, kInner};
  return {{"config",
           {{"architectures", {"LLaDAModelLM"}},
            {"model_type", "llada"},
            {"activation_type", "silu"},
            {"block_type", "llama"},
            {"d_model", kWidth},
            {"embedding_size", kVocabulary},
            {"vocab_size", kVocabulary},
            {"eos_token_id", 0},
            {"pad_token_id", 0},
            {"mask_token_id", 3},
            {"layer_norm_type", "rms"},
            {"max_sequence_length", 256},
            {"mlp_hidden_size", kInner},
            {"n_heads", 4},
            {"n_kv_heads", 4},
            {"n_layers", 1},
            {"rms_norm_eps", 1e-5},
            {"rope", true},
            {"rope_theta", 10000.0},
            {"weight_tying", false}}},
          {"tensors", tensors}};
}

// Figures of the drafter's card, none stated.
json unstated() {
  const json texts = "../corpora/held-out.jsonl",
             chain = {{"method", "chain"},
                      {"models", {{"target", "wren"}, {"drafter", "."}}},
                      {"set", {{"gamma", 4}, {"temperature", 1}, {"adaptive", false}}},
                      {"max_new_tokens", 24},
                      {"seed", 11}},
             plain = {{"models", {{"target", "wren"}}},
                      {"set", {{"temperature", 1}}},
                      {"max_new_tokens", 24},
                      {"seed", 11}},
             diffusion = {{"method", "llada"},
                          {"models", {{"target", "wren-diffusion"}}},
                          {"set", {{"temperature", 1}}},
                          {"max_new_tokens", 16},
                          {"seed", 11}};
  json figures = {
      {{"name", "bits"},
       {"kind", "bits-per-byte"},
       {"unit", "bit/byte"},
       {"tolerance", 0.001},
       {"texts", texts}},
      {{"name", "ratio"}, {"kind", "kneser-ney-ratio"}, {"tolerance", 0.001}, {"texts", texts}, {"order", 3}},
      {{"name", "accepted"},
       {"kind", "acceptance-rate"},
       {"tolerance", 0.001},
       {"texts", texts},
       {"run", chain}},
      {{"name", "a round"},
       {"kind", "mean-accepted-length"},
       {"tolerance", 0.001},
       {"texts", texts},
       {"run", chain}},
      {{"name", "wasted"}, {"kind", "wasted-share"}, {"tolerance", 0.001}, {"texts", texts}, {"run", chain}},
      {{"name", "speed"}, {"kind", "speed-ratio"}, {"texts", texts}, {"count", 2}, {"run", chain}},
      {{"name", "wren's own"},
       {"kind", "generative-perplexity"},
       {"tolerance", 0.1},
       {"texts", texts},
       {"judge", "wren"},
       {"run", plain}},
      {{"name", "others"},
       {"kind", "generative-perplexity"},
       {"tolerance", 0.01},
       {"texts", texts},
       {"judge", "wren"},
       {"run", diffusion},
       {"relative_to", plain}},
      {{"name", "parameters"}, {"kind", "parameters"}, {"tolerance", 0}},
      {{"name", "bytes"}, {"kind", "bytes"}, {"unit", "bytes"}, {"tolerance", 0}},
      {{"name", "digest"}, {"kind", "sha256"}}};
  for (json& figure : figures) figure["value"] = nullptr;
  return {{"figures", figures}};
}

}  // namespace

class TestModelFigures : public QObject {
  Q_OBJECT
  QTemporaryDir home_;

  std::string path(const std::string& name) const {
    return home_.filePath(QString::fromStdString(name)).toStdString();
  }
  QString model() const { return home_.filePath("wren-tiny"); }
  Outcome verify(const QStringList& more = {}) const {
    return call(QStringList{"models", "verify", model(), "--json"} + more);
  }
  QStringList corpus() const { return {"--corpus", home_.filePath("corpora/all.jsonl")}; }
  // The figure of that name.
  static json figure(const Outcome& outcome, const std::string& name) {
    for (const json& one : outcome.document["figures"])
      if (one["name"] == name) return one;
    return nullptr;
  }
  void writeModel(const std::string& name, const json& document) const {
    QVERIFY(QDir(home_.path()).mkpath(QString::fromStdString(name)));
    writeCheckpoint(path(name), document);
    QVERIFY(trainVocabulary(path("corpora/all.jsonl"), kVocabulary, 256, path(name), {}));
  }
  // States what is measured, so that every test begins with a card that holds.
  Outcome stated() const {
    std::ofstream(path("wren-tiny/figures.json")) << unstated().dump();
    std::ofstream(path("wren-tiny/README.md")) << "# Tiny\n" << kFiguresBegin << "\n" << kFiguresEnd << "\n";
    return verify(corpus() + QStringList{"--update-figures"});
  }

 private Q_SLOTS:
  void initTestCase() {
    QVERIFY(QDir(home_.path()).mkpath("corpora"));
    std::ofstream all(path("corpora/all.jsonl")), heldOut(path("corpora/held-out.jsonl"));
    const char* birds[] = {"wren", "owl", "heron", "robin", "swallow"};
    for (int i = 0; i < 60; ++i) {
      const std::string bird = birds[i % 5], other = birds[i * 7 / 3 % 5];
      const json line = {
          {"index", i},
          {"kind", "story"},
          {"user", "Tell me of the " + bird + " and " + std::to_string(i % 12) + " others."},
          {"assistant", "The " + bird + " saw a " + other + " by the harbour, and they sang."}};
      all << line.dump() << '\n';
      if (i < kPrompts) heldOut << line.dump() << '\n';
    }
    all.close();
    heldOut.close();
    writeModel("wren", llama(2));
    writeModel("wren-tiny", llama(1));
    writeModel("wren-diffusion", llada());
  }
  void whatIsMeasuredIsStated() {
    const Outcome first = stated();
    QVERIFY2(first.code == 0, first.errors);
    QVERIFY(first.document["ok"] == true);
    QVERIFY(first.document["card"] == "agrees");
    QVERIFY(figure(first, "accepted")["stated"].is_number());
    const std::string card = textOf(path("wren-tiny/README.md"));
    QVERIFY(card.find("| bits | ") != std::string::npos);
    QVERIFY(card.find("not measured yet") == std::string::npos);
    // Again, from the files alone.
    const Outcome again = verify(corpus());
    QVERIFY2(again.code == 0, again.errors);
    for (const json& one : again.document["figures"]) {
      const std::string expected = one["name"] == "speed" ? "for information" : "agrees";
      QVERIFY2(one["verdict"] == expected, one.dump().c_str());
    }
    for (const char* exact : {"bits", "ratio", "accepted", "a round", "wasted", "wren's own", "others"})
      QVERIFY2(figure(again, exact)["measured"] == figure(first, exact)["measured"], exact);
    QCOMPARE(textOf(path("wren-tiny/README.md")), card);
  }
  void figuresAreWhatTheySay() {
    const Outcome outcome = stated();
    QCOMPARE(outcome.code, 0);
    QVERIFY(figure(outcome, "digest")["measured"].get<std::string>() ==
            fileDigest(path("wren-tiny"))->substr(7));
    QVERIFY(figure(outcome, "bytes")["measured"] == QFileInfo(model() + "/model.safetensors").size());
    QVERIFY(figure(outcome, "parameters")["measured"] == 300 * 32 + 3 * 32 + 4 * 32 * 32 + 3 * 48 * 32);

    const auto loaded = loadModel(path("wren-tiny"), {}, {});
    QVERIFY(loaded.has_value());
    const auto texts = scoredTexts(*loaded->tokenizer, path("corpora/held-out.jsonl"));
    QCOMPARE(texts->size(), std::size_t{kPrompts});
    // Every token but the first, whole texts at once.
    double bits = 0, bytes = 0;
    for (const ScoredText& text : *texts) {
      ForwardRequest request;
      request.tokens = text.tokens;
      for (std::size_t i = 0; i + 1 < text.tokens.size(); ++i)
        request.logitRows.push_back(static_cast<std::int32_t>(i));
      QVERIFY(loaded->model->retain(0));
      const auto output = loaded->model->forward(request, {});
      for (std::size_t i = 0; i + 1 < text.tokens.size(); ++i) {
        const auto row = output->logits->row(static_cast<int>(i));
        double sum = 0;
        for (const float value : row) sum += std::exp(static_cast<double>(value));
        bits -=
            std::log2(std::exp(static_cast<double>(row[static_cast<std::size_t>(text.tokens[i + 1])])) / sum);
      }
      bytes += static_cast<double>(text.bytes);
    }
    const double measured = figure(outcome, "bits")["measured"];
    QVERIFY(std::abs(measured - bits / bytes) < 1e-6 * measured);
    const json ratio = figure(outcome, "ratio");
    QVERIFY(ratio["inputs"]["bits_per_byte"] == measured);
    QVERIFY(ratio["inputs"]["kneser_ney_bits_per_byte"].get<double>() > 0.1);
    QCOMPARE(ratio["measured"].get<double>(),
             measured / ratio["inputs"]["kneser_ney_bits_per_byte"].get<double>());
  }
  // What `run` prints for the same prompts and seeds, added up.
  void acceptanceIsThatOfRuns() {
    const Outcome outcome = stated();
    QCOMPARE(outcome.code, 0);
    std::int64_t accepted = 0, tested = 0, proposed = 0, rounds = 0;
    double nats = 0, tokens = 0;
    auto judge = loadModel(path("wren"), {}, {});
    std::ifstream lines(path("corpora/held-out.jsonl"));
    std::string line;
    for (int i = 0; std::getline(lines, line); ++i) {
      std::ofstream(path("chat.json")) << chatJson(json::parse(line)["user"]);
      const QStringList common = {"--chat",
                                  home_.filePath("chat.json"),
                                  "--max-new-tokens",
                                  "24",
                                  "--seed",
                                  QString::number(11 + i),
                                  "--set",
                                  "temperature=1",
                                  "--json"};
      const Outcome run =
          call(QStringList{"run", "--method", "chain", "--model", home_.filePath("wren"), "--model",
                           "drafter=" + model(), "--set", "gamma=4", "--set", "adaptive=false"} +
               common);
      QVERIFY2(run.code == 0, run.errors);
      accepted += run.document["stats"]["accepted"].get<std::int64_t>();
      tested += run.document["stats"]["tested"].get<std::int64_t>();
      proposed += run.document["stats"]["proposed"].get<std::int64_t>();
      rounds += run.document["stats"]["rounds"].get<std::int64_t>();
      const Outcome plain = call(QStringList{"run", "--model", home_.filePath("wren")} + common);
      QVERIFY2(plain.code == 0, plain.errors);
      ScoredText text;
      text.tokens = plain.document["prompt_ids"].get<std::vector<TokenId>>();
      text.from = text.tokens.size();
      for (const json& id : plain.document["ids"]) text.tokens.push_back(id);
      const auto cost = costOf(*judge->model, std::vector{text}, {});
      nats += cost->bits * std::log(2.0);
      tokens += static_cast<double>(cost->tokens);
    }
    QVERIFY(accepted > 0 && tested > accepted);
    QCOMPARE(figure(outcome, "accepted")["measured"].get<double>(),
             static_cast<double>(accepted) / static_cast<double>(tested));
    QCOMPARE(figure(outcome, "a round")["measured"].get<double>(),
             static_cast<double>(accepted) / static_cast<double>(rounds));
    QVERIFY(proposed > tested);
    QCOMPARE(figure(outcome, "wasted")["measured"].get<double>(),
             1 - static_cast<double>(accepted) / static_cast<double>(proposed));
    const double perplexity = figure(outcome, "wren's own")["measured"];
    QVERIFY(std::abs(perplexity - std::exp(nats / tokens)) < 1e-6 * perplexity);
    const json others = figure(outcome, "others");
    QCOMPARE(others["inputs"]["other_perplexity"].get<double>(), perplexity);
    QCOMPARE(others["measured"].get<double>(), others["inputs"]["perplexity"].get<double>() / perplexity);
  }
  void withoutTheCorpusItIsStatedOnly() {
    QCOMPARE(stated().code, 0);
    const Outcome outcome = verify();
    QCOMPARE(outcome.code, 0);
    const json ratio = figure(outcome, "ratio");
    QVERIFY(ratio["verdict"] == "stated, not measured");
    QVERIFY(ratio["measured"].is_null());
    QVERIFY(ratio["not_measured"] == "the training corpus is needed: --corpus");
  }
  void aFigureThatDoesNotHoldFails() {
    QCOMPARE(stated().code, 0);
    json figures = json::parse(textOf(path("wren-tiny/figures.json")));
    figures["figures"][0]["value"] = figures["figures"][0]["value"].get<double>() + 0.01;
    std::ofstream(path("wren-tiny/figures.json")) << figures.dump();
    const Outcome outcome = verify({"--write-card"});
    QCOMPARE(outcome.code, 1);
    QVERIFY(outcome.document["ok"] == false);
    QVERIFY(figure(outcome, "bits")["verdict"] == "differs");
    QVERIFY(figure(outcome, "accepted")["verdict"] == "agrees");
    QVERIFY(outcome.document["card"] == "agrees");
  }
  void aCardThatSaysOtherwiseFails() {
    QCOMPARE(stated().code, 0);
    const std::string card = textOf(path("wren-tiny/README.md"));
    std::string other = card;
    other.replace(other.find("| parameters | "), 15, "| parameters | 9");
    std::ofstream(path("wren-tiny/README.md")) << other;
    const Outcome outcome = verify();
    QCOMPARE(outcome.code, 1);
    QVERIFY(outcome.document["card"].get<std::string>().find("--write-card") != std::string::npos);
    QCOMPARE(verify({"--write-card"}).code, 0);
    QCOMPARE(textOf(path("wren-tiny/README.md")), card);
  }
  void whatIsMissingIsNamed() {
    std::ofstream(path("wren-tiny/figures.json"))
        << R"x({"figures":[{"name":"bits","kind":"bits-per-byte","texts":"none.jsonl","value":1}]})x";
    const Outcome outcome = verify();
    QCOMPARE(outcome.code, 3);
    QVERIFY(outcome.document["error"]["where"].get<std::string>().starts_with("figure 'bits', "));
    const Outcome none = call({"models", "verify", home_.filePath("wren"), "--json", "--write-card"});
    QCOMPARE(none.code, 3);
    // A model without figures is verified as ever.
    const Outcome plain = call({"models", "verify", home_.filePath("wren"), "--json"});
    QCOMPARE(plain.code, 0);
    QVERIFY(!plain.document.contains("figures"));
    QCOMPARE(plain.document["sha256"].get<std::string>(), fileDigest(path("wren"))->substr(7));
  }
};

QTEST_GUILESS_MAIN(TestModelFigures)
#include "TestModelFigures.moc"
