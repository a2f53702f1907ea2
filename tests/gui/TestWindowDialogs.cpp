// The dialogs of the real window: model chooser, conversation, palette, keys.
#include <QComboBox>
#include <QKeySequenceEdit>
#include <QLabel>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QSettings>
#include <QTemporaryDir>
#include <QTest>
#include <QTimer>
#include <QToolButton>
#include <QTreeWidget>
#include <fstream>

#include "app/CommandPalette.h"
#include "app/Shortcuts.h"
#include "tests/gui/RealWindow.h"

using namespace decoscope;
using test::openWindow;
using test::trigger;

class TestWindowDialogs : public QObject {
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

  void theModelChooserSaysWhatFits() {
    const QString fixtures = QStringLiteral(DECOSCOPE_FIXTURES) + "/hf/";
    if (!QFile::exists(fixtures + "llada-layout")) QSKIP("no model fixtures");
    QTemporaryDir models;
    for (const char* name : {"llada-layout", "qwen2-bias"})
      QVERIFY(QFile::link(fixtures + name, models.filePath(name)));
    std::ofstream(models.filePath("broken.gguf").toStdString()) << "GGUF, but not really";
    qputenv("DECOSCOPE_MODELS", models.path().toUtf8());
    auto w = openWindow();
    w->setMethod("llada");
    const auto look = [&](const std::function<void(QDialog*, QTreeWidget*)>& test) {
      bool seen = false;
      QTimer::singleShot(0, this, [&] {
        auto* dialog = w->findChild<QDialog*>("modelChooserDialog");
        auto* table = dialog->findChild<QTreeWidget*>("models");
        seen = QTest::qWaitFor(
            [&] {
              bool done = table->topLevelItemCount() >= 3;
              for (int i = 0; i < table->topLevelItemCount(); ++i)
                done &= !table->topLevelItem(i)->text(6).contains("reading");
              return done;
            },
            10'000);
        test(dialog, table);
        if (dialog->isVisible()) dialog->reject();
      });
      trigger(*w, "file.models");
      QVERIFY(seen);
    };
    const auto row = [](QTreeWidget* table, const QString& name) {
      const auto found = table->findItems(name, Qt::MatchStartsWith, 0);
      return found.isEmpty() ? nullptr : found.front();
    };
    look([&](QDialog* dialog, QTreeWidget* table) {
      QTreeWidgetItem *causal = row(table, "qwen2-bias"), *diffusion = row(table, "llada-layout"),
                      *broken = row(table, "broken");
      QVERIFY(causal && diffusion && broken);
      QVERIFY(causal->isDisabled() && causal->toolTip(0).contains("masked diffusion"));
      QVERIFY(!diffusion->isDisabled() && diffusion->text(6).contains("masked diffusion"));
      QVERIFY(broken->isDisabled() && broken->toolTip(0).contains("broken.gguf"));
      for (const int column : {1, 2, 3, 4, 5}) QVERIFY(!diffusion->text(column).isEmpty());
      // What cannot be done is refused by the loader, with a message.
      dialog->findChild<QComboBox*>("device")->setCurrentText("cuda:7");
      Q_EMIT table->itemActivated(diffusion, 0);
    });
    QTRY_VERIFY(!w->errorText().isEmpty());
    QVERIFY2(w->errorText().contains("cuda"), qPrintable(w->errorText()));
    w->setMethod("sampling");
    look([&](QDialog* dialog, QTreeWidget* table) {
      QVERIFY(row(table, "llada-layout")->isDisabled());
      QVERIFY(!row(table, "qwen2-bias")->isDisabled());
      dialog->findChild<QComboBox*>("device")->setCurrentText("cpu");
      dialog->findChild<QComboBox*>("dtype")->setCurrentText("bf16");
      Q_EMIT table->itemActivated(row(table, "qwen2-bias"), 0);
    });
    QTRY_COMPARE(w->controller().state().dtype, std::string("bf16"));
    // The choice stays: it is the same for the next model, and in the next window.
    QCOMPARE(QSettings().value("model/dtype").toString(), QString("bf16"));
    QSettings().remove("model");
    qunsetenv("DECOSCOPE_MODELS");
  }

  void aConversationIsEditedAndComesBack() {
    // Turns go to JSON and back; other documents give none.
    const std::vector<ChatTurn> turns{{"system", "Be \"brief\""}, {"user", "a\nb"}};
    QVERIFY(chatTurns(chatJson(turns)) == turns);
    QVERIFY(chatTurns("{}").empty() && chatTurns("[").empty());
    QVERIFY(chatTurns(R"({"messages":[{"role":"user","content":"a"}]})").size() == 1);
    QVERIFY(chatTurns(R"({"messages":[{"role":"user","content":"a"}],"tools":[]})").empty());
    QVERIFY(chatTurns(R"([{"role":"user","content":["a"]}])").empty());
    auto w = ready();
    auto* prompt = w->findChild<QPlainTextEdit*>("prompt");
    w->setPrompt("cab", true);
    auto* button = w->findChild<QToolButton*>("conversation");
    QVERIFY(button->isVisible());
    QTimer::singleShot(0, this, [&] {
      auto* dialog = w->findChild<QDialog*>("chatDialog");
      const auto texts = [&] { return dialog->findChildren<QPlainTextEdit*>("messageText"); };
      const auto roles = [&] { return dialog->findChildren<QComboBox*>("messageRole"); };
      QTest::mouseClick(dialog->findChild<QPushButton*>("addMessage"), Qt::LeftButton);
      QCOMPARE(texts().size(), 2);
      // The user's turn is followed by the assistant's; made a system message and moved to the front.
      QCOMPARE(roles().back()->currentText(), QString("assistant"));
      roles().back()->setCurrentText("system");
      texts().back()->setPlainText("be brief");
      QTest::mouseClick(dialog->findChildren<QToolButton*>("moveUp").back(), Qt::LeftButton);
      // A table model has no template, and that is said.
      const auto labels = dialog->findChildren<QLabel*>();
      QTRY_VERIFY(std::any_of(labels.begin(), labels.end(),
                              [](QLabel* label) { return label->text().contains("template"); }));
      dialog->accept();
    });
    button->click();
    QCOMPARE(prompt->toPlainText(), QString("cab"));
    QVERIFY(button->text().startsWith("1 message"));
    w->step();
    QTRY_VERIFY2(w->errorText().contains("template"), qPrintable(w->errorText()));
  }

  void thePaletteFindsCommands() {
    QVERIFY(CommandPalette::score("Fork here", "fo") > CommandPalette::score("Draft tree follow", "fo"));
    QVERIFY(CommandPalette::score("Next reject", "nrej") > 0);
    QCOMPARE(CommandPalette::score("Fork here", "xyz"), -1);
    auto w = openWindow();
    QSet<QString> ids;
    for (const QAction* action : w->allActions()) {
      QVERIFY(!action->text().isEmpty());
      QVERIFY2(!ids.contains(action->objectName()), qPrintable(action->objectName()));
      ids << action->objectName();
    }
    QVERIFY(ids.size() > 35);
    // No key does two things.
    QSet<QString> keys;
    for (const QAction* action : w->allActions())
      for (const QKeySequence& key : action->shortcuts()) {
        QVERIFY2(!keys.contains(key.toString()), qPrintable(key.toString()));
        keys << key.toString();
      }
  }

  void keysCanBeRebound() {
    auto w = openWindow();
    QAction *step = w->findChild<QAction*>("run.step"), *run = w->findChild<QAction*>("run.run");
    const auto dialog = [&](const std::function<void(ShortcutsDialog*, QTreeWidget*)>& test) {
      QTimer::singleShot(0, this, [&] {
        auto* shown = w->findChild<ShortcutsDialog*>("shortcutsDialog");
        test(shown, shown->findChild<QTreeWidget*>("keys"));
        shown->reject();
      });
      trigger(*w, "help.keys");
    };
    const auto choose = [](QTreeWidget* table, const QString& name) {
      const auto found = table->findItems(name, Qt::MatchExactly, 0);
      if (!found.isEmpty()) table->setCurrentItem(found.front());
    };
    dialog([&](ShortcutsDialog* shown, QTreeWidget* table) {
      choose(table, "Step");
      auto* edit = shown->findChild<QKeySequenceEdit*>("keyEdit");
      // A key that is taken is said to be, and given away only when asked for.
      edit->setKeySequence(QKeySequence(Qt::Key_F5));
      QVERIFY(shown->findChild<QLabel*>("keyConflict")->text().contains("Run"));
      QCOMPARE(run->shortcut(), QKeySequence(Qt::Key_F5));
      shown->findChild<QPushButton*>("keySet")->click();
    });
    QCOMPARE(step->shortcut(), QKeySequence(Qt::Key_F5));
    QVERIFY(run->shortcut().isEmpty());
    QVERIFY(step->iconText().contains("F5") && step->toolTip().contains("F5"));
    // It holds in the next window.
    auto next = openWindow();
    QCOMPARE(next->findChild<QAction*>("run.step")->shortcut(), QKeySequence(Qt::Key_F5));
    QVERIFY(next->findChild<QAction*>("run.run")->shortcut().isEmpty());
    dialog(
        [&](ShortcutsDialog* shown, QTreeWidget*) { shown->findChild<QPushButton*>("keysReset")->click(); });
    QCOMPARE(step->shortcut(), QKeySequence(Qt::Key_F10));
    QCOMPARE(run->shortcut(), QKeySequence(Qt::Key_F5));
    QVERIFY(!QSettings().childGroups().contains("keys"));
  }
};

int main(int argc, char** argv) {
  return test::runWindowTest<TestWindowDialogs>(argc, argv);
}

#include "TestWindowDialogs.moc"
