#include "core/train/nets/Rows.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "core/base/Bfloat16.h"
#include "core/base/Rng.h"
#include "core/tokenizer/Chat.h"
#include "core/train/CorpusLines.h"
#include "core/train/CorpusWriter.h"
#include "core/train/TextCost.h"

namespace decoscope::train {

using at::Tensor;

namespace {

// Renders prompt and answer as the chat template does; where the answer begins follows from rendering the
// prompt alone.
Result<TrainingText> encode(const Tokenizer& tokenizer, const CorpusLine& line) {
  TrainingText text;
  DECOSCOPE_ASSIGN(const Chat promptChat, parseChat(chatJson(line.user), "the corpus"));
  DECOSCOPE_ASSIGN(const Chat wholeChat, parseChat(chatJson(line.user, &line.assistant), "the corpus"));
  DECOSCOPE_ASSIGN(const std::string opening, renderChat(tokenizer, promptChat));
  DECOSCOPE_ASSIGN(std::string rendered, renderChat(tokenizer, wholeChat, {.addGenerationPrompt = false}));
  if (!rendered.starts_with(opening))
    return fail(ErrorCode::unsupported, "the chat template does not begin an answer where the prompt ends",
                tokenizer.description());
  const EncodeOptions options{.addSpecial = false, .parseSpecial = true};
  DECOSCOPE_ASSIGN(text.tokens, tokenizer.encode(opening, options));
  text.answer = static_cast<std::int32_t>(text.tokens.size());
  DECOSCOPE_ASSIGN(const std::vector<TokenId> answer,
                   tokenizer.encode(std::string_view(rendered).substr(opening.size()), options));
  text.tokens.insert(text.tokens.end(), answer.begin(), answer.end());
  text.bytes = static_cast<std::int64_t>(line.user.size() + line.assistant.size());
  return text;
}

}  // namespace

Result<Rows> Rows::read(const Source& source, const Tokenizer& tokenizer, Packing packing,
                        std::int64_t length, std::uint64_t seed) {
  Rows rows;
  rows.packing_ = packing;
  rows.length_ = length;
  rows.seed_ = seed;
  rows.width_ = source.width;
  rows.device_ = source.device;
  const auto end = tokenizer.eos();
  if (!end || tokenizer.chatTemplate().empty())
    return fail(ErrorCode::usage, "training needs a tokenizer with a chat template and an end token",
                tokenizer.description());
  rows.end_ = *end;
  if (source.features) {
    DECOSCOPE_ASSIGN(rows.features_, MappedFile::open(featuresPath(source.file)));
  }
  std::int64_t taken = 0;
  DECOSCOPE_TRY(readCorpusLines(source.file, [&](const CorpusLine& line) -> Status {
    if (taken == source.texts) return {};
    if (taken++ < source.skip) return {};
    TrainingText text;
    if (source.features) {
      if (line.tokens.empty() || line.featureRow < 0)
        return fail(ErrorCode::badInput, "the corpus was generated without features", source.file,
                    "Generate it with --features.");
      text.tokens = line.tokens;
      text.answer = line.answer;
      text.featureRow = line.featureRow;
      const auto last = static_cast<std::uint64_t>(text.featureRow) + text.tokens.size();
      if (last * static_cast<std::uint64_t>(rows.width_) * 2 > rows.features_->bytes().size())
        return fail(ErrorCode::badInput, "the file of features is shorter than the corpus says",
                    rows.features_->path());
      text.bytes = static_cast<std::int64_t>(line.user.size() + line.assistant.size());
    } else {
      DECOSCOPE_ASSIGN(text, encode(tokenizer, line));
    }
    if (splitPosition(line) < source.heldOut) {
      rows.heldOut_.push_back(std::move(text));
      return {};
    }
    rows.trainingTokens_ += static_cast<std::int64_t>(text.tokens.size());
    // A row that cannot hold the text would end in the middle of it.
    if (packing == Packing::texts && static_cast<std::int64_t>(text.tokens.size()) > length + 1 &&
        !source.features)
      return {};
    rows.training_.push_back(std::move(text));
    return {};
  }));
  if (rows.training_.empty()) return fail(ErrorCode::badInput, "the corpus holds no texts", source.file);
  if (packing == Packing::stream) {
    for (const TrainingText& text : rows.training_) {
      rows.stream_.insert(rows.stream_.end(), text.tokens.begin(), text.tokens.end());
      for (std::size_t i = 0; i < text.tokens.size(); ++i)
        rows.streamAnswers_.push_back(static_cast<std::int32_t>(i) >= text.answer);
    }
    if (rows.rowsInPass() == 0)
      return fail(ErrorCode::badInput, "the corpus holds less than one row of tokens", source.file,
                  "Generate more texts.");
  }
  return rows;
}

std::vector<std::int64_t> Rows::answerCounts(std::int64_t vocabulary) const {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(vocabulary), 0);
  for (const TrainingText& text : training_)
    for (std::size_t i = static_cast<std::size_t>(text.answer); i < text.tokens.size(); ++i)
      if (text.tokens[i] < vocabulary) ++counts[static_cast<std::size_t>(text.tokens[i])];
  return counts;
}

