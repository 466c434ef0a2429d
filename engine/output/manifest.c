/* See manifest.h. */
#include "engine/output/manifest.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/beneath.h"
#include "engine/base/interrupt.h"
#include "engine/base/progress.h"
#include "engine/base/sha256.h"
#include "engine/base/team.h"
#include "engine/base/version.h"

enum { MAX_MANIFEST = 1 << 30 };
#define FORMAT "qkengine manifest 2"
#define OLD_FORMAT "qkengine manifest 1"
#define SEAL_BEGIN "\"sha256\": \""
#define SEAL_END "\"\n}\n"
enum { DIGEST = 64, SEAL_END_BYTES = sizeof SEAL_END - 1 };

/* ---- reading ---- */

static bool is_count(const qk_json *v)
{
    return v && v->is_integer && v->integer >= 0;
}

static bool is_sha256(const qk_json *v)
{
    return v && v->type == QK_JSON_T_STRING && v->length == DIGEST &&
           strspn(v->text, "0123456789abcdef") == DIGEST;
}

static const char *problem_of(const qk_json *root)
{
    const qk_json *files = qk_json_get(root, "files"), *runs = qk_json_get(root, "runs"),
                  *examples = qk_json_get(root, "examples_file");
    if (!files || files->type != QK_JSON_T_OBJECT) return "it has no object 'files'";
    if (!runs || runs->type != QK_JSON_T_ARRAY) return "it has no list 'runs'";
    for (const qk_json *f = files->first; f; f = f->next) {
        const qk_json *digest = qk_json_get(f, "sha256");
        if (qk_path_problem(f->key, f->key_length) ||
            strchr(f->key, '/')) /* it is part of a path */
            return "a file in it has a name that is none";
        if (!is_count(qk_json_get(f, "rows")) || !is_count(qk_json_get(f, "bytes")))
            return "a file in it has no rows and bytes";
        if (digest && !is_sha256(digest)) return "a file in it has a sha256 that is none";
    }
    for (const qk_json *r = runs->first; r; r = r->next)
        if (r->type != QK_JSON_T_OBJECT) return "a run in it is no object";
    if (examples &&
        (!is_count(qk_json_get(examples, "bytes")) || !is_sha256(qk_json_get(examples, "sha256"))))
        return "'examples_file' in it has no bytes and sha256";
    return NULL;
}

/* The digest of everything before the digest is the last member's text. */
static void seal_of(const qk_buf *text, char hex[DIGEST + 1])
{
    uint8_t digest[32];
    qk_sha256(text->data, text->size - SEAL_END_BYTES - DIGEST, digest);
    qk_sha256_hex(digest, hex);
}

static bool is_sealed(const qk_buf *text)
{
    enum { BEGIN = sizeof SEAL_BEGIN - 1, MIN_BYTES = BEGIN + DIGEST + SEAL_END_BYTES };
    if (text->size < MIN_BYTES) return false;
    const uint8_t *end = text->data + text->size;
    char hex[DIGEST + 1];
    seal_of(text, hex);
    return !memcmp(end - MIN_BYTES, SEAL_BEGIN, BEGIN) &&
           !memcmp(end - SEAL_END_BYTES - DIGEST, hex, DIGEST) &&
           !memcmp(end - SEAL_END_BYTES, SEAL_END, SEAL_END_BYTES);
}

static qk_status check_text(const qk_buf *text, const qk_json *root, const char *path,
                            qk_error *err)
{
    const qk_json *format = qk_json_get(root, "format");
    bool now = qk_json_is_string(format, FORMAT);
    if (!now && !qk_json_is_string(format, OLD_FORMAT))
        return qk_fail(err, QK_ERR_FORMAT, "choose another output.data_root",
                       "%s: not a manifest of this program's version", path);
    if (now && !is_sealed(text))
        return qk_fail(err, QK_ERR_DAMAGED,
                       "restore it from a copy of the folder, such as one that was pushed",
                       "%s: is damaged: its checksum is not that of its text", path);
    const char *problem = problem_of(root);
    if (!problem) return QK_OK;
    return qk_fail(err, QK_ERR_FORMAT, "choose another output.data_root", "%s: %s", path, problem);
}

qk_status qk_manifest_read_file(const char *path, qk_arena *arena, const qk_json **out,
                                qk_error *err)
{
    qk_buf text;
    const qk_json *root;
    *out = NULL;
    QK_TRY(qk_read_file(&text, path, MAX_MANIFEST, err));
    qk_status s = qk_json_parse(arena, (const char *)text.data, text.size, path, &root, err);
    if (s == QK_OK) s = check_text(&text, root, path, err);
    if (s == QK_OK) *out = root;
    qk_buf_free(&text);
    return s;
}

