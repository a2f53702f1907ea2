#include <iostream>

#include "app/cli/Command.h"
#include "core/tokenizer/Chat.h"

namespace decoscope::cli {

namespace {

struct TokenizeOptions {
  std::string model;
  std::optional<std::string> text;
  std::vector<std::string> files;
  bool special = false, parseSpecial = false;
};

Result<int> tokenizeCommand(const Context& context, const TokenizeOptions& options) {
  DECOSCOPE_ASSIGN(const auto tokenizer, loadModelTokenizer(options.model));
  std::vector<std::string> texts;
  if (options.text) texts.push_back(*options.text);
  for (const std::string& file : options.files) {
    DECOSCOPE_ASSIGN(std::string text, readFile(file));
    texts.push_back(std::move(text));
  }
  if (texts.empty()) return fail(ErrorCode::usage, "there is no text", "--text", "Give --text or --file.");
  for (const std::string& text : texts) {
    DECOSCOPE_ASSIGN(const auto ids, tokenizer->encode(text, {options.special, options.parseSpecial}));
    json pieces = json::array();
    for (const TokenId id : ids) pieces.push_back(tokenizer->pieceOf(id));
    if (context.json)
      printJson({{"ids", ids}, {"pieces", pieces}});
    else
      for (const TokenId id : ids) std::cout << id << '\t' << tokenizer->pieceOf(id) << '\n';
  }
  return 0;
}

}  // namespace

void addTokenizerCommands(CLI::App& app) {
  auto options = std::make_shared<TokenizeOptions>();
  auto* tokenize = app.add_subcommand("tokenize", "Text to token ids");
  tokenize->add_option("--model", options->model, "Model or tokenizer files")->required();
  tokenize->add_option("--text", options->text, "The text");
  tokenize->add_option("--file", options->files, "A file; may repeat, one document a line")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  tokenize->add_flag("--special", options->special, "Add BOS and EOS where the model's files say so");
  tokenize->add_flag("--parse-special", options->parseSpecial, "Match special tokens in the text");
  onRun(tokenize, [options](const Context& context) { return tokenizeCommand(context, *options); });

  auto model = std::make_shared<std::string>();
  auto ids = std::make_shared<std::vector<TokenId>>();
  auto* detokenize = app.add_subcommand("detokenize", "Token ids to text");
  detokenize->add_option("--model", *model, "Model or tokenizer files")->required();
  detokenize->add_option("--ids", *ids, "Token ids with commas")->delimiter(',')->required();
  onRun(detokenize, [=](const Context& context) -> Result<int> {
    DECOSCOPE_ASSIGN(const auto tokenizer, loadModelTokenizer(*model));
    for (const TokenId id : *ids)
      if (id < 0 || id >= tokenizer->size())
        return fail(ErrorCode::badInput,
                    "token id " + std::to_string(id) + " is not in the vocabulary of " +
                        std::to_string(tokenizer->size()),
                    "--ids");
    const std::string text = tokenizer->decode(*ids);
    if (context.json)
      printJson({{"text", text}});
    else
      std::cout << text << '\n';
    return 0;
  });

  auto chatModel = std::make_shared<std::string>(), messages = std::make_shared<std::string>();
  auto noPrompt = std::make_shared<bool>(false);
  auto* render = app.add_subcommand("render-chat", "A chat as the model sees it");
  render->add_option("--model", *chatModel, "Model or tokenizer files")->required();
  render->add_option("--messages", *messages, "JSON file of messages")->required();
  render->add_flag("--no-generation-prompt", *noPrompt, "Do not open the assistant's turn");
  onRun(render, [=](const Context& context) -> Result<int> {
    DECOSCOPE_ASSIGN(const auto tokenizer, loadModelTokenizer(*chatModel));
    DECOSCOPE_ASSIGN(const std::string text, readFile(*messages));
    DECOSCOPE_ASSIGN(const auto chat, parseChatMessages(text, *messages));
    DECOSCOPE_ASSIGN(const std::string rendered, renderChat(*tokenizer, chat, !*noPrompt));
    if (context.json)
      printJson({{"text", rendered}});
    else
      std::cout << rendered;
    return 0;
  });
}

}  // namespace decoscope::cli
