/* See card.h. */
#include "engine/dataset/card.h"

#include <stdlib.h>
#include <string.h>

#include "formats/yaml.h"
#include "engine/dataset/format.h"
#include "engine/dataset/glob.h"
#include "engine/dataset/split.h"

typedef struct card {
    char *path; /* README.md, for messages */
    const qk_listing *all;
    qk_error *err;
    qk_arena arena;
    const qk_yaml *configs; /* a list, or NULL */
    const qk_yaml *info;    /* dataset_info: a map, a list of them, or NULL */
} card;

static qk_status fail(const card *c, const qk_yaml *at, const char *what)
{
    return qk_fail(c->err, QK_ERR_FORMAT,
                   "see https://huggingface.co/docs/hub/datasets-manual-"
                   "configuration",
                   "%s: configs, line %d of the front matter: %s", c->path, at->line, what);
}

/* ---- reading the block ---- */

/* A line at *s without its end; moves *s to the next. */
static bool take_line(const char **s, const char *end, const char **line, size_t *length)
{
    if (*s == end) return false;
    const char *newline = memchr(*s, '\n', (size_t)(end - *s));
    *line = *s;
    *length = (size_t)((newline ? newline : end) - *s);
    *s = newline ? newline + 1 : end;
    if (*length && (*line)[*length - 1] == '\r') --*length;
    return true;
}

static bool is_rule(const char *line, size_t length)
{
    return length == 3 && !memcmp(line, "---", 3);
}

/* The text between the two rules; false when there is none. */
static bool front_matter(const char *text, size_t size, const char **block, size_t *length)
{
    const char *s = text, *end = text + size, *line;
    size_t n;
    do {
        if (!take_line(&s, end, &line, &n)) return false;
    } while (n == 0);
    if (!is_rule(line, n)) return false;
    *block = s;
    while (take_line(&s, end, &line, &n)) {
        if (!is_rule(line, n)) continue;
        *length = (size_t)(line - *block);
        return true;
    }
    return false;
}

static qk_status parse_file(card *c, const char *name, bool whole, qk_yaml **out)
{
    char *path = qk_path_join(c->all->root, name);
    qk_buf file;
    bool there;
    *out = NULL;
    qk_status s = qk_read_file_if_there(&file, path, QK_YAML_MAX_BYTES, &there, c->err);
    const char *text = (const char *)file.data;
    size_t size = file.size;
    if (s == QK_OK && file.data && (whole || front_matter(text, size, &text, &size)))
        s = qk_yaml_parse(&c->arena, text, size, path, out, c->err);
    if (s == QK_OK && *out && (*out)->type != QK_YAML_MAP && (*out)->type != QK_YAML_NULL)
        s = qk_fail(c->err, QK_ERR_FORMAT, NULL, "%s: the front matter must be a map", path);
    qk_buf_free(&file);
    free(path);
    return s;
}

static qk_status read_card(card *c)
{
    qk_yaml *block, *dot;
    QK_TRY(parse_file(c, "README.md", false, &block));
    QK_TRY(parse_file(c, ".huggingface.yaml", true, &dot));
    const qk_yaml *configs = qk_yaml_get(dot, "configs");
    if (!configs) configs = qk_yaml_get(block, "configs");
    c->info = qk_yaml_get(dot, "dataset_info");
    if (!c->info) c->info = qk_yaml_get(block, "dataset_info");
    if (!configs || configs->type == QK_YAML_NULL) return QK_OK;
    if (configs->type != QK_YAML_LIST) return fail(c, configs, "must be a list");
    for (const qk_yaml *one = configs->first; one; one = one->next) {
        const qk_yaml *name = qk_yaml_get(one, "config_name");
        if (!name || name->type != QK_YAML_STRING)
            return fail(c, one, "each must be a map with a text config_name");
    }
    if (configs->count) c->configs = configs;
    return QK_OK;
}

/* ---- choosing ---- */

static qk_status unknown_config(const card *c, const char *name)
{
    qk_buf list = {0};
    for (const qk_yaml *one = c->configs->first; one; one = one->next)
        qk_buf_addf(&list, "%s%s", one == c->configs->first ? "" : ", ",
                    qk_yaml_get(one, "config_name")->text);
    qk_status s = name ? qk_fail(c->err, QK_ERR_CONFIG, "set dataset.name to one of them",
                                 "%s: there is no configuration '%s'; there are %s", c->all->root,
                                 name, qk_buf_str(&list))
                       : qk_fail(c->err, QK_ERR_CONFIG, "set dataset.name to one of them",
                                 "%s: the dataset has several configurations: %s", c->all->root,
                                 qk_buf_str(&list));
    qk_buf_free(&list);
    return s;
}

static bool is_flagged(const qk_yaml *config)
{
    const qk_yaml *flag = qk_yaml_get(config, "default");
    return flag && flag->type == QK_YAML_BOOL && flag->boolean;
}

static bool is_called(const qk_yaml *config, const char *name)
{
    return !strcmp(qk_yaml_get(config, "config_name")->text, name);
}

