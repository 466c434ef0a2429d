/* What a head file holds: one kind of vector, in one state.
 *
 *   kind      name    vectors                                          positions are drawn as for
 *   Q         q       queries, in the state that the run captures      q
 *   K         k       keys, alike                                      k
 *   V         v       values, which have no rotary embedding           k
 *   Q_PRE     q_pre   queries before RoPE, where q holds those after   q
 *   K_PRE     k_pre   keys before RoPE, alike                          k
 *
 * The state of q and k is after RoPE, or before it with capture.capture_pre_rope. Only a run of
 * both states (capture.rope: [pre, post]) has files of the last two kinds.
 *
 * next: sampler/seed.h */
#pragma once

#include <stdbool.h>

/* The values of the first two are parts of the seeds; all are bytes of unit files. */
typedef enum qk_kind {
    QK_KIND_Q = 'q',
    QK_KIND_K = 'k',
    QK_KIND_V = 'v',
    QK_KIND_Q_PRE = 'Q',
    QK_KIND_K_PRE = 'K',
} qk_kind;
enum { QK_KINDS = 5 };

/* All of them in the order of files and lists: Q, Q_PRE, K, K_PRE, V. */
extern const qk_kind qk_kinds[QK_KINDS];

/* "q_pre": the end of a file's name. */
const char *qk_kind_name(qk_kind kind);
/* The kind of that name; false for any other text. */
bool qk_kind_parse(const char *name, qk_kind *kind);
/* "queries before RoPE", for people. */
const char *qk_kind_title(qk_kind kind);
/* QK_KIND_Q or QK_KIND_K: whose draw of positions it shares. */
qk_kind qk_kind_drawn_as(qk_kind kind);
