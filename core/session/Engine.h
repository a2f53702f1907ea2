// A session without a thread: models, the current line and its decoder, recording into a sink. The command
// line drives it directly; SessionRunner drives it from the model thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "core/decode/Decoder.h"
#include "core/model/ModelLoader.h"
#include "core/session/Session.h"
#include "core/store/SessionStore.h"
#include "core/trace/Trace.h"

namespace decoscope {

// Where a session records: a file, or memory.
struct Recording {
  std::shared_ptr<TraceSource> source;
  std::shared_ptr<TraceSink> sink;
  std::shared_ptr<SessionStore> store;  // null for a session in memory
};
Recording recordInMemory(NoticeFunction notice = {});
Result<Recording> recordInFile(const std::string& path, OpenMode mode, NoticeFunction notice = {});

// The prompt of a request, encoded: its ids, its chat by the tokenizer's template, or its text. Thread-safe.
Result<std::vector<TokenId>> promptTokens(const Tokenizer& tokenizer, const RunRequest& request);

// One thread at a time. A failed call leaves the recorded session as it was, but for the failed step that it
// records.
class Engine {
 public:
  explicit Engine(Recording recording) : recording_(std::move(recording)) {}

  const Recording& recording() const { return recording_; }
  // Records into another session from now on. Models stay; there is no current run.
  void moveTo(Recording recording);

  // Loads a model for a role (or keeps the one that is there, if it is the same). Ends the current line. A
  // draft head borrows from the target and is loaded behind it; when the target changes it is dropped, and
  // loaded again for the new one when a method needs it.
  Status loadModel(const std::string& role, const std::string& name, const LoadOptions& options,
                   const StopToken& stop);
  struct Choice {
    std::string name;
    LoadOptions options;
  };
  // By role, the target first.
  Status loadModels(const std::map<std::string, Choice>& choices, const StopToken& stop);
  // The same, names by role, with the same options for all.
  Status loadModels(const std::map<std::string, std::string>& names, const LoadOptions& options,
                    const StopToken& stop);
  // Puts an already loaded model into a role; for tests and for models shared between sessions.
  void adoptModel(const std::string& role, std::string name, LoadedModel model);
  const Model* model(const std::string& role = "target") const;
  std::shared_ptr<const Tokenizer> tokenizer() const;

  // Checks everything, encodes the prompt, and makes a new run current. Its first step runs the prompt.
  Result<RunId> startRun(const RunRequest& request);
  // One step of the current line; null when the line has ended. On `cancelled` nothing was recorded and the
  // step can be asked for again; on other errors the failed step is recorded and the run is marked failed.
  Result<StepPointer> step(const StopToken& stop);
  // Makes a continuation current. The steps before are run again (nothing is recorded), because a decoder's
  // state is a function of them; that repeats the original exactly. Where the session already stands at that
  // step it costs nothing. Error unsupported: a training, which has no text.
  Result<RunId> fork(const ForkRequest& request, const StopToken& stop,
                     const ProgressFunction& progress = {});
  // Continues a recorded line from its end, without a new run. The same re-run and errors as for a fork.
  Status resume(RunId run, const StopToken& stop, const ProgressFunction& progress = {});

  // Runs a recorded line again with the models that are loaded, recording nothing: `compare` gets each
  // recorded step of `run` and what came out now, in full. Ends with an error where a step commits other
  // tokens than the record. Ends the current line.
  using StepComparison = std::function<void(const StepRecord& recorded, const StepRecord& again)>;
  Status rerun(RunId run, const StepComparison& compare, const StopToken& stop);

  // The current run; id 0 when there is none.
  const RunInfo& current() const { return info_; }
  StepIndex nextStep() const { return nextStep_; }
  // What the record of the last step cost, in milliseconds: within the step's own time, and behind it.
  struct RecordingCost {
    double within = 0, behind = 0;
  };
  const RecordingCost& recordingCost() const { return recordingCost_; }
  bool ended() const { return !environment_.stopReason.empty(); }
  const std::vector<TokenId>& text() const { return environment_.text; }
  std::size_t promptLength() const { return environment_.promptLength; }
  // Records the end of the current run: its own stop reason, or `reason` where it was interrupted.
  Status finish(RunState state, const std::string& reason);

 private:
  struct Slot {
    std::string name;
    LoadOptions options;
    std::shared_ptr<const Model> base;  // what the model borrows from
    LoadedModel loaded;
    RoleModel role;
  };

  Status prepare(const RunInfo& info, bool fresh);
  Result<std::unique_ptr<Slot>> openSlot(const std::string& role, const std::string& name,
                                         const LoadOptions& options, const StopToken& stop) const;
  void adoptSlot(const std::string& role, std::unique_ptr<Slot> slot);
  Status fillRoles(const MethodInfo& method, const ParamSet& parameters, const StopToken& stop);
  Status enter(const RunInfo& info);
  Status replay(const std::vector<LineSegment>& line, const StopToken& stop, const ProgressFunction& progress,
                const StepComparison& compare = {});
  Result<std::vector<TokenId>> encodePrompt(const RunRequest& request) const;
  Result<ParamSet> parametersFor(const std::string& method, const ParamSet& base,
                                 const std::vector<std::string>& assignments) const;
  Status runStep();
  void keepState();
  std::vector<ModelIdentity> identities() const;

  Recording recording_;
  std::map<std::string, std::unique_ptr<Slot>> slots_;     // what was chosen, by role
  std::map<std::string, std::unique_ptr<Slot>> fillings_;  // bundled models for roles nobody chose, by path
  std::map<std::string, Slot*> cast_;                      // who plays which role in the current method
  std::map<std::string, Choice> dropped_;                  // heads of an earlier target, by role
  RunInfo info_;
  StepIndex nextStep_ = 0;
  DecodeEnvironment environment_;
  std::unique_ptr<Decoder> decoder_;
  std::unique_ptr<Recorder> recorder_;
  std::string decoderMethod_;
  RecordingCost recordingCost_;
  bool begun_ = false;
  std::map<std::string, std::string> measured_;  // facts measured for the loaded models, shared by their runs
};

}  // namespace decoscope
