#include "text/pre_tokenizers.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace etalon::text {
namespace {

// The expressions are published with the models (tokenizer.json). Parts that
// many share:
#define CONTRACTION \
  R"re('[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])re"
#define CONTRACTIONS "(?:" CONTRACTION ")"
#define WORD R"re([^\r\n\p{L}\p{N}]?\p{L}+)re"
#define SYMBOLS R"re( ?[^\s\p{L}\p{N}]+[\r\n]*)re"
#define SYMBOLS_OR_SLASH R"re( ?[^\s\p{L}\p{N}]+[\r\n/]*)re"
#define LINES R"re(\s*[\r\n]+)re"
#define SPACES R"re(\s+(?!\S)|\s+)re"
// Words that end where lower case turns to upper case. Only ASCII tells case:
// beyond it, any letter is both.
#define CASED_WORDS(upper, lower, tail)             \
  "[^\\r\\n\\p{L}\\p{N}]?" upper "*" lower "+" tail \
  "|[^\\r\\n\\p{L}\\p{N}]?" upper "+" lower "*" tail

#define GPT2                                                            \
  R"re('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+)re" \
  R"re(|\s+(?!\S))re"
#define LLAMA3 \
  CONTRACTIONS "|" WORD R"re(|\p{N}{1,3}|)re" SYMBOLS "|" LINES "|" SPACES
#define QWEN2 \
  CONTRACTIONS "|" WORD R"re(|\p{N}|)re" SYMBOLS "|" LINES "|" SPACES
#define DEEPSEEK3                                                              \
  R"re([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+)re"                     \
  R"re(|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|)re" LINES \
  "|" SPACES
// Word characters with marks, case not told apart, a contraction at the end.
#define MARKED_WORD R"re([^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+)re" CONTRACTIONS "?"

constexpr auto kClasses = SplitStage::Kind::kClasses;
constexpr auto kCodePoints = SplitStage::Kind::kCodePoints;
constexpr auto kDigitTriples = SplitStage::Kind::kDigitTriples;
constexpr auto kTripleBoundaries = SplitStage::Kind::kTripleBoundaries;

constexpr std::string_view kCjkRun =
    R"re([\x{4E00}-\x{9FA5}\x{0800}-\x{4E00}\x{AC00}-\x{D7FF}]+)re";
constexpr std::string_view kHanAndKanaRun =
    R"re([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)re";
constexpr std::string_view kNotPunctuationRun =
    R"re( ?[^(\s|.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{0964}\x{06D4}\x{060C})]+)re";

constexpr SplitStage kDefaultStages[] = {
    {kClasses, R"re([\p{P}\$\+<=>\^~\|]+)re"},
    {kClasses, GPT2},
    {kClasses, R"re(\p{N}+)re"},
    {kClasses, "[0-9][0-9][0-9]"}};
constexpr SplitStage kGpt2Stages[] = {{kClasses, GPT2}};
constexpr SplitStage kDigitThenGpt2Stages[] = {{kClasses, R"re(\p{N})re"},
                                               {kClasses, GPT2}};
constexpr SplitStage kFalconStages[] = {
    {kClasses, R"re([\p{P}\$\+<=>\^~\|`]+)re"},
    {kClasses, GPT2},
    {kClasses, "[0-9][0-9][0-9]"}};
constexpr SplitStage kLlama3Stages[] = {{kClasses, LLAMA3}};
constexpr SplitStage kQwen2Stages[] = {{kClasses, QWEN2}};
constexpr SplitStage kQwen35Stages[] = {
    {kClasses,
     CONTRACTIONS R"re(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N})re"
                  R"re(| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)re" LINES "|" SPACES}};
constexpr SplitStage kMiniCpm5Stages[] = {
    {kClasses, R"re(\p{N}{1,3})re"},
    {kClasses,
     CONTRACTIONS "|" WORD R"re(|\p{N}+|)re" SYMBOLS "|" LINES "|" SPACES}};
constexpr SplitStage kJais2Stages[] = {
    {kClasses, CONTRACTIONS
     "|" WORD R"re(|\p{N}{1,3}|)re" SYMBOLS "|" LINES
     R"re(|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S))re"
     R"re(|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S))re"
     R"re(|\s{1,2}(?!\S)|\s{1})re"}};
// The second stage lists the letters of scripts that have case.
constexpr SplitStage kDeepSeekLlmStages[] = {
    {kClasses, R"re([\r\n])re"},
    {kCodePoints,
     R"re(\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA})re"
     R"re(\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF}\x{370}-\x{373})re"
     R"re(\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C})re"
     R"re(\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F})re"
     R"re(\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD})re"
     R"re(\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B})re"
     R"re(\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15})re"
     R"re(\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D})re"
     R"re(\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D})re"
     R"re(\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4})re"
     R"re(\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB})re"
     R"re(\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102})re"
     R"re(\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126})re"
     R"re(\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139})re"
     R"re(\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184})re"
     R"re(\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2})re"
     R"re(\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F})re"
     R"re(\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF})re"
     R"re(\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A})re"
     R"re(\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3})re"
     R"re(\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2})re"
     R"re(\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+)re"},
    {kCodePoints,
     R"re(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F})re"
     R"re(\x{3000}-\x{3002}]+)re"},
    // `\s+$`, tried only at the start of a run: linear, the same matches.
    {kClasses, R"re((?<!\s)\s++$)re"},
    {kCodePoints, kCjkRun},
    {kClasses, R"re(\p{N}+)re"}};
constexpr SplitStage kDeepSeekCoderStages[] = {{kClasses, R"re([\r\n])re"},
                                               {kClasses, R"re(\s?\p{L}+)re"},
                                               {kClasses, R"re(\s?\p{P}+)re"},
                                               {kCodePoints, kCjkRun},
                                               {kClasses, R"re(\p{N})re"}};
constexpr SplitStage kDeepSeek3Stages[] = {{kClasses, R"re(\p{N}{1,3})re"},
                                           {kCodePoints, kHanAndKanaRun},
                                           {kClasses, DEEPSEEK3}};
constexpr SplitStage kYoutuStages[] = {
    {kCodePoints,
     R"re([\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+)re"
     R"re(|[\x{FF01}\x{2026}\x{201C}\x{201D}\x{2018}\x{2019}\x{2014})re"
     R"re(\x{FF1A}\x{FF1B}\x{FF0C}\x{3001}-\x{303F}\x{FE30}-\x{FE4F}]+)re"
     R"re(|[\x{3105}-\x{312F}]+)re"
     R"re(|[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)re"},
    {kClasses,
     MARKED_WORD R"re(|\p{N}|)re" SYMBOLS_OR_SLASH "|" LINES "|" SPACES}};
constexpr SplitStage kBloomStages[] = {{kCodePoints, kNotPunctuationRun}};
constexpr SplitStage kVikingStages[] = {{kCodePoints, kNotPunctuationRun},
                                        {kClasses, R"re(\p{N})re"}};
// The letter classes without a-z and without A-Z: [\p{L}] and not [^a-z].
#define UPPER R"re((?:(?![a-z])\p{L}))re"
#define LOWER R"re((?:(?![A-Z])\p{L}))re"
#define UPPER_MARK R"re((?:(?![a-z])[\p{L}\p{M}]))re"
#define LOWER_MARK R"re((?:(?![A-Z])[\p{L}\p{M}]))re"
constexpr SplitStage kTekkenStages[] = {
    {kClasses, CASED_WORDS(UPPER, LOWER, "") R"re(|\p{N}|)re" SYMBOLS_OR_SLASH
                                             "|" LINES "|" SPACES}};
constexpr SplitStage kGpt4oStages[] = {
    {kClasses,
     CASED_WORDS(UPPER, LOWER,
                 CONTRACTIONS "?") R"re(|\p{N}{1,3}|)re" SYMBOLS_OR_SLASH
                                   "|" LINES "|" SPACES}};
constexpr SplitStage kGraniteMultiStages[] = {
    {kClasses,
     CASED_WORDS(UPPER_MARK, LOWER_MARK,
                 CONTRACTIONS "?") R"re(|\p{N}{1,3}|)re" SYMBOLS_OR_SLASH
                                   "|" LINES "|" SPACES}};
constexpr SplitStage kTinyAyaStages[] = {
    {kDigitTriples, {}},
    {kClasses,
     MARKED_WORD R"re(|\p{N}{1,3}|)re" SYMBOLS_OR_SLASH "|" LINES "|" SPACES}};
constexpr SplitStage kChameleonStages[] = {
    {kClasses, "<sentinel:[0-9]+>"},           {kClasses, "IMGIMG[A-I]{1,4}Z"},
    {kClasses, R"re([\t\n]|    |  )re"},       {kClasses, R"re(\p{N})re"},
    {kClasses, R"re([\p{P}!-/:-@\[-`{-~])re"}, {kClasses, GPT2}};
constexpr SplitStage kKimiK2Stages[] = {
    {kClasses,
     R"re(\p{Han}+|[^\r\n\p{L}\p{N}\p{Han}]?\p{L}+)re" CONTRACTIONS
     R"re(?|\p{N}{1,3}| ?[^\s\p{L}\p{N}\p{Han}]+[\r\n]*|)re" LINES "|" SPACES}};
constexpr SplitStage kSuperBpeStages[] = {{kClasses, R"re(\p{N}+)re"},
                                          {kTripleBoundaries, {}}};
constexpr SplitStage kBailingStages[] = {{kClasses, CONTRACTIONS
                                          "|" WORD R"re(|\p{N}|)re" SYMBOLS
                                          R"re(|\s*[\r\n]|)re" SPACES}};
constexpr SplitStage kSeedCoderStages[] = {
    {kClasses, CONTRACTIONS
     "|" WORD R"re(|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|)re" LINES "|" SPACES}};
constexpr SplitStage kAfmoeStages[] = {
    {kDigitTriples, {}},
    {kCodePoints,
     R"re([\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{8C48}-\x{FAFF})re"
     R"re(\x{3040}-\x{309F}\x{30A0}-\x{30FF}\x{FF65}-\x{FF9F})re"
     R"re(\x{2F00}-\x{2FDF}\x{0E40}-\x{0E7F}\x{0E80}-\x{0EFF})re"
     R"re(\x{1780}-\x{17FF}\x{1000}-\x{109F}\x{AA60}-\x{AA7F})re"
     R"re(\x{A9E0}-\x{A9FF}\x{AC00}-\x{D7AF}\x{1100}-\x{11FF}]+)re"},
    {kClasses, DEEPSEEK3}};
constexpr SplitStage kLineStages[] = {{kClasses, R"re([^\n]+|\n+)re"}};
constexpr SplitStage kLagunaStages[] = {{kClasses, R"re([^\n]+|\n+)re"},
                                        {kClasses, QWEN2}};
// Letters with their marks, also over single blanks between words.
constexpr SplitStage kExaoneMoeStages[] = {
    {kClasses, CONTRACTIONS
     R"re(|[^\r\n\p{L}\p{N}]?\p{L}[\p{L}\p{M}]*+)re"
     R"re((?: \p{L}[\p{L}\p{M}]*+)*+)re"
     R"re(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|)re" SPACES}};
constexpr SplitStage kWhitespaceStages[] = {{kClasses, R"re(\S+)re"}};

struct NamedPreTokenizer {
  std::string_view name;
  PreTokenizer pre;
};

constexpr PreTokenizer kLlama3{
    .stages = kLlama3Stages, .ignore_merges = true, .add_bos = true};
constexpr PreTokenizer kGemma4{.stages = kLineStages,
                               .add_bos = true,
                               .force_bos = true,
                               .raw_utf8 = true,
                               .escape_spaces = true,
                               .newline_runs = true};

constexpr NamedPreTokenizer kPreTokenizers[] = {
    {"default", {kDefaultStages}},
    {"gpt-2", {kGpt2Stages}},
    {"phi-2", {kGpt2Stages}},
    {"jina-es", {kGpt2Stages}},
    {"jina-de", {kGpt2Stages}},
    {"gigachat", {kGpt2Stages}},
    {"jina-v2-es", {kGpt2Stages}},
    {"jina-v2-de", {kGpt2Stages}},
    {"a.x-4.0", {kGpt2Stages}},
    {"mellum", {kGpt2Stages}},
    {"modern-bert", {kGpt2Stages}},
    {"jina-v1-en", {kGpt2Stages}},
    {"jina-v2-code", {kGpt2Stages}},
    {"roberta-bpe", {kGpt2Stages}},
    {"mpt", {kGpt2Stages}},
    {"olmo", {kGpt2Stages}},
    {"jais", {kGpt2Stages}},
    {"trillion", {kGpt2Stages}},
    {"granite-docling", {kGpt2Stages}},
    {"exaone4", {kGpt2Stages}},
    {"starcoder", {kDigitThenGpt2Stages}},
    {"refact", {kDigitThenGpt2Stages}},
    {"command-r", {kDigitThenGpt2Stages}},
    {"smollm", {kDigitThenGpt2Stages}},
    {"codeshell", {kDigitThenGpt2Stages}},
    {"exaone", {kDigitThenGpt2Stages}},
    {"minerva-7b", {kDigitThenGpt2Stages}},
    {"mellum2", {kDigitThenGpt2Stages}},
    {"falcon", {kFalconStages}},
    {"llama3", kLlama3},
    {"llama-v3", kLlama3},
    {"llama-bpe", kLlama3},
    {"falcon3", kLlama3},
    {"falcon-h1", kLlama3},
    {"pixtral", kLlama3},
    {"midm-2.0", kLlama3},
    {"lfm2", kLlama3},
    {"jina-v5-nano", kLlama3},
    {"dbrx", {kLlama3Stages}},
    {"smaug-bpe", {kLlama3Stages}},
    {"glm4", {kLlama3Stages}},
    {"chatglm-bpe", {kLlama3Stages}},
    {"minicpm5", {.stages = kMiniCpm5Stages, .ignore_merges = true}},
    {"qwen2", {kQwen2Stages}},
    {"deepseek-r1-qwen", {kQwen2Stages}},
    {"kormo", {kQwen2Stages}},
    {"f2llmv2", {kQwen2Stages}},
    {"megrez", {kQwen2Stages}},
    {"stablelm2", {kQwen2Stages}},
    {"hunyuan", {kQwen2Stages}},
    {"solar-open", {kQwen2Stages}},
    {"grok-2", {kQwen2Stages}},
    {"qwen35", {kQwen35Stages}},
    {"jais-2", {kJais2Stages}},
    {"deepseek-llm", {kDeepSeekLlmStages}},
    {"deepseek-coder", {kDeepSeekCoderStages}},
    {"deepseek-v3", {kDeepSeek3Stages}},
    {"hunyuan-dense", {kDeepSeek3Stages}},
    {"joyai-llm", {kDeepSeek3Stages}},
    {"youtu", {.stages = kYoutuStages, .ignore_merges = true}},
    {"poro-chat", {kBloomStages}},
    {"bloom", {kBloomStages}},
    {"gpt3-finnish", {kBloomStages}},
    {"viking", {kVikingStages}},
    {"tekken",
     {.stages = kTekkenStages, .ignore_merges = true, .add_bos = true}},
    {"chameleon", {.stages = kChameleonStages, .add_bos = true}},
    {"gpt-4o", {kGpt4oStages}},
    {"llama4", {kGpt4oStages}},
    {"kanana2", {kGpt4oStages}},
    {"talkie", {kGpt4oStages}},
    {"minimax-m2", {kGpt4oStages}},
    {"granite-embed-multi-97m",
     {.stages = kGraniteMultiStages, .ignore_merges = true}},
    {"tiny_aya", {kTinyAyaStages}},
    {"cohere2moe", {kTinyAyaStages}},
    {"kimi-k2", {.stages = kKimiK2Stages, .merges_optional = true}},
    {"superbpe", {kSuperBpeStages}},
    {"bailingmoe", {kBailingStages}},
    {"bailingmoe2", {kBailingStages}},
    {"llada-moe", {kBailingStages}},
    {"seed-coder", {kSeedCoderStages}},
    {"afmoe", {kAfmoeStages}},
    {"laguna", {kLagunaStages}},
    {"exaone-moe", {kExaoneMoeStages}},
    {"gemma4", kGemma4},
    {"granite-embed-multi-311m", kGemma4},
    {"sarvam-moe",
     {.stages = kLineStages, .raw_utf8 = true, .escape_spaces = true}},
    {"whitespace", {.stages = kWhitespaceStages, .raw_utf8 = true}},
};

constexpr auto kNames = [] {
  std::array<std::string_view, std::size(kPreTokenizers)> names;
  for (size_t i = 0; i < names.size(); ++i) names[i] = kPreTokenizers[i].name;
  return names;
}();

}  // namespace

const PreTokenizer* FindPreTokenizer(std::string_view name) {
  const auto found =
      std::find_if(std::begin(kPreTokenizers), std::end(kPreTokenizers),
                   [&](const auto& entry) { return entry.name == name; });
  return found == std::end(kPreTokenizers) ? nullptr : &found->pre;
}

std::span<const std::string_view> PreTokenizerNames() { return kNames; }

}  // namespace etalon::text
