// Models of several files, and files that only look like models.
#include <QTemporaryDir>
#include <QTest>
#include <filesystem>

#include "core/model/weights/WeightFile.h"
#include "tests/weights/Files.h"

using namespace decoscope;
namespace fs = std::filesystem;

namespace {

struct ShardSpec {
  std::uint32_t number, count, tensors;
};

std::string shard(const ShardSpec& spec, const std::vector<std::string>& names) {
  std::vector<GgufTensor> tensors;
  for (const std::string& name : names) tensors.push_back({name, 0, {8}, std::string(32, name.back())});
  std::vector<std::pair<std::string, GgufValue>> metadata = {
      {"split.no", spec.number}, {"split.count", spec.count}, {"split.tensors.count", spec.tensors}};
  if (spec.number == 0) metadata.insert(metadata.begin(), {"general.architecture", std::string("llama")});
  return ggufBytes(metadata, tensors);
}

std::string indexOf(const std::string& entries) {
  return R"({"metadata":{"total_size":16},"weight_map":{)" + entries + "}}";
}

const char* const kA = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
const char* const kB = R"({"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";

}  // namespace

class TestShards : public QObject {
  Q_OBJECT
  std::unique_ptr<QTemporaryDir> folder_;
  std::string path(const std::string& name) const {
    return folder_->filePath(QString::fromStdString(name)).toStdString();
  }
  void writeSplit() {
    writeFile(path("m-00001-of-00003.gguf"), shard({0, 3, 4}, {"a", "b"}));
    writeFile(path("m-00002-of-00003.gguf"), shard({1, 3, 4}, {"c"}));
    writeFile(path("m-00003-of-00003.gguf"), shard({2, 3, 4}, {"d"}));
  }
  void writeFolder(const std::string& index) {
    writeFile(path("model.safetensors.index.json"), index);
    writeFile(path("one.safetensors"), safetensorsBytes(kA, 8));
    writeFile(path("two.safetensors"), safetensorsBytes(kB, 8));
  }
  // Opens and expects an error that names `word`.
  void refuses(const std::string& target, const std::string& word) {
    const auto file = openWeights(target);
    QVERIFY2(!file, target.c_str());
    QVERIFY2(file.error().text().find(word) != std::string::npos, file.error().text().c_str());
  }

 private Q_SLOTS:
  void init() { folder_ = std::make_unique<QTemporaryDir>(); }

  void anyShardOpensAll_data() {
    QTest::addColumn<QString>("name");
    for (const char* name : {"m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"})
      QTest::newRow(name) << name;
  }
  void anyShardOpensAll() {
    QFETCH(QString, name);
    writeSplit();
    const auto file = openWeights(path(name.toStdString()));
    QVERIFY2(file.has_value(), file ? "" : file.error().text().c_str());
    QCOMPARE((*file)->tensors().size(), std::size_t{4});
    QCOMPARE((*file)->text("general.architecture"), std::string("llama"));
    QCOMPARE((*file)->path(), path("m-00001-of-00003.gguf"));
    for (const char* tensor : {"a", "b", "c", "d"}) {
      const WeightTensor* found = (*file)->find(tensor);
      QVERIFY(found);
      QCOMPARE(static_cast<char>(found->data[0]), tensor[0]);
    }
    QVERIFY(!(*file)->find("e"));
    QCOMPARE(weightFiles(path(name.toStdString())).value().size(), std::size_t{3});
    QCOMPARE(fileDigest(path(name.toStdString())).value(), fileDigest(path("m-00001-of-00003.gguf")).value());
  }
  void everyShardCountsInTheDigest() {
    writeSplit();
    const std::string before = fileDigest(path("m-00001-of-00003.gguf")).value();
    writeFile(path("m-00003-of-00003.gguf"), shard({2, 3, 4}, {"e"}));
    QVERIFY(fileDigest(path("m-00001-of-00003.gguf")).value() != before);
  }
  void aMissingShardIsNamed() {
    writeSplit();
    fs::remove(path("m-00002-of-00003.gguf"));
    for (const char* name : {"m-00001-of-00003.gguf", "m-00003-of-00003.gguf"}) {
      const auto file = openWeights(path(name));
      QVERIFY(!file);
      QCOMPARE(file.error().code, ErrorCode::notFound);
      QCOMPARE(file.error().where, path("m-00002-of-00003.gguf"));
      QVERIFY(!fileDigest(path(name)));
    }
  }
  void shardsThatDoNotFitAreRefused() {
    writeSplit();
    writeFile(path("m-00002-of-00003.gguf"), shard({1, 3, 4}, {"a"}));
    refuses(path("m-00001-of-00003.gguf"), "stands in two shards");
    writeFile(path("m-00002-of-00003.gguf"), shard({2, 3, 4}, {"c"}));
    refuses(path("m-00001-of-00003.gguf"), "not shard 2 of 3");
    writeFile(path("m-00002-of-00003.gguf"), shard({1, 3, 4}, {"c", "x"}));
    refuses(path("m-00001-of-00003.gguf"), "5 tensors of 4");
    writeFile(path("m-00002-of-00003.gguf"), shard({1, 3, 5}, {"c"}));
    refuses(path("m-00001-of-00003.gguf"), "disagree");
    writeFile(path("m-00002-of-00003.gguf"), "GGUF");
    refuses(path("m-00001-of-00003.gguf"), "m-00002-of-00003.gguf");
    writeFile(path("renamed.gguf"), shard({0, 3, 4}, {"a"}));
    refuses(path("renamed.gguf"), "name does not say so");
    writeFile(path("m-00001-of-00009.gguf"), shard({7, 3, 4}, {"a"}));
    refuses(path("m-00001-of-00009.gguf"), "split.no");
  }
  void otherVersionsAreRefused_data() {
    QTest::addColumn<QByteArray>("version");
    QTest::addColumn<QString>("word");
    QTest::newRow("0") << QByteArray("\0\0\0\0", 4) << "version 0";
    QTest::newRow("1") << QByteArray("\1\0\0\0", 4) << "version 1";
    QTest::newRow("4") << QByteArray("\4\0\0\0", 4) << "version 4";
    QTest::newRow("big-endian") << QByteArray("\0\0\0\3", 4) << "big-endian";
  }
  void otherVersionsAreRefused() {
    QFETCH(QByteArray, version);
    QFETCH(QString, word);
    std::string f = ggufBytes({}, {{"a", 0, {8}, std::string(32, 'a')}});
    f.replace(4, 4, version.toStdString());
    writeFile(path("v.gguf"), f);
    const auto file = openWeights(path("v.gguf"));
    QVERIFY(!file);
    QCOMPARE(file.error().code, ErrorCode::unsupported);
    QVERIFY2(file.error().message.find(word.toStdString()) != std::string::npos,
             file.error().message.c_str());
  }
  void versionTwoAndOtherNamesAreRead() {
    std::string f = ggufBytes({}, {{"a", 0, {8}, std::string(32, 'a')}});
    f[4] = 2;
    writeFile(path("sha256-0123"), f);
    QVERIFY(openWeights(path("sha256-0123")).has_value());
    QVERIFY(isGgufFile(path("sha256-0123")));
    QVERIFY(!isGgufFile(path("absent")));
  }
  void picklesAreRefusedByName() {
    writeFile(path("pytorch_model.bin"), std::string("PK\3\4 and so on"));
    refuses(path("pytorch_model.bin"), "PyTorch pickle");
    refuses(folder_->path().toStdString(), "PyTorch pickle");
    writeFile(path("old.bin"), std::string("\x80\x02}q"));
    refuses(path("old.bin"), "safetensors");
    writeFile(path("readme.txt"), "hello");
    refuses(path("readme.txt"), "neither");
  }

