/* The report as one page that needs nothing else: charts, and their numbers as a table. It fits a
 * phone, and follows the reader's choice of light or dark. See report.h. */
#include "engine/base/log.h"
#include "engine/bench/charts.h"

static const char STYLE[] =
    ":root{color-scheme:light dark;--text:#1b1f24;--page:#fff;--soft:#5b6470;--line:#d0d7de;"
    "--forward:#2f6fb3;--rows:#b5402a;--gather:#7d4aa3;--unit:#b07a00;--merged:#3f7d3a}\n"
    "@media (prefers-color-scheme:dark){:root{--text:#e6e9ed;--page:#14171b;--soft:#a3adb8;"
    "--line:#3a424c;--forward:#6cabea;--rows:#f08a74;--gather:#c79ae6;--unit:#e8b64a;"
    "--merged:#86c97f}}\n"
    "body{margin:0 auto;padding:1rem;max-width:68rem;font:1rem/1.5 system-ui,sans-serif;"
    "color:var(--text);background:var(--page)}\n"
    "h1{font-size:1.4rem;line-height:1.25;overflow-wrap:anywhere}h2{font-size:1.1rem;"
    "margin-top:2rem}p,dd{overflow-wrap:anywhere}\n"
    "dl{display:grid;grid-template-columns:auto 1fr;gap:.15rem 1rem;margin:0}dt{color:var(--soft)}"
    "dd{margin:0}\n"
    "figure{margin:0}figcaption{color:var(--soft);margin-bottom:.5rem}\n"
    "svg{display:block;width:100%;max-width:36rem;height:auto}"
    "svg text{font-size:10.5px;fill:var(--text)}\n"
    ".forward{fill:var(--forward)}.rows{fill:var(--rows)}.gather{fill:var(--gather)}"
    ".unit{fill:var(--unit)}.merged{fill:var(--merged)}\n"
    ".whisker{stroke:var(--text);stroke-width:1.2}.axis{stroke:var(--soft)}"
    ".grid{stroke:var(--line);stroke-width:.6}"
    ".roof{fill:none;stroke:var(--soft);stroke-width:2}\n"
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "th,td{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:right;"
    "white-space:nowrap}th.text,td.text{text-align:left}tbody th{font-weight:400}\n";

static void add_escaped(qk_buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '&')
            qk_buf_add_str(out, "&amp;");
        else if (*text == '<')
            qk_buf_add_str(out, "&lt;");
        else if (*text == '>')
            qk_buf_add_str(out, "&gt;");
        else if (*text == '"')
            qk_buf_add_str(out, "&quot;");
        else
            qk_buf_add_byte(out, (uint8_t)*text);
    }
}

static void add_fact(qk_buf *out, const char *term, const char *text)
{
    qk_buf_addf(out, "<dt>%s</dt><dd>", term);
    add_escaped(out, text);
    qk_buf_add_str(out, "</dd>\n");
}

static void add_facts(const qk_bench_result *r, qk_buf *out)
{
    qk_buf text = {0};
    qk_buf_add_str(out, "<dl>\n");
    qk_buf_addf(&text, "%s%s, %s, %d layers, %d query and %d key heads of %d", r->model,
                r->is_random ? " (random weights)" : "", r->dtype, r->layers, r->q_heads,
                r->k_heads, r->head_dim);
    add_fact(out, "model", qk_buf_str(&text));
    add_fact(out, "device", r->device);
    add_fact(out, "rows", r->sampler);
    add_fact(out, "files in", r->disk);
    if (r->peaks.vector_flops > 0) {
        qk_buf_clear(&text);
        qk_buf_addf(&text, "%sFLOP/s of float32 multiply-adds",
                    qk_human_count(r->peaks.vector_flops));
        if (r->peaks.matrix_flops > 0)
            qk_buf_addf(&text, ", %sFLOP/s of bfloat16", qk_human_count(r->peaks.matrix_flops));
        qk_buf_addf(&text, ", %s/s copied", qk_human_bytes(r->peaks.copy_bytes));
        add_fact(out, "peaks", qk_buf_str(&text));
    }
    add_fact(out, "program", r->build);
    qk_buf_add_str(out, "</dl>\n");
    qk_buf_free(&text);
}

static void add_figure(const qk_bench_result *r, const char *title, const char *caption,
                       void (*chart)(const qk_bench_result *, qk_buf *), qk_buf *out)
{
    qk_buf_addf(out, "<h2>%s</h2>\n<figure><figcaption>%s</figcaption>\n", title, caption);
    chart(r, out);
    qk_buf_add_str(out, "</figure>\n");
}

