/* See layer_stream.h. */
#include "engine/model/layer_stream.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/interrupt.h"
#include "engine/base/thread.h"
#include "engine/model/bind.h"
#include "engine/model/weights.h"

typedef struct buffer {
    qk_layer w;
    int layer; /* that lies here; -1: none yet */
} buffer;

/* Turn n is the n-th time that a layer is read: layer order[n % n_order], into buffer
 * n % QK_LAYER_BUFFERS. */
struct qk_layer_stream {
    qk_layer_stream_plan plan;
    int *order;
    int n_order;
    buffer buffers[QK_LAYER_BUFFERS];
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    int64_t read;     /* turns that are read */
    int64_t taken;    /* turns that were handed out */
    int64_t done;     /* turns whose buffer may be filled again */
    qk_error failure; /* of the loader, which then reads no more */
    atomic_bool stop;
};

/* ---- the loader's thread ---- */

static qk_last_layer needs_of(const qk_layer_stream *s, int l)
{
    return qk_layer_needs(l, s->plan.n_layers, s->plan.last);
}

static qk_status fill(const qk_layer_stream *s, qk_weight_reader *r, buffer *p, int l,
                      qk_error *err)
{
    /* Layers of one kind have the same shapes. */
    const qk_layer_spec *of = s->plan.spec->layer;
    if (p->layer >= 0 &&
        (of[p->layer].sparse != of[l].sparse || needs_of(s, p->layer) != needs_of(s, l)))
        qk_weights_layer_free(r->backend, r->device, &p->w);
    p->layer = l;
    QK_TRY(
        qk_weights_layer(r, &s->plan.bound[l], s->plan.spec->experts, needs_of(s, l), &p->w, err));
    /* Beside these matrices the vectors, which all layers keep. */
    qk_layer matrices = p->w;
    p->w = s->plan.layers[l];
    p->w.qkv = matrices.qkv;
    p->w.o = matrices.o;
    p->w.mlp.gate_up = matrices.mlp.gate_up;
    p->w.mlp.down = matrices.mlp.down;
    p->w.router = matrices.router;
    p->w.experts = matrices.experts;
    p->w.n_experts = matrices.n_experts;
    return r->backend->sync(r->device, 0, err);
}

/* Waits for a buffer that may be filled; its turn, or -1 when it is time to stop. */
static int64_t next_turn(qk_layer_stream *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->read - s->done >= QK_LAYER_BUFFERS && !s->stop)
        pthread_cond_wait(&s->changed, &s->lock);
    if (s->read < s->done) s->read = s->done; /* the forward left some out */
    int64_t turn = s->stop ? -1 : s->read;
    pthread_mutex_unlock(&s->lock);
    return turn;
}

static qk_status read_layers(qk_layer_stream *s, qk_weight_reader *r, qk_error *err)
{
    int64_t turn;
    while ((turn = next_turn(s)) >= 0) {
        QK_TRY(fill(s, r, &s->buffers[turn % QK_LAYER_BUFFERS], s->order[turn % s->n_order], err));
        pthread_mutex_lock(&s->lock);
        s->read = turn + 1;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
    }
    return QK_OK;
}

static void *run_loader(void *context)
{
    qk_layer_stream *s = context;
    const qk_backend *b = s->plan.backend;
    qk_error err = {0};
    qk_weight_reader r = {.checkpoint = s->plan.checkpoint,
                          .backend = b,
                          .compute = s->plan.device.compute,
                          .threads = s->plan.device.threads,
                          .stop = &s->stop};
    qk_status status = b->open(&s->plan.device, &r.device, &err);
    if (status == QK_OK) status = read_layers(s, &r, &err);
    if (status != QK_OK) { /* the buffers stay until the end: the device may work with one */
        pthread_mutex_lock(&s->lock);
        s->failure = err;
        pthread_cond_broadcast(&s->changed);
        while (!s->stop) pthread_cond_wait(&s->changed, &s->lock);
        pthread_mutex_unlock(&s->lock);
    }
    if (r.device) b->sync(r.device, 0, &err); /* what a stopped layer has queued */
    for (int i = 0; i < QK_LAYER_BUFFERS; i++) qk_weights_layer_free(b, r.device, &s->buffers[i].w);
    b->close(r.device);
    qk_weight_reader_free(&r);
    return NULL;
}

/* ---- the forward's side ---- */

static void free_layers(qk_layer_stream *s)
{
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s->order);
    free(s);
}

qk_status qk_layer_stream_new(qk_layer_stream **out, const qk_layer_stream_plan *plan,
                              qk_error *err)
{
    qk_layer_stream *s = qk_zalloc(1, sizeof *s);
    s->plan = *plan;
    s->order = qk_alloc((size_t)plan->n_layers, sizeof *s->order);
    for (int l = 0; l < plan->n_layers; l++)
        if (!plan->stays[l]) s->order[s->n_order++] = l;
    QK_ASSERT(s->n_order >= QK_LAYER_BUFFERS);
    for (int i = 0; i < QK_LAYER_BUFFERS; i++) s->buffers[i].layer = -1;
    pthread_mutex_init(&s->lock, NULL);
    qk_condition_init(&s->changed);
    qk_status status = qk_thread_start(&s->thread, run_loader, s, err);
    *out = status == QK_OK ? s : NULL;
    if (status != QK_OK) free_layers(s);
    return status;
}

void qk_layer_stream_free(qk_layer_stream *s)
{
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    free_layers(s);
}

qk_status qk_layer_stream_get(qk_layer_stream *s, int l, const qk_layer **out, qk_error *err)
{
    *out = &s->plan.layers[l];
    if (s->plan.stays[l]) return QK_OK;
    pthread_mutex_lock(&s->lock);
    int64_t turn = s->taken;
    while (s->order[turn % s->n_order] != l) turn++;
    if (turn != s->taken) s->done = turn;
    s->taken = turn + 1;
    pthread_cond_broadcast(&s->changed);
    qk_status status = QK_OK;
    while (s->read <= turn && s->failure.status == QK_OK && status == QK_OK) {
        qk_condition_wait_a_little(&s->changed, &s->lock);
        status = qk_interrupt_check(err); /* ten times a second */
    }
    if (s->read <= turn && status == QK_OK) {
        *err = s->failure;
        status = err->status;
    }
    pthread_mutex_unlock(&s->lock);
    *out = &s->buffers[turn % QK_LAYER_BUFFERS].w;
    return status;
}

static void set_done(qk_layer_stream *s, int64_t turn)
{
    if (turn > s->done) s->done = turn;
    pthread_cond_broadcast(&s->changed);
}

void qk_layer_stream_done(qk_layer_stream *s, int l)
{
    if (s->plan.stays[l]) return;
    pthread_mutex_lock(&s->lock);
    int64_t turn = s->taken - 1;
    while (s->order[turn % s->n_order] != l) turn--;
    set_done(s, turn + 1);
    pthread_mutex_unlock(&s->lock);
}

void qk_layer_stream_drop(qk_layer_stream *s)
{
    pthread_mutex_lock(&s->lock);
    set_done(s, s->taken);
    pthread_mutex_unlock(&s->lock);
}
