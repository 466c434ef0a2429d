/* See card.h. */
#include "engine/dataset/card.h"

#include <stdlib.h>
#include <string.h>

#include "engine/dataset/card_infos.h"
#include "engine/dataset/card_options.h"
#include "engine/dataset/card_path.h"
#include "engine/dataset/format.h"
#include "engine/dataset/glob.h"
#include "engine/dataset/split.h"
#include "formats/yaml.h"

enum {
    MAX_CARD_BYTES = 16 << 20, /* with what is behind the front matter */
    MAX_SPLITS = 10000         /* of a configuration */
};
/* Bytes of its patterns, those with wildcards once for each file: some seconds. */
static const uint64_t MAX_MATCHING = UINT64_C(1) << 32;

typedef struct card {
    char *path; /* README.md, for messages */
    const qk_listing *all;
    qk_error *err;
    qk_arena arena;
    /* The configurations: of those of one name the last, where the first one stands. */
    const qk_yaml **configs;
    size_t count;
    const qk_yaml *info; /* dataset_info: a map, a list of them, or NULL */
} card;

static qk_status fail(const card *c, const qk_yaml *at, const char *what)
{
    return qk_fail(c->err, QK_ERR_FORMAT,
                   "see https://huggingface.co/docs/hub/datasets-manual-"
                   "configuration",
                   "%s: configs, line %d of the front matter: %s", c->path, at->line, what);
}

/* ---- reading the block ---- */

static bool is_end_of_line(char c)
{
    return c == '\n' || c == '\r';
}

/* The first rule behind an end of line, from `s` on: \n---\n. *before is where those ends begin. */
static bool find_rule(const char *s, const char *end, const char **before)
{
    while (s < end) {
        const char *ends = s;
        while (s < end && is_end_of_line(*s)) s++;
        if (s == ends) {
            s++;
            continue;
        }
        const char *behind = s + 3;
        if (end - s < 3 || memcmp(s, "---", 3) != 0) continue;
        *before = ends;
        if (behind == end || *behind == '\n') return true;
        if (*behind == '\r' && behind + 1 < end && behind[1] == '\n') return true;
    }
    return false;
}

/* What huggingface_hub takes for the front matter:
 * ^(\s*---[\r\n]+)([\S\s]*?)([\r\n]+---(\r\n|\n|$)). The text is not of this line alone: where the
 * ends of line behind the first rule are followed by another one, the block goes on to a later
 * rule, if there is any. false: there is none. */
static bool front_matter(const char *text, size_t size, const char **block, size_t *length)
{
    const char *s = text, *end = text + size, *before;
    while (s < end && (*s == ' ' || (*s >= '\t' && *s <= '\r') || (*s >= 0x1C && *s <= 0x1F))) s++;
    if (end - s < 4 || memcmp(s, "---", 3) != 0 || !is_end_of_line(s[3])) return false;
    const char *first_end = s += 3;
    while (s < end && is_end_of_line(*s)) s++;
    *block = s;
    bool found = find_rule(s, end, &before);
    if (!found && s - first_end > 1) found = find_rule(s - 1, end, &before);
    if (found) *length = before > s ? (size_t)(before - s) : 0;
    return found;
}

static qk_status parse_file(card *c, const char *name, bool whole, qk_yaml **out)
{
    char *path = qk_path_join(c->all->root, name);
    qk_buf file;
    bool there;
    *out = NULL;
    qk_status s = qk_read_file_if_there(&file, path, MAX_CARD_BYTES, &there, c->err);
    const char *text = (const char *)file.data;
    size_t size = file.size;
    if (s == QK_OK && file.data && (whole || front_matter(text, size, &text, &size)))
        s = qk_yaml_parse_safe(&c->arena, text, size, path, out, c->err);
    /* Of the two only the YAML file may be empty in some other way. */
    if (*out && ((*out)->type == QK_YAML_NULL || (whole && !qk_yaml_is_true(*out)))) *out = NULL;
    if (s == QK_OK && *out && (*out)->type != QK_YAML_MAP)
        s = qk_fail(c->err, QK_ERR_FORMAT, NULL, "%s: the front matter must be a map", path);
    qk_buf_free(&file);
    free(path);
    return s;
}

/* A string that can be compared and used as a name. */
static bool is_text(const qk_yaml *value)
{
    return value && value->type == QK_YAML_STRING && strlen(value->text) == value->length;
}

static const char *name_of(const qk_yaml *config)
{
    return qk_yaml_get(config, "config_name")->text;
}

typedef struct named {
    const qk_yaml *config;
    size_t at;
} named;

