/* See verify.h. */
#include "engine/tools/verify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/forward/forward.h"
#include "formats/safetensors.h"

/* What may be in a golden. */
typedef enum tensor_kind { K, K_PRE, LSE, Q, Q_PRE, V, KINDS } tensor_kind;
static const char *const kind_names[KINDS] = {".k", ".k_pre", ".lse", ".q", ".q_pre", ".v"};

/* One LL.x tensor: which rows it wants, and where they go. */
typedef struct target {
    const qk_st_tensor *golden;
    int layer;
    tensor_kind kind;
    int heads;
    size_t width; /* head_dim; of lse 1 */
    float *rows;  /* [heads, rows, width] as captured */
    float *value; /* in the golden's shape */
} target;

typedef struct verifier {
    qk_verification *out;
    qk_checkpoint golden;
    const char *path;
    qk_model model;
    qk_forward *forward;
    int S;       /* sequences */
    size_t T, n; /* padded length, rows per sequence */
    const int64_t *ids, *lengths, *positions;
    target *targets;
    size_t n_targets;
    const qk_st_tensor *hidden_golden;
    float *hidden;
    int32_t *head_list;
    /* the batch that runs now */
    const int *order; /* sequence numbers */
    int n_order;
    int32_t *packed, *starts, *rows;
    size_t n_rows;
    qk_row_copy copies[KINDS];
    qk_layer_capture captures[2]; /* after RoPE and before it */
    float *unwanted;              /* [H, rows, d] queries of which only lse is compared */
    qk_error *err;
} verifier;

static qk_status bad(const verifier *v, const char *name, const char *what)
{
    return qk_fail(v->err, QK_ERR_FORMAT, "a golden's layout is described in engine/tools/verify.h",
                   "%s: tensor '%s' %s", v->path, name, what);
}

static qk_status int_tensor(verifier *v, const char *name, bool required, const int64_t **out,
                            const qk_st_tensor **tensor)
{
    *tensor = qk_checkpoint_find(&v->golden, name);
    *out = NULL;
    if (!*tensor) return required ? bad(v, name, "is missing") : QK_OK;
    if (strcmp((*tensor)->dtype, "I64")) return bad(v, name, "is not I64");
    void *copy = qk_arena_alloc(&v->out->arena, (*tensor)->bytes, 1);
    *out = copy;
    return qk_checkpoint_read(&v->golden, *tensor, copy, v->err);
}

static qk_status read_sequences(verifier *v)
{
    const qk_st_tensor *ids, *lengths, *positions;
    QK_TRY(int_tensor(v, "input_ids", true, &v->ids, &ids));
    QK_TRY(int_tensor(v, "lengths", false, &v->lengths, &lengths));
    QK_TRY(int_tensor(v, "positions", false, &v->positions, &positions));
    if (ids->n_dims < 1 || ids->n_dims > 2) return bad(v, "input_ids", "has no shape [S, T]");
    v->S = ids->n_dims == 2 ? (int)ids->shape[0] : 1;
    v->T = ids->shape[ids->n_dims - 1];
    v->n = positions ? positions->bytes / 8 : v->T;
    if (lengths && lengths->bytes / 8 != (size_t)v->S) return bad(v, "lengths", "has no shape [S]");
    for (int s = 0; s < v->S; s++) {
        int64_t length = v->lengths ? v->lengths[s] : (int64_t)v->T;
        if (length < 1 || length > (int64_t)v->T) return bad(v, "lengths", "leaves 1..T");
    }
    for (size_t i = 0; positions && i < v->n; i++)
        if (v->positions[i] < 0 || v->positions[i] >= (int64_t)v->T)
            return bad(v, "positions", "leaves 0..T-1");
    for (size_t i = 0; i < (size_t)v->S * v->T; i++)
        if (v->ids[i] < 0 || v->ids[i] >= v->model.spec.V)
            return bad(v, "input_ids", "has ids beyond the vocabulary");
    return QK_OK;
}

