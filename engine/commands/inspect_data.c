/* inspect: a dataset folder or file as a run would read it. See inspect.h.
 *
 *   en: found by data_files of the configuration in README.md; JSON
 *     train   en/a.jsonl      1.2 MB
 *   column  type
 *   row  id  example_id  text */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/base/text.h"
#include "engine/commands/inspect.h"
#include "engine/dataset/card.h"
#include "engine/dataset/columns.h"
#include "engine/dataset/dataset.h"
#include "engine/dataset/format.h"
#include "engine/dataset/split.h"
#include "sampler/example_id.h"

enum { SHOWN_BYTES = 100, SHOWN_FILES = 20, MAX_HELD = 1 << 20 };

typedef struct inspection {
    const char *path, *split; /* split: NULL: the first one */
    const char *text_column, *id_column;
    int64_t rows;
    size_t configs, lacking; /* of the card; those of them that have no `split` */
    const char *chosen;      /* of the card: what a run takes; NULL: it must name one */
    bool full;               /* texts are not cut */
    qk_json_out *json;       /* NULL: tables */
    qk_error *err;
} inspection;

/* The path inside the dataset, borrowed. */
static const char *inside(const inspection *in, const char *file)
{
    size_t n = strlen(in->path);
    if (strncmp(file, in->path, n) != 0 || !file[n]) return file;
    return file + n + (file[n] == '/');
}

/* ---- files ---- */

static qk_status show_file(const inspection *in, const qk_data_files *files, const char *split,
                           const char *path)
{
    int64_t rows = -1;
    uint64_t bytes;
    QK_TRY(qk_file_size(path, &bytes, in->err));
    if (files->format == QK_FORMAT_PARQUET) QK_TRY(qk_columns_parquet_rows(path, &rows, in->err));
    if (in->json) {
        qk_json_begin(in->json, NULL, '{');
        qk_json_add_str(in->json, "file", inside(in, path));
        qk_json_add_int(in->json, "bytes", (int64_t)bytes);
        if (rows >= 0) qk_json_add_int(in->json, "rows", rows);
        qk_json_end(in->json, '}');
        return QK_OK;
    }
    printf("  %-12s %-44s %10s", qk_visible(split), qk_visible(inside(in, path)),
           qk_human_bytes((double)bytes));
    if (rows >= 0) printf(" %12" PRId64 " rows", rows);
    putchar('\n');
    return QK_OK;
}

static qk_status show_files(const inspection *in, const qk_data_files *files)
{
    if (in->json) qk_json_begin(in->json, "splits", '{');
    for (size_t s = 0; s < files->count; s++) {
        const qk_data_split *split = &files->splits[s];
        if (in->json) qk_json_begin(in->json, split->name, '[');
        size_t n = split->files.count, shown = in->json || n <= SHOWN_FILES ? n : SHOWN_FILES;
        for (size_t i = 0; i < shown; i++)
            QK_TRY(show_file(in, files, split->name, split->files.items[i]));
        if (shown < n)
            printf("  %-12s ... and %zu more files\n", qk_visible(split->name), n - shown);
        if (in->json) qk_json_end(in->json, ']');
    }
    if (in->json) qk_json_end(in->json, '}');
    return QK_OK;
}

/* ---- columns ---- */

static void show_columns(const inspection *in, const qk_columns *columns)
{
    if (in->json) qk_json_begin(in->json, "columns", '{');
    if (!in->json) printf("\n  %-28s type\n", "column");
    for (size_t i = 0; i < columns->count; i++) {
        const qk_column *c = &columns->items[i];
        if (in->json)
            qk_json_add_str(in->json, c->name, c->type);
        else
            printf("  %-28s %s\n", qk_visible(c->name), qk_visible(c->type));
    }
    if (in->json) qk_json_end(in->json, '}');
    if (!in->json && columns->count == QK_MAX_COLUMNS) printf("  ... more are not listed\n");
}

