#include "core/interop/Export.h"

#include <charconv>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "core/interop/EventJson.h"

namespace decoscope {

namespace {

std::vector<RunInfo> chosenRuns(const TraceSource& source, std::optional<RunId> run) {
  std::vector<RunInfo> runs;
  for (const RunInfo& info : source.runs())
    if (!run || info.id == *run) runs.push_back(info);
  return runs;
}

std::string dump(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string realText(double value) {
  if (!std::isfinite(value)) return {};
  char buffer[32];
  return {buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr};
}

std::string hexText(const std::string& bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : bytes) hex += kDigits[byte >> 4], hex += kDigits[byte & 15];
  return hex;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

Status finished(std::ostream& out) {
  if (!out)
    return fail(ErrorCode::failed, "the export could not be written completely", {},
                "Check the disk's free space.");
  return {};
}

}  // namespace

Status exportJsonl(const TraceSource& source, std::optional<RunId> run, std::ostream& out) {
  for (const RunInfo& info : chosenRuns(source, run)) {
    const auto [first, end] = source.extent(info.id);
    nlohmann::json header = runJson(info, end - first);
    header["type"] = "run";
    out << dump(header) << '\n';
    const auto names = source.tokens(info.id);
    for (StepIndex index = first; index < end; ++index) {
      DECOSCOPE_ASSIGN(const StepPointer step, source.step(info.id, index));
      nlohmann::json line = stepJson(*step);
      line["type"] = "step";
      out << dump(line) << '\n';
      for (const Event& event : step->events) {
        nlohmann::json fact = eventJson(event, names.get());
        fact["type"] = "event";
        fact["run"] = info.id.value;
        fact["step"] = index;
        out << dump(fact) << '\n';
      }
    }
  }
  return finished(out);
}

Status exportCsv(const TraceSource& source, std::optional<RunId> run, std::ostream& out) {
  bool tokens = false, measures = false;
  out << "run,step,position,token_id,token_bytes_hex,text,provenance,node,p,q,u,threshold,rule\r\n";
  for (const RunInfo& info : chosenRuns(source, run)) {
    const auto [first, end] = source.extent(info.id);
    const auto names = source.tokens(info.id);
    for (StepIndex index = first; index < end; ++index) {
      DECOSCOPE_ASSIGN(const StepPointer step, source.step(info.id, index));
      std::map<NodeId, const VerdictFact*> verdicts;
      for (const Event& event : step->events)
        if (const auto* verdict = std::get_if<VerdictFact>(&event)) verdicts[verdict->node] = verdict;
      for (const Event& event : step->events) {
        measures |= std::holds_alternative<MeasureFact>(event);
        const auto* commit = std::get_if<CommitFact>(&event);
        if (!commit) continue;
        tokens = true;
        const std::string bytes = names ? names->bytesOf(commit->token) : std::string();
        out << info.id.value << ',' << index << ',' << commit->position << ',' << commit->token << ','
            << hexText(bytes) << ',' << quoted(visibleToken(bytes)) << ',' << name(commit->provenance) << ','
            << commit->node;
        const auto found = verdicts.find(commit->node);
        if (found == verdicts.end())
          out << ",,,,,";
        else {
          const VerdictFact& v = *found->second;
          out << ',' << realText(v.p) << ',' << realText(v.q) << ',' << realText(v.u) << ','
              << realText(v.threshold) << ',' << name(v.rule);
        }
        out << "\r\n";
      }
    }
  }
  if (measures && !tokens)
    return fail(ErrorCode::usage, "these runs wrote no tokens, they were measured", "csv",
                "Export the measures instead: --format measures, or Export → Measures as CSV.");
  return finished(out);
}

Status exportMeasuresCsv(const TraceSource& source, std::optional<RunId> run, std::ostream& out) {
  out << "run,step,at,name,value,unit\r\n";
  for (const RunInfo& info : chosenRuns(source, run)) {
    const auto [first, end] = source.extent(info.id);
    for (StepIndex index = first; index < end; ++index) {
      DECOSCOPE_ASSIGN(const StepPointer step, source.step(info.id, index));
      for (const Event& event : step->events)
        if (const auto* measure = std::get_if<MeasureFact>(&event))
          out << info.id.value << ',' << index << ',' << (measure->at < 0 ? index : measure->at) << ','
              << quoted(measure->name) << ',' << realText(measure->value) << ',' << quoted(measure->unit)
              << "\r\n";
    }
  }
  return finished(out);
}

}  // namespace decoscope