static int64_t length_of(const verifier *v, int s)
{
    return v->lengths ? v->lengths[s] : (int64_t)v->T;
}
static int64_t position_of(const verifier *v, size_t i)
{
    return v->positions ? v->positions[i] : (int64_t)i;
}

static qk_status add_target(verifier *v, const qk_st_tensor *t, int layer, tensor_kind kind)
{
    const qk_spec *s = &v->model.spec;
    target *x = &v->targets[v->n_targets++];
    *x = (target){.golden = t, .layer = layer, .kind = kind};
    x->heads = kind == K || kind == K_PRE || kind == V ? s->K : s->H;
    x->width = kind == LSE ? 1 : (size_t)s->d;
    size_t want[4] = {(size_t)v->S, (size_t)x->heads, v->n, x->width};
    int n = kind == LSE ? 3 : 4, skip = v->S == 1 && t->n_dims == n - 1;
    if (t->n_dims + skip != n || memcmp(t->shape, want + skip, sizeof(size_t) * (size_t)t->n_dims))
        return bad(v, t->name,
                   kind == LSE ? "has a shape that is not [S, heads, n]"
                               : "has a shape that is not [S, heads, n, head_dim]");
    if (strcmp(t->dtype, "F32")) return bad(v, t->name, "is not F32");
    if (layer >= s->layers) return bad(v, t->name, "names a layer that the model does not have");
    size_t count = t->bytes / sizeof(float);
    x->rows = qk_alloc(count, sizeof(float));
    x->value = qk_arena_alloc(&v->out->arena, count, sizeof(float));
    return QK_OK;
}

static qk_status read_targets(verifier *v)
{
    v->targets = qk_zalloc(v->golden.count, sizeof *v->targets);
    for (size_t i = 0; i < v->golden.count; i++) {
        const qk_st_tensor *t = &v->golden.tensors[i];
        char *end;
        long layer = strtol(t->name, &end, 10);
        for (tensor_kind k = 0; k < KINDS; k++)
            if (end > t->name && !strcmp(end, kind_names[k]))
                QK_TRY(add_target(v, t, (int)layer, k));
    }
    v->hidden_golden = qk_checkpoint_find(&v->golden, "last_hidden");
    if (!v->hidden_golden)
        return v->n_targets ? QK_OK : bad(v, "00.q", "is missing, like all others");
    size_t want[3] = {(size_t)v->S, v->T, (size_t)v->model.spec.D};
    if (v->hidden_golden->n_dims != 3 || memcmp(v->hidden_golden->shape, want, sizeof want))
        return bad(v, "last_hidden", "has no shape [S, T, D]");
    v->hidden = qk_arena_alloc(&v->out->arena, (size_t)v->S * v->T, want[2] * sizeof(float));
    return QK_OK;
}

/* ---- running ---- */

static void pack(verifier *v, const int *order, int n)
{
    v->order = order;
    v->n_order = n;
    v->starts[0] = 0;
    v->n_rows = 0;
    for (int i = 0; i < n; i++) {
        int64_t length = length_of(v, order[i]);
        for (int64_t p = 0; p < length; p++)
            v->packed[v->starts[i] + p] = (int32_t)v->ids[(size_t)order[i] * v->T + (size_t)p];
        for (size_t r = 0; r < v->n; r++)
            if (position_of(v, r) < length)
                v->rows[v->n_rows++] = v->starts[i] + (int32_t)position_of(v, r);
        v->starts[i + 1] = v->starts[i] + (int32_t)length;
    }
}

