#include "core/figure/Layouts.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <map>

#include "core/trace/Round.h"

namespace decoscope {

namespace {

constexpr float kNodeWidth = 106, kNodeHeight = 26, kColumn = 138, kRow = 36, kMargin = 16, kRadius = 6;

std::string exact(double value) {
  if (std::isnan(value)) return "not known";
  char buffer[32];
  return {buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr};
}
// ".18", "1.00", "<.01" and the like.
std::string brief(double value) {
  if (std::isnan(value)) return "";
  if (value > 0 && value < 0.01) return "<.01";
  char text[16];
  std::snprintf(text, sizeof text, "%.2f", value);
  return text[0] == '0' ? text + 1 : text;
}

Tone toneOf(VerdictKind kind) {
  switch (kind) {
    case VerdictKind::accepted:
      return Tone::accepted;
    case VerdictKind::rejected:
      return Tone::rejected;
    case VerdictKind::pruned:
      return Tone::pruned;
    default:
      return Tone::notReached;
  }
}
void extend(Rect& bounds, const Rect& rect) {
  const float right = std::max(bounds.x + bounds.width, rect.x + rect.width),
              bottom = std::max(bounds.y + bounds.height, rect.y + rect.height);
  bounds.x = std::min(bounds.x, rect.x);
  bounds.y = std::min(bounds.y, rect.y);
  bounds.width = right - bounds.x;
  bounds.height = bottom - bounds.y;
}

// Rows for the nodes of a round: siblings downwards, the kept child on its parent's row.
class RoundLayout {
 public:
  RoundLayout(const StepRecord& step, TokenId root)
      : step_(step), round_(roundOf(step, root)), row_(round_.nodes.size(), 0) {
    for (RoundNode& node : round_.nodes)
      std::stable_sort(node.children.begin(), node.children.end(),
                       [&](std::int32_t a, std::int32_t b) { return order(a) < order(b); });
    place(0, 0);
  }

  int rows() const { return rows_; }
  int depth() const { return round_.depth; }

  void draw(Figure& figure, Point origin, const TokenLabel& label) const {
    for (std::int32_t i = 1; i < count(); ++i)
      if (node(i).parent >= 0 && node(i).parent < i) drawEdge(figure, origin, node(i).parent, i);
    for (std::int32_t i = 0; i < count(); ++i) drawNode(figure, origin, i, label);
  }

