#include <filesystem>
#include <iostream>
#include <set>

#include "app/cli/Command.h"
#include "core/figure/Curves.h"
#include "core/figure/Layouts.h"
#include "core/figure/Writers.h"
#include "core/store/SessionStore.h"

namespace decoscope::cli {

namespace {

struct RenderOptions {
  std::string session, view, out, theme = "light";
  std::optional<std::int64_t> run, step, from, to;
  std::int64_t node = kRootNode;
  double width = 0, fontSize = 0;
};

// All steps of the line, in order.
Result<std::vector<StepPointer>> stepsOf(const TraceSource& source, RunId run) {
  std::vector<StepPointer> steps;
  for (const LineSegment& segment : lineOf(source, run))
    for (StepIndex index = segment.first; index < segment.end; ++index) {
      DECOSCOPE_ASSIGN(StepPointer step, source.step(segment.run, index));
      steps.push_back(std::move(step));
    }
  return steps;
}

Result<Figure> curvesFor(const std::vector<StepPointer>& steps, const RenderOptions& options) {
  CurveSet set;
  for (const StepPointer& step : steps) set.add(*step);
  if (set.empty())
    return fail(ErrorCode::badInput, "nothing was measured in this run", "--view curves",
                "Trainings have curves.");
  CurveOptions shown;
  shown.first = options.from ? static_cast<double>(*options.from) : set.first();
  shown.last = options.to ? static_cast<double>(*options.to) : set.last();
  if (shown.first >= shown.last && (options.from || options.to))
    return fail(ErrorCode::usage,
                "no steps lie between " + std::to_string(options.from.value_or(0)) + " and " +
                    std::to_string(options.to.value_or(static_cast<std::int64_t>(set.last()))),
                "--from, --to",
                "The curves go from " + std::to_string(static_cast<std::int64_t>(set.first())) + " to " +
                    std::to_string(static_cast<std::int64_t>(set.last())) + ".");
  return layoutCurves(set, shown).figure;
}

Result<Figure> figureFor(const SessionStore& store, RunId run, const RenderOptions& options) {
  const auto names = store.tokens(run);
  const TokenLabel label = [names](TokenId token) { return visibleToken(names->bytesOf(token)); };
  DECOSCOPE_ASSIGN(const auto steps, stepsOf(store, run));
  if (options.view == "curves") return curvesFor(steps, options);
  DECOSCOPE_ASSIGN(const auto text, textOf(store, run));
  static const std::set<std::string> kOfText = {"transcript", "tree", "distribution"};
  if (text.empty() && kOfText.contains(options.view))
    return fail(ErrorCode::badInput, "the run has no text", "--view " + options.view,
                "It is a training, or nothing was run; --view curves draws what was measured.");
  const auto rootOf = [&](const StepRecord& step) -> TokenId {
    const auto before = static_cast<std::size_t>(std::max<std::int64_t>(step.committedBefore, 1));
    return before <= text.size() ? text[before - 1].token : 0;
  };
  const auto chosen = [&]() -> Result<StepPointer> {
    const StepIndex index = options.step.value_or(0);
    if (index < 0 || index >= static_cast<StepIndex>(steps.size()))
      return fail(ErrorCode::badInput, "there is no step " + std::to_string(index), "--step",
                  "The run has " + std::to_string(steps.size()) + ".");
    return steps[static_cast<std::size_t>(index)];
  };
  if (options.view == "transcript") return layoutTranscript(text, label, 760);
  if (options.view == "rounds") return layoutRounds(steps);
  if (options.view == "lattice") {
    Figure figure = layoutLattice(steps, label, LatticeColour::confidence, options.step.value_or(-1));
    if (figure.boxes.empty())
      return fail(ErrorCode::badInput, "the run has no lattice", "--view lattice",
                  "Only diffusion runs have one.");
    return figure;
  }
  if (options.view == "tree" && !options.step) {
    std::vector<TokenId> roots;
    for (const StepPointer& step : steps) roots.push_back(rootOf(*step));
    return layoutTrees(steps, roots, label);
  }
  DECOSCOPE_ASSIGN(const StepPointer step, chosen());
  if (options.view == "tree") return layoutTree(*step, rootOf(*step), label);
  if (options.view == "distribution")
    return layoutDistribution(*step, static_cast<NodeId>(options.node), label);
  return fail(ErrorCode::usage, "unknown view '" + options.view + "'", "--view",
              "Known views: transcript, tree, lattice, rounds, distribution, curves.");
}

Result<int> renderCommand(const Context& context, const RenderOptions& options) {
  DECOSCOPE_ASSIGN(const auto store, SessionStore::open(options.session, OpenMode::readOnly));
  const auto runs = store->runs();
  if (runs.empty()) return fail(ErrorCode::badInput, "the session has no runs", options.session);
  const RunId run{options.run.value_or(runs.front().id.value)};
  if (!store->run(run))
    return fail(ErrorCode::badInput, "there is no run " + std::to_string(run.value), "--run",
                "`inspect` lists the runs.");
  DECOSCOPE_ASSIGN(const Figure figure, figureFor(*store, run, options));
  FigureOptions figureOptions;
  figureOptions.dark = options.theme == "dark";
  figureOptions.widthMillimetres = options.width;
  figureOptions.fontSizePoints = options.fontSize;
  figureOptions.provenance = "decoscope " DECOSCOPE_VERSION ", session " +
                             std::filesystem::path(options.session).filename().string() + ", run " +
                             std::to_string(run.value) + ", view " + options.view +
                             (options.step ? ", step " + std::to_string(*options.step) : std::string());
  DECOSCOPE_TRY(writeFigure(figure, figureOptions, options.out));
  const double scale = options.width > 0 ? options.width / figure.bounds.width : 25.4 / 96;
  if (context.json)
    printJson({{"out", options.out},
               {"view", options.view},
               {"run", run.value},
               {"bytes", std::filesystem::file_size(options.out)},
               {"width_mm", figure.bounds.width * scale},
               {"height_mm", figure.bounds.height * scale}});
  else
    std::cout << options.out << '\n';
  return 0;
}

}  // namespace

void addRenderCommand(CLI::App& app) {
  auto options = std::make_shared<RenderOptions>();
  auto* render = app.add_subcommand("render", "A view as a figure: .svg, .pdf, .png or .tex");
  render->add_option("SESSION", options->session, "The session file")->required();
  render->add_option("--run", options->run, "The run; the first by default");
  render->add_option("--view", options->view, "transcript, tree, lattice, rounds, distribution or curves")
      ->required();
  render->add_option("--step", options->step, "The step; a tree without one shows all rounds");
  render->add_option("--from", options->from, "Curves: the first step shown");
  render->add_option("--to", options->to, "Curves: the last step shown");
  render->add_option("--node", options->node, "The node that the distribution follows; -1 is the root");
  render->add_option("--theme", options->theme, "light or dark")->check(CLI::IsMember({"light", "dark"}));
  render->add_option("--width", options->width, "Width in millimetres")->check(moreThanNothing());
  render->add_option("--font-size", options->fontSize, "Size of the text in points")
      ->check(moreThanNothing());
  render->add_option("--out", options->out, "File to write")->required();
  onRun(render, [options](const Context& context) { return renderCommand(context, *options); });
}

}  // namespace decoscope::cli
