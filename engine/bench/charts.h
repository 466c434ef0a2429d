/* The charts of the page, as SVG in the text: 360 units wide, so that a letter on a phone is as large
 * as one of the page; colours are classes, which the page's style sheet sets for light and dark.
 *
 * next: engine/bench/report_html.c */
#pragma once

#include "engine/bench/report.h"

/* A bar for each length: the forward, and what is added behind it. */
void qk_chart_stages(const qk_bench_result *r, qk_buf *out);
/* The same additions alone, with their intervals. */
void qk_chart_added(const qk_bench_result *r, qk_buf *out);
/* The forward of each length below the roof of the machine (Williams, Waterman, Patterson, 2009);
 * only where there are peaks. */
void qk_chart_roofline(const qk_bench_result *r, qk_buf *out);
