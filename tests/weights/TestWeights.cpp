#include <QTemporaryDir>
#include <QTest>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/model/weights/WeightFile.h"
#include "tests/weights/Files.h"

using namespace decoscope;

namespace {

// A small GGUF with one text, one array and one tensor of four floats.
std::string smallGguf() {
  std::string f = "GGUF";
  put(f, 3, 4);
  put(f, 1, 8);
  put(f, 2, 8);
  putText(f, "general.architecture");
  put(f, 8, 4);
  putText(f, "llama");
  putText(f, "numbers");
  put(f, 9, 4);
  put(f, 5, 4);
  put(f, 3, 8);
  for (const int n : {1, 2, 3}) put(f, static_cast<std::uint64_t>(n), 4);
  putText(f, "t");
  put(f, 2, 4);
  put(f, 2, 8);
  put(f, 2, 8);
  put(f, 0, 4);
  put(f, 0, 8);
  f.resize((f.size() + 31) / 32 * 32, '\0');
  for (const float value : {1.0f, -2.0f, 0.5f, 4.0f}) f.append(reinterpret_cast<const char*>(&value), 4);
  return f;
}

// Two tensors of four floats at these offsets.
std::string twoTensors(const char* first, std::uint64_t firstOffset, const char* second,
                       std::uint64_t secondOffset) {
  std::string f = "GGUF";
  put(f, 3, 4);
  put(f, 2, 8);
  put(f, 0, 8);
  for (const auto& [name, offset] : {std::pair{first, firstOffset}, {second, secondOffset}}) {
    putText(f, name);
    put(f, 1, 4);
    put(f, 16, 8);
    put(f, 0, 4);
    put(f, offset, 8);
  }
  f.resize((f.size() + 31) / 32 * 32 + 192, '\0');
  return f;
}

}  // namespace

