// The line of one run as views need it: its steps in order, its text, a summary of each round. Follows a
// trace; knows nothing of how it is made. GUI thread; never blocks: steps that are not in memory are asked
// for and arrive later.
#pragma once

#include <QObject>
#include <QString>
#include <memory>
#include <optional>
#include <vector>

#include "core/figure/Curves.h"
#include "core/figure/Layouts.h"
#include "core/trace/Round.h"
#include "core/trace/Trace.h"

namespace decoscope {

struct RoundSummary {
  std::int32_t proposed = 0, accepted = 0, tested = 0, committed = 0, depth = 0;
  double draft = 0, verify = 0, other = 0;  // milliseconds
  double trend = kUnknown;  // acceptance, exponentially averaged (weight 0.3 on the newest round)
  bool cells = false, measures = false, failed = false;
  double total() const { return draft + verify + other; }
};

class Line : public QObject {
  Q_OBJECT
 public:
  using QObject::QObject;

  // Shows a run of a source; a null source or run shows nothing.
  void show(std::shared_ptr<const TraceSource> source, RunId run);
  // Takes up what the source has new. Cheap when there is nothing.
  void refresh();

  RunId run() const { return run_; }
  const std::shared_ptr<const TraceSource>& source() const { return source_; }
  const std::optional<RunInfo>& info() const { return info_; }
  int count() const { return static_cast<int>(steps_.size()); }
  int expected() const { return expected_; }  // steps that the source has; more than count() while they load
  const StepPointer& step(int index) const { return steps_[static_cast<std::size_t>(index)]; }
  const std::vector<StepPointer>& steps() const { return steps_; }
  const RoundSummary& round(int index) const { return rounds_[static_cast<std::size_t>(index)]; }
  TokenId rootOf(int index) const { return roots_[static_cast<std::size_t>(index)]; }
  const std::vector<TextToken>& text() const { return text_; }
  bool hasCells() const { return cells_; }
  bool hasProposals() const { return proposals_; }
  bool hasMeasures() const { return !curves_->empty(); }
  // A run that decodes nothing; known before its steps are loaded.
  bool isTraining() const { return info_ && decoscope::isTraining(*info_); }
  // What was measured so far: a snapshot, usable on any thread. Never null.
  std::shared_ptr<const CurveSet> curves() const { return curves_; }
  double longestMilliseconds() const { return longest_; }
  std::int64_t nodes() const { return nodes_; }

  std::string label(TokenId token) const;  // visible form, UTF-8
  QString text(TokenId token) const { return QString::fromStdString(label(token)); }
  TokenLabel labels() const;  // usable on any thread

  // The mark in the draft tree that stands for a token of the text, and the other way round.
  MarkId markOf(const TextToken& token) const;
  std::int64_t positionOf(const MarkId& mark) const;  // -1: not in the text
  int indexOf(const MarkId& mark) const;              // of its step; -1: not in this line
  // The tokens from the first below the root of the mark's round down to a node; empty for a round or a root.
  std::vector<TokenId> pathTo(const MarkId& mark) const;

 Q_SIGNALS:
  void reset();
  void appended(int first, int count);
  void infoChanged();

 private:
  bool take(StepIndex index);

  std::shared_ptr<const TraceSource> source_;
  std::shared_ptr<const TokenNames> names_;
  RunId run_;
  std::optional<RunInfo> info_;
  std::vector<LineSegment> segments_;
  std::vector<StepPointer> steps_;
  std::vector<RoundSummary> rounds_;
  std::vector<TokenId> roots_;
  std::vector<TextToken> text_;
  std::shared_ptr<CurveSet> curves_ = std::make_shared<CurveSet>();
  int expected_ = 0, requested_ = 0;
  bool cells_ = false, proposals_ = false;
  double longest_ = 0, trend_ = kUnknown;
  std::int64_t nodes_ = 0;
};

}  // namespace decoscope