/* ---- rows ---- */

/* Bytes of a text to show: whole characters. */
static size_t cut(const inspection *in, const qk_example *e)
{
    size_t n = SHOWN_BYTES;
    if (in->full || e->length <= n) return e->length;
    while (n > 0 && ((unsigned char)e->text[n] & 0xC0) == 0x80) n--;
    return n;
}

static void show_row(const inspection *in, const qk_example *e)
{
    size_t n = cut(in, e);
    if (!in->json) { /* one line: control characters are spaces */
        char *line = qk_strf("%.*s", (int)n, e->text);
        for (char *c = line; *c; c++)
            if ((unsigned char)*c < ' ') *c = ' ';
        printf("  %4" PRId64 "  %-20.60s %11d  %s%s\n", e->index,
               e->id_text ? qk_visible(e->id_text) : "-", qk_example_id_stored(e->id),
               qk_visible(line), n == e->length ? "" : " ...");
        free(line);
        return;
    }
    qk_json_begin(in->json, NULL, '{');
    qk_json_add_strn(in->json, "text", e->text, n);
    if (e->id_text) qk_json_add_strn(in->json, "id", e->id_text, e->id_length);
    qk_json_add_int(in->json, "example_id", e->id);
    qk_json_end(in->json, '}');
    if (in->json->buf.size < MAX_HELD) return;
    /* Rows may be more than fits in memory. */
    fwrite(in->json->buf.data, 1, in->json->buf.size, stdout);
    qk_buf_clear(&in->json->buf);
}

static qk_status show_rows(const inspection *in, const char *name, const qk_data_files *files,
                           const qk_columns *columns)
{
    qk_config config = {0};
    config.dataset.path = in->path;
    config.dataset.name = name;
    config.dataset.split = in->split ? in->split : files->splits[0].name;
    config.dataset.text_column = in->text_column ? in->text_column : "text";
    config.dataset.id_column = in->id_column;
    if (!in->id_column && qk_columns_have(columns, "id")) config.dataset.id_column = "id";
    config.dataset.max_samples = in->rows;
    if (!in->text_column && !qk_columns_have(columns, "text") && !in->json) {
        printf("\n  no column 'text': --text-column shows rows of another one\n");
        return QK_OK;
    }
    if (in->json)
        qk_json_begin(in->json, "rows", '[');
    else
        printf("\n  %4s  %-20s %11s  %s, from %s\n", "row", "id", "example_id",
               qk_visible(config.dataset.text_column), qk_visible(config.dataset.split));
    qk_dataset *d = NULL;
    qk_status s = qk_dataset_open(&d, &config, in->err);
    for (bool more = s == QK_OK; more && s == QK_OK;) {
        qk_example e;
        s = qk_dataset_next(d, &e, &more, in->err);
        if (s == QK_OK && more) show_row(in, &e);
    }
    qk_dataset_close(d);
    if (in->json) qk_json_end(in->json, ']');
    return s;
}

/* ---- configurations ---- */

/* The first of the splits asked for that a configuration does not have, or NULL; owned. */
static qk_status find_lacking(const inspection *in, const qk_data_files *files, char **lacking)
{
    qk_split_parts parts;
    qk_error err;
    *lacking = NULL;
    if (!in->split) return QK_OK;
    QK_TRY(qk_split_parse(&parts, in->split, in->err));
    for (size_t i = 0; i < parts.count && !*lacking; i++) {
        const qk_data_split *found;
        const char *name = parts.items[i].name;
        if (strcmp(name, "all") != 0 &&
            qk_data_files_get(files, in->path, name, &found, &err) != QK_OK)
            *lacking = qk_strdup(name);
    }
    qk_split_parts_free(&parts);
    return QK_OK;
}

