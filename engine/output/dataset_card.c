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
#include "engine/output/card_attention.h"
#include "formats/json.h"

enum { SEAL_BYTES = 12 + 64 + 5, MAX_CARD = 256 << 20 };

/* What a reader resolves first, and the Hub's page for a dataset refuses above. */
enum { MAX_CONFIGS = 3000, MAX_PATHS = 10000 };

/* Sorted: layer, head, kind as in qk_kinds, split. */
typedef struct data_file {
    int layer, head;
    qk_kind kind;
    uint64_t rows;
    const char *sha256;
    size_t split; /* of card->splits */
} data_file;

/* What the files behind a name have in common; in the order in which they are listed. */
typedef enum common { ALL, LAYER, ONE_FILE, HEAD, N_COMMON } common;

typedef struct card {
    qk_buf *out;
    data_file *files;
    size_t n_files;
    qk_card_split *splits; /* sorted by name */
    size_t n_splits;
    bool *chosen;          /* [n_splits]: those of the name at hand */
    bool listed[N_COMMON]; /* all names of this sort are in the front matter, or none */
    bool has_kind[QK_KINDS], has_default;
    char content[65]; /* SHA-256 of the list of files and their digests */
} card;

/* Of a kind in qk_kinds. */
static int rank_of(qk_kind kind)
{
    int rank = 0;
    while (qk_kinds[rank] != kind) rank++;
    return rank;
}

static bool has_kind(const card *c, qk_kind kind)
{
    return c->has_kind[rank_of(kind)];
}

/* Names in the front matter. Those of few files are the first: datasets resolves the first
 * configuration whichever is asked for, and of `all` that is every file. Values, and what is before
 * RoPE where others are after it, are named on their own: `all`, layerNN and lNNhNN are queries and
 * keys in one state. */
typedef struct name_form {
    common of;
    qk_kind kind; /* 0: ONE_FILE: of any kind; else queries and keys */
    const char *text;
} name_form;

static const name_form forms[] = {
    {ONE_FILE, 0, "l%02dh%02d%s"},
    {LAYER, 0, "layer%02d"},
    {LAYER, QK_KIND_Q, "layer%02d_q"},
    {LAYER, QK_KIND_K, "layer%02d_k"},
    {LAYER, QK_KIND_Q_PRE, "layer%02d_q_pre"},
    {LAYER, QK_KIND_K_PRE, "layer%02d_k_pre"},
    {LAYER, QK_KIND_V, "layer%02d_v"},
    {ALL, 0, "all"},
    {ALL, QK_KIND_Q, "all_q"},
    {ALL, QK_KIND_K, "all_k"},
    {ALL, QK_KIND_Q_PRE, "all_q_pre"},
    {ALL, QK_KIND_K_PRE, "all_k_pre"},
    {ALL, QK_KIND_V, "all_v"},
    {HEAD, 0, "l%02dh%02d"},
};
enum { N_FORMS = sizeof forms / sizeof *forms };

/* "l00h*q" of layer 0, every head, queries. A letter at the end matches no name with more behind. */
static void add_glob(qk_buf *out, const name_form *form, const data_file *f)
{
    qk_buf_add_str(out, "l");
    if (form->of == ALL)
        qk_buf_add_str(out, "*");
    else
        qk_buf_addf(out, "%02d", f->layer);
    qk_buf_add_str(out, "h");
    if (form->of == ALL || form->of == LAYER)
        qk_buf_add_str(out, "*");
    else
        qk_buf_addf(out, "%02d", f->head);
    qk_kind kind = form->of == ONE_FILE ? f->kind : form->kind;
    qk_buf_add_str(out, kind ? qk_kind_name(kind) : "[qk]");
}

/* "model/l00h*q/data.parquet" as a string of JSON, which is one of YAML. */
static void add_path(const card *c, const char *folder, const name_form *form, const data_file *f)
{
    qk_buf path = {0};
    qk_buf_addf(&path, "%s%s", folder, *folder ? "/" : "");
    add_glob(&path, form, f);
    qk_buf_add_str(&path, "/data.parquet");
    qk_json_quote(c->out, (const char *)path.data, path.size);
    qk_buf_free(&path);
}

