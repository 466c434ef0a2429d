/* See card_options.h. */
#include "engine/dataset/card_options.h"

#include <string.h>
#include <strings.h>

#include "engine/base/log.h"

enum {
    PARQUET = 1 << QK_FORMAT_PARQUET,
    JSON = 1 << QK_FORMAT_JSON,
    TEXT = 1 << QK_FORMAT_TEXT,
    CSV = 1 << QK_FORMAT_CSV,
    ALL = PARQUET | JSON | TEXT | CSV
};

enum { SHOWN = 5 }; /* keys that a warning names */

typedef enum ease {
    NONE,      /* null */
    NO,        /* false */
    YES,       /* true */
    NUMBER,    /* `number` */
    WORD,      /* `text` */
    SEPARATOR, /* a comma, or a tab in .tsv files */
    UTF8,      /* null or a name of UTF-8 */
    STRICT,    /* null or "strict" */
    ANY,       /* changes no row, whatever it is */
    NEVER,     /* `datasets` fails on it */
} ease;

/* What each builder takes, and the values with which it changes nothing. */
static const struct option {
    int formats;
    const char *name;
    ease fine;
    int64_t number;
    const char *text;
} options[] = {
    {ALL, "name", NEVER, 0, NULL},
    {ALL, "features", NONE, 0, NULL},
    {CSV, "sep", SEPARATOR, 0, NULL},
    {CSV, "delimiter", SEPARATOR, 0, NULL},
    {CSV, "header", WORD, 0, "infer"},
    {CSV, "names", NONE, 0, NULL},
    {CSV, "column_names", NONE, 0, NULL},
    {CSV, "index_col", NONE, 0, NULL},
    {CSV, "usecols", NONE, 0, NULL},
    {CSV, "prefix", NONE, 0, NULL},
    {CSV, "mangle_dupe_cols", YES, 0, NULL},
    {CSV, "engine", NONE, 0, NULL},
    {CSV, "converters", NONE, 0, NULL},
    {CSV, "true_values", NONE, 0, NULL},
    {CSV, "false_values", NONE, 0, NULL},
    {CSV, "skipinitialspace", NO, 0, NULL},
    {CSV, "skiprows", NONE, 0, NULL},
    {CSV, "nrows", NONE, 0, NULL},
    {CSV, "na_values", NONE, 0, NULL},
    {CSV, "keep_default_na", YES, 0, NULL},
    {CSV, "na_filter", YES, 0, NULL},
    {CSV, "verbose", NO, 0, NULL},
    {CSV, "skip_blank_lines", YES, 0, NULL},
    {CSV, "thousands", NONE, 0, NULL},
    {CSV, "decimal", WORD, 0, "."},
    {CSV, "lineterminator", NONE, 0, NULL},
    {CSV, "quotechar", WORD, 0, "\""},
    {CSV, "quoting", NUMBER, 0, NULL},
    {CSV, "escapechar", NONE, 0, NULL},
    {CSV, "comment", NONE, 0, NULL},
    {CSV, "encoding", UTF8, 0, NULL},
    {CSV, "dialect", NONE, 0, NULL},
    {CSV, "error_bad_lines", YES, 0, NULL},
    {CSV, "warn_bad_lines", YES, 0, NULL},
    {CSV, "skipfooter", NUMBER, 0, NULL},
    {CSV, "doublequote", YES, 0, NULL},
    {CSV, "memory_map", NO, 0, NULL},
    {CSV, "float_precision", NONE, 0, NULL},
    {CSV, "chunksize", NUMBER, 10000, NULL},
    {CSV, "encoding_errors", WORD, 0, "strict"},
    {CSV, "on_bad_lines", WORD, 0, "error"},
    {CSV, "date_format", NONE, 0, NULL},
    {JSON | TEXT, "encoding", UTF8, 0, NULL},
    {JSON | TEXT, "encoding_errors", STRICT, 0, NULL},
    {JSON | TEXT, "chunksize", NUMBER, 10 << 20, NULL},
    {JSON, "field", NONE, 0, NULL},
    {JSON, "use_threads", ANY, 0, NULL},
    {JSON, "block_size", NONE, 0, NULL},
    {JSON, "newlines_in_values", NONE, 0, NULL},
    {JSON, "on_mixed_types", WORD, 0, "use_json"},
    {JSON, "parse_agent_traces", YES, 0, NULL},
    {TEXT, "keep_linebreaks", NO, 0, NULL},
    {TEXT, "sample_by", WORD, 0, "line"},
    {PARQUET, "batch_size", ANY, 0, NULL},
    {PARQUET, "columns", NONE, 0, NULL},
    {PARQUET, "filters", NONE, 0, NULL},
    {PARQUET, "fragment_scan_options", NONE, 0, NULL},
    {PARQUET, "on_bad_files", WORD, 0, "error"},
};