static qk_status show_config(inspection *in, const char *name, const qk_data_files *files)
{
    const char *format = qk_format_name(files->format);
    char *lacking;
    QK_TRY(find_lacking(in, files, &lacking));
    if (in->json) {
        qk_json_begin(in->json, name ? name : "default", '{');
        qk_json_add_str(in->json, "rule", files->rule);
        qk_json_add_str(in->json, "format", format);
    } else {
        bool chosen = in->configs > 1 && in->chosen && !strcmp(name, in->chosen);
        printf("%s: %s; found by: %s%s\n", name ? qk_visible(name) : "default", format,
               qk_visible(files->rule), chosen ? "; a run takes this one" : "");
    }
    qk_columns columns = {0};
    qk_status s = show_files(in, files);
    if (s == QK_OK)
        s = qk_columns_find(&columns, files->format, files->splits[0].files.items[0], in->err);
    if (s == QK_OK) show_columns(in, &columns);
    /* Without rows, too, columns and a split that were named are looked for. */
    bool rows = in->rows || in->split || in->text_column || in->id_column;
    bool lacks = s == QK_OK && lacking && in->configs > 1;
    in->lacking += lacks;
    if (lacks && in->json)
        qk_json_add_str(in->json, "no_split", lacking);
    else if (lacks)
        printf("\n  no split '%s' in this configuration\n", lacking);
    else if (s == QK_OK && rows)
        s = show_rows(in, name, files, &columns);
    free(lacking);
    qk_columns_free(&columns);
    if (in->json) qk_json_end(in->json, '}');
    return s;
}

static qk_status find_and_show(inspection *in, const char *name)
{
    qk_data_files files;
    qk_status s = qk_data_files_find(&files, in->path, name, in->id_column, in->err);
    if (s == QK_OK) {
        s = show_config(in, name, &files);
        qk_data_files_free(&files);
    }
    return s == QK_OK || !name ? s : qk_error_prefix(in->err, "configuration '%s'", name);
}

static qk_status show_all(inspection *in, const char *only)
{
    qk_names configs = {0};
    bool folder;
    QK_TRY(qk_has_folder(in->path, &folder, in->err));
    if (!only && folder) QK_TRY(qk_card_configs(&configs, &in->chosen, in->path, in->err));
    in->configs = configs.count;
    qk_status s = configs.count ? QK_OK : find_and_show(in, only);
    for (size_t i = 0; i < configs.count && s == QK_OK; i++) {
        if (i && !in->json) putchar('\n');
        s = find_and_show(in, configs.items[i]);
    }
    if (s == QK_OK && configs.count && in->lacking == configs.count)
        s = qk_fail(in->err, QK_ERR_CONFIG, NULL, "%s: no configuration has the split '%s'",
                    in->path, in->split);
    if (s == QK_OK && configs.count > 1 && !in->chosen && !in->json)
        printf("\nnone of them is the default: a run needs dataset.name\n");
    if (s == QK_OK && in->json) {
        qk_json_end(in->json, '}');
        /* What a run takes; "default" where the card names none. */
        qk_json_add_str(in->json, "default", in->configs ? in->chosen : "default");
    }
    qk_names_free(&configs);
    return s;
}

qk_status qk_inspect_data(const char *path, const qk_args *args, qk_error *err)
{
    qk_json_out out = {0};
    inspection in = {.path = path,
                     .split = qk_value(args, "split"),
                     .text_column = qk_value(args, "text-column"),
                     .id_column = qk_value(args, "id-column"),
                     .rows = qk_value_int(args, "rows"),
                     .full = qk_has(args, "full"),
                     .json = qk_has(args, "json") ? &out : NULL,
                     .err = err};
    if (in.json) qk_json_begin(&out, NULL, '{');
    if (in.json) qk_json_begin(&out, "configs", '{');
    qk_status s = show_all(&in, qk_value(args, "config"));
    if (in.json && s == QK_OK) {
        qk_json_end(&out, '}');
        qk_print_json(&out);
    } else {
        qk_buf_free(&out.buf);
    }
    return s;
}
