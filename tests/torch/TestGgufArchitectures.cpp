// Every family as GGUF (see GgufRules.h) against the logits of Hugging Face transformers, and against the
// other ways in which files have said the same.
#include <QDir>
#include <QTemporaryDir>
#include <QTest>
#include <functional>

#include "tests/torch/GgufRules.h"

using namespace decoscope;
using nlohmann::json;

namespace {

const QString kReference = QStringLiteral(DECOSCOPE_SOURCE_DIR "/tests/torch/reference");

QStringList references() {
  const json unsaid = referenceOf("gguf/rules.json")["unsaid"];
  QStringList files;
  for (const QString& file : QDir(kReference).entryList({"*.json"}))
    if (!unsaid.contains(file.chopped(5).toStdString())) files.push_back(file);
  for (const QString& file : QDir(kReference + "/diffusion").entryList({"*.json"}))
    files.push_back("diffusion/" + file);
  return files;
}

// Empty if the file gives the logits of the document at every position; otherwise what is wrong.
QString problemOf(const GgufContents& contents, const json& document) {
  QTemporaryDir folder;
  const std::string path = folder.filePath("model.gguf").toStdString();
  writeFile(path, ggufBytes(contents.metadata, contents.tensors));
  QString problem;
  const auto model = load(path, "cpu", problem);
  if (!model) return problem;
  const auto logits = document["logits"].get<std::vector<float>>();
  ForwardRequest request;
  request.tokens = document["ids"].get<std::vector<TokenId>>();
  if (model->capabilities().maskedDiffusion) request.visibility = Visibility::full;
  const std::size_t vocabulary = logits.size() / request.tokens.size();
  for (std::size_t i = 0; i < request.tokens.size(); ++i)
    request.logitRows.push_back(static_cast<std::int32_t>(i));
  const auto output = model->forward(request, StopToken());
  if (!output) return QString::fromStdString(output.error().text());
  const double unit = deviation(logits);
  for (std::size_t row = 0; row < request.tokens.size(); ++row) {
    const double difference = largestDifference(output->logits->row(static_cast<int>(row)),
                                                std::span(logits).subspan(row * vocabulary, vocabulary));
    if (!(difference <= 1e-3 * unit))
      return QString("row %1 is %2 deviations away").arg(row).arg(difference / unit);
  }
  return {};
}

std::string block(int layer, const char* name) {
  return "blk." + std::to_string(layer) + "." + name;
}

// The rows of the second behind those of the first; `groups` times over (experts).
GgufTensor together(const std::string& name, const std::vector<GgufTensor>& parts, std::size_t groups) {
  GgufTensor result{name, 0, parts.front().shape, {}};
  result.shape[1] = 0;
  for (const GgufTensor& part : parts) result.shape[1] += part.shape[1];
  for (std::size_t group = 0; group < groups; ++group)
    for (const GgufTensor& part : parts) {
      const std::size_t size = part.bytes.size() / groups;
      result.bytes += part.bytes.substr(group * size, size);
    }
  return result;
}

using Change = std::function<void(GgufContents&)>;

void fuseExperts(GgufContents& contents) {
  for (int layer = 0; layer < 3; ++layer) {
    const GgufTensor gate = contents.take(block(layer, "ffn_gate_exps.weight"));
    const GgufTensor up = contents.take(block(layer, "ffn_up_exps.weight"));
    if (!gate.shape.empty())
      contents.tensors.push_back(
          together(block(layer, "ffn_gate_up_exps.weight"), {gate, up}, gate.shape[2]));
  }
}

void separateExperts(GgufContents& contents) {
  for (int layer = 0; layer < 3; ++layer)
    for (const std::string part : {"ffn_gate", "ffn_up", "ffn_down"}) {
      const GgufTensor all = contents.take(block(layer, (part + "_exps.weight").c_str()));
      for (std::size_t expert = 0; expert < all.shape[2]; ++expert) {
        const std::size_t size = all.bytes.size() / all.shape[2];
        contents.tensors.push_back({block(layer, (part + "." + std::to_string(expert) + ".weight").c_str()),
                                    0,
                                    {all.shape[0], all.shape[1]},
                                    all.bytes.substr(expert * size, size)});
      }
    }
}

void fuseAttention(GgufContents& contents) {
  for (int layer = 0; layer < 3; ++layer)
    contents.tensors.push_back(
        together(block(layer, "attn_qkv.weight"),
                 {contents.take(block(layer, "attn_q.weight")), contents.take(block(layer, "attn_k.weight")),
                  contents.take(block(layer, "attn_v.weight"))},
                 1));
}

struct Variant {
  const char* name;
  const char* file;
  Change change;
};

const std::vector<Variant>& variants() {
  static const std::vector<Variant> list = {
      {"gate and up of all experts in one tensor", "qwen3-moe.json", fuseExperts},
      {"the same beside a shared expert", "qwen2-moe.json", fuseExperts},
      {"a tensor an expert", "mixtral.json", separateExperts},
      {"queries, keys and values in one tensor", "llama-yarn.json", fuseAttention},
      {"no sizes of experts", "qwen2-moe.json",
       [](GgufContents& contents) {
         contents.remove("expert_feed_forward_length");
         contents.remove("expert_shared_feed_forward_length");
       }},
      {"parallel says the key, not the tensors", "stablelm.json",
       [](GgufContents& contents) { contents.set("use_parallel_residual", true); }},
      {"a list of layers with the window", "gemma3-plain.json",
       [](GgufContents& contents) {
         contents.set("attention.sliding_window_pattern",
                      std::vector<bool>{true, true, true, true, true, false, true});
       }},
      {"a period of layers with the window", "gpt-oss.json",
       [](GgufContents& contents) { contents.set("attention.sliding_window_pattern", 2u); }},
      {"a factor on top of YaRN's", "llama-yarn.json",
       [](GgufContents& contents) { contents.set("rope.scaling.attn_factor", 1.0f); }},
      {"a factor instead of YaRN's", "llama-yarn.json",
       [](GgufContents& contents) {
         contents.set("rope.scaling.yarn_attn_factor", static_cast<float>(0.1 * std::log(8.0) + 1));
       }},
      {"the old key of linear scaling", "llama-linear.json",
       [](GgufContents& contents) {
         contents.remove("rope.scaling.type");
         contents.remove("rope.scaling.factor");
         contents.set("rope.scale_linear", 4.0f);
       }},
  };
  return list;
}

// What must not pass unseen: the logits have to change with it.
const std::vector<Variant>& mistakes() {
  static const std::vector<Variant> list = {
      {"another period", "gpt-oss.json",
       [](GgufContents& contents) { contents.set("attention.sliding_window_pattern", 3u); }},
      {"another factor", "llama-yarn.json",
       [](GgufContents& contents) { contents.set("rope.scaling.attn_factor", 1.5f); }},
      {"a cap of the logits", "gemma3-plain.json",
       [](GgufContents& contents) { contents.set("final_logit_softcapping", 2.0f); }},
      {"no positions", "granite.json",
       [](GgufContents& contents) { contents.set("rope.scaling.finetuned", false); }},
      {"another local rotation", "olmo3.json",
       [](GgufContents& contents) { contents.set("rope.freq_base_swa", 100.0f); }},
  };
  return list;
}

}  // namespace

