#include <cstdio>
#include <iostream>

#include "app/cli/Command.h"
#include "core/train/VocabularyFiles.h"

namespace decoscope::cli {

namespace {

struct VocabularyCommandOptions {
  std::string corpus, out;
  int size = 2048, context = 0;
};

Result<int> vocabularyCommand(const Context& context, const VocabularyCommandOptions& options) {
  DECOSCOPE_ASSIGN(const BytePairVocabulary vocabulary,
                   trainVocabulary(options.corpus, options.size, options.context, options.out, context.stop));
  const double bytesPerToken = static_cast<double>(vocabulary.bytes) /
                               static_cast<double>(std::max<std::int64_t>(vocabulary.tokens, 1));
  if (context.json) {
    printJson({{"out", options.out},
               {"size", vocabulary.pieces.size()},
               {"merges", vocabulary.merges.size()},
               {"texts", vocabulary.texts},
               {"bytes", vocabulary.bytes},
               {"distinct_words", vocabulary.distinctWords},
               {"tokens", vocabulary.tokens},
               {"bytes_per_token", bytesPerToken}});
    return 0;
  }
  char ratio[32];
  std::snprintf(ratio, sizeof ratio, "%.3f", bytesPerToken);
  std::cout << options.out << ": " << vocabulary.pieces.size() << " entries from " << vocabulary.texts
            << " texts of " << vocabulary.bytes << " bytes; a token is " << ratio << " bytes\n";
  return 0;
}

}  // namespace

void addVocabularyCommand(CLI::App& app) {
  auto options = std::make_shared<VocabularyCommandOptions>();
  auto* command = app.add_subcommand("vocabulary", "Learn the Wren family's vocabulary from a corpus");
  command->add_option("CORPUS", options->corpus, "JSONL, one text a line")->required();
  command->add_option("--size", options->size, "Entries, special tokens and bytes included");
  command->add_option("--context", options->context, "Stands as model_max_length; 0: not said")
      ->check(atLeast(0));
  command->add_option("--out", options->out, "Folder for tokenizer.json and tokenizer_config.json")
      ->required();
  onRun(command, [options](const Context& context) { return vocabularyCommand(context, *options); });
}

}  // namespace decoscope::cli
