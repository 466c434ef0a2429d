/* See weights.h. */
#include "engine/model/weights.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/interrupt.h"
#include "engine/base/nonfinite.h"
#include "engine/base/team.h"
#include "engine/model/bind.h"

enum { PIECE = 16 << 20, BLOCK = 1 << 20 }; /* of a file; of a piece: what one thread reads */

void qk_weight_reader_free(qk_weight_reader *r)
{
    free(r->piece);
    r->piece = NULL;
    r->capacity = 0;
}

/* ---- pieces ---- */

/* What is wrong with the values of a tensor: [0] NaN and infinity as they are in the file, [1]
 * those and what the compute format cannot hold. */
typedef struct bad_values {
    size_t count[2], first[2]; /* first: counted in elements from the tensor's begin */
} bad_values;

/* A piece of a tensor, which is read and looked at in blocks, in any order. */
typedef struct reading {
    const qk_input *in; /* or, where values are made: */
    const qk_model_source *source;
    const qk_st_tensor *tensor;
    uint64_t offset; /* of its first byte in the file */
    size_t at;       /* of its first byte in the tensor */
    size_t bytes;
    char *to;
    qk_dtype dtype, to_dtype;
    atomic_int why; /* errno, or less than 0: the file ends */
    pthread_mutex_t lock;
    bad_values *bad;
} reading;

/* n values from byte `at` of the piece on. */
static void note_bad(reading *p, size_t at, size_t n)
{
    const void *data = p->to + at;
    size_t element = (p->at + at) / qk_dtype_size(p->dtype);
    if (!qk_nonfinite_count(data, n, p->dtype, p->to_dtype)) return;
    for (int i = 0; i < 2; i++) {
        qk_dtype as = i ? p->to_dtype : p->dtype;
        size_t count = qk_nonfinite_count(data, n, p->dtype, as);
        size_t first = count ? element + qk_nonfinite_first(data, n, p->dtype, as) : SIZE_MAX;
        pthread_mutex_lock(&p->lock);
        p->bad->count[i] += count;
        if (first < p->bad->first[i]) p->bad->first[i] = first;
        pthread_mutex_unlock(&p->lock);
    }
}

static void read_blocks(void *context, size_t begin, size_t end, int member)
{
    reading *p = context;
    (void)member;
    for (size_t b = begin * BLOCK; b < end * BLOCK && b < p->bytes; b += BLOCK) {
        size_t n = p->bytes - b < BLOCK ? p->bytes - b : BLOCK;
        int why = 0;
        if (p->source)
            p->source->fill(p->source->context, p->tensor, p->at + b, n, p->to + b);
        else
            why = qk_input_try(p->in, p->offset + b, p->to + b, n);
        if (why)
            p->why = why;
        else
            note_bad(p, b, n / qk_dtype_size(p->dtype));
    }
}

static qk_status refuse_bad(const bad_values *bad, const qk_st_tensor *t, qk_dtype to,
                            qk_error *err)
{
    bool damaged = bad->count[0] > 0;
    const char *hint = damaged        ? "the checkpoint is damaged: download it again"
                       : to == QK_F16 ? "compute with model.dtype bfloat16 or float32"
                                      : "compute with model.dtype float32";
    const char *what = damaged        ? "are NaN or infinite"
                       : to == QK_F16 ? "become infinite in float16"
                                      : "become infinite in bfloat16";
    qk_buf position = {0}; /* 3, 17 */
    size_t element = bad->first[!damaged], rest = 1;
    for (int i = 0; i < t->n_dims; i++) rest *= t->shape[i];
    for (int i = 0; i < t->n_dims; i++) {
        rest /= t->shape[i];
        qk_buf_addf(&position, "%s%zu", i ? ", " : "", element / rest);
        element %= rest;
    }
    qk_fail(err, QK_ERR_DATA, hint, "%s: tensor '%s' has values that %s (%zu, the first at [%s])",
            t->file, t->name, what, bad->count[!damaged], qk_buf_str(&position));
    qk_buf_free(&position);
    return QK_ERR_DATA;
}

