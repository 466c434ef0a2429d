/* See team.h. */
#include "engine/base/team.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/available.h"
#include "engine/base/mem.h"
#include "engine/base/thread.h"

/* ---- how many ---- */

enum { MAX_THREADS = 4096 }; /* of inference.threads too */

static atomic_int threads_set;
static _Atomic(const char *) threads_why;

/* The first number of a variable: OMP_NUM_THREADS may be a list; 0 where it says nothing. */
static int number_of(const char *variable)
{
    const char *text = getenv(variable);
    char *end;
    long n = text ? strtol(text, &end, 10) : 0;
    return text && end != text && (!*end || *end == ',') && n > 0 && n <= MAX_THREADS ? (int)n : 0;
}

static int default_threads(const char **why)
{
    int n = number_of("OMP_NUM_THREADS"), task = number_of("SLURM_CPUS_PER_TASK");
    *why = "OMP_NUM_THREADS";
    if (n) return n;
    n = qk_available_cpus("", why);
    if (!task || task >= n) return n;
    *why = "SLURM_CPUS_PER_TASK";
    return task;
}

void qk_threads_set(int threads, const char *why)
{
    atomic_store(&threads_why, why);
    atomic_store(&threads_set, threads);
}

int qk_threads(const char **why)
{
    if (!atomic_load(&threads_set)) {
        const char *limit;
        int n = default_threads(&limit);
        qk_threads_set(n, limit);
    }
    if (why) *why = atomic_load(&threads_why);
    return atomic_load(&threads_set);
}

/* ---- waiting ---- */

enum { SPIN_NANOSECONDS = 50000, LOOKS_AT_A_TIME = 16 };

static int64_t nanoseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* Waits for a short while until *word is `value` (or until it is not); whether that has come. */
static bool spin(atomic_uint *word, bool is, unsigned value)
{
    for (int64_t until = 0;;) {
        for (int i = 0; i < LOOKS_AT_A_TIME; i++) {
            if ((atomic_load_explicit(word, memory_order_acquire) == value) == is) return true;
#if defined(__x86_64__)
            __builtin_ia32_pause();
#elif defined(__aarch64__)
            __asm__ volatile("yield");
#endif
        }
        int64_t now = nanoseconds();
        if (!until) until = now + SPIN_NANOSECONDS;
        if (now >= until) return false;
    }
}

