// `etalon tokenize`: token ids of a text, on one line.
#include <fmt/format.h>

#include "cli/app.h"
#include "cli/engine_options.h"
#include "cli/exit_code.h"
#include "cli/output.h"
#include "text/tokenizer.h"

namespace etalon::cli {
namespace {

struct TokenizeOptions {
  std::string model_path;
  std::string file;
  std::string prompt;
  bool has_prompt = false;
  bool no_bos = false;
  bool no_special = false;
};

Expected<int> RunTokenize(const TokenizeOptions& o, bool has_prompt) {
  if (o.file.empty() == !has_prompt) {
    return InvalidArgument("give the text with -f FILE or -p TEXT");
  }
  // The vocabulary is all that is read: any architecture will do.
  ETALON_ASSIGN_OR_RETURN(const io::GgufFile gguf,
                          io::GgufFile::Open(o.model_path));
  ETALON_ASSIGN_OR_RETURN(const auto tokenizer,
                          text::Tokenizer::FromGguf(gguf));
  std::string text = o.prompt;
  if (!has_prompt) {
    ETALON_ASSIGN_OR_RETURN(text, ReadText(o.file));
  }
  const auto ids = tokenizer->Encode(text, {!o.no_bos, !o.no_special});
  ETALON_RETURN_IF_ERROR(WriteStdout(fmt::format("{}\n", fmt::join(ids, " "))));
  return kExitOk;
}

}  // namespace

Action AddTokenize(CLI::App& app) {
  auto o = std::make_shared<TokenizeOptions>();
  CLI::App* command =
      app.add_subcommand("tokenize", "token ids of a text, on one line");
  command->add_option("-m,--model", o->model_path, "GGUF file, of any model")
      ->envname("LLAMA_ARG_MODEL")
      ->required()
      ->type_name("FILE");
  command
      ->add_option("-f,--file", o->file,
                   "text to read, byte for byte; - is stdin")
      ->type_name("FILE");
  CLI::Option* prompt =
      command->add_option("-p,--prompt", o->prompt, "the text itself")
          ->type_name("TEXT");
  command->add_flag("--no-bos", o->no_bos,
                    "do not add the vocabulary's BOS or EOS");
  command->add_flag("--no-special,--no-parse-special", o->no_special,
                    "text such as <|im_end|> is text, not the token");
  return [o, prompt] { return RunTokenize(*o, prompt->count() > 0); };
}

}  // namespace etalon::cli
