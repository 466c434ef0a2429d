/* The command line as data: commands with their arguments and options. What parses it is printed
 * from it: help (help.c), the manual page (man.c) and completion for three shells (completion.c).
 *
 * stderr is for people, stdout for results (--json for programs). Exit status: 0 done, 1 bad input,
 * 2 wrong usage, 3 stopped and resumable by the same command.
 *
 * next: engine/commands/cli.c, then engine/commands/run.c */
#pragma once

#include "engine/base/mem.h"
#include "formats/json.h"

/* How a value is checked, and what completion offers for it. */
typedef enum qk_value_type {
    QK_VALUE_TEXT,
    QK_VALUE_INT,     /* a whole number from `least` to `most` */
    QK_VALUE_NUMBER,  /* from 0 */
    QK_VALUE_WORD,    /* one of `words` */
    QK_VALUE_SETTING, /* "section.key=value"; the configuration checks it */
    QK_VALUE_COMMAND, /* or "config" */
    QK_VALUE_PRESET,  /* a name of qkengine synth --list; families/presets.h checks it */
    QK_VALUE_CONFIG,  /* paths; whoever opens them checks them */
    QK_VALUE_FILE,
    QK_VALUE_FOLDER,
} qk_value_type;

/* A list for `words`. */
#define QK_WORDS(...)                                                                              \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

typedef struct qk_option {
    const char *name;  /* without the dashes */
    const char *value; /* placeholder of its value, NULL for a flag */
    const char *help;  /* without its words and its default: they are added */
    qk_value_type type;
    const char *fallback; /* what holds where it is not given; NULL: the command decides */
    int64_t least, most;  /* most: 0 is no limit */
    const char *const *words;
    bool repeated;
    bool attached; /* the value may be left out; else it stands behind '=' */
} qk_option;

/* What every command with --json has of it; text: what is printed. */
#define QK_OPTION_JSON(text)                                                                       \
    {                                                                                              \
        "json", "line", text "; =line: on one line", .type = QK_VALUE_WORD,                        \
                                                     .words = QK_WORDS("line"), .attached = true   \
    }
/* Whether the word behind the option is its value. */
bool qk_option_takes_word(const qk_option *o);

/* Arguments by position. */
typedef struct qk_argument {
    const char *name; /* "MODEL"; NULL ends the list */
    qk_value_type type;
    bool optional;
    const char *const *words;
} qk_argument;

/* What was given: cli.c. */
typedef struct qk_args qk_args;

enum { QK_MAX_ARGUMENTS = 4 }; /* with the end of the list */

typedef struct qk_command {
    const char *name;
    qk_argument arguments[QK_MAX_ARGUMENTS];
    const char *usage;        /* NULL: the arguments, those that may be absent in brackets */
    const char *summary;      /* one line of at most 67 characters */
    const char *details;      /* paragraphs, a line each, for --help and the manual; may be NULL */
    const qk_option *options; /* end with a NULL name; NULL: none */
    qk_status (*run)(const qk_args *args, qk_error *err);
} qk_command;

/* Every command, in the order of the help; ends with NULL. */
extern const qk_command *const qk_commands[];

extern const qk_command qk_command_run, qk_command_plan, qk_command_inspect, qk_command_diff,
    qk_command_verify, qk_command_tokenize, qk_command_families, qk_command_synth, qk_command_bench,
    qk_command_pull, qk_command_push, qk_command_join, qk_command_merge, qk_command_status,
    qk_command_completion, qk_command_man, qk_command_help;

/* NULL when there is none. */
const qk_command *qk_command_find(const char *name);
/* The error for a name that is no command (kind: what else it was meant to be), with the nearest one
 * of them and `more`, which may be NULL. */
qk_status qk_command_unknown(const char *kind, const char *name, const char *more, qk_error *err);

/* Parses and runs argv (the program's own name excluded); returns the exit status. */
int qk_cli_main(int argc, char **argv);

/* ---- help.c: text of at most 80 columns ---- */

/* "run CONFIG.yaml": the command and its arguments. */
void qk_help_usage(qk_buf *out, const qk_command *c);
/* What is written behind its name: " KEY=VALUE", "[=line]" or nothing. */
void qk_help_value(qk_buf *out, const qk_option *o);
/* What an option does, with the words that it takes and its default. */
void qk_help_option(qk_buf *out, const qk_option *o);
/* Prints the help of one command. */
void qk_help_print(const qk_command *c);

/* ---- for commands; an option must be one of the command's ---- */

const char *qk_arg(const qk_args *args, int i); /* by position, NULL when absent */
bool qk_has(const qk_args *args, const char *option);
/* The last value given, or the fallback of the table. */
const char *qk_value(const qk_args *args, const char *option);
/* The same as a number, within the bounds of the table; 0 without value and fallback. */
int64_t qk_value_int(const qk_args *args, const char *option);
double qk_value_num(const qk_args *args, const char *option);
/* Of a QK_VALUE_WORD with a fallback: which of its words, from 0. */
size_t qk_value_word(const qk_args *args, const char *option);
/* All values of a repeated option. */
size_t qk_values(const qk_args *args, const char *option, const char *const **out);

/* Takes an object that --json gives. It is printed when the command has ended, with "error" in it
 * where that failed. */
void qk_print_json(qk_json_out *o);
/* For a command that prints an object a line by itself: an error is one, too. */
void qk_print_json_lines(void);
