/* The table of presets, and their texts as part of the binary. See presets.h.
 *
 * next: engine/families/presets/qwen3-8b.json */
#include "engine/families/presets.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "engine/base/text.h"

/* X(name, repository, parameters, unit) for each presets/NAME.json, in the order of `qkengine synth
 * --list`. */
#define PRESETS(X)                                                                                 \
    /* Meta */                                                                                     \
    X("llama-2-7b", "meta-llama/Llama-2-7b-hf", 6738415616, 1)                                     \
    X("llama-2-13b", "meta-llama/Llama-2-13b-hf", 13015864320, 1)                                  \
    X("llama-2-70b", "meta-llama/Llama-2-70b-hf", 68976648192, 1)                                  \
    X("llama-3.1-8b", "meta-llama/Llama-3.1-8B", 8030261248, 1)                                    \
    X("llama-3.1-70b", "meta-llama/Llama-3.1-70B", 70553706496, 1)                                 \
    X("llama-3.1-405b", "meta-llama/Llama-3.1-405B", 405853388800, 1)                              \
    X("llama-3.2-1b", "meta-llama/Llama-3.2-1B", 1235814400, 1)                                    \
    X("llama-3.2-3b", "meta-llama/Llama-3.2-3B", 3212749824, 1)                                    \
    X("llama-3.3-70b", "meta-llama/Llama-3.3-70B-Instruct", 70553706496, 1)                        \
    /* Llama 3.1 8B under it, plus 8 embeddings for the image token */                             \
    X("llama-3.2-11b-vision", "meta-llama/Llama-3.2-11B-Vision", 8030294016, 1)                    \
    /* Llama 3.1 70B under it, plus 8 embeddings */                                                \
    X("llama-3.2-90b-vision", "meta-llama/Llama-3.2-90B-Vision", 70553772032, 1)                   \
    /* Mistral AI */                                                                               \
    X("mistral-7b-v0.1", "mistralai/Mistral-7B-v0.1", 7241732096, 1)                               \
    X("mistral-7b-v0.3", "mistralai/Mistral-7B-v0.3", 7248023552, 1)                               \
    X("mistral-nemo-12b", "mistralai/Mistral-Nemo-Base-2407", 12247782400, 1)                      \
    X("mistral-small-24b", "mistralai/Mistral-Small-24B-Base-2501", 23572403200, 1)                \
    /* 24,011,361,280 less the vision tower's 403,305,472 and the projector's 35,652,608 */        \
    X("mistral-small-3.1-24b", "mistralai/Mistral-Small-3.1-24B-Base-2503", 23572403200, 1)        \
    /* its card: 3.4B, and 0.4B of vision */                                                       \
    X("ministral-3-3b", "mistralai/Ministral-3-3B-Base-2512", 3400000000, 100000000)               \
    /* its card: 8.4B, and 0.4B of vision */                                                       \
    X("ministral-3-8b", "mistralai/Ministral-3-8B-Base-2512", 8400000000, 100000000)               \
    /* its card: 13.5B, and 0.4B of vision */                                                      \
    X("ministral-3-14b", "mistralai/Ministral-3-14B-Base-2512", 13500000000, 100000000)            \
    X("mixtral-8x7b", "mistralai/Mixtral-8x7B-v0.1", 46702792704, 1)                               \
    X("mixtral-8x22b", "mistralai/Mixtral-8x22B-v0.1", 140620634112, 1)                            \
    /* Qwen Team */                                                                                \
    X("qwen2-0.5b", "Qwen/Qwen2-0.5B", 494032768, 1)                                               \
    X("qwen2-1.5b", "Qwen/Qwen2-1.5B", 1543714304, 1)                                              \
    X("qwen2-7b", "Qwen/Qwen2-7B", 7615616512, 1)                                                  \
    X("qwen2-72b", "Qwen/Qwen2-72B", 72706203648, 1)                                               \
    X("qwen2.5-0.5b", "Qwen/Qwen2.5-0.5B", 494032768, 1)                                           \
    X("qwen2.5-1.5b", "Qwen/Qwen2.5-1.5B", 1543714304, 1)                                          \
    X("qwen2.5-3b", "Qwen/Qwen2.5-3B", 3085938688, 1)                                              \
    X("qwen2.5-7b", "Qwen/Qwen2.5-7B", 7615616512, 1)                                              \
    X("qwen2.5-14b", "Qwen/Qwen2.5-14B", 14770033664, 1)                                           \
    X("qwen2.5-32b", "Qwen/Qwen2.5-32B", 32763876352, 1)                                           \
    X("qwen2.5-72b", "Qwen/Qwen2.5-72B", 72706203648, 1)                                           \
    X("qwen3-0.6b", "Qwen/Qwen3-0.6B", 596049920, 1)                                               \
    X("qwen3-1.7b", "Qwen/Qwen3-1.7B", 1720574976, 1)                                              \
    X("qwen3-4b", "Qwen/Qwen3-4B", 4022468096, 1)                                                  \
    X("qwen3-8b", "Qwen/Qwen3-8B", 8190735360, 1)                                                  \
    X("qwen3-14b", "Qwen/Qwen3-14B", 14768307200, 1)                                               \
    X("qwen3-32b", "Qwen/Qwen3-32B", 32762123264, 1)                                               \
    X("qwen3-30b-a3b", "Qwen/Qwen3-30B-A3B", 30532122624, 1)                                       \
    X("qwen3-235b-a22b", "Qwen/Qwen3-235B-A22B", 235093634560, 1)                                  \
    /* Google */                                                                                   \
    X("gemma-2b", "google/gemma-2b", 2506172416, 1)                                                \
    X("gemma-7b", "google/gemma-7b", 8537680896, 1)                                                \
    X("gemma-2-2b", "google/gemma-2-2b", 2614341888, 1)                                            \
    X("gemma-2-9b", "google/gemma-2-9b", 9241705984, 1)                                            \
    X("gemma-2-27b", "google/gemma-2-27b", 27227128320, 1)                                         \
    X("gemma-3-270m", "google/gemma-3-270m", 268098176, 1)                                         \
    X("gemma-3-1b", "google/gemma-3-1b-pt", 999885952, 1)                                          \
    /* 4,300,079,472 less the vision tower's 416,866,032 and the projector's 2,950,272 */          \
    X("gemma-3-4b", "google/gemma-3-4b-pt", 3880263168, 1)                                         \
    /* 12,187,325,040 less the vision tower's 416,866,032 and the projector's 4,424,832 */         \
    X("gemma-3-12b", "google/gemma-3-12b-pt", 11766034176, 1)                                      \
    /* 27,432,406,640 less the vision tower's 416,866,032 and the projector's 6,194,304 */         \
    X("gemma-3-27b", "google/gemma-3-27b-pt", 27009346304, 1)                                      \
    /* Hugging Face */                                                                             \
    X("smollm2-135m", "HuggingFaceTB/SmolLM2-135M", 134515008, 1)                                  \
    X("smollm2-360m", "HuggingFaceTB/SmolLM2-360M", 361821120, 1)                                  \
    X("smollm2-1.7b", "HuggingFaceTB/SmolLM2-1.7B", 1711376384, 1)                                 \
    X("smollm3-3b", "HuggingFaceTB/SmolLM3-3B", 3075098624, 1)                                     \
    /* Z.ai */                                                                                     \
    X("glm-4-9b", "zai-org/glm-4-9b-hf", 9399951360, 1)                                            \
    X("glm-4-9b-0414", "zai-org/GLM-4-9B-0414", 9400279040, 1)                                     \
    /* 32.57 B, as llama.cpp counts its tensors */                                                 \
    X("glm-4-32b-0414", "zai-org/GLM-4-32B-0414", 32570000000, 10000000)                           \
    /* Microsoft */                                                                                \
    X("phi-3-mini-4k", "microsoft/Phi-3-mini-4k-instruct", 3821079552, 1)                          \
    X("phi-3-medium-4k", "microsoft/Phi-3-medium-4k-instruct", 13960238080, 1)                     \
    X("phi-3.5-mini", "microsoft/Phi-3.5-mini-instruct", 3821079552, 1)                            \
    X("phi-4", "microsoft/phi-4", 14659507200, 1)                                                  \
    X("phi-4-mini", "microsoft/Phi-4-mini-instruct", 3836021760, 1)                                \
    /* Ai2 */                                                                                      \
    X("olmo-2-1b", "allenai/OLMo-2-0425-1B", 1484916736, 1)                                        \
    X("olmo-2-7b", "allenai/OLMo-2-1124-7B", 7298617344, 1)                                        \
    X("olmo-2-13b", "allenai/OLMo-2-1124-13B", 13716198400, 1)                                     \
    X("olmo-2-32b", "allenai/OLMo-2-0325-32B", 32234279936, 1)                                     \
    /* IBM */                                                                                      \
    X("granite-3.3-2b", "ibm-granite/granite-3.3-2b-instruct", 2533539840, 1)                      \
    X("granite-3.3-8b", "ibm-granite/granite-3.3-8b-instruct", 8170864640, 1)

