/* See merge_file.h. */
#include "engine/output/merge_file.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/interrupt.h"
#include "sampler/example_id.h"

/* Remembers the full id of a row when others share its stored id. */
static void note_shared(qk_merge_file *f, const qk_merge_context *c, uint64_t row, int64_t id)
{
    int64_t any;
    if (c->all_ids && qk_id_index_find(c->all_ids, qk_example_id_stored(id), &any) > 1)
        qk_id_runs_add(&f->shared, row, id);
}

static void remember_old_rows(qk_merge_file *f, const qk_merge_context *c, const qk_id_runs *known,
                              const qk_file_rows *rows)
{
    for (size_t i = 0; i < rows->n; i++) {
        int64_t id;
        uint64_t row = f->rows + i;
        if (f->keep_all_stored)
            qk_pair_set_add(&f->all_stored, rows->example_id[i], rows->position[i]);
        if (qk_id_runs_find(known, row, &id) ||
            qk_id_index_find(c->old_ids, rows->example_id[i], &id) == 1) {
            qk_pair_set_add(&f->seen, id, rows->position[i]);
            note_shared(f, c, row, id);
        } else {
            qk_pair_set_add(&f->seen_stored, rows->example_id[i], rows->position[i]);
        }
    }
}

static qk_status copy_old(qk_merge_file *f, const qk_merge_context *c, qk_head_file_reader *old,
                          const char *path, qk_error *err)
{
    qk_id_runs known;
    QK_TRY(qk_id_runs_read(&known, qk_head_file_shared_ids(old), path, err));
    qk_status s;
    for (;;) {
        qk_file_rows rows;
        s = qk_head_file_next(old, &rows, err);
        if (s != QK_OK || !rows.n) break;
        remember_old_rows(f, c, &known, &rows);
        s = qk_head_file_append(f->writer, &rows, err);
        if (s != QK_OK) break;
        f->rows += rows.n;
    }
    qk_id_runs_free(&known);
    return s;
}

qk_status qk_merge_file_open(qk_merge_file *f, const qk_merge_context *c, const char *old_path,
                             qk_error *err)
{
    qk_head_file_format format = c->format;
    qk_head_file_reader *old = NULL;
    if (old_path) {
        QK_TRY(qk_head_file_open(&old, old_path, format.d, err));
        /* A column that is there stays, even if this run does not ask for it. */
        format.token_strings |= qk_head_file_has_token_strings(old);
    }
    qk_status s = qk_head_file_create(&f->writer, f->path, &format, err);
    if (s == QK_OK && old) s = copy_old(f, c, old, old_path, err);
    qk_head_file_close(old);
    return s;
}

/* Columns of up to n rows in f->columns and f->strings. */
typedef struct columns {
    int32_t *bucket, *example_id, *position, *window;
    qk_pq_text *token_str;
} columns;

static columns make_columns(qk_merge_file *f, size_t n)
{
    qk_buf_clear(&f->columns);
    qk_buf_reserve(&f->columns, 4 * n * sizeof(int32_t));
    qk_buf_clear(&f->strings);
    qk_buf_reserve(&f->strings, n * sizeof(qk_pq_text));
    int32_t *ints = (int32_t *)f->columns.data;
    return (columns){.bucket = ints,
                     .example_id = ints + n,
                     .position = ints + 2 * n,
                     .window = ints + 3 * n,
                     .token_str = (qk_pq_text *)(void *)f->strings.data};
}

static qk_status append(qk_merge_file *f, const columns *c, const float *vectors, size_t n,
                        qk_error *err)
{
    const qk_file_rows rows = {.n = n,
                               .bucket = c->bucket,
                               .example_id = c->example_id,
                               .position = c->position,
                               .vectors = vectors,
                               .window = c->window,
                               .token_str = c->token_str};
    f->rows += n;
    f->added += n;
    return n ? qk_head_file_append(f->writer, &rows, err) : QK_OK;
}

/* Whether a new row is kept; with keep_pairs_once only the first of its kind is. */
static bool is_new(qk_merge_file *f, const qk_merge_context *c, int64_t id, int32_t position)
{
    if (!c->keep_pairs_once) return true;
    return !qk_pair_set_has(&f->seen_stored, qk_example_id_stored(id), position) &&
           qk_pair_set_add(&f->seen, id, position);
}