/* The configuration of the chosen splits, f: the first file behind it. The first of all files of
 * some kind is the default: `all`, unless there are neither queries nor keys. */
static void add_config(card *c, const name_form *form, const data_file *f)
{
    qk_buf_add_str(c->out, "- config_name: ");
    qk_buf_addf(c->out, form->text, f->layer, f->head, qk_kind_name(f->kind));
    if (form->of == ALL && !c->has_default)
        qk_buf_addf(c->out, "\n  default: true\n  description: \"sha256 %s\"", c->content);
    c->has_default |= form->of == ALL;
    qk_buf_add_byte(c->out, '\n');
    qk_buf_add_str(c->out, "  data_files:");
    bool unnamed = c->n_splits == 1 && !*c->splits[0].folder; /* it is train then */
    if (unnamed) qk_buf_add_byte(c->out, ' ');
    if (unnamed) add_path(c, "", form, f);
    for (size_t s = 0; s < c->n_splits && !unnamed; s++) {
        if (!c->chosen[s]) continue;
        qk_buf_add_str(c->out, "\n  - split: ");
        qk_json_quote(c->out, c->splits[s].split, strlen(c->splits[s].split));
        qk_buf_add_str(c->out, "\n    path: ");
        add_path(c, c->splits[s].folder, form, f);
    }
    qk_buf_add_byte(c->out, '\n');
}

/* Without a digest nobody said how many rows it has. */
static bool has_rows(const data_file *f)
{
    return f->rows || !f->sha256;
}

static bool is_main(qk_kind kind)
{
    return kind == QK_KIND_Q || kind == QK_KIND_K;
}

static bool fits(const name_form *form, const data_file *f)
{
    return form->of == ONE_FILE || (form->kind ? f->kind == form->kind : is_main(f->kind));
}

/* Marks the splits of a configuration, the files from..end - 1; how many. datasets loads no split
 * of a name where one of them has no row: such ones are left out, unless none has any. */
static size_t choose_splits(const card *c, const name_form *form, size_t from, size_t end)
{
    bool rows = false;
    size_t n = 0;
    for (size_t i = from; i < end; i++) rows |= fits(form, &c->files[i]) && has_rows(&c->files[i]);
    memset(c->chosen, 0, c->n_splits * sizeof *c->chosen);
    for (size_t i = from; i < end; i++) {
        const data_file *f = &c->files[i];
        bool takes = fits(form, f) && (has_rows(f) || !rows);
        n += takes && !c->chosen[f->split];
        c->chosen[f->split] |= takes;
    }
    return n;
}

/* Counts the configurations of one form, and their paths; writes them where `write` is set. */
static void each_config(card *c, const name_form *form, bool write, size_t *configs, size_t *paths)
{
    for (size_t i = 0, end; i < c->n_files; i = end) {
        const data_file *f = &c->files[i];
        for (end = i; end < c->n_files; end++) { /* files are sorted: those behind one name */
            const data_file *g = &c->files[end];
            bool same_head = form->of == LAYER ||
                             (f->head == g->head && (form->of == HEAD || f->kind == g->kind));
            if (form->of != ALL && (f->layer != g->layer || !same_head)) break;
        }
        size_t n = choose_splits(c, form, i, end);
        *configs += n > 0;
        *paths += n;
        if (n && write) add_config(c, form, f);
    }
}

