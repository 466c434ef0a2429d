/* Streams are queues of work, events are marks in them. Work runs when the order says so:
 *
 *   eager    at the end of the call that queued it
 *   lazy     some at the end of any call, streams drawn at random; while somebody waits, too
 *   latest   when somebody waits, and then only what is in front of what he waits for
 *
 * so that what no event and no wait orders happens in different orders.
 *
 * next: tests/fake_cuda/memory.c */
#include "engine/base/mem.h"
#include "tests/fake_cuda/fake.h"

typedef struct stream stream;

/* A record of an event: done when the work in front of it is. */
typedef struct fake_mark {
    bool done;
    int refs;
    stream *at; /* while it is not done */
    uint64_t when;
} mark;

typedef struct event {
    mark *last;
    bool timed;
} event;

struct stream {
    void *handle;
    fake_work *head, *tail;
};

enum { MOST_STREAMS = 64 };
static stream *streams[MOST_STREAMS];
static int n_streams;
static uint64_t work_done;

/* ---- work ---- */

fake_work *fake_work_new(const char *what, void (*run)(fake_work *))
{
    fake_work *w = qk_zalloc(1, sizeof *w);
    w->what = what;
    w->run = run;
    return w;
}

void fake_work_uses(fake_work *w, uintptr_t at, size_t bytes, bool write)
{
    QK_ASSERT(w->n_uses < 5);
    if (bytes) w->uses[w->n_uses++] = (fake_use){at, bytes, write};
}

static void let_go(mark *m)
{
    if (m && --m->refs == 0) free(m);
}

static void free_work(fake_work *w)
{
    let_go(w->records);
    let_go(w->waits);
    free(w->args);
    free(w);
}

static void append(stream *s, fake_work *w)
{
    if (s->tail)
        s->tail->next = w;
    else
        s->head = w;
    s->tail = w;
}

bool fake_queue(CUstream handle, fake_work *w)
{
    stream *s = fake_object_get(handle, FAKE_STREAM);
    if (s)
        append(s, w);
    else
        free_work(w);
    return s != NULL;
}

/* A kernel may touch whatever its arguments point into. */
static bool touches(const fake_work *w, uintptr_t at, size_t bytes, bool writes_only)
{
    for (int i = 0; i < w->n_uses; i++) {
        const fake_use *u = &w->uses[i];
        if (u->at < at + bytes && at < u->at + u->bytes && (u->write || !writes_only)) return true;
    }
    for (size_t i = 0; w->module && i + sizeof at <= w->args_bytes; i += sizeof at) {
        uintptr_t word;
        memcpy(&word, (const char *)w->args + i, sizeof word);
        if (word >= at && word - at < bytes) return true;
    }
    return false;
}

const fake_work *fake_pending_use(uintptr_t at, size_t bytes, bool writes_only)
{
    for (int i = 0; i < n_streams; i++)
        for (const fake_work *w = streams[i]->head; w; w = w->next)
            if (touches(w, at, bytes, writes_only)) return w;
    return NULL;
}

const fake_work *fake_pending_launch(const void *module)
{
    for (int i = 0; i < n_streams; i++)
        for (const fake_work *w = streams[i]->head; w; w = w->next)
            if (w->module == module) return w;
    return NULL;
}

/* ---- running it ---- */

static bool can_run(const stream *s)
{
    return s->head && (!s->head->waits || s->head->waits->done);
}

static void run_head(stream *s)
{
    fake_work *w = s->head;
    s->head = w->next;
    if (!s->head) s->tail = NULL;
    if (w->run && !fake_sticky) {
        fake_log("  %s runs: %s", fake_object_name(s->handle), w->what);
        fake_memory_open();
        w->run(w);
    }
    if (w->records) {
        w->records->done = true;
        w->records->when = ++work_done;
    }
    free_work(w);
}

static bool run_one_at_random(void)
{
    int first = n_streams ? (int)(fake_random() % (unsigned)n_streams) : 0;
    for (int i = 0; i < n_streams; i++) {
        stream *s = streams[(first + i) % n_streams];
        if (!can_run(s)) continue;
        run_head(s);
        return true;
    }
    return false;
}

static void reach(mark *m);

/* Runs the first piece of work of a stream, and before it what it waits for. */
static void advance(stream *s)
{
    if (s->head->waits) reach(s->head->waits);
    run_head(s);
}

static void reach(mark *m)
{
    while (!m->done)
        if (fake_options.order == FAKE_LAZY)
            QK_ASSERT(run_one_at_random());
        else
            advance(m->at);
}

static void finish(stream *s)
{
    while (s->head)
        if (fake_options.order == FAKE_LAZY)
            run_one_at_random();
        else
            advance(s);
}

void fake_run_all(void)
{
    for (int i = 0; i < n_streams; i++) finish(streams[i]);
}

void fake_run_some(void)
{
    if (fake_options.order == FAKE_EAGER) fake_run_all();
    if (fake_options.order != FAKE_LAZY) return;
    for (uint32_t n = fake_random() % 4; n > 0 && run_one_at_random();) n--;
}

/* ---- streams ---- */

CUresult cuStreamCreate(CUstream *out, unsigned flags)
{
    FAKE_BEGIN_IN_CONTEXT("flags=%u", flags);
    if (!out || flags > CU_STREAM_NON_BLOCKING) {
        fake_fault("flags %u", flags);
        FAKE_RESULT(CUDA_ERROR_INVALID_VALUE);
    }
    QK_ASSERT(n_streams < MOST_STREAMS);
    stream *s = qk_zalloc(1, sizeof *s);
    streams[n_streams++] = s;
    s->handle = fake_object_new(FAKE_STREAM, s);
    *out = s->handle;
    FAKE_RESULT(CUDA_SUCCESS);
}