static int by_name(const void *a, const void *b)
{
    const named *x = a, *y = b;
    int order = strcmp(name_of(x->config), name_of(y->config));
    return order ? order : x->at < y->at ? -1 : 1;
}

/* As the dict of them that `datasets` makes. */
static void keep_last_of_each(card *c)
{
    named *order = qk_alloc(c->count + 1, sizeof *order);
    size_t kept = 0;
    for (size_t i = 0; i < c->count; i++) order[i] = (named){c->configs[i], i};
    qsort(order, c->count, sizeof *order, by_name);
    for (size_t i = 0, end; i < c->count; i = end) {
        for (end = i + 1; end < c->count; end++) {
            if (strcmp(name_of(order[i].config), name_of(order[end].config)) != 0) break;
            c->configs[order[i].at] = order[end].config;
            c->configs[order[end].at] = NULL;
        }
    }
    for (size_t i = 0; i < c->count; i++)
        if (c->configs[i]) c->configs[kept++] = c->configs[i];
    c->count = kept;
    free(order);
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
    if (!qk_yaml_is_true(configs)) return QK_OK;
    if (configs->type != QK_YAML_LIST) return fail(c, configs, "must be a list");
    c->configs = qk_arena_alloc(&c->arena, configs->count, sizeof *c->configs);
    for (const qk_yaml *one = configs->first; one; one = one->next) {
        if (!is_text(qk_yaml_get(one, "config_name")))
            return fail(c, one, "each must be a map with a text config_name");
        c->configs[c->count++] = one;
    }
    keep_last_of_each(c);
    return QK_OK;
}

/* ---- choosing ---- */

static qk_status unknown_config(const card *c, const char *name)
{
    qk_buf list = {0};
    for (size_t i = 0; i < c->count && list.size < 500; i++)
        qk_buf_addf(&list, "%s%s", i ? ", " : "", name_of(c->configs[i]));
    qk_status s = name ? qk_fail(c->err, QK_ERR_CONFIG, "set dataset.name to one of them",
                                 "%s: there is no configuration '%s'; there are %s", c->all->root,
                                 name, qk_buf_str(&list))
                       : qk_fail(c->err, QK_ERR_CONFIG, "set dataset.name to one of them",
                                 "%s: the dataset has several configurations: %s", c->all->root,
                                 qk_buf_str(&list));
    qk_buf_free(&list);
    return s;
}

static const qk_yaml *find_config(const card *c, const char *name)
{
    for (size_t i = 0; i < c->count; i++)
        if (!strcmp(name_of(c->configs[i]), name)) return c->configs[i];
    return NULL;
}

/* Whose features dataset_info has; "default" where it does not say. NULL: no text. */
static const char *info_name(const qk_yaml *info)
{
    const qk_yaml *name = qk_yaml_get(info, "config_name");
    if (!name) return "default";
    return is_text(name) ? name->text : NULL;
}

/* The configuration that dataset_info alone is about, or NULL. */
static const qk_yaml *find_described(const card *c)
{
    const qk_yaml *info = c->info;
    if (info && info->type == QK_YAML_LIST) info = info->first;
    if (!info || info->type != QK_YAML_MAP || !info_name(info)) return NULL;
    for (const qk_yaml *other = c->info->type == QK_YAML_LIST ? info->next : NULL; other;
         other = other->next)
        if (!info_name(other) || strcmp(info_name(other), info_name(info)) != 0) return NULL;
    return find_config(c, info_name(info));
}

/* The one that is alone, called default, or says that it is: there is at most one of these. Else
 * that of dataset_info. */
static qk_status choose(const card *c, const char *name, const qk_yaml **out)
{
    const qk_yaml *by_default = NULL;
    for (size_t i = 0; i < c->count; i++) {
        const qk_yaml *one = c->configs[i];
        if (c->count > 1 && strcmp(name_of(one), "default") != 0 &&
            !qk_yaml_is_true(qk_yaml_get(one, "default")))
            continue;
        if (by_default) return fail(c, one, "a second one is the default");
        by_default = one;
    }
    *out = name ? find_config(c, name) : by_default;
    if (!name && !*out) *out = find_described(c);
    return *out ? QK_OK : unknown_config(c, name);
}

/* ---- files ---- */

/* A search for the files of a configuration. */
typedef struct search {
    const char *data_dir; /* before each, or NULL */
    bool lenient;         /* a file that is named need not be there */
    size_t found;         /* files, so far */
    uint64_t matching;    /* so far, see MAX_MATCHING */
} search;

