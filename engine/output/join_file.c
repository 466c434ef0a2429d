/* See join_file.h. */
#include "engine/output/join_file.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/team.h"

/* Vectors that are worth waking other threads for: 10 ms of work. */
static const uint64_t PARALLEL_BYTES = 4u << 20;

/* The one rule for a row: whether it is kept. */
static bool takes(qk_join_file *f, bool first, const int64_t *id, int32_t stored, int32_t position)
{
    if (!f->compare) return true;
    if (first) {
        if (f->compare_stored) qk_pair_set_add(&f->first_stored, stored, position);
        if (id)
            qk_pair_set_add(&f->seen, *id, position);
        else
            qk_pair_set_add(&f->seen_stored, stored, position);
        return true;
    }
    if (!id)
        return !qk_pair_set_has(&f->first_stored, stored, position) &&
               qk_pair_set_add(&f->seen_stored, stored, position);
    return !qk_pair_set_has(&f->seen_stored, stored, position) &&
           qk_pair_set_add(&f->seen, *id, position);
}

/* Copies of the n rows whose numbers are in `which`. */
static qk_file_rows pick(qk_join_file *f, const qk_file_rows *r, const size_t *which, size_t n,
                         size_t d)
{
    qk_buf_clear(&f->ints);
    qk_buf_reserve(&f->ints, n * (5 * sizeof(int32_t) + sizeof(float) + 1));
    qk_buf_clear(&f->vectors);
    qk_buf_reserve(&f->vectors, n * d * sizeof(float));
    qk_buf_clear(&f->strings);
    qk_buf_reserve(&f->strings, n * sizeof(qk_pq_text));
    int32_t *ints = (int32_t *)(void *)f->ints.data;
    float *vectors = (float *)(void *)f->vectors.data, *lse = (float *)(void *)(ints + 5 * n);
    uint8_t *has_lse = (uint8_t *)(lse + n);
    qk_pq_text *texts = (qk_pq_text *)(void *)f->strings.data;
    for (size_t k = 0; k < n; k++) {
        size_t i = which[k];
        ints[k] = r->bucket[i];
        ints[n + k] = r->example_id[i];
        ints[2 * n + k] = r->position[i];
        ints[3 * n + k] = r->window[i];
        if (r->token_id) ints[4 * n + k] = r->token_id[i];
        if (r->lse) lse[k] = r->lse[i];
        if (r->has_lse) has_lse[k] = r->has_lse[i];
        if (r->token_str) texts[k] = r->token_str[i];
        memcpy(vectors + k * d, r->vectors + i * d, d * sizeof(float));
    }
    return (qk_file_rows){.n = n,
                          .bucket = ints,
                          .example_id = ints + n,
                          .position = ints + 2 * n,
                          .window = ints + 3 * n,
                          .vectors = vectors,
                          .token_str = r->token_str ? texts : NULL,
                          .token_id = r->token_id ? ints + 4 * n : NULL,
                          .lse = r->lse ? lse : NULL,
                          .has_lse = r->has_lse ? has_lse : NULL};
}

qk_status qk_join_file_add(qk_join_file *f, bool first, const qk_id_rows *in, qk_error *err)
{
    const qk_file_rows *r = &in->rows;
    size_t kept = 0;
    qk_buf_clear(&f->kept);
    qk_buf_reserve(&f->kept, r->n * sizeof(size_t));
    size_t *which = (size_t *)(void *)f->kept.data;
    for (size_t i = 0; i < r->n; i++) {
        const int64_t *id = !in->is_known || in->is_known[i] ? &in->ids[i] : NULL;
        if (!takes(f, first, id, r->example_id[i], r->position[i])) continue;
        int64_t any;
        if (id && f->all_ids && qk_id_index_find(f->all_ids, r->example_id[i], &any) > 1)
            qk_id_runs_add(&f->shared, f->rows + kept, *id);
        if (r->position[i] > f->last_position) f->last_position = r->position[i];
        which[kept++] = i;
    }
    if (!kept) return QK_OK;
    f->rows += kept;
    f->added += first ? 0 : kept;
    if (kept == r->n) return qk_head_file_append(f->writer, r, err);
    const qk_file_rows some = pick(f, r, which, kept, (size_t)f->d);
    return qk_head_file_append(f->writer, &some, err);
}

qk_status qk_join_file_read(qk_join_file *f, bool first, qk_head_file_reader *from,
                            const char *path, const qk_id_index *ids, qk_error *err)
{
    qk_id_runs runs;
    QK_TRY(qk_id_runs_read(&runs, qk_head_file_shared_ids(from), path, err));
    qk_status s = QK_OK;
    for (uint64_t row = 0; s == QK_OK;) {
        qk_id_rows block;
        s = qk_head_file_next(from, &block.rows, err);
        if (s != QK_OK || !block.rows.n) break;
        size_t n = block.rows.n;
        qk_buf_clear(&f->columns);
        qk_buf_reserve(&f->columns, n * (sizeof(int64_t) + sizeof(bool)));
        int64_t *full = (int64_t *)(void *)f->columns.data;
        bool *is_known = (bool *)(full + n);
        for (size_t i = 0; i < n; i++) /* the file says it, or it follows from the examples */
            is_known[i] = qk_id_runs_find(&runs, row + i, &full[i]) ||
                          qk_id_index_find(ids, block.rows.example_id[i], &full[i]) == 1;
        block.ids = full;
        block.is_known = is_known;
        s = qk_join_file_add(f, first, &block, err);
        row += n;
    }
    qk_id_runs_free(&runs);
    return s;
}

qk_status qk_join_file_commit(qk_join_file *f, uint64_t *nonfinite, qk_error *err)
{
    char *shared = qk_id_runs_write(&f->shared);
    *nonfinite = qk_head_file_nonfinite_written(f->writer);
    qk_status s = qk_head_file_commit(f->writer, shared, NULL, err);
    f->writer = NULL;
    free(shared);
    return s;
}

void qk_join_file_free(qk_join_file *f)
{
    qk_head_file_abort(f->writer);
    qk_pair_set_free(&f->seen);
    qk_pair_set_free(&f->seen_stored);
    qk_pair_set_free(&f->first_stored);
    qk_id_runs_free(&f->shared);
    qk_buf_free(&f->kept);
    qk_buf_free(&f->ints);
    qk_buf_free(&f->vectors);
    qk_buf_free(&f->strings);
    qk_buf_free(&f->columns);
    qk_buf_free(&f->block);
    qk_buf_free(&f->lse);
    *f = (qk_join_file){0};
}

typedef struct joining {
    qk_join_file *files;
    qk_join_step step;
    void *context;
} joining;

static qk_status join_one(void *context, size_t i, int member, qk_error *err)
{
    const joining *j = context;
    (void)member;
    return j->step(j->context, &j->files[i], err);
}

qk_status qk_join_each(qk_join_file *files, size_t n, uint64_t bytes, qk_join_step step,
                       void *context, qk_error *err)
{
    joining j = {files, step, context};
    return qk_loop_try(bytes < PARALLEL_BYTES ? 1 : 0, n, join_one, &j, err);
}
