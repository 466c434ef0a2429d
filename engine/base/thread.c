/* See thread.h. */
#include "engine/base/thread.h"

#include <errno.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include "engine/base/available.h"
#include "engine/base/mem.h"

/* ---- what is in the way ---- */

static bool add_limit(char *out, size_t size, int resource, const char *name, rlim_t unit)
{
    struct rlimit r;
    if (getrlimit((__rlimit_resource_t)resource, &r) != 0 || r.rlim_cur == RLIM_INFINITY)
        return false;
    size_t n = strlen(out);
    snprintf(out + n, size - n, "%s%s is %llu", n ? ", " : "", name,
             (unsigned long long)(r.rlim_cur / unit));
    return true;
}

/* A thread counts as a process and takes memory for its stack. */
static qk_status fail_to_start(int why, size_t stack, qk_error *err)
{
    char limit[128] = "";
    void *p = mmap(NULL, stack, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (p != MAP_FAILED) {
        munmap(p, stack); /* the stack fits */
    } else {
        bool any = add_limit(limit, sizeof limit, RLIMIT_AS, "ulimit -v", 1024);
        any |= add_limit(limit, sizeof limit, RLIMIT_DATA, "ulimit -d", 1024);
        return qk_fail(err, QK_ERR_IO, "raise the limit, or use fewer threads (OMP_NUM_THREADS)",
                       "a thread does not start: no memory for its stack of %zu kB%s%s%s",
                       stack >> 10, any ? " (" : "", limit, any ? " kB)" : "");
    }
    if (!qk_available_threads("")) snprintf(limit, sizeof limit, "pids.max of its control group");
    if (!*limit) add_limit(limit, sizeof limit, RLIMIT_NPROC, "ulimit -u", 1);
    return qk_fail(err, QK_ERR_IO, "raise the limit, or use fewer threads (OMP_NUM_THREADS)",
                   "a thread does not start: %s (the limit of processes%s%s)", strerror(why),
                   *limit ? ": " : "", limit);
}

/* ---- single threads ---- */

static qk_status start(pthread_t *thread, size_t stack, void *(*run)(void *), void *context,
                       qk_error *err)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    if (stack) pthread_attr_setstacksize(&attributes, stack);
    pthread_attr_getstacksize(&attributes, &stack);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int why = pthread_create(thread, &attributes, run, context);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return why ? fail_to_start(why, stack, err) : QK_OK;
}

qk_status qk_thread_start(pthread_t *thread, void *(*run)(void *context), void *context,
                          qk_error *err)
{
    return start(thread, 0, run, context, err);
}

/* ---- teams ---- */

/* Bytes of OMP_STACKSIZE: a number of kB, or with one of B, K, M, G; 0 when there is none. */
static size_t team_stack(void)
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

typedef struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
} gate;

static void *wait_at(void *context)
{
    gate *g = context;
    pthread_mutex_lock(&g->lock);
    while (!g->open) pthread_cond_wait(&g->changed, &g->lock);
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

/* All of them at once, as a team has them. */
static qk_status try_threads(int n, qk_error *err)
{
    gate g = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    pthread_t *threads = qk_alloc((size_t)n, sizeof *threads);
    qk_status s = QK_OK;
    int started = 0;
    while (started < n && s == QK_OK) {
        s = start(&threads[started], team_stack(), wait_at, &g, err);
        started += s == QK_OK;
    }
    pthread_mutex_lock(&g.lock);
    g.open = true;
    pthread_cond_broadcast(&g.changed);
    pthread_mutex_unlock(&g.lock);
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    free(threads);
    return s;
}

qk_status qk_team_start(int n, qk_error *err)
{
    static _Thread_local int size = 1;
    if (n <= 0) n = omp_get_max_threads();
    if (n <= size) return QK_OK;
    QK_TRY(try_threads(n - 1, err));
    int there = 0;
#pragma omp parallel num_threads(n) reduction(+ : there)
    there++;
    size = n;
    return QK_OK;
}

void qk_condition_init(pthread_cond_t *changed)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

void qk_condition_wait_a_little(pthread_cond_t *changed, pthread_mutex_t *lock)
{
    enum { TENTH = 100000000, SECOND = 1000000000 };
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += TENTH;
    until.tv_sec += until.tv_nsec / SECOND;
    until.tv_nsec %= SECOND;
    pthread_cond_timedwait(changed, lock, &until);
}
