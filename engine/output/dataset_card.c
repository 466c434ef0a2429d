/* See dataset_card.h. */
#include "engine/output/dataset_card.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/hash.h"
#include "engine/base/log.h"
#include "engine/base/text.h"
#include "formats/json.h"

enum { SEAL_BYTES = 12 + 64 + 5, MOST_CARD = 256 << 20 };

typedef struct card {
    qk_buf *out;
    const qk_card_file *files; /* sorted: split, layer, head, kind */
    size_t n_files;
    const qk_card_split *splits;
    size_t n_splits;
} card;

/* A set of files: -1 and 0 are wild cards. */
typedef struct pattern {
    int layer, head;
    char kind;
} pattern;

static bool matches(const qk_card_file *f, pattern p)
{
    return (p.layer < 0 || f->layer == p.layer) && (p.head < 0 || f->head == p.head) &&
           (!p.kind || (char)f->kind == p.kind);
}

static bool split_has(const card *c, const char *split, pattern p)
{
    for (size_t i = 0; i < c->n_files; i++)
        if (!strcmp(c->files[i].split, split) && matches(&c->files[i], p)) return true;
    return false;
}

/* "l00h*q" of layer 0, every head, queries. */
static void add_glob(qk_buf *out, pattern p)
{
    if (p.layer >= 0)
        qk_buf_addf(out, "l%02d", p.layer);
    else
        qk_buf_add_str(out, "l*");
    if (p.head >= 0)
        qk_buf_addf(out, "h%02d", p.head);
    else
        qk_buf_add_str(out, "h*");
    if (p.kind)
        qk_buf_add_byte(out, (uint8_t)p.kind);
    else
        qk_buf_add_str(out, "[qk]");
}

/* JSON strings are YAML strings; a plain word needs no quotes. */
static void add_word(qk_buf *out, const char *text)
{
    bool plain = *text != 0;
    for (const char *p = text; *p; p++)
        plain &= (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || *p == '_' ||
                 (p > text && *p >= '0' && *p <= '9');
    static const char *const special[] = {"y",   "n",    "yes",   "no",  "on",
                                          "off", "true", "false", "null"};
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        plain &= strcmp(text, special[i]) != 0;
    if (plain)
        qk_buf_add_str(out, text);
    else
        qk_json_quote(out, text, strlen(text));
}

static void add_config(const card *c, const char *name, pattern p)
{
    bool any = false;
    for (size_t s = 0; s < c->n_splits; s++) {
        const qk_card_split *split = &c->splits[s];
        if (!split_has(c, split->split, p)) continue;
        if (!any) qk_buf_addf(c->out, "- config_name: %s\n", name);
        if (!any && !strcmp(name, "all")) qk_buf_add_str(c->out, "  default: true\n");
        if (!any) qk_buf_add_str(c->out, "  data_files:\n");
        any = true;
        qk_buf_add_str(c->out, "  - split: ");
        add_word(c->out, split->split);
        qk_buf path = {0};
        qk_buf_addf(&path, "%s%s", split->folder, *split->folder ? "/" : "");
        add_glob(&path, p);
        qk_buf_add_str(&path, "/data.parquet");
        qk_buf_add_str(c->out, "\n    path: ");
        qk_json_quote(c->out, (const char *)path.data, path.size);
        qk_buf_add_byte(c->out, '\n');
        qk_buf_free(&path);
    }
}

static void add_numbered(const card *c, const char *format, int layer, int head, char kind)
{
    char name[64];
    snprintf(name, sizeof name, format, layer, head);
    add_config(c, name, (pattern){layer, head, kind});
}

/* Calls add for each (layer, head) that some split has: in order, once. head = -1: each layer. */
static size_t each(const card *c, bool heads, void (*add)(const card *, int, int))
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_files; i++) {
        const qk_card_file *f = &c->files[i];
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++)
            seen = c->files[k].layer == f->layer && (!heads || c->files[k].head == f->head);
        if (seen) continue;
        n++;
        if (add) add(c, f->layer, heads ? f->head : -1);
    }
    return n;
}

static void add_layer(const card *c, int layer, int head)
{
    add_numbered(c, "layer%02d", layer, head, 0);
    add_numbered(c, "layer%02d_q", layer, head, 'q');
    add_numbered(c, "layer%02d_k", layer, head, 'k');
}

static void add_pair(const card *c, int layer, int head)
{
    add_numbered(c, "l%02dh%02d", layer, head, 0);
}

static void add_single(const card *c, int layer, int head)
{
    add_numbered(c, "l%02dh%02dq", layer, head, 'q');
    add_numbered(c, "l%02dh%02dk", layer, head, 'k');
}

static void add_front_matter(const card *c)
{
    qk_buf_add_str(c->out, "---\nconfigs:\n");
    add_config(c, "all", (pattern){-1, -1, 0});
    add_config(c, "all_q", (pattern){-1, -1, 'q'});
    add_config(c, "all_k", (pattern){-1, -1, 'k'});
    each(c, false, add_layer);
    size_t layers = each(c, false, NULL), heads = each(c, true, NULL);
    if (3 + 3 * layers + 3 * heads <= QK_MOST_CONFIGS) {
        each(c, true, add_pair);
        each(c, true, add_single);
    }
    qk_buf_add_str(c->out, "tags:\n- attention\n- queries-and-keys\n---\n\n");
}

static const char *known(const char *text)
{
    return text ? qk_visible(text) : "?";
}

