/* See format.h. */
#include "engine/dataset/format.h"

#include <stdlib.h>
#include <string.h>

enum { COUNTED_FILES = 200, N_READ = 4 }; /* the first four kinds are qk_format */

static const char *const kind_names[] = {"Parquet", "JSON", "text", "CSV", "Arrow", "zip", "XML"};

static const struct extension {
    const char *name;
    int kind; /* of kind_names */
    int rank; /* in a tie */
} extensions[] = {
    {"parquet", QK_FORMAT_PARQUET, 4},
    {"geoparquet", QK_FORMAT_PARQUET, 0},
    {"gpq", QK_FORMAT_PARQUET, 0},
    {"jsonl", QK_FORMAT_JSON, 3},
    {"json", QK_FORMAT_JSON, 2},
    {"ndjson", QK_FORMAT_JSON, 0},
    {"txt", QK_FORMAT_TEXT, 0},
    {"csv", QK_FORMAT_CSV, 1},
    {"tsv", QK_FORMAT_CSV, 0},
    {"arrow", 4, 0},
    {"zip", 5, 0},
    {"xml", 6, 0},
};
enum { N_EXTENSIONS = sizeof extensions / sizeof *extensions };

/* The next dotted part of a file name behind *at; NULL at the end. Sets its length. */
static const char *next_part(const char *at, size_t *length)
{
    const char *dot = strchr(at, '.');
    if (!dot) return NULL;
    *length = strcspn(dot + 1, ".");
    return dot + 1;
}

static int extension_of(const char *part, size_t length)
{
    for (int i = 0; i < N_EXTENSIONS; i++)
        if (strlen(extensions[i].name) == length && !memcmp(extensions[i].name, part, length))
            return i;
    return -1;
}

static bool beats(int a, int b, const size_t *counts)
{
    if (counts[a] != counts[b]) return counts[a] > counts[b];
    if (extensions[a].rank != extensions[b].rank) return extensions[a].rank > extensions[b].rank;
    return strcmp(extensions[a].name, extensions[b].name) > 0;
}

/* The kind of a split's files, or -1. */
static int infer(const qk_names *files)
{
    size_t counts[N_EXTENSIONS] = {0}, length;
    for (size_t i = 0; i < files->count && i < COUNTED_FILES; i++)
        for (const char *p = qk_path_name(files->items[i]); (p = next_part(p, &length));) {
            int e = extension_of(p, length);
            if (e >= 0) counts[e]++;
        }
    int best = 0;
    for (int i = 1; i < N_EXTENSIONS; i++)
        if (beats(i, best, counts)) best = i;
    return counts[best] ? extensions[best].kind : -1;
}

/* Whether a part of the name is an extension of this kind; of any when kind is -1. */
static bool has_kind(const char *path, int kind)
{
    size_t length;
    for (const char *p = qk_path_name(path); (p = next_part(p, &length));) {
        int e = extension_of(p, length);
        if (e >= 0 && (kind < 0 || extensions[e].kind == kind)) return true;
    }
    return false;
}

bool qk_format_knows(const char *path)
{
    return has_kind(path, -1);
}

static qk_status drop_others(const qk_data_files *all, qk_names *files, int kind, qk_error *err)
{
    size_t kept = 0, n = files->count;
    qk_status s = QK_OK;
    for (size_t i = 0; i < n; i++) {
        char *file = files->items[i];
        bool wanted = has_kind(file, kind);
        if (!wanted && all->from_card && has_kind(file, -1) && s == QK_OK)
            s = qk_fail(err, QK_ERR_FORMAT, "let its patterns match files of one format",
                        "%s: a configuration in README.md takes this file, but it is not %s like "
                        "its others",
                        file, kind_names[kind]);
        if (wanted)
            files->items[kept++] = file;
        else
            free(file);
    }
    files->count = kept;
    return s;
}

qk_status qk_data_files_keep_one_format(qk_data_files *files, const char *path, qk_error *err)
{
    int kind = -1;
    const char *empty = NULL;
    for (size_t i = 0; i < files->count; i++) {
        int k = infer(&files->splits[i].files);
        if (k < 0) empty = files->splits[i].name;
        if (k >= 0 && kind >= 0 && k != kind)
            return qk_fail(err, QK_ERR_FORMAT, "give all splits one format",
                           "%s: one split is %s, another %s", path, kind_names[kind],
                           kind_names[k]);
        if (k >= 0) kind = k;
    }
    if (kind < 0)
        return qk_fail(err, QK_ERR_NOTFOUND, QK_FORMAT_HINT,
                       "%s: no data files (.parquet, .jsonl, .json, .csv, .tsv or .txt)", path);
    if (kind >= N_READ)
        return qk_fail(err, QK_ERR_UNSUPPORTED, QK_FORMAT_HINT, "%s: %s files are not supported",
                       path, kind_names[kind]);
    if (empty && !files->is_later_config)
        return qk_fail(err, QK_ERR_NOTFOUND, "correct its names, or the configs in README.md",
                       "%s: split '%s' has no data files, while others have %s files", path, empty,
                       kind_names[kind]);
    files->format = (qk_format)kind;
    size_t kept = 0;
    qk_status s = QK_OK;
    for (size_t i = 0; i < files->count; i++) {
        qk_data_split split = files->splits[i];
        qk_status dropped = drop_others(files, &split.files, kind, err);
        if (s == QK_OK) s = dropped;
        if (split.files.count)
            files->splits[kept++] = split;
        else
            qk_data_split_free(&split);
    }
    files->count = kept;
    return s;
}

const char *qk_format_name(qk_format format)
{
    return kind_names[format];
}