/* Reads `bytes` of t from byte `at` on into r->piece, and notes what is no number in `to`. */
static qk_status read_piece(qk_weight_reader *r, const qk_st_tensor *t, size_t at, size_t bytes,
                            qk_dtype dtype, qk_dtype to_dtype, bad_values *bad, qk_error *err)
{
    reading p = {.in = r->source ? NULL : qk_checkpoint_input(r->checkpoint, t),
                 .source = r->source,
                 .tensor = t,
                 .offset = t->offset + at,
                 .at = at,
                 .bytes = bytes,
                 .to = (char *)r->piece,
                 .dtype = dtype,
                 .to_dtype = to_dtype,
                 .lock = PTHREAD_MUTEX_INITIALIZER,
                 .bad = bad};
    QK_TRY(qk_team_start(r->threads, err));
    qk_loop(r->threads, (bytes + BLOCK - 1) / BLOCK, read_blocks, &p);
    int why = p.why;
    if (why < 0)
        return qk_fail(err, QK_ERR_DATA, "the file was cut off: download it again",
                       "%s: ends within tensor '%s'", t->file, t->name);
    if (why)
        return qk_fail(err, QK_ERR_IO, "the disk or the network behind it fails: see dmesg",
                       "%s: cannot read tensor '%s': %s", t->file, t->name, strerror(why));
    return QK_OK;
}

/* Gets the next rows: called for every piece of a tensor, from the first row to the last. */
typedef void (*take_rows)(void *context, size_t first, size_t n, const void *rows, qk_dtype dtype);

/* A vector is one row. `to`: the format that its values are rounded to. */
static qk_status each_piece(qk_weight_reader *r, const qk_st_tensor *t, qk_dtype to, take_rows take,
                            void *context, qk_error *err)
{
    qk_dtype dtype;
    bad_values bad = {.first = {SIZE_MAX, SIZE_MAX}};
    QK_ASSERT(qk_st_float_dtype(t, &dtype));
    size_t rows = t->n_dims == 1 ? 1 : t->shape[0], row = t->bytes / rows;
    size_t step = row < PIECE ? PIECE / row : 1, piece = row < PIECE ? PIECE : row;
    if (piece > r->capacity) {
        qk_weight_reader_free(r);
        QK_TRY(qk_try_alloc(&r->piece, piece, 1, "a piece of the checkpoint", err));
        r->capacity = piece;
    }
    for (size_t at = 0; at < rows; at += step) {
        size_t n = rows - at < step ? rows - at : step;
        if (r->stop && *r->stop)
            return qk_fail(err, QK_ERR_RESUME, NULL, "reading weights was stopped");
        QK_TRY(qk_interrupt_check(err));
        QK_TRY(read_piece(r, t, at * row, n * row, dtype, to, &bad, err));
        take(context, at, n, r->piece, dtype);
    }
    if (!r->source) QK_TRY(qk_input_check(qk_checkpoint_input(r->checkpoint, t), err));
    return bad.count[1] ? refuse_bad(&bad, t, to, err) : QK_OK;
}

/* ---- matrices, vectors, tables ---- */

typedef struct filling {
    const qk_weight_reader *r;
    qk_matrix *matrix;
    qk_tensor table;
    size_t first; /* row or element that this tensor begins at */
    float *vector;
} filling;

static void fill_matrix(void *context, size_t first, size_t n, const void *rows, qk_dtype dtype)
{
    const filling *f = context;
    f->r->backend->matrix_load(f->r->device, f->matrix, f->first + first, n, rows, dtype);
}

qk_status qk_weights_matrix(qk_weight_reader *r, const qk_st_tensor *const *parts, size_t n_parts,
                            qk_matrix **out, qk_error *err)
{
    size_t rows = 0;
    for (size_t i = 0; i < n_parts; i++) rows += parts[i]->shape[0];
    if (!*out)
        QK_TRY(
            r->backend->matrix_new(r->device, rows, parts[0]->shape[1], parts[0]->name, out, err));
    filling f = {.r = r, .matrix = *out};
    for (size_t i = 0; i < n_parts; i++) {
        QK_TRY(each_piece(r, parts[i], r->compute, fill_matrix, &f, err));
        f.first += parts[i]->shape[0];
    }
    return QK_OK;
}

static void fill_table(void *context, size_t first, size_t n, const void *rows, qk_dtype dtype)
{
    const filling *f = context;
    f->r->backend->upload(f->r->device, qk_rows(f->table, first, n), rows, dtype);
}

qk_status qk_weights_table(qk_weight_reader *r, const qk_st_tensor *t, qk_tensor *out,
                           qk_error *err)
{
    qk_dtype dtype;
    QK_ASSERT(qk_st_float_dtype(t, &dtype));
    QK_TRY(r->backend->alloc(r->device, dtype, t->shape[0], t->shape[1], t->name, out, err));
    filling f = {.r = r, .table = *out};
    return each_piece(r, t, r->compute, fill_table, &f, err);
}

