#include "core/model/scripted/TableModel.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/base/Files.h"
#include "core/base/Hash.h"
#include "core/model/CacheForest.h"

namespace decoscope {

namespace {

using nlohmann::json;

constexpr std::int64_t kMaximumFileBytes = 64 << 20;
constexpr int kContextLength = 1 << 20;

Result<std::vector<double>> parseRow(const json& value, std::size_t size, const std::string& where,
                                     const std::string& field) {
  if (!value.is_array() || value.size() != size)
    return fail(ErrorCode::badInput,
                "a row needs one probability for each of the " + std::to_string(size) + " tokens",
                where + ", field " + field);
  std::vector<double> row;
  double sum = 0;
  for (const auto& entry : value) {
    const double p = entry.is_number() ? entry.get<double>() : -1;
    if (!(p >= 0 && p <= 1))
      return fail(ErrorCode::badInput, "a probability is not in [0, 1]", where + ", field " + field);
    row.push_back(p);
    sum += p;
  }
  if (std::abs(sum - 1) > 1e-6)
    return fail(ErrorCode::badInput, "the probabilities sum to " + std::to_string(sum) + ", not to 1",
                where + ", field " + field);
  for (double& p : row) p /= sum;
  return row;
}

class TableTokenizer final : public Tokenizer {
 public:
  TableTokenizer(std::vector<std::string> vocabulary, std::optional<TokenId> bos, std::optional<TokenId> eos,
                 std::string fingerprint)
      : vocabulary_(std::move(vocabulary)), bos_(bos), eos_(eos), fingerprint_(std::move(fingerprint)) {}

  std::int32_t size() const override { return static_cast<std::int32_t>(vocabulary_.size()); }

  Result<std::vector<TokenId>> encode(std::string_view text, EncodeOptions options) const override {
    std::vector<TokenId> ids;
    if (options.addSpecial && bos_) ids.push_back(*bos_);
    std::size_t at = 0;
    while (at < text.size()) {
      TokenId best = -1;
      std::size_t length = 0;
      for (TokenId id = 0; id < size(); ++id) {
        const std::string& piece = vocabulary_[static_cast<std::size_t>(id)];
        if (piece.size() > length && text.substr(at).starts_with(piece)) best = id, length = piece.size();
      }
      if (best < 0)
        return fail(ErrorCode::badInput, "the text holds something that no token of the table begins with",
                    "byte " + std::to_string(at) + " of the text",
                    "Use only pieces of the table's \"vocab\".");
      ids.push_back(best);
      at += length;
    }
    return ids;
  }
  std::string bytesOf(TokenId token) const override {
    return token >= 0 && token < size() ? vocabulary_[static_cast<std::size_t>(token)] : std::string();
  }
  std::string pieceOf(TokenId token) const override { return bytesOf(token); }
  bool isSpecial(TokenId token) const override { return token == bos_ || token == eos_; }
  std::optional<TokenId> idOf(std::string_view piece) const override {
    const auto found = std::find(vocabulary_.begin(), vocabulary_.end(), piece);
    if (found == vocabulary_.end()) return std::nullopt;
    return static_cast<TokenId>(found - vocabulary_.begin());
  }
  std::optional<TokenId> bos() const override { return bos_; }
  std::vector<TokenId> stopTokens() const override {
    return eos_ ? std::vector<TokenId>{*eos_} : std::vector<TokenId>{};
  }
  const std::string& chatTemplate() const override { return noTemplate_; }
  std::string description() const override {
    return "table (longest match), " + std::to_string(vocabulary_.size()) + " pieces";
  }
  const std::string& fingerprint() const override { return fingerprint_; }

 private:
  std::vector<std::string> vocabulary_;
  std::optional<TokenId> bos_, eos_;
  std::string fingerprint_, noTemplate_;
};

class TableLogits final : public Logits {
 public:
  TableLogits(std::vector<std::vector<float>> rows, int vocabulary)
      : rows_(std::move(rows)), vocabulary_(vocabulary) {}
  int rows() const override { return static_cast<int>(rows_.size()); }
  int vocabularySize() const override { return vocabulary_; }
  std::span<const float> row(int index) const override { return rows_[static_cast<std::size_t>(index)]; }

