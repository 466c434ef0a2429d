/* qkengine join A B OUT: two dataset folders, such as final/ of runs on two machines, become a new
 * one. A and B stay as they are.
 *
 * Prefix layout: a split that both have is join(A, B) (engine/output/join.h), any other one is
 * copied; where A holds all runs of B's split, so is A's. Branch layout: two folders of equal
 * settings hold equal rows, and A is copied. Refused: two layouts, rows of two meanings, two texts
 * under one id, files that are damaged or behind links, and an OUT in A or B.
 *
 * OUT is built as OUT.joining/merged and gets its name in the end, by one rename: it is whole or not
 * there. What a crash leaves in OUT.joining the same command removes when it is run again.
 *
 * next: engine/output/join.h */
#pragma once

#include "engine/base/mem.h"

typedef struct qk_join_report {
    uint64_t splits, files, rows; /* of OUT */
} qk_join_report;

qk_status qk_join_folders(const char *a, const char *b, const char *out, qk_join_report *report,
                          qk_error *err);
