/* See interrupt.h. */
#include "engine/base/interrupt.h"

#include <signal.h>
#include <string.h>

static volatile sig_atomic_t received;

static void on_signal(int signal_number)
{
    received = signal_number;
    /* A second signal ends the program at once. */
    signal(signal_number, SIG_DFL);
}

void qk_interrupt_install(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool qk_interrupted(void)
{
    return received != 0;
}

qk_status qk_interrupt_check(qk_error *err)
{
    if (!received) return QK_OK;
    return qk_fail(err, QK_ERR_RESUME, "run the same command again: what is finished is kept",
                   "stopped by signal %d (%s)", (int)received, strsignal(received));
}
