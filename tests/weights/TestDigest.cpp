// Digests, and the cache that remembers them.
#include <fcntl.h>
#include <sys/stat.h>

#include <QDir>
#include <QFile>
#include <QTemporaryDir>
#include <QTest>
#include <thread>

#include "core/base/CacheFolder.h"
#include "core/model/weights/DigestCache.h"
#include "core/model/weights/WeightFile.h"
#include "tests/weights/Files.h"

using namespace decoscope;

class TestDigest : public QObject {
  Q_OBJECT
  std::unique_ptr<QTemporaryDir> folder_;
  std::string weights_;

  static std::string key(int number) {
    return std::string(56, 'a') + QString::number(number, 16).rightJustified(8, '0').toStdString();
  }
  std::string cachePath() const { return cacheFolder() + "/digests"; }

 private Q_SLOTS:
  void init() {
    folder_ = std::make_unique<QTemporaryDir>();
    qputenv("XDG_CACHE_HOME", folder_->path().toUtf8());
    weights_ = folder_->filePath("a.safetensors").toStdString();
    writeFile(weights_, "abc");
  }
  void isTheSha256OfTheFile() {
    QCOMPARE(fileDigest(weights_).value(),
             std::string("sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    QVERIFY(!fileDigest(weights_ + "x"));
  }
  void aFreshFileIsNotRemembered() {
    QVERIFY(fileDigest(weights_).has_value());
    QVERIFY(!digestKey({weights_}));
    QVERIFY(!QFile::exists(QString::fromStdString(cachePath())));
  }
  void aSettledFileIsRememberedUntilItChanges() {
    QTest::qWait(3100);
    const auto before = digestKey({weights_});
    QVERIFY(before);
    const std::string digest = fileDigest(weights_).value();
    QCOMPARE("sha256:" + findDigest(*before).value(), digest);
    // What the cache says is what is told; only a fresh digest reads the file.
    keepDigest(*before, std::string(64, '0'));
    QCOMPARE(fileDigest(weights_).value(), "sha256:" + std::string(64, '0'));
    QCOMPARE(fileDigest(weights_, DigestSource::fresh).value(), digest);
    QCOMPARE(fileDigest(weights_).value(), digest);
    // The same size and the old time put back: the time of the change itself gives it away.
    struct stat old {};
    QCOMPARE(::stat(weights_.c_str(), &old), 0);
    writeFile(weights_, "abd");
    const timespec times[2] = {old.st_atim, old.st_mtim};
    QCOMPARE(::utimensat(AT_FDCWD, weights_.c_str(), times, 0), 0);
    QVERIFY(digestKey({weights_}) != before);
    QVERIFY(fileDigest(weights_).value() != digest);
  }
  void damageIsPassedOver() {
    keepDigest(key(1), std::string(64, '1'));
    keepDigest(key(2), std::string(64, '2'));
    QFile file(QString::fromStdString(cachePath()));
    QVERIFY(file.open(QIODevice::ReadOnly));
    const QByteArray whole = file.readAll();
    file.close();
    for (qsizetype at = 0; at < whole.size(); ++at) {
      QByteArray damaged = whole;
      damaged[at] = damaged[at] == '3' ? '4' : '3';
      writeFile(cachePath(), damaged.toStdString());
      for (const int number : {1, 2})
        if (const auto found = findDigest(key(number)))
          QCOMPARE(*found, std::string(64, static_cast<char>('0' + number)));
    }
    writeFile(cachePath(), std::string(1 << 20, '\xFF'));
    QVERIFY(!findDigest(key(1)));
    keepDigest(key(3), std::string(64, '3'));
    QCOMPARE(findDigest(key(3)).value(), std::string(64, '3'));
  }
  void theCacheIsBounded() {
    for (int i = 0; i < 300; ++i) keepDigest(key(i), std::string(64, '5'));
    QVERIFY(!findDigest(key(43)));
    QVERIFY(findDigest(key(44)));
    QVERIFY(findDigest(key(299)));
    QVERIFY(QFile(QString::fromStdString(cachePath())).size() <= 256 * 147);
  }
  void writersAtOnceLeaveAWholeFile() {
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread)
      threads.emplace_back([thread] {
        for (int i = 0; i < 50; ++i) {
          keepDigest(key(thread * 100 + i), std::string(64, '7'));
          if (const auto found = findDigest(key(i))) QCOMPARE(*found, std::string(64, '7'));
        }
      });
    for (std::thread& thread : threads) thread.join();
    QFile file(QString::fromStdString(cachePath()));
    QVERIFY(file.open(QIODevice::ReadOnly));
    while (!file.atEnd()) QCOMPARE(file.readLine().size(), 147);
    QCOMPARE(QDir(QString::fromStdString(cacheFolder())).entryList(QDir::Files).size(), 1);
  }
  void aFolderThatCannotBeWrittenIsNoError() {
    qputenv("XDG_CACHE_HOME", "/proc/none");
    keepDigest(key(1), std::string(64, '1'));
    QVERIFY(!findDigest(key(1)));
    QVERIFY(fileDigest(weights_).has_value());
  }
};

QTEST_GUILESS_MAIN(TestDigest)
#include "TestDigest.moc"
