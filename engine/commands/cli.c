/* See cli.h. */
#include "engine/commands/cli.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/base/log.h"
#include "engine/base/process.h"
#include "engine/base/text.h"
#include "engine/base/version.h"

enum { MAX_GIVEN = 64 }; /* different options of a command, and values of each */

const qk_command *const qk_commands[] = {
    &qk_command_run,      &qk_command_status,   &qk_command_plan,
    &qk_command_inspect,  &qk_command_diff,     &qk_command_verify,
    &qk_command_tokenize, &qk_command_families, &qk_command_synth,
    &qk_command_bench,    &qk_command_pull,     &qk_command_push,
    &qk_command_merge,    &qk_command_join,     &qk_command_completion,
    &qk_command_man,      &qk_command_help,     NULL,
};

struct qk_args {
    const qk_command *command;
    const char *positional[QK_MAX_ARGUMENTS];
    int n_positional;
    struct {
        const qk_option *option;
        const char *values[MAX_GIVEN];
        size_t n;
    } given[MAX_GIVEN];
    size_t n_given;
};

bool qk_option_takes_word(const qk_option *o)
{
    return o->value && !o->attached;
}

static const qk_option *find_option(const qk_command *c, const char *name, size_t length)
{
    for (const qk_option *o = c->options; o && o->name; o++)
        if (strlen(o->name) == length && !strncmp(o->name, name, length)) return o;
    return NULL;
}

/* ---- --json ---- */

/* What standard output gets when the command has ended. */
static struct json_output {
    bool asked, on_one_line;
    qk_buf result; /* an object, or nothing */
} json_output;

void qk_print_json(qk_json_out *o)
{
    qk_buf_free(&json_output.result);
    json_output.result = o->buf;
}

void qk_print_json_lines(void)
{
    json_output.on_one_line = true;
}

/* Before anything is parsed: of wrong usage programs hear, too. */
static void find_json(const qk_command *c, int argc, char **argv)
{
    static const char option[] = "--json";
    const size_t n = sizeof option - 1;
    for (int i = 1; i < argc && find_option(c, option + 2, n - 2); i++) {
        if (strncmp(argv[i], option, n) != 0 || (argv[i][n] && argv[i][n] != '=')) continue;
        json_output.asked = true;
        json_output.on_one_line |= argv[i][n] == '=';
    }
}

/* {"error": {"message", "hint", "status", "exit_status"}} */
static void add_error(qk_buf *out, const qk_error *err)
{
    qk_json_out o = {0};
    qk_json_begin(&o, NULL, '{');
    qk_json_begin(&o, "error", '{');
    qk_json_add_str(&o, "message", err->message);
    qk_json_add_str(&o, "hint", *err->hint ? err->hint : NULL);
    qk_json_add_str(&o, "status", qk_status_name(err->status));
    qk_json_add_int(&o, "exit_status", qk_exit_status(err->status));
    qk_json_end(&o, '}');
    qk_json_end(&o, '}');
    const char *text = qk_buf_str(&o.buf);
    if (out->size) { /* it becomes the last member of the object that is there */
        do out->size--;
        while (strchr("\n ", out->data[out->size - 1]));
        qk_buf_add_byte(out, ',');
        text++;
    }
    qk_buf_add_str(out, text);
    qk_buf_free(&o.buf);
}

/* Line ends and indentation are only between values: a string has its own as \n. */
static void print_on_one_line(const char *text)
{
    for (; *text; text++) {
        putchar(*text == '\n' ? ' ' : *text);
        if (*text == '\n') text += strspn(text + 1, " ");
    }
    putchar('\n');
}

static void end_json(const qk_error *err)
{
    qk_buf *out = &json_output.result;
    if (json_output.asked && err) add_error(out, err);
    if (out->size && json_output.on_one_line)
        print_on_one_line(qk_buf_str(out));
    else if (out->size)
        puts(qk_buf_str(out));
    qk_buf_free(out);
}

/* ---- parsing ---- */

static qk_status fail_usage(const qk_command *c, qk_error *err, const char *problem,
                            const char *what)
{
    qk_buf usage = {0};
    char hint[256];
    qk_help_usage(&usage, c);
    snprintf(hint, sizeof hint, "usage: qkengine %s (see qkengine %s --help)", qk_buf_str(&usage),
             c->name);
    qk_buf_free(&usage);
    return qk_fail(err, QK_ERR_USAGE, hint, "%s%s", problem, what);
}