 private:
  std::int32_t count() const { return static_cast<std::int32_t>(round_.nodes.size()); }
  const RoundNode& node(std::int32_t index) const { return round_.nodes[static_cast<std::size_t>(index)]; }
  // The kept child continues its parent's row; then what was tested, then the rest, each by rank.
  std::pair<int, int> order(std::int32_t index) const {
    if (round_.isDrawn(index)) return {1, 0};
    if (!node(index).verdict) return {3, node(index).rank};
    switch (node(index).verdict->verdict) {
      case VerdictKind::accepted:
        return {0, node(index).rank};
      case VerdictKind::rejected:
        return {2, node(index).rank};
      default:
        return {3, node(index).rank};
    }
  }
  void place(std::int32_t index, int row) {
    row_[static_cast<std::size_t>(index)] = row;
    rows_ = std::max(rows_, row + 1);
    bool first = true;
    for (const std::int32_t child : node(index).children) {
      place(child, first ? row : rows_);
      first = false;
    }
  }
  Tone tone(std::int32_t index) const {
    if (index == 0) return Tone::neutral;
    if (round_.isDrawn(index)) return toneOf(node(index).commit->provenance);
    return node(index).verdict ? toneOf(node(index).verdict->verdict) : Tone::notReached;
  }
  Rect rect(std::int32_t index, Point origin) const {
    return {origin.x + static_cast<float>(node(index).depth) * kColumn,
            origin.y + static_cast<float>(row_[static_cast<std::size_t>(index)]) * kRow, kNodeWidth,
            kNodeHeight};
  }
  void drawEdge(Figure& figure, Point origin, std::int32_t from, std::int32_t to) const {
    const Rect a = rect(from, origin), b = rect(to, origin);
    FigureLine line;
    line.tone = tone(to);
    line.dashed = line.tone == Tone::rejected || line.tone == Tone::pruned;
    const double p = targetProbability(node(to));
    const bool kept = line.tone == Tone::accepted || round_.isDrawn(to);
    line.width = kept                          ? 2.2f
                 : line.tone == Tone::rejected ? 1.1f
                                               : 0.9f + 1.1f * static_cast<float>(std::isnan(p) ? 0 : p);
    const Point start{a.x + a.width, a.y + a.height / 2}, end{b.x, b.y + b.height / 2};
    if (start.y == end.y)
      line.points = {start, end};
    else
      line.points = {start, {start.x + 18, start.y}, {end.x - 22, end.y}, end};
    figure.lines.push_back(std::move(line));
  }
  void drawNode(Figure& figure, Point origin, std::int32_t i, const TokenLabel& label) const {
    const RoundNode& node = this->node(i);
    const Rect r = rect(i, origin);
    FigureBox box;
    box.rect = r;
    box.tone = tone(i);
    box.radius = kRadius;
    box.id = {MarkId::Kind::node, step_.run, step_.step, i - 1};
    const std::string text = label(node.token);
    box.tooltip = text + "  (token " + std::to_string(node.token) + ")";
    if (node.verdict) {
      const VerdictFact& v = *node.verdict;
      box.tooltip += std::string("\nverdict ") + name(v.verdict) + ", rule " + name(v.rule) +
                     "\ntarget p = " + exact(v.p) + "\ndrafter q = " + exact(v.q) + "\nu = " + exact(v.u) +
                     "\nthreshold = " + exact(v.threshold) + "\nraw p = " + exact(v.pRaw);
    } else if (node.draw) {
      box.tooltip +=
          "\ndrawn with u = " + exact(node.draw->u) + "\nprobability " + exact(node.draw->probability);
    } else if (i == 0) {
      box.tooltip += "\nthe pending token: the root of the round";
    }
    if (!node.owner.empty()) box.tooltip += "\nproposed by " + node.owner;
    figure.boxes.push_back(box);
    const std::string mark = markOf(box.tone);
    const bool numbered = mark.empty() && i > 0;
    FigureLabel token{{r.x + 8, r.y + 15},
                      text,
                      TextFace::token,
                      TextAlign::left,
                      box.tone,
                      11.5f,
                      kNodeWidth - (numbered ? 38 : 26),
                      box.id,
                      -1,
                      1};
    figure.labels.push_back(std::move(token));
    if (numbered)
      figure.labels.push_back({{r.x + r.width - 6, r.y + 15},
                               brief(targetProbability(node)),
                               TextFace::small,
                               TextAlign::right,
                               Tone::axis,
                               9,
                               0,
                               box.id,
                               -1,
                               2});
    else if (!mark.empty())
      figure.labels.push_back({{r.x + r.width - 7, r.y + 15},
                               mark,
                               TextFace::small,
                               TextAlign::right,
                               box.tone,
                               10,
                               0,
                               box.id,
                               -1,
                               1});
    if (i == 0) return;
    // Two thin bars: q over p.
    const auto bar = [&](double value, float y, Tone tone) {
      if (std::isnan(value)) return;
      figure.boxes.push_back(
          {{r.x + 8, r.y + y,
            std::max(1.0f, (kNodeWidth - 16) * static_cast<float>(std::clamp(value, 0.0, 1.0))), 2},
           tone,
           1,
           -1,
           false,
           true,
           false,
           {},
           {}});
    };
    bar(node.q, 18.5f, Tone::draft);
    bar(targetProbability(node), 21.5f, Tone::target);
  }
  static std::string markOf(Tone tone) {
    switch (tone) {
      case Tone::accepted:
        return "✓";
      case Tone::rejected:
        return "✕";
      case Tone::bonus:
        return "★";
      case Tone::resampled:
        return "↻";
      case Tone::forced:
        return "!";
      default:
        return "";
    }
  }