class TestGgufArchitectures : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void conforms_data() {
    QTest::addColumn<QString>("file");
    QVERIFY(references().size() >= 25);
    for (const QString& file : references()) QTest::addRow("%s", qPrintable(file.chopped(5))) << file;
  }
  void conforms() {
    QFETCH(QString, file);
    const json document = referenceOf(file.toStdString());
    const QString problem = problemOf(GgufRules(document).contents(), document);
    QVERIFY2(problem.isEmpty(), qPrintable(problem));
  }

  void otherWaysToSayIt_data() {
    QTest::addColumn<int>("index");
    for (int i = 0; i < static_cast<int>(variants().size()); ++i)
      QTest::newRow(variants()[static_cast<std::size_t>(i)].name) << i;
  }
  void otherWaysToSayIt() {
    QFETCH(int, index);
    const Variant& variant = variants()[static_cast<std::size_t>(index)];
    const json document = referenceOf(variant.file);
    GgufContents contents = GgufRules(document).contents();
    variant.change(contents);
    const QString problem = problemOf(contents, document);
    QVERIFY2(problem.isEmpty(), qPrintable(problem));
  }

  void keysCount_data() {
    QTest::addColumn<int>("index");
    for (int i = 0; i < static_cast<int>(mistakes().size()); ++i)
      QTest::newRow(mistakes()[static_cast<std::size_t>(i)].name) << i;
  }
  void keysCount() {
    QFETCH(int, index);
    const Variant& mistake = mistakes()[static_cast<std::size_t>(index)];
    const json document = referenceOf(mistake.file);
    GgufContents contents = GgufRules(document).contents();
    mistake.change(contents);
    QVERIFY(problemOf(contents, document).contains("deviations away"));
  }

  void maskTokensAreRead() {
    for (const char* name : {"diffusion/llada.json", "diffusion/dream.json"}) {
      const json document = referenceOf(name);
      const QTemporaryDir folder;
      const std::string path = folder.filePath("model.gguf").toStdString();
      const auto infoOf = [&](const Change& change) -> Result<ModelInfo> {
        GgufContents contents = GgufRules(document).contents();
        change(contents);
        writeFile(path, ggufBytes(contents.metadata, contents.tensors));
        DECOSCOPE_ASSIGN(const auto weights, openWeights(path));
        return describeTransformer(*weights, path);
      };
      const auto info = infoOf([](GgufContents&) {});
      QVERIFY2(info.has_value(), info ? "" : info.error().text().c_str());
      QCOMPARE(info->maskToken, document["config"]["mask_token_id"].get<TokenId>());
      constexpr const char* kShift = "/diffusion.shift_logits";
      for (const bool shifted : {false, true}) {
        const auto said = infoOf([&](GgufContents& contents) { contents.set(kShift, shifted); });
        QVERIFY(said.has_value());
        QCOMPARE(said->shifted, shifted);
      }
      const auto unsaid = infoOf([&](GgufContents& contents) { contents.remove(kShift); });
      QVERIFY(unsaid.has_value());
      QCOMPARE(unsaid->shifted, std::string(name).ends_with("dream.json"));
      const auto without =
          infoOf([](GgufContents& contents) { contents.remove("/tokenizer.ggml.mask_token_id"); });
      QVERIFY(!without && without.error().text().find("names no mask token") != std::string::npos);
      const auto outside =
          infoOf([](GgufContents& contents) { contents.set("/tokenizer.ggml.mask_token_id", 64u); });
      QVERIFY(!outside && outside.error().text().find("64 is not in the vocabulary") != std::string::npos);
    }
  }
  void refusesAPatternThatNamesOtherLayers() {
    const json document = referenceOf("gemma3-plain.json");
    GgufContents contents = GgufRules(document).contents();
    contents.set("attention.sliding_window_pattern", std::vector<bool>{true, false, true});
    QVERIFY(problemOf(contents, document).contains("3 entries for 7 layers"));
  }
};

QTEST_GUILESS_MAIN(TestGgufArchitectures)
#include "TestGgufArchitectures.moc"