qk_status qk_manifest_read(const char *split_folder, qk_arena *arena, const qk_json **out,
                           qk_error *err)
{
    *out = NULL;
    char *path = qk_path_join(split_folder, "manifest.json");
    bool there = false;
    qk_status s = qk_has_file(path, &there, err);
    if (s == QK_OK && there) s = qk_manifest_read_file(path, arena, out, err);
    free(path);
    return s;
}

bool qk_manifest_is_sealed(const qk_json *manifest)
{
    return qk_json_is_string(qk_json_get(manifest, "format"), FORMAT);
}

/* ---- the files that it lists ---- */

static void read_entry(const qk_json *f, const char *name, qk_manifest_file *out)
{
    const qk_json *rows = qk_json_get(f, "rows"), *digest = qk_json_get(f, "sha256"),
                  *nonfinite = qk_json_get(f, "nonfinite_rows");
    *out = (qk_manifest_file){.name = name,
                              .rows = rows ? (uint64_t)rows->integer : 0,
                              .bytes = (uint64_t)qk_json_get(f, "bytes")->integer};
    if (digest) memcpy(out->sha256, digest->text, DIGEST + 1);
    if (is_count(nonfinite)) out->nonfinite = (uint64_t)nonfinite->integer;
}

bool qk_manifest_find(const qk_json *manifest, const char *name, qk_manifest_file *out)
{
    const qk_json *f = name ? qk_json_get(qk_json_get(manifest, "files"), name)
                            : qk_json_get(manifest, "examples_file");
    if (f) read_entry(f, f->key, out);
    return f != NULL;
}

static char *path_of(const char *split_folder, const qk_manifest_file *f, bool data)
{
    return data ? qk_strf("%s/%s/data.parquet", split_folder, f->name)
                : qk_path_join(split_folder, "examples.parquet");
}

static qk_status check_file(const qk_manifest_file *f, const char *path, qk_error *err)
{
    static const char hint[] =
        "restore it from a copy of the folder, such as one that was pushed; or move the folder "
        "away and run again what manifest.json lists";
    uint64_t bytes;
    char hex[DIGEST + 1];
    qk_status s = qk_sha256_file(path, hex, &bytes, err);
    if (s == QK_OK && bytes != f->bytes)
        s = qk_fail(err, QK_ERR_DAMAGED, hint, "%s: has %llu bytes, but manifest.json says %llu",
                    path, (unsigned long long)bytes, (unsigned long long)f->bytes);
    if (s == QK_OK && *f->sha256 && strcmp(hex, f->sha256) != 0)
        s = qk_fail(err, QK_ERR_DAMAGED, hint,
                    "%s: is damaged or was changed: its SHA-256 is not that of manifest.json",
                    path);
    return s;
}

typedef struct checking {
    const qk_manifest_file *files;
    size_t n, count; /* all, and all with the one that is not in the list */
    const char *folder;
    atomic_size_t done;
} checking;

static qk_status check_item(void *context, size_t i, int member, qk_error *err)
{
    checking *c = context;
    (void)member;
    if (qk_interrupted()) return QK_OK;
    char *path = path_of(c->folder, &c->files[i], i < c->n);
    qk_status s = check_file(&c->files[i], path, err);
    free(path);
    qk_progress_of("checking what is there", (double)(atomic_fetch_add(&c->done, 1) + 1),
                   (double)c->count, "file");
    return s;
}

qk_status qk_manifest_check(const qk_json *manifest, const char *split_folder, qk_error *err)
{
    const qk_json *list = qk_json_get(manifest, "files");
    size_t n = list ? list->count : 0, count = 0;
    qk_manifest_file *files = qk_alloc(n + 1, sizeof *files);
    for (const qk_json *f = list ? list->first : NULL; f; f = f->next)
        read_entry(f, f->key, &files[count++]);
    if (qk_manifest_find(manifest, NULL, &files[count])) count++;
    checking c = {.files = files, .n = n, .count = count, .folder = split_folder};
    qk_status s = qk_loop_try(0, count, check_item, &c, err);
    free(files);
    return s == QK_OK ? qk_interrupt_check(err) : s;
}

/* ---- runs ---- */

static const qk_json *first_run(const qk_json *manifest)
{
    const qk_json *runs = qk_json_get(manifest, "runs");
    return runs ? runs->first : NULL;
}

