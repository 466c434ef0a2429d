/* The list of families. See family.h. */
#include <string.h>

#include "engine/families/family.h"

const qk_family *const qk_families[] = {
    &qk_family_llama,
    &qk_family_qwen3,
    NULL,
};

const qk_family *qk_family_find(const char *model_type)
{
    for (size_t i = 0; qk_families[i]; i++)
        if (!strcmp(qk_families[i]->model_type, model_type)) return qk_families[i];
    return NULL;
}
