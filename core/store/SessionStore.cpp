#include "core/store/SessionStore.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>
#include <unordered_map>

#include "core/store/EventTables.h"
#include "core/store/Migrations.h"

namespace decoscope {

namespace {

using nlohmann::json;
using namespace std::chrono_literals;

constexpr std::size_t kQueueLimit = 4096;
constexpr std::size_t kCachedSteps = 50'000;
constexpr StepIndex kLoadedAtOnce = 256;
constexpr auto kLookAgain = 500ms;  // for what another program writes
constexpr auto kGroupDelay = 8ms;  // how long a commit waits for company; durability is promised within 50 ms

// Marks a session as open for writing: an advisory lock that dies with its process.
class WriterLock {
 public:
  // Empty result: somebody else holds it; `holder` says who.
  static std::unique_ptr<WriterLock> take(const std::string& sessionPath, std::string& holder) {
    const std::string path = sessionPath + ".lock";
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (descriptor < 0) {
      holder = std::string("its folder cannot be written: ") + std::strerror(errno);
      return nullptr;
    }
    if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
      char text[32] = {};
      const auto size = ::read(descriptor, text, sizeof text - 1);
      holder = std::string("another program has it open for writing") +
               (size > 0 ? ", process " + std::string(text) : "");
      ::close(descriptor);
      return nullptr;
    }
    const std::string own = std::to_string(::getpid());
    if (::ftruncate(descriptor, 0) != 0 || ::write(descriptor, own.data(), own.size()) < 0) {
      // The number is only for the other's message.
    }
    return std::unique_ptr<WriterLock>(new WriterLock(descriptor, path));
  }
  ~WriterLock() {
    ::unlink(path_.c_str());
    ::close(descriptor_);
  }

 private:
  WriterLock(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
  int descriptor_;
  std::string path_;
};

class StoredNames final : public TokenNames {
 public:
  std::string bytesOf(TokenId token) const override {
    const std::lock_guard lock(mutex_);
    const auto found = bytes_.find(token);
    return found == bytes_.end() ? std::string() : found->second;
  }
  void set(TokenId token, std::string bytes) {
    const std::lock_guard lock(mutex_);
    bytes_[token] = std::move(bytes);
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_map<TokenId, std::string> bytes_;
};

void collectTokens(const StepRecord& step, std::set<TokenId>& tokens) {
  for (const Event& event : step.events) {
    if (const auto* e = std::get_if<DistributionFact>(&event))
      tokens.insert(e->tokens.begin(), e->tokens.end());
    else if (const auto* e = std::get_if<ProposeFact>(&event))
      tokens.insert(e->token);
    else if (const auto* e = std::get_if<DrawFact>(&event))
      tokens.insert(e->token);
    else if (const auto* e = std::get_if<CommitFact>(&event))
      tokens.insert(e->token);
    else if (const auto* e = std::get_if<CellFact>(&event))
      tokens.insert(e->token);
  }
}

// Brings a database to the current schema, one transaction a revision.
Status migrate(const Database& database, const std::string& path) {
  DECOSCOPE_ASSIGN(std::int64_t version, database.number("PRAGMA user_version"));
  DECOSCOPE_ASSIGN(const std::int64_t application, database.number("PRAGMA application_id"));
  DECOSCOPE_ASSIGN(const std::int64_t tables, database.number("SELECT count(*) FROM sqlite_master"));
  if (tables > 0 && application != kApplicationId)
    return fail(ErrorCode::badInput, "this SQLite file is not a Decoscope session",
                path + ", field application_id", "Choose another file name.");
  if (version > kSchemaVersion)
    return fail(ErrorCode::badInput,
                "the session was written by a newer Decoscope (schema " + std::to_string(version) +
                    ", this one knows " + std::to_string(kSchemaVersion) + ")",
                path + ", field user_version", "Update Decoscope to open it.");
  for (; version < kSchemaVersion; ++version) {
    const std::string sql = std::string("BEGIN IMMEDIATE;") + kMigrations[version] +
                            ";PRAGMA application_id=" + std::to_string(kApplicationId) +
                            ";PRAGMA user_version=" + std::to_string(version + 1) + ";COMMIT";
    if (Status status = database.execute(sql); !status) {
      (void)database.execute("ROLLBACK");
      return status;
    }
  }
  return {};
}

Status checkReadable(const Database& database, const std::string& path) {
  DECOSCOPE_ASSIGN(const std::int64_t application, database.number("PRAGMA application_id"));
  DECOSCOPE_ASSIGN(const std::int64_t version, database.number("PRAGMA user_version"));
  if (application != kApplicationId)
    return fail(ErrorCode::badInput, "this file is not a Decoscope session", path + ", field application_id");
  if (version > kSchemaVersion)
    return fail(ErrorCode::badInput,
                "the session was written by a newer Decoscope (schema " + std::to_string(version) +
                    ", this one knows " + std::to_string(kSchemaVersion) + ")",
                path + ", field user_version", "Update Decoscope to open it.");
  return {};
}

class SqliteSession final : public SessionStore {
 public:
  SqliteSession(std::string path, NoticeFunction notice)
      : path_(std::move(path)), notice_(std::move(notice)) {}
  ~SqliteSession() override {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    changed_.notify_all();
    if (writer_.joinable()) writer_.join();
    if (loader_.joinable()) loader_.join();
  }