  const StepRecord& step_;
  Round round_;
  std::vector<int> row_;
  int rows_ = 0;
};

std::string captionOf(const StepRecord& step) {
  int proposed = 0, accepted = 0, committed = 0;
  for (const Event& event : step.events) {
    if (std::holds_alternative<ProposeFact>(event))
      ++proposed;
    else if (const auto* v = std::get_if<VerdictFact>(&event))
      accepted += v->verdict == VerdictKind::accepted;
    else if (std::holds_alternative<CommitFact>(event))
      ++committed;
  }
  char text[160];
  std::snprintf(text, sizeof text,
                "step %lld · %d proposed · %d accepted · %d committed · draft %.1f ms · verify %.1f ms",
                static_cast<long long>(step.step), proposed, accepted, committed, step.draftMilliseconds,
                step.verifyMilliseconds);
  return text;
}

void drawLegend(Figure& figure, Point at) {
  const std::pair<Tone, const char*> entries[] = {{Tone::accepted, "✓ accepted"},
                                                  {Tone::rejected, "✕ rejected"},
                                                  {Tone::resampled, "↻ from the target"},
                                                  {Tone::bonus, "★ bonus"},
                                                  {Tone::notReached, "not reached"}};
  float x = at.x;
  for (const auto& [tone, text] : entries) {
    figure.boxes.push_back(
        {{x, at.y, 12, 12}, tone, 3, -1, true, true, false, {MarkId::Kind::legend, {}, -1, 0}, text});
    figure.labels.push_back(
        {{x + 17, at.y + 10}, text, TextFace::small, TextAlign::left, Tone::axis, 9.5f, 0, {}, -1, 0});
    x += 108;
  }
  figure.labels.push_back(
      {{x, at.y + 10}, "bars: q over p", TextFace::small, TextAlign::left, Tone::axis, 9.5f, 0, {}, -1, 0});
  extend(figure.bounds, {at.x, at.y, x + 80 - at.x, 16});
}

}  // namespace

Tone toneOf(Provenance provenance) {
  switch (provenance) {
    case Provenance::accepted:
      return Tone::accepted;
    case Provenance::resampled:
      return Tone::resampled;
    case Provenance::bonus:
      return Tone::bonus;
    case Provenance::forced:
      return Tone::forced;
    case Provenance::prompt:
      return Tone::prompt;
    case Provenance::denoised:
      return Tone::committed;
    case Provenance::plain:
    case Provenance::kept:
      break;
  }
  return Tone::neutral;
}

Figure layoutTree(const StepRecord& step, TokenId root, const TokenLabel& label) {
  Figure figure;
  const RoundLayout round(step, root);
  round.draw(figure, {kMargin, kMargin + 22}, label);
  figure.labels.push_back({{kMargin, kMargin + 8},
                           captionOf(step),
                           TextFace::small,
                           TextAlign::left,
                           Tone::axis,
                           9.5f,
                           0,
                           {},
                           -1,
                           0});
  figure.bounds = {0, 0, 2 * kMargin + static_cast<float>(round.depth()) * kColumn + kNodeWidth,
                   2 * kMargin + 22 + static_cast<float>(round.rows()) * kRow};
  drawLegend(figure, {kMargin, figure.bounds.height});
  figure.bounds.width = std::max(figure.bounds.width, 700.0f);
  figure.bounds.height += kMargin;
  figure.title = "Draft tree of step " + std::to_string(step.step);
  figure.description = captionOf(step);
  for (const FigureBox& box : figure.boxes)
    if (box.id.kind == MarkId::Kind::node && box.tone != Tone::notReached)
      figure.description += "; " + box.tooltip.substr(0, box.tooltip.find('\n'));
  return figure;
}

Figure layoutTrees(const std::vector<StepPointer>& steps, const std::vector<TokenId>& roots,
                   const TokenLabel& label, std::vector<float>* top) {
  Figure figure;
  float y = kMargin;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (top) top->push_back(y);
    if (!steps[i]) {
      figure.labels.push_back(
          {{kMargin, y + 14}, "loading…", TextFace::small, TextAlign::left, Tone::axis, 9.5f, 0, {}, -1, 0});
      y += kRow;
      continue;
    }
    const RoundLayout round(*steps[i], i < roots.size() ? roots[i] : 0);
    figure.labels.push_back({{kMargin, y + 8},
                             captionOf(*steps[i]),
                             TextFace::small,
                             TextAlign::left,
                             Tone::axis,
                             9.5f,
                             0,
                             {MarkId::Kind::round, steps[i]->run, steps[i]->step, -1},
                             -1,
                             0});
    round.draw(figure, {kMargin, y + 18}, label);
    figure.bounds.width =
        std::max(figure.bounds.width, 2 * kMargin + static_cast<float>(round.depth()) * kColumn + kNodeWidth);
    y += 18 + static_cast<float>(round.rows()) * kRow + 14;
  }
  figure.bounds.height = y + kMargin;
  figure.title = "Draft trees";
  figure.description = std::to_string(steps.size()) + " rounds";
  return figure;
}

