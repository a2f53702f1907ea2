// RAII over SQLite, with no logic of our own. Each connection is used by one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/base/Status.h"

struct sqlite3;
struct sqlite3_stmt;

namespace decoscope {

class Statement {
 public:
  Statement() = default;
  explicit Statement(sqlite3_stmt* handle) : handle_(handle, finalize) {}
  // Binds the parameters from the first on; NaN and nullopt-like values become NULL.
  void bind(int index, std::int64_t value);
  void bind(int index, double value);
  void bind(int index, std::string_view text);
  void bindStatic(int index, const char* text);
  void bindBlob(int index, std::string_view bytes);
  void bindNull(int index);
  // true while there is a row. Errors carry SQLite's words.
  Result<bool> step();
  // Runs to the end and resets, for statements without rows.
  Status run();
  void reset();

  int columns() const;
  std::int64_t integer(int column) const;
  double real(int column) const;  // NULL is NaN
  std::string text(int column) const;
  std::string blob(int column) const;
  bool isNull(int column) const;
  int type(int column) const;
  std::string columnName(int column) const;
  bool readOnly() const;

 private:
  static void finalize(sqlite3_stmt* handle);
  std::unique_ptr<sqlite3_stmt, void (*)(sqlite3_stmt*)> handle_{nullptr, finalize};
};

class Database {
 public:
  static Result<Database> open(const std::string& path, bool readOnly, bool create);
  Result<Statement> prepare(std::string_view sql) const;
  Status execute(const std::string& sql) const;
  Result<std::int64_t> number(const std::string& sql) const;
  // Refuses everything but reading, whatever the statement says.
  void denyWrites() const;

 private:
  Database(sqlite3* handle, std::string path);
  static void close(sqlite3* handle);
  std::unique_ptr<sqlite3, void (*)(sqlite3*)> handle_;
  std::string path_;
};

}  // namespace decoscope