  Status start(OpenMode mode) {
    std::error_code error;
    const bool exists = std::filesystem::exists(path_, error);
    if (!exists && mode != OpenMode::create)
      return fail(ErrorCode::badInput, "there is no such session", path_, "Check the path.");
    if (mode == OpenMode::readOnly)
      readOnlyReason_ = "it was opened for reading";
    else
      lock_ = WriterLock::take(path_, readOnlyReason_);
    if (!lock_ && !exists)
      return fail(ErrorCode::badInput, "the session cannot be created: " + readOnlyReason_, path_,
                  "Choose a folder that you may write to.");
    if (lock_) {
      DECOSCOPE_ASSIGN(Database database, Database::open(path_, false, true));
      // The pragma reads the header, so a file of another kind is refused here.
      DECOSCOPE_TRY(database.execute(
          "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA journal_size_limit=67108864"));
      DECOSCOPE_TRY(migrate(database, path_));
      DECOSCOPE_TRY(database.execute(
          "INSERT OR REPLACE INTO session VALUES('clean','0'),('version','" DECOSCOPE_VERSION "')"));
      writable_ = std::make_unique<Database>(std::move(database));
    }
    DECOSCOPE_ASSIGN(Database reading, Database::open(path_, true, false));
    DECOSCOPE_TRY(checkReadable(reading, path_));
    DECOSCOPE_ASSIGN(const auto runs, readRuns(reading));
    for (const RunInfo& info : runs) runs_[info.id] = info;
    DECOSCOPE_ASSIGN(ends_, readEnds(reading, runs));
    DECOSCOPE_TRY(readTokens(reading));
    DECOSCOPE_ASSIGN(StepReader reader, StepReader::create(reading));
    reading_ = std::make_unique<Database>(std::move(reading));
    reader_ = std::make_unique<StepReader>(std::move(reader));
    if (writable_) writer_ = std::thread([this] { writeLoop(); });
    loader_ = std::thread([this] { loadLoop(); });
    return {};
  }

  const std::string& path() const override { return path_; }
  bool readOnly() const override { return !lock_; }
  std::string readOnlyReason() const override { return readOnlyReason_; }

