// The dependency rule, read from the #include lines: fails with file and line on an arrow that the
// architecture forbids.
#include <QDir>
#include <QDirIterator>
#include <QRegularExpression>
#include <QTemporaryDir>
#include <QTest>

namespace {

const QStringList kCoreOrder = {"base",  "tokenizer", "model",   "trace",   "decode",  "lens",
                                "train", "store",     "session", "metrics", "interop", "figure"};

// Why this include is not allowed in this file, or an empty text.
QString objection(const QString& file, const QString& include) {
  const bool torch = QRegularExpression("^(torch|ATen|c10)/").match(include).hasMatch();
  if (torch && !file.startsWith("core/model/torch/") && !file.startsWith("core/train/"))
    return "torch outside core/model/torch and core/train";
  if (include == "sqlite3.h" && !file.startsWith("core/store/") && !file.startsWith("tests/"))
    return "SQLite outside core/store";
  const bool qt = QRegularExpression("^Q[A-Z]|^Qt[A-Z]").match(include).hasMatch();
  const bool imgui = include.contains("imgui");
  if (file.startsWith("core/")) {
    if (qt || imgui) return "core knows neither Qt nor ImGui";
    if (include.startsWith("widgets/") || include.startsWith("app/"))
      return "core knows neither widgets nor app";
    const qsizetype own = kCoreOrder.indexOf(file.section('/', 1, 1)),
                    other = include.startsWith("core/") ? kCoreOrder.indexOf(include.section('/', 1, 1)) : -1;
    if (include.startsWith("core/") && (own < 0 || other < 0))
      return "a folder that is not in the order of core";
    if (other > own) return "core/" + kCoreOrder[own] + " may not see core/" + kCoreOrder[other];
    // Views of records stay clear of the machinery that made them.
    if (QStringList{"metrics", "interop", "figure"}.contains(kCoreOrder.value(own)) &&
        QStringList{"tokenizer", "model", "decode", "session", "store"}.contains(kCoreOrder.value(other)))
      return "core/" + kCoreOrder[own] + " sees traces, not core/" + kCoreOrder[other];
    // Decoders know the door, not a backend.
    if (file.startsWith("core/decode/") && include.startsWith("core/model/") &&
        include != "core/model/Model.h")
      return "decoders see core/model/Model.h only";
  }
  if (file.startsWith("widgets/") && include.startsWith("core/") &&
      !QStringList{"base", "trace", "metrics", "figure"}.contains(include.section('/', 1, 1)))
    return "widgets see base, trace, metrics and figure only";
  if (file.startsWith("widgets/") && include.startsWith("app/")) return "widgets do not know app";
  if (file.startsWith("app/cli/") && (qt || imgui)) return "the command line has no Qt";
  return {};
}

QStringList violations(const QString& root) {
  QStringList found;
  const QRegularExpression pattern("^\\s*.\\s*include\\s*[<\"]([^>\"]+)[>\"]");
  for (const char* top : {"core", "widgets", "app"}) {
    QDirIterator files(root + "/" + top, {"*.h", "*.cpp"}, QDir::Files, QDirIterator::Subdirectories);
    while (files.hasNext()) {
      QFile file(files.next());
      if (!file.open(QIODevice::ReadOnly)) continue;
      const QString relative = QDir(root).relativeFilePath(file.fileName());
      for (int line = 1; !file.atEnd(); ++line) {
        const auto match = pattern.match(QString::fromUtf8(file.readLine()));
        if (!match.hasMatch()) continue;
        const QString why = objection(relative, match.captured(1));
        if (!why.isEmpty())
          found << QString("%1:%2: %3: %4").arg(relative).arg(line).arg(match.captured(1), why);
      }
    }
  }
  return found;
}

}  // namespace

class TestArrows : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void theTreeKeepsItsArrows() {
    const QStringList found = violations(QStringLiteral(DECOSCOPE_SOURCE_DIR));
    QVERIFY2(found.isEmpty(), qPrintable("\n" + found.join('\n')));
  }
  void plantedArrowsAreFound_data() {
    QTest::addColumn<QString>("file");
    QTest::addColumn<QString>("include");
    QTest::newRow("widgets to decode") << "widgets/canvas/A.cpp"
                                       << "core/decode/Decoder.h";
    QTest::newRow("core to Qt") << "core/trace/A.h"
                                << "QString";
    QTest::newRow("torch in decode") << "core/decode/A.cpp"
                                     << "torch/torch.h";
    QTest::newRow("decode to store") << "core/decode/A.cpp"
                                     << "core/store/SessionStore.h";
    QTest::newRow("figure to decode") << "core/figure/A.cpp"
                                      << "core/decode/Decoder.h";
    QTest::newRow("Qt in the command line") << "app/cli/A.cpp"
                                            << "QCoreApplication";
    QTest::newRow("decode to a backend") << "core/decode/A.cpp"
                                         << "core/model/weights/WeightFile.h";
  }
  void plantedArrowsAreFound() {
    QFETCH(QString, file);
    QFETCH(QString, include);
    QTemporaryDir root;
    QVERIFY(QDir(root.path()).mkpath(QFileInfo(file).path()));
    QFile source(root.filePath(file));
    QVERIFY(source.open(QIODevice::WriteOnly));
    source.write(("// one line\n#include \"" + include + "\"\n").toUtf8());
    source.close();
    const QStringList found = violations(root.path());
    QCOMPARE(found.size(), 1);
    QVERIFY(found.front().startsWith(file + ":2:"));
  }
};

QTEST_GUILESS_MAIN(TestArrows)
#include "TestArrows.moc"
