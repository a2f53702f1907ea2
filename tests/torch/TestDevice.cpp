// The forward on a device that is not the CPU, held against plain libtorch on the CPU.
#include <QtTest>

#include "tests/accelerator/PretendDevice.h"
#include "tests/torch/OpenedModel.h"

namespace decoscope {

class TestDevice : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void agreesWithTheCpu_data() {
    QTest::addColumn<QString>("name");
    for (const char* name : {"llama3", "gemma3", "gpt2"}) QTest::newRow(name) << name;
  }
  void agreesWithTheCpu() {
    QFETCH(QString, name);
    const Opened device(name.toStdString(), pretend::kFirst), host(name.toStdString(), "cpu-reference");
    QVERIFY2(device.model && host.model, qPrintable(device.problem + host.problem));
    QCOMPARE(device.model->info().device, std::string(pretend::kFirst));
    const auto output = device.run(requestOf(kText));
    QVERIFY2(output.has_value(), output ? "" : output.error().text().c_str());
    QVERIFY(allRows(*output->logits) == host.logits(requestOf(kText)));
  }
};

}  // namespace decoscope

QTEST_GUILESS_MAIN(decoscope::TestDevice)
#include "TestDevice.moc"