Figure layoutLattice(const std::vector<StepPointer>& steps, const TokenLabel& label, LatticeColour colour,
                     StepIndex throughStep) {
  constexpr float kCellWidth = 58, kCellHeight = 22, kGap = 3, kLeft = 44, kTop = 30;
  Figure figure;
  std::int32_t first = INT32_MAX, last = -1;
  std::map<std::int32_t, std::int32_t> blocks;
  std::vector<const StepRecord*> rows;
  for (const StepPointer& step : steps) {
    if (!step || (throughStep >= 0 && step->step > throughStep)) continue;
    bool any = false;
    for (const Event& event : step->events)
      if (const auto* cell = std::get_if<CellFact>(&event))
        first = std::min(first, cell->position), last = std::max(last, cell->position),
        blocks[cell->position] = cell->block, any = true;
    if (any) rows.push_back(step.get());
  }
  if (rows.empty()) return figure;
  const auto xOf = [&](std::int32_t position) {
    return kLeft + static_cast<float>(position - first) * (kCellWidth + kGap);
  };
  for (std::int32_t position = first; position <= last; ++position) {
    figure.labels.push_back({{xOf(position) + kCellWidth / 2, kTop - 8},
                             std::to_string(position),
                             TextFace::small,
                             TextAlign::centre,
                             Tone::axis,
                             9,
                             0,
                             {},
                             -1,
                             1});
  }
  std::map<std::int32_t, std::size_t> committedAt, lastRow;
  std::map<std::int32_t, TokenId> known;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const float y = kTop + static_cast<float>(row) * (kCellHeight + kGap);
    figure.labels.push_back({{kLeft - 10, y + 15},
                             std::to_string(rows[row]->step),
                             TextFace::small,
                             TextAlign::right,
                             Tone::axis,
                             9,
                             0,
                             {},
                             -1,
                             0});
    std::map<std::int32_t, const CellFact*> cells;
    for (const Event& event : rows[row]->events)
      if (const auto* cell = std::get_if<CellFact>(&event)) cells[cell->position] = cell;
    for (std::int32_t position = first; position <= last; ++position) {
      const auto found = cells.find(position);
      const CellFact* cell = found == cells.end() ? nullptr : found->second;
      if (!cell && !known.contains(position)) continue;
      FigureBox box;
      box.rect = {xOf(position), y, kCellWidth, kCellHeight};
      box.radius = 3;
      box.id = {MarkId::Kind::cell, rows[row]->run, rows[row]->step, position};
      const TokenId token = cell ? cell->token : known[position];
      const bool now = cell && cell->state == CellState::committed,
                 open = cell && cell->state == CellState::masked;
      if (now) committedAt[position] = row, known[position] = token;
      if (now || open) {
        // A score below zero is a negative entropy, of which this is the probability that stands for it.
        double value = cell->confidence < 0 ? std::exp(cell->confidence) : cell->confidence;
        if (colour == LatticeColour::entropy)
          value = std::isnan(cell->entropy) ? -1 : std::min(1.0, cell->entropy / 6);
        if (colour == LatticeColour::age)
          value = static_cast<double>(row) / std::max<double>(1, static_cast<double>(rows.size() - 1));
        box.value = static_cast<float>(std::isnan(value) ? -1 : std::clamp(value, 0.0, 1.0));
      }
      box.tone = now                                          ? Tone::committed
                 : cell && cell->state == CellState::remasked ? Tone::remasked
                                                              : Tone::masked;
      box.emphasised = now;
      box.outlined = now || (cell && cell->state == CellState::remasked);
      box.tooltip =
          label(token) + "  (token " + std::to_string(token) + ")\nposition " + std::to_string(position) +
          ", step " + std::to_string(rows[row]->step) + "\nstate " + (cell ? name(cell->state) : "fixed") +
          (cell ? "\nconfidence " + exact(cell->confidence) + "\nentropy " + exact(cell->entropy) + " nats"
                : std::string());
      FigureLabel text{
          {box.rect.x + kCellWidth / 2, y + 15}, label(token), TextFace::token, TextAlign::centre,
          open || now ? box.tone : Tone::axis,   9.5f,         kCellWidth - 6,  box.id};
      if (now) text.over = box.value;
      text.detail = 1;
      figure.labels.push_back(std::move(text));
      figure.boxes.push_back(std::move(box));
    }
  }
  const float bottom = kTop + static_cast<float>(rows.size()) * (kCellHeight + kGap);
  for (std::int32_t position = first + 1; position <= last; ++position)
    if (blocks[position] != blocks[position - 1])
      figure.lines.push_back(
          {{{xOf(position) - kGap / 2, kTop - 4}, {xOf(position) - kGap / 2, bottom}}, Tone::bonus, 1, true});
  figure.bounds = {0, 0, xOf(last) + kCellWidth + kMargin, bottom + kMargin};
  figure.title = "Token lattice";
  figure.description = std::to_string(rows.size()) + " denoising steps over " +
                       std::to_string(last - first + 1) + " positions";
  return figure;
}