/* The files that a pattern matches. One that is named but absent is an error, an empty pattern not.
 */
static qk_status add_pattern(const card *c, search *in, qk_data_split *split, const qk_yaml *given)
{
    char *pattern;
    QK_TRY(
        qk_card_path(&pattern, in->data_dir, given->text, "data_files", c->path, c->all, c->err));
    bool is_name = !qk_glob_has_wildcard(pattern);
    qk_status s = QK_OK;
    if (!qk_glob_is_valid(pattern)) {
        s = fail(c, given, "** can only be a whole part of a path");
    } else {
        size_t found = qk_data_split_match(split, pattern, c->all);
        if (is_name && !in->lenient && !found)
            s = qk_fail(c->err, QK_ERR_NOTFOUND, NULL, "%s: there is no file %s, which %s names",
                        c->all->root, pattern, c->path);
        else if (is_name && !in->lenient && !qk_format_knows(pattern))
            s = qk_fail(c->err, QK_ERR_UNSUPPORTED, QK_FORMAT_HINT,
                        "%s: %s is no data file by its name, yet %s names it", c->all->root,
                        pattern, c->path);
        in->found += found;
    }
    free(pattern);
    return s;
}

/* A text or a list of texts. */
static qk_status add_patterns(const card *c, search *in, qk_data_split *split, const qk_yaml *value)
{
    const qk_yaml *one = value->type == QK_YAML_LIST ? value->first : value;
    for (; one; one = value->type == QK_YAML_LIST ? one->next : NULL) {
        if (!is_text(one)) return fail(c, one, "a path of data_files must be a text");
        /* Patterns that are given a hundred times over cost nothing to write. */
        bool wild = qk_glob_has_wildcard(one->text);
        in->matching += (one->length + 1) * (uint64_t)(wild ? c->all->files.count : 1);
        if (in->matching > MAX_MATCHING)
            return fail(c, one, "data_files have too many patterns for a folder of so many files");
        QK_TRY(add_pattern(c, in, split, one));
        if (in->found > QK_MAX_DATA_FILES)
            return fail(c, one, "data_files give too many files, each counted as often as given");
    }
    return QK_OK;
}

static qk_status add_split(const card *c, search *in, qk_data_files *out, const qk_yaml *entry)
{
    const qk_yaml *split = qk_yaml_get(entry, "split"), *path = qk_yaml_get(entry, "path");
    if (!split || !path || entry->count != 2)
        return fail(c, entry, "data_files must hold texts, or maps of split and path");
    if (!is_text(split) || !qk_split_is_name(split->text, split->length))
        return fail(c, split, "this cannot be the name of a split");
    for (size_t i = 0; i < out->count; i++)
        if (!strcmp(out->splits[i].name, split->text)) return fail(c, split, "a split given twice");
    return add_patterns(c, in, qk_data_files_add(out, split->text, split->length), path);
}

static qk_status add_data_files(const card *c, search *in, qk_data_files *out, const qk_yaml *value)
{
    out->rule = "data_files of the configuration in README.md";
    if (value->type == QK_YAML_LIST && value->first && value->first->type == QK_YAML_MAP) {
        if (value->count > MAX_SPLITS) return fail(c, value, "too many splits");
        for (const qk_yaml *entry = value->first; entry; entry = entry->next)
            QK_TRY(add_split(c, in, out, entry));
    } else if (value->type == QK_YAML_STRING || value->type == QK_YAML_LIST) {
        QK_TRY(add_patterns(c, in, qk_data_files_add(out, "train", 5), value));
    } else {
        return fail(c, value, "data_files must be a text or a list");
    }
    for (size_t i = 0; i < out->count; i++)
        if (out->splits[i].files.count) return QK_OK;
    return in->lenient ? QK_OK : fail(c, value, "no file matches data_files");
}

/* By their names, below data_dir (NULL: everywhere). */
static qk_status add_by_name(const card *c, const qk_yaml *data_dir, qk_data_files *out)
{
    if (!data_dir) return qk_data_files_by_name(out, c->all, c->err);
    if (qk_glob_has_wildcard(data_dir->text))
        return fail(c, data_dir, "a data_dir with wildcards is not supported; use data_files");
    char *dir;
    QK_TRY(qk_card_path(&dir, NULL, data_dir->text, "data_dir", c->path, c->all, c->err));
    char *root = *dir ? qk_path_join(c->all->root, dir) : qk_strdup(c->all->root);
    qk_listing inside = {.root = root};
    size_t n = strlen(dir);
    for (size_t i = 0; i < c->all->files.count; i++) {
        const char *file = c->all->files.items[i];
        if (!n) qk_names_add(&inside.files, file);
        if (n && !strncmp(file, dir, n) && file[n] == '/')
            qk_names_add(&inside.files, file + n + 1);
    }
    qk_status s = qk_data_files_by_name(out, &inside, c->err);
    qk_names_free(&inside.files);
    free(root);
    free(dir);
    return s;
}

