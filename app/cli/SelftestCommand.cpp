// `selftest`: each part's check, on a table model and on the bundled models, with no network.
#include <algorithm>
#include <iostream>

#include "app/cli/Command.h"
#include "core/model/Bundled.h"
#include "core/model/Catalog.h"
#include "core/model/scripted/TableModel.h"
#include "core/session/Audit.h"
#include "core/session/Engine.h"

namespace decoscope::cli {

namespace {

struct Check {
  std::string name;
  bool ok = false;
  std::int64_t checked = 0;  // facts of the run that were derived again
  std::string why;           // of a failure, or of a check that was left out
  bool skipped = false;
};

// Runs to the end and audits what was recorded.
Result<std::vector<TokenId>> runAudited(Engine& engine, const RunRequest& request, const StopToken& stop,
                                        Check& check) {
  DECOSCOPE_TRY(engine.startRun(request));
  while (!engine.ended()) DECOSCOPE_TRY(engine.step(stop));
  DECOSCOPE_ASSIGN(const AuditReport audit, auditRun(*engine.recording().source, engine.current().id));
  check.checked = audit.checked;
  check.ok = audit.failed.empty() && audit.checked > 0;
  if (!audit.failed.empty()) check.why = "the audit found a fact that does not follow";
  return std::vector<TokenId>(engine.text().begin() + static_cast<std::ptrdiff_t>(engine.promptLength()),
                              engine.text().end());
}

// A table model and every causal method on it: greedy identity, and a clean audit.
Status checkMethods(const Context& context, std::vector<Check>& checks) {
  const char* table =
      R"({"vocab":["a","b","c","d"],"eos":3,"order":1,"default":[0.4,0.3,0.2,0.1],"rows":{"0":[0.1,0.6,0.2,0.1],"1":[0.5,0.1,0.3,0.1],"2":[0.2,0.3,0.4,0.1]}})";
  std::vector<TokenId> plain;
  for (const MethodInfo* method : MethodRegistry::instance().methods()) {
    // More than table models can do, or be.
    if (!missingNeed(method->needs, Capabilities()).empty() ||
        std::find(method->roles.begin(), method->roles.end(), "head") != method->roles.end())
      continue;
    Engine engine(recordInMemory());
    for (const char* role : {"target", "drafter"}) {
      DECOSCOPE_ASSIGN(Table parsed, parseTable(table, "selftest"));
      TableModelParts parts = makeTableModel(std::move(parsed), "table:selftest", "selftest");
      engine.adoptModel(role, "selftest", {std::move(parts.model), std::move(parts.tokenizer)});
    }
    RunRequest request;
    request.method = method->name;
    request.promptText = "abcab";
    request.maxNewTokens = 24;
    Check check;
    check.name = "greedy identity and audit of " + method->name;
    DECOSCOPE_ASSIGN(const std::vector<TokenId> ids, runAudited(engine, request, context.stop, check));
    if (method->name == "sampling") plain = ids;
    if (ids != plain) {
      check.ok = false;
      check.why = "another text than plain decoding";
    }
    checks.push_back(std::move(check));
  }
  return {};
}

// The way a bundled model is meant to be used: alone, or in its role beside the target it was made for.
struct Use {
  std::string method, target, role;
};

Result<Use> useOf(const BundledModel& model) {
  if (!model.role.empty() && model.role != "target") {
    const std::string target = model.targets.empty() ? std::string() : model.targets.front();
    const std::string method = model.role == "head" ? "eagle" : "chain";
    return Use{model.methods.empty() ? method : model.methods.front(), target, model.role};
  }
  DECOSCOPE_ASSIGN(const ModelInfo info, describeModel(model.path));
  return Use{capabilitiesOf(info).maskedDiffusion ? "llada" : "sampling", model.path, {}};
}

Status checkBundled(const Context& context, const BundledModel& model, Check& check) {
  DECOSCOPE_ASSIGN(const Use use, useOf(model));
  check.name = "bundled model " + model.name + " by " + use.method;
  if (use.target.empty() || !resolveModel(use.target)) {
    check.skipped = true;
    check.why = "its target " + use.target + " is not on this machine";
    return {};
  }
  LoadOptions load;
  load.dtype = "f32";
  Engine engine(recordInMemory());
  DECOSCOPE_TRY(engine.loadModel("target", use.target, load, context.stop));
  RunRequest request;
  request.chatJson = R"([{"role":"user","content":"Tell me a short story about a fox."}])";
  request.maxNewTokens = 32;
  request.stopAtEnd = use.method != "llada";
  request.method = "sampling";
  std::vector<TokenId> plain;
  if (!use.role.empty()) {
    Check ignored;
    DECOSCOPE_ASSIGN(plain, runAudited(engine, request, context.stop, ignored));
    DECOSCOPE_TRY(engine.loadModel(use.role, model.path, load, context.stop));
  }
  request.method = use.method;
  DECOSCOPE_ASSIGN(const std::vector<TokenId> ids, runAudited(engine, request, context.stop, check));
  if (ids.empty()) {
    check.ok = false;
    check.why = "it wrote nothing";
  } else if (!use.role.empty() && ids != plain) {
    check.ok = false;
    check.why = "another text than plain decoding of its target";
  }
  return {};
}

Result<int> selftestCommand(const Context& context) {
  std::vector<Check> checks;
  DECOSCOPE_TRY(checkMethods(context, checks));
  DECOSCOPE_ASSIGN(const std::vector<BundledModel> bundled, bundledModels());
  for (const BundledModel& model : bundled) {
    Check check;
    check.name = "bundled model " + model.name;
    if (const Status status = checkBundled(context, model, check); !status) {
      if (status.error().code == ErrorCode::cancelled) return tl::unexpected(status.error());
      check.ok = false;
      check.skipped = status.error().code == ErrorCode::unsupported;  // by this build
      check.why = status.error().text();
    }
    checks.push_back(std::move(check));
  }
  json list = json::array();
  bool clean = true;
  for (const Check& check : checks) {
    clean &= check.ok || check.skipped;
    json entry = {{"name", check.name}, {"ok", check.ok || check.skipped}, {"checked", check.checked}};
    if (check.skipped) entry["skipped"] = check.why;
    if (!check.skipped && !check.why.empty()) entry["why"] = check.why;
    list.push_back(std::move(entry));
    if (context.json) continue;
    std::cout << (check.skipped ? "skip  "
                  : check.ok    ? "ok    "
                                : "FAIL  ")
              << check.name << (check.why.empty() ? "" : ": " + check.why) << '\n';
  }
  if (context.json) printJson({{"checks", list}, {"ok", clean}});
  return clean ? 0 : 1;
}

}  // namespace

void addSelftestCommand(CLI::App& app) {
  onRun(app.add_subcommand("selftest", "Check each part and the bundled models, without a network"),
        selftestCommand);
}

}  // namespace decoscope::cli
