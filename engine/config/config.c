/* Loading: file -> tree -> settings of --set on top -> table of keys -> struct. See config.h. */
#include "engine/config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/base/near_path.h"
#include "engine/base/text.h"
#include "engine/config/keys.h"
#include "engine/config/root.h"

/* "captures" and "did you mean 'capture'?"; the hint lives in the arena. */
static const char *did_you_mean(const qk_config_reader *r, const char *word, const char *section)
{
    const char *known[64];
    const qk_config_key *elsewhere = NULL; /* the only key of another section with this very name */
    size_t n = 0;
    for (size_t i = 0; i < qk_config_n_keys; i++) {
        const qk_config_key *k = &qk_config_keys[i];
        if (strcmp(k->name, word) != 0) continue;
        if (elsewhere && !strncmp(k->section, elsewhere->section, strlen(elsewhere->section)))
            continue; /* in a part of that section, too: the same for some */
        elsewhere = k;
        n++;
    }
    if (n == 1)
        return qk_arena_strf(r->arena, "did you mean '%s.%s'?", elsewhere->section,
                             elsewhere->name);
    n = 0;
    if (section) {
        for (size_t i = 0; i < qk_config_n_keys; i++)
            if (!strcmp(qk_config_keys[i].section, section)) known[n++] = qk_config_keys[i].name;
        size_t prefix = strlen(section);
        for (const qk_config_section *s = qk_config_sections; s->name; s++)
            if (!strncmp(s->name, section, prefix) && s->name[prefix] == '.' &&
                !strchr(s->name + prefix + 1, '.'))
                known[n++] = s->name + prefix + 1;
    } else {
        for (const qk_config_section *s = qk_config_sections; s->name; s++)
            if (!strchr(s->name, '.')) known[n++] = s->name;
    }
    known[n] = NULL;
    const char *nearest = qk_nearest(word, known);
    if (nearest) return qk_arena_strf(r->arena, "did you mean '%s'?", nearest);
    for (const qk_config_section *s = qk_config_sections; s->name && !section; s++) {
        const char *dot = strrchr(s->name, '.');
        if (dot && qk_nearest(word, (const char *const[]){dot + 1, NULL}))
            return qk_arena_strf(r->arena, "did you mean '%s'?", s->name);
    }
    return "qkengine help config lists all keys";
}

static bool is_section(const char *parent, const char *name)
{
    for (const qk_config_section *s = qk_config_sections; s->name; s++) {
        const char *dot = strrchr(s->name, '.');
        if (!parent && !dot && !strcmp(s->name, name)) return true;
        if (parent && dot && !strncmp(s->name, parent, (size_t)(dot - s->name)) &&
            !parent[dot - s->name] && !strcmp(dot + 1, name))
            return true;
    }
    return false;
}

static bool is_key(const char *section, const char *name)
{
    for (size_t i = 0; i < qk_config_n_keys; i++)
        if (!strcmp(qk_config_keys[i].section, section) && !strcmp(qk_config_keys[i].name, name))
            return true;
    return is_section(section, name);
}

/* Where a key itself stands. */
static const char *key_position(const qk_config_reader *r, const qk_yaml *member)
{
    if (member->setting) return member->setting;
    return qk_arena_strf(r->arena, "%s:%d:%d", r->path, member->key_line, member->key_column);
}

static qk_status check_keys(const qk_config_reader *r, const qk_config_section *section,
                            const qk_yaml *map)
{
    for (const qk_yaml *m = map->first; m; m = m->next) {
        if (is_key(section->name, m->key)) continue;
        const char *hint = did_you_mean(r, m->key, section->name);
        if (!section->open || m->setting)
            return qk_fail(r->err, qk_config_blame(m), hint, "%s: unknown key '%s.%.100s'",
                           key_position(r, m), section->name, m->key);
        qk_warn("%s: unknown key '%s.%.100s' is ignored%s%s", key_position(r, m), section->name,
                m->key, hint ? "; " : "", hint ? hint : "");
    }
    return QK_OK;
}

