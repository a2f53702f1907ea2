// The exact table model: the next-token distribution as a function of the last `order` tokens, read from a
// small JSON file. For tests, teaching and exact enumeration; the format is described in docs/table-model.md.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/model/Model.h"
#include "core/tokenizer/Tokenizer.h"

namespace decoscope {

struct Table {
  std::vector<std::string> vocabulary;
  std::optional<TokenId> bos, eos;
  int order = 1;
  std::vector<double> fallback;                              // the row where no other matches
  std::map<std::vector<TokenId>, std::vector<double>> rows;  // by the last `order` tokens, fewer at the start
};

// Checks every index, length and sum (rows must sum to 1 within 1e-6 and are then normalised). `where` names
// the file in errors.
Result<Table> parseTable(const std::string& json, const std::string& where);

struct TableModelParts {
  std::unique_ptr<Model> model;
  std::shared_ptr<const Tokenizer> tokenizer;
};
TableModelParts makeTableModel(Table table, const std::string& path, const std::string& fingerprint);
Result<TableModelParts> loadTableModel(const std::string& path);

}  // namespace decoscope