Figure layoutRounds(const std::vector<StepPointer>& steps, float height) {
  constexpr float kBar = 26, kGap = 6;
  Figure figure;
  double longest = 1e-9;
  for (const StepPointer& step : steps)
    if (step)
      longest =
          std::max(longest, step->draftMilliseconds + step->verifyMilliseconds + step->otherMilliseconds);
  const float top = 26, base = top + height;
  figure.labels.push_back(
      {{kMargin, 14},
       "Rounds · bar = draft + verify + other time · dots = accepted of drafted · line = acceptance (EMA)",
       TextFace::small,
       TextAlign::left,
       Tone::axis,
       9.5f,
       0,
       {},
       -1,
       0});
  float x = kMargin;
  double average = kUnknown;
  FigureLine trend;
  trend.tone = Tone::bonus;
  trend.width = 1.4f;
  for (const StepPointer& step : steps) {
    if (!step) {
      x += kBar + kGap;
      continue;
    }
    int tested = 0, accepted = 0, depth = 0;
    for (const Event& event : step->events) {
      if (const auto* v = std::get_if<VerdictFact>(&event))
        tested += v->verdict == VerdictKind::accepted || v->verdict == VerdictKind::rejected,
            accepted += v->verdict == VerdictKind::accepted;
      if (const auto* p = std::get_if<ProposeFact>(&event)) depth = std::max(depth, p->depth);
    }
    const MarkId id{MarkId::Kind::round, step->run, step->step, -1};
    float y = base;
    const std::pair<double, Tone> parts[] = {{step->verifyMilliseconds, Tone::notReached},
                                             {step->draftMilliseconds, Tone::draft},
                                             {step->otherMilliseconds, Tone::resampled}};
    const std::string tooltip = captionOf(*step);
    for (const auto& [milliseconds, tone] : parts) {
      const float size = static_cast<float>(milliseconds / longest) * height;
      y -= size;
      if (size > 0.2f)
        figure.boxes.push_back({{x, y, kBar, size}, tone, 1, -1, false, true, false, id, tooltip});
    }
    for (int i = 0; i < std::min(depth, 6); ++i)
      figure.boxes.push_back({{x + static_cast<float>(i) * 4.4f, base + 6, 3.6f, 3.6f},
                              i < accepted ? Tone::accepted : Tone::notReached,
                              1.8f,
                              -1,
                              i >= accepted,
                              i < accepted,
                              false,
                              {},
                              {}});
    if (tested > 0) {
      const double rate = static_cast<double>(accepted) / tested;
      average = std::isnan(average) ? rate : 0.7 * average + 0.3 * rate;
      trend.points.push_back({x + kBar / 2, base - static_cast<float>(average) * height});
    }
    x += kBar + kGap;
  }
  // Straight pieces: four points would be read as one curve.
  for (std::size_t i = 1; i < trend.points.size(); ++i)
    figure.lines.push_back({{trend.points[i - 1], trend.points[i]}, trend.tone, trend.width, false, true});
  figure.bounds = {0, 0, std::max(x + kMargin, 480.0f), base + 24};
  figure.title = "Rounds";
  figure.description = std::to_string(steps.size()) + " rounds; the longest took " + exact(longest) + " ms";
  return figure;
}

