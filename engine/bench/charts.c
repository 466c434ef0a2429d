/* See charts.h. */
#include "engine/bench/charts.h"

#include <math.h>
#include <stdio.h>

#include "engine/base/log.h"

enum { WIDTH = 360, LINE = 16 };

/* name: for the ids of title and description, which a reader aloud says. */
static void begin_svg(qk_buf *out, const char *name, int height, const char *title,
                      const char *about)
{
    qk_buf_addf(out,
                "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-labelledby=\"%s-title %s-desc\">\n"
                "<title id=\"%s-title\">%s</title>\n<desc id=\"%s-desc\">%s</desc>\n",
                WIDTH, height, name, name, name, title, name, about);
}

static void add_rect(qk_buf *out, const char *class, double x, double y, double width,
                     double height)
{
    qk_buf_addf(out, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n",
                class, x, y, width, height);
}

static void add_line(qk_buf *out, const char *class, double x1, double y1, double x2, double y2)
{
    qk_buf_addf(out, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
                class, x1, y1, x2, y2);
}

/* anchor: "start", "middle" or "end". The text is ours: it has nothing to escape. */
static void add_text(qk_buf *out, double x, double y, const char *anchor, const char *text)
{
    qk_buf_addf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor,
                text);
}

/* Per cent that a stage adds as far as that is told; what is not adds nothing. */
static double told(const qk_bench_timing *t)
{
    return t->measured && qk_difference_judge(&t->wall) == QK_TOLD ? t->wall.percent : 0;
}

/* The stages that stand on each other. */
static const qk_bench_stage stacked[] = {QK_BENCH_ROWS, QK_BENCH_UNIT, QK_BENCH_MERGED};
enum { N_STACKED = sizeof stacked / sizeof *stacked };

static double height_of_stack(const qk_bench_length *l)
{
    double highest = 0;
    for (int i = 0; i < N_STACKED; i++) highest = fmax(highest, told(&l->stages[stacked[i]]));
    return highest;
}

/* ---- stages ---- */

static void add_legend(qk_buf *out, double y)
{
    double x = 0;
    const double widths[] = {66, 92, 96, 90};
    for (int i = 0; i <= N_STACKED; i++) {
        qk_bench_stage s = i ? stacked[i - 1] : QK_BENCH_FORWARD;
        add_rect(out, qk_bench_stage_name(s), x, y - 9, 10, 10);
        add_text(out, x + 14, y, "start", qk_bench_stage_title(s));
        x += widths[i];
    }
}

static void add_stack(const qk_bench_length *l, double y, qk_buf *out)
{
    char text[96];
    double forward = l->stages[QK_BENCH_FORWARD].seconds, whole = height_of_stack(l), before = 0;
    double unit = WIDTH / (100 + whole), x = 100 * unit;
    snprintf(text, sizeof text, "%d tokens: %.3g s", l->tokens, forward * (1 + whole / 100));
    add_text(out, 0, y + 11, "start", text);
    add_rect(out, "forward", 0, y + LINE, x, 18);
    for (int i = 0; i < N_STACKED; i++) {
        double more = told(&l->stages[stacked[i]]) - before;
        if (more <= 0) continue;
        add_rect(out, qk_bench_stage_name(stacked[i]), x, y + LINE, more * unit, 18);
        x += more * unit;
        before += more;
    }
}

void qk_chart_stages(const qk_bench_result *r, qk_buf *out)
{
    enum { STEP = 3 * LINE };
    int n = (int)r->n_lengths;
    begin_svg(out, "stages", n * STEP + LINE + 6, "Seconds of a document, stage by stage",
              "A bar for each length, each as long as the page is wide: the forward, and behind it "
              "what rows, units and the merge add. The table has the numbers.");
    for (int i = 0; i < n; i++) add_stack(&r->lengths[i], i * STEP, out);
    add_legend(out, n * STEP + LINE);
    qk_buf_add_str(out, "</svg>\n");
}

/* ---- what is added ---- */

/* Where per cents lie. */
typedef struct scale {
    double low, high; /* per cent */
} scale;
enum { PLOT_LEFT = 92, PLOT_RIGHT = 216 };

static double place(const scale *s, double percent)
{
    double at = (percent - s->low) / (s->high - s->low);
    return PLOT_LEFT + (at < 0 ? 0 : at > 1 ? 1 : at) * (PLOT_RIGHT - PLOT_LEFT);
}

static scale scale_of(const qk_bench_result *r)
{
    scale s = {0, 0.5};
    for (size_t i = 0; i < r->n_lengths; i++)
        for (int k = QK_BENCH_ROWS; k < QK_BENCH_STAGES; k++) {
            const qk_difference *d = &r->lengths[i].stages[k].wall;
            s.low = fmin(s.low, d->low);
            s.high = fmax(s.high, d->high);
        }
    return s;
}

static void add_added(const qk_bench_timing *t, qk_bench_stage stage, const scale *s, double y,
                      qk_buf *out)
{
    char text[QK_ADDED_TEXT];
    const qk_difference *d = &t->wall;
    qk_bench_added_text(d, text);
    add_text(out, 0, y + 11, "start", qk_bench_stage_title(stage));
    add_text(out, PLOT_RIGHT + 6, y + 11, "start", text);
    if (!d->n) return;
    if (told(t) > 0)
        add_rect(out, qk_bench_stage_name(stage), place(s, 0), y + 2,
                 place(s, told(t)) - place(s, 0), 11);
    add_line(out, "whisker", place(s, d->low), y + 7.5, place(s, d->high), y + 7.5);
    add_line(out, "whisker", place(s, d->low), y + 4, place(s, d->low), y + 11);
    add_line(out, "whisker", place(s, d->high), y + 4, place(s, d->high), y + 11);
}