class TestWeights : public QObject {
  Q_OBJECT
  QTemporaryDir folder_;
  std::string write(const std::string& name, const std::string& bytes) {
    const std::string path = folder_.filePath(QString::fromStdString(name)).toStdString();
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

 private Q_SLOTS:
  void readsGguf() {
    const auto file = openWeights(write("good.gguf", smallGguf()));
    QVERIFY2(file.has_value(), file ? "" : file.error().text().c_str());
    QCOMPARE((*file)->text("general.architecture"), std::string("llama"));
    const WeightTensor* tensor = (*file)->find("t");
    QVERIFY(tensor);
    QCOMPARE(tensor->shape, (std::vector<std::int64_t>{2, 2}));
    float values[4];
    QVERIFY(dequantise(*tensor, 0, values).has_value());
    QCOMPARE(values[1], -2.0f);
  }
  void everyTruncationIsRefused() {
    const std::string whole = smallGguf();
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const auto file = openWeights(write("cut.gguf", whole.substr(0, size)));
      QVERIFY2(!file, qPrintable(QString::number(size)));
      QVERIFY(!file.error().message.empty() && !file.error().where.empty());
    }
  }
  void absurdCountsAreRefused() {
    for (const std::size_t offset : {std::size_t{8}, std::size_t{16}, std::size_t{24}}) {
      std::string f = smallGguf();
      const std::uint64_t huge = 1ull << 63;
      std::memcpy(f.data() + offset, &huge, 8);
      const auto file = openWeights(write("huge.gguf", f));
      QVERIFY(!file);
      QCOMPARE(file.error().code, ErrorCode::badInput);
    }
  }
  void sharedBytesAndNamesAreRefused() {
    QVERIFY(openWeights(write("two.gguf", twoTensors("a", 0, "b", 64))).has_value());
    QVERIFY(openWeights(write("two.gguf", twoTensors("a", 64, "b", 0))).has_value());
    for (const auto& file :
         {twoTensors("a", 0, "b", 32), twoTensors("a", 0, "b", 0), twoTensors("a", 0, "a", 64)}) {
      const auto opened = openWeights(write("two.gguf", file));
      QVERIFY(!opened);
      QCOMPARE(opened.error().code, ErrorCode::badInput);
    }
  }
  void aSparseFileCannotAskForMemory() {
    // A string of 2^39 bytes that a sparse file does hold.
    std::string f = "GGUF";
    put(f, 3, 4);
    put(f, 0, 8);
    put(f, 1, 8);
    putText(f, "general.name");
    put(f, 8, 4);
    put(f, 1ull << 39, 8);
    const std::string path = write("sparse.gguf", f);
    std::error_code error;
    std::filesystem::resize_file(path, (1ull << 39) + 4096, error);
    if (error) QSKIP("this disk has no sparse files of that size");
    const auto file = openWeights(path);
    QVERIFY(!file);
    QVERIFY(file.error().where.find("general.name") != std::string::npos);
  }
  void flippedBytesNeverCrash() {
    const std::string whole = smallGguf();
    for (std::size_t at = 0; at < whole.size(); ++at)
      for (const int mask : {0x01, 0x80, 0xFF}) {
        std::string f = whole;
        f[at] = static_cast<char>(f[at] ^ mask);
        const auto file = openWeights(write("flip.gguf", f));
        if (!file) QVERIFY(!file.error().message.empty());
      }
  }
  void badSafetensorsAreRefused_data() {
    QTest::addColumn<QString>("header");
    QTest::addColumn<int>("bytes");
    const char* good = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
    QTest::newRow("too little data") << good << 7;
    QTest::newRow("too much data") << good << 9;
    QTest::newRow("overlap")
        << R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})"
        << 12;
    QTest::newRow("hole") << R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})" << 8;
    QTest::newRow("wrong size") << R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})" << 8;
    QTest::newRow("overflow")
        << R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})" << 8;
    QTest::newRow("twice")
        << R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})"
        << 4;
    QTest::newRow("not JSON") << "{" << 0;
    QTest::newRow("leading space") << " {}" << 0;
    QTest::newRow("a list") << "[]" << 0;
    QTest::newRow("text behind") << "{}x" << 0;
    QTest::newRow("deep") << "{\"a\":{\"b\":" + QString(100'000, QLatin1Char('[')) << 0;
    QTest::newRow("not bytes") << R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})" << 2;
    QTest::newRow("no dtype") << R"({"a":{"shape":[1],"data_offsets":[0,4]}})" << 4;
    QTest::newRow("a shape of text") << R"({"a":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}})" << 4;
    QTest::newRow("a real shape") << R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})" << 4;
    QTest::newRow("one offset") << R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4]}})" << 4;
    QTest::newRow("three offsets") << R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}})" << 4;
    QTest::newRow("field twice") << R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})"
                                 << 4;
    QTest::newRow("an entry of text") << R"({"a":"F32"})" << 0;
    QTest::newRow("negative") << R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})" << 4;
  }
  void badSafetensorsAreRefused() {
    QFETCH(QString, header);
    QFETCH(int, bytes);
    const auto file = openWeights(
        write("bad.safetensors", safetensorsBytes(header.toStdString(), static_cast<std::size_t>(bytes))));
    QVERIFY(!file);
    QCOMPARE(file.error().code, ErrorCode::badInput);
  }
  void goodSafetensorsAreRead_data() {
    QTest::addColumn<QString>("header");
    QTest::addColumn<int>("bytes");
    QTest::addColumn<int>("tensors");
    const auto one = [](const char* type, const char* shape, int bytes) {
      QTest::newRow(type) << QStringLiteral(R"({"a":{"dtype":"%1","shape":%2,"data_offsets":[0,%3]}})")
                                 .arg(type, shape)
                                 .arg(bytes)
                          << bytes << 1;
    };
    for (const char* type :
         {"BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"})
      one(type, "[2,3]", 6);
    for (const char* type : {"I16", "U16", "F16", "BF16"}) one(type, "[2,3]", 12);
    for (const char* type : {"I32", "U32", "F32"}) one(type, "[2,3]", 24);
    for (const char* type : {"F64", "I64", "U64", "C64"}) one(type, "[2,3]", 48);
    one("F4", "[2,4]", 4);
    one("F6_E2M3", "[2,4]", 6);
    one("F6_E3M2", "[2,4]", 6);
    QTest::newRow("scalar") << R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})" << 4 << 1;
    QTest::newRow("nothing") << "{}" << 0 << 0;
    QTest::newRow("only metadata") << R"({"__metadata__":{"format":"pt"}})" << 0 << 0;
    QTest::newRow("zero size")
        << R"({"z":{"dtype":"F32","shape":[0,7],"data_offsets":[4,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})"
        << 4 << 2;
    QTest::newRow("padded") << R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}     )" << 4 << 1;
    QTest::newRow("unknown field")
        << R"({"a":{"note":{"x":[1.5,null]},"dtype":"F32","shape":[1],"data_offsets":[0,4]}})" << 4 << 1;
  }
  void goodSafetensorsAreRead() {
    QFETCH(QString, header);
    QFETCH(int, bytes);
    QFETCH(int, tensors);
    const auto file = openWeights(
        write("good.safetensors", safetensorsBytes(header.toStdString(), static_cast<std::size_t>(bytes))));
    QVERIFY2(file.has_value(), file ? "" : file.error().text().c_str());
    QCOMPARE((*file)->tensors().size(), static_cast<std::size_t>(tensors));
    std::size_t total = 0;
    for (const WeightTensor& tensor : (*file)->tensors()) total += tensor.data.size();
    QCOMPARE(total, static_cast<std::size_t>(bytes));
  }
  void hugeSafetensorsHeaderIsRefused() {
    std::string f;
    put(f, 1ull << 63, 8);
    QVERIFY(!openWeights(write("huge.safetensors", f + "{}")));
  }
};

QTEST_GUILESS_MAIN(TestWeights)
#include "TestWeights.moc"
