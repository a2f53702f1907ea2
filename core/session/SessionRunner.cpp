#include "core/session/SessionRunner.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <mutex>
#include <thread>

#include "core/session/Engine.h"

namespace decoscope {

namespace {

// Whether a finished step is one that the user wanted to pause after.
bool meets(const RunCondition& condition, const StepRecord& step) {
  switch (condition.kind) {
    case RunCondition::Kind::none:
      return false;
    case RunCondition::Kind::step:
      return step.step + 1 >= condition.step;
    case RunCondition::Kind::nextReject:
      return std::any_of(step.events.begin(), step.events.end(), [](const Event& event) {
        const auto* verdict = std::get_if<VerdictFact>(&event);
        return verdict && verdict->verdict == VerdictKind::rejected;
      });
    case RunCondition::Kind::token:
      return std::any_of(step.events.begin(), step.events.end(), [&](const Event& event) {
        const auto* commit = std::get_if<CommitFact>(&event);
        return commit && commit->token == condition.token;
      });
    case RunCondition::Kind::entropyAbove:
      return std::any_of(step.events.begin(), step.events.end(), [&](const Event& event) {
        const auto* fact = std::get_if<DistributionFact>(&event);
        return fact && fact->kind == DistributionKind::targetRaw && fact->node == kRootNode &&
               fact->entropy > condition.bound;
      });
    case RunCondition::Kind::probabilityBelow: {
      // The committed token under the raw distribution of the row before it.
      NodeId before = kRootNode;
      for (const Event& event : step.events)
        if (const auto* commit = std::get_if<CommitFact>(&event)) {
          for (const Event& other : step.events)
            if (const auto* fact = std::get_if<DistributionFact>(&other);
                fact && fact->kind == DistributionKind::targetRaw && fact->node == before &&
                fact->position < 0) {
              const auto found = std::find(fact->tokens.begin(), fact->tokens.end(), commit->token);
              const double p =
                  found == fact->tokens.end()
                      ? 0
                      : fact->probabilities[static_cast<std::size_t>(found - fact->tokens.begin())];
              if (p < condition.bound) return true;
            }
          before = commit->node;
        }
      return false;
    }
  }
  return false;
}

class SessionRunner final : public SessionPort {
 public:
  SessionRunner() {
    engine_ = std::make_unique<Engine>(recordInMemory(notices()));
    trace_ = engine_->recording().source;
    thread_ = std::thread([this] { loop(); });
  }
  ~SessionRunner() override {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
      commands_.clear();
      stopSource_.request_stop();
    }
    wake_.notify_all();
    thread_.join();
  }

  std::vector<MethodCard> methods() const override {
    std::vector<MethodCard> cards;
    for (const MethodInfo* method : MethodRegistry::instance().methods())
      cards.push_back({method->name, method->title, method->family, method->citation, method->lossless,
                       method->summary, method->roles, method->needs, method->schema});
    return cards;
  }

  void loadModel(const std::string& role, const std::string& name, const std::string& dtype,
                 const std::string& device) override {
    post([=, this](const StopToken& stop) -> Status {
      LoadOptions options;
      options.dtype = dtype;
      options.device = device;
      options.progress = [this](double fraction, const std::string& phase) {
        report(Activity::loading, fraction, phase);
      };
      report(Activity::loading, 0, "Opening " + name);
      return engine_->loadModel(role, name, options, stop);
    });
  }
  void startRun(const RunRequest& request, const Continuation& next) override {
    post([=, this](const StopToken& stop) -> Status {
      std::map<std::string, Engine::Choice> choices;
      for (const auto& [role, name] : request.models) {
        LoadOptions options;
        options.dtype = request.dtype;
        options.device = request.device;
        options.progress = [this](double fraction, const std::string& phase) {
          report(Activity::loading, fraction, phase);
        };
        choices[role.empty() ? "target" : role] = {name, options};
      }
      DECOSCOPE_TRY(engine_->loadModels(choices, stop));
      DECOSCOPE_TRY(engine_->startRun(request));
      return goOn(next, stop);
    });
  }
  void step(int count) override {
    post([=, this](const StopToken& stop) { return advance(Activity::stepping, count, {}, stop); });
  }
  void run(const RunCondition& condition) override {
    post([=, this](const StopToken& stop) { return advance(Activity::running, -1, condition, stop); });
  }
  void pause() override { pausing_ = true; }
  void stop() override {
    const std::lock_guard lock(mutex_);
    commands_.clear();
    stopSource_.request_stop();
  }
  void fork(const ForkRequest& request, const Continuation& next) override {
    post([=, this](const StopToken& stop) -> Status {
      const auto replaying = [this](double fraction, const std::string& phase) {
        report(Activity::replaying, fraction, phase);
      };
      DECOSCOPE_TRY(engine_->fork(request, stop, replaying));
      return goOn(next, stop);
    });
  }
  void setCurrentRun(RunId run, const Continuation& next) override {
    post([=, this](const StopToken& stop) -> Status {
      DECOSCOPE_TRY(engine_->resume(run, stop, [this](double fraction, const std::string& phase) {
        report(Activity::replaying, fraction, phase);
      }));
      return goOn(next, stop);
    });
  }