/* A sort of names is listed as long as it fits beside those before it. */
static void choose_names(card *c)
{
    size_t configs = 0, paths = 0;
    for (common of = 0; of < N_COMMON; of++) {
        size_t more_configs = configs, more_paths = paths;
        for (size_t i = 0; i < N_FORMS; i++)
            if (forms[i].of == of) each_config(c, &forms[i], false, &more_configs, &more_paths);
        c->listed[of] = more_configs <= MAX_CONFIGS && more_paths <= MAX_PATHS;
        if (!c->listed[of]) continue;
        configs = more_configs;
        paths = more_paths;
    }
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
            if (c->files[i].split == s) rows += c->files[i].rows, files++;
        qk_buf_addf(c->out, "| %s | %s | %s (%s) | %s | %s | %d | %" PRId64 " | %" PRId64 " | ",
                    known(p->split), known(p->model), known(p->dataset), known(p->dataset_split),
                    known(p->sampling), known(p->dtype), p->head_dim, p->examples, p->tokens);
        qk_buf_addf(c->out, "%" PRIu64 " | %" PRIu64 " |\n", files, rows);
    }
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
        for (size_t i = 0; i < c->splits[s].n_runs; i++) {
            const qk_card_run *r = &c->splits[s].runs[i];
            qk_buf_addf(c->out, "| %s | %s | %s (%s) | %s | ", known(c->splits[s].split),
                        known(r->name), known(r->dataset), known(r->dataset_split),
                        known(r->sampling));
            if (r->max_length) qk_buf_addf(c->out, "%" PRId64, r->max_length);
            qk_buf_addf(c->out, " | %" PRId64 " | %" PRId64 " | %" PRId64 " |\n", r->files,
                        r->examples, r->tokens);
        }
}

/* load_dataset of one file; path: an expression of Python, more: further arguments. */
static void add_head_call(const card *c, const data_file *f, const char *path, const char *more)
{
    const qk_card_split *p = &c->splits[f->split];
    const char *name = qk_kind_name(f->kind);
    qk_buf_addf(c->out, "load_dataset(%s, ", path);
    if (c->listed[ONE_FILE])
        qk_buf_addf(c->out, "\"l%02dh%02d%s\", split=\"%s\"%s)", f->layer, f->head, name,
                    known(p->split), more);
    else /* the split of files that are named in a call is always train */
        qk_buf_addf(c->out, "data_files=\"%s%sl%02dh%02d%s/data.parquet\", split=\"train\"%s)",
                    known(p->folder), *p->folder ? "/" : "", f->layer, f->head, name, more);
    qk_buf_addf(c->out, "   # layer %d, head %d, %s\n", f->layer, f->head, qk_kind_title(f->kind));
}

static void add_attention(const card *c)
{
    bool known_of = false;
    for (size_t s = 0; s < c->n_splits; s++) {
        const qk_card_attention *a = c->splits[s].attention;
        known_of |= a && (a->model || a->digests);
    }
    if (!known_of) return;
    qk_buf_add_str(c->out, "\nWhat attention does with them; the metadata `qkengine.attention` of "
                           "examples.parquet has all of it, by layer:\n\n| split | scale | soft "
                           "cap | query and key heads | RoPE | window | vectors | weights, SHA-256 "
                           "| tokenizer |\n|---|---|---|---|---|---|---|---|---|\n");
    for (size_t s = 0; s < c->n_splits; s++) {
        const qk_card_attention *a = c->splits[s].attention;
        qk_buf_addf(c->out, "| %s | %s | %s |\n", known(c->splits[s].split),
                    a && a->model ? a->model : "? | ? | ? | ? | ? | ?",
                    a && a->digests ? a->digests : "? | ?");
    }
}

static void add_chances(const card *c)
{
    bool begun = false;
    for (size_t s = 0; s < c->n_splits; s++) {
        const qk_card_split *p = &c->splits[s];
        for (size_t i = 0; p->attention && i < p->n_runs && i < p->attention->n_runs; i++) {
            if (!p->attention->chances[i]) continue;
            if (!begun)
                qk_buf_add_str(c->out,
                               "\nThe chance that a position is kept, by its bucket:\n\n| split | "
                               "run | queries | keys and values |\n|---|---|---|---|\n");
            begun = true;
            qk_buf_addf(c->out, "| %s | %s | %s |\n", known(p->split), known(p->runs[i].name),
                        p->attention->chances[i]);
        }
    }
}