static qk_status read_key(const qk_config_reader *r, const qk_config_key *key, const qk_yaml *map,
                          qk_config_draft *draft)
{
    const qk_yaml *value = qk_yaml_get(map, key->name);
    void *field = (char *)draft + key->at;
    bool null = value && value->type == QK_YAML_NULL;
    if (key->required) {
        if (value) return key->type->read(r, key, value, field);
        return qk_fail(r->err, QK_ERR_CONFIG, qk_config_meaning(r, key), "%s: '%s.%s' is missing",
                       r->path, key->section, key->name);
    }
    /* null reads as "not set", but for a switch that is on by default it could mean either way. */
    if (null && key->type == &qk_config_bool && !strcmp(key->fallback, "true"))
        return key->type->read(r, key, value, field);
    if (value && !null) return key->type->read(r, key, value, field);
    qk_yaml fallback = {.plain = true, .text = key->fallback};
    if (!key->fallback) return key->type->read(r, key, NULL, field);
    fallback.length = strlen(key->fallback);
    QK_ASSERT(qk_yaml_resolve(&fallback));
    return key->type->read(r, key, &fallback, field);
}

/* A section with nothing behind its name: `capture:` whose keys went missing, or stand one level
 * too far left. Reading it as all defaults would capture every head. */
static qk_status refuse_empty(const qk_config_reader *r, const qk_config_section *section,
                              const qk_yaml *null)
{
    bool has_required = false;
    for (size_t i = 0; i < qk_config_n_keys; i++)
        has_required |=
            qk_config_keys[i].required && !strcmp(qk_config_keys[i].section, section->name);
    const char *hint = "write its keys below it, indented";
    if (!has_required)
        hint = qk_arena_strf(r->arena, "%s, or '%s: {}' for the defaults", hint, section->name);
    return qk_fail(r->err, qk_config_blame(null), hint, "%s: section '%s' is empty",
                   qk_config_position(r, null), section->name);
}

/* The map of a section or part of one ("capture.sampler"); NULL when it is absent. A part may be
 * null, too, as in the reference: `head_sampling: null` is how to say that there is none. */
static qk_status find_section(const qk_config_reader *r, const qk_yaml *root,
                              const qk_config_section *section, const qk_yaml **out)
{
    const char *dot;
    const qk_yaml *map = root;
    for (const char *name = section->name; name; name = dot ? dot + 1 : NULL) {
        dot = strchr(name, '.');
        size_t n = dot ? (size_t)(dot - name) : strlen(name);
        map = qk_yaml_get(map, qk_arena_strndup(r->arena, name, n));
    }
    dot = strchr(section->name, '.');
    *out = map && map->type == QK_YAML_NULL ? NULL : map;
    if (map && !*out && !dot) return refuse_empty(r, section, map);
    if (map && !*out && !map->length && !map->setting)
        qk_warn("%s: '%s' is empty, which is as if it were not there; null says that it is meant",
                qk_config_position(r, map), section->name);
    if (!*out || map->type == QK_YAML_MAP) return QK_OK;
    return qk_fail(r->err, qk_config_blame(map),
                   map->setting
                       ? qk_arena_strf(r->arena, "set its keys: --set %s.KEY=VALUE", section->name)
                       : "write its keys below it, indented",
                   "%s: '%s' must be a map", qk_config_position(r, map), section->name);
}

/* A key of a section at the top level, below the section's name: its indentation was lost. */
static qk_status refuse_unindented(const qk_config_reader *r, const qk_yaml *root,
                                   const qk_yaml *stray)
{
    const qk_yaml *section = NULL;
    for (const qk_yaml *m = root->first; m != stray; m = m->next)
        if (is_section(NULL, m->key) && is_key(m->key, stray->key)) section = m;
    if (!section || section->setting || stray->setting) return QK_OK;
    return qk_fail(r->err, QK_ERR_CONFIG,
                   qk_arena_strf(r->arena,
                                 "indent it, and what else belongs to '%s', below line %d",
                                 section->key, section->key_line),
                   "%s: unknown section '%s': it is a key of '%s' that is not indented",
                   key_position(r, stray), stray->key, section->key);
}

static qk_status read_sections(const qk_config_reader *r, const qk_yaml *root,
                               qk_config_draft *draft)
{
    for (const qk_yaml *m = root->first; m; m = m->next) {
        if (is_section(NULL, m->key)) continue;
        QK_TRY(refuse_unindented(r, root, m));
        return qk_fail(r->err, qk_config_blame(m), did_you_mean(r, m->key, NULL),
                       "%s: unknown section '%.100s'", key_position(r, m), m->key);
    }
    for (const qk_config_section *s = qk_config_sections; s->name; s++)
        if (s->required && !qk_yaml_get(root, s->name))
            return qk_fail(r->err, QK_ERR_CONFIG, "configs/sample.yaml shows what belongs there",
                           "%s: section '%s' is missing", r->path, s->name);
    for (const qk_config_section *s = qk_config_sections; s->name; s++) {
        const qk_yaml *map;
        QK_TRY(find_section(r, root, s, &map));
        if (map) QK_TRY(check_keys(r, s, map));
        if (!strcmp(s->name, "capture.head_sampling")) {
            draft->config.capture.sample_heads = map != NULL;
            if (!map) continue;
        }
        for (size_t i = 0; i < qk_config_n_keys; i++)
            if (!strcmp(qk_config_keys[i].section, s->name))
                QK_TRY(read_key(r, &qk_config_keys[i], map, draft));
    }
    return QK_OK;
}

