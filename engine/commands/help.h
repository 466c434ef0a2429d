/* qkengine help: text of at most 80 columns, from the tables of cli.h.
 *
 * next: engine/commands/man.c */
#pragma once

#include "engine/commands/cli.h"

/* "run CONFIG.yaml": the command and its arguments. */
void qk_help_usage(qk_buf *out, const qk_command *c);
/* What an option does, with the words that it takes and its default. */
void qk_help_option(qk_buf *out, const qk_option *o);
/* Prints the help of one command. */
void qk_help_print(const qk_command *c);
