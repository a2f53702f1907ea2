#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "app/cli/Command.h"
#include "core/decode/Decoder.h"
#include "core/model/AcceptanceHead.h"
#include "core/model/Catalog.h"
#include "core/model/ModelFetch.h"
#include "core/model/weights/SafetensorsWriter.h"
#include "core/model/weights/WeightFile.h"

namespace decoscope::cli {

namespace {

json capabilityList(const Capabilities& can, const std::string& architecture) {
  const std::pair<bool, const char*> all[] = {{can.maskedDiffusion, "masked diffusion"},
                                              {can.causal, "causal"},
                                              {can.trees, "trees"},
                                              {can.hiddenStates, "hidden states"},
                                              {can.interventions, "interventions"},
                                              {can.earlyExit, "early exit"},
                                              {can.followsFeatures, "drafting from features"},
                                              {architecture == kAcceptanceArchitecture, "judging drafts"}};
  json list = json::array();
  for (const auto& [has, name] : all)
    if (has) list.push_back(name);
  return list;
}

json modelJson(const ModelInfo& info, const Tokenizer* tokenizer) {
  json tensors = json::array();
  for (const TensorDescription& tensor : info.tensors)
    tensors.push_back(
        {{"name", tensor.name}, {"role", tensor.role}, {"type", tensor.type}, {"shape", tensor.shape}});
  return {{"name", info.name},
          {"path", info.path},
          {"architecture", info.architecture},
          {"format", info.format},
          {"parameters", info.parameters},
          {"layers", info.layers},
          {"width", info.width},
          {"heads", info.heads},
          {"key_value_heads", info.keyValueHeads},
          {"vocabulary", info.vocabularySize},
          {"dtype", info.fileType},
          {"context", info.contextLength},
          {"tokenizer", tokenizer ? json(tokenizer->description()) : json(nullptr)},
          {"licence", info.licence.empty() ? json(nullptr) : json(info.licence)},
          {"bytes", info.bytes},
          {"capabilities", capabilityList(capabilitiesOf(info), info.architecture)},
          {"tensors", std::move(tensors)}};
}

json orNull(const std::string& text) {
  return text.empty() ? json(nullptr) : json(text);
}
json orNull(std::int64_t number) {
  return number == 0 ? json(nullptr) : json(number);
}

json factsJson(const ModelFacts& facts) {
  return {{"architecture", orNull(facts.architecture)},
          {"parameters", orNull(facts.parameters)},
          {"layers", orNull(facts.layers)},
          {"dtype", orNull(facts.dtype)},
          {"quantisation", orNull(facts.quantisation)},
          {"context", orNull(facts.context)},
          {"licence", orNull(facts.licence)}};
}

json entryJson(const CatalogEntry& entry) {
  json model = factsJson(entry.facts);
  model.update({{"name", entry.name},
                {"path", entry.path},
                {"format", entry.format},
                {"source", entry.source},
                {"bytes", entry.bytes},
                {"tokenizer", orNull(entry.facts.tokenizer)},
                {"sha256", nullptr},
                {"capabilities", nullptr}});
  if (!entry.problem.empty()) {
    model["problem"] = entry.problem;
    return model;
  }
  // What takes long to find out is left to `models show`.
  if (const auto digest = knownDigest(entry.path)) model["sha256"] = digest->substr(7);
  const auto& can = entry.facts.capabilities;
  model["capabilities"] = can ? capabilityList(*can, entry.facts.architecture) : json::array();
  return model;
}

// "134.5 M", "1.24 G"
std::string shortNumber(double number) {
  const char* const units[] = {"", " k", " M", " G", " T"};
  int unit = 0;
  for (; number >= 1000 && unit < 4; ++unit) number /= 1000;
  char text[32];
  std::snprintf(text, sizeof text, number < 100 && unit > 0 ? "%.1f%s" : "%.0f%s", number, units[unit]);
  return text;
}

// "96 B", "98.4 MB"
std::string byteText(std::int64_t bytes) {
  return shortNumber(static_cast<double>(bytes)) + (bytes < 1000 ? " B" : "B");
}

Result<int> listCommand(const Context& context) {
  const std::vector<CatalogEntry> models = listModels();
  if (context.json) {
    json list = json::array();
    for (const CatalogEntry& entry : models) list.push_back(entryJson(entry));
    printJson({{"models", list}});
    return 0;
  }
  if (models.empty())
    std::cout << "No models found. `decoscope-cli models fetch SmolLM2-135M-Instruct` brings one.\n";
  for (const CatalogEntry& entry : models) {
    const ModelFacts& facts = entry.facts;
    std::cout << entry.name << "  " << entry.format << "  ";
    if (entry.problem.empty())
      std::cout << (facts.architecture.empty() ? "?" : facts.architecture) << "  "
                << shortNumber(static_cast<double>(facts.parameters)) << " parameters  " << facts.dtype
                << "  ";
    std::cout << byteText(entry.bytes) << "  " << entry.path << '\n';
    if (!entry.problem.empty()) std::cout << "  cannot be opened: " << entry.problem << '\n';
  }
  return 0;
}

// What the headers say, where no backend of this build can say more.
json headerJson(const std::string& path, const ModelFacts& facts, const Tokenizer* tokenizer,
                const std::string& problem) {
  json document = factsJson(facts), tensors = json::array();
  if (const auto weights = openWeights(path))
    for (const WeightTensor& tensor : (*weights)->tensors())
      tensors.push_back(
          {{"name", tensor.name}, {"role", ""}, {"type", tensor.typeName}, {"shape", tensor.shape}});
  document.update({{"name", std::filesystem::path(path).stem().string()},
                   {"path", path},
                   {"format", facts.format},
                   {"bytes", facts.bytes},
                   {"tokenizer", tokenizer ? json(tokenizer->description()) : json(nullptr)},
                   {"capabilities", json::array()},
                   {"tensors", std::move(tensors)},
                   {"problem", problem}});
  return document;
}

// The description of a model on disk: the backend's, completed by what headers and the catalog say.
Result<json> fileJson(const std::string& name) {
  DECOSCOPE_ASSIGN(const std::string path, resolveModel(name));
  DECOSCOPE_ASSIGN(const ModelFacts facts, modelFacts(path));
  const auto tokenizer = loadModelTokenizer(path);
  const Tokenizer* described = tokenizer ? tokenizer->get() : nullptr;
  const auto info = describeModel(path);
  if (!info && info.error().code != ErrorCode::unsupported) return tl::unexpected<Error>(info.error());
  json document =
      info ? modelJson(*info, described) : headerJson(path, facts, described, info.error().text());
  document["quantisation"] = orNull(facts.quantisation);
  document["licence"] = orNull(facts.licence);
  for (const CatalogEntry& entry : listModels())
    if (entry.path == path) {
      document["name"] = entry.name;
      document["source"] = entry.source;
    }
  DECOSCOPE_ASSIGN(const std::string digest, fileDigest(path));
  document["sha256"] = digest.substr(7);
  document["precisions"] = storedDistances(digest);
  return document;
}

// Columns count characters, not bytes.
std::string padded(std::string text, std::size_t width) {
  const auto characters = static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
  return characters < width ? text + std::string(width - characters, ' ') : text;
}

void printPrecisions(const json& precisions, const std::string& model) {
  if (precisions.empty()) {
    std::cout << "\nHow far each precision is from f32 is not measured yet: `decoscope-cli models measure "
              << model << "`.\n";
    return;
  }
  const auto number = [](const json& value, const char* format) {
    char text[32];
    std::snprintf(text, sizeof text, format, value.get<double>());
    return std::string(text);
  };
  std::cout << "\nDistance from f32, over " << precisions[0]["tokens"] << " tokens of a fixed text\n"
            << padded("precision", 12) << padded("KL (nats)", 12) << padded("same top token", 17)
            << padded("perplexity", 13) << "against f32\n";
  for (const json& one : precisions)
    std::cout << padded(one["dtype"].get<std::string>(), 12) << padded(number(one["kl_nats"], "%.3g"), 12)
              << padded(number(100 * one["top1_agreement"].get<double>(), "%.2f %%"), 17)
              << padded(number(one["perplexity"], "%.4f"), 13)
              << number(100 * (one["perplexity_ratio"].get<double>() - 1), "%+.3f %%") << '\n';
}

void printModel(const json& model) {
  const auto text = [&](const char* key) {
    const auto found = model.find(key);
    if (found == model.end() || found->is_null()) return std::string("not known");
    return found->is_string() ? found->get<std::string>() : found->dump();
  };
  const auto line = [](const char* name, const std::string& value) {
    std::cout << padded(name, 14) << value << '\n';
  };
  const auto figure = [&](const char* key) {
    const auto found = model.find(key);
    return found != model.end() && found->is_number() ? shortNumber(found->get<double>()) : "?";
  };
  std::cout << text("name") << '\n';
  if (model.contains("problem")) line("problem", text("problem"));
  line("path", text("path"));
  if (model.contains("source")) line("found in", text("source"));
  line("architecture", text("architecture") + ", " + figure("parameters") + " parameters, " + text("layers") +
                           " layers" + (model.contains("width") ? " of width " + text("width") : ""));
  line("weights", text("dtype") + ", " + byteText(model.value("bytes", std::int64_t{0})) + ", " +
                      std::to_string(model["tensors"].size()) + " tensors, " + text("format"));
  if (model.contains("quantisation") && !model["quantisation"].is_null())
    line("quantisation", text("quantisation"));
  line("context", text("context") + " tokens");
  line("tokenizer", text("tokenizer"));
  line("licence", text("licence"));
  line("sha256", text("sha256"));
  std::string can;
  for (const json& capability : model["capabilities"])
    can += (can.empty() ? "" : ", ") + capability.get<std::string>();
  line("can do", can.empty() ? "nothing in this build" : can);
  if (model.contains("precisions")) printPrecisions(model["precisions"], text("name"));
}

Result<int> showCommand(const Context& context, const std::string& name) {
  json document;
  if (name.starts_with("table:")) {
    DECOSCOPE_ASSIGN(const ModelInfo info, describeModel(name));
    const auto tokenizer = loadModelTokenizer(name);
    document = modelJson(info, tokenizer ? tokenizer->get() : nullptr);
    document["sha256"] = nullptr;
  } else {
    DECOSCOPE_ASSIGN(document, fileJson(name));
  }
  if (context.json) {
    printJson(document);
    return 0;
  }
  printModel(document);
  return 0;
}

Result<int> fetchCommand(const Context& context, const std::string& name) {
  const auto present = resolveModel(name);
  std::string path = present ? *present : "";
  if (!present) {
    DECOSCOPE_ASSIGN(path, fetchModel(name, context.stop));
  }
  if (context.json)
    printJson({{"name", name}, {"path", path}, {"fetched", !present}});
  else
    std::cout << name << (present ? " is there: " : " was fetched: ") << path << '\n';
  return 0;
}

struct LogitsOptions {
  ModelOptions model;
  std::vector<TokenId> ids;
  std::string rows = "all", visibility, out;
  bool hiddenStates = false, attentions = false;
};

Result<int> logitsCommand(const Context& context, const LogitsOptions& options) {
  DECOSCOPE_ASSIGN(const auto roles, options.model.byRole());
  if (!roles.contains("target")) return fail(ErrorCode::usage, "no model was named", "--model");
  DECOSCOPE_ASSIGN(const LoadedModel loaded,
                   loadModel(roles.at("target"), options.model.loadOptions(), context.stop));
  const ModelInfo& info = loaded.model->info();
  if (options.ids.empty()) return fail(ErrorCode::badInput, "there are no token ids", "--ids");
  ForwardRequest request;
  request.tokens = options.ids;
  const bool full = options.visibility.empty() ? info.maskToken >= 0 : options.visibility == "full";
  request.visibility = full ? Visibility::full : Visibility::causal;
  const auto count = static_cast<std::int32_t>(options.ids.size());
  for (std::int32_t i = options.rows == "last" ? count - 1 : 0; i < count; ++i)
    request.logitRows.push_back(i);
  if (options.hiddenStates)
    for (int layer = 0; layer <= info.layers; ++layer) request.taps.push_back({TapSite::residual, layer});
  if (options.attentions)
    for (int layer = 0; layer < info.layers; ++layer)
      request.taps.push_back({TapSite::attentionWeights, layer});
  DECOSCOPE_ASSIGN(const ForwardOutput output, loaded.model->forward(request, context.stop));
  SafetensorsWriter writer;
  writer.add("input_ids", {count}, std::vector<std::int64_t>(options.ids.begin(), options.ids.end()));
  std::vector<float> logits;
  for (int row = 0; row < output.logits->rows(); ++row) {
    const auto values = output.logits->row(row);
    logits.insert(logits.end(), values.begin(), values.end());
  }
  writer.add("logits", {output.logits->rows(), output.logits->vocabularySize()}, logits);
  for (const TapValue& tap : output.taps)
    writer.add((tap.tap.site == TapSite::residual ? "hidden_states." : "attentions.") +
                   std::to_string(tap.tap.layer),
               tap.shape, tap.values);
  DECOSCOPE_TRY(writer.write(options.out));
  const json document = {{"out", options.out},
                         {"rows", output.logits->rows()},
                         {"vocabulary", output.logits->vocabularySize()},
                         {"dtype", info.dtype},
                         {"ms", output.milliseconds}};
  if (context.json)
    printJson(document);
  else
    std::cout << options.out << ": " << output.logits->rows() << " rows of "
              << output.logits->vocabularySize() << " logits\n";
  return 0;
}

Result<int> dequantiseCommand(const Context& context, const std::string& file, const std::string& name,
                              const std::string& out) {
  DECOSCOPE_ASSIGN(const auto weights, openWeights(file));
  const WeightTensor* tensor = weights->find(name);
  if (!tensor) return fail(ErrorCode::badInput, "there is no tensor '" + name + "'", file);
  std::vector<float> values(static_cast<std::size_t>(tensor->elements()));
  DECOSCOPE_TRY(dequantise(*tensor, 0, values));
  SafetensorsWriter writer;
  writer.add(name, tensor->shape, values);
  DECOSCOPE_TRY(writer.write(out));
  if (context.json)
    printJson({{"out", out}, {"tensor", name}, {"type", tensor->typeName}, {"shape", tensor->shape}});
  else
    std::cout << out << ": " << name << ", " << tensor->elements() << " values of " << tensor->typeName
              << '\n';
  return 0;
}

json methodJson(const MethodInfo& method) {
  json parameters = json::array();
  for (const ParamSpec& spec : method.schema.specs()) {
    json parameter = {{"name", spec.name},
                      {"title", spec.title},
                      {"type", paramTypeName(spec.type)},
                      {"unit", spec.unit},
                      {"help", spec.help}};
    std::visit([&](const auto& value) { parameter["default"] = value; }, spec.defaultValue);
    if (spec.type == ParamType::integer || spec.type == ParamType::real)
      parameter["range"] = {spec.minimum, spec.maximum};
    if (spec.type == ParamType::choice) parameter["choices"] = spec.choices;
    parameters.push_back(std::move(parameter));
  }
  return {{"name", method.name},         {"title", method.title},     {"family", method.family},
          {"citation", method.citation}, {"summary", method.summary}, {"lossless", method.lossless},
          {"roles", method.roles},       {"needs", method.needs},     {"parameters", parameters}};
}

Result<int> methodsCommand(const Context& context) {
  json methods = json::array();
  for (const MethodInfo* method : MethodRegistry::instance().methods())
    methods.push_back(methodJson(*method));
  if (context.json)
    printJson({{"methods", methods}});
  else
    for (const json& method : methods)
      std::cout << method["name"].get<std::string>() << "  " << method["title"].get<std::string>() << "  ("
                << method["citation"].get<std::string>() << ")\n";
  return 0;
}

Result<int> methodCommand(const Context& context, const std::string& name) {
  DECOSCOPE_ASSIGN(const MethodInfo* method, MethodRegistry::instance().find(name));
  const json document = methodJson(*method);
  if (context.json) {
    printJson(document);
    return 0;
  }
  std::cout << method->title << "\n"
            << method->summary << "\n"
            << method->citation << "\nlossless: " << method->lossless << "\n";
  for (const json& parameter : document["parameters"])
    std::cout << "  " << parameter["name"].get<std::string>() << " = " << parameter["default"].dump() << "  "
              << parameter["help"].get<std::string>() << '\n';
  return 0;
}

}  // namespace

void addModelCommands(CLI::App& app) {
  auto* models = app.add_subcommand("models", "Models on disk");
  models->require_subcommand(1);
  onRun(models->add_subcommand("list", "Models found on disk"), listCommand);
  const auto named = [&](const char* command, const char* help,
                         Result<int> (*work)(const Context&, const std::string&)) {
    auto name = std::make_shared<std::string>();
    auto* sub = models->add_subcommand(command, help);
    sub->add_option("MODEL,--model", *name, "Path or name")->required();
    onRun(sub, [name, work](const Context& context) { return work(context, *name); });
  };
  named("show", "What a model is", showCommand);
  named("fetch", "Fetch a known model into the cache", fetchCommand);
  addVerifyCommand(*models);
  addMeasureCommand(*models);

  auto options = std::make_shared<LogitsOptions>();
  auto* logits = app.add_subcommand("logits", "Logits of a token sequence, as safetensors");
  options->model.add(logits, true);
  addTokenIds(
      logits, "--ids", [options](std::vector<TokenId> ids) { options->ids = std::move(ids); },
      "Token ids with commas")
      ->required();
  logits->add_option("--rows", options->rows, "all or last")->check(CLI::IsMember({"all", "last"}));
  logits->add_option("--visibility", options->visibility, "causal or full")
      ->check(CLI::IsMember({"causal", "full"}));
  logits->add_flag("--hidden-states", options->hiddenStates, "Also hidden_states.0 … hidden_states.L");
  logits->add_flag("--attentions", options->attentions, "Also attentions.0 …");
  logits->add_option("--out", options->out, "File to write")->required();
  onRun(logits, [options](const Context& context) { return logitsCommand(context, *options); });

  auto file = std::make_shared<std::string>(), tensor = std::make_shared<std::string>(),
       out = std::make_shared<std::string>();
  auto* dequantise = app.add_subcommand("dequantise", "One tensor as f32");
  dequantise->add_option("FILE", *file, "GGUF or safetensors")->required();
  dequantise->add_option("--tensor", *tensor, "Its name")->required();
  dequantise->add_option("--out", *out, "File to write")->required();
  onRun(dequantise, [=](const Context& context) { return dequantiseCommand(context, *file, *tensor, *out); });

  auto* methods = app.add_subcommand("methods", "Decoding methods");
  methods->require_subcommand(1);
  onRun(methods->add_subcommand("list", "All methods"), methodsCommand);
  auto method = std::make_shared<std::string>();
  auto* show = methods->add_subcommand("show", "One method with its parameters");
  show->add_option("METHOD", *method, "Its name")->required();
  onRun(show, [method](const Context& context) { return methodCommand(context, *method); });
}

}  // namespace decoscope::cli
