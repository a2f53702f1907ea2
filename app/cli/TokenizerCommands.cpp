#include <iostream>

#include "app/cli/Command.h"
#include "core/tokenizer/Chat.h"
#include "core/tokenizer/jinja/Json.h"

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

struct RenderChatOptions {
  std::optional<std::string> model, templateFile, bos, eos, date;
  std::string messages;
  std::vector<std::string> variables;
  bool noPrompt = false;
};

Result<int> renderChatCommand(const Context& context, const RenderChatOptions& options) {
  if (!options.model && !options.templateFile)
    return fail(ErrorCode::usage, "there is no template", "--model", "Give --model or --template.");
  ChatOptions chatOptions;
  chatOptions.bosToken = options.bos;
  chatOptions.eosToken = options.eos;
  if (options.noPrompt) chatOptions.addGenerationPrompt = false;
  if (options.date) {
    DECOSCOPE_ASSIGN(chatOptions.date, parseChatDate(*options.date));
  }
  DECOSCOPE_ASSIGN(const std::string json, readFile(options.messages));
  DECOSCOPE_ASSIGN(Chat chat, parseChat(json, options.messages));
  for (const std::string& variable : options.variables) {
    const auto equals = variable.find('=');
    if (equals == std::string::npos || equals == 0)
      return fail(ErrorCode::usage, "not NAME=JSON: " + variable, "--set");
    DECOSCOPE_ASSIGN(jinja::Value value, jinja::parseJson(variable.substr(equals + 1), "--set " + variable));
    chat.variables.emplace_back(variable.substr(0, equals), std::move(value));
  }
  std::string rendered;
  if (options.templateFile) {
    DECOSCOPE_ASSIGN(const std::string chatTemplate, readFile(*options.templateFile));
    DECOSCOPE_ASSIGN(rendered, renderChat(chatTemplate, chat, chatOptions));
  } else {
    DECOSCOPE_ASSIGN(const auto tokenizer, loadModelTokenizer(*options.model));
    DECOSCOPE_ASSIGN(rendered, renderChat(*tokenizer, chat, chatOptions));
  }
  if (context.json)
    printJson({{"text", rendered}});
  else
    std::cout << rendered;
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
  addTokenIds(
      detokenize, "--ids", [ids](std::vector<TokenId> given) { *ids = std::move(given); },
      "Token ids with commas")
      ->required();
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

  auto chat = std::make_shared<RenderChatOptions>();
  auto* render = app.add_subcommand("render-chat", "A chat as the model sees it");
  auto* chatModel = render->add_option("--model", chat->model, "Model or tokenizer files");
  render->add_option("--template", chat->templateFile, "A chat template, instead of the model's")
      ->excludes(chatModel);
  render->add_option("--messages", chat->messages, "JSON file of messages")->required();
  render->add_option("--bos", chat->bos, "The template's bos_token");
  render->add_option("--eos", chat->eos, "The template's eos_token");
  render->add_flag("--no-generation-prompt", chat->noPrompt, "Do not open the assistant's turn");
  render->add_option("--date", chat->date, "The date that the template sees, such as \"26 Jul 2024\"");
  render
      ->add_option("--set", chat->variables,
                   "NAME=JSON: a variable of the template, such as enable_thinking=false")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  onRun(render, [chat](const Context& context) { return renderChatCommand(context, *chat); });
}

}  // namespace decoscope::cli