/* Calls that work here, of the first file and its layer. */
static void add_calls(const card *c, const data_file *f, const qk_card_split *p)
{
    const char *name = qk_kind_name(f->kind), *kind = qk_kind_title(f->kind),
               *split = known(p->split);
    qk_buf_add_str(
        c->out, "```python\nfrom datasets import load_dataset\n\n"
                "path = \"FOLDER\"   # the one of this file; on the Hub \"OWNER/NAME\", and with "
                "revision=\"BRANCH\" where that is not main\n");
    qk_buf_add_str(c->out, "head = ");
    add_head_call(c, f, "path", "");
    if (c->listed[LAYER])
        qk_buf_addf(c->out,
                    "layer = load_dataset(path, \"layer%02d%s%s\", split=\"%s\")   # layer %d, all "
                    "heads\n",
                    f->layer, is_main(f->kind) ? "" : "_", is_main(f->kind) ? "" : name, split,
                    f->layer);
    qk_buf_addf(c->out,
                "rows = load_dataset(path, \"all_%s\", split=\"%s\", streaming=True)   # %s of all "
                "layers, as they come\n```\n\n",
                name, split, kind);
}

/* ": `layerXX`, `layerXX_q`"; n: names before it. plain: of queries and keys; each: what stands
 * before the name of a kind. Either may be NULL. */
static void add_names(const card *c, const char *plain, const char *each, int *n)
{
    static const qk_kind order[QK_KINDS] = {QK_KIND_Q, QK_KIND_K, QK_KIND_Q_PRE, QK_KIND_K_PRE,
                                            QK_KIND_V};
    bool main = has_kind(c, QK_KIND_Q) || has_kind(c, QK_KIND_K);
    if (plain && main) qk_buf_addf(c->out, "%s `%s`", (*n)++ ? "," : ":", plain);
    for (int i = 0; i < QK_KINDS && each; i++)
        if (has_kind(c, order[i]))
            qk_buf_addf(c->out, "%s `%s%s`", (*n)++ ? "," : ":", each, qk_kind_name(order[i]));
}

static void add_rules(const card *c)
{
    int n = 0;
    qk_buf_add_str(c->out, "Configurations");
    add_names(c, "all", "all_", &n);
    if (c->listed[LAYER]) add_names(c, "layerXX", "layerXX_", &n);
    if (c->listed[ONE_FILE]) add_names(c, NULL, "lXXhYY", &n);
    if (c->listed[HEAD]) add_names(c, "lXXhYY", NULL, &n);
    qk_buf_add_str(c->out, ". XX is a layer, YY a head, q are queries and k keys.");
    if (has_kind(c, QK_KIND_V)) qk_buf_add_str(c->out, " v are values.");
    if (has_kind(c, QK_KIND_Q_PRE) || has_kind(c, QK_KIND_K_PRE))
        qk_buf_add_str(c->out, " q_pre and k_pre are before RoPE, q and k after it.");
    if (!c->listed[ONE_FILE])
        qk_buf_add_str(c->out, " There are too many files to list each: `data_files` names one.");
    qk_buf_add_str(c->out, "\n\n");
}

/* manifest.json and examples.parquet lie beside the data: readers of a whole folder trip over
 * them. */
