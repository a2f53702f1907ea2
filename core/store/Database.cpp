#include "core/store/Database.h"

#include <sqlite3.h>
#include <cmath>
#include <limits>

namespace decoscope {

namespace {

Error errorOf(sqlite3* handle, const std::string& where) {
  const int code = sqlite3_errcode(handle) & 0xFF;
  const std::string words = sqlite3_errmsg(handle);
  switch (code) {
    case SQLITE_FULL:
      return {ErrorCode::failed, "the disk is full: " + words, where,
              "Free some space; everything recorded before is safe."};
    case SQLITE_IOERR:
      return {ErrorCode::failed, "the session cannot be written or read: " + words, where,
              "Check the disk; everything recorded before is safe."};
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      return {ErrorCode::badInput, "the session file is damaged or is not one: " + words, where,
              "Restore it from a copy."};
    case SQLITE_CANTOPEN:
      return {ErrorCode::badInput, "the session file cannot be opened: " + words, where,
              "Check the path and its permissions."};
    case SQLITE_BUSY:
      return {ErrorCode::failed, "the session is in use: " + words, where,
              "Close the other program or try again."};
    default:
      return {ErrorCode::failed, words, where, ""};
  }
}

int allowReads(void*, int action, const char* name, const char* argument, const char*, const char*) {
  switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_FUNCTION:
    case SQLITE_RECURSIVE:
      return SQLITE_OK;
    case SQLITE_PRAGMA: {
      const std::string_view pragma = name ? name : "";
      const bool schema = pragma == "table_info" || pragma == "table_list" || pragma == "index_list" ||
                          pragma == "index_info";
      return schema || (!argument && (pragma == "user_version" || pragma == "application_id")) ? SQLITE_OK
                                                                                               : SQLITE_DENY;
    }
    default:
      return SQLITE_DENY;
  }
}

}  // namespace

void Statement::finalize(sqlite3_stmt* handle) {
  sqlite3_finalize(handle);
}
void Statement::bind(int index, std::int64_t value) {
  sqlite3_bind_int64(handle_.get(), index, value);
}
void Statement::bind(int index, double value) {
  if (std::isnan(value))
    sqlite3_bind_null(handle_.get(), index);
  else
    sqlite3_bind_double(handle_.get(), index, value);
}
void Statement::bind(int index, std::string_view text) {
  sqlite3_bind_text(handle_.get(), index, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
}
void Statement::bindStatic(int index, const char* text) {
  sqlite3_bind_text(handle_.get(), index, text, -1, SQLITE_STATIC);
}
void Statement::bindBlob(int index, std::string_view bytes) {
  sqlite3_bind_blob(handle_.get(), index, bytes.empty() ? "" : bytes.data(), static_cast<int>(bytes.size()),
                    SQLITE_TRANSIENT);
}
void Statement::bindNull(int index) {
  sqlite3_bind_null(handle_.get(), index);
}

Result<bool> Statement::step() {
  const int code = sqlite3_step(handle_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  sqlite3* database = sqlite3_db_handle(handle_.get());
  const char* path = sqlite3_db_filename(database, "main");
  return tl::unexpected<Error>(errorOf(database, path ? path : ""));
}
Status Statement::run() {
  auto result = step();
  while (result && *result) result = step();
  sqlite3_reset(handle_.get());
  if (!result) return tl::unexpected<Error>(result.error());
  return {};
}
void Statement::reset() {
  sqlite3_reset(handle_.get());
}
int Statement::columns() const {
  return sqlite3_column_count(handle_.get());
}
std::int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(handle_.get(), column);
}
double Statement::real(int column) const {
  return isNull(column) ? std::numeric_limits<double>::quiet_NaN()
                        : sqlite3_column_double(handle_.get(), column);
}
std::string Statement::text(int column) const {
  const auto* text = sqlite3_column_text(handle_.get(), column);
  return text ? std::string(reinterpret_cast<const char*>(text),
                            static_cast<std::size_t>(sqlite3_column_bytes(handle_.get(), column)))
              : std::string();
}
std::string Statement::blob(int column) const {
  const void* bytes = sqlite3_column_blob(handle_.get(), column);
  return bytes ? std::string(static_cast<const char*>(bytes),
                             static_cast<std::size_t>(sqlite3_column_bytes(handle_.get(), column)))
               : std::string();
}
bool Statement::isNull(int column) const {
  return type(column) == SQLITE_NULL;
}
int Statement::type(int column) const {
  return sqlite3_column_type(handle_.get(), column);
}
std::string Statement::columnName(int column) const {
  return sqlite3_column_name(handle_.get(), column);
}
bool Statement::readOnly() const {
  return sqlite3_stmt_readonly(handle_.get()) != 0;
}

Database::Database(sqlite3* handle, std::string path) : handle_(handle, close), path_(std::move(path)) {}
void Database::close(sqlite3* handle) {
  sqlite3_close_v2(handle);
}

Result<Database> Database::open(const std::string& path, bool readOnly, bool create) {
  sqlite3* handle = nullptr;
  const int flags =
      (readOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | (create ? SQLITE_OPEN_CREATE : 0)) |
      SQLITE_OPEN_NOMUTEX;
  const int code = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
  Database database(handle, path);
  if (code != SQLITE_OK) return tl::unexpected<Error>(errorOf(handle, path));
  sqlite3_busy_timeout(handle, 5000);
  sqlite3_extended_result_codes(handle, 0);
  return database;
}

Result<Statement> Database::prepare(std::string_view sql) const {
  sqlite3_stmt* statement = nullptr;
  const char* tail = nullptr;
  if (sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                         &statement, &tail) != SQLITE_OK) {
    Error error = errorOf(handle_.get(), path_);
    if (error.code == ErrorCode::failed) error.code = ErrorCode::usage;
    return tl::unexpected<Error>(std::move(error));
  }
  Statement result(statement);
  if (!statement) return fail(ErrorCode::usage, "the statement is empty", path_);
  const std::string_view rest(tail, sql.size() - static_cast<std::size_t>(tail - sql.data()));
  if (rest.find_first_not_of(" \t\r\n;") != std::string_view::npos)
    return fail(ErrorCode::usage, "more than one statement", path_, "Give one SELECT at a time.");
  return result;
}

Status Database::execute(const std::string& sql) const {
  if (sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
    return tl::unexpected<Error>(errorOf(handle_.get(), path_));
  return {};
}

Result<std::int64_t> Database::number(const std::string& sql) const {
  DECOSCOPE_ASSIGN(Statement statement, prepare(sql));
  DECOSCOPE_ASSIGN(const bool row, statement.step());
  return row ? statement.integer(0) : 0;
}

void Database::denyWrites() const {
  sqlite3_set_authorizer(handle_.get(), allowReads, nullptr);
  sqlite3_limit(handle_.get(), SQLITE_LIMIT_ATTACHED, 0);
}

}  // namespace decoscope
