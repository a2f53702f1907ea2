#include <QCryptographicHash>
#include <QDir>
#include <QElapsedTimer>
#include <QFile>
#include <QTest>
#include <bit>
#include <cmath>
#include <cstring>

#include "core/model/weights/ElementTypes.h"
#include "core/model/weights/WeightFile.h"

using namespace decoscope;

namespace {

// The stream of make-block-hashes.py.
std::vector<std::byte> randomBytes(std::size_t size) {
  std::vector<std::byte> bytes(size + 8);
  for (std::size_t i = 0; i < (size + 7) / 8; ++i) {
    std::uint64_t state = (i + 1) * 0x9E3779B97F4A7C15ull + 1;
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9ull;
    state = (state ^ state >> 27) * 0x94D049BB133111EBull;
    state ^= state >> 31;
    std::memcpy(bytes.data() + i * 8, &state, 8);
  }
  bytes.resize(size);
  return bytes;
}

const ElementTraits* traitsOf(const std::string& name) {
  for (int type = 0; type < static_cast<int>(ElementType::other); ++type)
    if (const auto& traits = elementTraits(static_cast<ElementType>(type)); traits.name == name)
      return &traits;
  return nullptr;
}

WeightTensor tensorOf(const ElementTraits& traits, std::int64_t blocks, const std::vector<std::byte>& bytes) {
  return {"t", traits.type, traits.name, {blocks * traits.blockLength}, bytes};
}

}  // namespace

