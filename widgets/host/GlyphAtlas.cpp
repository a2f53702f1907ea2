#include "widgets/host/GlyphAtlas.h"

#include <QFontMetricsF>
#include <QPainter>
#include <QTextBoundaryFinder>
#include <algorithm>
#include <cmath>

#include "widgets/style/Style.h"

namespace decoscope {

namespace {

constexpr int kSide = 2048, kLargest = 96, kPadding = 1;
constexpr int kFaces = 4;

// Scripts whose letters stand on their own: one glyph a cluster. Others are shaped as a whole.
bool standsAlone(QChar::Script script) {
  switch (script) {
    case QChar::Script_Common:
    case QChar::Script_Inherited:
    case QChar::Script_Latin:
    case QChar::Script_Greek:
    case QChar::Script_Cyrillic:
    case QChar::Script_Han:
    case QChar::Script_Hiragana:
    case QChar::Script_Katakana:
    case QChar::Script_Hangul:
    case QChar::Script_Bopomofo:
    case QChar::Script_Georgian:
    case QChar::Script_Armenian:
      return true;
    default:
      return false;
  }
}

}  // namespace

GlyphAtlas::GlyphAtlas() : image_(kSide, kSide, QImage::Format_RGBA8888) {
  clear();
}

void GlyphAtlas::setPixelRatio(qreal ratio) {
  if (qFuzzyCompare(ratio, ratio_)) return;
  ratio_ = ratio;
  clear();
}

void GlyphAtlas::clear() {
  image_.fill(Qt::transparent);
  changed_ = image_.rect();
  glyphs_.clear();
  ascii_.assign(static_cast<std::size_t>(kFaces) * (kLargest + 1) * 128, {});
  asciiKnown_.assign(ascii_.size(), false);
  x_ = y_ = shelf_ = 0;
  ++generation_;
}

QRect GlyphAtlas::takeChanged() {
  const QRect changed = changed_;
  changed_ = {};
  return changed;
}

QFont GlyphAtlas::font(TextFace face, int pixels) const {
  QFont font = face == TextFace::token ? style::tokenFont() : style::interfaceFont();
  if (face == TextFace::heading) font.setWeight(QFont::DemiBold);
  font.setPixelSize(pixels);
  font.setHintingPreference(QFont::PreferNoHinting);
  return font;
}

bool GlyphAtlas::place(const QSize& size, QPoint& at) {
  if (x_ + size.width() + kPadding > kSide) {
    x_ = 0;
    y_ += shelf_ + kPadding;
    shelf_ = 0;
  }
  if (size.width() + kPadding > kSide || y_ + size.height() + kPadding > kSide) return false;
  at = {x_, y_};
  x_ += size.width() + kPadding;
  shelf_ = std::max(shelf_, size.height());
  return true;
}

const GlyphAtlas::Glyph& GlyphAtlas::glyph(const QString& cluster, TextFace face, int pixels) {
  const bool ascii = cluster.size() == 1 && cluster[0].unicode() < 128;
  const std::size_t slot =
      ascii ? (static_cast<std::size_t>(face) * (kLargest + 1) + static_cast<std::size_t>(pixels)) * 128 +
                  cluster[0].unicode()
            : 0;
  if (ascii && asciiKnown_[slot]) return ascii_[slot];
  const QString key =
      ascii ? QString()
            : QString(QChar(static_cast<ushort>(static_cast<int>(face) * 256 + pixels))) + cluster;
  if (!ascii)
    if (const auto found = glyphs_.constFind(key); found != glyphs_.constEnd()) return *found;

  const QFont face_ = font(face, pixels);
  const QFontMetricsF metrics(face_);
  Glyph result;
  result.advance = static_cast<float>(metrics.horizontalAdvance(cluster));
  QRectF ink = metrics.boundingRect(cluster).adjusted(-2, -2, 2, 2);
  const QRect box = ink.toAlignedRect();
  result.blank = box.isEmpty() || cluster.trimmed().isEmpty();
  if (!result.blank) {
    if (!place(box.size(), result.at)) {
      clear();
      if (!place(box.size(), result.at)) result.blank = true;
    }
  }
  if (!result.blank) {
    QImage drawn(box.size(), QImage::Format_RGBA8888_Premultiplied);
    drawn.fill(Qt::transparent);
    {
      QPainter painter(&drawn);
      painter.setFont(face_);
      painter.setPen(Qt::white);
      painter.drawText(QPointF(-box.left(), -box.top()), cluster);
    }
    drawn = drawn.convertToFormat(QImage::Format_RGBA8888);
    for (int y = 0; y < drawn.height(); ++y) {
      const uchar* from = drawn.constScanLine(y);
      for (int x = 0; x < drawn.width() && !result.coloured; ++x)
        result.coloured = from[4 * x + 3] > 64 && (std::abs(from[4 * x] - from[4 * x + 1]) > 24 ||
                                                   std::abs(from[4 * x + 1] - from[4 * x + 2]) > 24);
      std::copy(from, from + 4 * drawn.width(), image_.scanLine(result.at.y() + y) + 4 * result.at.x());
    }
    changed_ |= QRect(result.at, drawn.size());
    result.left = static_cast<float>(box.left());
    result.top = static_cast<float>(box.top());
    result.width = static_cast<float>(box.width());
    result.height = static_cast<float>(box.height());
  }
  if (ascii) {
    asciiKnown_[slot] = true;
    return ascii_[slot] = result;
  }
  return *glyphs_.insert(key, result);
}

float GlyphAtlas::shape(std::string_view text, TextFace face, float size, std::vector<GlyphQuad>& out) {
  const float wanted = size * static_cast<float>(ratio_);
  const int pixels = std::clamp(static_cast<int>(std::lround(wanted)), 4, kLargest);
  const float scale = size / static_cast<float>(pixels);
  float x = 0;
  const auto add = [&](const QString& cluster) {
    const Glyph glyph = this->glyph(cluster, face, pixels);
    if (!glyph.blank) {
      const float side = kSide;
      out.push_back({x + glyph.left * scale, glyph.top * scale, x + (glyph.left + glyph.width) * scale,
                     (glyph.top + glyph.height) * scale, static_cast<float>(glyph.at.x()) / side,
                     static_cast<float>(glyph.at.y()) / side,
                     (static_cast<float>(glyph.at.x()) + glyph.width) / side,
                     (static_cast<float>(glyph.at.y()) + glyph.height) / side, glyph.coloured});
    }
    x += glyph.advance * scale;
  };
  if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 128; })) {
    for (const char c : text) add(QString(QLatin1Char(c)));
    return x;
  }
  const QString whole = QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size()));
  bool alone = true;
  for (const uint code : whole.toUcs4()) alone &= standsAlone(QChar::script(code));
  if (!alone && whole.size() < 200) {
    add(whole);
    return x;
  }
  QTextBoundaryFinder finder(QTextBoundaryFinder::Grapheme, whole);
  for (qsizetype start = 0, end = finder.toNextBoundary(); end >= 0;
       start = end, end = finder.toNextBoundary())
    add(whole.mid(start, end - start));
  return x;
}

}  // namespace decoscope
