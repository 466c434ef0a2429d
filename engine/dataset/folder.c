/* Files of a folder -> splits, by their names. See folder.h. */
#include "engine/dataset/folder.h"

#include <stdlib.h>
#include <string.h>

#include "engine/dataset/card.h"
#include "engine/dataset/format.h"
#include "engine/dataset/glob.h"
#include "engine/dataset/split.h"

enum { MAX_DEPTH = 32 };

#define FIVE_DIGITS "[0-9][0-9][0-9][0-9][0-9]"

static const char *const words[3][6] = {
    {"train", "train", "training", NULL},
    {"validation", "validation", "valid", "dev", "val", NULL},
    {"test", "test", "testing", "eval", "evaluation", NULL},
};
/* %s is a word; a class begins and ends with what delimits words. */
#define DELIMITER "[-._ 0-9]"
static const char *const folder_patterns[] = {"**/%s/**", "**/%s" DELIMITER "*/**",
                                              "**/*" DELIMITER "%s/**",
                                              "**/*" DELIMITER "%s" DELIMITER "*/**", NULL};
static const char *const file_patterns[] = {"**/%s" DELIMITER "*",
                                            "**/*" DELIMITER "%s" DELIMITER "*", NULL};

/* ---- splits ---- */

qk_data_split *qk_data_files_add(qk_data_files *files, const char *name, size_t length)
{
    QK_GROW(files->splits, files->count, files->capacity);
    qk_data_split *split = &files->splits[files->count++];
    *split = (qk_data_split){.name = qk_strf("%.*s", (int)length, name)};
    return split;
}

void qk_data_split_free(qk_data_split *split)
{
    free(split->name);
    qk_names_free(&split->files);
}

void qk_data_files_free(qk_data_files *files)
{
    for (size_t i = 0; i < files->count; i++) qk_data_split_free(&files->splits[i]);
    free(files->splits);
    *files = (qk_data_files){0};
}

qk_status qk_data_files_get(const qk_data_files *files, const char *path, const char *name,
                            const qk_data_split **out, qk_error *err)
{
    qk_buf known = {0};
    for (size_t i = 0; i < files->count; i++) {
        *out = &files->splits[i];
        if (!strcmp((*out)->name, name)) {
            qk_buf_free(&known);
            return QK_OK;
        }
        qk_buf_addf(&known, "%s%s", i ? ", " : "", (*out)->name);
    }
    qk_status s =
        qk_fail(err, QK_ERR_CONFIG, "set dataset.split to one of them",
                "%s: there is no split '%s'; the splits are %s", path, name, qk_buf_str(&known));
    qk_buf_free(&known);
    return s;
}

/* Files that belong to a dataset but hold no rows of it. */
static bool is_ignored(const char *path, const char *pattern)
{
    static const char *const names[] = {"README.md",         "config.json",
                                        "dataset_info.json", "dataset_infos.json",
                                        "dataset_dict.json", "dummy_data.zip"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(qk_path_name(path), names[i]) && strcmp(qk_path_name(pattern), names[i]) != 0)
            return true;
    return false;
}

