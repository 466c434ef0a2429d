/* What threads that serve others have in common: how they start, and how one waits for them.
 *
 * next: engine/feed.h, engine/layers.h, hub/ahead.h */
#pragma once

#include <pthread.h>

/* Starts a thread in which no signal arrives: they are for the thread that looks at them. Aborts
 * when the system has no thread left. */
void qk_thread_start(pthread_t *thread, void *(*run)(void *context), void *context);

/* A condition whose clock is the monotonic one: setting the clock does not stretch its waits. */
void qk_condition_init(pthread_cond_t *changed);
/* Until something changes, and at most a tenth of a second, for whoever has to look at what does
 * not wake anybody (signals, files). */
void qk_condition_wait_a_little(pthread_cond_t *changed, pthread_mutex_t *lock);