std::int64_t Rows::rowsInPass() const {
  if (packing_ == Packing::texts) return texts();
  // The last token of a row is the first one of the next.
  return (static_cast<std::int64_t>(stream_.size()) - 1) / length_;
}

std::int64_t Rows::shuffled(std::int64_t pass, std::int64_t place) const {
  if (pass == 0) return place;
  if (orderPass_ != pass) {
    order_.resize(static_cast<std::size_t>(rowsInPass()));
    std::iota(order_.begin(), order_.end(), 0);
    for (std::size_t i = order_.size(); i > 1; --i) {
      const double u = uniform({seed_, static_cast<std::uint32_t>(pass), static_cast<StepIndex>(i)},
                               kRootNode, DrawPurpose::order);
      std::swap(order_[i - 1], order_[static_cast<std::size_t>(u * static_cast<double>(i))]);
    }
    orderPass_ = pass;
  }
  return order_[static_cast<std::size_t>(place)];
}

Batch Rows::batch(std::int64_t first, std::int64_t count) const {
  const std::int64_t pass = rowsInPass();
  if (packing_ == Packing::texts) {
    std::vector<const TrainingText*> texts;
    for (std::int64_t i = first; i < first + count; ++i)
      texts.push_back(&training_[static_cast<std::size_t>(shuffled(i / pass, i % pass))]);
    return make(texts);
  }
  Batch batch;
  batch.tokens = at::empty({count, length_ + 1}, at::kLong);
  batch.answer = at::empty({count, length_ + 1}, at::kBool);
  batch.text = at::ones({count, length_ + 1}, at::kBool);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t from = shuffled((first + i) / pass, (first + i) % pass) * length_;
    auto* tokens = batch.tokens.data_ptr<std::int64_t>() + i * (length_ + 1);
    bool* answers = batch.answer.data_ptr<bool>() + i * (length_ + 1);
    for (std::int64_t k = 0; k <= length_; ++k) {
      tokens[k] = stream_[static_cast<std::size_t>(from + k)];
      answers[k] = streamAnswers_[static_cast<std::size_t>(from + k)];
    }
  }
  return moved(std::move(batch));
}

void Rows::forHeldOut(std::int64_t count,
                      const std::function<void(const Batch&, std::span<const TrainingText>)>& visit) const {
  for (std::span<const TrainingText> left(heldOut_); !left.empty();) {
    const auto part = left.first(std::min(left.size(), static_cast<std::size_t>(count)));
    std::vector<const TrainingText*> texts;
    for (const TrainingText& text : part) texts.push_back(&text);
    visit(make(texts), part);
    left = left.subspan(part.size());
  }
}

Batch Rows::make(const std::vector<const TrainingText*>& texts) const {
  const auto count = static_cast<std::int64_t>(texts.size()), length = length_ + 1;
  Batch batch;
  batch.tokens = at::full({count, length}, static_cast<std::int64_t>(end_), at::kLong);
  batch.answer = at::ones({count, length}, at::kBool);
  batch.text = at::zeros({count, length}, at::kBool);
  if (features_) batch.features = at::zeros({count, length, width_}, at::kFloat);
  for (std::int64_t i = 0; i < count; ++i) {
    const TrainingText& text = *texts[static_cast<std::size_t>(i)];
    const std::int64_t size = std::min<std::int64_t>(length, static_cast<std::int64_t>(text.tokens.size()));
    auto* tokens = batch.tokens.data_ptr<std::int64_t>() + i * length;
    bool* answers = batch.answer.data_ptr<bool>() + i * length;
    bool* inside = batch.text.data_ptr<bool>() + i * length;
    for (std::int64_t k = 0; k < size; ++k) {
      tokens[k] = text.tokens[static_cast<std::size_t>(k)];
      answers[k] = k >= text.answer;
      inside[k] = true;
    }
    if (!features_) continue;
    const std::byte* source = features_->bytes().data() + text.featureRow * width_ * 2;
    float* out = batch.features.data_ptr<float>() + i * length * width_;
    for (std::int64_t k = 0; k < size * width_; ++k) {
      std::uint16_t half = 0;
      std::memcpy(&half, source + k * 2, 2);
      out[k] = fromBfloat16(half);
    }
  }
  return moved(std::move(batch));
}

Batch Rows::moved(Batch batch) const {
  for (Tensor* tensor : {&batch.tokens, &batch.answer, &batch.text, &batch.features})
    if (tensor->defined()) *tensor = tensor->to(device_);
  return batch;
}

}  // namespace decoscope::train