/* What follows from several keys together. */
static qk_status settle(const qk_config_reader *r, const qk_yaml *root, qk_config_draft *draft)
{
    qk_config *c = &draft->config;
    QK_TRY(qk_config_settle_capture(r, root, draft));
    if (draft->autocast > QK_F32 && draft->autocast != (int)c->model.dtype) {
        qk_warn("%s: inference.autocast_dtype: computing in %s, not in model.dtype %s", r->path,
                qk_dtype_name((qk_dtype)draft->autocast), qk_dtype_name(c->model.dtype));
        c->model.dtype = (qk_dtype)draft->autocast;
    }
    const char *overlap = qk_config_root_overlap(c->output.data_root, c->dataset.path);
    if (overlap)
        return qk_fail(r->err, QK_ERR_CONFIG, "choose an output.data_root that is apart from it",
                       "%s: output.data_root '%s' %s dataset.path '%s': the run would read its own "
                       "output",
                       r->path, c->output.data_root, overlap, c->dataset.path);
    c->inference.backend = qk_config_backends[draft->backend].word;
    c->inference.isa = draft->isa < 0 ? NULL : qk_config_isas[draft->isa].word;
    c->output.plain_vectors = draft->encoding == 1;
    c->output.layout = draft->layout >= 0    ? (qk_layout)draft->layout
                       : c->output.hf_branch ? QK_LAYOUT_BRANCH
                                             : QK_LAYOUT_PREFIX;
    if (c->output.split && c->output.layout == QK_LAYOUT_BRANCH)
        return qk_fail(r->err, QK_ERR_CONFIG, "remove output.split, or set output.layout: prefix",
                       "%s: output.split '%s': in branch layout the split is always train", r->path,
                       c->output.split);
    return QK_OK;
}

/* Of a file that cannot be read: what was probably meant. */
static qk_status explain(const char *path, qk_error *err)
{
    bool folder;
    qk_error ignored;
    char *near = err->status == QK_ERR_NOTFOUND ? qk_near_path(path) : NULL;
    if (near)
        snprintf(err->hint, sizeof err->hint, "did you mean '%.400s'?", near);
    else if (qk_has_folder(path, &folder, &ignored) == QK_OK && folder)
        snprintf(err->hint, sizeof err->hint, "give a configuration; configs/sample.yaml is one");
    free(near);
    return err->status;
}

static qk_status load(qk_config_draft *draft, const char *path, const char *const *settings,
                      size_t n_settings, qk_error *err)
{
    qk_arena *arena = &draft->config.arena;
    const qk_config_reader r = {path, arena, err};
    draft->config.file = qk_arena_strf(arena, "%s", path);
    qk_buf file;
    qk_yaml *root;
    if (qk_read_file(&file, path, QK_YAML_MAX_BYTES, err) != QK_OK) return explain(path, err);
    qk_status s = qk_yaml_parse(arena, (const char *)file.data, file.size, path, &root, err);
    qk_buf_free(&file);
    QK_TRY(s);
    if (!root || root->type == QK_YAML_NULL)
        return qk_fail(err, QK_ERR_CONFIG, "start from configs/sample.yaml",
                       "%s: the configuration is empty", path);
    if (root->type != QK_YAML_MAP)
        return qk_fail(err, QK_ERR_CONFIG, "start from configs/sample.yaml",
                       "%s:%d:%d: the top level must be a map of sections", path, root->line,
                       root->column);
    for (size_t i = 0; i < n_settings; i++)
        QK_TRY(qk_config_apply_setting(arena, root, settings[i], err));
    QK_TRY(read_sections(&r, root, draft));
    return settle(&r, root, draft);
}

qk_status qk_config_load(qk_config *config, const char *path, const char *const *settings,
                         size_t n_settings, qk_error *err)
{
    qk_config_draft draft = {0};
    qk_status s = load(&draft, path, settings, n_settings, err);
    if (s != QK_OK) qk_arena_free(&draft.config.arena);
    *config = draft.config;
    return s;
}

void qk_config_free(qk_config *config)
{
    if (!config) return;
    qk_arena_free(&config->arena);
    *config = (qk_config){0};
}
