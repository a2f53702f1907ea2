// Sealed steps, runs, and how they are read and written. Views know this header and nothing above it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/base/Ids.h"
#include "core/base/ParamSchema.h"
#include "core/base/Status.h"
#include "core/trace/Events.h"

namespace decoscope {

// Everything one press of Step did. Immutable once sealed; shared by pointer between threads.
struct StepRecord {
  RunId run;
  StepIndex step = 0;                // numbering of the whole line, from 0
  std::int64_t committedBefore = 0;  // tokens of the text before this step, prompt included
  std::int64_t committedAfter = 0;
  double draftMilliseconds = 0, verifyMilliseconds = 0, otherMilliseconds = 0;
  std::int64_t startedAt = 0;  // microseconds since the Unix epoch
  bool failed = false;         // an error ended it; its NoteFact of kind "error" says which
  std::vector<Event> events;   // in the order they happened
};
using StepPointer = std::shared_ptr<const StepRecord>;

// Which model filled a role.
struct ModelIdentity {
  std::string role, name, path, fingerprint, dtype, device;
};

enum class RunState : std::uint8_t { running, paused, finished, stopped, failed };
const char* name(RunState state);

// A run: a line of steps, or the continuation of another one from a step.
struct RunInfo {
  RunId id;
  std::string name;        // for people; defaults to the method's title
  RunId parent;            // 0: begins with its own prompt
  StepIndex forkStep = 0;  // its first step; the steps before are its parent's
  // Tokens that its first steps had to commit, one a step, whatever the model thought. The first `kept`
  // repeat what the parent had written there (a fork in the middle of a round keeps what stands before it).
  std::vector<TokenId> forced;
  std::int32_t kept = 0;
  std::string method;
  ParamSet parameters;
  std::uint64_t seed = 0;
  std::uint32_t stream = 0;
  std::vector<ModelIdentity> models;
  std::string tokenizer;        // fingerprint
  std::string promptText;       // as given; empty when ids were given
  std::vector<TokenId> prompt;  // encoded
  std::int64_t maxNewTokens = 0;
  std::vector<std::string> stopStrings;
  bool stopAtEnd = true;             // stop at end-of-text tokens
  int topK = 32;                     // distribution entries recorded per row
  std::string recordLevel = "full";  // full, light, none
  std::map<std::string, std::string>
      notes;                   // "cost_curve" and other measured facts that a repeat needs; versions
  std::int64_t createdAt = 0;  // microseconds since the Unix epoch
  RunState state = RunState::running;
  std::string stopReason;  // "eos", "length", "stop_string", "context", "stopped", "error", …
  double prefillMilliseconds = 0;
  std::int64_t peakMemoryBytes = 0;
};

// Runs of this method, or of "train:NAME", decode nothing: a training has no prompt and no tokens, its
// parameters are its recipe, and its steps hold MeasureFacts. See MeasuredRun.h.
inline constexpr const char* kTrainingMethod = "train";
bool isTraining(const RunInfo& info);

// The token that this step of the run (not of its ancestors) had to commit; nothing where the method chose.
std::optional<TokenId> forcedAt(const RunInfo& info, StepIndex step);

// Bytes of tokens as they occur in a trace, so that a trace can be shown without its model. Thread-safe.
class TokenNames {
 public:
  virtual ~TokenNames() = default;
  virtual std::string bytesOf(TokenId token) const = 0;  // "" when unknown
};

// Token bytes made visible: leading space as "·", newline as "⏎", tab as "⇥", other controls and ill-formed
// bytes as "\xNN".
std::string visibleToken(std::string_view bytes);

// Read side. Thread-safe. Steps that are not in memory come back null from tryStep and may be asked for.
class TraceSource {
 public:
  virtual ~TraceSource() = default;
  virtual std::vector<RunInfo> runs() const = 0;
  virtual std::optional<RunInfo> run(RunId id) const = 0;
  // Steps [first, end) that this run itself holds (first == forkStep; the ones before are its parent's).
  virtual std::pair<StepIndex, StepIndex> extent(RunId id) const = 0;
  // Never blocks. `step` may be one of an ancestor's.
  virtual StepPointer tryStep(RunId id, StepIndex step) const = 0;
  // May block on disk: for exports, the command line and worker threads.
  virtual Result<StepPointer> step(RunId id, StepIndex step) const = 0;
  // Asks for steps to be brought into memory; a notice follows. Does nothing where all are in memory.
  virtual void request(RunId id, StepIndex first, StepIndex end) const = 0;
  virtual std::shared_ptr<const TokenNames> tokens(RunId id) const = 0;
};

// What changed; delivered on any thread, so receivers post it to their own.
struct TraceNotice {
  enum class Kind { runsChanged, stepsAppended, stepsLoaded, durable } kind = Kind::stepsAppended;
  RunId run;
  StepIndex first = 0, end = 0;  // durable: every step before `end` is on disk
};
using NoticeFunction = std::function<void(const TraceNotice&)>;

// Write side: what the session runner appends to. Called on the model thread.
class TraceSink {
 public:
  virtual ~TraceSink() = default;
  // Gives the run its id.
  virtual Result<RunId> beginRun(const RunInfo& info, std::shared_ptr<const TokenNames> tokens) = 0;
  virtual Status append(StepPointer step) = 0;
  // Replaces state, stopReason and the measured fields; id, parent and prompt never change.
  virtual Status updateRun(const RunInfo& info) = 0;
};

// A trace in memory: the tail of a live session, and the whole of one that has no file.
class MemoryTrace final : public TraceSource, public TraceSink {
 public:
  explicit MemoryTrace(NoticeFunction notice = {}) : notice_(std::move(notice)) {}
  std::vector<RunInfo> runs() const override;
  std::optional<RunInfo> run(RunId id) const override;
  std::pair<StepIndex, StepIndex> extent(RunId id) const override;
  StepPointer tryStep(RunId id, StepIndex step) const override;
  Result<StepPointer> step(RunId id, StepIndex step) const override;
  void request(RunId, StepIndex, StepIndex) const override {}
  std::shared_ptr<const TokenNames> tokens(RunId id) const override;
  Result<RunId> beginRun(const RunInfo& info, std::shared_ptr<const TokenNames> tokens) override;
  Status append(StepPointer step) override;
  Status updateRun(const RunInfo& info) override;

