/* qkengine help, and the help of each command. See cli.h.
 *
 * next: engine/commands/man.c */
#include "engine/commands/cli.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/version.h"
#include "engine/config/config.h"

enum { COLUMNS = 80, OPTION_INDENT = 27 };

/* Words of a text, from the column where `out` stands; further lines begin at `indent`. Each line
 * of the text begins a new one. */
static void add_wrapped(qk_buf *out, const char *text, size_t column, size_t indent)
{
    for (bool first = true; *text; first = false) {
        size_t n = strcspn(text, " \n");
        bool starts_line = !first && (text[-1] == '\n' || column + 1 + n > COLUMNS);
        if (starts_line) {
            qk_buf_addf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (!first) {
            qk_buf_add_byte(out, ' ');
            column++;
        }
        qk_buf_add(out, text, n);
        column += n;
        text += n + (text[n] != 0);
    }
    qk_buf_add_byte(out, '\n');
}

void qk_help_usage(qk_buf *out, const qk_command *c)
{
    qk_buf_add_str(out, c->name);
    if (c->usage) qk_buf_addf(out, " %s", c->usage);
    for (const qk_argument *a = c->arguments; a->name && !c->usage; a++)
        qk_buf_addf(out, a->optional ? " [%s]" : " %s", a->name);
}

void qk_help_value(qk_buf *out, const qk_option *o)
{
    if (o->value) qk_buf_addf(out, o->attached ? "[=%s]" : " %s", o->value);
}

void qk_help_option(qk_buf *out, const qk_option *o)
{
    qk_buf_add_str(out, o->help);
    for (const char *const *w = o->attached ? NULL : o->words; w && *w; w++)
        qk_buf_addf(out, "%s%s", w == o->words ? ": " : w[1] ? ", " : " or ", *w);
    if (o->repeated) qk_buf_add_str(out, "; may be repeated");
    if (o->fallback) qk_buf_addf(out, " (default: %s)", o->fallback);
}

void qk_help_print(const qk_command *c)
{
    qk_buf buf = {0}, text = {0}, *out = &buf;
    qk_buf_add_str(out, "usage: qkengine ");
    qk_help_usage(out, c);
    qk_buf_addf(out, "\n\n%s\n", c->summary);
    if (c->details) qk_buf_add_byte(out, '\n');
    if (c->details) add_wrapped(out, c->details, 0, 0);
    if (c->options) qk_buf_add_byte(out, '\n');
    for (const qk_option *o = c->options; o && o->name; o++) {
        size_t start = out->size;
        qk_buf_addf(out, "  --%s", o->name);
        qk_help_value(out, o);
        size_t column = out->size - start;
        int gap = column + 1 < OPTION_INDENT ? OPTION_INDENT - (int)column : 1;
        qk_buf_addf(out, "%*s", gap, "");
        qk_buf_clear(&text);
        qk_help_option(&text, o);
        add_wrapped(out, qk_buf_str(&text), column + (size_t)gap, OPTION_INDENT);
    }
    fputs(qk_buf_str(out), stdout);
    qk_buf_free(out);
    qk_buf_free(&text);
}

static void add_program(qk_buf *out)
{
    qk_buf_add_str(out, "qkengine " QK_VERSION ": ");
    add_wrapped(out, "run a transformer over a dataset and keep sampled attention queries and keys",
                out->size, 0);
    qk_buf_add_str(out, "\nusage: qkengine COMMAND [ARGUMENTS] [--help]\n\n");
    for (const qk_command *const *c = qk_commands; *c; c++)
        qk_buf_addf(out, "  %-10s %s\n", (*c)->name, (*c)->summary);
    qk_buf_add_str(
        out, "\n  qkengine help COMMAND    its arguments and options\n"
             "  qkengine help config     every key of a configuration\n"
             "\nStart with a configuration (configs/sample.yaml explains every key):\n\n"
             "  qkengine plan config.yaml    what a run would do, before any weights are read\n"
             "  qkengine run config.yaml     do it; the same command goes on after a crash\n\n"
             "exit status: 0 done, 1 bad input, 2 wrong usage, 3 stopped and can be resumed\n");
}

static qk_status run(const qk_args *args, qk_error *err)
{
    const char *topic = qk_arg(args, 0);
    const qk_command *c = topic ? qk_command_find(topic) : NULL;
    qk_buf out = {0};
    if (c)
        qk_help_print(c);
    else if (!topic)
        add_program(&out);
    else if (!strcmp(topic, "config"))
        qk_config_reference(&out);
    else
        return qk_command_unknown("help topic", topic, "config", err);
    fputs(qk_buf_str(&out), stdout);
    qk_buf_free(&out);
    return QK_OK;
}

const qk_command qk_command_help = {
    .name = "help",
    .arguments = {{"COMMAND | config", QK_VALUE_COMMAND, .optional = true}},
    .summary = "show the arguments and options of a command, or every key",
    .details = "Without an argument: the commands. With config: every key of a configuration, as "
               "in configs/README.md.",
    .run = run,
};
