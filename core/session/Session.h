// Commands in, sealed steps and notices out: how anything drives a session. Plain values only, so that the
// same port can serve a runner in another process.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/ParamSchema.h"
#include "core/base/Status.h"
#include "core/trace/Trace.h"

namespace decoscope {

// When a Run pauses by itself.
struct RunCondition {
  enum class Kind { none, nextReject, entropyAbove, probabilityBelow, token, step } kind = Kind::none;
  double bound = 0;  // nats, or a probability
  TokenId token = -1;
  StepIndex step = -1;  // pause before this step
};

// What a command goes on with once it has succeeded, as one command with it: first the steps, then a run. A
// failure is so reported for what failed, and nothing else is stepped in its place.
struct Continuation {
  int steps = 0;
  bool run = false;
  RunCondition condition;
};

// What a new run needs. Roles map to model names as `--model` takes them; "" is the target.
struct RunRequest {
  std::string name;
  std::string method = "sampling";
  std::vector<std::string> assignments;  // "name=value", checked against the method's schema
  std::map<std::string, std::string> models;
  std::string dtype = "auto", device = "auto";  // of `models`, as LoadOptions has them
  std::string promptText;                       // used when promptTokens is empty
  std::vector<TokenId> promptTokens;
  std::string chatJson;  // messages; wins over promptText
  std::int64_t maxNewTokens = 128;
  std::uint64_t seed = 0;
  std::vector<std::string> stopStrings;
  bool stopAtEnd = true;
  int topK = 32;
  std::string recordLevel = "full";
};

// What the model would read for a prompt.
struct PromptPreview {
  std::string text;  // with the special tokens spelled out
  std::vector<TokenId> tokens;
};

// A continuation of `run` from `step`: the steps before stay, `step` is done again with what is set here.
struct ForkRequest {
  RunId run;
  StepIndex step = 0;
  // Tokens that its first steps commit, one a step, instead of what the method would choose. Leading ones
  // that repeat the parent's own text count as kept. See forkPlaceOf() for a place in the middle of a round.
  std::vector<TokenId> force;
  std::optional<std::string> method;
  std::vector<std::string> assignments;
  std::optional<std::uint64_t> seed;
  std::optional<std::int64_t> maxNewTokens;
  std::string name;
};

enum class Activity { idle, loading, replaying, stepping, running };

// A copy of the runner's state; cheap, from any thread.
struct SessionState {
  Activity activity = Activity::idle;
  double progress = -1;  // 0 … 1 while loading or replaying; negative: unknown
  std::string phase;     // "Reading weights", …
  RunId run;             // the line that Step continues; 0: none
  StepIndex nextStep = 0;
  std::string stopReason;  // why the line cannot be stepped further; empty if it can
  std::string modelName, device, dtype;
  std::int64_t memoryBytes = 0;
  double tokensPerSecond = 0;  // over the last steps
  // The share of their time that went into the record, on the model thread: digesting distributions, handing
  // steps on. Negative: no step yet.
  double recordingShare = -1;
  StepIndex durable = 0;    // steps of `run` before this are on disk
  std::string sessionPath;  // empty: in memory only
  bool readOnly = false;
  std::optional<Error> lastError;  // of the last command; cleared by the next
  std::uint64_t errorCount = 0;    // grows by one with each error, so that a view notices a repeated one
};

// What a view may show about a method.
struct MethodCard {
  std::string name, title, family, citation, lossless, summary;
  std::vector<std::string> roles, needs;
  ParamSchema schema;
};

// Threading: every method may be called from any thread and returns at once; work happens on the model thread
// in order. `changed` is called from the model or writer thread whenever state() may differ; receivers
// coalesce it.
class SessionPort {
 public:
  virtual ~SessionPort() = default;

  virtual std::vector<MethodCard> methods() const = 0;
  virtual void loadModel(const std::string& role, const std::string& nameOrPath, const std::string& dtype,
                         const std::string& device) = 0;
  // Prefill happens with the first step.
  virtual void startRun(const RunRequest& request, const Continuation& next = {}) = 0;
  virtual void step(int count = 1) = 0;
  virtual void run(const RunCondition& condition = {}) = 0;  // until its end, a pause or the condition
  virtual void pause() = 0;                                  // after the current step
  virtual void stop() = 0;  // within one forward; ends the activity, keeps the line
  // Makes the new run current.
  virtual void fork(const ForkRequest& request, const Continuation& next = {}) = 0;
  // Step continues this line from its end.
  virtual void setCurrentRun(RunId run, const Continuation& next = {}) = 0;
  virtual SessionState state() const = 0;
  virtual std::shared_ptr<const TraceSource> trace() const = 0;
  // The prompt of this request as the loaded target would read it; nothing is started. Takes the time of
  // encoding, so on the GUI thread only for a few words. Errors: no model, a chat that its template refuses.
  virtual Result<PromptPreview> previewPrompt(const RunRequest& request) const = 0;
  // Replaces the whole session. The old one is flushed and closed. Empty path: a new one in memory.
  virtual void openSession(const std::string& path) = 0;
  virtual void saveSessionAs(const std::string& path) = 0;
  virtual void setListener(
      std::function<void(const TraceNotice*)> changed) = 0;  // null notice: only state changed
};

}  // namespace decoscope