/* futex(2): sleeps while *word is `value`; may return early. */
static void sleep_while(atomic_uint *word, unsigned value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake_all(atomic_uint *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* ---- a team ---- */

typedef struct share {
    alignas(64) atomic_size_t next; /* first item that nobody has taken */
    size_t end;
} share;

typedef struct worker {
    struct team *team;
    int member;
    unsigned seen; /* team.loops as it was when this worker was made */
    pthread_t thread;
} worker;

/* Of `door`; the rest of it counts the workers that are inside. */
enum { OPEN = 1u << 30, OWNER_SLEEPS = 1u << 29 };

typedef struct team {
    /* The loop: written while the door is closed and nobody inside. */
    qk_loop_body *body;
    void *context;
    size_t piece; /* items that are taken at a time */
    int n_shares, members;
    share *shares; /* [size] */

    /* For workers, who wait for a change of it: counts the loops. */
    alignas(64) atomic_uint loops;
    atomic_uint sleeping; /* workers */
    atomic_bool ends;
    alignas(64) atomic_uint door;
    atomic_bool spins;
    worker **workers; /* [size - 1] */
    int size;         /* the owner included */
    int tried;        /* the largest size that was asked for: a loop asks once */
} team;

static _Thread_local team *own;
static _Thread_local bool in_a_loop;

static void run_pieces(team *t, int member)
{
    for (int i = 0; i < t->n_shares; i++) {
        share *s = &t->shares[(member + i) % t->n_shares];
        /* Looking first leaves the line of an empty share where it is. */
        while (atomic_load_explicit(&s->next, memory_order_relaxed) < s->end) {
            size_t at = atomic_fetch_add_explicit(&s->next, t->piece, memory_order_relaxed);
            if (at >= s->end) break;
            size_t end = s->end - at < t->piece ? s->end : at + t->piece;
            t->body(t->context, at, end, member);
        }
    }
}

/* ---- workers ---- */

static void leave(team *t)
{
    if (atomic_fetch_sub(&t->door, 1) - 1 == OWNER_SLEEPS) wake_all(&t->door);
}

static void *serve(void *context)
{
    const worker *w = context;
    team *t = w->team;
    unsigned seen = w->seen;
    in_a_loop = true;
    for (;;) {
        if (!t->spins || !spin(&t->loops, false, seen)) {
            atomic_fetch_add(&t->sleeping, 1);
            while (atomic_load(&t->loops) == seen) sleep_while(&t->loops, seen);
            atomic_fetch_sub(&t->sleeping, 1);
        }
        seen = atomic_load(&t->loops);
        if (atomic_load(&t->ends)) return NULL;
        /* Who is late finds it closed, or a later loop. */
        if (atomic_fetch_add(&t->door, 1) & OPEN && w->member < t->members)
            run_pieces(t, w->member);
        leave(t);
    }
}

static void call_workers(team *t)
{
    atomic_fetch_add(&t->loops, 1);
    if (atomic_load(&t->sleeping)) wake_all(&t->loops);
}

/* Closes the door and waits until nobody is inside. */
static void close_door(team *t)
{
    unsigned inside = atomic_fetch_and(&t->door, ~OPEN) & ~OPEN;
    if (!inside || (t->spins && spin(&t->door, true, 0))) return;
    inside = atomic_fetch_or(&t->door, OWNER_SLEEPS) | OWNER_SLEEPS;
    for (; inside != OWNER_SLEEPS; inside = atomic_load(&t->door)) sleep_while(&t->door, inside);
    atomic_fetch_and(&t->door, ~OWNER_SLEEPS);
}

/* ---- owners ---- */

/* At the end of the owner's thread. */
static void free_team(void *of)
{
    team *t = of;
    atomic_store(&t->ends, true);
    call_workers(t);
    for (int i = 0; i < t->size - 1; i++) {
        pthread_join(t->workers[i]->thread, NULL);
        free(t->workers[i]);
    }
    free(t->workers);
    free(t->shares);
    free(t);
    own = NULL;
}

static pthread_key_t key;

/* The workers are not in a child. */
static void forget_team(void)
{
    own = NULL;
    pthread_setspecific(key, NULL);
}

static void prepare_once(void)
{
    pthread_key_create(&key, free_team);
    pthread_atfork(NULL, NULL, forget_team);
}

static team *own_team(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (own) return own;
    pthread_once(&once, prepare_once);
    own = aligned_alloc(alignof(team), sizeof *own);
    if (!own) qk_no_memory("a team of threads");
    memset(own, 0, sizeof *own);
    own->size = 1;
    pthread_setspecific(key, own);
    return own;
}

/* Bytes of OMP_STACKSIZE: a number of kB, or with one of B, K, M, G; 0 when there is none. */
static size_t stack_bytes(void)
{
    static const char units[] = "BKMG";
    const char *text = getenv("OMP_STACKSIZE");
    if (!text) return 0;
    char *end;
    unsigned long long n = strtoull(text, &end, 10);
    while (*end == ' ') end++;
    const char *unit = *end ? strchr(units, *end & ~0x20) : &units[1];
    if (!unit || n > SIZE_MAX >> 40) return 0;
    return (size_t)n << 10 * (unit - units);
}

static qk_status add_worker(team *t, qk_error *err)
{
    worker *w = qk_zalloc(1, sizeof *w);
    *w = (worker){.team = t, .member = t->size, .seen = atomic_load(&t->loops)};
    qk_status s = qk_thread_start_sized(&w->thread, stack_bytes(), serve, w, err);
    if (s == QK_OK)
        t->workers[t->size++ - 1] = w;
    else
        free(w);
    return s;
}

qk_status qk_team_start(int threads, qk_error *err)
{
    if (threads <= 0) threads = qk_threads(NULL);
    if (in_a_loop || threads <= 1 || (own && own->size >= threads)) return QK_OK;
    team *t = own_team();
    free(t->shares);
    t->shares = aligned_alloc(alignof(share), (size_t)threads * sizeof *t->shares);
    if (!t->shares) qk_no_memory("a team of threads");
    t->workers = qk_realloc(t->workers, (size_t)threads, sizeof *t->workers);
    const char *why;
    t->spins = threads <= qk_available_cpus("", &why);
    if (threads > t->tried) t->tried = threads;
    qk_status s = QK_OK;
    while (t->size < threads && s == QK_OK) s = add_worker(t, err);
    return s;
}

/* ---- loops ---- */

/* Shares of 0 .. n - 1; by_one: there is one share, and it goes item by item. */
static void run_loop(int threads, size_t n, bool by_one, qk_loop_body *body, void *context)
{
    enum { PIECES = 8 }; /* of a share */
    qk_error ignored;
    if (threads <= 0) threads = qk_threads(NULL);
    if (!in_a_loop && n > 1 && (!own || own->tried < threads)) qk_team_start(threads, &ignored);
    team *t = own;
    if (in_a_loop || n <= 1 || threads <= 1 || !t || t->size == 1) {
        if (n) body(context, 0, n, 0);
        return;
    }
    t->body = body;
    t->context = context;
    t->members = threads < t->size ? threads : t->size;
    t->n_shares = by_one ? 1 : n < (size_t)t->members ? (int)n : t->members;
    size_t count = (size_t)t->n_shares, each = n / count, more = n % count;
    t->piece = by_one ? 1 : (each + PIECES - 1) / PIECES;
    for (size_t i = 0; i < count; i++) {
        atomic_store_explicit(&t->shares[i].next, i * each + (i < more ? i : more),
                              memory_order_relaxed);
        t->shares[i].end = (i + 1) * each + (i + 1 < more ? i + 1 : more);
    }
    in_a_loop = true;
    atomic_fetch_or(&t->door, OPEN);
    call_workers(t);
    run_pieces(t, 0);
    close_door(t);
    in_a_loop = false;
}

void qk_loop(int threads, size_t n, qk_loop_body *body, void *context)
{
    run_loop(threads, n, false, body, context);
}

void qk_loop_each(int threads, size_t n, qk_loop_body *body, void *context)
{
    run_loop(threads, n, true, body, context);
}

typedef struct attempts {
    qk_loop_step *step;
    void *context;
    pthread_mutex_t lock;
    size_t first_failed; /* n: none */
    qk_status status;
    qk_error *err;
} attempts;

static void try_items(void *context, size_t begin, size_t end, int member)
{
    attempts *a = context;
    for (size_t i = begin; i < end; i++) {
        qk_error own_error = {0};
        qk_status s = a->step(a->context, i, member, &own_error);
        if (s == QK_OK) continue;
        pthread_mutex_lock(&a->lock);
        if (i < a->first_failed) {
            a->first_failed = i;
            a->status = s;
            *a->err = own_error;
        }
        pthread_mutex_unlock(&a->lock);
    }
}

qk_status qk_loop_try(int threads, size_t n, qk_loop_step *step, void *context, qk_error *err)
{
    attempts a = {step, context, PTHREAD_MUTEX_INITIALIZER, n, QK_OK, err};
    qk_loop_each(threads, n, try_items, &a);
    return a.status;
}