 private:
  std::vector<std::vector<float>> rows_;
  int vocabulary_;
};

class TableModel final : public Model {
 public:
  TableModel(Table table, const std::string& path, const std::string& fingerprint)
      : table_(std::move(table)) {
    info_.name = std::filesystem::path(path).stem().string();
    info_.path = path;
    info_.architecture = info_.format = "table";
    info_.dtype = "f64";
    info_.fileType = "JSON";
    info_.device = "cpu";
    info_.fingerprint = fingerprint;
    info_.vocabularySize = static_cast<int>(table_.vocabulary.size());
    info_.contextLength = kContextLength;
    info_.parameters = static_cast<std::int64_t>((table_.rows.size() + 1) * table_.vocabulary.size());
    info_.bytes = info_.parameters * static_cast<std::int64_t>(sizeof(double));
  }

  const ModelInfo& info() const override { return info_; }
  Capabilities capabilities() const override { return {}; }
  int cached() const override { return static_cast<int>(forest_.size()); }

  Result<ForwardOutput> forward(const ForwardRequest& request, const StopToken& stop) override {
    const auto start = std::chrono::steady_clock::now();
    if (stop.stop_requested()) return fail(ErrorCode::cancelled, "stopped");
    const auto count = static_cast<std::int64_t>(request.tokens.size());
    DECOSCOPE_TRY(forest_.check(request));
    if (request.visibility == Visibility::full)
      return fail(ErrorCode::unsupported, "a table model has no full visibility", info_.path);
    if (request.firstLayer != 0 || request.lastLayer >= 0 || !request.taps.empty() ||
        !request.interventions.empty())
      return fail(ErrorCode::unsupported, "a table model has no layers", info_.path,
                  "Use a method that needs neither early exit nor hidden states.");
    for (const TokenId token : request.tokens)
      if (token < 0 || token >= info_.vocabularySize)
        return fail(ErrorCode::badInput, "token id " + std::to_string(token) + " is not in the vocabulary",
                    info_.path);
    const std::int64_t slots = forest_.size() + count;
    const std::vector<std::int32_t> positions = forest_.positionsOf(request);
    const auto [least, most] = std::minmax_element(positions.begin(), positions.end());
    if (*least < 0 || *most >= kContextLength || slots > std::numeric_limits<std::int32_t>::max() ||
        (request.follows.empty() && slots > kContextLength))
      return fail(ErrorCode::badInput, "the context of the table model is full", info_.path);
    std::vector<std::vector<float>> rows;
    for (const std::int32_t wanted : request.logitRows) {
      if (wanted < 0 || wanted >= count) return fail(ErrorCode::usage, "no such row");
      rows.push_back(logitsFor(request, wanted));
    }
    forest_.enter(request, positions);
    forest_.resize(slots);
    ForwardOutput output;
    if (!rows.empty()) output.logits = std::make_unique<TableLogits>(std::move(rows), info_.vocabularySize);
    output.milliseconds =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    return output;
  }

  Status retain(int prefix, std::span<const std::int32_t> slots) override {
    DECOSCOPE_TRY(forest_.checkRetained(prefix, slots));
    forest_.retain(prefix, slots);
    return {};
  }

  std::int64_t memoryBytes() const override {
    return info_.bytes +
           static_cast<std::int64_t>(forest_.tokens().size() * (sizeof(TokenId) + 2 * sizeof(std::int32_t)));
  }

 private:
  std::vector<float> logitsFor(const ForwardRequest& request, std::int32_t row) const {
    // The last `order` tokens on the path that ends in `row`, oldest first.
    std::vector<TokenId> context;
    const auto add = [&](std::span<const TokenId> tokens, std::int32_t at) {
      context.push_back(tokens[static_cast<std::size_t>(at)]);
      return static_cast<int>(context.size()) < table_.order;
    };
    bool open = table_.order > 0;
    std::int32_t root = row;
    for (std::int32_t at = row; open && at >= 0; at = parentOf(request, static_cast<std::size_t>(at)))
      open = add(request.tokens, root = at);
    // What a root sees of the cache: the text that it follows, or without one every slot.
    const bool chosen = !request.follows.empty();
    std::int32_t slot = chosen ? request.follows[static_cast<std::size_t>(root)] : cached() - 1;
    while (open && slot >= 0) {
      open = add(forest_.tokens(), slot);
      slot = chosen ? forest_.predecessors()[static_cast<std::size_t>(slot)] : slot - 1;
    }
    std::reverse(context.begin(), context.end());
    const auto found = table_.rows.find(context);
    const std::vector<double>& probabilities = found == table_.rows.end() ? table_.fallback : found->second;
    std::vector<float> logits;
    logits.reserve(probabilities.size());
    for (const double p : probabilities)
      logits.push_back(p > 0 ? static_cast<float>(std::log(p)) : -std::numeric_limits<float>::infinity());
    return logits;
  }

