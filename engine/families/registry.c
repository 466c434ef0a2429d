/* The list of families: one line each. See family.h. */
#include <string.h>

#include "engine/families/family.h"

/* clang-format off */
#define EACH_FAMILY(family) \
    family(llama) \
    family(mllama) \
    family(mllama_text) \
    family(mistral) \
    family(ministral) \
    family(ministral3) \
    family(mistral3) \
    family(mixtral) \
    family(qwen2) \
    family(qwen3) \
    family(qwen3_moe) \
    family(gemma) \
    family(gemma2) \
    family(gemma3_text) \
    family(gemma3) \
    family(glm) \
    family(glm4) \
    family(smollm3) \
    family(phi3) \
    family(olmo2) \
    family(olmo3) \
    family(granite)
/* clang-format on */

#define DECLARE(name) extern const qk_family qk_family_##name;
#define ENTRY(name) &qk_family_##name,

EACH_FAMILY(DECLARE)

const qk_family *const qk_families[] = {EACH_FAMILY(ENTRY) NULL};

const qk_family *qk_family_find(const char *model_type)
{
    for (size_t i = 0; qk_families[i]; i++)
        if (!strcmp(qk_families[i]->model_type, model_type)) return qk_families[i];
    return NULL;
}
