/* See unit_queue.h. */
#include "engine/capture/unit_queue.h"

#include <stdlib.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/stages.h"
#include "engine/base/thread.h"

struct qk_unit_queue {
    pthread_t thread;
    pthread_mutex_t lock;   /* of all below */
    pthread_cond_t changed; /* broadcast at each change: two threads at most wait for it */
    qk_unit_job jobs[QK_UNIT_QUEUE_JOBS]; /* job n waits in jobs[n % QK_UNIT_QUEUE_JOBS] */
    int64_t put, begun, ended;            /* the number of the last job of each */
    bool stop;                            /* no job will be put any more */
    qk_error failed;                      /* the first one */
};

/* Takes the next job; false at the end. Called with the lock. */
static bool take(qk_unit_queue *q, qk_unit_job *job)
{
    while (q->begun == q->put && !q->stop) pthread_cond_wait(&q->changed, &q->lock);
    if (q->begun == q->put) return false;
    *job = q->jobs[++q->begun % QK_UNIT_QUEUE_JOBS];
    pthread_cond_broadcast(&q->changed);
    return true;
}

static void *run_jobs(void *context)
{
    qk_unit_queue *q = context;
    qk_unit_job job;
    pthread_mutex_lock(&q->lock);
    while (take(q, &job)) {
        if (q->failed.status == QK_OK && job.run) {
            qk_error err = {0};
            pthread_mutex_unlock(&q->lock);
            double began = qk_now();
            qk_status s = job.run(job.context, &err);
            qk_stage_add(QK_STAGE_WRITE, qk_now() - began);
            pthread_mutex_lock(&q->lock);
            if (s != QK_OK) q->failed = err;
        }
        q->ended++;
        pthread_cond_broadcast(&q->changed);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

static void destroy(qk_unit_queue *q)
{
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

qk_status qk_unit_queue_new(qk_unit_queue **out, qk_error *err)
{
    qk_unit_queue *q = qk_zalloc(1, sizeof *q);
    pthread_mutex_init(&q->lock, NULL);
    qk_condition_init(&q->changed);
    qk_status s = qk_thread_start(&q->thread, run_jobs, q, err);
    *out = s == QK_OK ? q : NULL;
    if (s != QK_OK) destroy(q);
    return s;
}

int64_t qk_unit_queue_put(qk_unit_queue *q, const qk_unit_job *job)
{
    pthread_mutex_lock(&q->lock);
    while (q->put - q->begun == QK_UNIT_QUEUE_JOBS) pthread_cond_wait(&q->changed, &q->lock);
    int64_t number = ++q->put;
    q->jobs[number % QK_UNIT_QUEUE_JOBS] = *job;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
    return number;
}

bool qk_unit_queue_ended(qk_unit_queue *q, int64_t job)
{
    pthread_mutex_lock(&q->lock);
    bool ended = q->ended >= job;
    pthread_mutex_unlock(&q->lock);
    return ended;
}

void qk_unit_queue_wait(qk_unit_queue *q, int64_t job)
{
    pthread_mutex_lock(&q->lock);
    while (q->ended < job) pthread_cond_wait(&q->changed, &q->lock);
    pthread_mutex_unlock(&q->lock);
}

qk_status qk_unit_queue_check(qk_unit_queue *q, qk_error *err)
{
    pthread_mutex_lock(&q->lock);
    qk_status s = q->failed.status;
    if (s != QK_OK) *err = q->failed;
    pthread_mutex_unlock(&q->lock);
    return s;
}

void qk_unit_queue_drop(qk_unit_queue *q, const void *unit)
{
    pthread_mutex_lock(&q->lock);
    for (int64_t n = q->begun + 1; n <= q->put; n++) {
        qk_unit_job *job = &q->jobs[n % QK_UNIT_QUEUE_JOBS];
        if (job->unit == unit) job->run = NULL;
    }
    while (q->ended < q->put) pthread_cond_wait(&q->changed, &q->lock);
    pthread_mutex_unlock(&q->lock);
}

void qk_unit_queue_free(qk_unit_queue *q)
{
    if (!q) return;
    pthread_mutex_lock(&q->lock);
    q->stop = true;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
    pthread_join(q->thread, NULL);
    destroy(q);
}