/* What shows `datasets` the format of all configurations: data_files of the first one, or
 * everything by its name; no data_dir. What it cannot make out does not count here. */
static void find_first(const card *c, qk_data_files *out)
{
    const qk_yaml *data_files = qk_yaml_get(c->configs[0], "data_files");
    qk_error none;
    card quiet = *c;
    quiet.err = &none;
    *out = (qk_data_files){.from_card = true};
    qk_status s = data_files ? add_data_files(&quiet, &(search){.lenient = true}, out, data_files)
                             : add_by_name(&quiet, NULL, out);
    if (s != QK_OK) qk_data_files_free(out);
}

static qk_status use_config(const card *c, const qk_yaml *config, qk_data_files *out)
{
    const qk_yaml *dir = qk_yaml_get(config, "data_dir");
    const qk_yaml *data_files = qk_yaml_get(config, "data_files");
    const char *bad = strpbrk(name_of(config), "<>:/\\|?*");
    if (bad || !*name_of(config))
        return fail(c, config, "a config_name cannot be empty, or have any of <>:/\\|?* in it");
    if (!qk_yaml_is_true(dir)) dir = NULL;
    if (dir && !is_text(dir)) return fail(c, dir, "data_dir must be a text");
    if (data_files && data_files->type == QK_YAML_NULL && out->is_later_config) data_files = NULL;
    search in = {.data_dir = dir ? dir->text : NULL};
    QK_TRY(data_files ? add_data_files(c, &in, out, data_files) : add_by_name(c, dir, out));
    qk_data_files first;
    find_first(c, &first);
    qk_status s = qk_data_files_keep_one_format(out, &first, c->all->root, c->err);
    qk_data_files_free(&first);
    QK_TRY(s);
    bool tsv = qk_format_is_tsv(out->splits[0].files.items[0]);
    return qk_card_check_options(config, out->format, tsv, c->path, c->err);
}

/* ---- types ---- */

/* dataset_info of a configuration: the map, or the last one of a list, that has its name. */
static const qk_yaml *find_info(const card *c, const char *config_name)
{
    const qk_yaml *found = NULL, *one = c->info;
    bool list = one && one->type == QK_YAML_LIST;
    if (list) one = one->first;
    for (; one; one = list ? one->next : NULL)
        if (one->type == QK_YAML_MAP && info_name(one) && !strcmp(info_name(one), config_name))
            found = one;
    return found;
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
    out->said_by = "dataset_info of the card";
    return QK_OK;
}

static qk_status find_id_type(const card *c, const qk_yaml *config, const char *id_column,
                              qk_id_type *out)
{
    const char *name = config ? name_of(config) : "default";
    const qk_yaml *info = find_info(c, name), *features = qk_yaml_get(info, "features");
    *out = (qk_id_type){0};
    if (id_column && !info) return qk_card_infos_type(out, c->all->root, name, id_column, c->err);
    if (!id_column || !features) return QK_OK;
    if (features->type == QK_YAML_OTHER)
        return qk_fail(c->err, QK_ERR_FORMAT, "correct the card",
                       "%s: dataset_info, line %d of the front matter: features must be a list",
                       c->path, features->line);
    if (features->type != QK_YAML_LIST) return QK_OK;
    for (const qk_yaml *one = features->first; one; one = one->next) {
        const qk_yaml *column = qk_yaml_get(one, "name"), *type = qk_yaml_get(one, "dtype");
        if (column && column->type == QK_YAML_STRING && !strcmp(column->text, id_column) && type)
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
    if (s == QK_OK && c.count) s = choose(&c, name, &config);
    out->from_card = config != NULL;
    out->is_later_config = config && config != c.configs[0];
    if (s == QK_OK && config) s = use_config(&c, config, out);
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
    c.err = &none; /* that there is no default is for a run to say */
    if (s == QK_OK && c.count && choose(&c, NULL, &by_default) != QK_OK) by_default = NULL;
    for (size_t i = 0; i < c.count && s == QK_OK; i++) {
        qk_names_add(out, name_of(c.configs[i]));
        if (c.configs[i] == by_default) *chosen = out->items[i];
    }
    qk_arena_free(&c.arena);
    free(c.path);
    return s;
}
