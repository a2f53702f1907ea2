#include <algorithm>
#include <fstream>
#include <iostream>
#include <map>

#include "app/cli/RunJson.h"
#include "core/interop/EventJson.h"
#include "core/interop/Export.h"
#include "core/session/Audit.h"

namespace decoscope::cli {

namespace {

struct SessionOptions {
  std::string session;
  std::optional<std::int64_t> run, step, baseline;
  std::string format, out, sql;
  ModelOptions model;

  void add(CLI::App* command) {
    command->add_option("SESSION", session, "The session file")->required();
    command->add_option("--run", run, "One run");
  }
};

Result<std::shared_ptr<SessionStore>> openForReading(const SessionOptions& options) {
  DECOSCOPE_ASSIGN(auto store, SessionStore::open(options.session, OpenMode::readOnly));
  if (options.run && !store->run(RunId{*options.run}))
    return fail(ErrorCode::badInput, "there is no run " + std::to_string(*options.run), "--run",
                "`inspect` lists the runs.");
  return store;
}

std::vector<RunInfo> chosenRuns(const SessionStore& store, const SessionOptions& options) {
  std::vector<RunInfo> runs = store.runs();
  if (options.run) std::erase_if(runs, [&](const RunInfo& info) { return info.id.value != *options.run; });
  return runs;
}

Result<int> verifyCommand(const Context& context, const SessionOptions& options) {
  DECOSCOPE_ASSIGN(const auto store, openForReading(options));
  json runs = json::array();
  bool clean = true;
  std::optional<Engine> engine;
  if (!options.model.models.empty()) {
    DECOSCOPE_ASSIGN(const auto roles, options.model.byRole());
    engine.emplace(Recording{store, nullptr, store});
    std::map<std::string, Engine::Choice> choices;
    for (const auto& [role, name] : roles) choices[role] = {name, options.model.loadOptions()};
    DECOSCOPE_TRY(engine->loadModels(choices, context.stop));
  }
  for (const RunInfo& info : chosenRuns(*store, options)) {
    DECOSCOPE_ASSIGN(AuditReport report, auditRun(*store, info.id));
    if (engine) DECOSCOPE_TRY(auditAgainstModel(*engine, info.id, context.stop, report));
    json failed = json::array();
    for (const AuditFailure& failure : report.failed)
      failed.push_back({{"step", failure.step}, {"node", failure.node}, {"what", failure.what}});
    clean &= report.failed.empty();
    if (!context.json) {
      std::cout << "run " << info.id.value << ": " << report.checked << " checked, " << report.failed.size()
                << " failed\n";
      for (const AuditFailure& failure : report.failed)
        std::cout << "  step " << failure.step << ": " << failure.what << '\n';
    }
    runs.push_back({{"run", info.id.value}, {"checked", report.checked}, {"failed", failed}});
  }
  if (context.json) printJson({{"runs", runs}});
  return clean ? 0 : 1;
}

Result<int> inspectCommand(const Context& context, const SessionOptions& options) {
  DECOSCOPE_ASSIGN(const auto store, openForReading(options));
  if (options.step) {
    const RunId run{options.run.value_or(store->runs().empty() ? 0 : store->runs().front().id.value)};
    auto step = store->step(run, *options.step);
    if (!step)
      return fail(ErrorCode::badInput, step.error().message, step.error().where,
                  "`inspect` shows how many steps a run has.");
    json document = stepJson(**step), events = json::array();
    const auto names = store->tokens(run);
    for (const Event& event : (*step)->events) events.push_back(eventJson(event, names.get()));
    document["events"] = events;
    if (context.json)
      printJson(document);
    else
      for (const json& event : events)
        std::cout << event.dump(-1, ' ', false, json::error_handler_t::replace) << '\n';
    return 0;
  }
  json runs = json::array();
  for (const RunInfo& info : chosenRuns(*store, options)) {
    const auto [first, end] = store->extent(info.id);
    runs.push_back(runJson(info, end - first));
  }
  if (context.json)
    printJson({{"runs", runs}});
  else
    for (const json& run : runs)
      std::cout << "run " << run["run"] << "  " << run["name"].get<std::string>() << "  "
                << run["method"].get<std::string>() << "  " << run["steps"] << " steps  "
                << run["state"].get<std::string>() << " " << run["stop_reason"].get<std::string>() << '\n';
  return 0;
}

Result<int> queryCommand(const Context& context, const SessionOptions& options) {
  DECOSCOPE_ASSIGN(const auto store, openForReading(options));
  DECOSCOPE_ASSIGN(const std::string rows, store->query(options.sql));
  if (context.json)
    std::cout << rows << '\n';
  else
    for (const json& row : json::parse(rows)) std::cout << row.dump() << '\n';
  return 0;
}

Result<int> exportCommand(const Context& context, const SessionOptions& options) {
  DECOSCOPE_ASSIGN(const auto store, openForReading(options));
  using Exporter = Status (*)(const TraceSource&, std::optional<RunId>, std::ostream&);
  static const std::map<std::string, Exporter> kFormats = {
      {"jsonl", exportJsonl}, {"csv", exportCsv}, {"measures", exportMeasuresCsv}};
  const auto format = kFormats.find(options.format);
  if (format == kFormats.end())
    return fail(ErrorCode::usage, "unknown format '" + options.format + "'", "--format",
                "Known formats: jsonl, csv (tokens), measures (named numbers over steps, as CSV).");
  std::ofstream file(options.out, std::ios::binary | std::ios::trunc);
  if (!file)
    return fail(ErrorCode::failed, "the file cannot be written", options.out,
                "Check the path and its permissions.");
  const std::optional<RunId> run = options.run ? std::optional(RunId{*options.run}) : std::nullopt;
  DECOSCOPE_TRY(format->second(*store, run, file));
  file.close();
  if (!file)
    return fail(ErrorCode::failed, "the file could not be written completely", options.out,
                "Check the disk's free space.");
  if (context.json)
    printJson(
        {{"out", options.out}, {"format", options.format}, {"runs", chosenRuns(*store, options).size()}});
  else
    std::cout << options.out << '\n';
  return 0;
}

Result<int> metricsCommand(const Context& context, const SessionOptions& options) {
  DECOSCOPE_ASSIGN(const auto store, openForReading(options));
  std::optional<RunStats> baseline;
  if (options.baseline) {
    DECOSCOPE_ASSIGN(baseline, statsOf(*store, RunId{*options.baseline}, true));
  }
  json runs = json::array();
  for (const RunInfo& info : chosenRuns(*store, options)) {
    DECOSCOPE_ASSIGN(const RunStats stats, statsOf(*store, info.id, true));
    std::vector<Metric> metrics = metricsOf(stats);
    if (baseline)
      if (auto metric = speedUp(stats, *baseline, RunId{*options.baseline}))
        metrics.push_back(std::move(*metric));
    json list = json::array();
    for (const Metric& metric : metrics) {
      list.push_back({{"name", metric.name},
                      {"value", std::isfinite(metric.value) ? json(metric.value) : json(nullptr)},
                      {"unit", metric.unit},
                      {"formula", metric.formula},
                      {"definition", metric.definition},
                      {"inputs", metric.inputs}});
      if (!context.json)
        std::cout << metric.name << " = " << metric.value << ' ' << metric.unit << "   [" << metric.formula
                  << "]\n";
    }
    runs.push_back({{"run", info.id.value}, {"metrics", list}});
  }
  if (context.json) printJson({{"runs", runs}});
  return 0;
}

}  // namespace

void addSessionCommands(CLI::App& app) {
  const auto command = [&](const char* name, const char* help,
                           Result<int> (*work)(const Context&, const SessionOptions&)) {
    auto options = std::make_shared<SessionOptions>();
    auto* sub = app.add_subcommand(name, help);
    options->add(sub);
    onRun(sub, [options, work](const Context& context) { return work(context, *options); });
    return std::pair(sub, options);
  };
  auto [verify, verifyOptions] = command(
      "verify", "Re-derive every draw, verdict and commit from the record, and with --model from the model",
      verifyCommand);
  verifyOptions->model.add(verify, false);
  auto [inspect, inspectOptions] = command("inspect", "Runs, or one step with its events", inspectCommand);
  inspect->add_option("--step", inspectOptions->step, "One step");
  auto [query, queryOptions] = command("query", "A SELECT over the session", queryCommand);
  query->add_option("SQL", queryOptions->sql, "The statement")->required();
  auto [exporting, exportOptions] = command("export", "The trace for other programs", exportCommand);
  exporting->add_option("--format", exportOptions->format, "jsonl, csv or measures")->required();
  exporting->add_option("--out", exportOptions->out, "File to write")->required();
  auto [metrics, metricsOptions] = command("metrics", "Every figure with its formula", metricsCommand);
  metrics->add_option("--baseline", metricsOptions->baseline, "Run to compare with");
}

}  // namespace decoscope::cli