  std::vector<RunInfo> runs() const override {
    const std::lock_guard lock(mutex_);
    std::vector<RunInfo> result;
    for (const auto& [id, info] : runs_) result.push_back(info);
    return result;
  }
  std::optional<RunInfo> run(RunId id) const override {
    const std::lock_guard lock(mutex_);
    const auto found = runs_.find(id);
    return found == runs_.end() ? std::nullopt : std::optional(found->second);
  }
  std::pair<StepIndex, StepIndex> extent(RunId id) const override {
    const std::lock_guard lock(mutex_);
    const auto found = runs_.find(id);
    if (found == runs_.end()) return {0, 0};
    const auto end = ends_.find(id);
    return {found->second.forkStep, end == ends_.end() ? found->second.forkStep : end->second};
  }
  StepPointer tryStep(RunId id, StepIndex step) const override {
    const std::lock_guard lock(mutex_);
    const auto found = cache_.find({owner(id, step), step});
    return found == cache_.end() ? nullptr : found->second;
  }
  Result<StepPointer> step(RunId id, StepIndex step) const override {
    if (StepPointer cached = tryStep(id, step)) return cached;
    RunId holder;
    {
      const std::lock_guard lock(mutex_);
      holder = owner(id, step);
    }
    const std::lock_guard lock(readMutex_);
    return reader_->read(holder, step);
  }
  void request(RunId id, StepIndex first, StepIndex end) const override {
    {
      const std::lock_guard lock(mutex_);
      wanted_.push_back({id, first, end});
    }
    changed_.notify_all();
  }
  std::shared_ptr<const TokenNames> tokens(RunId id) const override {
    const std::lock_guard lock(mutex_);
    const auto found = runs_.find(id);
    if (found == runs_.end()) return nullptr;
    const auto live = liveNames_.find(id);
    if (live != liveNames_.end()) return live->second;
    const auto names = storedNames_.find(found->second.tokenizer);
    return names == storedNames_.end() ? std::make_shared<StoredNames>() : names->second;
  }

  Result<RunId> beginRun(const RunInfo& info, std::shared_ptr<const TokenNames> tokens) override {
    DECOSCOPE_TRY(writableNow());
    RunInfo stored = info;
    {
      const std::lock_guard lock(mutex_);
      stored.id.value = runs_.empty() ? 1 : runs_.rbegin()->first.value + 1;
      runs_[stored.id] = stored;
      ends_[stored.id] = stored.forkStep;
      liveNames_[stored.id] = std::move(tokens);
    }
    DECOSCOPE_TRY(enqueue([this, stored](Work& work) { return saveRun(work, stored); }));
    tell({TraceNotice::Kind::runsChanged, stored.id, 0, 0});
    return stored.id;
  }
  Status append(StepPointer step) override {
    DECOSCOPE_TRY(writableNow());
    const RunId run = step->run;
    const StepIndex index = step->step;
    {
      const std::lock_guard lock(mutex_);
      const auto end = ends_.find(run);
      if (end == ends_.end())
        return fail(ErrorCode::notFound, "there is no run " + std::to_string(run.value), path_);
      if (index != end->second)
        return fail(
            ErrorCode::usage,
            "step " + std::to_string(index) + " came where " + std::to_string(end->second) + " was expected",
            "run " + std::to_string(run.value));
      ++end->second;
      remember(step);
    }
    DECOSCOPE_TRY(enqueue([this, step](Work& work) { return saveStep(work, *step); }, step));
    tell({TraceNotice::Kind::stepsAppended, run, index, index + 1});
    return {};
  }
  Status updateRun(const RunInfo& info) override {
    DECOSCOPE_TRY(writableNow());
    {
      const std::lock_guard lock(mutex_);
      if (!runs_.contains(info.id))
        return fail(ErrorCode::notFound, "there is no run " + std::to_string(info.id.value), path_);
      runs_[info.id] = info;
    }
    DECOSCOPE_TRY(enqueue([info](Work& work) { return writeRun(*work.database, info); }));
    tell({TraceNotice::Kind::runsChanged, info.id, 0, 0});
    return {};
  }
  Status putBlob(const std::string& name, std::string bytes) override {
    DECOSCOPE_TRY(writableNow());
    {
      const std::lock_guard lock(mutex_);
      pendingBlobs_[name] = bytes;
    }
    return enqueue([name, bytes = std::move(bytes)](Work& work) -> Status {
      DECOSCOPE_ASSIGN(Statement statement,
                       work.database->prepare("INSERT OR REPLACE INTO blob VALUES(?,?)"));
      statement.bind(1, std::string_view(name));
      statement.bindBlob(2, bytes);
      return statement.run();
    });
  }
  Result<std::string> getBlob(const std::string& name) const override {
    {
      const std::lock_guard lock(mutex_);
      if (const auto pending = pendingBlobs_.find(name); pending != pendingBlobs_.end())
        return pending->second;
    }
    const std::lock_guard lock(readMutex_);
    DECOSCOPE_ASSIGN(Statement statement, reading_->prepare("SELECT bytes FROM blob WHERE name=?"));
    statement.bind(1, std::string_view(name));
    DECOSCOPE_ASSIGN(const bool row, statement.step());
    if (!row) return fail(ErrorCode::notFound, "there is no state '" + name + "'", path_);
    return statement.blob(0);
  }

