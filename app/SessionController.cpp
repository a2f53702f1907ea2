#include "app/SessionController.h"

#include <algorithm>

namespace decoscope {

namespace {
constexpr int kFrameMilliseconds = 16;
}

SessionController::SessionController(std::unique_ptr<SessionPort> port, QObject* parent)
    : QObject(parent),
      port_(std::move(port)),
      methods_(port_->methods()),
      state_(port_->state()),
      source_(port_->trace()) {
  frame_.setSingleShot(true);
  frame_.setInterval(kFrameMilliseconds);
  connect(&frame_, &QTimer::timeout, this, &SessionController::take);
  port_->setListener([this](const TraceNotice*) {
    // One posted event until it is taken up, however many notices come.
    if (!pending_.exchange(true))
      QMetaObject::invokeMethod(this, [this] { frame_.start(); }, Qt::QueuedConnection);
  });
}

SessionController::~SessionController() {
  port_->setListener({});
  port_.reset();
}

const MethodCard* SessionController::method(const std::string& name) const {
  const auto found = std::find_if(methods_.begin(), methods_.end(),
                                  [&](const MethodCard& card) { return card.name == name; });
  return found == methods_.end() ? nullptr : &*found;
}

void SessionController::take() {
  pending_ = false;
  state_ = port_->state();
  auto source = port_->trace();
  if (source != source_) {
    source_ = std::move(source);
    Q_EMIT sourceReplaced();
  }
  Q_EMIT changed();
  if (state_.errorCount != errors_) {
    errors_ = state_.errorCount;
    if (state_.lastError) Q_EMIT failed(*state_.lastError);
  }
}

}  // namespace decoscope