static qk_status fail_unknown_option(const qk_command *c, const char *arg, qk_error *err)
{
    const char *names[MAX_GIVEN];
    size_t n = 0;
    for (const qk_option *o = c->options; o && o->name; o++) names[n++] = o->name;
    names[n] = NULL;
    const char *near = qk_nearest(arg + strspn(arg, "-"), names);
    char what[256];
    snprintf(what, sizeof what, "%.100s%s%s%s", arg, near ? "; did you mean --" : "",
             near ? near : "", near ? "?" : "");
    return fail_usage(c, err, "unknown option ", what);
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

static qk_status check_int(const qk_option *o, const char *text, qk_error *err)
{
    char *end, hint[64];
    errno = 0;
    long long v = strtoll(text, &end, 10);
    bool is_whole = *text && !*end, too_large = errno == ERANGE;
    if (is_whole && !too_large && o->most && v > o->most)
        return qk_fail(err, QK_ERR_USAGE, NULL, "--%s %s is too large: %lld at most", o->name, text,
                       (long long)o->most);
    if (is_whole && !too_large && v >= o->least) return QK_OK;
    int64_t meant = whole_number(text);
    snprintf(hint, sizeof hint, "write %lld", (long long)meant);
    return qk_fail(err, QK_ERR_USAGE, *end && meant >= o->least ? hint : NULL,
                   too_large ? "--%s %s: beyond 64 bits, a whole number from %lld is needed"
                             : "--%s %s: a whole number from %lld is needed",
                   o->name, text, (long long)o->least);
}

/* At the index of the word, or of the NULL behind the last. Capitals do not matter, as in a
 * configuration. */
static size_t find_word(const char *const *words, const char *text)
{
    size_t i = 0;
    while (words[i] && strcasecmp(words[i], text) != 0) i++;
    return i;
}

/* *given becomes the word as the list spells it. what: "--dtype" or the name of an argument. */
static qk_status check_word(const char *const *words, const char *what, const char **given,
                            qk_error *err)
{
    const char *text = *given, *word = words[find_word(words, text)];
    if (word) *given = word;
    if (word) return QK_OK;
    const char *near = qk_nearest(text, words);
    if (near && *near != *text) near = NULL; /* gpu is not cpu */
    qk_buf known = {0};
    for (size_t i = 0; words[i]; i++) qk_buf_addf(&known, "%s%s", i ? ", " : "known: ", words[i]);
    qk_status s =
        qk_fail(err, QK_ERR_USAGE, qk_buf_str(&known), "%s '%.100s' is not known%s%s%s", what, text,
                near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    qk_buf_free(&known);
    return s;
}

static qk_status check_value(const qk_option *o, const char **given, qk_error *err)
{
    const char *text = *given;
    if (o->type == QK_VALUE_INT) return check_int(o, text, err);
    if (o->type == QK_VALUE_NUMBER) {
        char *end;
        double v = strtod(text, &end);
        if (*text && !*end && v >= 0) return QK_OK;
        return qk_fail(err, QK_ERR_USAGE, NULL, "--%s %s: a number from 0 is needed", o->name,
                       text);
    }
    if (o->type != QK_VALUE_WORD) return QK_OK;
    char what[64];
    snprintf(what, sizeof what, "--%s", o->name);
    return check_word(o->words, what, given, err);
}

/* --name, --name=value, --name value. */
static qk_status take_option(qk_args *a, int argc, char **argv, int *i, qk_error *err)
{
    const char *name = argv[*i] + 2, *equals = strchr(name, '=');
    if (!strcmp(name, "config") && a->command->arguments[0].type == QK_VALUE_CONFIG)
        return fail_usage(a->command, err, "a file is missing behind --config", "");
    const qk_option *o =
        find_option(a->command, name, equals ? (size_t)(equals - name) : strlen(name));
    if (!o) return fail_unknown_option(a->command, argv[*i], err);
    const char *value = "";
    if (!o->value && equals) return fail_usage(a->command, err, "no value belongs to --", o->name);
    if (o->value && equals)
        value = equals + 1;
    else if (qk_option_takes_word(o) && *i + 1 < argc)
        value = argv[++*i];
    else if (qk_option_takes_word(o))
        return fail_usage(a->command, err, "a value is missing behind --", o->name);
    size_t g = 0;
    while (g < a->n_given && a->given[g].option != o) g++;
    if (g == a->n_given) a->given[a->n_given++].option = o;
    if (a->given[g].n == MAX_GIVEN)
        return fail_usage(a->command, err, "given too often: --", o->name);
    if (equals || qk_option_takes_word(o)) QK_TRY(check_value(o, &value, err));
    a->given[g].values[a->given[g].n++] = value;
    return QK_OK;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The next word that is no option. "--config FILE" and "--config=FILE", the reference's spelling,
 * are FILE where the command takes a configuration. NULL: it is an option. */
static const char *plain_word(const qk_command *c, int argc, char **argv, int *i)
{
    static const char option[] = "--config";
    const size_t n = sizeof option - 1;
    const char *word = argv[*i];
    bool is_option = (word[0] == '-' && is_letter(word[1])) || (!strncmp(word, "--", 2) && word[2]);
    if (c->arguments[0].type == QK_VALUE_CONFIG && !strncmp(word, option, n)) {
        if (word[n] == '=') return word + n + 1;
        if (!word[n] && *i + 1 < argc) return argv[++*i];
    }
    return is_option ? NULL : word;
}

static qk_status parse(qk_args *a, int argc, char **argv, qk_error *err)
{
    const qk_argument *arguments = a->command->arguments;
    for (int i = 0; i < argc; i++) {
        const qk_argument *next = &arguments[a->n_positional];
        const char *word = plain_word(a->command, argc, argv, &i);
        if (!word && argv[i][1] != '-') return fail_unknown_option(a->command, argv[i], err);
        if (!word) {
            QK_TRY(take_option(a, argc, argv, &i, err));
            continue;
        }
        if (!next->name) return fail_usage(a->command, err, "one argument too many: ", word);
        if (next->words) QK_TRY(check_word(next->words, next->name, &word, err));
        a->positional[a->n_positional++] = word;
    }
    const qk_argument *next = &arguments[a->n_positional];
    if (next->name && !next->optional)
        return fail_usage(a->command, err, "an argument is missing", "");
    return QK_OK;
}

/* ---- which command ---- */

const qk_command *qk_command_find(const char *name)
{
    for (const qk_command *const *c = qk_commands; *c; c++)
        if (!strcmp((*c)->name, name)) return *c;
    return NULL;
}

qk_status qk_command_unknown(const char *kind, const char *name, const char *more, qk_error *err)
{
    const char *names[MAX_GIVEN];
    size_t n = 0;
    for (; qk_commands[n]; n++) names[n] = qk_commands[n]->name;
    names[n] = more;
    names[n + 1] = NULL;
    const char *near = qk_nearest(name, names);
    return qk_fail(err, QK_ERR_USAGE, "qkengine --help lists the commands",
                   "unknown %s '%.100s'%s%s%s", kind, name, near ? "; did you mean '" : "",
                   near ? near : "", near ? "'?" : "");
}

static qk_status dispatch(int argc, char **argv, qk_error *err)
{
    const char *word = argc ? argv[0] : "help";
    if (!strcmp(word, "--help") || !strcmp(word, "-h")) word = "help";
    if (!strcmp(word, "--version") || !strcmp(word, "-V")) {
        char build[QK_BUILD_TEXT];
        qk_build(build);
        printf("qkengine %s\n", build);
        return QK_OK;
    }
    const qk_command *c = qk_command_find(word);
    if (!c) {
        size_t n = strlen(word);
        bool config = n > 5 && (!strcmp(word + n - 5, ".yaml") || !strcmp(word + n - 4, ".yml"));
        qk_command_unknown("command", word, NULL, err);
        if (config)
            snprintf(err->hint, sizeof err->hint, "write qkengine run %.200s, or plan", word);
        return err->status;
    }
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            qk_help_print(c);
            return QK_OK;
        }
    find_json(c, argc, argv);
    qk_args *args = qk_zalloc(1, sizeof *args);
    args->command = c;
    qk_status s = parse(args, argc - 1, argv + 1, err);
    if (s == QK_OK) s = c->run(args, err);
    free(args);
    return s;
}

int qk_cli_main(int argc, char **argv)
{
    qk_error err = {0};
    qk_status s = dispatch(argc, argv, &err);
    bool failed = s != QK_OK && err.message[0];
    end_json(failed ? &err : NULL);
    if (s == QK_OK && !qk_process_flush_stdout())
        s = qk_fail_write(&err, "cannot write", "standard output");
    if (s != QK_OK && err.message[0]) qk_print_error(&err);
    return qk_exit_status(s == QK_OK && !argc ? QK_ERR_USAGE : s);
}

/* ---- what was given ---- */

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

const char *qk_value(const qk_args *args, const char *option)
{
    const char *const *values;
    size_t n = qk_values(args, option, &values);
    return n ? values[n - 1] : find_option(args->command, option, strlen(option))->fallback;
}

int64_t qk_value_int(const qk_args *args, const char *option)
{
    const char *text = qk_value(args, option);
    return text ? strtoll(text, NULL, 10) : 0;
}

double qk_value_num(const qk_args *args, const char *option)
{
    const char *text = qk_value(args, option);
    return text ? strtod(text, NULL) : 0;
}

size_t qk_value_word(const qk_args *args, const char *option)
{
    const qk_option *o = find_option(args->command, option, strlen(option));
    return find_word(o->words, qk_value(args, option));
}
