/* See thread.h. */
#include "engine/base/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include "engine/base/available.h"

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
        return qk_fail(err, QK_ERR_IO,
                       "raise the limit, or use fewer threads (inference.threads, OMP_NUM_THREADS)",
                       "a thread does not start: no memory for its stack of %zu kB%s%s%s",
                       stack >> 10, any ? " (" : "", limit, any ? " kB)" : "");
    }
    if (!qk_available_threads("")) snprintf(limit, sizeof limit, "pids.max of its control group");
    if (!*limit) add_limit(limit, sizeof limit, RLIMIT_NPROC, "ulimit -u", 1);
    return qk_fail(err, QK_ERR_IO,
                   "raise the limit, or use fewer threads (inference.threads, OMP_NUM_THREADS)",
                   "a thread does not start: %s (the limit of processes%s%s)", strerror(why),
                   *limit ? ": " : "", limit);
}

/* ---- single threads ---- */

qk_status qk_thread_start_sized(pthread_t *thread, size_t stack, void *(*run)(void *),
                                void *context, qk_error *err)
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
    return qk_thread_start_sized(thread, 0, run, context, err);
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
