/* See interrupt.h. */
#include "engine/base/interrupt.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { SECONDS_TO_TIDY = 1 };
#define HINT "run the same command again: what is finished is kept"

static volatile sig_atomic_t received;

static void on_signal(int signal_number)
{
    received = signal_number;
    if (signal_number == SIGINT || signal_number == SIGTERM) signal(signal_number, SIG_DFL);
    alarm(SECONDS_TO_TIDY);
}

/* Only what a signal handler may call. */
static void end_now(int signal_number)
{
    static const char text[] = "\nqkengine: error: stopped by a signal\nqkengine:   " HINT "\n";
    (void)signal_number;
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0) _exit(3); /* whether it is seen or not */
    _exit(3);
}

void qk_interrupt_install(void)
{
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

bool qk_interrupted(void)
{
    return received != 0;
}

qk_status qk_interrupt_check(qk_error *err)
{
    if (!received) return QK_OK;
    return qk_fail(err, QK_ERR_RESUME, HINT, "stopped by signal %d (%s)", (int)received,
                   strsignal(received));
}
