// A draft that is stopped on the way must leave nothing in a cache that the text would then read.
#include <QTest>

#include "core/model/scripted/TableModel.h"
#include "core/session/Engine.h"
#include "tests/decode/WrappedModel.h"
#include "tests/torch/OpenedModel.h"

using namespace decoscope;

namespace {

// Asks for a stop when a chosen forward begins.
class StoppingModel final : public test::WrappedModel {
 public:
  StoppingModel(std::unique_ptr<Model> inner, int& left, StopSource*& source)
      : WrappedModel(std::move(inner)), left_(left), source_(source) {}
  Result<ForwardOutput> forward(const ForwardRequest& request, const StopToken& stop) override {
    if (left_-- == 0) source_->request_stop();
    return inner_->forward(request, stop);
  }

 private:
  int& left_;
  StopSource*& source_;
};

// Of 64 pieces, as many as the checkpoints have.
std::shared_ptr<const Tokenizer> someTokenizer() {
  Table table;
  for (int i = 0; i < 64; ++i) table.vocabulary.push_back("<" + std::to_string(i) + ">");
  table.fallback.assign(64, 1.0 / 64);
  return makeTableModel(std::move(table), "table:pieces", "pieces").tokenizer;
}

// A line of a method, alone with its models.
class Line {
 public:
  explicit Line(int stopAt) : left_(stopAt) {
    for (const auto& [role, name] : {std::pair("target", "llama-linear"), std::pair("drafter", "llama3")}) {
      Opened opened(name);
      if (!opened.model) problem = opened.problem;
      engine_.adoptModel(
          role, role,
          {std::make_unique<StoppingModel>(std::move(opened.model), left_, source_), someTokenizer()});
    }
  }
  // What is drafted in its steps, each node with the drafter's number, and committed; empty on an error.
  std::vector<double> run(const RunRequest& request) {
    std::vector<double> seen;
    const auto run = engine_.startRun(request);
    if (!run) return {};
    for (StepIndex index = 0; !engine_.ended(); ++index) {
      const auto status = engine_.step(source_->get_token());
      if (!status) return {};
      const StepPointer step = *engine_.recording().source->step(*run, index);
      for (const Event& event : step->events)
        if (const auto* node = std::get_if<ProposeFact>(&event))
          seen.insert(seen.end(), {double(node->parent), double(node->token), node->q});
        else if (const auto* commit = std::get_if<CommitFact>(&event))
          seen.push_back(commit->token);
    }
    return seen;
  }
  bool stopped() const { return first_.get_token().stop_requested(); }
  void goOn() { source_ = &second_; }

  QString problem;

 private:
  int left_;
  StopSource first_, second_;
  StopSource* source_ = &first_;
  Engine engine_{recordInMemory()};
};

}  // namespace

class TestStoppedDrafts : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void aStoppedDraftIsNotTakenForText_data() {
    QTest::addColumn<QString>("method");
    QTest::addColumn<QStringList>("assignments");
    QTest::newRow("self-draft") << "self-draft" << QStringList{"gamma=4"};
    QTest::newRow("chain") << "chain" << QStringList{"gamma=4"};
    QTest::newRow("tree") << "specinfer" << QStringList{"tree_depth=4", "tree_width=2", "rule=r2"};
  }
  // Whenever the drafting is stopped, a text that goes on with the very tokens that were drafted, in the
  // order in which they were cached, reads as it does to models that never drafted.
  void aStoppedDraftIsNotTakenForText() {
    QFETCH(QString, method);
    QFETCH(QStringList, assignments);
    RunRequest request;
    request.method = method.toStdString();
    request.assignments = {"temperature=1", "adaptive=false"};
    for (const QString& assignment : assignments) request.assignments.push_back(assignment.toStdString());
    request.promptTokens = kText;
    request.maxNewTokens = 16;
    request.seed = 3;
    request.stopAtEnd = false;
    Line drafted(-1);
    QVERIFY2(drafted.problem.isEmpty(), qPrintable(drafted.problem));
    const std::vector<double> proposed = drafted.run(request);
    QVERIFY(proposed.size() > 9);
    RunRequest further = request;
    for (const std::size_t node : {0, 1, 2})
      further.promptTokens.push_back(static_cast<TokenId>(proposed[3 * node + 1]));
    const std::vector<double> wanted = Line(-1).run(further);
    QVERIFY(!wanted.empty());
    QVERIFY(wanted != proposed);
    int stops = 0;
    for (int at = 1; at < 7; ++at) {
      Line line(at);
      (void)line.run(request);
      stops += line.stopped();
      line.goOn();
      QVERIFY2(line.run(further) == wanted, qPrintable(QString("stopped in forward %1").arg(at)));
    }
    QCOMPARE(stops, 6);
  }
};

QTEST_GUILESS_MAIN(TestStoppedDrafts)
#include "TestStoppedDrafts.moc"