#define ENTRY(name, repository, parameters, unit) {name, repository, parameters, unit},
static const qk_preset presets[] = {PRESETS(ENTRY)};
enum { N_PRESETS = sizeof presets / sizeof *presets };

/* One text behind the other in the order of the table, each with a NUL. The assembler reads the
 * files; it finds them from the repository's root, where make runs. */
#define EMBED(name, ...) ".incbin \"engine/families/presets/" name ".json\"\n.byte 0\n"
extern const char preset_texts[];
__asm__(".section .rodata,\"a\"\npreset_texts:\n" PRESETS(EMBED) ".previous");

const qk_preset *qk_preset_at(size_t i)
{
    return i < N_PRESETS ? &presets[i] : NULL;
}

/* Whether a short name goes on with a '-' where `begin` ends. */
static bool begins_with(const qk_preset *p, const char *begin)
{
    size_t n = strlen(begin);
    return n && !strncasecmp(p->name, begin, n) && p->name[n] == '-';
}

const qk_preset *qk_preset_find(const char *name)
{
    const qk_preset *only = NULL;
    size_t n = 0;
    for (const qk_preset *p = presets; p < presets + N_PRESETS; p++) {
        if (!strcasecmp(p->name, name) || !strcasecmp(p->repository, name)) return p;
        if (!begins_with(p, name)) continue;
        only = p;
        n++;
    }
    return n == 1 ? only : NULL;
}