Figure layoutTranscript(const std::vector<TextToken>& text, const TokenLabel& label, float width) {
  constexpr float kAdvance = 7.2f, kLine = 26;
  Figure figure;
  float x = kMargin, y = kMargin;
  for (const TextToken& token : text) {
    const std::string shown = label(token.token);
    std::size_t characters = 0;
    for (const char c : shown) characters += (c & 0xC0) != 0x80;
    const float w = static_cast<float>(std::max<std::size_t>(characters, 1)) * kAdvance + 4;
    if (x + w > width - kMargin && x > kMargin) x = kMargin, y += kLine;
    const Tone tone = toneOf(token.provenance);
    const MarkId id{MarkId::Kind::token, token.run, token.step, token.position};
    figure.boxes.push_back({{x, y, w, 20},
                            tone,
                            2,
                            -1,
                            false,
                            token.provenance != Provenance::prompt,
                            false,
                            id,
                            shown + "  (token " + std::to_string(token.token) + ")\nposition " +
                                std::to_string(token.position) + "\n" + name(token.provenance) +
                                (token.step >= 0 ? ", step " + std::to_string(token.step) : std::string())});
    if (token.provenance != Provenance::prompt)
      figure.lines.push_back({{{x, y + 20}, {x + w, y + 20}}, tone, 1.6f, false});
    figure.labels.push_back({{x + 2, y + 14.5f},
                             shown,
                             TextFace::token,
                             TextAlign::left,
                             token.provenance == Provenance::prompt ? Tone::prompt : Tone::highlight,
                             12,
                             0,
                             id,
                             -1,
                             1});
    x += w + 1;
    if (shown.ends_with("⏎")) x = kMargin, y += kLine;
  }
  figure.bounds = {0, 0, width, y + kLine + kMargin};
  figure.title = "Transcript";
  for (const TextToken& token : text) figure.description += label(token.token);
  return figure;
}

