/* What a person sees on stderr: messages, progress, and the clock behind both.
 *
 * Whatever bytes are in a message, it is one line of visible characters (qk_visible of text.h).
 * Colours only on a terminal and never when NO_COLOR is set (no-color.org). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/error.h"

void qk_log_quiet(bool quiet); /* true: only warnings and errors */
void qk_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void qk_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for what may be found twice, when a file is read again: each text is said once. */
void qk_warn_once(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "qkengine: error: message" and, when there is one, a line with the hint. */
void qk_print_error(const qk_error *err);

/* Seconds on a clock that never goes back. */
double qk_now(void);

/* For engine/base/progress.h. Whether stderr takes control sequences: a terminal, and not a dumb
 * one. */
bool qk_log_on_terminal(void);
bool qk_log_is_quiet(void);
/* The line at the bottom of the terminal, in the place of the last one; `end`: it stays. */
void qk_log_redraw(const char *text, bool end);
/* A line as it is. */
void qk_log_plain(const char *text);

/* "1.5 GB", "3.2 M", "2h05m": for people. Each returns a string in a small rotating buffer, valid
 * until the eighth later call in the same thread. */
const char *qk_human_bytes(double bytes);
const char *qk_human_count(double count);
const char *qk_human_seconds(double seconds);
