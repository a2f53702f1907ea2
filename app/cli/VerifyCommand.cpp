// `models verify`: that a model's files can be read, and that the figures on its card hold.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "app/cli/Command.h"
#include "app/cli/FigureMeasurement.h"
#include "core/model/Catalog.h"
#include "core/model/weights/WeightFile.h"

namespace decoscope::cli {

namespace fs = std::filesystem;

namespace {

struct VerifyOptions {
  std::string model, corpus, device = "auto", dtype = "auto";
  int threads = 0;
  bool writeCard = false, updateFigures = false;
};

// The folder whose figures are to be measured; "" where the model states none.
std::string folderOfFigures(const std::string& name) {
  const auto path = resolveModel(name);
  std::error_code error;
  return path && fs::is_directory(*path, error) && fs::exists(fs::path(*path) / "figures.json", error) ? *path
                                                                                                       : "";
}

// The model that a draft head borrows from: the target of the first run that a figure of its card has.
Result<LoadedModel> baseOf(const std::string& folder, const LoadOptions& load, const StopToken& stop) {
  DECOSCOPE_ASSIGN(const std::vector<ModelFigure> figures, readFigures(folder));
  for (const ModelFigure& figure : figures)
    if (const auto target = figure.run.models.find("target"); target != figure.run.models.end()) {
      DECOSCOPE_ASSIGN(const std::string path, modelBeside(folder, target->second));
      return loadModel(path, load, stop);
    }
  return LoadedModel();
}

Result<json> tensorsVerified(const Context& context, const std::string& name, const std::string& folder,
                             LoadOptions load) {
  DECOSCOPE_ASSIGN(const ModelInfo info, describeModel(name));
  LoadedModel base;
  if (!folder.empty() && capabilitiesOf(info).followsFeatures) {
    DECOSCOPE_ASSIGN(base, baseOf(folder, load, context.stop));
    load.base = base.model.get();
  }
  // Opening checks the header; loading checks every tensor's shape and decodes it.
  if (info.format != "table") {
    // Not what was remembered of the files: what stands in them now.
    DECOSCOPE_TRY(fileDigest(info.path, DigestSource::fresh));
  }
  DECOSCOPE_ASSIGN(const LoadedModel loaded, loadModel(name, load, context.stop));
  const std::string& fingerprint = loaded.model->info().fingerprint;
  return json{{"name", info.name},
              {"path", info.path},
              {"architecture", info.architecture},
              {"parameters", info.parameters},
              {"sha256", fingerprint.starts_with("sha256:") ? json(fingerprint.substr(7)) : json(nullptr)},
              {"tensors", info.tensors.size()},
              {"fingerprint", fingerprint},
              {"ok", true}};
}

struct Row {
  ModelFigure figure;
  FigureMeasurement measurement;
  FigureVerdict verdict = FigureVerdict::agrees;
};

json numberOrText(std::optional<double> value, const std::string& text) {
  if (value) return *value;
  return text.empty() ? json(nullptr) : json(text);
}

json rowJson(const Row& row) {
  json inputs = json::object();
  for (const auto& [name, value] : row.measurement.inputs) inputs[name] = value;
  json document = {{"name", row.figure.name},
                   {"kind", name(row.figure.kind)},
                   {"unit", row.figure.unit},
                   {"stated", numberOrText(row.figure.value, row.figure.text)},
                   {"measured", numberOrText(row.measurement.value, row.measurement.text)},
                   {"tolerance", row.figure.tolerance ? json(*row.figure.tolerance) : json(nullptr)},
                   {"verdict", name(row.verdict)},
                   {"inputs", std::move(inputs)}};
  if (!row.measurement.notMeasured.empty()) document["not_measured"] = row.measurement.notMeasured;
  return document;
}

std::string shortText(std::optional<double> value, const std::string& text) {
  if (!value) return text.empty() ? "–" : text.size() > 16 ? text.substr(0, 12) + "…" : text;
  char number[32];
  std::snprintf(number, sizeof number, "%.10g", *value);
  std::string rounded = number;
  if (rounded.find('.') != std::string::npos) std::snprintf(number, sizeof number, "%.5g", *value);
  return number;
}

// Columns count characters, not bytes.
std::string padded(const std::string& text, std::size_t width) {
  std::size_t characters = 0;
  for (const char c : text) characters += (c & 0xC0) != 0x80 ? 1 : 0;
  return characters < width ? text + std::string(width - characters, ' ') : text + ' ';
}

void printRows(const std::vector<Row>& rows) {
  std::size_t widest = 8;
  for (const Row& row : rows) widest = std::max(widest, row.figure.name.size() + 2);
  std::cout << '\n'
            << padded("figure", widest) << padded("stated", 18) << padded("measured", 18)
            << padded("tolerance", 11) << "verdict\n";
  for (const Row& row : rows) {
    std::cout << padded(row.figure.name, widest) << padded(shortText(row.figure.value, row.figure.text), 18)
              << padded(shortText(row.measurement.value, row.measurement.text), 18)
              << padded(shortText(row.figure.tolerance, ""), 11) << name(row.verdict);
    if (!row.measurement.notMeasured.empty()) std::cout << " (" << row.measurement.notMeasured << ")";
    std::cout << '\n';
  }
}

// Whether the card shows these figures, or why not; nothing where there is no card.
Result<std::optional<std::string>> checkCard(const std::string& folder, std::span<const ModelFigure> figures,
                                             bool write) {
  const std::string path = (fs::path(folder) / "README.md").string();
  std::error_code error;
  if (!fs::exists(path, error)) return std::optional<std::string>("there is no README.md");
  DECOSCOPE_ASSIGN(const std::string card, readFile(path));
  const Result<std::string> made = withFigures(card, figures, path);
  if (!made && write) return tl::unexpected<Error>(made.error());
  if (!made) return std::optional(made.error().text());
  if (*made == card) return std::optional<std::string>();
  if (!write) return std::optional<std::string>("its table is not that of figures.json: --write-card");
  std::ofstream file(path, std::ios::binary);
  file << *made;
  file.close();
  if (!file) return fail(ErrorCode::failed, "the card cannot be written", path);
  return std::optional<std::string>();
}

Result<int> verifyCommand(const Context& context, const VerifyOptions& options) {
  const std::string& model = options.model;
  LoadOptions load;
  load.dtype = options.dtype;
  load.device = options.device;
  load.threads = options.threads;
  const std::string folder = folderOfFigures(model);
  DECOSCOPE_ASSIGN(json document, tensorsVerified(context, model, folder, load));
  if (folder.empty() && (options.writeCard || options.updateFigures))
    return fail(ErrorCode::badInput, "the model states no figures", document["path"].get<std::string>(),
                "They stand in figures.json in the model's folder.");
  std::vector<Row> rows;
  std::optional<std::string> cardProblem;
  if (!folder.empty()) {
    DECOSCOPE_ASSIGN(std::vector<ModelFigure> figures, readFigures(folder));
    const ProgressFunction progress = [](double fraction, const std::string& phase) {
      if (onTerminal()) drawProgress(fraction, phase);
    };
    FigureMeasurer measurer(folder, options.corpus, load, context.stop, progress);
    for (ModelFigure& figure : figures) {
      Row row{figure, {}, FigureVerdict::agrees};
      DECOSCOPE_ASSIGN(row.measurement, measurer.measure(figure));
      if (options.updateFigures) state(figure, row.measurement);
      row.figure = figure;
      row.verdict = judge(figure, row.measurement);
      rows.push_back(std::move(row));
    }
    if (onTerminal()) clearProgress();
    if (options.updateFigures) DECOSCOPE_TRY(writeFigures(folder, figures));
    DECOSCOPE_ASSIGN(cardProblem, checkCard(folder, figures, options.writeCard || options.updateFigures));
    bool ok = !cardProblem;
    json list = json::array();
    for (const Row& row : rows) {
      ok = ok && row.verdict != FigureVerdict::differs && row.verdict != FigureVerdict::notStated;
      list.push_back(rowJson(row));
    }
    document["figures"] = std::move(list);
    document["card"] = cardProblem ? json(*cardProblem) : json("agrees");
    document["ok"] = ok;
  }
  if (context.json) {
    printJson(document);
  } else {
    std::cout << document["name"].get<std::string>() << ": " << document["tensors"] << " tensors read, "
              << document["fingerprint"].get<std::string>() << '\n';
    if (!folder.empty()) {
      printRows(rows);
      std::cout << "card: " << cardProblem.value_or("agrees") << '\n';
    }
  }
  return document["ok"].get<bool>() ? 0 : 1;
}

}  // namespace

void addVerifyCommand(CLI::App& models) {
  auto options = std::make_shared<VerifyOptions>();
  auto* verify = models.add_subcommand(
      "verify", "Read every tensor of a model, and measure the figures that its card states again");
  verify->add_option("MODEL,--model", options->model, "Path or name")->required();
  verify->add_option("--corpus", options->corpus, "The training corpus, for figures that need it");
  verify->add_option("--dtype", options->dtype, "auto, f32, bf16, f16, q8, q4");
  addDevice(verify, options->device);
  verify->add_option("--threads", options->threads, "0: all cores");
  verify->add_flag("--write-card", options->writeCard,
                   "Make the card's table of figures again from figures.json");
  verify->add_flag("--update-figures", options->updateFigures,
                   "State what is measured in figures.json, and write the card");
  onRun(verify, [options](const Context& context) { return verifyCommand(context, *options); });
}

}  // namespace decoscope::cli
