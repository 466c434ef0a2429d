/* What a process inherits and cannot choose: which standard files are open, and what some signals
 * do. To be called first thing in main. */
#pragma once

#include <stdbool.h>

/* Opens descriptors 0, 1 and 2 on /dev/null where they are closed: the next files that are opened
 * would get them, and log lines would go into data.
 * SIGPIPE and SIGXFSZ are ignored: a pipe whose reader has gone and a file at its limit are errors
 * of the write then (EPIPE, EFBIG), and nothing ends in the middle of its work. */
void qk_process_begin(void);

/* Flushes stdout. false: what was printed did not all arrive, and errno says why. When its reader
 * has gone (`| head`) the process ends here as others do, by SIGPIPE and without a word; not so
 * where SIGPIPE was ignored when it was started (trap '' PIPE): EPIPE is an error then. */
bool qk_process_flush_stdout(void);
