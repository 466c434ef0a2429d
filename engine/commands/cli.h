/* The command line: commands are rows of a table, and so are their options.
 *
 * stderr is for people, stdout for results (--json for programs). Exit status: 0 done, 1 bad input,
 * 2 wrong usage, 3 stopped and resumable by the same command.
 *
 * next: engine/main.c, then engine/commands/run.c */
#pragma once

#include "engine/base/mem.h"

typedef struct qk_option {
    const char *name;  /* without the dashes */
    const char *value; /* placeholder of its value, NULL for a flag */
    const char *help;
} qk_option;

typedef struct qk_args qk_args;

typedef struct qk_command {
    const char *name;
    const char *arguments;    /* "MODEL GOLDEN.safetensors", for the usage line */
    const char *summary;      /* one line */
    const char *details;      /* paragraphs for --help, may be NULL */
    const qk_option *options; /* end with a NULL name */
    int least, most;          /* positional arguments */
    qk_status (*run)(const qk_args *args, qk_error *err);
} qk_command;

extern const qk_command qk_command_run, qk_command_plan, qk_command_inspect, qk_command_diff,
    qk_command_verify, qk_command_tokenize, qk_command_families, qk_command_synth, qk_command_pull,
    qk_command_push, qk_command_join;

/* Parses and runs argv (the program's own name excluded); returns the exit status. */
int qk_cli_main(const qk_command *const *commands, int argc, char **argv);

const char *qk_arg(const qk_args *args, int i); /* positional, NULL when absent */
bool qk_has(const qk_args *args, const char *option);
/* The last value given, or fallback. */
const char *qk_value(const qk_args *args, const char *option, const char *fallback);
/* All values of a repeated option. */
size_t qk_values(const qk_args *args, const char *option, const char *const **out);
/* A whole number >= least; an error names the option. */
qk_status qk_value_int(const qk_args *args, const char *option, int64_t fallback, int64_t least,
                       int64_t *out, qk_error *err);
qk_status qk_value_num(const qk_args *args, const char *option, double fallback, double *out,
                       qk_error *err);
