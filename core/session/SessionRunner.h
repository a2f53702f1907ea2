// The session port on a thread of this process: the runner owns the model thread and the engine on it.
#pragma once

#include <memory>

#include "core/session/Session.h"

namespace decoscope {

// A session in memory without a model. Commands are carried out in order on the model thread; stop() and
// pause() overtake them. Shutdown: the destructor requests a stop, waits for the command under way, flushes
// the recording and joins.
std::unique_ptr<SessionPort> makeSession();

}  // namespace decoscope
