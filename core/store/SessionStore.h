// A session file: one SQLite database that holds runs, sealed steps and the bytes of their tokens.
// The schema is documented in docs/trace-schema.md; verdicts, draws, commits and cells are plain columns,
// distributions compact blobs.
//
// Threading: every method may be called from any thread. One writer thread inside owns the read-write
// connection (WAL); appends are queued to it and are durable within 50 ms. The queue is bounded: append()
// waits when it is full. Reads use their own connections; who may only read takes up within a second what
// another program writes. Shutdown: the destructor drains the queue, marks a clean close and joins.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/trace/Trace.h"

namespace decoscope {

enum class OpenMode { create, readWrite, readOnly };

class SessionStore : public TraceSource, public TraceSink {
 public:
  // create makes the file or opens an existing session for writing; readWrite needs it to exist. If another
  // process has the session open for writing, the result is read-only and says so (see readOnlyReason).
  // Errors: badInput for a file that is not a session, is damaged, or of a newer version.
  static Result<std::shared_ptr<SessionStore>> open(const std::string& path, OpenMode mode,
                                                    NoticeFunction notice = {});

  virtual const std::string& path() const = 0;
  virtual bool readOnly() const = 0;
  virtual std::string readOnlyReason() const = 0;
  // Waits until everything appended so far is on disk; the first write error since the last call, if any.
  virtual Status flush() = 0;
  // The first write error so far (disk full, file gone), without waiting. Once set, append() returns it too.
  virtual Status health() const = 0;

  // Runs one statement on a read-only connection. Rows as JSON objects in an array (text). Errors: usage for
  // a statement that would write or does not parse (with SQLite's words), badInput for a damaged file. At
  // most `limit` rows.
  virtual Result<std::string> query(const std::string& sql, std::int64_t limit = 1'000'000) const = 0;

  // Opaque state that outlives runs, by name (a drafter's table persists with the session this way). Written
  // by the writer thread.
  virtual Status putBlob(const std::string& name, std::string bytes) = 0;
  virtual Result<std::string> getBlob(const std::string& name) const = 0;  // notFound when absent
};

inline constexpr std::int32_t kApplicationId = 0x4465636F;  // "Deco"
inline constexpr int kSchemaVersion = 3;

}  // namespace decoscope