  Status flush() override {
    std::unique_lock lock(mutex_);
    const std::uint64_t target = queued_;
    changed_.notify_all();
    drained_.wait(lock, [&] { return written_ >= target || !health_; });
    return health_;
  }
  Status health() const override {
    const std::lock_guard lock(mutex_);
    return health_;
  }

  Result<std::string> query(const std::string& sql, std::int64_t limit) const override;

 private:
  // What the writer thread works with.
  struct Work {
    Database* database;
    StepWriter steps;
    Statement token;
    std::map<std::string, std::set<TokenId>> known;  // tokens already stored, by tokenizer
  };
  struct Item {
    std::function<Status(Work&)> action;
    StepPointer step;  // null for other work
  };
  struct Wanted {
    RunId run;
    StepIndex first, end;
  };

  Status writableNow() const {
    const std::lock_guard lock(mutex_);
    if (!lock_)
      return fail(ErrorCode::failed, "the session is read-only: " + readOnlyReason_, path_,
                  "Save it under another name to go on.");
    return health_;
  }

  // The ancestor that holds a step of this line. Call with the mutex held.
  RunId owner(RunId id, StepIndex step) const {
    for (auto found = runs_.find(id); found != runs_.end(); found = runs_.find(id)) {
      if (step >= found->second.forkStep || !found->second.parent || found->second.parent >= id) break;
      id = found->second.parent;
    }
    return id;
  }
  void remember(const StepPointer& step) {
    const std::pair<RunId, StepIndex> key{step->run, step->step};
    if (cache_.emplace(key, step).second) order_.push_back(key);
    while (order_.size() > kCachedSteps) {
      cache_.erase(order_.front());
      order_.pop_front();
    }
  }
  void tell(const TraceNotice& notice) const {
    if (notice_) notice_(notice);
  }

  // Where the steps of each run end.
  static Result<std::map<RunId, StepIndex>> readEnds(const Database& database,
                                                     const std::vector<RunInfo>& runs) {
    DECOSCOPE_ASSIGN(Statement statement, database.prepare("SELECT max(step) + 1 FROM step WHERE run=?"));
    std::map<RunId, StepIndex> ends;
    for (const RunInfo& info : runs) {
      statement.bind(1, info.id.value);
      DECOSCOPE_ASSIGN(const bool row, statement.step());
      ends[info.id] = row && !statement.isNull(0) ? statement.integer(0) : info.forkStep;
      statement.reset();
    }
    return ends;
  }
  Status readTokens(const Database& database) {
    DECOSCOPE_ASSIGN(Statement statement, database.prepare("SELECT tokenizer, token, bytes FROM token"));
    while (true) {
      DECOSCOPE_ASSIGN(const bool row, statement.step());
      if (!row) return {};
      auto& names = storedNames_[statement.text(0)];
      if (!names) names = std::make_shared<StoredNames>();
      names->set(static_cast<TokenId>(statement.integer(1)), statement.blob(2));
    }
  }

  Status enqueue(std::function<Status(Work&)> action, StepPointer step = nullptr) {
    std::unique_lock lock(mutex_);
    drained_.wait(lock, [&] { return queue_.size() < kQueueLimit || !health_; });
    if (!health_) return health_;
    queue_.push_back({std::move(action), std::move(step)});
    ++queued_;
    lock.unlock();
    changed_.notify_all();
    return {};
  }

  Status saveTokens(Work& work, const RunInfo& info, const std::set<TokenId>& tokens) {
    std::shared_ptr<const TokenNames> names;
    {
      const std::lock_guard lock(mutex_);
      names = liveNames_[info.id];
    }
    std::set<TokenId>& known = work.known[info.tokenizer];
    for (const TokenId token : tokens) {
      if (!names || !known.insert(token).second) continue;
      const std::string bytes = names->bytesOf(token);
      work.token.bind(1, std::string_view(info.tokenizer));
      work.token.bind(2, static_cast<std::int64_t>(token));
      work.token.bindBlob(3, bytes);
      work.token.bind(4, std::string_view(visibleToken(bytes)));
      DECOSCOPE_TRY(work.token.run());
    }
    return {};
  }
  Status saveRun(Work& work, const RunInfo& info) {
    DECOSCOPE_TRY(writeRun(*work.database, info));
    return saveTokens(work, info, {info.prompt.begin(), info.prompt.end()});
  }
  Status saveStep(Work& work, const StepRecord& step) {
    DECOSCOPE_TRY(work.steps.write(step));
    std::set<TokenId> tokens;
    collectTokens(step, tokens);
    RunInfo info;
    {
      const std::lock_guard lock(mutex_);
      info.id = step.run;
      info.tokenizer = runs_[step.run].tokenizer;
    }
    return saveTokens(work, info, tokens);
  }