/* "smolm3" is near to what "smollm3-3b" begins with, and too far from the whole. */
static void suggest_family(const char *name, qk_error *err)
{
    const char *begins[N_PRESETS + 1] = {0};
    qk_arena arena = {0};
    for (size_t i = 0; i < N_PRESETS; i++)
        begins[i] = qk_arena_strndup(&arena, presets[i].name, strcspn(presets[i].name, "-"));
    const char *near = qk_nearest(name, begins);
    for (size_t i = 0; near && i < N_PRESETS; i++)
        if (!strcmp(begins[i], near)) {
            snprintf(err->hint, sizeof err->hint,
                     "did you mean '%s'? qkengine synth --list prints them all", presets[i].name);
            break;
        }
    qk_arena_free(&arena);
}

qk_status qk_preset_need(const char *name, const qk_preset **out, qk_error *err)
{
    *out = qk_preset_find(name);
    if (*out) return QK_OK;
    qk_buf several = {0};
    for (const qk_preset *p = presets; p < presets + N_PRESETS; p++)
        if (begins_with(p, name))
            qk_buf_addf(&several, "%s%s", several.size ? ", " : "write one of: ", p->name);
    if (several.size)
        qk_fail(err, QK_ERR_NOTFOUND, qk_buf_str(&several),
                "several built-in configurations begin with '%.100s'", name);
    size_t n_several = several.size;
    qk_buf_free(&several);
    if (n_several) return err->status;
    const char *names[N_PRESETS + 1] = {0};
    bool by_repository = strchr(name, '/');
    for (size_t i = 0; i < N_PRESETS; i++)
        names[i] = by_repository ? presets[i].repository : presets[i].name;
    const char *near = qk_nearest(name, names);
    qk_fail(err, QK_ERR_NOTFOUND, "qkengine synth --list prints them",
            "no built-in configuration is called '%.100s'%s%s%s", name,
            near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    if (!near && !by_repository) suggest_family(name, err);
    return err->status;
}

const qk_json *qk_preset_config(const qk_preset *preset, qk_arena *arena)
{
    const char *text = preset_texts;
    for (const qk_preset *p = presets; p < preset; p++) text += strlen(text) + 1;
    qk_error err;
    const qk_json *config;
    if (qk_json_parse(arena, text, strlen(text), preset->name, &config, &err))
        qk_fatal("%s", err.message); /* it is our own text */
    return config;
}