  SessionState state() const override {
    const std::lock_guard lock(mutex_);
    return state_;
  }
  std::shared_ptr<const TraceSource> trace() const override {
    const std::lock_guard lock(mutex_);
    return trace_;
  }

  Result<PromptPreview> previewPrompt(const RunRequest& request) const override {
    std::shared_ptr<const Tokenizer> tokenizer;
    {
      const std::lock_guard lock(mutex_);
      tokenizer = tokenizer_;
    }
    if (!tokenizer)
      return fail(ErrorCode::notFound, "no model is loaded", "", "Choose one to see what it would read.");
    PromptPreview preview;
    DECOSCOPE_ASSIGN(preview.tokens, promptTokens(*tokenizer, request));
    preview.text = tokenizer->decode(preview.tokens);
    return preview;
  }

  void openSession(const std::string& path) override {
    post([=, this](const StopToken&) -> Status {
      Recording recording = recordInMemory(notices());
      if (!path.empty()) {
        // A file that is there is opened for writing, and for reading only where somebody else writes.
        DECOSCOPE_ASSIGN(recording, recordInFile(path, OpenMode::create, notices()));
      }
      replace(std::move(recording));
      return {};
    });
  }
  void saveSessionAs(const std::string& path) override {
    post([=, this](const StopToken&) { return saveAs(path); });
  }
  void setListener(std::function<void(const TraceNotice*)> changed) override {
    const std::lock_guard lock(listenerMutex_);
    listener_ = std::move(changed);
  }

 private:
  using Command = std::function<Status(const StopToken&)>;

  void post(Command command) {
    {
      const std::lock_guard lock(mutex_);
      if (closing_) return;
      commands_.push_back(std::move(command));
    }
    wake_.notify_all();
  }

  NoticeFunction notices() {
    return [this](const TraceNotice& notice) {
      if (notice.kind == TraceNotice::Kind::durable) {
        const std::lock_guard lock(mutex_);
        if (notice.run == state_.run) state_.durable = std::max(state_.durable, notice.end);
      }
      tell(&notice);
    };
  }
  void tell(const TraceNotice* notice) {
    const std::lock_guard lock(listenerMutex_);
    if (listener_) listener_(notice);
  }
  void report(Activity activity, double progress, const std::string& phase) {
    {
      const std::lock_guard lock(mutex_);
      state_.activity = activity;
      state_.progress = progress;
      state_.phase = phase;
    }
    tell(nullptr);
  }