static void add_cell(qk_buf *out, bool known, const char *format, double value)
{
    qk_buf_add_str(out, "<td>");
    if (known)
        qk_buf_addf(out, format, value);
    else
        qk_buf_add_str(out, "-");
    qk_buf_add_str(out, "</td>");
}

static void add_row(const qk_bench_result *r, const qk_bench_length *l, qk_bench_stage s,
                    qk_buf *out)
{
    const qk_bench_timing *t = &l->stages[s];
    char wall[QK_ADDED_TEXT] = "", cpu[QK_ADDED_TEXT] = "";
    if (s != QK_BENCH_FORWARD) {
        qk_bench_added_text(&t->wall, wall);
        qk_bench_added_text(&t->cpu, cpu);
    }
    qk_buf_addf(out, "<tr><td>%d</td><th class=\"text\" scope=\"row\">%s</th>", l->tokens,
                qk_bench_stage_title(s));
    add_cell(out, r->timed, "%.4g", t->seconds);
    add_cell(out, r->timed, "%.4g", t->least);
    add_cell(out, r->timed, "%.4g", t->most);
    add_cell(out, r->timed, "%.0f", l->tokens / t->seconds);
    qk_buf_addf(out, "<td>%s</td><td class=\"text\">%s</td><td class=\"text\">%s</td></tr>\n",
                qk_human_bytes(t->bytes), wall, cpu);
}

static void add_table(const qk_bench_result *r, qk_buf *out)
{
    qk_buf_add_str(
        out,
        "<h2>Numbers</h2>\n<p id=\"numbers\">Of a document: medians of the rounds, and what is "
        "added "
        "to the forward with its interval of 95 %; \"below\" is noise, \"?\" too few rounds.</p>\n"
        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-labelledby=\"numbers\"><table>\n"
        "<thead><tr><th scope=\"col\">tokens</th><th class=\"text\" scope=\"col\">stage</th>"
        "<th scope=\"col\">seconds</th><th scope=\"col\">least</th><th scope=\"col\">most</th>"
        "<th scope=\"col\">tokens/s</th><th scope=\"col\">bytes</th>"
        "<th class=\"text\" scope=\"col\">added</th>"
        "<th class=\"text\" scope=\"col\">added CPU time</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < r->n_lengths; i++)
        for (int s = 0; s < QK_BENCH_STAGES; s++)
            if (r->lengths[i].stages[s].measured)
                add_row(r, &r->lengths[i], (qk_bench_stage)s, out);
    qk_buf_add_str(out, "</tbody></table></div>\n");
}

static void add_notes(const qk_bench_result *r, qk_buf *out)
{
    qk_buf_add_str(out, "<ul>\n");
    for (size_t i = 0; i < r->n_lengths; i++) {
        const qk_bench_length *l = &r->lengths[i];
        double rate = l->flops / l->stages[QK_BENCH_FORWARD].seconds, peak = qk_bench_peak_of(r);
        qk_buf_addf(out, "<li>%d tokens: %zu rounds, %sFLOP/s", l->tokens, l->rounds,
                    qk_human_count(rate));
        if (peak > 0)
            qk_buf_addf(out, ", %.0f %% of the peak, by CPU time %.0f %%", 100 * rate / peak,
                        qk_bench_cpu_share(r, l));
        qk_buf_addf(
            out,
            "; once for each unit its commit, %.1f ms, which is in the above; once for a run "
            "making %lld files and having them on the disk, %.2f s, which is not</li>\n",
            1000 * l->commit_seconds, (long long)l->files, l->merge_seconds);
    }
    qk_buf_add_str(out, "</ul>\n");
}

void qk_bench_html(const qk_bench_result *r, qk_buf *out)
{
    qk_buf_add_str(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                        "<title>What capture costs: ");
    add_escaped(out, r->model);
    qk_buf_addf(out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<main>\n", STYLE);
    qk_buf_add_str(out, "<h1>What capture costs: ");
    add_escaped(out, r->model);
    qk_buf_add_str(out, "</h1>\n");
    add_facts(r, out);
    if (r->timed) {
        add_figure(r, "A document, stage by stage",
                   "Seconds. What the noise of the machine hides is not drawn.", qk_chart_stages,
                   out);
        add_figure(r, "What is added",
                   "Per cent of the forward: the median, where it is told, and its interval.",
                   qk_chart_added, out);
    }
    if (r->timed && r->peaks.vector_flops > 0)
        add_figure(r, "What is left", "The forward, and the roof of this machine.",
                   qk_chart_roofline, out);
    add_table(r, out);
    if (r->timed) add_notes(r, out);
    qk_buf_add_str(out, "</main>\n</body>\n</html>\n");
}
