#include "widgets/models/Why.h"

#include <QCoreApplication>
#include <QJsonDocument>
#include <QJsonObject>
#include <algorithm>
#include <map>

#include "widgets/models/Numbers.h"

namespace decoscope {

namespace {

QString tr(const char* text) {
  return QCoreApplication::translate("Why", text);
}
QString quoted(const Line& line, TokenId token) {
  return QStringLiteral("“%1”").arg(line.text(token));
}

Tone toneOf(const VerdictFact& verdict) {
  switch (verdict.verdict) {
    case VerdictKind::accepted:
      return Tone::accepted;
    case VerdictKind::rejected:
      return Tone::rejected;
    default:
      return Tone::notReached;
  }
}

const DrawFact* drawAfter(const StepRecord& step, NodeId node) {
  const DrawFact* found = nullptr;
  for (const Event& event : step.events)
    if (const auto* draw = std::get_if<DrawFact>(&event); draw && draw->node == node) found = draw;
  return found;
}

// The log-probability stands beside each probability: papers quote either.
WhyRow probability(const QString& label, double value, const QString& meaning) {
  return {label,
          value,
          {},
          meaning + (std::isnan(value) ? QString() : tr("\nlog = %1 nats").arg(exactText(std::log(value))))};
}

QString verdictSentence(const Line& line, const RoundNode& node, const DrawFact* draw) {
  const VerdictFact& v = *node.verdict;
  const QString token = quoted(line, node.token);
  if (v.verdict == VerdictKind::notReachedSibling)
    return tr("It was never tested: a sibling before it was accepted, and the walk went on there.");
  if (v.verdict == VerdictKind::notReachedAncestor)
    return tr("It was never tested: the walk left the tree above it, so nothing below was looked at.");
  if (v.verdict == VerdictKind::pruned) return tr("It was cut from the tree before verification.");
  const bool kept = v.verdict == VerdictKind::accepted;
  switch (v.rule) {
    case VerificationRule::greedy:
      return kept ? tr("At temperature 0 the target takes its most probable token, and that is %1: accepted.")
                        .arg(token)
                  : tr("At temperature 0 the target takes its most probable token. That is %1, not %2: "
                       "refused.")
                        .arg(draw ? quoted(line, draw->token) : tr("another"), token);
    case VerificationRule::r3:
      return kept ? tr("The target drew one token here (u = %1), and it is %2: accepted. The text is exactly "
                       "what plain sampling would have written.")
                        .arg(draw ? rounded(draw->u) : QStringLiteral("–"), token)
                  : tr("The target drew one token here (u = %1), and it is %2, not %3: refused. The text is "
                       "exactly what plain sampling would have written.")
                        .arg(draw ? rounded(draw->u) : QStringLiteral("–"),
                             draw ? quoted(line, draw->token) : tr("another"), token);
    case VerificationRule::r4:
      return kept ? tr("Its target probability is above the bound: accepted. This rule changes the "
                       "distribution of the text.")
                  : tr("Its target probability is not above the bound: refused. This rule changes the "
                       "distribution of the text.");
    case VerificationRule::r1:
    case VerificationRule::r2:
      break;
  }
  if (kept)
    return v.p >= v.q
               ? tr("The target likes it at least as much as the drafter (p ≥ q), so it is always accepted.")
               : tr("The drafter proposes it more often than the target would (q > p), so it is kept only "
                    "with probability p/q. The draw fell below: accepted.");
  return tr(
      "The drafter proposes it more often than the target would, so it is kept only with probability p/q. "
      "The draw did not fall below: refused, and the target goes on with the residual max(0, p − q).");
}

WhyCard cellCard(const Line& line, const MarkId& mark, int index) {
  WhyCard card;
  for (const Event& event : line.step(index)->events)
    if (const auto* cell = std::get_if<CellFact>(&event); cell && cell->position == mark.item) {
      const bool committed = cell->state == CellState::committed, masked = cell->state == CellState::masked;
      card.heading = committed                            ? tr("Why was it committed?")
                     : cell->state == CellState::remasked ? tr("Why was it masked again?")
                     : masked                             ? tr("Why is it still masked?")
                                                          : tr("A fixed position");
      card.title = quoted(line, cell->token);
      card.tone = committed                            ? Tone::accepted
                  : cell->state == CellState::remasked ? Tone::rejected
                                                       : Tone::notReached;
      card.subtitle =
          tr("position %1 · step %2 · block %3").arg(cell->position).arg(mark.step).arg(cell->block);
      card.rows = {{tr("confidence"),
                    cell->confidence,
                    {},
                    tr("the number that positions are ranked by; from the cell event")},
                   {tr("entropy"), cell->entropy, {}, tr("nats, of the distribution at this position")},
                   {tr("state"), kUnknown, QString::fromLatin1(name(cell->state)), {}, true}};
      card.sentence = committed ? tr("It ranked among the first of the masked positions of its block in this "
                                     "step, so its token stays.")
                      : masked
                          ? tr("Other masked positions of its block ranked before it, so it is predicted "
                               "anew in the next step.")
                          : tr("Its token was settled in an earlier step.");
      return card;
    }
  // A settled position has no event of its own in later steps: show where it was committed.
  for (const TextToken& token : line.text())
    if (token.position == mark.item && token.step >= 0 && token.step != mark.step)
      return cellCard(line, {MarkId::Kind::cell, token.run, token.step, token.position},
                      static_cast<int>(token.step));
  return card;
}

// What a training is: its recipe.
WhyCard recipeCard(const RunInfo& info) {
  WhyCard card;
  card.heading = tr("The training");
  card.title = QString::fromStdString(info.name);
  card.subtitle =
      QString::fromStdString(info.method) +
      (info.parent ? tr(" · goes on from run %1 at step %2").arg(info.parent.value).arg(info.forkStep)
                   : QString());
  card.rows.push_back(
      {tr("seed"), kUnknown, QString::number(info.seed), tr("of the data's order and the first weights")});
  for (const auto& [name, value] : info.parameters.values())
    card.rows.push_back({QString::fromStdString(name), kUnknown, QString::fromStdString(paramText(value)),
                         tr("a parameter of the recipe")});
  card.sentence = info.stopReason.empty() ? tr("State: %1.").arg(QString::fromLatin1(name(info.state)))
                                          : tr("State: %1 (%2).")
                                                .arg(QString::fromLatin1(name(info.state)),
                                                     QString::fromStdString(info.stopReason));
  return card;
}

// What was measured at a step; `curve` is the one that stands out, where there is one.
WhyCard measureCard(const Line& line, int index, std::int64_t curve) {
  const StepRecord& step = *line.step(index);
  const auto curves = line.curves();
  WhyCard card;
  card.heading = tr("What was measured");
  std::int64_t at = step.step;
  for (const Event& event : step.events)
    if (const auto* fact = std::get_if<MeasureFact>(&event)) {
      if (fact->at >= 0) at = fact->at;
      const auto place = static_cast<std::int64_t>(curves->indexOf(*fact));
      card.rows.push_back({QString::fromStdString(fact->name),
                           fact->value,
                           {},
                           fact->unit.empty()
                               ? tr("a plain number; from the measure event")
                               : tr("in %1; from the measure event").arg(QString::fromStdString(fact->unit)),
                           place == curve});
      if (std::isnan(fact->value)) card.rows.back().text = tr("not a number");
    } else if (const auto* note = std::get_if<NoteFact>(&event)) {
      card.sentence +=
          (card.sentence.isEmpty() ? QString() : QStringLiteral("\n")) +
          tr("%1: %2").arg(QString::fromStdString(note->kind), QString::fromStdString(note->text));
    }
  card.title = tr("Step %1").arg(at);
  card.subtitle =
      tr("record %1 · %2 since the one before")
          .arg(index)
          .arg(step.otherMilliseconds < 1000 ? milliseconds(step.otherMilliseconds)
                                             : tr("%1 s").arg(rounded(step.otherMilliseconds / 1e3, 1)));
  return card;
}

WhyCard roundCard(const Line& line, int index) {
  const RoundSummary& round = line.round(index);
  if (round.measures && round.proposed == 0 && round.committed == 0) return measureCard(line, index, -1);
  WhyCard card;
  card.heading = tr("The round");
  card.title = tr("Round %1").arg(index);
  card.subtitle = tr("%1 proposed · %2 accepted · %3 committed")
                      .arg(round.proposed)
                      .arg(round.accepted)
                      .arg(round.committed);
  card.rows = {{tr("draft ms"), round.draft, {}, tr("milliseconds spent proposing")},
               {tr("verify ms"), round.verify, {}, tr("milliseconds in the target's forwards")},
               {tr("other ms"),
                round.other,
                {},
                tr("milliseconds of everything else: sampling, recording, bookkeeping")},
               {tr("acceptance (EMA)"),
                round.trend,
                {},
                tr("accepted ÷ tested, exponentially averaged with weight 0.3 on the newest round")}};
  for (const Event& event : line.step(index)->events)
    if (const auto* note = std::get_if<NoteFact>(&event))
      card.sentence +=
          (card.sentence.isEmpty() ? QString() : QStringLiteral("\n")) + QString::fromStdString(note->text);
    else if (const auto* change = std::get_if<SwitchFact>(&event))
      card.sentence += (card.sentence.isEmpty() ? QString() : QStringLiteral("\n")) +
                       tr("%1: %2 → %3, %4")
                           .arg(QString::fromStdString(change->what), QString::fromStdString(change->from),
                                QString::fromStdString(change->to), QString::fromStdString(change->reason));
  return card;
}

}  // namespace

WhyCard whyOf(const Line& line, const MarkId& mark) {
  if (mark.kind == MarkId::Kind::none && line.isTraining()) return recipeCard(*line.info());
  const int index = line.indexOf(mark);
  if (index < 0) return {};
  if (mark.kind == MarkId::Kind::round) return roundCard(line, index);
  if (mark.kind == MarkId::Kind::measure) return measureCard(line, index, mark.item);
  if (mark.kind == MarkId::Kind::cell) return cellCard(line, mark, index);
  if (mark.kind != MarkId::Kind::node) return {};
  const StepRecord& step = *line.step(index);
  const Round round = roundOf(step, line.rootOf(index));
  const auto at = static_cast<std::int32_t>(mark.item + 1);
  if (at < 0 || at >= static_cast<std::int32_t>(round.nodes.size())) return {};
  const RoundNode& node = round.nodes[static_cast<std::size_t>(at)];
  WhyCard card;
  if (at == 0) {
    card.heading = tr("The pending token");
    card.title = quoted(line, node.token);
    card.subtitle = tr("round %1 · root").arg(index);
    card.sentence = tr("The last token of the text. Everything in this round was proposed to follow it.");
    return card;
  }
  const NodeId parent = node.parent - 1;
  const DrawFact* draw = drawAfter(step, parent);
  if (node.verdict) {
    const VerdictFact& v = *node.verdict;
    const bool kept = v.verdict == VerdictKind::accepted, tested = kept || v.verdict == VerdictKind::rejected;
    card.tone = toneOf(v);
    card.heading = kept     ? tr("Why was it accepted?")
                   : tested ? tr("Why was it rejected?")
                            : tr("Why was it not tested?");
    card.title = QStringLiteral("%1 %2").arg(kept     ? QStringLiteral("✓")
                                             : tested ? QStringLiteral("✕")
                                                      : QStringLiteral("–"),
                                             quoted(line, node.token));
    card.subtitle = tr("round %1 · node %2 · depth %3 · rank %4 of %5")
                        .arg(index)
                        .arg(mark.item)
                        .arg(node.depth)
                        .arg(node.rank + 1)
                        .arg(node.siblings);
    card.rows.push_back(probability(
        tr("drafter q(x)"), node.q,
        tr("the drafter's probability after processing; not known for retrieval; from the propose event")));
    if (tested || !std::isnan(v.p))
      card.rows.push_back(
          probability(tr("target p(x)"), v.p,
                      tested ? tr("the target's probability at the moment of the test, after processing and "
                                  "earlier residual updates; from the verdict event")
                             : tr("what the target would have given it; the draft was verified in one "
                                  "forward, so the number is known although nothing was tested")));
    if (std::isnan(v.p) && std::isnan(v.pRaw))
      card.rows.push_back({tr("target p(x)"), kUnknown, tr("not seen"),
                           tr("the target did not look at this node, or the run was recorded without "
                              "distributions")});
    if (!std::isnan(v.pRaw))
      card.rows.push_back(probability(tr("raw p(x)"), v.pRaw,
                                      tr("softmax of the raw logits, before temperature and filters")));
    if (v.pRank >= 0)
      card.rows.push_back({tr("rank under target"), kUnknown, tr("%1 (from 1)").arg(v.pRank + 1),
                           tr("how many tokens the target liked more, plus one")});
    const bool ratio = v.rule == VerificationRule::r1 || v.rule == VerificationRule::r2;
    if (!std::isnan(node.q) && node.q > 0 && !std::isnan(v.p))
      card.rows.push_back(
          {tr("ratio p/q"), v.p / node.q, {}, tr("how much more the target likes it than the drafter does")});
    if (tested && ratio)
      card.rows.push_back({tr("accept if u < p/q"), v.threshold, {}, tr("threshold = min(1, p/q)")});
    if (tested && v.rule == VerificationRule::r4)
      card.rows.push_back({tr("accept if p >"), v.threshold, {}, tr("the bound of the lossy rule")});
    if (tested && v.rule == VerificationRule::r3)
      card.rows.push_back(
          {tr("accepted with probability"),
           v.threshold,
           {},
           tr("the target draws once at the parent; the chance that it draws this token is p")});
    const double u = std::isnan(v.u) && draw ? draw->u : v.u;
    if (tested && !std::isnan(u))
      card.rows.push_back({tr("u drawn"),
                           u,
                           {},
                           tr("uniform in [0, 1); a pure function of seed, run, step, node and purpose")});
    card.rows.push_back({tr("rule"), kUnknown, QString::fromLatin1(name(v.rule)),
                         tr("greedy: argmax; R1: independent samples; R2: without replacement; R3: one draw "
                            "of the target, matched; R4: lossy threshold")});
    QString outcome = QString::fromLatin1(name(v.verdict));
    if (tested && ratio && !std::isnan(v.u))
      outcome = QStringLiteral("%1 %2 %3")
                    .arg(rounded(v.u), v.u < v.threshold ? QStringLiteral("<") : QStringLiteral("≥"),
                         rounded(v.threshold));
    card.rows.push_back({tr("verdict"), kUnknown, outcome, {}, true});
    card.sentence = verdictSentence(line, node, draw);
    if (v.verdict == VerdictKind::rejected) {
      const auto successor = std::find_if(round.nodes.begin() + round.proposed + 1, round.nodes.end(),
                                          [&](const RoundNode& n) { return n.parent == node.parent; });
      if (successor != round.nodes.end() && successor->draw)
        card.sentence +=
            (v.rule == VerificationRule::greedy ? tr("\nInstead: %1, of probability %2.")
                                                : tr("\nInstead: %1, drawn with probability %2."))
                .arg(quoted(line, successor->token), rounded(successor->draw->probability));
    }
    return card;
  }
  if (node.commit) {
    const Provenance who = node.commit->provenance;
    card.tone = who == Provenance::bonus       ? Tone::bonus
                : who == Provenance::resampled ? Tone::resampled
                : who == Provenance::forced    ? Tone::forced
                                               : Tone::neutral;
    card.heading = tr("Why is it there?");
    const QString sign = who == Provenance::bonus       ? QStringLiteral("★ ")
                         : who == Provenance::resampled ? QStringLiteral("↻ ")
                                                        : QString();
    card.title = sign + quoted(line, node.token);
    card.subtitle = tr("round %1 · %2 · position %3")
                        .arg(index)
                        .arg(QString::fromLatin1(name(who)))
                        .arg(node.commit->position);
    if (node.draw) {
      card.rows.push_back(probability(tr("probability"), node.draw->probability,
                                      tr("in the distribution it was drawn from; from the draw event")));
      if (!std::isnan(node.draw->u)) {
        card.rows.push_back({tr("u drawn"), node.draw->u, {}, tr("uniform in [0, 1)")});
        card.rows.push_back(
            {tr("interval"), kUnknown,
             QStringLiteral("[%1, %2)").arg(rounded(node.draw->low), rounded(node.draw->high)),
             tr("of the cumulative distribution: [%1, %2)")
                 .arg(exactText(node.draw->low), exactText(node.draw->high)),
             true});
      } else {
        card.rows.push_back(
            {tr("choice"), kUnknown, tr("most probable token"), tr("temperature 0: nothing is drawn"), true});
      }
    }
    for (const Event& event : step.events)
      if (const auto* score = std::get_if<ScoreFact>(&event); score && score->name == kForcedProbability)
        card.rows.push_back(probability(tr("raw p(x)"), score->value,
                                        tr("what the target would have given it: softmax of the raw logits, "
                                           "before temperature and filters; from the score event")));
    switch (who) {
      case Provenance::bonus:
        card.sentence =
            tr("Every proposed token on the path was accepted, so the target's own next token comes for "
               "free: the forward that verified the draft had computed it already.");
        break;
      case Provenance::resampled:
        card.sentence =
            tr("A proposal was refused, so this token was drawn from what the drafter had left over: the "
               "residual max(0, p − q), normalised. This keeps the text distributed as the target's.");
        break;
      case Provenance::forced:
        card.sentence = tr("You chose this token. The probability is what the model would have given it.");
        break;
      case Provenance::kept:
        card.sentence =
            tr("The run that was forked had written it here. It was kept, because the token that was "
               "forced stands further on in the same round.");
        break;
      case Provenance::denoised:
        card.sentence = tr("A masked position was filled in.");
        break;
      default:
        card.sentence =
            node.draw && std::isnan(node.draw->u)
                ? tr("The target's most probable next token.")
                : tr("The target drew it: u falls into the token's interval of the cumulative distribution.");
        if (round.proposed > 0) card.sentence += tr(" No proposal matched here.");
    }
    return card;
  }
  card.heading = tr("Why was it not tested?");
  card.title = quoted(line, node.token);
  card.tone = Tone::notReached;
  card.subtitle = tr("round %1 · node %2 · depth %3").arg(index).arg(mark.item).arg(node.depth);
  card.rows.push_back(probability(tr("drafter q(x)"), node.q, tr("from the propose event")));
  card.sentence = tr("No verdict was recorded for it.");
  return card;
}

Distributions distributionsOf(const Line& line, const MarkId& mark, int entries) {
  Distributions result;
  const int index = line.indexOf(mark);
  if (index < 0) return result;
  const StepRecord& step = *line.step(index);
  NodeId node = kRootNode;
  if (mark.kind == MarkId::Kind::node && mark.item >= 0) {
    const Round round = roundOf(step, line.rootOf(index));
    if (mark.item + 1 >= static_cast<std::int64_t>(round.nodes.size())) return result;
    node = std::max(round.nodes[static_cast<std::size_t>(mark.item) + 1].parent - 1, kRootNode);
    result.after = tr("after %1").arg(quoted(line, round.nodes[static_cast<std::size_t>(node) + 1].token));
  } else if (mark.kind == MarkId::Kind::cell) {
    result.after = tr("at position %1").arg(mark.item);
  } else {
    result.after = tr("after %1").arg(quoted(line, line.rootOf(index)));
  }
  std::map<TokenId, DistributionRow> rows;
  const DistributionFact *target = nullptr, *raw = nullptr, *residual = nullptr;
  const auto take = [&](const DistributionFact& fact, double DistributionRow::*member) {
    for (std::size_t i = 0; i < fact.tokens.size(); ++i) {
      DistributionRow& row = rows[fact.tokens[i]];
      row.token = fact.tokens[i];
      row.*member = fact.probabilities[i];
    }
  };
  for (const Event& event : step.events) {
    const auto* fact = std::get_if<DistributionFact>(&event);
    if (!fact) continue;
    if (mark.kind == MarkId::Kind::cell ? fact->position != mark.item
                                        : (fact->node != node || fact->position >= 0))
      continue;
    if (fact->kind == DistributionKind::draft) {
      take(*fact, &DistributionRow::q);
      result.hasDraft = true;
    } else if (fact->kind == DistributionKind::residual) {
      residual = fact;  // the last stage: what was drawn from
    } else if (fact->kind == DistributionKind::target) {
      target = fact;
    } else {
      raw = fact;
    }
  }
  if (residual) take(*residual, &DistributionRow::residual), result.hasResidual = true;
  if (const DistributionFact* shown = target ? target : raw) {
    take(*shown, &DistributionRow::p);
    result.entropy = shown->entropy;
    result.tailMass = shown->tailMass;
  }
  if (raw) result.rawEntropy = raw->entropy;
  for (const auto& [token, row] : rows) result.rows.push_back(row);
  const auto largest = [](const DistributionRow& r) {
    double most = 0;
    for (const double v : {r.q, r.p, r.residual})
      if (!std::isnan(v)) most = std::max(most, v);
    return most;
  };
  std::stable_sort(
      result.rows.begin(), result.rows.end(),
      [&](const DistributionRow& a, const DistributionRow& b) { return largest(a) > largest(b); });
  if (result.rows.size() > static_cast<std::size_t>(entries))
    result.rows.resize(static_cast<std::size_t>(entries));
  return result;
}

QString whyJson(const Line& line, const MarkId& mark) {
  const WhyCard card = whyOf(line, mark);
  QJsonObject object{{"run", static_cast<qint64>(mark.run.value)},
                     {"step", static_cast<qint64>(mark.step)},
                     {mark.kind == MarkId::Kind::cell      ? "position"
                      : mark.kind == MarkId::Kind::measure ? "curve"
                                                           : "node",
                      static_cast<qint64>(mark.item)},
                     {"title", card.title},
                     {"why", card.sentence}};
  for (const WhyRow& row : card.rows)
    object.insert(row.label, row.text.isEmpty() ? std::isnan(row.value) ? QJsonValue() : QJsonValue(row.value)
                                                : QJsonValue(row.text));
  return QString::fromUtf8(QJsonDocument(object).toJson(QJsonDocument::Indented));
}

}  // namespace decoscope