/* Work that did not run never does; the marks behind it are done, so that nobody waits for ever. */
void fake_stream_free(void *body)
{
    stream *s = body;
    while (s->head) {
        fake_work *w = s->head;
        s->head = w->next;
        if (w->records) w->records->done = true;
        free_work(w);
    }
    for (int i = 0; i < n_streams; i++)
        if (streams[i] == s) streams[i--] = streams[--n_streams];
    free(s);
}

CUresult cuStreamDestroy(CUstream handle)
{
    FAKE_BEGIN_IN_CONTEXT("%s", fake_object_name(handle));
    stream *s = fake_object_get(handle, FAKE_STREAM);
    if (!s) FAKE_RESULT(CUDA_ERROR_INVALID_HANDLE);
    finish(s);
    fake_object_end(handle);
    FAKE_RESULT(CUDA_SUCCESS);
}

CUresult cuStreamSynchronize(CUstream handle)
{
    FAKE_BEGIN_IN_CONTEXT("%s", fake_object_name(handle));
    stream *s = fake_object_get(handle, FAKE_STREAM);
    if (!s) FAKE_RESULT(CUDA_ERROR_INVALID_HANDLE);
    finish(s);
    FAKE_RESULT(fake_sticky);
}

CUresult cuStreamWaitEvent(CUstream handle, CUevent what, unsigned flags)
{
    FAKE_BEGIN_IN_CONTEXT("%s, %s", fake_object_name(handle), fake_object_name(what));
    event *e = fake_object_get(what, FAKE_EVENT);
    if (!e) FAKE_RESULT(CUDA_ERROR_INVALID_HANDLE);
    if (flags) {
        fake_fault("flags %u", flags);
        FAKE_RESULT(CUDA_ERROR_INVALID_VALUE);
    }
    fake_work *w = fake_work_new("wait", NULL);
    w->waits = e->last; /* an event that nobody recorded holds nobody */
    if (e->last) e->last->refs++;
    FAKE_RESULT(fake_queue(handle, w) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE);
}

/* ---- events ---- */

CUresult cuEventCreate(CUevent *out, unsigned flags)
{
    FAKE_BEGIN_IN_CONTEXT("flags=%u", flags);
    if (!out || flags & ~(unsigned)(CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING)) {
        fake_fault("flags %u", flags);
        FAKE_RESULT(CUDA_ERROR_INVALID_VALUE);
    }
    event *e = qk_zalloc(1, sizeof *e);
    e->timed = !(flags & CU_EVENT_DISABLE_TIMING);
    *out = fake_object_new(FAKE_EVENT, e);
    FAKE_RESULT(CUDA_SUCCESS);
}

void fake_event_free(void *body)
{
    event *e = body;
    let_go(e->last);
    free(e);
}

CUresult cuEventDestroy(CUevent handle)
{
    FAKE_BEGIN_IN_CONTEXT("%s", fake_object_name(handle));
    if (!fake_object_get(handle, FAKE_EVENT)) FAKE_RESULT(CUDA_ERROR_INVALID_HANDLE);
    fake_object_end(handle);
    FAKE_RESULT(CUDA_SUCCESS);
}

CUresult cuEventRecord(CUevent handle, CUstream where)
{
    FAKE_BEGIN_IN_CONTEXT("%s, %s", fake_object_name(handle), fake_object_name(where));
    event *e = fake_object_get(handle, FAKE_EVENT);
    stream *s = fake_object_get(where, FAKE_STREAM);
    if (!e || !s) FAKE_RESULT(CUDA_ERROR_INVALID_HANDLE);
    let_go(e->last);
    e->last = qk_zalloc(1, sizeof *e->last);
    *e->last = (mark){.refs = 2, .at = s};
    fake_work *w = fake_work_new("record", NULL);
    w->records = e->last;
    append(s, w);
    FAKE_RESULT(CUDA_SUCCESS);
}

CUresult cuEventSynchronize(CUevent handle)
{
    FAKE_BEGIN_IN_CONTEXT("%s", fake_object_name(handle));
    event *e = fake_object_get(handle, FAKE_EVENT);
    if (!e) FAKE_RESULT(CUDA_ERROR_INVALID_HANDLE);
    if (e->last) reach(e->last);
    FAKE_RESULT(fake_sticky);
}

/* The header of this toolkit declares version 2; version 1 is what every driver has. */
#undef cuEventElapsedTime
CUresult cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to);
CUresult cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to)
{
    FAKE_BEGIN_IN_CONTEXT("%s, %s", fake_object_name(from), fake_object_name(to));
    const event *a = fake_object_get(from, FAKE_EVENT), *b = fake_object_get(to, FAKE_EVENT);
    if (!a || !b) FAKE_RESULT(CUDA_ERROR_INVALID_HANDLE);
    if (!a->timed || !b->timed || !a->last || !b->last) {
        fake_fault("of events that are not timed or were never recorded");
        FAKE_RESULT(CUDA_ERROR_INVALID_HANDLE);
    }
    if (!a->last->done || !b->last->done) FAKE_RESULT(CUDA_ERROR_NOT_READY);
    *milliseconds = (float)(b->last->when - a->last->when) / 1000;
    FAKE_RESULT(CUDA_SUCCESS);
}
