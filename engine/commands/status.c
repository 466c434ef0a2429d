/* qkengine status DATA_ROOT: see engine/run/status.h. */
#include "engine/run/status.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/process.h"
#include "engine/base/progress.h"
#include "engine/base/text.h"
#include "engine/commands/cli.h"

static const char *const state_words[] = {
    [QK_RUN_STATE_STARTS] = "starting",   [QK_RUN_STATE_WORKS] = "working",
    [QK_RUN_STATE_STANDS] = "stopped",    [QK_RUN_STATE_UNMERGED] = "unmerged",
    [QK_RUN_STATE_FINISHED] = "finished",
};
static const char *const state_lines[] = {
    [QK_RUN_STATE_STARTS] = "no unit is finished yet",
    [QK_RUN_STATE_WORKS] = NULL,
    [QK_RUN_STATE_STANDS] = "no process is at work: the same command goes on",
    [QK_RUN_STATE_UNMERGED] = "all units are done; the last process merges, or the same command",
    [QK_RUN_STATE_FINISHED] = "finished: nothing is left to do",
};
static const char *const worker_words[] = {
    [QK_HOLDER_ELSEWHERE] = "elsewhere",
    [QK_HOLDER_WORKS] = "working",
    [QK_HOLDER_STOPPED] = "stopped",
    [QK_HOLDER_GONE] = "gone",
};
static const char *const worker_notes[] = {
    [QK_HOLDER_ELSEWHERE] = "",
    [QK_HOLDER_WORKS] = "",
    [QK_HOLDER_STOPPED] = "  STALLED: the process is stopped (SIGCONT lets it go on)",
    [QK_HOLDER_GONE] = "  STALLED: the process is gone; the next one takes the unit",
};

/* Units that somebody works on, as far as that is known. */
static int64_t in_work(const qk_run_status *s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s->n_workers; i++) n += s->workers[i].state != QK_HOLDER_GONE;
    return n;
}

/* Claims behind the last unit of a damaged units.json are none of its units. */
static int64_t waiting(const qk_run_status *s)
{
    int64_t n = s->units - s->units_done - in_work(s);
    return n > 0 ? n : 0;
}

/* ---- for programs ---- */

static void add_number(qk_json_out *o, const char *key, double value, bool known)
{
    if (known)
        qk_json_add_num(o, key, value);
    else
        qk_json_add_null(o, key);
}

static void add_integer(qk_json_out *o, const char *key, int64_t value, bool known)
{
    if (known)
        qk_json_add_int(o, key, value);
    else
        qk_json_add_null(o, key);
}

static void add_workers(qk_json_out *o, const qk_run_status *s)
{
    qk_json_begin(o, "workers", '[');
    for (size_t i = 0; i < s->n_workers; i++) {
        const qk_worker *w = &s->workers[i];
        const qk_holder *h = &w->holder;
        qk_json_begin(o, NULL, '{');
        qk_json_add_int(o, "unit", w->unit);
        qk_json_add_str(o, "host", *h->host ? h->host : NULL);
        add_integer(o, "pid", h->pid, h->pid > 0);
        qk_json_add_str(o, "job", *h->job ? h->job : NULL);
        add_integer(o, "rank", h->rank, h->world > 0);
        add_integer(o, "world", h->world, h->world > 0);
        qk_json_add_num(o, "since", h->since);
        qk_json_add_str(o, "state", worker_words[w->state]);
        qk_json_end(o, '}');
    }
    qk_json_end(o, ']');
}

static void add_splits(qk_json_out *o, const qk_run_status *s)
{
    qk_json_begin(o, "splits", '[');
    for (size_t i = 0; i < s->n_splits; i++) {
        const qk_final_split *f = &s->splits[i];
        qk_json_begin(o, NULL, '{');
        qk_json_add_str(o, "name", f->name);
        qk_json_add_int(o, "files", f->files);
        qk_json_add_int(o, "rows", (int64_t)f->rows);
        qk_json_add_int(o, "examples", f->examples);
        qk_json_add_int(o, "tokens", f->tokens);
        qk_json_add_int(o, "runs", f->runs);
        qk_json_end(o, '}');
    }
    qk_json_end(o, ']');
}

/* watched: now, not when the command has ended. */
static void print_json(const qk_run_status *s, bool watched)
{
    qk_json_out o = {.compact = watched};
    qk_json_begin(&o, NULL, '{');
    qk_json_add_str(&o, "state", state_words[s->state]);
    qk_json_add_str(&o, "model", s->model);
    add_integer(&o, "units", s->units, s->units >= 0);
    qk_json_add_int(&o, "units_done", s->units_done);
    qk_json_add_int(&o, "units_in_work", in_work(s));
    add_integer(&o, "units_waiting", waiting(s), s->units >= 0);
    add_number(&o, "newest", s->newest, s->units_done > 0);
    add_number(&o, "units_per_second", s->units_per_second, s->units_per_second > 0);
    add_number(&o, "tokens_per_second", s->tokens_per_second, s->tokens_per_second > 0);
    qk_json_add_int(&o, "rates_of_units", s->recent);
    add_number(&o, "seconds_left", s->seconds_left, s->seconds_left >= 0);
    add_workers(&o, s);
    add_splits(&o, s);
    qk_json_begin(&o, "problems", '[');
    for (size_t i = 0; i < s->problems.count; i++) qk_json_add_str(&o, NULL, s->problems.items[i]);
    qk_json_end(&o, ']');
    qk_json_end(&o, '}');
    if (watched) {
        puts(qk_buf_str(&o.buf));
        qk_buf_free(&o.buf);
    } else {
        qk_print_json(&o);
    }
}

