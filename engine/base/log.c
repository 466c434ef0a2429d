/* See log.h. */
#include "engine/base/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/base/text.h"

/* Held while something is printed: a transfer in the background may have something to say. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool quiet_mode;
static bool line_is_open; /* a progress line stands on the terminal without its newline */

bool qk_log_on_terminal(void)
{
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) == 1 && !(term && !strcmp(term, "dumb"));
}

/* What is printed may come from files and servers. A fresh string. */
static char *visible(const char *format, va_list args)
{
    char *raw = qk_vstrf(format, args), *text = qk_visible_copy(raw);
    free(raw);
    return text;
}

static void print_line(const char *colour, const char *label, const char *format, va_list args)
{
    char *text = visible(format, args);
    const char *no_color = getenv("NO_COLOR");
    bool paint = *colour && qk_log_on_terminal() && !(no_color && *no_color);
    pthread_mutex_lock(&lock);
    if (line_is_open) fputs("\r\033[K", stderr);
    line_is_open = false;
    fprintf(stderr, "qkengine: %s%s%s%s\n", paint ? colour : "", label, paint ? "\033[0m" : "",
            text);
    pthread_mutex_unlock(&lock);
    free(text);
}

void qk_log_quiet(bool quiet)
{
    quiet_mode = quiet;
}

bool qk_log_is_quiet(void)
{
    return quiet_mode;
}

void qk_log_redraw(const char *text, bool end)
{
    pthread_mutex_lock(&lock);
    fprintf(stderr, "\r\033[K%s%s", text, end ? "\n" : "");
    line_is_open = !end;
    fflush(stderr);
    pthread_mutex_unlock(&lock);
}

void qk_log_plain(const char *text)
{
    pthread_mutex_lock(&lock);
    fprintf(stderr, "%s\n", text);
    pthread_mutex_unlock(&lock);
}

void qk_info(const char *format, ...)
{
    if (quiet_mode) return;
    va_list args;
    va_start(args, format);
    print_line("", "", format, args);
    va_end(args);
}

void qk_warn(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_line("\033[33m", "warning: ", format, args);
    va_end(args);
}

void qk_warn_once(const char *format, ...)
{
    enum { MAX_TEXTS = 256 }; /* beyond, each is said whenever it is given */
    static char *said[MAX_TEXTS];
    static size_t count;
    char text[1024];
    bool found = false;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < count && !found; i++) found = !strcmp(said[i], text);
    if (!found && count < MAX_TEXTS && (said[count] = strdup(text))) count++;
    pthread_mutex_unlock(&lock);
    if (!found) qk_warn("%s", text);
}

static void error_line(const char *colour, const char *label, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_line(colour, label, format, args);
    va_end(args);
}

void qk_print_error(const qk_error *err)
{
    error_line("\033[31m", "error: ", "%s", err->message);
    if (err->hint[0]) error_line("", "  ", "%s", err->hint);
}

double qk_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static char *rotating(void)
{
    static _Thread_local char slots[8][32];
    static _Thread_local unsigned next;
    return slots[next++ & 7];
}

static const char *scaled(double value, double base, const char *const *units)
{
    int i = 0;
    while (value >= base && units[i + 1]) value /= base, i++;
    char *text = rotating();
    snprintf(text, 32, i && value < 100 ? "%.1f%s" : "%.0f%s", value, units[i]);
    return text;
}

const char *qk_human_bytes(double bytes)
{
    static const char *const units[] = {" B", " kB", " MB", " GB", " TB", " PB", NULL};
    return scaled(bytes, 1000, units);
}

const char *qk_human_count(double count)
{
    static const char *const units[] = {"", " k", " M", " G", " T", " P", " E", NULL};
    return scaled(count, 1000, units);
}

const char *qk_human_seconds(double seconds)
{
    char *text = rotating();
    long s = seconds > 0 && seconds < 1e9 ? (long)(seconds + 0.5) : 0;
    if (s >= 3600)
        snprintf(text, 32, "%ldh%02ldm", s / 3600, s / 60 % 60);
    else if (s >= 60)
        snprintf(text, 32, "%ldm%02lds", s / 60, s % 60);
    else
        snprintf(text, 32, seconds < 10 ? "%.1fs" : "%.0fs", seconds);
    return text;
}