class TestDequantise : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void everyByteDecodesAsTheReference_data() {
    QTest::addColumn<int>("blocks");
    QTest::addColumn<QByteArray>("hash");
    QFile file(QStringLiteral(DECOSCOPE_SOURCE_DIR "/tests/weights/reference/block-hashes.txt"));
    QVERIFY(file.open(QIODevice::ReadOnly));
    int decoders = 0;
    while (!file.atEnd()) {
      const QList<QByteArray> words = file.readLine().trimmed().split(' ');
      QTest::newRow(words[0].constData()) << words[1].toInt() << words[2];
      ++decoders;
    }
    for (int type = 0; type < static_cast<int>(ElementType::other); ++type)
      if (elementTraits(static_cast<ElementType>(type)).decode &&
          type != static_cast<int>(ElementType::boolean))
        --decoders;
    QCOMPARE(decoders, 0);  // every decoder has its line
  }
  void everyByteDecodesAsTheReference() {
    QFETCH(int, blocks);
    QFETCH(QByteArray, hash);
    const ElementTraits* traits = traitsOf(QTest::currentDataTag());
    QVERIFY(traits && traits->decode);
    const auto bytes = randomBytes(static_cast<std::size_t>(blocks) * traits->blockBytes);
    const WeightTensor tensor = tensorOf(*traits, blocks, bytes);
    std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
    QVERIFY(dequantise(tensor, 0, values).has_value());
    // Which of two NaNs survives a sum is the compiler's choice: all count as one.
    for (float& value : values)
      if (std::isnan(value)) value = std::bit_cast<float>(0x7FC00000u);
    QCryptographicHash sum(QCryptographicHash::Sha256);
    sum.addData(QByteArrayView(reinterpret_cast<const char*>(values.data()), qsizetype(values.size() * 4)));
    QCOMPARE(sum.result().toHex(), hash);
  }
  void allHalvesAreExact() {
    std::vector<std::byte> bytes(65536 * 2);
    for (unsigned half = 0; half < 65536; ++half) {
      const auto word = static_cast<std::uint16_t>(half);
      std::memcpy(bytes.data() + half * 2, &word, 2);
    }
    std::vector<float> values(65536);
    QVERIFY(dequantise(tensorOf(elementTraits(ElementType::f16), 65536, bytes), 0, values).has_value());
    for (unsigned half = 0; half < 65536; ++half) {
      const unsigned exponent = half >> 10 & 31, fraction = half & 1023, sign = half >> 15;
      const auto bits = std::bit_cast<std::uint32_t>(values[half]);
      QCOMPARE(bits >> 31, sign);
      if (exponent == 31)  // infinities, and NaNs with their payload
        QCOMPARE(bits & 0x7FFFFFFFu, 0x7F800000u | fraction << 13);
      else
        QCOMPARE(std::abs(static_cast<double>(values[half])),
                 exponent == 0 ? std::ldexp(fraction, -24)
                               : std::ldexp(1024 + fraction, static_cast<int>(exponent) - 25));
    }
  }
  void rowsAreWholeBlocks_data() {
    QTest::addColumn<int>("type");
    for (int type = 0; type < static_cast<int>(ElementType::other); ++type)
      if (elementTraits(static_cast<ElementType>(type)).decode)
        QTest::newRow(elementTypeName(static_cast<ElementType>(type))) << type;
  }
  void rowsAreWholeBlocks() {
    QFETCH(int, type);
    const ElementTraits& traits = elementTraits(static_cast<ElementType>(type));
    QCOMPARE(blockLength(traits.type), static_cast<std::int64_t>(traits.blockLength));
    const auto bytes = randomBytes(5 * traits.blockBytes);
    const WeightTensor tensor = tensorOf(traits, 5, bytes);
    std::vector<float> all(5 * traits.blockLength), row(2 * traits.blockLength);
    QVERIFY(dequantise(tensor, 0, all).has_value());
    QVERIFY(dequantise(tensor, 3 * traits.blockLength, row).has_value());
    QVERIFY(std::memcmp(row.data(), all.data() + 3 * traits.blockLength, row.size() * 4) == 0);
    QVERIFY(!dequantise(tensor, 4 * traits.blockLength, row));
    QVERIFY(!dequantise(tensor, -1, row));
    if (traits.blockLength > 1) {
      QVERIFY(!dequantise(tensor, 1, row));
      QVERIFY(!dequantise(tensor, 0, std::span(row).first(row.size() - 1)));
    }
    WeightTensor cut = tensor;
    cut.data = cut.data.first(cut.data.size() - 1);
    QVERIFY(!dequantise(cut, 0, all));
  }
  void typesWithoutDecoderAreNamed() {
    const auto bytes = randomBytes(36);
    std::vector<float> out(32);
    const auto status = dequantise(tensorOf(elementTraits(ElementType::q8_1), 1, bytes), 0, out);
    QVERIFY(!status);
    QCOMPARE(status.error().code, ErrorCode::unsupported);
    QVERIFY(status.error().message.find("Q8_1") != std::string::npos);
  }
  void fixturesDecodeToTheLastBit() {
    const QString quant = QStringLiteral(DECOSCOPE_FIXTURES "/quant/");
    if (!QDir(quant).exists()) QSKIP("the reference data is not there");
    const auto file = openWeights((quant + "all-types.gguf").toStdString()),
               expected = openWeights((quant + "all-types-dequantised.safetensors").toStdString());
    QVERIFY(file && expected);
    QCOMPARE((*file)->tensors().size(), (*expected)->tensors().size());
    for (const WeightTensor& tensor : (*file)->tensors()) {
      const WeightTensor* reference = (*expected)->find(tensor.name);
      QVERIFY2(reference, tensor.name.c_str());
      std::vector<float> values(static_cast<std::size_t>(tensor.elements())), wanted(values.size());
      QVERIFY2(dequantise(tensor, 0, values).has_value(), tensor.typeName.c_str());
      QVERIFY(dequantise(*reference, 0, wanted).has_value());
      QVERIFY2(std::memcmp(values.data(), wanted.data(), values.size() * 4) == 0, tensor.typeName.c_str());
    }
  }
  void speed_data() { rowsAreWholeBlocks_data(); }
  // Told, not judged: another machine, another figure.
  void speed() {
    if (qEnvironmentVariableIsEmpty("DECOSCOPE_MEASURE")) QSKIP("set DECOSCOPE_MEASURE to measure");
    QFETCH(int, type);
    const ElementTraits& traits = elementTraits(static_cast<ElementType>(type));
    const std::int64_t blocks = (1 << 20) / traits.blockLength;
    const auto bytes = randomBytes(static_cast<std::size_t>(blocks) * traits.blockBytes);
    const WeightTensor tensor = tensorOf(traits, blocks, bytes);
    std::vector<float> out(static_cast<std::size_t>(tensor.elements()));
    double best = 1e9;
    for (int repeat = 0; repeat < 20; ++repeat) {
      QElapsedTimer timer;
      timer.start();
      QVERIFY(dequantise(tensor, 0, out).has_value());
      best = std::min(best, static_cast<double>(timer.nsecsElapsed()));
    }
    qInfo("%s: %.2f GB/s of f32", traits.name, static_cast<double>(out.size()) * 4 / best);
  }
};

QTEST_GUILESS_MAIN(TestDequantise)
#include "TestDequantise.moc"
