/* See cli.h. */
#include "engine/commands/cli.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/base/process.h"
#include "engine/base/text.h"
#include "engine/base/version.h"
#include "engine/config/config.h"

enum { MOST_ARGS = 64 };

struct qk_args {
    const qk_command *command;
    const char *positional[MOST_ARGS];
    int n_positional;
    struct {
        const qk_option *option;
        const char *values[MOST_ARGS];
        size_t n;
    } given[MOST_ARGS];
    size_t n_given;
};

static void print_help(const qk_command *const *commands)
{
    printf("qkengine %s: run a transformer over a dataset and keep sampled attention queries and "
           "keys\n\nusage: qkengine COMMAND [ARGUMENTS] [--help]\n\n",
           QK_VERSION);
    for (; *commands; commands++) printf("  %-10s %s\n", (*commands)->name, (*commands)->summary);
    printf("\n  qkengine help COMMAND    its arguments and options\n"
           "  qkengine help config     every key of a configuration\n"
           "\nStart with a configuration (configs/sample.yaml explains every key):\n\n"
           "  qkengine plan config.yaml    what a run would do, before any weights are read\n"
           "  qkengine run config.yaml     do it; the same command goes on after a crash\n\n"
           "exit status: 0 done, 1 bad input, 2 wrong usage, 3 stopped and can be resumed\n");
}

static void print_command_help(const qk_command *c)
{
    printf("usage: qkengine %s %s\n\n%s\n", c->name, c->arguments, c->summary);
    if (c->details) printf("\n%s\n", c->details);
    if (c->options->name) putchar('\n');
    for (const qk_option *o = c->options; o->name; o++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        printf("  %-24s %s\n", left, o->help);
    }
}

static qk_status usage(const qk_command *c, qk_error *err, const char *problem, const char *what)
{
    char hint[256];
    snprintf(hint, sizeof hint, "usage: qkengine %s %s (see qkengine %s --help)", c->name,
             c->arguments, c->name);
    return qk_fail(err, QK_ERR_USAGE, hint, "%s%s", problem, what);
}

static const qk_option *find_option(const qk_command *c, const char *name, size_t length)
{
    for (const qk_option *o = c->options; o->name; o++)
        if (strlen(o->name) == length && !strncmp(o->name, name, length)) return o;
    return NULL;
}

static qk_status unknown_option(const qk_command *c, const char *arg, qk_error *err)
{
    const char *names[MOST_ARGS];
    size_t n = 0;
    for (const qk_option *o = c->options; o->name; o++) names[n++] = o->name;
    names[n] = NULL;
    const char *near = qk_nearest(arg + 2, names);
    char what[256];
    snprintf(what, sizeof what, "%.100s%s%s%s", arg, near ? "; did you mean --" : "",
             near ? near : "", near ? "?" : "");
    return usage(c, err, "unknown option ", what);
}

/* --name, --name=value, --name value. */
static qk_status take_option(qk_args *a, int argc, char **argv, int *i, qk_error *err)
{
    const char *name = argv[*i] + 2, *equals = strchr(name, '=');
    const qk_option *o =
        find_option(a->command, name, equals ? (size_t)(equals - name) : strlen(name));
    if (!o) return unknown_option(a->command, argv[*i], err);
    const char *value = "";
    if (!o->value && equals) return usage(a->command, err, "no value belongs to --", o->name);
    if (o->value && equals)
        value = equals + 1;
    else if (o->value && *i + 1 < argc)
        value = argv[++*i];
    else if (o->value)
        return usage(a->command, err, "a value is missing behind --", o->name);
    size_t g = 0;
    while (g < a->n_given && a->given[g].option != o) g++;
    if (g == a->n_given) a->given[a->n_given++].option = o;
    if (a->given[g].n == MOST_ARGS) return usage(a->command, err, "given too often: --", o->name);
    a->given[g].values[a->given[g].n++] = value;
    return QK_OK;
}

static qk_status parse(qk_args *a, int argc, char **argv, qk_error *err)
{
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], "--", 2) && argv[i][2])
            QK_TRY(take_option(a, argc, argv, &i, err));
        else if (a->n_positional == a->command->most)
            return usage(a->command, err, "one argument too many: ", argv[i]);
        else
            a->positional[a->n_positional++] = argv[i];
    }
    if (a->n_positional < a->command->least)
        return usage(a->command, err, "an argument is missing", "");
    return QK_OK;
}

static const qk_command *find_command(const qk_command *const *commands, const char *name)
{
    for (; *commands; commands++)
        if (!strcmp((*commands)->name, name)) return *commands;
    return NULL;
}

/* kind: "command" or "help topic"; config is one of these, too. */
static qk_status unknown(const qk_command *const *commands, const char *kind, const char *name,
                         qk_error *err)
{
    const char *names[MOST_ARGS];
    size_t n = 0;
    for (; commands[n]; n++) names[n] = commands[n]->name;
    if (!strcmp(kind, "help topic")) names[n++] = "config";
    names[n] = NULL;
    const char *near = qk_nearest(name, names);
    return qk_fail(err, QK_ERR_USAGE, "qkengine --help lists the commands",
                   "unknown %s '%.100s'%s%s%s", kind, name, near ? "; did you mean '" : "",
                   near ? near : "", near ? "'?" : "");
}