/* ---- for people ---- */

static void print_units(const qk_run_status *s, const char *data_root)
{
    printf("%s: ", qk_visible(data_root));
    if (s->units >= 0)
        printf("%lld of %lld unit%s done", (long long)s->units_done, (long long)s->units,
               qk_plural(s->units));
    else
        printf("%lld unit%s done, of a number that is not known yet", (long long)s->units_done,
               qk_plural(s->units_done));
    if (s->units > 0)
        printf(" (%lld %%)", (long long)(100 * (double)s->units_done / (double)s->units));
    printf(", %lld in work", (long long)in_work(s));
    if (s->units >= 0) printf(", %lld waiting", (long long)waiting(s));
    printf("%s%s\n", s->model ? "; model " : "", s->model ? qk_visible(s->model) : "");
}

static void print_rates(const qk_run_status *s)
{
    if (s->recent) {
        printf("%.2f units/min", 60 * s->units_per_second);
        if (s->tokens_per_second > 0) printf(", %s tokens/s", qk_human_count(s->tokens_per_second));
        printf(" (the last %lld)", (long long)s->recent);
        if (s->seconds_left >= 0) printf(", ETA %s", qk_human_seconds(s->seconds_left));
        putchar('\n');
    }
    if (state_lines[s->state]) puts(state_lines[s->state]);
}

static void print_workers(const qk_run_status *s)
{
    double now = (double)time(NULL);
    if (s->n_workers)
        printf("\n%8s  %-28s %-16s %-9s %s\n", "unit", "process", "job", "rank", "since");
    for (size_t i = 0; i < s->n_workers; i++) {
        const qk_worker *w = &s->workers[i];
        const qk_holder *h = &w->holder;
        char process[300] = "?", rank[48] = "";
        if (*h->host)
            snprintf(process, sizeof process, "%s[%lld]", qk_visible(h->host), (long long)h->pid);
        if (h->world > 0)
            snprintf(rank, sizeof rank, "%lld/%lld", (long long)h->rank, (long long)h->world);
        printf("%8lld  %-28s %-16s %-9s %s%s\n", (long long)w->unit, process, qk_visible(h->job),
               rank, qk_human_seconds(now - h->since), worker_notes[w->state]);
    }
}

static void print_text(const qk_run_status *s, const char *data_root)
{
    if (s->state == QK_RUN_STATE_FINISHED)
        printf("%s: %s\n", qk_visible(data_root), state_lines[s->state]);
    else {
        print_units(s, data_root);
        print_rates(s);
        print_workers(s);
    }
    if (s->n_splits) putchar('\n');
    for (size_t i = 0; i < s->n_splits; i++) {
        const qk_final_split *f = &s->splits[i];
        printf("final: %s: %lld files, %s rows of %lld text%s, %s tokens, from %lld run%s\n",
               qk_visible(f->name), (long long)f->files, qk_human_count((double)f->rows),
               (long long)f->examples, qk_plural(f->examples), qk_human_count((double)f->tokens),
               (long long)f->runs, qk_plural(f->runs));
    }
    for (size_t i = 0; i < s->problems.count; i++) qk_warn("%s", s->problems.items[i]);
}

static qk_status show(const qk_args *args, bool again, bool *finished, qk_error *err)
{
    qk_run_status s;
    const char *data_root = qk_arg(args, 0);
    bool watch = qk_value(args, "watch") != NULL;
    qk_status status = qk_run_status_read(&s, data_root, err);
    if (status == QK_OK && qk_has(args, "json")) {
        print_json(&s, watch);
    } else if (status == QK_OK) {
        if (watch && isatty(STDOUT_FILENO))
            fputs("\x1b[H\x1b[2J", stdout); /* from the top of an empty screen */
        else if (again)
            putchar('\n');
        print_text(&s, data_root);
    }
    *finished = s.state == QK_RUN_STATE_FINISHED;
    qk_run_status_free(&s);
    return status;
}

static qk_status run(const qk_args *args, qk_error *err)
{
    int64_t seconds = qk_value_int(args, "watch");
    bool finished;
    if (seconds) qk_print_json_lines();
    QK_TRY(show(args, false, &finished, err));
    while (seconds && !finished) {
        if (!qk_process_flush_stdout())
            return qk_fail_write(err, "cannot write", "standard output");
        sleep((unsigned)seconds);
        QK_TRY(show(args, true, &finished, err));
    }
    return QK_OK;
}

static const qk_option options[] = {
    {"watch", "SECONDS", "again and again, until the run is finished (or Ctrl-C)",
     .type = QK_VALUE_INT, .least = 1, .most = 86400},
    QK_OPTION_JSON("one object for programs; with --watch a line for each time"),
    {0},
};

const qk_command qk_command_status = {
    .name = "status",
    .arguments = {{"DATA_ROOT", QK_VALUE_FOLDER}},
    .summary = "how far a run is: units, who works on which, rate, ETA",
    .details =
        "DATA_ROOT is output.data_root of the run. Nothing in it is written or locked, so this can "
        "be asked at any time and from any machine that sees the folder.\n"
        "How many units there are is known at once for Parquet and with dataset.max_samples, else "
        "when a process has read the dataset to its end. Rates are those of the newest units, by "
        "the times of their files. A process of this machine that is gone or stopped is marked as "
        "stalled; of one elsewhere it is known only since when it has its unit.",
    .options = options,
    .run = run,
};