  Result<Work> makeWork() {
    Work work{writable_.get(), {}, {}, {}};
    DECOSCOPE_ASSIGN(work.steps, StepWriter::create(*writable_));
    DECOSCOPE_ASSIGN(work.token, writable_->prepare("INSERT OR IGNORE INTO token VALUES(?,?,?,?)"));
    return work;
  }

  void writeLoop() {
    auto work = makeWork();
    std::unique_lock lock(mutex_);
    if (!work) health_ = tl::unexpected<Error>(work.error());
    while (true) {
      changed_.wait(lock, [&] { return closing_ || !queue_.empty(); });
      if (queue_.empty() && closing_) break;
      if (!closing_ && queue_.size() < 64) changed_.wait_for(lock, kGroupDelay, [&] { return closing_; });
      std::deque<Item> items;
      items.swap(queue_);
      // After a failure nothing more is written, even if there is room again: a session has no gaps.
      const Status before = health_;
      lock.unlock();
      const Status status = before ? writeGroup(*work, items) : before;
      lock.lock();
      if (!status && health_) health_ = status;
      written_ += items.size();
      lock.unlock();
      drained_.notify_all();
      if (status)
        for (const Item& item : items)
          if (item.step)
            tell({TraceNotice::Kind::durable, item.step->run, item.step->step, item.step->step + 1});
      lock.lock();
    }
    lock.unlock();
    (void)writable_->execute("INSERT OR REPLACE INTO session VALUES('clean','1')");
  }

  static Status writeGroup(Work& work, const std::deque<Item>& items) {
    DECOSCOPE_TRY(work.database->execute("BEGIN IMMEDIATE"));
    Status status;
    for (const Item& item : items) {
      status = item.action(work);
      if (!status) break;
    }
    if (status) status = work.database->execute("COMMIT");
    if (!status) (void)work.database->execute("ROLLBACK");
    return status;
  }

  // What another program has written since, where this one only reads. A failure is met again the next time.
  void takeUp() {
    std::vector<TraceNotice> notices;
    {
      const std::lock_guard reading(readMutex_);
      const auto version = reading_->number("PRAGMA data_version");
      if (!version || *version == seenVersion_) return;
      const auto runs = readRuns(*reading_);
      if (!runs) return;
      const auto ends = readEnds(*reading_, *runs);
      const auto tokens = reading_->number("SELECT count(*) FROM token");
      // The file may have come to a newer schema meanwhile.
      auto reader = StepReader::create(*reading_);
      if (!ends || !tokens || !reader) return;
      *reader_ = std::move(*reader);
      const std::lock_guard lock(mutex_);
      if (*tokens != seenTokens_ && !readTokens(*reading_)) return;
      for (const RunInfo& info : *runs) runs_[info.id] = info;
      notices.push_back({TraceNotice::Kind::runsChanged, {}, 0, 0});
      for (const auto& [run, end] : *ends) {
        StepIndex& known = ends_.try_emplace(run, runs_[run].forkStep).first->second;
        if (end > known) notices.push_back({TraceNotice::Kind::stepsAppended, run, known, end});
        known = std::max(known, end);
      }
      seenTokens_ = *tokens;
      seenVersion_ = *version;
    }
    for (const TraceNotice& notice : notices) tell(notice);
  }

