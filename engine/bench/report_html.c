#include "engine/bench/report.h"
void qk_bench_html(const qk_bench_result *r, qk_buf *out)
{
    (void)r;
    qk_buf_add_str(out, "<!doctype html>");
}
