#include "core/base/Status.h"

namespace decoscope {

const char* errorCodeName(ErrorCode code) {
  switch (code) {
    case ErrorCode::usage:
      return "usage";
    case ErrorCode::badInput:
      return "bad_input";
    case ErrorCode::notFound:
      return "not_found";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::failed:
      return "failed";
    case ErrorCode::cancelled:
      return "cancelled";
    case ErrorCode::checkFailed:
      return "check_failed";
  }
  return "failed";
}

std::string Error::text() const {
  std::string line = message;
  if (!where.empty()) line += " (" + where + ")";
  if (!hint.empty()) line += ". " + hint;
  return line;
}

}  // namespace decoscope
