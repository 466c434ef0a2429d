/* See diff.h. */
#include "engine/tools/diff.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/output/head_file.h"
#include "engine/output/layout.h"
#include "engine/tools/diff_labels.h"

/* ---- one file in memory ---- */

typedef struct key {
    int32_t id, position;
    uint32_t row; /* where it stands in the file */
} key;

typedef struct rows {
    key *keys;                    /* sorted */
    int32_t *buckets, *token_ids; /* an id below 0: not known */
    float *vectors, *lse;
    uint8_t *has_lse;
    qk_labels labels;
    size_t n, capacity;
    int d;
} rows;

static int by_key(const void *a, const void *b)
{
    const key *x = a, *y = b;
    if (x->id != y->id) return x->id < y->id ? -1 : 1;
    if (x->position != y->position) return x->position < y->position ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static void append(rows *r, const qk_file_rows *block)
{
    size_t d = (size_t)r->d, n = r->n + block->n;
    if (n > r->capacity) {
        r->capacity = 2 * n;
        r->keys = qk_realloc(r->keys, r->capacity, sizeof *r->keys);
        r->buckets = qk_realloc(r->buckets, r->capacity, sizeof *r->buckets);
        r->token_ids = qk_realloc(r->token_ids, r->capacity, sizeof *r->token_ids);
        r->lse = qk_realloc(r->lse, r->capacity, sizeof *r->lse);
        r->has_lse = qk_realloc(r->has_lse, r->capacity, sizeof *r->has_lse);
        r->vectors = qk_realloc(r->vectors, r->capacity * d, sizeof *r->vectors);
    }
    for (size_t i = 0; i < block->n; i++) {
        size_t at = r->n + i;
        r->keys[at] = (key){block->example_id[i], block->position[i], (uint32_t)at};
        r->token_ids[at] = block->token_id ? block->token_id[i] : -1;
        r->has_lse[at] = block->has_lse && block->has_lse[i];
        r->lse[at] = r->has_lse[at] ? block->lse[i] : 0;
    }
    memcpy(r->buckets + r->n, block->bucket, block->n * sizeof *r->buckets);
    memcpy(r->vectors + r->n * d, block->vectors, block->n * d * sizeof *r->vectors);
    r->n = n;
}

static void free_rows(rows *r)
{
    free(r->keys);
    free(r->buckets);
    free(r->token_ids);
    free(r->vectors);
    free(r->lse);
    free(r->has_lse);
    qk_labels_free(&r->labels);
    *r = (rows){0};
}

static qk_status load(rows *r, const char *folder, const char *name, qk_error *err)
{
    *r = (rows){0};
    char *path = qk_strf("%s/%s/data.parquet", folder, name);
    qk_head_file_reader *reader = NULL;
    qk_status s = qk_head_file_open(&reader, path, 0, err);
    if (s == QK_OK) r->d = qk_head_file_head_dim(reader);
    while (s == QK_OK) {
        qk_file_rows block;
        s = qk_head_file_next(reader, &block, err);
        if (s != QK_OK || !block.n) break;
        append(r, &block);
    }
    qk_head_file_close(reader);
    if (s == QK_OK) s = qk_labels_read(&r->labels, path, r->n, err);
    free(path);
    if (r->n) qsort(r->keys, r->n, sizeof *r->keys, by_key);
    return s;
}

/* ---- comparing ---- */

/* Sums of squares, and the largest difference. */
typedef struct distance {
    double error, size, largest;
} distance;

/* NaN counts as larger than all, and stays. */
static void keep_largest(double *largest, double x)
{
    if (!isnan(*largest) && !(x <= *largest)) *largest = x;
}

/* n numbers of both sides. What has the same bits is the same, also where it is NaN or infinity. */
static void add_distance(distance *sum, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!memcmp(a + i, b + i, sizeof *a)) {
            if (isfinite(a[i])) sum->size += (double)a[i] * (double)a[i];
            continue;
        }
        double e = fabs((double)a[i] - (double)b[i]);
        keep_largest(&sum->largest, e);
        sum->error += e * e;
        sum->size += (double)a[i] * (double)a[i];
    }
}

