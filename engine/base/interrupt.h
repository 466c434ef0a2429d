/* Signals that ask for an end: INT (Ctrl-C), TERM, HUP (the terminal is closed), XCPU (the limit of
 * CPU time), USR1 and USR2 (batch systems, ahead of their time limit). Long work asks here, stops,
 * tidies up and leaves what a resume needs: status 3.
 *
 * Where that does not happen within a second (a layer of a large batch, a regex in the middle of a
 * text, a disk that does not answer, memory that is given back slowly) the program ends all the
 * same, with the same status. That is safe, because everything it leaves behind is made for being
 * killed at any moment. A second INT or TERM ends it at once. */
#pragma once

#include <stdbool.h>

#include "engine/base/error.h"

/* What was ignored when the program started stays so (nohup, trap ''), but for INT. */
void qk_interrupt_install(void);
/* Whether a signal has arrived; safe in any thread. */
bool qk_interrupted(void);
/* QK_ERR_RESUME once a signal has arrived. */
qk_status qk_interrupt_check(qk_error *err);