static void add_other_readers(const card *c, const data_file *f, const qk_card_split *p)
{
    const char *kind = qk_kind_name(f->kind);
    qk_buf_addf(
        c->out,
        "\nOther programs read the files of a local copy; `head` or `file` says which one a row is "
        "from:\n\n```python\nfolder = \"FOLDER%s%s\"\nskip = [\".\", \"README\", \"manifest\", "
        "\"examples\"]   # beside the data\n\n",
        *p->folder ? "/" : "", known(p->folder));
    qk_buf_addf(c->out,
                "import pandas\n"
                "rows = pandas.read_parquet(f\"{folder}/l%02dh%02d%s/data.parquet\")\n"
                "rows = pandas.read_parquet(folder, partitioning=[\"head\"], ignore_prefixes=skip, "
                "filters=[(\"head\", \"==\", \"l%02dh%02d%s\")])\n\n",
                f->layer, f->head, kind, f->layer, f->head, kind);
    qk_buf_addf(c->out,
                "import pyarrow.parquet\n"
                "rows = pyarrow.parquet.read_table(folder, partitioning=[\"head\"], "
                "ignore_prefixes=skip)\n\n"
                "import polars\n"
                "rows = polars.scan_parquet(f\"{folder}/l%02dh*%s/data.parquet\", "
                "include_file_paths=\"file\").collect()\n\n",
                f->layer, kind);
    qk_buf_addf(c->out,
                "import duckdb\n"
                "rows = duckdb.sql(f\"select *, parse_path(filename)[-2] as head from "
                "read_parquet('{folder}/l%02dh*%s/data.parquet', filename=true)\")\n```\n",
                f->layer, kind);
}

static void add_columns(qk_buf *out)
{
    qk_buf_add_str(
        out, "\n| column | type | meaning |\n|---|---|---|\n"
             "| bucket | int32 | the position bucket that the sampler drew the row from |\n"
             "| example_id | int32 | low 32 bits of the example's id; examples.parquet has a row "
             "with it, and the full id |\n"
             "| position | int32 | token position in the example, from 0 |\n"
             "| vector | float32[head_dim] | the query, key or value |\n"
             "| sliding_window | int32 | window of the layer; null: full attention |\n"
             "| token_str | string | the vocabulary's piece at this position, when asked for |\n"
             "| token_id | int32 | its number in the vocabulary, when asked for |\n"
             "| lse | float32 | of a query, when asked for: ln of the sum of exp(score) over the "
             "keys that it sees; null in other files |\n"
             "| layer, head, kind | int32, int32, string | what the file's name says, when asked "
             "for |\n"
             "\nA column that one of two joined folders lacks is null in its rows.\n");
}

static void add_body(const card *c)
{
    const data_file *f =
        NULL; /* of one without rows load_dataset says that it corresponds to no data */
    for (size_t i = 0; i < c->n_files && !f; i++)
        if (has_rows(&c->files[i])) f = &c->files[i];
    const qk_card_split *p = f ? &c->splits[f->split] : NULL;
    qk_buf_add_str(
        c->out,
        "# Sampled attention queries and keys\n\n"
        "Query and key vectors of a transformer's attention heads, sampled while the model read "
        "a dataset.\nWritten by qkengine. One Parquet file for each layer, head and kind.\n\n");
    for (size_t s = 0; s < c->n_splits; s++)
        if (c->splits[s].partial)
            qk_buf_addf(c->out,
                        "**partial: %s** of the run of split %s are here: it was not finished when "
                        "this was written.\n\n",
                        c->splits[s].partial, known(c->splits[s].split));
    if (f) add_calls(c, f, p);
    if (f) add_rules(c);
    add_split_table(c);
    add_runs(c);
    add_attention(c);
    add_chances(c);
    if (f) add_other_readers(c, f, p);
    add_columns(c->out);
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

void qk_card_check(const char *folder)
{
    char *path = qk_path_join(folder, "README.md"), seal[SEAL_BYTES + 1];
    qk_buf text = {0};
    qk_error err;
    if (qk_read_file(&text, path, MAX_CARD, &err) != QK_OK) {
        qk_warn("%s", err.message);
    } else {
        size_t n = text.size < SEAL_BYTES ? 0 : text.size - SEAL_BYTES;
        make_seal(text.data, n, seal);
        if (text.size < SEAL_BYTES || memcmp(text.data + n, seal, SEAL_BYTES) != 0)
            qk_warn("%s: is not as it was written: somebody changed it, or it is damaged", path);
    }
    qk_buf_free(&text);
    free(path);
}

static int by_head(const void *a, const void *b)
{
    const data_file *x = a, *y = b;
    int order = x->layer - y->layer;
    if (!order) order = x->head - y->head;
    if (!order) order = rank_of(x->kind) - rank_of(y->kind);
    return order ? order : (x->split > y->split) - (x->split < y->split);
}

static int by_name(const void *a, const void *b)
{
    const qk_card_split *x = a, *y = b;
    return strcmp(x->split, y->split);
}

static void take_files(card *c, const qk_card_file *files, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t s = 0; s < c->n_splits; s++)
            if (!strcmp(files[i].split, c->splits[s].split))
                c->files[c->n_files++] = (data_file){files[i].layer, files[i].head,   files[i].kind,
                                                     files[i].rows,  files[i].sha256, s};
    for (size_t i = 0; i < c->n_files; i++) c->has_kind[rank_of(c->files[i].kind)] = true;
    if (c->n_files) qsort(c->files, c->n_files, sizeof *c->files, by_head);
}