/* The first of the names that is not before `name`. */
static size_t first_from(const qk_names *names, const char *name)
{
    size_t low = 0, high = names->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(names->items[middle], name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool qk_listing_has_folder(const qk_listing *all, const char *folder)
{
    char *inside = qk_strf("%s/", folder);
    size_t i = first_from(&all->files, inside);
    bool has = i < all->files.count && !strncmp(all->files.items[i], inside, strlen(inside));
    free(inside);
    return has;
}

size_t qk_data_split_match(qk_data_split *split, const char *pattern, const qk_listing *all)
{
    bool one = !qk_glob_has_wildcard(pattern); /* cards that name thousands of files are common */
    size_t found = 0, i = one ? first_from(&all->files, pattern) : 0;
    for (; i < all->files.count && !(one && found); i++) {
        const char *file = all->files.items[i];
        if (one && strcmp(file, pattern) != 0) break;
        if (!one && (!qk_glob_match(pattern, file) || is_ignored(file, pattern))) continue;
        char *path = qk_path_join(all->root, file);
        qk_names_add(&split->files, path);
        free(path);
        found++;
    }
    return found;
}

/* ---- the rules ---- */

/* The length of SPLIT in data/SPLIT-NNNNN-of-NNNNN*.*, or 0. */
static size_t split_length(const char *path)
{
    if (!qk_glob_match("data/*-" FIVE_DIGITS "-of-" FIVE_DIGITS "*.*", path)) return 0;
    const char *name = path + 5;
    for (size_t n = strlen(name); n > 0; n--)
        if (qk_glob_match("-" FIVE_DIGITS "-of-" FIVE_DIGITS "*.*", name + n)) return n;
    return 0;
}

static int split_rank(const char *name)
{
    for (int i = 0; i < 3; i++)
        if (!strcmp(name, words[i][0])) return i;
    return 3;
}

static int by_rank_and_name(const void *a, const void *b)
{
    const qk_data_split *x = a, *y = b;
    int rank = split_rank(x->name) - split_rank(y->name);
    return rank ? rank : strcmp(x->name, y->name);
}

static qk_status find_shards(qk_data_files *files, const qk_listing *all, qk_error *err)
{
    for (size_t i = 0; i < all->files.count; i++) {
        const char *path = all->files.items[i];
        size_t n = split_length(path), k = 0;
        if (!n) continue;
        if (!qk_split_is_name(path + 5, n))
            return qk_fail(err, QK_ERR_FORMAT, "rename the file: letters, digits, '_' and '.'",
                           "%s/%s: '%.*s' cannot be the name of a split", all->root, path, (int)n,
                           path + 5);
        while (k < files->count &&
               (strlen(files->splits[k].name) != n || memcmp(files->splits[k].name, path + 5, n)))
            k++;
        qk_data_split *split =
            k < files->count ? &files->splits[k] : qk_data_files_add(files, path + 5, n);
        char *full = qk_path_join(all->root, path);
        qk_names_add(&split->files, full);
        free(full);
    }
    if (files->count) qsort(files->splits, files->count, sizeof *files->splits, by_rank_and_name);
    return QK_OK;
}

/* Rule 2 or 3, by its patterns. */
static void find_words(qk_data_files *files, const qk_listing *all, const char *const *patterns)
{
    for (int i = 0; i < 3; i++) {
        qk_data_split *split = qk_data_files_add(files, words[i][0], strlen(words[i][0]));
        for (const char *const *word = &words[i][1]; *word; word++)
            for (const char *const *p = patterns; *p; p++) {
                char pattern[128];
                const char *at = strstr(*p, "%s");
                snprintf(pattern, sizeof pattern, "%.*s%s%s", (int)(at - *p), *p, *word, at + 2);
                qk_data_split_match(split, pattern, all);
            }
        if (split->files.count) continue;
        free(split->name);
        files->count--;
    }
}

qk_status qk_data_files_by_name(qk_data_files *files, const qk_listing *all, qk_error *err)
{
    files->rule = "names of the form data/SPLIT-NNNNN-of-NNNNN";
    QK_TRY(find_shards(files, all, err));
    if (files->count) return QK_OK;
    files->rule = "folders named by a split word";
    find_words(files, all, folder_patterns);
    if (files->count) return QK_OK;
    files->rule = "files named by a split word";
    find_words(files, all, file_patterns);
    if (files->count) return QK_OK;
    files->rule = "no split word in any name: every file is train";
    if (!qk_data_split_match(qk_data_files_add(files, "train", 5), "**", all))
        return qk_fail(err, QK_ERR_NOTFOUND,
                       "give a folder of .parquet, .jsonl, .json, .csv, .tsv or .txt files",
                       "%s: no data files", all->root);
    return QK_OK;
}

/* ---- listing ---- */

/* Links to files are followed, those to folders are not: they may lead in circles. */
static qk_status list_below(qk_names *out, const char *root, const char *inside, int depth,
                            qk_error *err)
{
    char *folder = qk_path_join(root, inside);
    qk_names names = {0};
    qk_status s = qk_list_dir(folder, &names, err);
    for (size_t i = 0; i < names.count && s == QK_OK; i++) {
        char *path = *inside ? qk_path_join(inside, names.items[i]) : qk_strdup(names.items[i]);
        char *full = qk_path_join(root, path);
        qk_path_info info = {0};
        s = qk_path_lstat(full, &info, err);
        if (s == QK_OK && info.type == QK_PATH_FOLDER && depth < MAX_DEPTH)
            s = list_below(out, root, path, depth + 1, err);
        else if (s == QK_OK && info.type == QK_PATH_LINK)
            s = qk_path_stat(full, &info, err);
        if (s == QK_OK && info.type == QK_PATH_FILE) qk_names_add(out, path);
        if (out->count > QK_MAX_DATA_FILES)
            s = qk_fail(err, QK_ERR_UNSUPPORTED, "name the folder of the data itself",
                        "%s: more than %d files", root, QK_MAX_DATA_FILES);
        free(path);
        free(full);
    }
    qk_names_free(&names);
    free(folder);
    return s;
}

static qk_status find_in_folder(qk_data_files *out, const qk_listing *all, const char *name,
                                const char *id_column, qk_error *err)
{
    bool done = false;
    size_t state = first_from(&all->files, "state.json");
    if (state < all->files.count && !strcmp(all->files.items[state], "state.json"))
        return qk_fail(err, QK_ERR_UNSUPPORTED, "export it with Dataset.to_parquet",
                       "%s: this was written by save_to_disk; Arrow files are not read", all->root);
    QK_TRY(qk_card_find(out, all, name, id_column, &done, err));
    if (!done && name && strcmp(name, "default") != 0)
        return qk_fail(err, QK_ERR_CONFIG, "remove dataset.name",
                       "%s: there is no configuration '%s', only 'default'", all->root, name);
    if (done) return QK_OK;
    QK_TRY(qk_data_files_by_name(out, all, err));
    return qk_data_files_keep_one_format(out, NULL, all->root, err);
}

static qk_status find(qk_data_files *out, const char *path, const char *name, const char *id_column,
                      qk_error *err)
{
    qk_path_info info;
    QK_TRY(qk_path_stat(path, &info, err));
    if (info.type == QK_PATH_FOLDER) {
        qk_listing all = {.root = path};
        qk_status s = list_below(&all.files, path, "", 0, err);
        qk_names_sort(&all.files);
        if (s == QK_OK) s = find_in_folder(out, &all, name, id_column, err);
        qk_names_free(&all.files);
        return s;
    }
    if (info.type != QK_PATH_FILE)
        return qk_fail(err, QK_ERR_NOTFOUND,
                       "dataset.path is a file, a folder, or a Hub repository owner/name",
                       "%s: there is no such file or folder", path);
    if (name && strcmp(name, "default") != 0)
        return qk_fail(err, QK_ERR_CONFIG, "remove dataset.name",
                       "%s: a file has no configuration '%s'", path, name);
    out->rule = "one file is train";
    qk_names_add(&qk_data_files_add(out, "train", 5)->files, path);
    return qk_data_files_keep_one_format(out, NULL, path, err);
}

qk_status qk_data_files_find(qk_data_files *out, const char *path, const char *name,
                             const char *id_column, qk_error *err)
{
    *out = (qk_data_files){0};
    qk_status s = find(out, path, name, id_column, err);
    if (s != QK_OK) qk_data_files_free(out);
    return s;
}

qk_status qk_data_files_find_in(qk_data_files *out, const qk_names *names, const char *root,
                                const char *name, const char *id_column, qk_error *err)
{
    *out = (qk_data_files){0};
    qk_listing all = {.root = root, .files = *names};
    qk_status s = find_in_folder(out, &all, name, id_column, err);
    if (s != QK_OK) qk_data_files_free(out);
    return s;
}
