/* See interrupt.h. */
#include "engine/base/interrupt.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"

enum { SECONDS_TO_TIDY = 1 };
#define HINT "run the same command again: what is finished is kept"

static volatile sig_atomic_t received;
static bool on_terminal; /* when the handlers were installed */
static _Atomic(const char *) stopping = "stopping";
static char keeps[160];
static atomic_flag keeps_in_use = ATOMIC_FLAG_INIT; /* a lock that a handler may try */

/* Only what a signal handler may call. */
static void say(const char *const *words)
{
    char text[512];
    size_t n = 0;
    for (; *words; words++)
        for (const char *c = *words; *c && n < sizeof text; c++) text[n++] = *c;
    if (write(STDERR_FILENO, text, n) < 0) return; /* whether it is seen or not */
}

static bool try_keeps(void)
{
    return !atomic_flag_test_and_set_explicit(&keeps_in_use, memory_order_acquire);
}

static void leave_keeps(void)
{
    atomic_flag_clear_explicit(&keeps_in_use, memory_order_release);
}

/* A second INT or TERM ends it as the signal does, so that a script that waits for it stops, too. */
static void end_by(int signal_number)
{
    const char *const words[] = {"\nqkengine: stopped at once\nqkengine:   " HINT,
                                 try_keeps() ? keeps : "", "\n", NULL};
    if (!qk_log_is_quiet()) say(words);
    signal(signal_number, SIG_DFL);
    raise(signal_number); /* arrives when the handler returns */
}

static void on_signal(int signal_number)
{
    int saved = errno;
    bool twice = signal_number == SIGINT || signal_number == SIGTERM;
    const char *const words[] = {on_terminal ? "\r\033[K" : "", "qkengine: ", stopping,
                                 twice ? "; once more stops now\n" : "\n", NULL};
    if (!received && !qk_log_is_quiet()) say(words);
    if (twice && (received == SIGINT || received == SIGTERM)) end_by(signal_number);
    received = signal_number;
    alarm(SECONDS_TO_TIDY);
    errno = saved;
}

/* Only what a signal handler may call. The thread that it stopped may be writing what is kept: then
 * that is left out. */
static void end_now(int signal_number)
{
    const char *const words[] = {"\nqkengine: error: stopped by a signal\nqkengine:   " HINT,
                                 try_keeps() ? keeps : "", "\n", NULL};
    (void)signal_number;
    say(words);
    _exit(3);
}

void qk_interrupt_install(void)
{
    on_terminal = qk_log_on_terminal();
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGXCPU, SIGUSR1, SIGUSR2};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, before;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        bool ignored = sigaction(ends[i], NULL, &before) == 0 && before.sa_handler == SIG_IGN;
        /* Shells ignore INT for every job in the background, and mean the terminal's. */
        if (ends[i] == SIGINT || !ignored) sigaction(ends[i], &action, NULL);
    }
    action.sa_handler = end_now;
    sigaction(SIGALRM, &action, NULL);
}

void qk_interrupt_say(const char *text)
{
    stopping = text ? text : "stopping";
}

void qk_interrupt_keeps(const char *format, ...)
{
    char text[sizeof keeps] = {0};
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    while (!try_keeps()) {
    } /* others hold it for a copy of these bytes */
    memcpy(keeps, text, sizeof keeps);
    leave_keeps();
}

bool qk_interrupted(void)
{
    return received != 0;
}

qk_status qk_interrupt_check(qk_error *err)
{
    if (!received) return QK_OK;
    char hint[sizeof HINT + sizeof keeps];
    while (!try_keeps()) {
    }
    snprintf(hint, sizeof hint, HINT "%s", keeps);
    leave_keeps();
    return qk_fail(err, QK_ERR_RESUME, hint, "stopped by signal %d (%s)", (int)received,
                   strsignal(received));
}
