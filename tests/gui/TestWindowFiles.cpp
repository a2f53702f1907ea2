// The real window and files: sessions saved, opened, dropped, on a full disk; errors; the executable's
// pictures.
#include <sys/resource.h>
#include <QApplication>
#include <QComboBox>
#include <QDragEnterEvent>
#include <QImage>
#include <QMimeData>
#include <QPlainTextEdit>
#include <QProcess>
#include <QTemporaryDir>
#include <QTest>
#include <csignal>
#include <fstream>

#include "tests/gui/RealWindow.h"
#include "widgets/panels/MetricsPanel.h"

using namespace decoscope;
using test::openWindow;
using test::trigger;
using test::waitFor;

class TestWindowFiles : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;
  QString table_;

  std::unique_ptr<MainWindow> ready(const QString& method = "token-recycling") const {
    return test::windowOnTable(table_, method);
  }

 private Q_SLOTS:
  void initTestCase() {
    test::prepareSettings(folder_);
    table_ = folder_.filePath("t.json");
    test::writeEndlessTable(table_);
  }

  void savesAndReopensWithoutAModel() {
    const QString path = folder_.filePath("s.decoscope");
    {
      auto w = ready();
      w->step(5);
      waitFor(*w, [&] { return w->line().count() == 5 && w->settled(); });
      w->controller().port().saveSessionAs(path.toStdString());
      waitFor(*w, [&] { return !w->controller().state().sessionPath.empty() && w->line().count() == 5; });
    }
    auto w = openWindow();
    w->openPath(path);
    waitFor(*w, [&] { return w->line().count() == 5 && w->settled(); });
    QVERIFY(w->controller().state().modelName.empty());
    QVERIFY(!w->findChild<QAction*>("run.fork")->isEnabled());
    QCOMPARE(w->findChild<QPlainTextEdit*>("prompt")->toPlainText(), QString("abcab"));
    QCOMPARE(w->findChild<QComboBox*>("methodChooser")->currentData().toString(), QString("token-recycling"));
    auto* metrics = w->findChild<MetricsPanel*>("metrics");
    QTRY_VERIFY(!metrics->metrics().empty());
    // A second window on the same file reads only, and says so.
    auto second = openWindow();
    second->openPath(path);
    QTRY_COMPARE(second->line().count(), 5);
    QVERIFY(second->controller().state().readOnly);
    QVERIFY(second->errorText().contains("reading only"));
  }

  void opensTheSampleWithoutAModel() {
    auto w = openWindow();
    QVERIFY(w->findChild<QWidget*>("startPage")->isVisible());
    w->openSampleSession();
    waitFor(*w, [&] { return w->line().count() > 10 && w->settled(); });
    QVERIFY(w->line().hasProposals());
    QVERIFY(w->currentFigure().has_value());
  }

  void saysWhatIsWrong() {
    auto w = openWindow();
    w->loadModel("/there/is/no/model.gguf");
    QTRY_VERIFY(w->errorText().contains("model.gguf"));
    const QString bad = folder_.filePath("bad.decoscope");
    std::ofstream(bad.toStdString()) << "not a session";
    w->openPath(bad);
    QTRY_VERIFY(w->errorText().contains("bad.decoscope"));
    auto r = ready();
    r->setPrompt("", false);
    r->step();
    QVERIFY(r->errorText().contains("prompt is empty"));
    QVERIFY(!r->setParameter("temperature=-3"));
    QVERIFY(r->errorText().contains("temperature"));
  }

  void openingASessionEndsARun() {
    const QString path = folder_.filePath("other.decoscope");
    auto w = ready("sampling");
    w->setMaxNewTokens(900'000);
    trigger(*w, "run.run");
    waitFor(*w, [&] { return w->line().count() > 10; });
    // A copy: a session that is opened for writing changes.
    QVERIFY(QFile::copy(
        QStringLiteral(DECOSCOPE_SOURCE_DIR) + "/resources/sessions/speculative-decoding.decoscope", path));
    QFile::setPermissions(path, QFile::ReadOwner | QFile::WriteOwner);
    w->openPath(path);
    waitFor(*w, [&] { return !w->controller().busy() && w->line().hasProposals(); });
    QCOMPARE(w->controller().port().trace()->runs().size(), std::size_t{4});
  }

  void filesCanBeDropped() {
    const QString path = folder_.filePath("dropped.decoscope");
    QVERIFY(QFile::copy(
        QStringLiteral(DECOSCOPE_SOURCE_DIR) + "/resources/sessions/speculative-decoding.decoscope", path));
    QFile::setPermissions(path, QFile::ReadOwner | QFile::WriteOwner);
    auto w = openWindow();
    QMimeData session, text;
    session.setUrls({QUrl::fromLocalFile(path)});
    text.setText("no file");
    QDragEnterEvent enter({10, 10}, Qt::CopyAction, &session, Qt::LeftButton, {}),
        refused({10, 10}, Qt::CopyAction, &text, Qt::LeftButton, {});
    refused.ignore();
    QApplication::sendEvent(w.get(), &enter);
    QApplication::sendEvent(w.get(), &refused);
    QVERIFY(enter.isAccepted() && !refused.isAccepted());
    QDropEvent drop({10, 10}, Qt::CopyAction, &session, Qt::LeftButton, {});
    QApplication::sendEvent(w.get(), &drop);
    waitFor(*w, [&] { return w->line().count() > 10 && w->settled(); });
    QCOMPARE(w->controller().state().sessionPath, path.toStdString());
  }

  void aFullDiskIsAMessage() {
    const QString path = folder_.filePath("full.decoscope");
    auto w = ready("sampling");
    w->setMaxNewTokens(900'000);
    w->step();
    QTRY_VERIFY2(w->line().count() == 1 && w->settled(), qPrintable(w->errorText()));
    w->controller().port().saveSessionAs(path.toStdString());
    QTRY_VERIFY2(!w->controller().state().sessionPath.empty(), qPrintable(w->errorText()));
    // A limit on the size of files stands for the disk.
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    const rlimit limit{2 * 1024 * 1024, before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    QTRY_VERIFY(w->findChild<QAction*>("run.run")->isEnabled());
    w->findChild<QAction*>("run.run")->trigger();
    const bool told = QTest::qWaitFor([&] { return !w->errorText().isEmpty(); }, 30'000);
    ::setrlimit(RLIMIT_FSIZE, &before);
    QVERIFY(told);
    QVERIFY2(w->errorText().contains("full.decoscope"), qPrintable(w->errorText()));
    QTRY_VERIFY(!w->controller().busy());
    // What was computed stays in view, and what was said to be saved is in the file.
    QVERIFY(w->line().count() > 1);
    const auto durable = static_cast<int>(w->controller().state().durable);
    w.reset();
    auto again = openWindow();
    again->openPath(path);
    const bool whole = QTest::qWaitFor([&] { return again->line().count() > 0 && again->settled(); }, 30'000);
    QVERIFY2(whole && again->line().count() >= std::max(durable, 1),
             qPrintable(QString("%1 of %2, %3 were saved: %4")
                            .arg(again->line().count())
                            .arg(again->line().expected())
                            .arg(durable)
                            .arg(again->errorText())));
  }

  void thePictureOfTheWindowIsWhatOneSees() {
    const QString picture = folder_.filePath("w.png");
    QProcess app;
    app.start(DECOSCOPE_APP,
              {"--capture", picture, "--size", "1200x800", "--model", "table:" + table_, "--method",
               "token-recycling", "--set", "temperature=1", "--prompt", "abcab", "--raw", "--steps", "5"});
    QVERIFY(app.waitForFinished(60'000));
    QVERIFY2(app.exitCode() == 0, app.readAllStandardError().constData());
    const QImage image(picture);
    QCOMPARE(image.size(), QSize(1200, 800));
    // The canvas is drawn too: the accepted and refused colours are there.
    QSet<QRgb> colours;
    for (int y = 200; y < 700; y += 1)
      for (int x = 300; x < 850; x += 1) colours << (image.pixel(x, y) & 0xFFFFFF);
    QVERIFY(colours.size() > 30);
    app.start(DECOSCOPE_APP, {"--capture", picture, "--model", "/no/such/model"});
    QVERIFY(app.waitForFinished(60'000));
    QCOMPARE(app.exitCode(), 4);
  }
};

int main(int argc, char** argv) {
  return test::runWindowTest<TestWindowFiles>(argc, argv);
}

#include "TestWindowFiles.moc"