static void compare(qk_file_diff *f, const rows *a, const rows *b)
{
    distance vectors = {0}, lse = {0};
    uint64_t n_lse = 0;
    size_t i = 0, k = 0, d = (size_t)a->d;
    while (i < a->n && k < b->n) {
        const key *x = &a->keys[i], *y = &b->keys[k];
        key same_row = *y;
        same_row.row = x->row;
        int order = by_key(x, &same_row);
        if (order < 0) {
            f->only_a++, i++;
        } else if (order > 0) {
            f->only_b++, k++;
        } else {
            int32_t token_a = a->token_ids[x->row], token_b = b->token_ids[y->row];
            f->buckets += a->buckets[x->row] != b->buckets[y->row];
            f->labels += qk_labels_differ(&a->labels, x->row, &b->labels, y->row);
            f->token_ids += token_a >= 0 && token_b >= 0 && token_a != token_b;
            add_distance(&vectors, a->vectors + x->row * d, b->vectors + y->row * d, d);
            if (a->has_lse[x->row] && b->has_lse[y->row])
                add_distance(&lse, a->lse + x->row, b->lse + y->row, 1), n_lse++;
            f->both++, i++, k++;
        }
    }
    f->only_a += a->n - i;
    f->only_b += b->n - k;
    f->largest = vectors.largest;
    f->rms = vectors.error == 0 ? 0 : sqrt(vectors.error / vectors.size);
    f->lse_largest = lse.largest;
    f->lse_rms = lse.error == 0 ? 0 : sqrt(lse.error / (double)n_lse);
}

static qk_status diff_file(qk_file_diff *f, const char *a, const char *b, qk_error *err)
{
    rows x = {0}, y = {0};
    qk_status s = f->in_a ? load(&x, a, f->name, err) : QK_OK;
    if (s == QK_OK && f->in_b) s = load(&y, b, f->name, err);
    if (s == QK_OK && x.n && y.n && x.d != y.d)
        s = qk_fail(err, QK_ERR_DIFFERS, NULL, "%s: vectors of %d numbers in %s, of %d in %s",
                    f->name, x.d, a, y.d, b);
    if (s == QK_OK) compare(f, &x, &y);
    free_rows(&x);
    free_rows(&y);
    return s;
}

static qk_status diff_all(qk_diff *d, const qk_names *in_a, const qk_names *in_b, const char *a,
                          const char *b, qk_error *err)
{
    d->files = qk_zalloc(in_a->count + in_b->count, sizeof *d->files);
    size_t i = 0, k = 0;
    while (i < in_a->count || k < in_b->count) {
        int order = i == in_a->count   ? 1
                    : k == in_b->count ? -1
                                       : strcmp(in_a->items[i], in_b->items[k]);
        const char *name = order <= 0 ? in_a->items[i] : in_b->items[k];
        qk_file_diff *f = &d->files[d->count++];
        *f = (qk_file_diff){.name = qk_arena_strndup(&d->arena, name, strlen(name)),
                            .in_a = order <= 0,
                            .in_b = order >= 0};
        QK_TRY(diff_file(f, a, b, err));
        d->total.both += f->both;
        d->total.only_a += f->only_a;
        d->total.only_b += f->only_b;
        d->total.buckets += f->buckets;
        d->total.token_ids += f->token_ids;
        d->total.labels += f->labels;
        keep_largest(&d->total.rms, f->rms);
        keep_largest(&d->total.largest, f->largest);
        keep_largest(&d->total.lse_rms, f->lse_rms);
        keep_largest(&d->total.lse_largest, f->lse_largest);
        i += order <= 0;
        k += order >= 0;
    }
    return QK_OK;
}

qk_status qk_diff_make(qk_diff *d, const char *a, const char *b, qk_error *err)
{
    *d = (qk_diff){0};
    qk_names in_a = {0}, in_b = {0};
    qk_status s = qk_find_data_files(a, &in_a, err);
    if (s == QK_OK) s = qk_find_data_files(b, &in_b, err);
    if (s == QK_OK) s = diff_all(d, &in_a, &in_b, a, b, err);
    qk_names_free(&in_a);
    qk_names_free(&in_b);
    if (s != QK_OK) qk_diff_free(d);
    return s;
}

void qk_diff_free(qk_diff *d)
{
    free(d->files);
    qk_arena_free(&d->arena);
    *d = (qk_diff){0};
}
