/* What threads that serve others have in common: how they start, and how one waits for them.
 *
 * next: engine/run/prefetch.h, engine/base/team.h, engine/model/layer_stream.h */
#pragma once

#include <pthread.h>

#include "engine/base/error.h"

/* Starts a thread in which no signal arrives: they are for the thread that handles them. The error
 * names the limit that is in the way. */
qk_status qk_thread_start(pthread_t *thread, void *(*run)(void *context), void *context,
                          qk_error *err);
/* stack: its bytes; 0: as many as ulimit -s says. */
qk_status qk_thread_start_sized(pthread_t *thread, size_t stack, void *(*run)(void *context),
                                void *context, qk_error *err);

/* A condition whose clock is the monotonic one: setting the clock does not stretch its waits. */
void qk_condition_init(pthread_cond_t *changed);
/* Until something changes, and at most a tenth of a second, for whoever has to poll what does
 * not wake anybody (signals, files). */
void qk_condition_wait_a_little(pthread_cond_t *changed, pthread_mutex_t *lock);