/* float16 runs keep vectors as wide as they are. */
static qk_dtype vector_format(const qk_weight_reader *r)
{
    return r->compute == QK_BF16 ? QK_BF16 : QK_F32;
}

static void fill_vector(void *context, size_t first, size_t n, const void *rows, qk_dtype dtype)
{
    const filling *f = context;
    (void)first, (void)n;
    const uint16_t *half = rows;
    for (size_t i = 0; i < f->first; i++) {
        float v = dtype == QK_F32    ? ((const float *)rows)[i]
                  : dtype == QK_BF16 ? qk_bf16_to_f32(half[i])
                                     : qk_f16_to_f32(half[i]);
        f->vector[i] = qk_round_to(v, vector_format(f->r));
    }
}

qk_status qk_weights_vector(qk_weight_reader *r, const qk_st_tensor *const *parts, size_t n_parts,
                            qk_tensor *out, qk_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < n_parts; i++) n += parts[i]->shape[0];
    QK_TRY(r->backend->alloc(r->device, QK_F32, 1, n, parts[0]->name, out, err));
    float *host = qk_alloc(n, sizeof *host);
    filling f = {.r = r, .vector = host};
    qk_status s = QK_OK;
    for (size_t i = 0; i < n_parts && s == QK_OK; i++) {
        f.first = parts[i]->shape[0];
        s = each_piece(r, parts[i], vector_format(r), fill_vector, &f, err);
        f.vector += f.first;
    }
    if (s == QK_OK) r->backend->upload(r->device, *out, host, QK_F32);
    free(host);
    return s;
}

/* ---- the matrices of a layer ---- */

#define MATRIX(field, ...)                                                                         \
    do {                                                                                           \
        const qk_st_tensor *parts_[] = {__VA_ARGS__};                                              \
        QK_TRY(qk_weights_matrix(r, parts_, sizeof parts_ / sizeof *parts_, &(field), err));       \
    } while (0)

static qk_status experts_of(qk_weight_reader *r, const qk_bound_layer *from, int experts,
                            qk_layer *w, qk_error *err)
{
    MATRIX(w->router, from->weight[QK_W_ROUTER]);
    if (!w->experts) w->experts = qk_zalloc((size_t)experts, sizeof *w->experts);
    w->n_experts = experts;
    for (int e = 0; e < experts; e++) {
        MATRIX(w->experts[e].gate_up, from->experts[e].gate, from->experts[e].up);
        MATRIX(w->experts[e].down, from->experts[e].down);
    }
    return QK_OK;
}

qk_status qk_weights_layer(qk_weight_reader *r, const qk_bound_layer *from, int experts,
                           qk_last_layer needs, qk_layer *w, qk_error *err)
{
    const qk_st_tensor *const *m = from->weight;
    if (needs == QK_LAST_QK) {
        MATRIX(w->qkv, m[QK_W_Q], m[QK_W_K]);
        return QK_OK;
    }
    MATRIX(w->qkv, m[QK_W_Q], m[QK_W_K], m[QK_W_V]);
    if (needs != QK_LAST_WHOLE) return QK_OK;
    MATRIX(w->o, m[QK_W_O]);
    if (from->experts) return experts_of(r, from, experts, w, err);
    MATRIX(w->mlp.gate_up, m[QK_W_GATE], m[QK_W_UP]);
    MATRIX(w->mlp.down, m[QK_W_DOWN]);
    return QK_OK;
}

static void free_mlp(const qk_backend *backend, qk_device *device, qk_mlp *mlp)
{
    backend->matrix_free(device, mlp->gate_up);
    backend->matrix_free(device, mlp->down);
    mlp->gate_up = mlp->down = NULL;
}

void qk_weights_layer_free(const qk_backend *backend, qk_device *device, qk_layer *w)
{
    backend->matrix_free(device, w->qkv);
    backend->matrix_free(device, w->o);
    backend->matrix_free(device, w->router);
    free_mlp(backend, device, &w->mlp);
    for (int e = 0; e < w->n_experts; e++) free_mlp(backend, device, &w->experts[e]);
    free(w->experts);
    w->qkv = w->o = w->router = NULL;
    w->experts = NULL;
    w->n_experts = 0;
}