 private:
  struct Line {
    RunInfo info;
    std::vector<StepPointer> steps;
    std::shared_ptr<const TokenNames> tokens;
  };
  void tell(const TraceNotice& notice) const;
  mutable std::mutex mutex_;
  std::map<RunId, Line> lines_;
  NoticeFunction notice_;
};

// The line that ends in `id`: the run and step range of each segment, oldest first.
struct LineSegment {
  RunId run;
  StepIndex first = 0, end = 0;
};
std::vector<LineSegment> lineOf(const TraceSource& source, RunId id);

// One token of the text of a line, with where it came from.
struct TextToken {
  std::int64_t position = 0;
  TokenId token = 0;
  Provenance provenance = Provenance::prompt;
  RunId run;            // 0 for the prompt
  StepIndex step = -1;  // -1 for the prompt
  NodeId node = kRootNode;
};
// The prompt and every commit of the line, by position. May block (uses step()).
Result<std::vector<TextToken>> textOf(const TraceSource& source, RunId id);

// Where a line is forked so that another token stands at `position` of its text: the step that wrote that
// token, and what this step had committed before it. `end` is the line's next step, for the position after
// the text. Errors: usage, for a position of the prompt or outside the text.
struct ForkPlace {
  StepIndex step = 0;
  std::vector<TokenId> kept;
};
Result<ForkPlace> forkPlaceOf(std::span<const TextToken> text, StepIndex end, std::int64_t position);

}  // namespace decoscope