  Table table_;
  ModelInfo info_;
  CacheForest forest_;
};

}  // namespace

Result<Table> parseTable(const std::string& text, const std::string& where) {
  const json document = json::parse(text, nullptr, false);
  if (document.is_discarded() || !document.is_object())
    return fail(ErrorCode::badInput, "not a JSON object", where,
                "A table model is {\"vocab\":[…],\"order\":k,\"default\":[…],\"rows\":{…}}.");
  Table table;
  const auto vocabulary = document.find("vocab");
  if (vocabulary == document.end() || !vocabulary->is_array() || vocabulary->empty())
    return fail(ErrorCode::badInput, "\"vocab\" must be a list of at least one piece", where);
  for (const auto& piece : *vocabulary) {
    if (!piece.is_string() || piece.get_ref<const std::string&>().empty())
      return fail(ErrorCode::badInput, "a piece of \"vocab\" is not a non-empty string", where);
    table.vocabulary.push_back(piece.get<std::string>());
  }
  const auto size = static_cast<TokenId>(table.vocabulary.size());
  for (const char* field : {"bos", "eos"}) {
    const auto value = document.find(field);
    if (value == document.end() || value->is_null()) continue;
    if (!value->is_number_integer() || value->get<std::int64_t>() < 0 || value->get<std::int64_t>() >= size)
      return fail(ErrorCode::badInput, "not a token id", where + ", field " + field);
    (field[0] == 'b' ? table.bos : table.eos) = value->get<TokenId>();
  }
  const auto order = document.find("order");
  if (order != document.end()) {
    if (!order->is_number_integer() || order->get<std::int64_t>() < 0 || order->get<std::int64_t>() > 64)
      return fail(ErrorCode::badInput, "\"order\" must be a whole number from 0 to 64", where);
    table.order = order->get<int>();
  }
  if (const auto fallback = document.find("default"); fallback != document.end()) {
    DECOSCOPE_ASSIGN(table.fallback, parseRow(*fallback, table.vocabulary.size(), where, "default"));
  } else {
    table.fallback.assign(table.vocabulary.size(), 1.0 / static_cast<double>(size));
  }
  if (const auto rows = document.find("rows"); rows != document.end()) {
    if (!rows->is_object()) return fail(ErrorCode::badInput, "\"rows\" must be an object", where);
    for (const auto& [key, value] : rows->items()) {
      std::vector<TokenId> context;
      std::stringstream parts(key);
      for (std::string part; std::getline(parts, part, ',');) {
        char* end = nullptr;
        const long id = std::strtol(part.c_str(), &end, 10);
        if (end == part.c_str() || *end != '\0' || id < 0 || id >= size)
          return fail(ErrorCode::badInput, "a row's key must be token ids with commas",
                      where + ", field rows[\"" + key + "\"]");
        context.push_back(static_cast<TokenId>(id));
      }
      if (static_cast<int>(context.size()) > table.order)
        return fail(ErrorCode::badInput, "a row's key is longer than \"order\"",
                    where + ", field rows[\"" + key + "\"]");
      DECOSCOPE_ASSIGN(table.rows[context],
                       parseRow(value, table.vocabulary.size(), where, "rows[\"" + key + "\"]"));
    }
  }
  return table;
}

TableModelParts makeTableModel(Table table, const std::string& path, const std::string& fingerprint) {
  auto tokenizer = std::make_shared<TableTokenizer>(table.vocabulary, table.bos, table.eos, fingerprint);
  return {std::make_unique<TableModel>(std::move(table), path, fingerprint), std::move(tokenizer)};
}

Result<TableModelParts> loadTableModel(const std::string& path) {
  DECOSCOPE_ASSIGN(const std::string content,
                   readWholeFile(path, kMaximumFileBytes, "the table model cannot be read",
                                 "a table model is at most 64 MiB"));
  DECOSCOPE_ASSIGN(Table table, parseTable(content, path));
  return makeTableModel(std::move(table), "table:" + path, fnvFingerprint(content));
}

}  // namespace decoscope
