/* engine/config: a hint that offers a spelling, a word or a key is followed, and then the value is
 * accepted: for every key, a list of values that people write, in the file and by --set. */
#include "tests/test.h"

#include <unistd.h>

#include "engine/base/file.h"
#include "engine/config/keys.h"

static char folder[] = "/tmp/qk_test_hints_XXXXXX";
static char *config_path;

/* Not flushed to the disk: thousands of them. */
static void write_config(const char *text)
{
    FILE *f = fopen(config_path, "w");
    CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void add_section(qk_buf *out, const char *section, const char *fixed, const char *where,
                        const char *name, const char *value)
{
    qk_buf_addf(out, "%s:\n%s", section, fixed);
    if (!strcmp(section, where)) qk_buf_addf(out, "  %s: %s\n", name, value);
    size_t n = strlen(section);
    if (strncmp(section, where, n) != 0 || where[n] != '.') return;
    const char *part = where + n + 1, *dot = strchr(part, '.');
    if (dot)
        qk_buf_addf(out, "  %.*s:\n    %s:\n      %s: %s\n", (int)(dot - part), part, dot + 1, name,
                    value);
    else
        qk_buf_addf(out, "  %s:\n    %s: %s\n", part, name, value);
    if (!strcmp(where + n, ".head_sampling") && strcmp(name, "count") != 0)
        qk_buf_add_str(out, "    count: 2\n");
}

/* A configuration with one key set; "dataset.path" and "model.name" are there in any case. */
static void document(qk_buf *out, const char *where, const char *name, const char *value)
{
    bool path = !strcmp(where, "dataset") && !strcmp(name, "path");
    bool model = !strcmp(where, "model") && !strcmp(name, "name");
    *out = (qk_buf){0};
    add_section(out, "dataset", path ? "" : "  path: a\n", where, name, value);
    add_section(out, "model", model ? "" : "  name: b\n", where, name, value);
    add_section(out, "output", strcmp(name, "data_root") ? "  data_root: out\n" : "", where, name,
                value);
    if (strchr("ti", *where))
        add_section(out, *where == 't' ? "tokenizer" : "inference", "", where, name, value);
    if (*where == 'c') add_section(out, "capture", "", where, name, value);
}

static qk_status load(const char *where, const char *name, const char *value, qk_error *err)
{
    qk_buf text;
    qk_config c;
    *err = (qk_error){0};
    document(&text, where, name, value);
    write_config(qk_buf_str(&text));
    qk_status s = qk_config_load(&c, config_path, NULL, 0, err);
    if (s == QK_OK) qk_config_free(&c);
    qk_buf_free(&text);
    return s;
}

/* The same by --set on a file without the key. */
static qk_status load_setting(const char *where, const char *setting, qk_error *err)
{
    qk_config c;
    *err = (qk_error){0};
    const char *counted =
        strcmp(where, "capture.head_sampling") ? "" : "capture: {head_sampling: {count: 2}}\n";
    char *text =
        qk_strf("dataset: {path: a}\nmodel: {name: b}\noutput: {data_root: out}\n%s", counted);
    write_config(text);
    qk_status s = qk_config_load(&c, config_path, &setting, 1, err);
    if (s == QK_OK) qk_config_free(&c);
    free(text);
    return s;
}

/* What a hint offers instead of a value, or of the only wrong item of a list; NULL where it offers
 * nothing that can be copied. */
static char *offered_value(const char *hint)
{
    const char *at = strstr(hint, "write "), *quotes = strstr(hint, "put it in quotes: ");
    const char *mean = strstr(hint, "did you mean '");
    if (quotes) return qk_strdup(quotes + strlen("put it in quotes: "));
    if (mean) return qk_strndup(mean + 14, strcspn(mean + 14, "'"));
    if (!at || !strncmp(at, "write it", 8)) return NULL;
    at += strlen("write ");
    const char *end = strstr(at, " without");
    if (!end) end = strchr(at, ';');
    if (!strncmp(at, "true or false", 13)) end = at + 4;
    return qk_strndup(at, end ? (size_t)(end - at) : strlen(at));
}

static char *offered(const qk_config_key *k, const char *value, const char *hint)
{
    char *better = offered_value(hint);
    if (!better || k->type != &qk_config_ints || *value != '[' || *better == '[') return better;
    char *list = qk_strf("[%s]", better);
    free(better);
    return list;
}

static long followed;

/* The value was taken, though a file of that name to read is not there. */
static bool is_taken(qk_status s)
{
    return s == QK_OK || s == QK_ERR_NOTFOUND;
}

static void follow_in_file(const qk_config_key *k, const char *value)
{
    qk_error err, again;
    if (is_taken(load(k->section, k->name, value, &err))) return;
    CHECK_MSG(err.hint[0] || strstr(err.message, " is ") || strstr(err.message, "must be"),
              "%s.%s: %s: nothing says what is right: %s", k->section, k->name, value, err.message);
    char *better = offered(k, value, err.hint);
    if (!better) return;
    followed++;
    CHECK_MSG(is_taken(load(k->section, k->name, better, &again)),
              "%s.%s: %s: %s / %s\n    then: %s", k->section, k->name, value, err.message, err.hint,
              again.message);
    free(better);
}

static void follow_in_setting(const qk_config_key *k, const char *value)
{
    qk_error err, again;
    char *setting = qk_strf("%s.%s=%s", k->section, k->name, value);
    qk_status s = load_setting(k->section, setting, &err);
    free(setting);
    if (is_taken(s)) return;
    const char *whole = strstr(err.hint, "--set '");
    char *better = whole ? NULL : offered(k, value, err.hint);
    if (whole)
        setting = qk_strndup(whole + 7, strcspn(whole + 7, "'"));
    else if (better)
        setting = qk_strf("%s.%s=%s", k->section, k->name, better);
    else
        return;
    followed++;
    CHECK_MSG(is_taken(load_setting(k->section, setting, &again)),
              "%s.%s: %s: %s / %s\n    then: %s", k->section, k->name, value, err.message, err.hint,
              again.message);
    free(setting);
    free(better);
}

static const char *const values[] = {
    "1e3",
    "1E3",
    "1e+3",
    "1_000",
    "1_000_",
    "\"1000\"",
    "'1e3'",
    "\"1_000\"",
    "1.0",
    "1000.0",
    "1.0e+3",
    "1.5",
    ".5",
    "5.",
    ".5e3",
    "-.5e3",
    "1e-3",
    "'1e-3'",
    "1e-30",
    "1e300",
    "1e999",
    "1e15",
    "1e17",
    "0x10",
    "'0x10'",
    "0b11",
    "010",
    "'010'",
    "08",
    "'08'",
    "-010",
    "+010",
    "0_7",
    "-5",
    "-5.0",
    "-1e3",
    "+7",
    "'+7'",
    "1:30",
    "1:30.5",
    "0.0",
    "-0.0",
    "0",
    "'0'",
    "''",
    "~",
    "null",
    "yes",
    "'yes'",
    "No",
    "on",
    "true",
    "'true'",
    "TRUE",
    "tRuE",
    "2024-05-06",
    ".inf",
    "'.inf'",
    ".nan",
    "[]",
    "[1]",
    "[1, 2]",
    "['1', 2]",
    "[1e1]",
    "[1.0]",
    "[010]",
    "[1:30]",
    "[-1]",
    "[true]",
    "[1_0]",
    "{}",
    "{a: 1}",
    "3",
    "all",
    "none",
    "auto",
    "9223372036854775807",
    "9223372036854775808",
    "99999999999999999999999999999",
    "'99999999999999999999999999999'",
    "099999",
    "07777777777777777777777777777777777777777777777777777777777777777777777777777777",
    "12 rows",
    "1,000",
    "'1 '",
    "1k",
    "--5",
    "1-2",
    "e3",
    "1e",
    "\"\\\"\"",
    "a b",
    "é"};

static void test_values(void)
{
    for (size_t i = 0; i < qk_config_n_keys; i++)
        for (size_t j = 0; j < sizeof values / sizeof *values; j++) {
            follow_in_file(&qk_config_keys[i], values[j]);
            follow_in_setting(&qk_config_keys[i], values[j]);
        }
    CHECK_MSG(followed > 1000, "only %ld hints were followed", followed);
}

/* Misspelt: a letter left out, twice, or two swapped; other case; the plural. */
static char *misspelt(const char *word, int how)
{
    size_t n = strlen(word), m = n / 2;
    char *out = qk_strf("%s%s", word, "xx");
    out[n] = 0;
    switch (how) {
    case 0: memmove(out + m, word + m + 1, n - m); break;
    case 1: memmove(out + m + 1, word + m, n - m + 1); break;
    case 2: out[m] = word[m - 1], out[m - 1] = word[m]; break;
    case 3: strcpy(out + n, "s"); break;
    case 4: out[0] = (char)(out[0] - 'a' + 'A'); break;
    default:
        for (char *c = out; *c; c++)
            if (*c == '_') *c = '-';
    }
    return out;
}

static void test_words(void)
{
    long before = followed;
    for (size_t i = 0; i < qk_config_n_keys; i++)
        for (const qk_config_word *w = qk_config_keys[i].words; w && w->word; w++)
            for (int how = 0; how < 6; how++) {
                char *wrong = misspelt(w->word, how);
                follow_in_file(&qk_config_keys[i], wrong);
                follow_in_setting(&qk_config_keys[i], wrong);
                free(wrong);
            }
    CHECK_MSG(followed - before > 100, "only %ld", followed - before);
}

/* An offered key is a key: "section.name" or a name in the same section. */
static void follow_key(const char *section, const char *wrong)
{
    qk_error err, again;
    char *setting = qk_strf("%s%s%s=null", section, *section ? "." : "", wrong);
    qk_status s = load_setting(section, setting, &err);
    free(setting);
    if (s == QK_OK || !strstr(err.message, "unknown")) return;
    const char *mean = strstr(err.hint, "did you mean '");
    if (!mean) return;
    char *right = qk_strndup(mean + 14, strcspn(mean + 14, "'"));
    bool whole = strchr(right, '.') || !*section;
    setting = qk_strf("%s%s%s=null", whole ? "" : section, whole ? "" : ".", right);
    followed++;
    load_setting(section, setting, &again);
    CHECK_MSG(!strstr(again.message, "unknown"), "%s in %s: %s\n    then: %s", wrong, section,
              err.hint, again.message);
    free(setting);
    free(right);
}

static void test_keys(void)
{
    long before = followed;
    qk_error err;
    for (size_t i = 0; i < qk_config_n_keys; i++) {
        const char *name = qk_config_keys[i].name;
        for (int how = 0; how < 6; how++) {
            char *wrong = misspelt(name, how);
            follow_key(qk_config_keys[i].section, wrong);
            free(wrong);
        }
        for (const qk_config_section *s = qk_config_sections; s->name; s++)
            follow_key(s->name, name);
        follow_key("", name);
    }
    CHECK_MSG(followed - before > 500, "only %ld", followed - before);
    CHECK(load_setting("", "dataset.layers=[0]", &err) == QK_ERR_USAGE);
    CHECK_STR(err.hint, "did you mean 'capture.layers'?");
    CHECK(load_setting("", "layers=[0]", &err) == QK_ERR_USAGE);
    CHECK_STR(err.hint, "did you mean 'capture.layers'?");
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    if (!mkdtemp(folder)) return 1;
    config_path = qk_path_join(folder, "run.yaml");
    RUN(test_values);
    RUN(test_words);
    RUN(test_keys);
    printf("  %ld hints followed\n", followed);
    qk_remove_tree(folder, &test_error);
    free(config_path);
    return test_summary("config hints");
}
