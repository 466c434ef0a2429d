/* What `qkengine bench` prints: the same numbers as text for people, JSON, CSV and a page.
 *
 * A difference that the noise hides is no number in any of them (engine/bench/stats.h).
 *
 * next: engine/bench/report_text.c */
#pragma once

#include "engine/bench/result.h"
#include "formats/json.h"

/* "+ unit written" for tables, "unit" for programs. */
const char *qk_bench_stage_title(qk_bench_stage stage);
const char *qk_bench_stage_name(qk_bench_stage stage);
/* "told", "noise", "few", "unmeasured" */
const char *qk_verdict_name(qk_verdict verdict);

enum { QK_ADDED_TEXT = 96 };
/* "+0.31 % (0.12 to 0.55)", "below 0.4 %, the noise of this machine" ... */
void qk_bench_added_text(const qk_difference *d, char out[QK_ADDED_TEXT]);
/* What the forward is held against: the peak of its format; 0: not known. */
double qk_bench_peak_of(const qk_bench_result *r);
/* Per cent of it that the forward reaches while it has the processor; where there is a peak. */
double qk_bench_cpu_share(const qk_bench_result *r, const qk_bench_length *l);

/* All append to `out`. */
void qk_bench_text(const qk_bench_result *r, qk_buf *out);
void qk_bench_json(const qk_bench_result *r, qk_json_out *out);
void qk_bench_csv(const qk_bench_result *r, qk_buf *out);
void qk_bench_html(const qk_bench_result *r, qk_buf *out);