static const qk_layer_capture *want_rows(verifier *v, int layer, bool pre)
{
    float *rows[KINDS] = {NULL};
    for (size_t i = 0; i < v->n_targets; i++)
        if (v->targets[i].layer == layer) rows[v->targets[i].kind] = v->targets[i].rows;
    if (rows[LSE] && !rows[Q]) rows[Q] = v->unwanted;
    tensor_kind q = pre ? Q_PRE : Q, k = pre ? K_PRE : K;
    const tensor_kind wanted[] = {q, k, V};
    const qk_spec *s = &v->model.spec;
    for (int i = 0; i < 3; i++)
        v->copies[wanted[i]] = (qk_row_copy){v->rows,         v->head_list,
                                             v->n_rows,       (size_t)(i ? s->K : s->H),
                                             rows[wanted[i]], pre || i ? NULL : rows[LSE]};
    v->captures[pre] = (qk_layer_capture){.q = &v->copies[q],
                                          .n_q = rows[q] != NULL,
                                          .k = &v->copies[k],
                                          .n_k = rows[k] != NULL,
                                          .v = &v->copies[V],
                                          .n_v = !pre && rows[V]};
    return &v->captures[pre];
}

static const qk_layer_capture *want_pre(void *v, int layer)
{
    return want_rows(v, layer, true);
}
static const qk_layer_capture *want_post(void *v, int layer)
{
    return want_rows(v, layer, false);
}

/* Rows as captured, [heads, all rows of the batch, d], to their places in the golden's shape. */
static void scatter(const verifier *v, const target *x)
{
    size_t width = x->width, row = 0;
    for (int i = 0; i < v->n_order; i++)
        for (size_t r = 0; r < v->n; r++) {
            if (position_of(v, r) >= length_of(v, v->order[i])) continue;
            for (int h = 0; h < x->heads; h++)
                memcpy(x->value +
                           (((size_t)v->order[i] * (size_t)x->heads + (size_t)h) * v->n + r) *
                               width,
                       x->rows + ((size_t)h * v->n_rows + row) * width, width * sizeof(float));
            row++;
        }
}

static qk_status take_layer(void *context, int layer, qk_error *err)
{
    verifier *v = context;
    (void)err;
    for (size_t i = 0; i < v->n_targets; i++)
        if (v->targets[i].layer == layer) scatter(v, &v->targets[i]);
    return QK_OK;
}

static qk_status run_batch(verifier *v, const int *order, int n)
{
    pack(v, order, n);
    qk_batch batch = {v->packed, v->starts, n};
    qk_capture_hooks hooks = {v, want_pre, want_post, take_layer, NULL};
    QK_TRY(qk_forward_run(v->forward, &batch, &hooks, v->err));
    if (!v->hidden) return QK_OK;
    size_t D = (size_t)v->model.spec.D;
    float *out = qk_alloc((size_t)v->starts[n] * D, sizeof *out);
    qk_status status = qk_forward_hidden(v->forward, out, v->err);
    for (int i = 0; i < n; i++)
        memcpy(v->hidden + (size_t)order[i] * v->T * D, out + (size_t)v->starts[i] * D,
               (size_t)length_of(v, order[i]) * D * sizeof(float));
    free(out);
    return status;
}

/* A fingerprint of everything that was computed, bit for bit. */
static uint64_t fingerprint(const verifier *v)
{
    uint64_t h = 0xCBF29CE484222325;
    for (size_t i = 0; i <= v->n_targets; i++) {
        const float *data = i < v->n_targets ? v->targets[i].value : v->hidden;
        size_t n = i < v->n_targets ? v->targets[i].golden->bytes / 4
                   : v->hidden      ? v->hidden_golden->bytes / 4
                                    : 0;
        for (size_t k = 0; k < n; k++) h = (h ^ qk_float_bits(data[k])) * 0x100000001B3;
    }
    return h;
}

static qk_status run_all(verifier *v)
{
    int *forward = qk_arena_alloc(&v->out->arena, (size_t)v->S, sizeof(int));
    int *reverse = qk_arena_alloc(&v->out->arena, (size_t)v->S, sizeof(int));
    for (int s = 0; s < v->S; s++) forward[s] = s, reverse[v->S - 1 - s] = s;
    for (int s = 0; s < v->S; s++) QK_TRY(run_batch(v, &forward[s], 1));
    uint64_t alone = fingerprint(v);
    QK_TRY(run_batch(v, reverse, v->S));
    v->out->same_bits = fingerprint(v) == alone;
    double start = qk_now();
    QK_TRY(run_batch(v, forward, v->S));
    v->out->seconds = qk_now() - start;
    v->out->same_bits &= fingerprint(v) == alone;
    return QK_OK;
}

