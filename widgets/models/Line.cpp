#include "widgets/models/Line.h"

#include <algorithm>
#include <atomic>

namespace decoscope {

void Line::show(std::shared_ptr<const TraceSource> source, RunId run) {
  source_ = std::move(source);
  run_ = run;
  names_.reset();
  info_.reset();
  segments_.clear();
  steps_.clear();
  rounds_.clear();
  roots_.clear();
  text_.clear();
  curves_ = std::make_shared<CurveSet>();
  expected_ = requested_ = 0;
  cells_ = proposals_ = false;
  longest_ = 0;
  trend_ = kUnknown;
  nodes_ = 0;
  if (source_ && run_) {
    info_ = source_->run(run_);
    names_ = source_->tokens(run_);
    segments_ = lineOf(*source_, run_);
    if (!segments_.empty()) {
      const auto root = source_->run(segments_.front().run);
      for (std::size_t i = 0; root && i < root->prompt.size(); ++i)
        text_.push_back(
            {static_cast<std::int64_t>(i), root->prompt[i], Provenance::prompt, {}, -1, kRootNode});
      for (const LineSegment& segment : segments_) source_->request(segment.run, segment.first, segment.end);
      expected_ = requested_ = static_cast<int>(segments_.back().end);
      while (count() < expected_ && take(count())) {
      }
    }
  }
  Q_EMIT reset();
  Q_EMIT infoChanged();
}

void Line::refresh() {
  if (!source_ || !run_) return;
  info_ = source_->run(run_);
  if (!segments_.empty()) segments_.back().end = std::max(segments_.back().end, source_->extent(run_).second);
  expected_ = segments_.empty() ? 0 : static_cast<int>(segments_.back().end);
  const int first = count();
  while (count() < expected_ && take(count())) {
  }
  // Steps that another program has written are not in memory by themselves.
  if (count() < expected_ && requested_ < expected_) {
    source_->request(run_, std::max(count(), requested_), expected_);
    requested_ = expected_;
  }
  if (count() > first) Q_EMIT appended(first, count() - first);
  Q_EMIT infoChanged();
}

bool Line::take(StepIndex index) {
  StepPointer step = source_->tryStep(run_, index);
  if (!step) return false;
  RoundSummary summary;
  for (const Event& event : step->events) {
    if (const auto* verdict = std::get_if<VerdictFact>(&event)) {
      summary.accepted += verdict->verdict == VerdictKind::accepted;
      summary.tested +=
          verdict->verdict == VerdictKind::accepted || verdict->verdict == VerdictKind::rejected;
    } else if (const auto* propose = std::get_if<ProposeFact>(&event)) {
      ++summary.proposed;
      summary.depth = std::max(summary.depth, propose->depth);
    } else if (std::holds_alternative<CellFact>(event)) {
      summary.cells = true;
    } else if (std::holds_alternative<CommitFact>(event)) {
      ++summary.committed;
    } else if (std::holds_alternative<MeasureFact>(event)) {
      summary.measures = true;
    }
  }
  summary.draft = step->draftMilliseconds;
  summary.verify = step->verifyMilliseconds;
  summary.other = step->otherMilliseconds;
  summary.failed = step->failed;
  if (summary.tested > 0) {
    const double rate = static_cast<double>(summary.accepted) / summary.tested;
    trend_ = std::isnan(trend_) ? rate : 0.7 * trend_ + 0.3 * rate;
  }
  summary.trend = trend_;
  longest_ = std::max(longest_, summary.total());
  if (summary.measures) {
    // Who has taken a snapshot keeps it as it was; without one the set grows in place. The fence orders what
    // follows after the last use on another thread.
    if (curves_.use_count() > 1) curves_ = std::make_shared<CurveSet>(*curves_);
    std::atomic_thread_fence(std::memory_order_acquire);
    curves_->add(*step);
  }
  cells_ |= summary.cells;
  proposals_ |= summary.proposed > 0;
  nodes_ += summary.proposed;
  const auto before = std::find_if(text_.rbegin(), text_.rend(), [&](const TextToken& token) {
    return token.position < step->committedBefore;
  });
  roots_.push_back(before == text_.rend() ? 0 : before->token);
  const RunId owner = step->run;
  bool ordered = true;
  for (const Event& event : step->events)
    if (const auto* commit = std::get_if<CommitFact>(&event)) {
      ordered &= text_.empty() || text_.back().position < commit->position;
      text_.push_back({commit->position, commit->token, commit->provenance, owner, step->step, commit->node});
    }
  if (!ordered)
    std::stable_sort(text_.begin(), text_.end(),
                     [](const TextToken& a, const TextToken& b) { return a.position < b.position; });
  rounds_.push_back(summary);
  steps_.push_back(std::move(step));
  return true;
}

std::string Line::label(TokenId token) const {
  return labels()(token);
}

TokenLabel Line::labels() const {
  return [names = names_](TokenId token) {
    if (names) return visibleToken(names->bytesOf(token));
    return std::string("#").append(std::to_string(token));
  };
}

MarkId Line::markOf(const TextToken& token) const {
  if (token.step < 0 || token.step >= count())
    return {MarkId::Kind::token, token.run, token.step, token.position};
  const StepPointer& step = this->step(static_cast<int>(token.step));
  if (rounds_[static_cast<std::size_t>(token.step)].cells)
    return {MarkId::Kind::cell, step->run, step->step, token.position};
  std::int64_t item = token.node;
  if (item < 0) {
    // The drawn tokens stand after the proposed ones, in the order of their commits.
    item = rounds_[static_cast<std::size_t>(token.step)].proposed;
    for (const Event& event : step->events)
      if (const auto* commit = std::get_if<CommitFact>(&event); commit && commit->node < 0) {
        if (commit->position == token.position) break;
        ++item;
      }
  }
  return {MarkId::Kind::node, step->run, step->step, item};
}

int Line::indexOf(const MarkId& mark) const {
  if (mark.step < 0 || mark.step >= count()) return -1;
  return step(static_cast<int>(mark.step))->run == mark.run ? static_cast<int>(mark.step) : -1;
}

std::vector<TokenId> Line::pathTo(const MarkId& mark) const {
  std::vector<TokenId> path;
  const int index = indexOf(mark);
  if (index < 0 || mark.kind != MarkId::Kind::node) return path;
  const Round round = roundOf(*step(index), rootOf(index));
  // Parents stand before children; a damaged record that says otherwise ends the walk.
  for (std::int64_t at = mark.item + 1; at > 0 && at < static_cast<std::int64_t>(round.nodes.size());) {
    const RoundNode& node = round.nodes[static_cast<std::size_t>(at)];
    path.push_back(node.token);
    if (node.parent >= at) break;
    at = node.parent;
  }
  std::reverse(path.begin(), path.end());
  return path;
}

std::int64_t Line::positionOf(const MarkId& mark) const {
  if (mark.kind == MarkId::Kind::token || mark.kind == MarkId::Kind::cell) return mark.item;
  const int index = indexOf(mark);
  if (index < 0 || mark.kind != MarkId::Kind::node) return -1;
  if (mark.item < 0) return step(index)->committedBefore - 1;
  const Round round = roundOf(*step(index), rootOf(index));
  if (mark.item + 1 >= static_cast<std::int64_t>(round.nodes.size())) return -1;
  const CommitFact* commit = round.nodes[static_cast<std::size_t>(mark.item) + 1].commit;
  return commit ? commit->position : -1;
}

}  // namespace decoscope
