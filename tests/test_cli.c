/* engine/commands/cli: the tables of commands are sound, so that what help says of a default is what
 * a command gets. */
#include <string.h>

#include "engine/commands/cli.h"
#include "tests/test.h"

static bool has_word(const char *const *words, const char *word)
{
    while (*words && strcmp(*words, word) != 0) words++;
    return *words != NULL;
}

static void check_option(const qk_command *c, const qk_option *o)
{
    CHECK_MSG(o->help && *o->help, "%s --%s", c->name, o->name);
    CHECK_MSG(o->value || (!o->fallback && !o->words && !o->repeated && !o->type),
              "%s --%s: a flag takes nothing", c->name, o->name);
    CHECK_MSG(!o->words == (o->type != QK_VALUE_WORD), "%s --%s: words", c->name, o->name);
    CHECK_MSG(o->type == QK_VALUE_INT || (!o->least && !o->most), "%s --%s: bounds", c->name,
              o->name);
    for (const qk_option *other = c->options; other < o; other++)
        CHECK_MSG(strcmp(other->name, o->name) != 0, "%s --%s: twice", c->name, o->name);
    if (!o->fallback) return;
    char *end = NULL;
    long long number = strtoll(o->fallback, &end, 10);
    if (o->type == QK_VALUE_WORD)
        CHECK_MSG(has_word(o->words, o->fallback), "%s --%s: default", c->name, o->name);
    if (o->type == QK_VALUE_INT)
        CHECK_MSG(!*end && number >= o->least && (!o->most || number <= o->most),
                  "%s --%s: default", c->name, o->name);
}

static void test_tables(void)
{
    size_t options = 0, commands = 0;
    for (const qk_command *const *at = qk_commands; *at; at++, commands++) {
        const qk_command *c = *at;
        CHECK_MSG(c->run && strlen(c->name) <= 10 && strlen(c->summary) <= 67, "%s", c->name);
        CHECK_MSG(c->summary[strlen(c->summary) - 1] != '.', "%s", c->summary);
        CHECK(qk_command_find(c->name) == c);
        CHECK_MSG(!c->arguments[QK_MAX_ARGUMENTS - 1].name, "%s: the list has an end", c->name);
        for (const qk_argument *a = c->arguments; a->name; a++)
            CHECK_MSG(!a[1].name || !a->optional || a[1].optional,
                      "%s %s: only the last ones may "
                      "be absent",
                      c->name, a->name);
        for (const qk_option *o = c->options; o && o->name; o++, options++) check_option(c, o);
    }
    CHECK(commands >= 13 && options >= 40);
}

static void test_unknown_names(void)
{
    qk_error err = {0};
    CHECK(!qk_command_find("rnu") && !qk_command_find(""));
    CHECK(qk_command_unknown("command", "rnu", NULL, &err) == QK_ERR_USAGE);
    CHECK_MSG(strstr(err.message, "did you mean 'run'?"), "%s", err.message);
    qk_command_unknown("help topic", "confg", "config", &err);
    CHECK_MSG(strstr(err.message, "unknown help topic 'confg'; did you mean 'config'?"), "%s",
              err.message);
}

static const struct {
    qk_option option;
    const char *said;
} cases[] = {
    {{"a", .help = "does it"}, "does it"},
    {{"a", "N", "how many", .type = QK_VALUE_INT, .fallback = "3"}, "how many (default: 3)"},
    {{"a", "NAME", "which", .type = QK_VALUE_WORD, .words = QK_WORDS("x", "y", "z")},
     "which: x, y or z"},
    {{"a", "NAME", "which", .type = QK_VALUE_WORD, .words = QK_WORDS("x"), .fallback = "x"},
     "which: x (default: x)"},
    {{"a", "KEY", "sets it", .repeated = true}, "sets it; may be repeated"},
};

static void test_help_of_options(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qk_buf out = {0};
        qk_help_option(&out, &cases[i].option);
        CHECK_STR(qk_buf_str(&out), cases[i].said);
        qk_buf_free(&out);
    }
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_tables);
    RUN(test_unknown_names);
    RUN(test_help_of_options);
    return test_summary("cli");
}