Figure layoutDistribution(const StepRecord& step, NodeId node, const TokenLabel& label, int entries) {
  Figure figure;
  std::map<TokenId, std::array<double, 3>> values;
  const auto take = [&](const DistributionFact& fact, std::size_t kind) {
    for (std::size_t i = 0; i < fact.tokens.size(); ++i) {
      auto& row = values.try_emplace(fact.tokens[i], std::array<double, 3>{kUnknown, kUnknown, kUnknown})
                      .first->second;
      row[kind] = fact.probabilities[i];
    }
  };
  const DistributionFact* target = nullptr;
  for (const Event& event : step.events)
    if (const auto* fact = std::get_if<DistributionFact>(&event);
        fact && fact->node == node && fact->position < 0) {
      if (fact->kind == DistributionKind::draft) take(*fact, 0);
      if (fact->kind == DistributionKind::residual) take(*fact, 2);
      if (fact->kind == DistributionKind::target || (fact->kind == DistributionKind::targetRaw && !target))
        target = fact;
    }
  if (target) take(*target, 1);
  std::vector<std::pair<TokenId, std::array<double, 3>>> rows(values.begin(), values.end());
  const auto largest = [](const std::array<double, 3>& v) {
    return std::max({std::isnan(v[0]) ? 0 : v[0], std::isnan(v[1]) ? 0 : v[1], std::isnan(v[2]) ? 0 : v[2]});
  };
  std::stable_sort(rows.begin(), rows.end(),
                   [&](const auto& a, const auto& b) { return largest(a.second) > largest(b.second); });
  if (rows.size() > static_cast<std::size_t>(std::max(entries, 0)))
    rows.resize(static_cast<std::size_t>(std::max(entries, 0)));
  constexpr float kBars = 110, kBarWidth = 220, kRowHeight = 26;
  float y = kMargin + 20;
  figure.labels.push_back({{kMargin, kMargin + 8},
                           "Distributions after node " + std::to_string(node) + " · q · p · residual",
                           TextFace::small,
                           TextAlign::left,
                           Tone::axis,
                           9.5f,
                           0,
                           {},
                           -1,
                           0});
  for (const auto& [token, v] : rows) {
    figure.labels.push_back({{kMargin, y + 14},
                             label(token),
                             TextFace::token,
                             TextAlign::left,
                             Tone::highlight,
                             11,
                             kBars - kMargin - 8,
                             {},
                             -1,
                             0});
    const Tone tones[] = {Tone::draft, Tone::target, Tone::residual};
    for (std::size_t i = 0; i < 3; ++i)
      if (!std::isnan(v[i]))
        figure.boxes.push_back(
            {{kBars, y + 2 + static_cast<float>(i) * 6, std::max(1.0f, kBarWidth * static_cast<float>(v[i])),
              4.5f},
             tones[i],
             2,
             -1,
             false,
             true,
             false,
             {MarkId::Kind::distributionEntry, step.run, step.step, token},
             label(token) + "\nq " + exact(v[0]) + "\np " + exact(v[1]) + "\nresidual " + exact(v[2])});
    char numbers[48];
    std::snprintf(numbers, sizeof numbers, "%.3f", std::isnan(v[1]) ? largest(v) : v[1]);
    figure.labels.push_back({{kBars + kBarWidth + 48, y + 14},
                             numbers,
                             TextFace::small,
                             TextAlign::right,
                             Tone::axis,
                             9.5f,
                             0,
                             {},
                             -1,
                             0});
    y += kRowHeight;
  }
  figure.bounds = {0, 0, kBars + kBarWidth + 64, y + kMargin};
  figure.title = "Distributions at node " + std::to_string(node) + " of step " + std::to_string(step.step);
  figure.description = target ? "entropy " + exact(target->entropy) + " nats" : "nothing was recorded";
  return figure;
}

}  // namespace decoscope
