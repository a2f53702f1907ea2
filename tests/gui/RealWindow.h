// The real window in a test: opened, waited for, and driven by its commands.
#pragma once

#include <QAction>
#include <QApplication>
#include <QSettings>
#include <QSurfaceFormat>
#include <QTemporaryDir>
#include <QTest>
#include <fstream>
#include <functional>
#include <memory>

#include "app/MainWindow.h"
#include "core/session/SessionRunner.h"
#include "tests/decode/Tables.h"
#include "widgets/style/Style.h"

namespace decoscope::test {

inline std::unique_ptr<MainWindow> openWindow() {
  auto made = std::make_unique<MainWindow>(makeSession());
  made->setProperty("quiet", true);
  made->resize(1400, 900);
  made->show();
  // There is no window manager under Xvfb: keys need an active window all the same.
  QApplication::setActiveWindow(made.get());
  return made;
}

// Until the condition holds; an error that the window shows ends the test.
inline void waitFor(const MainWindow& window, const std::function<bool()>& condition) {
  QVERIFY(QTest::qWaitFor([&] { return condition() || !window.errorText().isEmpty(); }, 10'000));
  QVERIFY2(condition(), qPrintable(window.errorText()));
}

inline void trigger(MainWindow& window, const char* id) {
  QAction* action = window.findChild<QAction*>(id);
  QVERIFY2(action && action->isEnabled(), id);
  action->trigger();
}

// Settings of their own, no motion, the dark theme.
inline void prepareSettings(const QTemporaryDir& folder) {
  QVERIFY(folder.isValid());
  QSettings::setPath(QSettings::NativeFormat, QSettings::UserScope, folder.filePath("settings"));
  QCoreApplication::setOrganizationName("decoscope-test");
  QCoreApplication::setApplicationName("decoscope-test");
  style::setReducedMotion(true);
  style::apply(darkTheme());
}

// A table model in whose way no end token stands: runs have the length that was asked for.
inline void writeEndlessTable(const QString& path) {
  std::string text = kTarget;
  text.replace(text.find("\"eos\":3"), 7, "\"eos\":null");
  std::ofstream(path.toStdString()) << text;
}

// A window that has the table model loaded and a prompt ready.
inline std::unique_ptr<MainWindow> windowOnTable(const QString& table, const QString& method) {
  auto made = openWindow();
  made->loadModel("table:" + table);
  waitFor(*made, [&] { return !made->controller().state().modelName.empty(); });
  made->setMethod(method);
  made->setParameter("temperature=1");
  made->setPrompt("abcab", false);
  made->setMaxNewTokens(60);
  return made;
}

template <typename Test>
int runWindowTest(int argc, char** argv) {
  QSurfaceFormat format;
  format.setVersion(3, 3);
  format.setProfile(QSurfaceFormat::CoreProfile);
  QSurfaceFormat::setDefaultFormat(format);
  QApplication application(argc, argv);
  Test test;
  return QTest::qExec(&test, argc, argv);
}

}  // namespace decoscope::test
