/* See thread.h. */
#include "engine/base/thread.h"

#include <signal.h>
#include <time.h>

#include "engine/base/error.h"

void qk_thread_start(pthread_t *thread, void *(*run)(void *context), void *context)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(thread, NULL, run, context) != 0) qk_fatal("a thread does not start");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
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