  void loop() {
    while (true) {
      Command command;
      StopToken stop;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return closing_ || !commands_.empty(); });
        if (closing_) break;
        command = std::move(commands_.front());
        commands_.pop_front();
        stopSource_ = StopSource();
        stop = stopSource_.get_token();
        state_.lastError.reset();
      }
      pausing_ = false;
      const Status status = command(stop);
      settle(status);
    }
    engine_.reset();
  }

  // Publishes where the engine stands after a command.
  void settle(const Status& status) {
    {
      const std::lock_guard lock(mutex_);
      copyEngine();
      state_.activity = Activity::idle;
      state_.progress = -1;
      state_.phase.clear();
      // Stopping is what the user asked for, not a failure.
      if (!status && status.error().code != ErrorCode::cancelled) {
        state_.lastError = status.error();
        ++state_.errorCount;
      }
    }
    tell(nullptr);
  }
  // Call with the mutex held, on the model thread.
  void copyEngine() {
    if (state_.run != engine_->current().id) state_.durable = 0;
    state_.run = engine_->current().id;
    state_.nextStep = engine_->nextStep();
    state_.stopReason = engine_->ended() ? engine_->current().stopReason : std::string();
    tokenizer_ = engine_->tokenizer();
    if (const Model* model = engine_->model()) {
      state_.modelName = model->info().name;
      state_.device = model->info().device;
      state_.dtype = model->info().dtype;
      state_.memoryBytes = model->memoryBytes();
    }
    const auto& store = engine_->recording().store;
    state_.sessionPath = store ? store->path() : std::string();
    state_.readOnly = store && store->readOnly();
  }

  Status goOn(const Continuation& next, const StopToken& stop) {
    {
      const std::lock_guard lock(mutex_);
      copyEngine();
    }
    if (next.steps > 0) DECOSCOPE_TRY(advance(Activity::stepping, next.steps, {}, stop));
    if (next.run && !engine_->ended()) return advance(Activity::running, -1, next.condition, stop);
    return {};
  }

  Status advance(Activity activity, int count, const RunCondition& condition, const StopToken& stop) {
    report(activity, -1, "");
    for (int done = 0; (count < 0 || done < count) && !pausing_; ++done) {
      auto step = engine_->step(stop);
      if (!step) return tl::unexpected<Error>(step.error());
      if (!*step) return {};
      measure(**step);
      {
        const std::lock_guard lock(mutex_);
        copyEngine();
      }
      tell(nullptr);
      if (engine_->ended() || meets(condition, **step)) return {};
    }
    return {};
  }

  // Speed and cost of recording over the last steps, newest counting most.
  void measure(const StepRecord& step) {
    const double seconds = (step.draftMilliseconds + step.verifyMilliseconds + step.otherMilliseconds) / 1e3;
    // Commits, not positions: a denoising step fills in behind the end of the text.
    const auto tokens =
        static_cast<double>(std::count_if(step.events.begin(), step.events.end(), [](const Event& event) {
          return std::holds_alternative<CommitFact>(event);
        }));
    recentSeconds_ = 0.9 * recentSeconds_ + seconds;
    recentTokens_ = 0.9 * recentTokens_ + tokens;
    const auto& [within, behind] = engine_->recordingCost();
    recentRecording_ = 0.9 * recentRecording_ + (within + behind) / 1e3;
    recentWhole_ = 0.9 * recentWhole_ + seconds + behind / 1e3;
    const std::lock_guard lock(mutex_);
    if (recentSeconds_ > 0) state_.tokensPerSecond = recentTokens_ / recentSeconds_;
    if (recentWhole_ > 0) state_.recordingShare = recentRecording_ / recentWhole_;
  }

  void replace(Recording recording) {
    engine_->moveTo(recording);
    const std::lock_guard lock(mutex_);
    trace_ = engine_->recording().source;
  }

  Status saveAs(const std::string& path) {
    std::error_code error;
    if (std::filesystem::exists(path, error))
      return fail(ErrorCode::usage, "there is a file of this name", path, "Choose another name.");
    DECOSCOPE_ASSIGN(const Recording target, recordInFile(path, OpenMode::create, notices()));
    const TraceSource& source = *engine_->recording().source;
    for (const RunInfo& info : source.runs()) {
      report(Activity::loading, -1, "Saving " + info.name);
      // Runs are numbered from 1 in both, in the same order, so parents keep their numbers.
      DECOSCOPE_ASSIGN(const RunId id, target.sink->beginRun(info, source.tokens(info.id)));
      if (id != info.id) return fail(ErrorCode::failed, "the runs cannot be numbered as they were", path);
      const auto [first, end] = source.extent(info.id);
      for (StepIndex index = first; index < end; ++index) {
        DECOSCOPE_ASSIGN(StepPointer step, source.step(info.id, index));
        DECOSCOPE_TRY(target.sink->append(std::move(step)));
      }
    }
    DECOSCOPE_TRY(target.store->flush());
    replace(target);
    return {};
  }

  std::unique_ptr<Engine> engine_;  // model thread only, after construction
  double recentSeconds_ = 0, recentTokens_ = 0, recentRecording_ = 0, recentWhole_ = 0;
  std::atomic<bool> pausing_ = false;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  std::deque<Command> commands_;
  SessionState state_;
  std::shared_ptr<const TraceSource> trace_;
  std::shared_ptr<const Tokenizer> tokenizer_;  // of the target
  StopSource stopSource_;
  bool closing_ = false;

  std::mutex listenerMutex_;
  std::function<void(const TraceNotice*)> listener_;

  std::thread thread_;
};

}  // namespace

std::unique_ptr<SessionPort> makeSession() {
  return std::make_unique<SessionRunner>();
}

}  // namespace decoscope