/* The run whole: a part of it is another thing. */
static const qk_json *find_run(const qk_json *manifest, const char *fingerprint)
{
    for (const qk_json *r = first_run(manifest); r; r = r->next)
        if (qk_json_is_string(qk_json_get(r, "fingerprint"), fingerprint) &&
            !qk_json_get(r, "partial"))
            return r;
    return NULL;
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

const char *qk_manifest_partial(const qk_json *manifest, qk_arena *arena)
{
    const qk_json *print = NULL; /* of the run */
    int64_t *numbers = NULL, of = -1;
    size_t n = 0, capacity = 0, there = 0;
    /* Two parts of it may have come together. */
    for (const qk_json *r = first_run(manifest); r; r = r->next) {
        const qk_json *partial = qk_json_get(r, "partial"), *all = qk_json_get(partial, "of"),
                      *units = qk_json_get(partial, "units"), *own = qk_json_get(r, "fingerprint");
        if (!partial || !own || own->type != QK_JSON_T_STRING) continue;
        if (!print) print = own;
        if (!qk_json_is_string(own, print->text)) continue;
        if (is_count(all) && all->integer > of) of = all->integer;
        for (const qk_json *u = units ? units->first : NULL; u; u = u->next) {
            QK_GROW(numbers, n, capacity);
            numbers[n++] = u->integer;
        }
    }
    if (n) qsort(numbers, n, sizeof *numbers, by_number);
    for (size_t i = 0; i < n; i++) there += !i || numbers[i] != numbers[i - 1];
    free(numbers);
    if (!print) return NULL;
    if (of < 0) return qk_arena_strf(arena, "%zu unit%s", there, qk_plural((int64_t)there));
    return qk_arena_strf(arena, "%zu of %lld units", there, (long long)of);
}

bool qk_manifest_has_run(const qk_json *manifest, const char *fingerprint)
{
    return find_run(manifest, fingerprint) != NULL;
}

const char *qk_manifest_numerics(const qk_json *manifest)
{
    for (const qk_json *r = first_run(manifest); r; r = r->next) {
        const qk_json *name = qk_json_get(r, "arithmetic");
        if (name && name->type == QK_JSON_T_STRING) return name->text;
    }
    return NULL;
}

static qk_status look_for(const qk_manifest_file *f, const char *split_folder, bool data,
                          bool *there, qk_error *err)
{
    char *path = path_of(split_folder, f, data);
    qk_path_info info;
    qk_status s = qk_path_stat(path, &info, err);
    *there = s == QK_OK && info.type == QK_PATH_FILE && info.size == f->bytes;
    free(path);
    return s;
}

qk_status qk_manifest_is_complete(const qk_json *manifest, const qk_identity *id,
                                  const char *split_folder, bool *complete, qk_error *err)
{
    *complete = find_run(manifest, id->fingerprint) != NULL;
    const qk_json *files = qk_json_get(manifest, "files"), *f = files ? files->first : NULL;
    qk_manifest_file file;
    for (; f && *complete; f = f->next) {
        read_entry(f, f->key, &file);
        QK_TRY(look_for(&file, split_folder, true, complete, err));
    }
    if (!*complete || !qk_manifest_find(manifest, NULL, &file)) return QK_OK;
    return look_for(&file, split_folder, false, complete, err);
}

/* ---- writing ---- */

static void add_this_run(qk_json_out *o, const qk_manifest_run *run)
{
    qk_json_begin(o, NULL, '{');
    qk_json_add_str(o, "fingerprint", run->id->fingerprint);
    qk_json_add_tree(o, "identity", run->id->tree);
    if (*run->id->dataset_commit) qk_json_add_str(o, "dataset_commit", run->id->dataset_commit);
    if (*run->numerics) qk_json_add_str(o, "arithmetic", run->numerics);
    qk_json_begin(o, "units", '[');
    for (size_t i = 0; i < run->n_units; i++) {
        qk_json_begin(o, NULL, '{');
        qk_json_add_int(o, "examples", run->units[i].examples);
        qk_json_add_int(o, "tokens", run->units[i].tokens);
        qk_json_add_int(o, "rows", (int64_t)run->units[i].rows);
        qk_json_end(o, '}');
    }
    qk_json_end(o, ']');
    if (run->partial) {
        qk_json_begin(o, "partial", '{');
        if (run->of < 0)
            qk_json_add_null(o, "of");
        else
            qk_json_add_int(o, "of", run->of);
        qk_json_begin(o, "units", '[');
        for (size_t i = 0; i < run->n_units; i++) qk_json_add_int(o, NULL, run->partial[i]);
        qk_json_end(o, ']');
        qk_json_end(o, '}');
    }
    qk_json_end(o, '}');
}

static void add_file(qk_json_out *o, const char *key, const qk_manifest_file *f, bool rows)
{
    qk_json_begin(o, key, '{');
    if (rows) qk_json_add_int(o, "rows", (int64_t)f->rows);
    qk_json_add_int(o, "bytes", (int64_t)f->bytes);
    if (*f->sha256) qk_json_add_str(o, "sha256", f->sha256);
    if (f->nonfinite) qk_json_add_int(o, "nonfinite_rows", (int64_t)f->nonfinite);
    qk_json_end(o, '}');
}

/* Whether a manifest holds this run of another one. */
static bool has_same(const qk_json *manifest, const qk_json *run)
{
    const qk_json *print = qk_json_get(run, "fingerprint");
    return print && print->type == QK_JSON_T_STRING && find_run(manifest, print->text);
}

/* Whether an entry of the first or second manifest is written: once, and no part of what is whole. */
static bool is_kept(const qk_manifest *m, const qk_json *run, bool second)
{
    const qk_json *print = qk_json_get(run, "fingerprint");
    if (m->run && qk_json_is_string(print, m->run->id->fingerprint)) return false;
    if (second && has_same(m->first, run)) return false;
    return !qk_json_get(run, "partial") || (!has_same(m->first, run) && !has_same(m->second, run));
}

void qk_manifest_each_run(const qk_manifest *m, void (*visit)(void *context, const qk_json *run),
                          void *context)
{
    for (const qk_json *r = first_run(m->first); r; r = r->next)
        if (is_kept(m, r, false)) visit(context, r);
    for (const qk_json *r = first_run(m->second); r; r = r->next)
        if (is_kept(m, r, true)) visit(context, r);
    if (m->run) visit(context, NULL);
}

const qk_json *qk_manifest_attention(const qk_manifest *m)
{
    const qk_json *first = qk_json_get(m->first, "attention"),
                  *second = qk_json_get(m->second, "attention");
    return first ? first : second ? second : m->run ? m->run->attention : NULL;
}

typedef struct run_out {
    qk_json_out *o;
    const qk_manifest_run *run;
} run_out;

static void add_run(void *context, const qk_json *run)
{
    const run_out *out = context;
    if (run)
        qk_json_add_tree(out->o, NULL, run);
    else
        add_this_run(out->o, out->run);
}

void qk_manifest_write(qk_buf *out, const qk_manifest *m)
{
    qk_json_out o = {0};
    qk_json_begin(&o, NULL, '{');
    qk_json_add_str(&o, "format", FORMAT);
    qk_json_add_int(&o, "head_dim", m->head_dim);
    qk_json_add_int(&o, "examples", m->examples);
    qk_json_add_int(&o, "tokens", m->tokens);
    const qk_json *attention = qk_manifest_attention(m);
    if (attention) qk_json_add_tree(&o, "attention", attention);
    qk_json_begin(&o, "files", '{');
    for (size_t i = 0; i < m->n_files; i++) add_file(&o, m->files[i].name, &m->files[i], true);
    qk_json_end(&o, '}');
    add_file(&o, "examples_file", m->examples_file, false);
    qk_json_begin(&o, "runs", '[');
    qk_manifest_each_run(m, add_run, &(run_out){&o, m->run});
    qk_json_end(&o, ']');
    /* The seal: of all that is before its digits. */
    char hex[DIGEST + 1];
    memset(hex, '0', DIGEST);
    hex[DIGEST] = 0;
    qk_json_add_str(&o, "sha256", hex);
    qk_json_end(&o, '}');
    qk_buf_add_byte(&o.buf, '\n');
    seal_of(&o.buf, hex);
    memcpy(o.buf.data + o.buf.size - SEAL_END_BYTES - DIGEST, hex, DIGEST);
    *out = o.buf;
}

bool qk_manifest_covers(const qk_json *whole, const qk_json *part)
{
    const qk_json *files = qk_json_get(part, "files"), *f = files ? files->first : NULL;
    uint64_t rows = 0, of_runs = 0;
    for (const qk_json *r = first_run(part); r; r = r->next) {
        const qk_json *units = qk_json_get(r, "units"), *u = units ? units->first : NULL;
        if (!has_same(whole, r)) return false;
        for (; u; u = u->next) {
            const qk_json *n = qk_json_get(u, "rows");
            of_runs += is_count(n) ? (uint64_t)n->integer : 0;
        }
    }
    for (qk_manifest_file here, there; f; f = f->next) {
        read_entry(f, f->key, &here);
        if (!qk_manifest_find(whole, f->key, &there) || there.rows < here.rows) return false;
        rows += here.rows;
    }
    return rows <= of_runs;
}