  void loadLoop() {
    std::unique_lock lock(mutex_);
    const auto awaited = [&] { return closing_ || !wanted_.empty(); };
    while (true) {
      if (lock_)
        changed_.wait(lock, awaited);
      else if (!changed_.wait_for(lock, kLookAgain, awaited)) {
        lock.unlock();
        takeUp();
        lock.lock();
        continue;
      }
      if (closing_) return;
      // The newest wish is what is on the screen now; a long one is met in pieces, so that a newer one can go
      // first.
      Wanted wanted = wanted_.back();
      wanted_.pop_back();
      if (wanted.end - wanted.first > kLoadedAtOnce) {
        wanted_.push_back({wanted.run, wanted.first + kLoadedAtOnce, wanted.end});
        wanted.end = wanted.first + kLoadedAtOnce;
      }
      StepIndex loaded = 0;
      for (StepIndex index = wanted.first; index < wanted.end && !closing_; ++index) {
        const RunId holder = owner(wanted.run, index);
        if (cache_.contains({holder, index})) continue;
        lock.unlock();
        Result<StepPointer> step = [&] {
          const std::lock_guard reading(readMutex_);
          return reader_->read(holder, index);
        }();
        lock.lock();
        if (step) remember(*step), ++loaded;
      }
      lock.unlock();
      if (loaded > 0) tell({TraceNotice::Kind::stepsLoaded, wanted.run, wanted.first, wanted.end});
      lock.lock();
    }
  }

  std::string path_;
  NoticeFunction notice_;
  std::unique_ptr<WriterLock> lock_;
  std::string readOnlyReason_;
  std::unique_ptr<Database> writable_;  // the writer thread's
  mutable std::mutex readMutex_;        // guards reading_ and reader_
  std::unique_ptr<Database> reading_;
  std::unique_ptr<StepReader> reader_;
  std::int64_t seenVersion_ = -1, seenTokens_ = -1;  // of what was taken up last; the loader's

  mutable std::mutex mutex_;  // guards everything below
  mutable std::condition_variable changed_, drained_;
  std::map<RunId, RunInfo> runs_;
  std::map<RunId, StepIndex> ends_;
  std::map<std::pair<RunId, StepIndex>, StepPointer> cache_;
  std::deque<std::pair<RunId, StepIndex>> order_;
  std::map<RunId, std::shared_ptr<const TokenNames>> liveNames_;
  std::map<std::string, std::shared_ptr<StoredNames>> storedNames_;
  std::map<std::string, std::string> pendingBlobs_;
  std::deque<Item> queue_;
  mutable std::deque<Wanted> wanted_;
  std::uint64_t queued_ = 0, written_ = 0;
  Status health_;
  bool closing_ = false;
  std::thread writer_, loader_;
};

json valueOf(const Statement& statement, int column) {
  switch (statement.type(column)) {
    case SQLITE_INTEGER:
      return statement.integer(column);
    case SQLITE_FLOAT:
      return statement.real(column);
    case SQLITE_TEXT:
      return statement.text(column);
    case SQLITE_BLOB: {
      static constexpr char kDigits[] = "0123456789abcdef";
      std::string hex;
      for (const unsigned char byte : statement.blob(column))
        hex += kDigits[byte >> 4], hex += kDigits[byte & 15];
      return hex;
    }
    default:
      return nullptr;
  }
}

Result<std::string> SqliteSession::query(const std::string& sql, std::int64_t limit) const {
  DECOSCOPE_ASSIGN(const Database database, Database::open(path_, true, false));
  database.denyWrites();
  DECOSCOPE_ASSIGN(Statement statement, database.prepare(sql));
  if (!statement.readOnly())
    return fail(ErrorCode::usage, "the statement would write", path_, "Only SELECT is allowed.");
  json rows = json::array();
  for (std::int64_t count = 0; count < limit; ++count) {
    DECOSCOPE_ASSIGN(const bool row, statement.step());
    if (!row) break;
    json object = json::object();
    for (int column = 0; column < statement.columns(); ++column)
      object[statement.columnName(column)] = valueOf(statement, column);
    rows.push_back(std::move(object));
  }
  return rows.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

Result<std::shared_ptr<SessionStore>> SessionStore::open(const std::string& path, OpenMode mode,
                                                         NoticeFunction notice) {
  auto session = std::make_shared<SqliteSession>(path, std::move(notice));
  DECOSCOPE_TRY(session->start(mode));
  return std::shared_ptr<SessionStore>(std::move(session));
}

}  // namespace decoscope
