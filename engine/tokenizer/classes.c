/* See classes.h.
 *
 * C is the class that tokenizer_config.json names, M the one that transformers lists for
 * config.json's model_type, both less "Fast".
 *
 *   C, M or no M, different        tokenizer.json counts as it stands
 *   C = M, or C without model_type  the class C
 *   no C                           config.json's tokenizer_class; else the class listed for the
 *                                  model's configuration, which is M but for a few types
 *
 * Without config.json the reference searches the folder's path for names of model types; here a
 * path is only a path. */
#include "engine/tokenizer/classes.h"

#include <string.h>

#include "engine/tokenizer/load.h"

#define FILE_COUNTS "TokenizersBackend"

/* transformers' TOKENIZER_MAPPING_NAMES. A type that is not in it has no M. */
static const struct {
    const char *class_name, *model_types;
} listed[] = {
    {"CodeLlamaTokenizer", "code_llama"},
    {"GPT2Tokenizer", "blip-2 codegen dbrx emu3 flex_olmo gpt2 gpt_bigcode gpt_neo gptj granite "
                      "granitemoe granitemoehybrid granitemoeshared instructblip instructblipvideo "
                      "jais2 olmo3 opt phi starcoder2"},
    {"GPTNeoXTokenizer",
     "falcon_mamba gpt_neox mamba mamba2 mpt olmo olmo2 olmoe rwkv stablelm xlstm"},
    {"GemmaTokenizer",
     "gemma gemma2 gemma3 gemma3_text gemma3n gemma3n_text recurrent_gemma shieldgemma2 t5gemma"},
    {"LlamaTokenizer", "idefics idefics2"},
    {"Qwen2Tokenizer",
     "audioflamingo3 colqwen2 internvl lighton_ocr ovis2 qwen2 qwen2_5_omni qwen2_5_vl qwen2_audio "
     "qwen2_moe qwen2_vl qwen3 qwen3_moe qwen3_next qwen3_omni_moe qwen3_vl qwen3_vl_moe"},
    {"TokenizersBackend", "glm glm4 glm4_moe glm4_moe_lite glm4v glm4v_moe glm_image glmasr "
                          "got_ocr2 ministral3 mistral mistral3 mixtral pixtral voxtral"},
    {"AlbertTokenizer", "albert nystromformer yoso"},
    {"BartTokenizer", "florence2"},
    {"BarthezTokenizer", "barthez"},
    {"BartphoTokenizer", "bartpho"},
    {"BertGenerationTokenizer", "bert-generation"},
    {"BertJapaneseTokenizer", "bert-japanese"},
    {"BertTokenizer", "align bark bert blip bros chinese_clip convbert distilbert electra ernie "
                      "flava git grounding-dino layoutlm megatron-bert mm-grounding-dino nezha "
                      "qdqbert realm retribert squeezebert tvp vilt visual_bert"},
    {"BertweetTokenizer", "bertweet"},
    {"BigBirdTokenizer", "big_bird"},
    {"BioGptTokenizer", "biogpt"},
    {"BlenderbotSmallTokenizer", "blenderbot-small"},
    {"BlenderbotTokenizer", "blenderbot"},
    {"ByT5Tokenizer", "byt5"},
    {"CLIPTokenizer",
     "aimv2 clip clipseg groupvit omdet-turbo oneformer owlv2 owlvit sam3 sam3_video xclip"},
    {"CTRLTokenizer", "ctrl"},
    {"CamembertTokenizer", "camembert"},
    {"CanineTokenizer", "canine"},
    {"ClvpTokenizer", "clvp"},
    {"CohereTokenizer", "aya_vision cohere cohere2"},
    {"CpmAntTokenizer", "cpmant"},
    {"CpmTokenizer", "cpm"},
    {"DPRQuestionEncoderTokenizer", "dpr"},
    {"DebertaTokenizer", "deberta"},
    {"DebertaV2Tokenizer", "deberta-v2"},
    {"DiaTokenizer", "dia"},
    {"EsmTokenizer", "esm"},
    {"FNetTokenizer", "fnet"},
    {"FSMTTokenizer", "fsmt"},
    {"FlaubertTokenizer", "flaubert"},
    {"FunnelTokenizer", "funnel"},
    {"GPTNeoXJapaneseTokenizer", "gpt_neox_japanese"},
    {"GPTSw3Tokenizer", "gpt-sw3"},
    {"HerbertTokenizer", "herbert"},
    {"LEDTokenizer", "led"},
    {"LayoutLMv2Tokenizer", "layoutlmv2"},
    {"LayoutLMv3Tokenizer", "layoutlmv3"},
    {"LayoutXLMTokenizer", "layoutxlm"},
    {"LukeTokenizer", "luke"},
    {"LxmertTokenizer", "lxmert"},
    {"M2M100Tokenizer", "m2m_100"},
    {"MBart50Tokenizer", "mbart50"},
    {"MBartTokenizer", "mbart"},
    {"MLukeTokenizer", "mluke"},
    {"MPNetTokenizer", "mpnet"},
    {"MarianTokenizer", "marian"},
    {"MarkupLMTokenizer", "markuplm"},
    {"MgpstrTokenizer", "mgp-str"},
    {"MobileBertTokenizer", "mobilebert"},
    {"MvpTokenizer", "mvp"},
    {"MyT5Tokenizer", "myt5"},
    {"NllbTokenizer", "nllb nllb-moe"},
    {"NougatTokenizer", "nougat"},
    {"OpenAIGPTTokenizer", "openai-gpt"},
    {"PLBartTokenizer", "plbart"},
    {"ParakeetTokenizer", "lasr_ctc lasr_encoder"},
    {"PegasusTokenizer", "bigbird_pegasus pegasus pegasus_x"},
    {"PerceiverTokenizer", "perceiver"},
    {"PhobertTokenizer", "phobert"},
    {"ProphetNetTokenizer", "prophetnet"},
    {"RagTokenizer", "rag"},
    {"ReformerTokenizer", "reformer"},
    {"RemBertTokenizer", "rembert"},
    {"RoCBertTokenizer", "roc_bert"},
    {"RoFormerTokenizer", "roformer"},
    {"RobertaTokenizer", "bart bridgetower clap data2vec-text ibert lilt longformer mega mra "
                         "roberta roberta-prelayernorm"},
    {"SeamlessM4TTokenizer", "seamless_m4t seamless_m4t_v2"},
    {"Siglip2Tokenizer", "siglip2"},
    {"SiglipTokenizer", "siglip"},
    {"Speech2ConformerTokenizer", "fastspeech2_conformer"},
    {"Speech2TextTokenizer", "speech_to_text"},
    {"SpeechT5Tokenizer", "speecht5"},
    {"SplinterTokenizer", "splinter"},
    {"T5Tokenizer", "longt5 mt5 musicgen musicgen_melody pix2struct switch_transformers t5 umt5"},
    {"TapasTokenizer", "tapas"},
    {"UdopTokenizer", "udop"},
    {"VitsTokenizer", "vits"},
    {"Wav2Vec2CTCTokenizer",
     "data2vec-audio hubert unispeech unispeech-sat wav2vec2 wav2vec2-bert wav2vec2-conformer"},
    {"Wav2Vec2PhonemeCTCTokenizer", "wav2vec2_phoneme"},
    {"WhisperTokenizer", "whisper"},
    {"XGLMTokenizer", "xglm"},
    {"XLMRobertaTokenizer", "kosmos-2 metaclip_2 trocr xlm-roberta xlm-roberta-xl xmod"},
    {"XLMTokenizer", "xlm"},
    {"XLNetTokenizer", "xlnet"},
};