/* ---- comparing ---- */

static qk_status compare(const verifier *v, const qk_st_tensor *golden, int layer,
                         const float *value)
{
    size_t n = golden->bytes / sizeof(float);
    float *want = qk_alloc(n, sizeof(float));
    if (qk_checkpoint_read(&v->golden, golden, want, v->err) != QK_OK) {
        free(want);
        return v->err->status;
    }
    double error = 0, size = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        double e = fabs((double)value[i] - (double)want[i]);
        if (!(e <= most)) most = e; /* keeps a NaN */
        error += e * e;
        size += (double)want[i] * (double)want[i];
    }
    free(want);
    double rms = sqrt(size / (double)n);
    v->out->items[v->out->count++] = (qk_verified){
        .name = qk_arena_strndup(&v->out->arena, golden->name, strlen(golden->name)),
        .layer = layer,
        .rms_error = sqrt(error / size),
        .max_error = most / rms,
        .data = value,
        .shape = memcpy(qk_arena_alloc(&v->out->arena, QK_MAX_DIMS, sizeof(size_t)), golden->shape,
                        sizeof golden->shape),
        .n_dims = golden->n_dims,
    };
    return QK_OK;
}

static qk_status verify(verifier *v)
{
    v->out->layers = v->model.spec.layers;
    v->out->device =
        qk_arena_strf(&v->out->arena, "%s", v->model.backend->describe(v->model.device));
    QK_TRY(read_sequences(v));
    QK_TRY(read_targets(v));
    v->out->tokens = 0;
    for (int s = 0; s < v->S; s++) v->out->tokens += length_of(v, s);
    v->packed = qk_alloc((size_t)v->S * v->T, sizeof(int32_t));
    v->rows = qk_alloc((size_t)v->S * v->n, sizeof(int32_t));
    v->starts = qk_alloc((size_t)v->S + 1, sizeof(int32_t));
    v->head_list = qk_alloc((size_t)v->model.spec.H, sizeof(int32_t));
    for (int h = 0; h < v->model.spec.H; h++) v->head_list[h] = h;
    v->unwanted = qk_alloc((size_t)v->S * v->n * (size_t)v->model.spec.H,
                           (size_t)v->model.spec.d * sizeof(float));
    QK_TRY(run_all(v));
    v->out->items = qk_zalloc(v->n_targets + 1, sizeof *v->out->items);
    for (size_t i = 0; i < v->n_targets; i++)
        QK_TRY(compare(v, v->targets[i].golden, v->targets[i].layer, v->targets[i].value));
    if (v->hidden) QK_TRY(compare(v, v->hidden_golden, -1, v->hidden));
    return QK_OK;
}

qk_status qk_verify(qk_verification *out, const char *folder, const char *golden,
                    const qk_model_options *options, qk_error *err)
{
    *out = (qk_verification){0};
    verifier v = {.out = out, .path = golden, .err = err};
    QK_ASSERT(options->last_layer < 0);
    qk_status s = qk_checkpoint_open(&v.golden, golden, err);
    if (s == QK_OK) s = qk_model_load(&v.model, folder, options, err);
    if (s == QK_OK) {
        v.forward = qk_forward_new(&v.model);
        s = verify(&v);
        qk_forward_free(v.forward);
        qk_model_free(&v.model);
    }
    for (size_t i = 0; i < v.n_targets; i++) free(v.targets[i].rows);
    free(v.targets);
    free(v.packed);
    free(v.rows);
    free(v.starts);
    free(v.head_list);
    free(v.unwanted);
    qk_checkpoint_close(&v.golden);
    if (s != QK_OK) qk_verification_free(out);
    return s;
}

void qk_verification_free(qk_verification *v)
{
    free(v->items);
    qk_arena_free(&v->arena);
    *v = (qk_verification){0};
}