/* Of two configs with one name the later counts. */
static const qk_yaml *find_config(const qk_yaml *configs, const char *name)
{
    const qk_yaml *found = NULL;
    for (const qk_yaml *one = configs->first; one; one = one->next)
        if (is_called(one, name)) found = one;
    return found;
}

static qk_status choose(const card *c, const char *name, const qk_yaml **out)
{
    const qk_yaml *flagged = NULL;
    bool alone = true;
    for (const qk_yaml *one = c->configs->first; one; one = one->next) {
        if (is_flagged(one) && flagged &&
            !is_called(one, qk_yaml_get(flagged, "config_name")->text))
            return fail(c, one, "a second one is the default");
        if (is_flagged(one)) flagged = one;
        alone &= is_called(one, qk_yaml_get(c->configs->first, "config_name")->text);
    }
    *out = name ? find_config(c->configs, name) : find_config(c->configs, "default");
    if (!name && !*out) *out = alone ? c->configs->last : flagged;
    return *out ? QK_OK : unknown_config(c, name);
}

/* ---- files ---- */

static bool leaves_folder(const char *pattern)
{
    if (*pattern == '/' || strstr(pattern, "://")) return true;
    for (const char *p = pattern; *p; p += strcspn(p, "/"), p += *p == '/')
        if (!strncmp(p, "..", 2) && (p[2] == '/' || !p[2])) return true;
    return false;
}

/* key: "data_files" or "data_dir". */
static qk_status check_pattern(const card *c, const char *key, const qk_yaml *pattern)
{
    if (pattern->type != QK_YAML_STRING)
        return fail(c, pattern,
                    !strcmp(key, "data_dir") ? "data_dir must be a text"
                                             : "a path of data_files must be a text");
    if (leaves_folder(pattern->text))
        return qk_fail(c->err, QK_ERR_UNSUPPORTED, "copy the files into the folder",
                       "%s: %s '%.200s' leaves the folder", c->path, key, pattern->text);
    if (!qk_glob_is_valid(pattern->text))
        return fail(c, pattern, "** can only be a whole part of a path");
    return QK_OK;
}

/* A text or a list of texts. A file that is named but absent is an error, an empty pattern not. */
static qk_status add_patterns(const card *c, const qk_listing *all, qk_data_split *split,
                              const qk_yaml *value)
{
    const qk_yaml *one = value->type == QK_YAML_LIST ? value->first : value;
    for (; one; one = value->type == QK_YAML_LIST ? one->next : NULL) {
        QK_TRY(check_pattern(c, "data_files", one));
        const char *pattern = one->text + (strncmp(one->text, "./", 2) ? 0 : 2);
        size_t found = qk_data_split_match(split, pattern, all);
        if (strpbrk(pattern, "*?[")) continue;
        if (!found)
            return qk_fail(c->err, QK_ERR_NOTFOUND, NULL, "%s: there is no file %s, which %s names",
                           all->root, pattern, c->path);
        if (!qk_format_knows(pattern))
            return qk_fail(c->err, QK_ERR_UNSUPPORTED, QK_FORMAT_HINT,
                           "%s: %s is no data file by its name, yet %s names it", all->root,
                           pattern, c->path);
    }
    return QK_OK;
}

static qk_status add_split(const card *c, const qk_listing *all, qk_data_files *out,
                           const qk_yaml *entry)
{
    const qk_yaml *split = qk_yaml_get(entry, "split"), *path = qk_yaml_get(entry, "path");
    if (!split || !path || entry->count != 2)
        return fail(c, entry, "data_files must hold texts, or maps of split and path");
    if (split->type != QK_YAML_STRING || !qk_split_is_name(split->text, split->length))
        return fail(c, split, "this cannot be the name of a split");
    for (size_t i = 0; i < out->count; i++)
        if (!strcmp(out->splits[i].name, split->text)) return fail(c, split, "a split given twice");
    return add_patterns(c, all, qk_data_files_add(out, split->text, split->length), path);
}

static qk_status add_data_files(const card *c, const qk_listing *all, qk_data_files *out,
                                const qk_yaml *value)
{
    out->rule = "data_files of the configuration in README.md";
    if (value->type == QK_YAML_LIST && value->first && value->first->type == QK_YAML_MAP) {
        for (const qk_yaml *entry = value->first; entry; entry = entry->next)
            QK_TRY(add_split(c, all, out, entry));
    } else if (value->type == QK_YAML_STRING || value->type == QK_YAML_LIST) {
        QK_TRY(add_patterns(c, all, qk_data_files_add(out, "train", 5), value));
    } else {
        return fail(c, value, "data_files must be a text or a list");
    }
    for (size_t i = 0; i < out->count; i++)
        if (out->splits[i].files.count) return QK_OK;
    return fail(c, value, "no file matches data_files");
}

/* The files below all->root/dir, as a listing of their own. */
static void narrow(const qk_listing *all, const char *dir, qk_listing *out)
{
    size_t n = strlen(dir);
    while (n && dir[n - 1] == '/') n--;
    for (size_t i = 0; i < all->files.count; i++) {
        const char *file = all->files.items[i];
        if (!strncmp(file, dir, n) && file[n] == '/') qk_names_add(&out->files, file + n + 1);
    }
}