qk_status qk_merge_file_add(qk_merge_file *f, const qk_merge_context *c, const qk_unit *unit,
                            const qk_unit_block *block, int32_t h, const qk_unit_rows *rows,
                            qk_error *err)
{
    const float *stored;
    QK_TRY(qk_interrupt_check(err));
    QK_TRY(qk_unit_read_vectors(unit, block, h, &f->vectors, &stored, err));
    float *vectors = (float *)f->vectors.data; /* kept rows move to the front in place */
    size_t kept = 0, d = (size_t)unit->d;
    columns out = make_columns(f, rows->rows);
    for (size_t i = 0; i < rows->rows; i++) {
        int64_t id = unit->examples[rows->examples[i]].id;
        if (!is_new(f, c, id, rows->positions[i])) continue;
        note_shared(f, c, f->rows + kept, id);
        out.bucket[kept] = rows->buckets[i];
        out.example_id[kept] = qk_example_id_stored(id);
        out.position[kept] = rows->positions[i];
        out.window[kept] = c->window[f->layer];
        out.token_str[kept] = (qk_pq_text){0};
        if (c->token_strings)
            out.token_str[kept].data =
                qk_tokenizer_piece_text(c->tokenizer, rows->tokens[i], &out.token_str[kept].size);
        if (kept != i) memcpy(vectors + kept * d, vectors + i * d, d * sizeof(float));
        kept++;
    }
    return append(f, &out, vectors, kept, err);
}

/* Whether this file lacks a row of another one. A row whose full id nobody knows is compared by
 * what files store. */
static bool lacks(qk_merge_file *f, const int64_t *id, int32_t stored, int32_t position)
{
    if (!id)
        return !qk_pair_set_has(&f->all_stored, stored, position) &&
               qk_pair_set_add(&f->seen_stored, stored, position);
    return !qk_pair_set_has(&f->seen_stored, stored, position) &&
           qk_pair_set_add(&f->seen, *id, position);
}

/* The rows of one block that are new; `first` counts rows of the other file. */
static qk_status add_block(qk_merge_file *f, const qk_merge_context *c, const qk_id_runs *known,
                           const qk_id_index *ids, const qk_file_rows *rows, uint64_t first,
                           qk_error *err)
{
    size_t kept = 0, d = (size_t)c->format.d;
    columns out = make_columns(f, rows->n);
    qk_buf_clear(&f->vectors);
    for (size_t i = 0; i < rows->n; i++) {
        int64_t id;
        bool is_known = qk_id_runs_find(known, first + i, &id) ||
                        qk_id_index_find(ids, rows->example_id[i], &id) == 1;
        if (!lacks(f, is_known ? &id : NULL, rows->example_id[i], rows->position[i])) continue;
        if (is_known) note_shared(f, c, f->rows + kept, id);
        out.bucket[kept] = rows->bucket[i];
        out.example_id[kept] = rows->example_id[i];
        out.position[kept] = rows->position[i];
        out.window[kept] = rows->window[i];
        out.token_str[kept++] = rows->token_str ? rows->token_str[i] : (qk_pq_text){0};
        qk_buf_add(&f->vectors, rows->vectors + i * d, d * sizeof(float));
    }
    return append(f, &out, (const float *)f->vectors.data, kept, err);
}

qk_status qk_merge_file_add_file(qk_merge_file *f, const qk_merge_context *c, const char *path,
                                 const qk_id_index *ids, qk_error *err)
{
    qk_head_file_reader *other = NULL;
    qk_id_runs known = {0};
    uint64_t first = 0;
    QK_TRY(qk_head_file_open(&other, path, c->format.d, err));
    qk_status s = qk_id_runs_read(&known, qk_head_file_shared_ids(other), path, err);
    while (s == QK_OK) {
        qk_file_rows rows;
        s = qk_head_file_next(other, &rows, err);
        if (s != QK_OK || !rows.n) break;
        s = add_block(f, c, &known, ids, &rows, first, err);
        first += rows.n;
    }
    qk_id_runs_free(&known);
    qk_head_file_close(other);
    return s;
}

qk_status qk_merge_file_commit(qk_merge_file *f, qk_error *err)
{
    char *shared = qk_id_runs_write(&f->shared);
    f->nonfinite = qk_head_file_nonfinite_written(f->writer);
    qk_status s = qk_head_file_commit(f->writer, shared, &f->bytes, err);
    f->writer = NULL;
    free(shared);
    return s;
}

void qk_merge_file_free(qk_merge_file *f)
{
    qk_head_file_abort(f->writer);
    qk_pair_set_free(&f->seen);
    qk_pair_set_free(&f->seen_stored);
    qk_pair_set_free(&f->all_stored);
    qk_id_runs_free(&f->shared);
    qk_buf_free(&f->vectors);
    qk_buf_free(&f->columns);
    qk_buf_free(&f->strings);
    free(f->path);
    *f = (qk_merge_file){0};
}
