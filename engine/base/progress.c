/* See progress.h. */
#include "engine/base/progress.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"

#define GAP "  "
#define REDRAW 0.1 /* seconds */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static double (*clock_now)(void) = qk_now;
static double started = -1, due_at; /* on that clock; started < 0: no call yet */

/* ---- the text ---- */

void qk_progress_add(qk_progress_line *line, int rank, const char *format, ...)
{
    if (line->count == QK_PROGRESS_PARTS) return;
    qk_progress_part *part = &line->parts[line->count++];
    va_list args;
    va_start(args, format);
    char *raw = qk_vstrf(format, args), *text = qk_visible_copy(raw);
    va_end(args);
    *part = (qk_progress_part){.rank = rank};
    snprintf(part->text, sizeof part->text, "%s", text);
    part->text[qk_utf8_check((const uint8_t *)part->text, strlen(part->text))] = 0;
    free(raw);
    free(text);
}

void qk_progress_add_count(qk_progress_line *line, int rank, int64_t done, int64_t total,
                           const char *noun)
{
    char number[48];
    snprintf(number, sizeof number, total > 0 ? "%lld/%lld" : "%lld", (long long)done,
             (long long)total);
    size_t before = line->count;
    qk_progress_add(line, rank, "%s %s%s", number, noun, qk_plural(total > 0 ? total : done));
    if (line->count > before) line->parts[before].brief = strlen(number);
}

void qk_progress_add_share(qk_progress_line *line, int rank, double done, double total)
{
    if (total <= 0) return;
    int share = done <= 0 ? 0 : done >= total ? 100 : (int)(100 * (done / total));
    qk_progress_add(line, rank, "%d %%", share);
}

/* Columns of well-formed UTF-8, at least: what is not ASCII may take two. */
static size_t columns_of(const char *text, size_t n)
{
    size_t columns = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)text[i];
        columns += c < 0x80 ? 1 : c >= 0xc0 ? 2 : 0;
    }
    return columns;
}

static void compose(const qk_progress_line *line, int ranks, bool brief, char *out, size_t capacity)
{
    size_t at = 0;
    *out = 0;
    for (size_t i = 0; i < line->count; i++) {
        const qk_progress_part *p = &line->parts[i];
        if (p->rank > ranks) continue;
        size_t n = brief && p->brief ? p->brief : strlen(p->text);
        int added = snprintf(out + at, capacity - at, "%s%.*s", at ? GAP : "", (int)n, p->text);
        at += (size_t)added;
        if (at >= capacity) return;
    }
}

size_t qk_progress_fit(const qk_progress_line *line, size_t columns, char *out, size_t capacity)
{
    enum { BRIEF = 3 }; /* the ranks that are worth it */
    int ranks = 0;
    for (size_t i = 0; i < line->count; i++)
        if (line->parts[i].rank > ranks) ranks = line->parts[i].rank;
    for (; ranks > 0; ranks--) {
        for (int brief = 0; brief <= (ranks <= BRIEF); brief++) {
            compose(line, ranks, brief, out, capacity);
            size_t n = columns_of(out, strlen(out));
            if (!columns || n <= columns) return n;
        }
    }
    size_t n = strlen(out); /* the first rank's parts do not fit: their beginning */
    while (n && columns_of(out, n) > columns) {
        while (n && ((uint8_t)out[n - 1] & 0xc0) == 0x80) n--;
        if (n) n--;
    }
    out[n] = 0;
    return columns_of(out, n);
}

size_t qk_progress_columns(void)
{
    struct winsize size;
    const char *columns = getenv("COLUMNS");
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    long n = columns ? strtol(columns, NULL, 10) : 0;
    return n > 0 && n < 10000 ? (size_t)n : 80;
}

const char *qk_plural(int64_t n)
{
    return n == 1 ? "" : "s";
}

/* ---- when ---- */

void qk_progress_set_clock(double (*now)(void))
{
    pthread_mutex_lock(&lock);
    clock_now = now ? now : qk_now;
    started = -1;
    pthread_mutex_unlock(&lock);
}

/* Seconds after the start of the first plain line behind that moment. */
static double next_plain(double seconds)
{
    static const double first[] = {2, 10, 30, 60, 120, 300};
    for (size_t i = 0; i < sizeof first / sizeof *first; i++)
        if (seconds < first[i]) return first[i];
    return 600 * (double)((int64_t)(seconds / 600) + 1);
}

/* Held by the lock. */
static void note_start(double now)
{
    if (started >= 0) return;
    started = now;
    due_at = qk_log_on_terminal() ? now : now + next_plain(0);
}

bool qk_progress_due(void)
{
    if (qk_log_is_quiet()) return false;
    pthread_mutex_lock(&lock);
    double now = clock_now();
    note_start(now);
    bool due = now >= due_at;
    pthread_mutex_unlock(&lock);
    return due;
}

static void show(const qk_progress_line *line, bool end)
{
    if (qk_log_is_quiet()) return;
    char text[QK_PROGRESS_LINE];
    bool terminal = qk_log_on_terminal();
    pthread_mutex_lock(&lock);
    double now = clock_now();
    note_start(now);
    due_at = terminal ? now + REDRAW : started + next_plain(now - started);
    pthread_mutex_unlock(&lock);
    /* A character in the last column makes some terminals begin the next line. */
    size_t columns = terminal ? qk_progress_columns() : 0;
    qk_progress_fit(line, columns > 1 ? columns - 1 : columns, text, sizeof text);
    if (terminal) {
        qk_log_redraw(text, end);
        return;
    }
    char date[32], host[64] = "";
    time_t seconds = time(NULL);
    struct tm local = {0};
    localtime_r(&seconds, &local);
    strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &local);
    if (gethostname(host, sizeof host - 1) != 0) host[0] = 0;
    char *all = qk_strf("%s %s[%d] %s", date, host, (int)getpid(), text);
    qk_log_plain(all);
    free(all);
}

void qk_progress_show(const qk_progress_line *line)
{
    show(line, false);
}

void qk_progress_end(const qk_progress_line *line)
{
    show(line, true);
}

void qk_progress_of(const char *what, double done, double total, const char *noun)
{
    if (!qk_progress_due()) return;
    qk_progress_line line = {0};
    qk_progress_add(&line, 3, "%s", what);
    if (noun)
        qk_progress_add_count(&line, 1, (int64_t)done, (int64_t)total, noun);
    else
        qk_progress_add(&line, 1, "%s of %s", qk_human_bytes(done), qk_human_bytes(total));
    qk_progress_add_share(&line, 2, done, total);
    qk_progress_show(&line);
}
