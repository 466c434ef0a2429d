/* See diff_labels.h. */
#include "engine/tools/diff_labels.h"

#include <stdlib.h>

static const char *const columns[QK_LABELS] = {"sliding_window", "token_str", "layer", "head",
                                               "kind"};
enum { WINDOW = 0 };

/* Integers of both widths are one number; never 0. */
static uint64_t label_of(const qk_pq_batch *b, size_t i)
{
    int64_t number;
    switch (b->type) {
    case QK_PQ_T_INT32: number = ((const int32_t *)b->values)[i]; break;
    case QK_PQ_T_INT64: number = ((const int64_t *)b->values)[i]; break;
    case QK_PQ_T_BYTES: {
        const qk_pq_bytes *text = (const qk_pq_bytes *)b->values + i;
        return qk_hash_bytes(text->data, text->size) | 1;
    }
    default: return 0;
    }
    return qk_hash_bytes(&number, sizeof number) | 1;
}

static qk_status read_column(qk_labels *l, int column, const qk_pq_file *f, qk_error *err)
{
    int leaf = qk_pq_find(f, columns[column]);
    qk_pq_cursor *cursor;
    if (leaf < 0 || f->leaves[leaf].max_rep) return QK_OK;
    QK_TRY(qk_pq_cursor_open(&cursor, f, (size_t)leaf, err));
    qk_status s = QK_OK;
    for (size_t done = 0; s == QK_OK && done < l->n;) {
        qk_pq_batch b;
        s = qk_pq_next(cursor, l->n - done, &b, err);
        if (s != QK_OK || !b.n) break;
        for (size_t i = 0; i < b.n; i++, done++)
            l->of[column][done] = b.valid[i] ? label_of(&b, i) : column == WINDOW;
    }
    qk_pq_cursor_close(cursor);
    return s;
}

qk_status qk_labels_read(qk_labels *out, const char *path, size_t n, qk_error *err)
{
    qk_pq_file *f;
    *out = (qk_labels){.n = n};
    QK_TRY(qk_pq_open(&f, path, err));
    qk_status s = QK_OK;
    for (int c = 0; c < QK_LABELS; c++) out->of[c] = qk_zalloc(n, sizeof *out->of[c]);
    for (int c = 0; s == QK_OK && c < QK_LABELS; c++) s = read_column(out, c, f, err);
    qk_pq_close(f);
    return s;
}

bool qk_labels_differ(const qk_labels *a, size_t row_a, const qk_labels *b, size_t row_b)
{
    for (int c = 0; c < QK_LABELS; c++) {
        uint64_t x = a->of[c][row_a], y = b->of[c][row_b];
        if (x && y && x != y) return true;
    }
    return false;
}

void qk_labels_free(qk_labels *l)
{
    for (int c = 0; c < QK_LABELS; c++) free(l->of[c]);
    *l = (qk_labels){0};
}
