// Brings a SessionPort into Qt: notices from its threads become one signal per display frame. GUI thread.
#pragma once

#include <QObject>
#include <QTimer>
#include <atomic>
#include <memory>

#include "core/session/Session.h"

namespace decoscope {

class SessionController final : public QObject {
  Q_OBJECT
 public:
  explicit SessionController(std::unique_ptr<SessionPort> port, QObject* parent = nullptr);
  ~SessionController() override;
  SessionPort& port() { return *port_; }
  const SessionState& state() const { return state_; }  // as of the last `changed`
  const std::vector<MethodCard>& methods() const { return methods_; }
  const MethodCard* method(const std::string& name) const;
  bool busy() const { return state_.activity != Activity::idle; }

 Q_SIGNALS:
  void changed();  // state or trace may differ; at most once per frame
  void failed(const Error& error);
  void sourceReplaced();  // another session is open

 private:
  void take();
  std::unique_ptr<SessionPort> port_;
  std::vector<MethodCard> methods_;
  SessionState state_;
  std::shared_ptr<const TraceSource> source_;
  std::uint64_t errors_ = 0;
  std::atomic<bool> pending_ = false;
  QTimer frame_;
};

}  // namespace decoscope
