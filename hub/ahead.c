/* See ahead.h. */
#include "hub/ahead.h"

#include <stdlib.h>

#include "engine/base/log.h"
#include "engine/base/thread.h"

enum { SAY_AFTER = 10 }; /* seconds of waiting */

struct qk_ahead {
    qk_snapshot *snapshot;
    pthread_t thread; /* begins with the first file that is wanted soon */
    bool has_thread, ended;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    char *wanted; /* what the thread fetches or is about to, or NULL: it is idle */
};

/* ---- the thread ---- */

static void *fetch_ahead(void *context)
{
    qk_ahead *a = context;
    pthread_mutex_lock(&a->lock);
    while (!a->ended) {
        if (!a->wanted) {
            pthread_cond_wait(&a->changed, &a->lock);
            continue;
        }
        qk_names one = {0};
        qk_error ignored; /* it is told when the file is needed, if it still cannot be had then */
        qk_names_add(&one, a->wanted);
        pthread_mutex_unlock(&a->lock);
        a->snapshot->quiet = true;
        qk_snapshot_fetch(a->snapshot, &one, &ignored);
        a->snapshot->quiet = false;
        pthread_mutex_lock(&a->lock);
        qk_names_free(&one);
        free(a->wanted);
        a->wanted = NULL;
        pthread_cond_broadcast(&a->changed);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

/* ---- the reader ---- */

qk_ahead *qk_ahead_new(qk_snapshot *snapshot)
{
    qk_ahead *a = qk_zalloc(1, sizeof *a);
    a->snapshot = snapshot;
    pthread_mutex_init(&a->lock, NULL);
    qk_condition_init(&a->changed);
    return a;
}

qk_status qk_ahead_need(qk_ahead *a, const qk_names *paths, const char *reason, qk_error *err)
{
    bool complete = true;
    for (size_t i = 0; i < paths->count && complete; i++)
        QK_TRY(qk_snapshot_knows(a->snapshot, paths->items[i], &complete, err));
    if (complete) return QK_OK;
    double say_at = qk_now() + SAY_AFTER;
    qk_status s = QK_OK;
    pthread_mutex_lock(&a->lock);
    while (a->wanted && s == QK_OK) {
        qk_condition_wait_a_little(&a->changed, &a->lock); /* signals do not wake anybody here */
        if (a->wanted && qk_now() >= say_at) {
            say_at = qk_now() + SAY_AFTER;
            qk_info("waiting for %s of %s", a->wanted, a->snapshot->repo.id);
        }
        s = qk_hub_check(a->snapshot->hub, err);
    }
    pthread_mutex_unlock(&a->lock);
    if (s != QK_OK) return s;
    a->snapshot->reason = reason;
    s = qk_snapshot_fetch(a->snapshot, paths, err);
    a->snapshot->reason = NULL;
    return s;
}

void qk_ahead_soon(qk_ahead *a, const char *path)
{
    bool knows;
    qk_error ignored; /* as above */
    if (qk_snapshot_knows(a->snapshot, path, &knows, &ignored) != QK_OK || knows) return;
    /* Without a thread the file comes when it is needed. */
    if (!a->has_thread)
        a->has_thread = qk_thread_start(&a->thread, fetch_ahead, a, &ignored) == QK_OK;
    if (!a->has_thread) return;
    pthread_mutex_lock(&a->lock);
    if (!a->wanted) a->wanted = qk_strdup(path);
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

void qk_ahead_free(qk_ahead *a)
{
    if (!a) return;
    pthread_mutex_lock(&a->lock);
    a->ended = true;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
    if (a->has_thread) pthread_join(a->thread, NULL);
    pthread_cond_destroy(&a->changed);
    pthread_mutex_destroy(&a->lock);
    free(a->wanted);
    free(a);
}
