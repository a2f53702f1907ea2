// A conversation as a list of messages, with the text that the model's template makes of it. GUI thread; the
// text is made on a worker.
#pragma once

#include <QDialog>
#include <QThreadPool>
#include <QTimer>
#include <memory>
#include <vector>

#include "core/session/Session.h"

class QLabel;
class QPlainTextEdit;
class QVBoxLayout;

namespace decoscope {

struct ChatTurn {
  QString role, content;
  bool operator==(const ChatTurn&) const = default;
};
// `[{"role":…,"content":…}]`, and back; what is not such a list gives none.
QString chatJson(const std::vector<ChatTurn>& turns);
std::vector<ChatTurn> chatTurns(const QString& json);

class ChatDialog final : public QDialog {
  Q_OBJECT
 public:
  ChatDialog(const SessionPort& port, const std::vector<ChatTurn>& turns, QWidget* parent);
  ~ChatDialog() override;

  std::vector<ChatTurn> turns() const;

 private:
  struct Row;
  Row* addRow(const ChatTurn& turn, int at);
  void move(Row* row, int by);
  void remove(Row* row);
  void settle();
  void preview();

  const SessionPort& port_;
  std::vector<std::unique_ptr<Row>> rows_;
  QVBoxLayout* list_;
  QPlainTextEdit* rendered_;
  QLabel* count_;
  QTimer delay_;
  int ticket_ = 0;
  QThreadPool pool_;  // waits for its work when it goes: the port is only borrowed
};

}  // namespace decoscope