static qk_status use_config(const card *c, const qk_yaml *config, qk_data_files *out)
{
    static const char *const known[] = {"config_name", "data_files",  "data_dir",
                                        "default",     "description", "version"};
    for (const qk_yaml *m = config->first; m; m = m->next) {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            found |= !strcmp(m->key, known[i]);
        if (!found)
            return qk_fail(c->err, QK_ERR_UNSUPPORTED, NULL,
                           "%s: the reader option '%.100s' of the configuration is not supported",
                           c->path, m->key);
    }
    const qk_yaml *dir = qk_yaml_get(config, "data_dir");
    const qk_yaml *data_files = qk_yaml_get(config, "data_files");
    if (!dir && data_files) return add_data_files(c, c->all, out, data_files);
    if (!dir) return qk_data_files_by_name(out, c->all, c->err);
    QK_TRY(check_pattern(c, "data_dir", dir));
    char *root = qk_path_join(c->all->root, dir->text);
    qk_listing inside = {.root = root};
    narrow(c->all, dir->text, &inside);
    qk_status s = data_files ? add_data_files(c, &inside, out, data_files)
                             : qk_data_files_by_name(out, &inside, c->err);
    qk_names_free(&inside.files);
    free(root);
    return s;
}

/* ---- types ---- */

static bool text_is(const qk_yaml *value, const char *text)
{
    return value && value->type == QK_YAML_STRING && !strcmp(value->text, text);
}

/* dataset_info of the configuration: the map itself, or the one of a list that has its name. */
static const qk_yaml *find_info(const card *c, const char *config_name)
{
    if (!c->info || c->info->type != QK_YAML_LIST) return c->info;
    for (const qk_yaml *one = c->info->first; one; one = one->next)
        if (text_is(qk_yaml_get(one, "config_name"), config_name)) return one;
    return NULL;
}

/* Labels are integers, names of them are not read. */
static qk_status parse_id_type(const card *c, const qk_yaml *type, qk_id_type *out)
{
    bool is_label = type->type == QK_YAML_MAP && qk_yaml_get(type, "class_label");
    const char *name = is_label ? "int64" : type->type == QK_YAML_STRING ? type->text : "";
    if (!qk_id_type_parse(out, name))
        return qk_fail(c->err, QK_ERR_UNSUPPORTED, "use a column of integers or strings",
                       "%s: dataset_info, line %d of the front matter: ids of the type '%.80s' are "
                       "not supported",
                       c->path, type->line, name);
    out->is_label = is_label;
    out->is_of_card = true;
    return QK_OK;
}

static qk_status find_id_type(const card *c, const qk_yaml *config, const char *id_column,
                              qk_id_type *out)
{
    const char *name = config ? qk_yaml_get(config, "config_name")->text : "default";
    const qk_yaml *features = qk_yaml_get(find_info(c, name), "features");
    *out = (qk_id_type){0};
    if (!id_column || !features || features->type != QK_YAML_LIST) return QK_OK;
    for (const qk_yaml *one = features->first; one; one = one->next) {
        const qk_yaml *type = qk_yaml_get(one, "dtype");
        if (text_is(qk_yaml_get(one, "name"), id_column) && type)
            return parse_id_type(c, type, out);
    }
    return QK_OK;
}

qk_status qk_card_find(qk_data_files *out, const qk_listing *all, const char *name,
                       const char *id_column, bool *done, qk_error *err)
{
    card c = {.path = qk_path_join(all->root, "README.md"), .all = all, .err = err};
    const qk_yaml *config = NULL;
    qk_status s = read_card(&c);
    if (s == QK_OK && c.configs) s = choose(&c, name, &config);
    if (s == QK_OK && config) s = use_config(&c, config, out);
    out->from_card = config != NULL;
    out->is_later_config = config && config != c.configs->first;
    if (s == QK_OK) s = find_id_type(&c, config, id_column, &out->id_type);
    *done = config != NULL;
    qk_arena_free(&c.arena);
    free(c.path);
    return s;
}

qk_status qk_card_configs(qk_names *out, const char **chosen, const char *root, qk_error *err)
{
    const qk_listing nothing = {.root = root};
    card c = {.path = qk_path_join(root, "README.md"), .all = &nothing, .err = err};
    const qk_yaml *by_default = NULL;
    qk_error none = {0};
    *out = (qk_names){0};
    *chosen = NULL;
    qk_status s = read_card(&c);
    const qk_yaml *first = s == QK_OK && c.configs ? c.configs->first : NULL;
    for (const qk_yaml *one = first; one; one = one->next) {
        const char *name = qk_yaml_get(one, "config_name")->text;
        bool known = false;
        for (size_t i = 0; i < out->count && !known; i++) known = !strcmp(out->items[i], name);
        if (!known) qk_names_add(out, name);
    }
    c.err = &none; /* that there is no default is for a run to say */
    if (first && choose(&c, NULL, &by_default) == QK_OK)
        for (size_t i = 0; i < out->count; i++)
            if (is_called(by_default, out->items[i])) *chosen = out->items[i];
    qk_arena_free(&c.arena);
    free(c.path);
    return s;
}