/* help, help COMMAND, help config */
static qk_status help(const qk_command *const *commands, int argc, char **argv, qk_error *err)
{
    if (argc > 1)
        return qk_fail(err, QK_ERR_USAGE, "usage: qkengine help [COMMAND | config]",
                       "one argument too many: %.100s", argv[1]);
    const qk_command *c = argc ? find_command(commands, argv[0]) : NULL;
    if (!argc) {
        print_help(commands);
    } else if (c) {
        print_command_help(c);
    } else if (!strcmp(argv[0], "config")) {
        qk_buf table = {0};
        qk_config_reference(&table);
        fputs(qk_buf_str(&table), stdout);
        qk_buf_free(&table);
    } else {
        return unknown(commands, "help topic", argv[0], err);
    }
    return QK_OK;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return true;
    return false;
}

static qk_status run_command(const qk_command *c, int argc, char **argv, qk_error *err)
{
    qk_args *args = qk_zalloc(1, sizeof *args);
    args->command = c;
    qk_status s = parse(args, argc, argv, err);
    if (s == QK_OK) s = c->run(args, err);
    free(args);
    return s;
}

static qk_status dispatch(const qk_command *const *commands, int argc, char **argv, qk_error *err)
{
    const char *word = argv[0];
    if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help"))
        return help(commands, argc - 1, argv + 1, err);
    if (!strcmp(word, "--version")) {
        char build[QK_BUILD_TEXT];
        qk_build(build);
        printf("qkengine %s\n", build);
        return QK_OK;
    }
    const qk_command *c = find_command(commands, word);
    if (!c) return unknown(commands, "command", word, err);
    if (!asks_for_help(argc - 1, argv + 1)) return run_command(c, argc - 1, argv + 1, err);
    print_command_help(c);
    return QK_OK;
}

int qk_cli_main(const qk_command *const *commands, int argc, char **argv)
{
    if (!argc) {
        print_help(commands);
        return qk_exit_status(QK_ERR_USAGE);
    }
    qk_error err = {0};
    qk_status s = dispatch(commands, argc, argv, &err);
    if (s == QK_OK && !qk_process_flush_stdout())
        s = qk_fail_write(&err, "cannot write", "standard output");
    if (s != QK_OK && err.message[0]) qk_print_error(&err);
    return qk_exit_status(s);
}

const char *qk_arg(const qk_args *args, int i)
{
    return i < args->n_positional ? args->positional[i] : NULL;
}

size_t qk_values(const qk_args *args, const char *option, const char *const **out)
{
    QK_ASSERT(find_option(args->command, option, strlen(option)));
    *out = NULL;
    for (size_t g = 0; g < args->n_given; g++)
        if (!strcmp(args->given[g].option->name, option)) {
            *out = args->given[g].values;
            return args->given[g].n;
        }
    return 0;
}

bool qk_has(const qk_args *args, const char *option)
{
    const char *const *values;
    return qk_values(args, option, &values) > 0;
}

const char *qk_value(const qk_args *args, const char *option, const char *fallback)
{
    const char *const *values;
    size_t n = qk_values(args, option, &values);
    return n ? values[n - 1] : fallback;
}

/* The whole number that 1e3, 1_000 or 1.0 stands for, as far as an option takes it; else -1. */
static int64_t whole_number(const char *text)
{
    char plain[32], *end;
    size_t n = 0;
    for (const char *s = text; *s; s++) {
        if (*s == '_') continue;
        if (!strchr("0123456789.eE+", *s) || n + 1 == sizeof plain) return -1;
        plain[n++] = *s;
    }
    plain[n] = 0;
    double value = strtod(plain, &end);
    return n && !*end && value >= 0 && value <= 1e15 && value == floor(value) ? (int64_t)value : -1;
}

qk_status qk_value_int(const qk_args *args, const char *option, int64_t fallback, int64_t least,
                       int64_t *out, qk_error *err)
{
    const char *text = qk_value(args, option, NULL);
    *out = fallback;
    if (!text) return QK_OK;
    char *end, hint[64];
    errno = 0;
    long long v = strtoll(text, &end, 10);
    bool too_large = errno == ERANGE;
    *out = v;
    if (*text && !*end && v >= least && !too_large) return QK_OK;
    int64_t meant = whole_number(text);
    snprintf(hint, sizeof hint, "write %lld", (long long)meant);
    return qk_fail(err, QK_ERR_USAGE, *end && meant >= least ? hint : NULL,
                   too_large ? "--%s %s: beyond 64 bits, a whole number from %lld is needed"
                             : "--%s %s: a whole number from %lld is needed",
                   option, text, (long long)least);
}

qk_status qk_value_num(const qk_args *args, const char *option, double fallback, double *out,
                       qk_error *err)
{
    const char *text = qk_value(args, option, NULL);
    *out = fallback;
    if (!text) return QK_OK;
    char *end;
    *out = strtod(text, &end);
    if (*text && !*end && *out >= 0) return QK_OK;
    return qk_fail(err, QK_ERR_USAGE, NULL, "--%s %s: a number from 0 is needed", option, text);
}
