// Small table models for tests.
#pragma once

#include <QTest>

#include "core/model/scripted/TableModel.h"
#include "core/session/Engine.h"

namespace decoscope::test {

inline constexpr const char* kTarget =
    R"({"vocab":["a","b","c","d"],"eos":3,"order":2,"default":[0.35,0.3,0.25,0.1],
  "rows":{"0":[0.1,0.6,0.2,0.1],"1":[0.5,0.1,0.3,0.1],"2":[0.2,0.3,0.4,0.1],"0,1":[0.05,0.15,0.7,0.1],"1,2":[0.45,0.25,0.2,0.1],"2,0":[0.25,0.25,0.4,0.1]}})";
inline constexpr const char* kDrafter =
    R"({"vocab":["a","b","c","d"],"eos":3,"order":1,"default":[0.25,0.25,0.25,0.25],
  "rows":{"0":[0.3,0.3,0.3,0.1],"1":[0.2,0.3,0.2,0.3],"2":[0.4,0.1,0.4,0.1]}})";

inline void adopt(Engine& engine, const std::string& role, const char* text) {
  auto table = parseTable(text, role);
  Q_ASSERT(table.has_value());
  auto parts = makeTableModel(std::move(*table), "table:" + role, role);
  engine.adoptModel(role, role, {std::move(parts.model), std::move(parts.tokenizer)});
}

inline std::vector<TokenId> generated(const Engine& engine) {
  return {engine.text().begin() + static_cast<std::ptrdiff_t>(engine.promptLength()), engine.text().end()};
}

inline Status finishRun(Engine& engine) {
  while (!engine.ended()) DECOSCOPE_TRY(engine.step(StopToken()));
  return {};
}

// The probability of a continuation under a table, stopping at its end token.
inline double probabilityOf(const Table& table, std::vector<TokenId> text,
                            const std::vector<TokenId>& continuation) {
  double product = 1;
  for (const TokenId token : continuation) {
    const std::size_t from = text.size() > static_cast<std::size_t>(table.order)
                                 ? text.size() - static_cast<std::size_t>(table.order)
                                 : 0;
    const auto row = table.rows.find({text.begin() + static_cast<std::ptrdiff_t>(from), text.end()});
    product *= (row == table.rows.end() ? table.fallback : row->second)[static_cast<std::size_t>(token)];
    text.push_back(token);
  }
  return product;
}

}  // namespace decoscope::test