static void describe_content(card *c)
{
    qk_buf text = {0};
    uint8_t digest[32];
    for (size_t i = 0; i < c->n_files; i++) {
        const data_file *f = &c->files[i];
        qk_buf_addf(&text, "%s/l%02dh%02d%s %" PRIu64 " %s\n", c->splits[f->split].folder, f->layer,
                    f->head, qk_kind_name(f->kind), f->rows, f->sha256 ? f->sha256 : "?");
    }
    qk_sha256(text.data, text.size, digest);
    qk_sha256_hex(digest, c->content);
    qk_buf_free(&text);
}

static void open_card(card *c, const qk_card_file *files, size_t n_files,
                      const qk_card_split *splits, size_t n_splits)
{
    c->n_splits = n_splits;
    c->files = qk_alloc(n_files, sizeof *c->files);
    c->splits = qk_alloc(n_splits, sizeof *c->splits);
    c->chosen = qk_zalloc(n_splits, sizeof *c->chosen);
    if (n_splits) memcpy(c->splits, splits, n_splits * sizeof *c->splits);
    if (n_splits) qsort(c->splits, n_splits, sizeof *c->splits, by_name);
    take_files(c, files, n_files);
    choose_names(c);
}

static void close_card(card *c)
{
    free(c->files);
    free(c->splits);
    free(c->chosen);
}

void qk_card_write_call(qk_buf *out, const qk_card_file *files, size_t n_files,
                        const qk_card_split *splits, size_t n_splits, const char *split,
                        const char *path, const char *revision)
{
    card c = {.out = out};
    qk_buf where = {0}, more = {0};
    open_card(&c, files, n_files, splits, n_splits);
    qk_json_quote(&where, path, strlen(path));
    if (revision) qk_buf_add_str(&more, ", revision=");
    if (revision) qk_json_quote(&more, revision, strlen(revision));
    for (size_t i = 0; i < c.n_files; i++) {
        if (!has_rows(&c.files[i]) || strcmp(c.splits[c.files[i].split].split, split) != 0)
            continue;
        add_head_call(&c, &c.files[i], qk_buf_str(&where), qk_buf_str(&more));
        break;
    }
    qk_buf_free(&where);
    qk_buf_free(&more);
    close_card(&c);
}

void qk_card_write(qk_buf *out, const qk_card_file *files, size_t n_files,
                   const qk_card_split *splits, size_t n_splits)
{
    card c = {.out = out};
    open_card(&c, files, n_files, splits, n_splits);
    describe_content(&c);
    size_t configs = 0, paths = 0;
    qk_buf_add_str(out, "---\nconfigs:\n");
    for (size_t i = 0; i < N_FORMS; i++)
        if (c.listed[forms[i].of]) each_config(&c, &forms[i], true, &configs, &paths);
    qk_buf_add_str(out, "tags:\n- attention\n- queries-and-keys\n---\n\n");
    add_body(&c);
    char seal[SEAL_BYTES + 1];
    qk_buf_add_byte(out, '\n');
    make_seal(out->data, out->size, seal);
    qk_buf_add(out, seal, SEAL_BYTES);
    close_card(&c);
}