  void anIndexOpensItsShards() {
    writeFolder(indexOf(R"("a":"one.safetensors","b":"two.safetensors")"));
    const auto file = openWeights(folder_->path().toStdString());
    QVERIFY2(file.has_value(), file ? "" : file.error().text().c_str());
    QCOMPARE((*file)->tensors().size(), std::size_t{2});
    QVERIFY((*file)->find("a") && (*file)->find("b"));
    QCOMPARE(weightFiles(folder_->path().toStdString()).value(),
             (std::vector<std::string>{path("one.safetensors"), path("two.safetensors")}));
  }
  void whatTheIndexDoesNotMentionIsKept() {
    writeFolder(indexOf(R"("a":"one.safetensors")"));
    writeFile(path("one.safetensors"),
              safetensorsBytes(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                               R"("extra":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                               8));
    const auto file = openWeights(folder_->path().toStdString());
    QVERIFY(file.has_value());
    QVERIFY((*file)->find("extra"));
  }
  void theIndexDecidesBetweenTwo() {
    writeFolder(indexOf(R"("a":"one.safetensors","b":"two.safetensors")"));
    std::string both = safetensorsBytes(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                        R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                                        8);
    writeFile(path("one.safetensors"), both);
    const auto file = openWeights(folder_->path().toStdString());
    QVERIFY2(file.has_value(), file ? "" : file.error().text().c_str());
    QCOMPARE((*file)->find("b")->elements(), std::int64_t{2});
  }
  void badIndexesAreRefused_data() {
    QTest::addColumn<QString>("index");
    QTest::addColumn<QString>("word");
    const auto row = [](const char* name, const std::string& index, const char* word) {
      QTest::newRow(name) << QString::fromStdString(index) << word;
    };
    row("absolute", indexOf(R"("a":"/etc/passwd")"), "outside the folder");
    row("upwards", indexOf(R"("a":"../one.safetensors")"), "outside the folder");
    row("hidden upwards", indexOf(R"("a":"x/../../one.safetensors")"), "outside the folder");
    row("empty name", indexOf(R"("a":"")"), "outside the folder");
    row("missing shard", indexOf(R"("a":"one.safetensors","c":"three.safetensors")"), "three.safetensors");
    row("not in any shard", indexOf(R"("a":"one.safetensors","c":"two.safetensors")"),
        "'c' is not in its shard");
    row("in another shard", indexOf(R"("a":"two.safetensors","b":"two.safetensors")"),
        "'a' is not in its shard");
    row("twice", indexOf(R"("a":"one.safetensors","a":"one.safetensors")"), "twice in the index");
    row("not a name", indexOf(R"("a":1)"), "not a file name");
    row("a list", indexOf(R"("a":["one.safetensors"])"), "not a file name");
    row("no map", "{}", "no weight_map");
    row("not JSON", "{", "not JSON");
    row("deep", R"({"x":)" + std::string(100'000, '['), "deep");
  }
  void badIndexesAreRefused() {
    QFETCH(QString, index);
    QFETCH(QString, word);
    writeFolder(index.toStdString());
    refuses(folder_->path().toStdString(), word.toStdString());
  }
  void twoShardsWithOneNameAreRefused() {
    writeFile(path("model.safetensors.index.json"),
              indexOf(R"("x":"one.safetensors","y":"two.safetensors")"));
    const std::string two =
        R"({"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"n":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})";
    std::string other = two;
    other[2] = 'y';
    writeFile(path("one.safetensors"), safetensorsBytes(two, 8));
    writeFile(path("two.safetensors"), safetensorsBytes(other, 8));
    refuses(folder_->path().toStdString(), "'n' stands in two shards");
  }
};

QTEST_GUILESS_MAIN(TestShards)
#include "TestShards.moc"
