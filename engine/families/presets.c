/* Looking presets up. See presets.h. */
#include "engine/families/presets.h"

#include <string.h>
#include <strings.h>

#include "engine/base/text.h"

enum { MOST_PRESETS = 256 };

static const qk_preset *const vendors[] = {qk_presets_meta, qk_presets_mistral, qk_presets_qwen,
                                           qk_presets_google, qk_presets_others};

const qk_preset *qk_preset_at(size_t i)
{
    for (size_t v = 0; v < sizeof vendors / sizeof *vendors; v++)
        for (const qk_preset *p = vendors[v]; p->name; p++)
            if (i-- == 0) return p;
    return NULL;
}

const qk_preset *qk_preset_find(const char *name)
{
    const qk_preset *p;
    for (size_t i = 0; (p = qk_preset_at(i)); i++)
        if (!strcasecmp(p->name, name) || !strcasecmp(p->repository, name)) return p;
    return NULL;
}

qk_status qk_preset_need(const char *name, const qk_preset **out, qk_error *err)
{
    *out = qk_preset_find(name);
    if (*out) return QK_OK;
    const char *names[MOST_PRESETS + 1] = {0};
    bool by_repository = strchr(name, '/');
    for (size_t i = 0; i < MOST_PRESETS && qk_preset_at(i); i++)
        names[i] = by_repository ? qk_preset_at(i)->repository : qk_preset_at(i)->name;
    const char *near = qk_nearest(name, names);
    return qk_fail(err, QK_ERR_NOTFOUND, "qkengine synth --list prints them",
                   "no built-in configuration is called '%.100s'%s%s%s", name,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

const qk_json *qk_preset_config(const qk_preset *preset, qk_arena *arena)
{
    qk_error err;
    const qk_json *config;
    if (qk_json_parse(arena, preset->config, strlen(preset->config), preset->name, &config, &err))
        qk_fatal("%s", err.message); /* it is our own text */
    return config;
}
