#include "core/train/TextCost.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <set>

#include "core/tokenizer/Chat.h"

namespace decoscope {

namespace {

constexpr std::size_t kChunk = 128;  // rows of logits held at once

// ln softmax(row)[token].
double logProbability(std::span<const float> row, TokenId token) {
  const float largest = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const float value : row) sum += std::exp(static_cast<double>(value) - largest);
  return static_cast<double>(row[static_cast<std::size_t>(token)]) - largest - std::log(sum);
}

Result<double> bitsOf(Model& model, const ScoredText& text, const StopToken& stop) {
  double bits = 0;
  for (std::size_t at = 0; at + 1 < text.tokens.size(); at += kChunk) {
    const std::size_t end = std::min(at + kChunk, text.tokens.size() - 1);
    ForwardRequest request;
    request.tokens.assign(text.tokens.begin() + static_cast<std::ptrdiff_t>(at),
                          text.tokens.begin() + static_cast<std::ptrdiff_t>(end));
    const std::size_t first = std::max(at, text.from - 1);
    for (std::size_t i = first; i < end; ++i) request.logitRows.push_back(static_cast<std::int32_t>(i - at));
    DECOSCOPE_ASSIGN(const ForwardOutput output, model.forward(request, stop));
    for (std::size_t i = first; i < end; ++i)
      bits -= logProbability(output.logits->row(static_cast<int>(i - first)), text.tokens[i + 1]);
  }
  return bits / std::numbers::ln2;
}

Status check(const ScoredText& text, const ModelInfo& info, std::size_t number) {
  const std::string where = "text " + std::to_string(number);
  if (info.contextLength > 0 && text.tokens.size() > static_cast<std::size_t>(info.contextLength))
    return fail(ErrorCode::badInput,
                "a text of " + std::to_string(text.tokens.size()) +
                    " tokens does not fit into the context of " + info.name + ", " +
                    std::to_string(info.contextLength) + " tokens",
                where);
  for (const TokenId token : text.tokens)
    if (token < 0 || token >= info.vocabularySize)
      return fail(ErrorCode::badInput,
                  "token id " + std::to_string(token) + " is not in the vocabulary of " + info.name, where);
  return {};
}

void count(TextCost& cost, const ScoredText& text, double bits) {
  cost.bits += bits;
  cost.bytes += text.bytes;
  cost.tokens += static_cast<std::int64_t>(text.tokens.size() - text.from);
  ++cost.texts;
}

}  // namespace

std::string chatJson(const std::string& user, const std::string* assistant) {
  nlohmann::json messages = {{{"role", "user"}, {"content", user}}};
  if (assistant) messages.push_back({{"role", "assistant"}, {"content", *assistant}});
  return messages.dump();
}

Result<ScoredText> scoredText(const Tokenizer& tokenizer, const CorpusLine& line) {
  DECOSCOPE_ASSIGN(const Chat chat, parseChat(chatJson(line.user, &line.assistant), "text"));
  ChatOptions options;
  options.addGenerationPrompt = false;
  DECOSCOPE_ASSIGN(const std::string rendered, renderChat(tokenizer, chat, options));
  ScoredText text;
  DECOSCOPE_ASSIGN(text.tokens, tokenizer.encode(rendered, {.addSpecial = false, .parseSpecial = true}));
  text.bytes = static_cast<std::int64_t>(line.user.size() + line.assistant.size());
  if (text.tokens.size() < 2 || text.bytes == 0)
    return fail(ErrorCode::badInput, "a text is empty", "text " + std::to_string(line.index));
  return text;
}

Result<std::vector<ScoredText>> scoredTexts(const Tokenizer& tokenizer, const std::string& file,
                                            std::int64_t limit) {
  std::vector<ScoredText> texts;
  DECOSCOPE_TRY(readCorpusLines(file, [&](const CorpusLine& line) -> Status {
    if (limit > 0 && static_cast<std::int64_t>(texts.size()) >= limit) return {};
    DECOSCOPE_ASSIGN(ScoredText text, scoredText(tokenizer, line));
    texts.push_back(std::move(text));
    return {};
  }));
  if (texts.empty()) return fail(ErrorCode::badInput, "the file has no texts", file);
  return texts;
}

double TextCost::perplexity() const {
  return tokens > 0 ? std::exp2(bits / static_cast<double>(tokens)) : 0;
}

Result<TextCost> costOf(Model& model, std::span<const ScoredText> texts, const StopToken& stop,
                        const ProgressFunction& progress) {
  if (!model.capabilities().causal)
    return fail(ErrorCode::unsupported, "the model gives no next-token probabilities", model.info().name);
  TextCost cost;
  for (const ScoredText& text : texts) {
    if (progress)
      progress(static_cast<double>(cost.texts) / static_cast<double>(texts.size()), "Reading texts");
    DECOSCOPE_TRY(check(text, model.info(), static_cast<std::size_t>(cost.texts)));
    DECOSCOPE_TRY(model.retain(0));
    DECOSCOPE_ASSIGN(const double bits, bitsOf(model, text, stop));
    if (!std::isfinite(bits))
      return fail(ErrorCode::failed, "a token has no finite probability",
                  model.info().name + ", text " + std::to_string(cost.texts));
    count(cost, text, bits);
  }
  DECOSCOPE_TRY(model.retain(0));
  return cost;
}

Result<TextCost> costOf(const KneserNey& model, std::span<const ScoredText> texts) {
  TextCost cost;
  for (const ScoredText& text : texts) {
    DECOSCOPE_ASSIGN(const std::vector<double> logs, model.logProbabilities(text.tokens));
    double bits = 0;
    for (std::size_t i = text.from; i < logs.size(); ++i) bits -= logs[i] / std::numbers::ln2;
    count(cost, text, bits);
  }
  return cost;
}

Result<KneserNey> countCorpus(const Tokenizer& tokenizer, const std::string& corpusFile, int order,
                              std::span<const ScoredText> heldOut, std::int64_t limit,
                              const StopToken& stop) {
  std::int64_t taken = 0;
  std::set<std::vector<TokenId>> leftOut;
  for (const ScoredText& text : heldOut) leftOut.insert(text.tokens);
  KneserNeyTrainer trainer(order, tokenizer.size());
  DECOSCOPE_TRY(readCorpusLines(corpusFile, [&](const CorpusLine& line) -> Status {
    if (stop.stop_requested()) return fail(ErrorCode::cancelled, "stopped");
    if (limit > 0 && taken++ >= limit) return {};
    DECOSCOPE_ASSIGN(const ScoredText text, scoredText(tokenizer, line));
    return leftOut.contains(text.tokens) ? Status{} : trainer.add(text.tokens);
  }));
  return trainer.train(stop);
}

}  // namespace decoscope
