/* How far the work is: one line of parts, redrawn in place on a terminal and never longer than it,
 * or a plain dated line now and then where there is none (a pipe, a file, TERM=dumb).
 *
 *   12/75 units  24/150 texts  16 %  21 tokens/s  2 processes  ETA 1h32m     a terminal
 *   12/75  16 %  ETA 1h32m                                                   one of 25 columns
 *   2026-11-30 21:04:07 host[1234] 12/75 units  24/150 texts ...             a pipe
 *
 * Where a line does not fit, its brief forms are tried and the parts of the highest ranks left out.
 * Plain lines come 2 s, 10 s, 30 s, 1, 2 and 5 minutes after the first call, then every 10 minutes.
 * All functions may be called in any thread, and say nothing under qk_log_quiet.
 *
 *   if (qk_progress_due()) { qk_progress_line line = {0}; add parts; qk_progress_show(&line); } */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QK_PROGRESS_PARTS = 8, QK_PROGRESS_PART = 96, QK_PROGRESS_LINE = 512 };

typedef struct qk_progress_part {
    int rank;                    /* 1 is kept longest, and its brief form last of all */
    char text[QK_PROGRESS_PART]; /* "12/75 units" */
    size_t brief;                /* bytes of its brief form, "12/75"; 0: it has none */
} qk_progress_part;

typedef struct qk_progress_line {
    size_t count;
    qk_progress_part parts[QK_PROGRESS_PARTS];
} qk_progress_line;

/* Appends a part, as one line of visible characters. Ranks of a line are 1, 2, 3 ... in any order;
 * two parts may have the same. */
void qk_progress_add(qk_progress_line *line, int rank, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "12/75 units", or "12 units" where total is not positive; brief without the noun. A noun of one:
 * "unit". */
void qk_progress_add_count(qk_progress_line *line, int rank, int64_t done, int64_t total,
                           const char *noun);
/* "16 %", never 100 before the end; nothing where total is not positive. */
void qk_progress_add_share(qk_progress_line *line, int rank, double done, double total);
/* The line as it is shown in that many columns (0: all of it), in out; returns its columns. */
size_t qk_progress_fit(const qk_progress_line *line, size_t columns, char *out, size_t capacity);

/* Whether a line would be shown now: one reading of the clock. */
bool qk_progress_due(void);
/* Shows it, due or not. */
void qk_progress_show(const qk_progress_line *line);
/* Shows the last one of some work; on a terminal it stays. */
void qk_progress_end(const qk_progress_line *line);

/* One line when it is due: "loading weights  3/30 layers  10 %"; noun NULL: bytes,
 * "hashing  1.2 GB of 3.0 GB  40 %". */
void qk_progress_of(const char *what, double done, double total, const char *noun);

/* For tests: the clock (seconds, never back; NULL: the real one), and a new start. */
void qk_progress_set_clock(double (*now)(void));
/* Of the terminal on stderr; where that does not say, of COLUMNS, else 80. */
size_t qk_progress_columns(void);
/* "text", "texts": the plural of a noun in messages. */
const char *qk_plural(int64_t n);
