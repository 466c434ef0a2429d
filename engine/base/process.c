/* See process.h. */
#include "engine/base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static bool pipe_was_ignored; /* by whoever started the program */

void qk_process_begin(void)
{
    for (int fd = 0; fd <= 2; fd++) { /* the standard files are open */
        if (fcntl(fd, F_GETFD) != -1 || errno != EBADF) continue;
        /* The lowest free number is this one. Any file that cannot be written to does as well. */
        int got = open("/dev/null", O_RDWR);
        if (got < 0) got = open("/", O_RDONLY);
        if (got != fd) _exit(1); /* there is nowhere to say it */
    }
    pipe_was_ignored = signal(SIGPIPE, SIG_IGN) == SIG_IGN;
    signal(SIGXFSZ, SIG_IGN);
}

bool qk_process_flush_stdout(void)
{
    errno = 0;
    bool failed_before = ferror(stdout) != 0;
    if (fflush(stdout) == 0 && !failed_before) return true;
    int why = errno;
    struct stat st;
    /* An earlier failure has left no errno; that of a pipe has only one reason. */
    bool is_pipe = fstat(STDOUT_FILENO, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
    if (!why && is_pipe) why = EPIPE;
    if (why == EPIPE && !pipe_was_ignored) {
        sigset_t one;
        sigemptyset(&one);
        sigaddset(&one, SIGPIPE);
        signal(SIGPIPE, SIG_DFL);
        sigprocmask(SIG_UNBLOCK, &one, NULL);
        raise(SIGPIPE);
    }
    errno = why ? why : EIO;
    return false;
}
