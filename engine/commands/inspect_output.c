/* inspect: Parquet files, and the folders that a run writes. See inspect.h. */
#include "engine/commands/inspect.h"
#include "engine/output/layout.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/base/text.h"
#include "engine/output/manifest.h"
#include "engine/tools/diff.h"
#include "formats/codec.h"
#include "formats/parquet_read.h"

/* ---- Parquet file ---- */

typedef struct column_totals {
    int64_t compressed, uncompressed, nulls;
    uint32_t encodings;
    int codec;
} column_totals;

static column_totals total(const qk_pq_file *f, size_t leaf)
{
    column_totals t = {0};
    for (size_t g = 0; g < f->n_groups; g++) {
        const qk_pq_chunk *c = &f->groups[g].chunks[leaf];
        t.compressed += c->compressed;
        t.uncompressed += c->uncompressed;
        if (c->statistics.nulls > 0) t.nulls += c->statistics.nulls;
        t.encodings |= c->encodings;
        t.codec = c->codec;
    }
    return t;
}

static void parquet_json(const qk_pq_file *f)
{
    qk_json_out o = {0};
    qk_json_begin(&o, NULL, '{');
    qk_json_add_int(&o, "rows", f->rows);
    qk_json_add_int(&o, "row_groups", (int64_t)f->n_groups);
    qk_json_add_str(&o, "created_by", f->created_by);
    qk_json_begin(&o, "columns", '[');
    for (size_t i = 0; i < f->n_leaves; i++) {
        column_totals t = total(f, i);
        qk_json_begin(&o, NULL, '{');
        qk_json_add_str(&o, "path", f->leaves[i].path);
        qk_json_add_str(&o, "type", qk_pq_type_name(f->leaves[i].type));
        qk_json_add_str(&o, "codec", qk_codec_name(t.codec));
        qk_json_begin(&o, "encodings", '[');
        for (int e = 0; e < 32; e++)
            if (t.encodings >> e & 1 && qk_pq_encoding_name(e))
                qk_json_add_str(&o, NULL, qk_pq_encoding_name(e));
        qk_json_end(&o, ']');
        qk_json_add_int(&o, "nulls", t.nulls);
        qk_json_add_int(&o, "compressed", t.compressed);
        qk_json_add_int(&o, "uncompressed", t.uncompressed);
        qk_json_end(&o, '}');
    }
    qk_json_end(&o, ']');
    qk_json_end(&o, '}');
    qk_print_json(&o);
}

static void parquet_table(const qk_pq_file *f)
{
    printf("%" PRId64 " rows in %zu row groups, written by %s\n\n", f->rows, f->n_groups,
           f->created_by ? qk_visible(f->created_by) : "an unknown program");
    printf("%-28s %-12s %-8s %12s %12s %8s  %s\n", "column", "type", "codec", "bytes", "unpacked",
           "nulls", "encodings");
    for (size_t i = 0; i < f->n_leaves; i++) {
        column_totals t = total(f, i);
        printf("%-28s %-12s %-8s %12" PRId64 " %12" PRId64 " %8" PRId64 " ",
               qk_visible(f->leaves[i].path), qk_pq_type_name(f->leaves[i].type),
               qk_codec_name(t.codec) ? qk_codec_name(t.codec) : "?", t.compressed, t.uncompressed,
               t.nulls);
        for (int e = 0; e < 32; e++)
            if (t.encodings >> e & 1 && qk_pq_encoding_name(e))
                printf(" %s", qk_pq_encoding_name(e));
        putchar('\n');
    }
}

qk_status qk_inspect_parquet(const char *path, bool json, qk_error *err)
{
    qk_pq_file *f;
    QK_TRY(qk_pq_open(&f, path, err));
    if (json)
        parquet_json(f);
    else
        parquet_table(f);
    qk_pq_close(f);
    return QK_OK;
}

/* ---- output of a run ---- */

/* {"name": rows} or a table of files. */
static qk_status list_files(const char *folder, const qk_names *names, qk_json_out *o,
                            qk_error *err)
{
    uint64_t rows = 0, bytes = 0;
    if (!o) printf("%-32s %12s %12s\n", "file", "rows", "bytes");
    for (size_t i = 0; i < names->count; i++) {
        char *path = qk_strf("%s/%s/data.parquet", folder, names->items[i]);
        qk_pq_file *f = NULL;
        uint64_t size = 0;
        qk_status s = qk_file_size(path, &size, err);
        if (s == QK_OK) s = qk_pq_open(&f, path, err);
        free(path);
        if (s != QK_OK) return s;
        if (o)
            qk_json_add_int(o, names->items[i], f->rows);
        else
            printf("%-32s %12" PRId64 " %12" PRIu64 "\n", qk_visible(names->items[i]), f->rows,
                   size);
        rows += (uint64_t)f->rows;
        bytes += size;
        qk_pq_close(f);
    }
    if (!o)
        printf("%zu files, %" PRIu64 " rows, %s\n", names->count, rows,
               qk_human_bytes((double)bytes));
    return QK_OK;
}

static void print_manifest(const qk_json *manifest)
{
    const qk_json *examples = qk_json_get(manifest, "examples"),
                  *tokens = qk_json_get(manifest, "tokens"), *d = qk_json_get(manifest, "head_dim"),
                  *runs = qk_json_get(manifest, "runs");
    if (!examples || !tokens || !d || !runs) return;
    printf("%" PRId64 " examples, %" PRId64 " tokens, vectors of %" PRId64
           " numbers, from %zu run%s\n\n",
           examples->integer, tokens->integer, d->integer, runs->count,
           runs->count == 1 ? "" : "s");
}

qk_status qk_inspect_output(const char *folder, bool json, qk_error *err)
{
    qk_names names;
    QK_TRY(qk_find_data_files(folder, &names, err));
    qk_arena arena = {0};
    const qk_json *manifest = NULL;
    qk_status s = qk_manifest_read(folder, &arena, &manifest, err);
    if (s == QK_OK && json) {
        qk_json_out o = {0};
        qk_json_begin(&o, NULL, '{');
        qk_json_begin(&o, "files", '{');
        s = list_files(folder, &names, &o, err);
        qk_json_end(&o, '}');
        if (manifest) qk_json_add_tree(&o, "manifest", manifest);
        qk_json_end(&o, '}');
        if (s == QK_OK)
            qk_print_json(&o);
        else
            qk_buf_free(&o.buf);
    } else if (s == QK_OK) {
        if (manifest) print_manifest(manifest);
        s = list_files(folder, &names, NULL, err);
    }
    qk_arena_free(&arena);
    qk_names_free(&names);
    return s;
}