/* Types without tokenizer_class whose configuration has another type's class. */
static const struct {
    const char *model_type, *class_name;
} without_class[] = {
    {"llama", "CodeLlamaTokenizer"}, /* code_llama has llama's configuration */
    {"vision-encoder-decoder", "NougatTokenizer"},
    {"gpt-sw3", "GPT2Tokenizer"},
};

static bool has_word(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = words; n && (at = strstr(at, word)); at += n)
        if ((at == words || at[-1] == ' ') && (!at[n] || at[n] == ' ')) return true;
    return false;
}

/* M; NULL: the type is not listed. */
static const char *listed_class(const char *model_type)
{
    for (size_t i = 0; i < sizeof listed / sizeof *listed; i++)
        if (has_word(listed[i].model_types, model_type)) return listed[i].class_name;
    return NULL;
}

/* The name without any "Fast". */
static const char *less_fast(qk_loader *l, const char *name)
{
    char *copy = qk_arena_strndup(&l->arena, name, strlen(name));
    for (char *at = strstr(copy, "Fast"); at; at = strstr(at, "Fast"))
        memmove(at, at + 4, strlen(at + 4) + 1);
    return copy;
}

/* A string member; absent and null: NULL. */
static qk_status name_in(qk_loader *l, const qk_json *object, const char *file, const char *key,
                         const char **out)
{
    const qk_json *v = qk_json_get(object, key);
    *out = NULL;
    if (!v || v->type == QK_JSON_T_NULL) return QK_OK;
    if (v->type != QK_JSON_T_STRING)
        return qk_side_refuse(l, file, "%s: a string expected, found %s", key,
                              qk_json_type_name(v));
    *out = v->text;
    return QK_OK;
}

static bool is_generic(const char *name)
{
    static const char *const names[] = {FILE_COUNTS, "PreTrainedTokenizer", "BloomTokenizer", ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i])) return true;
    return false;
}

qk_status qk_choose_class(qk_loader *l, const char **name)
{
    const char *c, *type, *of_model = NULL;
    QK_TRY(name_in(l, l->side.config, "tokenizer_config.json", "tokenizer_class", &c));
    QK_TRY(name_in(l, l->side.model, "config.json", "model_type", &type));
    if (!c) QK_TRY(name_in(l, l->side.model, "config.json", "tokenizer_class", &of_model));
    const char *chosen = FILE_COUNTS;
    if (c) {
        const char *m = type ? listed_class(type) : NULL;
        c = less_fast(l, c);
        if (!type || !*type || (m && !strcmp(m, c))) chosen = c;
    } else if (of_model && strstr(of_model, "PreTrainedTokenizerFast")) {
        /* here that name keeps its "Fast": tokenizer.json counts */
    } else if (of_model && *of_model) {
        chosen = less_fast(l, of_model);
        if (!strcmp(chosen, "PreTrainedTokenizer")) /* in Python, not from tokenizer.json */
            return qk_side_refuse(l, "config.json", "tokenizer_class: \"%.60s\" is not supported",
                                  of_model);
    } else if (type && *type) {
        const char *m = listed_class(type);
        if (m) chosen = m;
        for (size_t i = 0; i < sizeof without_class / sizeof *without_class; i++)
            if (!strcmp(without_class[i].model_type, type)) chosen = without_class[i].class_name;
    }
    *name = is_generic(chosen) ? NULL : chosen;
    return QK_OK;
}