/* Keys that are no options of a reader. */
static const char *const known[] = {"config_name", "data_files",  "data_dir",
                                    "default",     "description", "version"};

static bool is_text(const qk_yaml *v, const char *text)
{
    return v->type == QK_YAML_STRING && v->length == strlen(text) && !strcmp(v->text, text);
}

/* Python's True is 1. */
static bool is_number(const qk_yaml *v, int64_t number)
{
    if (v->type == QK_YAML_BOOL) return v->boolean == number;
    if (v->type == QK_YAML_FLOAT) return v->number == (double)number;
    return v->type == QK_YAML_INT && v->fits && v->integer == number;
}

static bool changes_nothing(const struct option *o, const qk_yaml *v, bool tsv)
{
    bool null = v->type == QK_YAML_NULL;
    switch (o->fine) {
    case NONE: return null;
    case NO: return is_number(v, 0);
    case YES: return is_number(v, 1);
    case NUMBER: return is_number(v, o->number);
    case WORD: return is_text(v, o->text);
    case SEPARATOR: return is_text(v, tsv ? "\t" : ",") || (null && !strcmp(o->name, "delimiter"));
    case UTF8:
        return null || (v->type == QK_YAML_STRING && v->length == strlen(v->text) &&
                        (!strcasecmp(v->text, "utf-8") || !strcasecmp(v->text, "utf8") ||
                         !strcasecmp(v->text, "utf_8")));
    case STRICT: return null || is_text(v, "strict");
    case ANY: return true;
    case NEVER: return false;
    }
    return false;
}

qk_status qk_card_check_options(const qk_yaml *config, qk_format format, bool tsv, const char *card,
                                qk_error *err)
{
    qk_buf unknown = {0};
    size_t count = 0;
    qk_status s = QK_OK;
    for (const qk_yaml *m = config->first; m && s == QK_OK; m = m->next) {
        if (m->other_key)
            s = qk_fail(err, QK_ERR_FORMAT, "put the key in quotes, or remove it",
                        "%s: configs, line %d of the front matter: a key of a configuration is "
                        "no text",
                        card, m->key_line);
        bool is_known = m->other_key;
        for (size_t i = 0; i < sizeof known / sizeof *known && !is_known; i++)
            is_known = !strcmp(m->key, known[i]);
        if (is_known) continue;
        const struct option *o = NULL;
        for (size_t i = 0; i < sizeof options / sizeof *options && !o; i++)
            if ((options[i].formats & 1 << format) && !strcmp(options[i].name, m->key))
                o = &options[i];
        if (o && !changes_nothing(o, m, tsv))
            s = qk_fail(err, QK_ERR_UNSUPPORTED,
                        "convert the files to what is read without it, or remove it",
                        "%s: the reader option '%s' of the configuration is not supported", card,
                        o->name);
        if (!o && count++ < SHOWN)
            qk_buf_addf(&unknown, "%s%.100s", unknown.size ? ", " : "", m->key);
    }
    if (count > SHOWN) qk_buf_addf(&unknown, " and %zu more", count - SHOWN);
    if (s == QK_OK && count) /* one line, however many there are */
        qk_warn_once("%s: a configuration has keys that are no options of the reader and are "
                     "ignored: %s",
                     card, qk_buf_str(&unknown));
    qk_buf_free(&unknown);
    return s;
}
