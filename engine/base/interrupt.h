/* Signals that ask for an end: INT (Ctrl-C), TERM, HUP (the terminal is closed), XCPU (the limit of
 * CPU time), USR1 and USR2 (batch systems, ahead of their time limit). Long work asks here, stops,
 * tidies up and leaves what a resume needs: status 3.
 *
 * Where that does not happen within a second (a layer of a large batch, a regex in the middle of a
 * text, a disk that does not answer, memory that is given back slowly) the program ends all the
 * same, with the same status. That is safe, because everything it leaves behind is made for being
 * killed at any moment. A second INT or TERM ends it at once.
 *
 * The first one is answered at once by a line, "stopping; once more stops now" (not after
 * qk_log_quiet). */
#pragma once

#include <stdbool.h>

#include "engine/base/error.h"

/* What was ignored when the program started stays so (nohup, trap ''), but for INT. */
void qk_interrupt_install(void);
/* Whether a signal has arrived; safe in any thread. */
bool qk_interrupted(void);
/* What the work does on a signal: "stopping after this layer". Static text; NULL: "stopping". */
void qk_interrupt_say(const char *stopping);
/* What a stop keeps and loses now, for the end of the hint "what is finished is kept". By one thread;
 * an empty text: no more is known. */
void qk_interrupt_keeps(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* QK_ERR_RESUME once a signal has arrived. */
qk_status qk_interrupt_check(qk_error *err);
