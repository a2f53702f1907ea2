#include "app/cli/MethodsSuite.h"

#include <algorithm>
#include <cstdio>
#include <set>

#include "app/cli/Figures.h"
#include "core/metrics/Metrics.h"

namespace decoscope::cli {

namespace {

constexpr const char* kPlain = "sampling";

// One run, as far as it is compared.
struct Measured {
  double rate = 0, efficiency = 0;
  std::vector<TokenId> ids;
};

Result<Measured> measure(Engine& engine, const MethodsSuite& suite, const std::string& method,
                         const std::string& prompt, const Context& context) {
  DECOSCOPE_ASSIGN(const MethodInfo* info, MethodRegistry::instance().find(method));
  RunRequest request;
  request.method = method;
  request.assignments = suite.assignmentsOf(*info);
  if (engine.tokenizer()->chatTemplate().empty())
    request.promptText = prompt;
  else
    request.chatJson = json::array({{{"role", "user"}, {"content", prompt}}}).dump();
  request.maxNewTokens = suite.tokens;
  request.recordLevel = "none";
  DECOSCOPE_TRY(engine.startRun(request));
  while (!engine.ended()) DECOSCOPE_TRY(engine.step(context.stop));
  DECOSCOPE_ASSIGN(const RunStats stats, statsOf(*engine.recording().source, engine.current().id, true));
  if (!(stats.tokensPerSecond > 0))
    return fail(ErrorCode::failed, "the answer holds nothing that can be timed", "prompt \"" + prompt + "\"");
  return Measured{
      stats.tokensPerSecond,
      stats.blockEfficiency,
      {engine.text().begin() + static_cast<std::ptrdiff_t>(engine.promptLength()), engine.text().end()}};
}

// The runs of one prompt.
struct Lines {
  std::vector<Measured> plain;  // one more than repetitions
  std::map<std::string, std::vector<Measured>> methods;
};

std::vector<double> ratesOf(const std::vector<Measured>& runs) {
  std::vector<double> rates;
  for (const Measured& run : runs) rates.push_back(run.rate);
  return rates;
}

std::vector<double> noiseOf(const Lines& lines) {
  std::vector<double> noise;
  for (std::size_t i = 1; i < lines.plain.size(); ++i)
    noise.push_back(lines.plain[i].rate / lines.plain[i - 1].rate);
  return noise;
}

json promptDocument(const std::string& prompt, const Lines& lines) {
  json methods = json::object();
  for (const auto& [name, runs] : lines.methods) {
    std::vector<double> ratios, efficiencies;
    bool same = true;
    for (std::size_t i = 0; i < runs.size(); ++i) {
      ratios.push_back(2 * runs[i].rate / (lines.plain[i].rate + lines.plain[i + 1].rate));
      efficiencies.push_back(runs[i].efficiency);
      same &= runs[i].ids == lines.plain[i].ids;
    }
    methods[name] = {{"ratio", spread(ratios)},
                     {"tokens_per_second", spread(ratesOf(runs))},
                     {"block_efficiency", spread(efficiencies)},
                     {"same_ids", same}};
  }
  return {{"prompt", prompt},
          {"new_tokens", lines.plain.front().ids.size()},
          {"plain", {{"tokens_per_second", spread(ratesOf(lines.plain))}, {"noise", spread(noiseOf(lines))}}},
          {"methods", methods}};
}

json meanOf(const json& prompts, const std::vector<double>& noise, const std::vector<std::string>& methods) {
  const auto means = [&](const auto& figure) {
    std::vector<double> values;
    for (const json& prompt : prompts) values.push_back(figure(prompt)["median"].template get<double>());
    return mean(values);
  };
  json document = {{"noise", spread(noise)}, {"methods", json::object()}};
  for (const std::string& name : methods) {
    const auto of = [&](const char* figure) {
      return means([&](const json& prompt) { return prompt["methods"][name][figure]; });
    };
    document["methods"][name] = {
        {"ratio", of("ratio")},
        {"block_efficiency", of("block_efficiency")},
        {"same_ids", std::all_of(prompts.begin(), prompts.end(), [&](const json& prompt) {
           return prompt["methods"][name]["same_ids"].template get<bool>();
         })}};
  }
  return document;
}

std::string nameOf(const std::string& assignment) {
  return assignment.substr(0, assignment.find('='));
}

// The first `columns` characters of a text on one line.
std::string beginning(const std::string& text, std::size_t columns) {
  std::string line;
  std::size_t characters = 0;
  for (const char byte : text) {
    const bool begins = (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
    if (begins && characters++ == columns) return line + "…";
    line += static_cast<unsigned char>(byte) < ' ' ? ' ' : byte;
  }
  return line + std::string(columns + 1 - characters, ' ');
}

constexpr std::size_t kPromptColumns = 40;

}  // namespace

Result<std::vector<PromptSet>> readPromptSets(const std::string& path) {
  DECOSCOPE_ASSIGN(const std::string content, readFile(path));
  const json document = json::parse(content, nullptr, false);
  std::vector<PromptSet> sets;
  const auto add = [&](const std::string& name, const json& list) -> Status {
    PromptSet set{name, {}};
    for (const json& prompt : list) {
      if (!prompt.is_string() || prompt.get_ref<const std::string&>().empty())
        return fail(ErrorCode::badInput, "a prompt is not a text, or empty",
                    path + (name.empty() ? "" : ", field " + name));
      set.prompts.push_back(prompt.get<std::string>());
    }
    if (set.prompts.empty())
      return fail(ErrorCode::badInput, "a list of prompts is empty",
                  path + (name.empty() ? "" : ", field " + name));
    sets.push_back(std::move(set));
    return {};
  };
  if (document.is_array()) {
    DECOSCOPE_TRY(add("", document));
  } else if (document.is_object()) {
    for (const auto& [name, value] : document.items()) {
      if (value.is_string()) continue;
      if (!value.is_array())
        return fail(ErrorCode::badInput, "a set of prompts must be a list", path + ", field " + name);
      DECOSCOPE_TRY(add(name, value));
    }
  }
  if (sets.empty())
    return fail(ErrorCode::badInput, "there are no prompts in the file", path,
                "It holds a JSON list of texts, or an object of such lists.");
  return sets;
}

std::vector<PromptSet> builtInPrompts() {
  return {
      {"chat",
       {"Explain in two sentences why the sky is blue.", "How do I boil an egg?",
        "Write a short story about a lighthouse keeper and a storm."}},
      {"copying",
       {"Repeat this list, then repeat it backwards: oak, elm, ash, beech, birch, willow, maple, pine.",
        "Correct the spelling and give back the whole text: Teh old fisherman rowed accross the quiet bay "
        "befor sunrise, becuase the herring come to the surfase only in the first hour of light."}}};
}

std::vector<std::string> MethodsSuite::assignmentsOf(const MethodInfo& method) const {
  std::vector<std::string> assignments = {"adaptive=true"};
  assignments.insert(assignments.end(), set.begin(), set.end());
  std::erase_if(assignments, [&](const std::string& assignment) {
    return method.schema.find(nameOf(assignment)) == nullptr;
  });
  return assignments;
}

Status MethodsSuite::check() const {
  std::set<std::string> seen;
  std::vector<const MethodInfo*> infos;
  for (const std::string& name : methods) {
    const auto info = MethodRegistry::instance().find(name);
    if (!info) return fail(ErrorCode::usage, info.error().message, "--methods", info.error().hint);
    if (!seen.insert(name).second)
      return fail(ErrorCode::usage, "the method " + name + " is named twice", "--methods");
    infos.push_back(*info);
  }
  DECOSCOPE_ASSIGN(const MethodInfo* plain, MethodRegistry::instance().find(kPlain));
  for (const std::string& assignment : set) {
    const auto has = [&](const MethodInfo* info) { return info->schema.find(nameOf(assignment)) != nullptr; };
    // Whose words say what is wrong.
    if (!has(plain) && std::none_of(infos.begin(), infos.end(), has))
      DECOSCOPE_TRY(infos.front()->schema.parse(std::vector<std::string>{assignment}));
  }
  infos.push_back(plain);
  for (const MethodInfo* info : infos) DECOSCOPE_TRY(info->schema.parse(assignmentsOf(*info)));
  return {};
}

Result<json> benchMethods(const Context& context, const MethodsSuite& suite, Engine& engine) {
  std::size_t total = 0, done = 0;
  for (const PromptSet& set : suite.sets) total += set.prompts.size();
  // What is done once for a model, such as measuring what a forward costs, is done before anything is timed.
  for (const std::string& method : suite.methods)
    DECOSCOPE_TRY(measure(engine, suite, method, suite.sets.front().prompts.front(), context));
  json sets = json::array(), all = json::array();
  std::vector<double> allNoise;
  for (const PromptSet& set : suite.sets) {
    json prompts = json::array();
    std::vector<double> noise;
    for (const std::string& prompt : set.prompts) {
      Lines lines;
      const auto plain = [&]() -> Status {
        DECOSCOPE_ASSIGN(Measured run, measure(engine, suite, kPlain, prompt, context));
        lines.plain.push_back(std::move(run));
        return {};
      };
      for (std::int64_t i = 0; i < suite.repetitions; ++i) {
        DECOSCOPE_TRY(plain());
        for (const std::string& method : suite.methods) {
          DECOSCOPE_ASSIGN(Measured run, measure(engine, suite, method, prompt, context));
          lines.methods[method].push_back(std::move(run));
        }
      }
      DECOSCOPE_TRY(plain());
      prompts.push_back(promptDocument(prompt, lines));
      all.push_back(prompts.back());
      const std::vector<double> mine = noiseOf(lines);
      noise.insert(noise.end(), mine.begin(), mine.end());
      if (onTerminal())
        drawProgress(static_cast<double>(++done) / static_cast<double>(total), "measuring the methods");
    }
    allNoise.insert(allNoise.end(), noise.begin(), noise.end());
    sets.push_back(
        {{"name", set.name}, {"mean", meanOf(prompts, noise, suite.methods)}, {"prompts", prompts}});
  }
  if (onTerminal()) clearProgress();
  const ModelInfo& info = engine.model()->info();
  return json{{"suite", "methods"},     {"model", info.name}, {"dtype", info.dtype},
              {"tokens", suite.tokens}, {"sets", sets},       {"mean", meanOf(all, allNoise, suite.methods)}};
}

void printMethods(const json& document) {
  std::printf("%s, %s, at most %lld tokens a run. Ratios to plain decoding: median (least to most).\n",
              document["model"].get<std::string>().c_str(), document["dtype"].get<std::string>().c_str(),
              static_cast<long long>(document["tokens"].get<std::int64_t>()));
  const auto line = [](const std::string& name, const std::string& figures, const json& of) {
    std::printf("  %-18s %-24s %s tokens a forward%s\n", name.c_str(), figures.c_str(),
                shortFigure(of["block_efficiency"].is_object() ? of["block_efficiency"]["median"]
                                                               : of["block_efficiency"])
                    .c_str(),
                of["same_ids"].get<bool>() ? "" : ", other ids than plain");
  };
  const auto spreadText = [](const json& figure) {
    return shortFigure(figure["median"]) + " (" + shortFigure(figure["minimum"]) + " to " +
           shortFigure(figure["maximum"]) + ")";
  };
  const auto printMean = [&](const std::string& title, const json& of) {
    std::printf("%s\n  %-18s %s\n", title.c_str(), "plain beside plain", spreadText(of["noise"]).c_str());
    for (const auto& [name, figures] : of["methods"].items())
      line(name, shortFigure(figures["ratio"]), figures);
  };
  for (const json& set : document["sets"]) {
    const std::string name = set["name"].get<std::string>();
    for (const json& prompt : set["prompts"]) {
      std::printf("\n%s%s  %s tokens, %s tokens/s\n", name.empty() ? "" : (name + ": ").c_str(),
                  beginning(prompt["prompt"].get<std::string>(), kPromptColumns).c_str(),
                  prompt["new_tokens"].dump().c_str(),
                  shortFigure(prompt["plain"]["tokens_per_second"]["median"]).c_str());
      std::printf("  %-18s %s\n", "plain beside plain", spreadText(prompt["plain"]["noise"]).c_str());
      for (const auto& [method, figures] : prompt["methods"].items())
        line(method, spreadText(figures["ratio"]), figures);
    }
    if (document["sets"].size() > 1) printMean("\nMean of " + name, set["mean"]);
  }
  printMean("\nMean of all prompts", document["mean"]);
}

}  // namespace decoscope::cli