static void add_split_table(const card *c)
{
    qk_buf_add_str(c->out, "| split | model | dataset | sampling | dtype | head_dim | examples | "
                           "tokens | files | rows |\n|---|---|---|---|---|---|---|---|---|---|\n");
    for (size_t s = 0; s < c->n_splits; s++) {
        const qk_card_split *p = &c->splits[s];
        uint64_t rows = 0, files = 0;
        for (size_t i = 0; i < c->n_files; i++)
            if (!strcmp(c->files[i].split, p->split)) rows += c->files[i].rows, files++;
        qk_buf_addf(c->out,
                    "| %s | %s | %s (%s) | %s | %s | %d | %" PRId64 " | %" PRId64 " | %" PRIu64
                    " | %" PRIu64 " |\n",
                    known(p->split), known(p->model), known(p->dataset), known(p->dataset_split),
                    known(p->sampling), known(p->dtype), p->head_dim, p->examples, p->tokens, files,
                    rows);
    }
}

static void add_run(const card *c, const char *split, const qk_card_run *r)
{
    qk_buf_addf(c->out, "| %s | %s | %s (%s) | %s | ", known(split), known(r->name),
                known(r->dataset), known(r->dataset_split), known(r->sampling));
    if (r->max_length) qk_buf_addf(c->out, "%" PRId64, r->max_length);
    qk_buf_addf(c->out, " | %" PRId64 " | %" PRId64 " | %" PRId64 " |\n", r->files, r->examples,
                r->tokens);
}

/* Where the rows of a split come from several runs. A row that two of them have is there once. */
static void add_runs(const card *c)
{
    bool several = false;
    for (size_t s = 0; s < c->n_splits; s++) several |= c->splits[s].n_runs > 1;
    if (!several) return;
    qk_buf_add_str(c->out,
                   "\nRows come from these runs, and those that several of them have are there "
                   "once:\n\n| split | run | dataset | sampling | max_length | files | examples | "
                   "tokens |\n|---|---|---|---|---|---|---|---|\n");
    for (size_t s = 0; s < c->n_splits; s++)
        for (size_t i = 0; i < c->splits[s].n_runs; i++)
            add_run(c, c->splits[s].split, &c->splits[s].runs[i]);
}

static void add_body(const card *c)
{
    const qk_card_file *f = c->n_files ? &c->files[0] : NULL;
    qk_buf_add_str(
        c->out,
        "# Sampled attention queries and keys\n\n"
        "Query and key vectors of a transformer's attention heads, sampled while the model read "
        "a dataset.\nWritten by qkengine. One Parquet file for each layer, head and kind.\n\n"
        "```python\nfrom datasets import load_dataset\n\n");
    if (f)
        qk_buf_addf(c->out, "rows = load_dataset(PATH, \"l%02dh%02d%c\", split=\"%s\")\n", f->layer,
                    f->head, (char)f->kind, known(f->split));
    qk_buf_add_str(
        c->out, "```\n\nConfigurations: `lXXhYYq` and `lXXhYYk` for one head, `lXXhYY` for both, "
                "`layerXX`, `layerXX_q`, `layerXX_k`, `all_q`, `all_k`, `all`.\n\n");
    add_split_table(c);
    add_runs(c);
    qk_buf_add_str(
        c->out,
        "\n| column | type | meaning |\n|---|---|---|\n"
        "| bucket | int32 | the position bucket that the sampler drew the row from |\n"
        "| example_id | int32 | low 32 bits of the example's id; the full id is in "
        "examples.parquet |\n"
        "| position | int32 | token position in the example, from 0 |\n"
        "| vector | float32[head_dim] | the query or key |\n"
        "| sliding_window | int32 | window of the layer; null: full attention |\n"
        "| token_str | string | the vocabulary's piece at this position, when asked for |\n");
}

/* The last line, which readers do not show: the digest of what is before it. */
static void make_seal(const void *text, size_t n, char out[SEAL_BYTES + 1])
{
    uint8_t digest[32];
    char hex[65];
    qk_sha256(text, n, digest);
    qk_sha256_hex(digest, hex);
    snprintf(out, SEAL_BYTES + 1, "<!-- sha256 %s -->\n", hex);
}

static void add_seal(qk_buf *out)
{
    char seal[SEAL_BYTES + 1];
    qk_buf_add_byte(out, '\n');
    make_seal(out->data, out->size, seal);
    qk_buf_add(out, seal, SEAL_BYTES);
}

static bool is_sealed(const qk_buf *text)
{
    char seal[SEAL_BYTES + 1];
    if (text->size < SEAL_BYTES) return false;
    make_seal(text->data, text->size - SEAL_BYTES, seal);
    return !memcmp(text->data + text->size - SEAL_BYTES, seal, SEAL_BYTES);
}

void qk_card_look(const char *folder)
{
    char *path = qk_path_join(folder, "README.md");
    qk_buf text = {0};
    qk_error err;
    if (qk_read_file(&text, path, MOST_CARD, &err) != QK_OK)
        qk_warn("%s", err.message);
    else if (!is_sealed(&text))
        qk_warn("%s: is not as it was written: somebody changed it, or it is damaged", path);
    qk_buf_free(&text);
    free(path);
}

static int by_name(const void *a, const void *b)
{
    const qk_card_file *x = a, *y = b;
    int order = strcmp(x->split, y->split);
    if (!order) order = x->layer - y->layer;
    if (!order) order = x->head - y->head;
    return order ? order : (int)y->kind - (int)x->kind; /* queries first */
}

void qk_card_write(qk_buf *out, const qk_card_file *files, size_t n_files,
                   const qk_card_split *splits, size_t n_splits)
{
    qk_card_file *sorted = qk_alloc(n_files, sizeof *sorted);
    if (n_files) memcpy(sorted, files, n_files * sizeof *sorted);
    if (n_files) qsort(sorted, n_files, sizeof *sorted, by_name);
    card c = {out, sorted, n_files, splits, n_splits};
    add_front_matter(&c);
    add_body(&c);
    add_seal(out);
    free(sorted);
}