void qk_chart_added(const qk_bench_result *r, qk_buf *out)
{
    char text[64];
    const scale s = scale_of(r);
    int lines = 1;
    for (size_t i = 0; i < r->n_lengths; i++)
        for (int k = 0; k < QK_BENCH_STAGES; k++) lines += r->lengths[i].stages[k].measured;
    begin_svg(out, "added", (lines + 1) * LINE, "What each stage adds to the forward, per cent",
              "A line for each stage: a bar as long as what is added, where the noise of the "
              "machine does not hide it, and the interval. The table has the numbers.");
    double y = 0;
    for (size_t i = 0; i < r->n_lengths; i++)
        for (int k = 0; k < QK_BENCH_STAGES; k++) {
            const qk_bench_timing *t = &r->lengths[i].stages[k];
            if (!t->measured) continue;
            snprintf(text, sizeof text, "%d tokens", r->lengths[i].tokens);
            if (k == QK_BENCH_FORWARD)
                add_text(out, 0, y + 11, "start", text);
            else
                add_added(t, (qk_bench_stage)k, &s, y, out);
            y += LINE;
        }
    add_line(out, "axis", place(&s, 0), 0, place(&s, 0), y + 4);
    add_text(out, place(&s, 0), y + LINE, "middle", "0 %");
    snprintf(text, sizeof text, "%.3g %%", s.high);
    add_text(out, PLOT_RIGHT, y + LINE, "end", text);
    qk_buf_add_str(out, "</svg>\n");
}

/* ---- roofline ---- */

/* Powers of ten: FLOP for a byte, FLOP a second. */
typedef struct roof {
    double left, right, bottom, top;
} roof;
enum { ROOF_LEFT = 80, ROOF_BOTTOM = 210, ROOF_HEIGHT = 250 };

static double roof_x(const roof *f, double intensity)
{
    return ROOF_LEFT +
           (log10(intensity) - f->left) / (f->right - f->left) * (WIDTH - ROOF_LEFT - 8);
}

static double roof_y(const roof *f, double rate)
{
    return ROOF_BOTTOM - (log10(rate) - f->bottom) / (f->top - f->bottom) * (ROOF_BOTTOM - 12);
}

static double intensity_of(const qk_bench_length *l)
{
    return l->flops / l->stages[QK_BENCH_FORWARD].bytes;
}

static void add_grid(const roof *f, qk_buf *out)
{
    char text[32];
    for (double e = f->left; e <= f->right; e++) {
        double x = roof_x(f, pow(10, e));
        add_line(out, "grid", x, 12, x, ROOF_BOTTOM);
        snprintf(text, sizeof text, "%g", pow(10, e));
        add_text(out, x, ROOF_BOTTOM + 14, e == f->right ? "end" : "middle", text);
    }
    for (double e = f->bottom; e <= f->top; e++) {
        double y = roof_y(f, pow(10, e));
        add_line(out, "grid", ROOF_LEFT, y, WIDTH - 8, y);
        snprintf(text, sizeof text, "%sFLOP/s", qk_human_count(pow(10, e)));
        add_text(out, ROOF_LEFT - 4, y + 4, "end", text);
    }
    add_text(out, (ROOF_LEFT + WIDTH) / 2.0, ROOF_BOTTOM + 32, "middle",
             "FLOP for each byte moved");
}

/* Up with the copies, then along the peak. */
static void add_roof(const roof *f, double peak, double copies, qk_buf *out)
{
    double ridge = peak / copies, from = pow(10, f->left), rate = from * copies;
    if (rate < pow(10, f->bottom)) from = pow(10, f->bottom) / copies, rate = pow(10, f->bottom);
    qk_buf_addf(out, "<polyline class=\"roof\" points=\"%.1f,%.1f %.1f,%.1f %.1f,%.1f\"/>\n",
                roof_x(f, from), roof_y(f, rate), roof_x(f, ridge), roof_y(f, peak),
                roof_x(f, pow(10, f->right)), roof_y(f, peak));
}

void qk_chart_roofline(const qk_bench_result *r, qk_buf *out)
{
    char text[48];
    double peak = qk_bench_peak_of(r), top = ceil(log10(peak) + 0.05), right = 1;
    for (size_t i = 0; i < r->n_lengths; i++)
        right = fmax(right, ceil(log10(intensity_of(&r->lengths[i])) + 0.2));
    const roof f = {-1, right, top - 3, top};
    begin_svg(
        out, "roofline", ROOF_HEIGHT, "The forward below the roof of this machine",
        "Operations a second above operations for each byte that is moved, both axes in powers "
        "of ten. The roof is what copies and multiply-adds allow; a dot is the forward of a "
        "length. The table has the numbers.");
    add_grid(&f, out);
    add_roof(&f, peak, r->peaks.copy_bytes, out);
    for (size_t i = 0; i < r->n_lengths; i++) {
        const qk_bench_length *l = &r->lengths[i];
        double x = roof_x(&f, intensity_of(l));
        double y = roof_y(&f, l->flops / l->stages[QK_BENCH_FORWARD].seconds);
        qk_buf_addf(out, "<circle class=\"forward\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"/>\n", x, y);
        snprintf(text, sizeof text, "%d tokens", l->tokens);
        add_text(out, x - 7, y + 14 + 13 * (double)i, "end", text);
    }
    qk_buf_add_str(out, "</svg>\n");
}
