#include "core/train/VocabularyFiles.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/train/CorpusLines.h"

namespace decoscope {

using nlohmann::ordered_json;
namespace fs = std::filesystem;

const char* const kWrenChatTemplate =
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<|user|>' }}"
    "{% elif message['role'] == 'assistant' %}{{ '<|wren|>' }}"
    "{% else %}{{ raise_exception('Wren knows the roles user and assistant only') }}{% endif %}"
    "{{ message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|wren|>' }}{% endif %}";

const std::vector<std::string>& wrenSpecialTokens() {
  static const std::vector<std::string> tokens = {"<|end|>", "<|user|>", "<|wren|>", "<|mask|>"};
  return tokens;
}

namespace {

ordered_json addedToken(const std::string& content) {
  return {{"content", content}, {"single_word", false}, {"lstrip", false},
          {"rstrip", false},    {"normalized", false},  {"special", true}};
}

ordered_json tokenizerJson(const BytePairVocabulary& vocabulary) {
  ordered_json added = ordered_json::array(), pieces = ordered_json::object(), merges = ordered_json::array();
  for (int id = 0; id < vocabulary.specialTokens; ++id) {
    ordered_json token = {{"id", id}};
    token.update(addedToken(vocabulary.pieces[static_cast<std::size_t>(id)]));
    added.push_back(std::move(token));
  }
  for (std::size_t id = 0; id < vocabulary.pieces.size(); ++id) pieces[vocabulary.pieces[id]] = id;
  for (const auto& [left, right] : vocabulary.merges)
    merges.push_back({vocabulary.pieces[static_cast<std::size_t>(left)],
                      vocabulary.pieces[static_cast<std::size_t>(right)]});
  const ordered_json words = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Digits"}, {"individual_digits", true}},
        {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}}}}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", std::move(added)},
          {"normalizer", nullptr},
          {"pre_tokenizer", words},
          {"post_processor", nullptr},
          {"decoder",
           {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}}},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", std::move(pieces)},
            {"merges", std::move(merges)}}}};
}

ordered_json tokenizerConfig(int contextLength) {
  const std::vector<std::string>& special = wrenSpecialTokens();
  ordered_json decoder = ordered_json::object();
  for (std::size_t id = 0; id < special.size(); ++id) decoder[std::to_string(id)] = addedToken(special[id]);
  // Nothing begins a text but its first message, so there is no bos_token.
  ordered_json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                         {"added_tokens_decoder", std::move(decoder)},
                         {"additional_special_tokens", {special[kUserToken], special[kWrenToken]}},
                         {"bos_token", nullptr},
                         {"eos_token", special[kEndToken]},
                         {"pad_token", special[kEndToken]},
                         {"mask_token", special[kMaskToken]},
                         {"unk_token", nullptr},
                         {"clean_up_tokenization_spaces", false},
                         {"chat_template", kWrenChatTemplate}};
  if (contextLength > 0) config["model_max_length"] = contextLength;
  return config;
}

Status writeJson(const ordered_json& document, const fs::path& path) {
  std::ofstream file(path, std::ios::binary);
  file << document.dump(1) << '\n';
  file.close();
  if (!file) return fail(ErrorCode::failed, "the file cannot be written", path.string());
  return {};
}

}  // namespace

Status writeVocabulary(const BytePairVocabulary& vocabulary, int contextLength, const std::string& folder) {
  const std::vector<std::string>& special = wrenSpecialTokens();
  if (vocabulary.specialTokens != static_cast<int>(special.size()) ||
      !std::equal(special.begin(), special.end(), vocabulary.pieces.begin()))
    return fail(ErrorCode::usage, "the vocabulary does not begin with the family's special tokens");
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return fail(ErrorCode::failed, "the folder cannot be made: " + error.message(), folder);
  DECOSCOPE_TRY(writeJson(tokenizerJson(vocabulary), fs::path(folder) / "tokenizer.json"));
  return writeJson(tokenizerConfig(contextLength), fs::path(folder) / "tokenizer_config.json");
}

Result<BytePairVocabulary> trainVocabulary(const std::string& corpusFile, int size, int contextLength,
                                           const std::string& folder, const StopToken& stop) {
  DECOSCOPE_ASSIGN(BytePairTrainer trainer, BytePairTrainer::make());
  DECOSCOPE_TRY(readCorpusLines(corpusFile, [&](const CorpusLine& line) -> Status {
    if (stop.stop_requested()) return fail(ErrorCode::cancelled, "stopped");
    DECOSCOPE_TRY(trainer.add(line.user));
    return trainer.add(line.assistant);
  }));
  VocabularyOptions options;
  options.size = size;
  options.special = wrenSpecialTokens();
  DECOSCOPE_ASSIGN(BytePairVocabulary vocabulary, trainer.learn(options, stop));
  DECOSCOPE_TRY(writeVocabulary(vocabulary, contextLength, folder));
  return vocabulary;
}

}  // namespace decoscope
