/* See join.h. Steps: the examples of both, head files, manifest and card, the move into final/. */
#include "engine/output/join.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/base/progress.h"
#include "engine/base/sha256.h"
#include "engine/output/attention.h"
#include "engine/output/card_splits.h"
#include "engine/output/compatibility.h"
#include "engine/output/example_texts.h"
#include "engine/output/join_file.h"
#include "engine/output/layout.h"
#include "engine/staging/publish.h"
#include "sampler/example_id.h"

enum { MAX_WARNINGS = 10, MAX_OPEN_FILES = 512 };

/* Open writers may hold this much together. */
static const uint64_t MEMORY_BUDGET = 256u << 20;

typedef struct joiner {
    const qk_join *j;
    qk_join_result *result;
    qk_error *err;
    qk_head_file_format format;
    qk_texts texts; /* of both, where rows are kept once; else the ids of the second alone */
    qk_id_index second_ids; /* where it is a folder */
    bool collide;           /* a stored id means one example in one dataset, another in the other */
    int64_t texts_again;    /* examples whose id stood for another text */
    int64_t shared_ids;     /* ids whose low 32 bits another id has as well */
    qk_examples_writer *examples_out;
    int64_t examples, tokens;
    int32_t longest;           /* tokens of an example */
    qk_manifest manifest;      /* what it will say, without the files */
    qk_manifest_file *entries; /* [n_heads] what manifest.json says of each */
    qk_join_file *files;       /* that are open */
    size_t n_files, max_files;
    qk_publish done; /* written under staging/merged */
    qk_arena arena;  /* names and paths, some for each file */
} joiner;

/* ---- names ---- */

/* Of a file below the split, relative to final. */
static const char *relative_path(joiner *w, const char *name)
{
    return qk_arena_strf(&w->arena, "%s%s", w->j->below, name);
}

static const char *head_path(joiner *w, const char *name)
{
    return qk_arena_strf(&w->arena, "%s%s/data.parquet", w->j->below, name);
}

/* Lists a file for the change. Its path under staging/merged, NULL on error. */
static const char *start_file(joiner *w, const char *relative)
{
    char *path = qk_publish_add(&w->done, w->j->staging, relative, w->err);
    const char *kept = path ? qk_arena_strf(&w->arena, "%s", path) : NULL;
    free(path);
    return kept;
}

static qk_status write_text(joiner *w, const char *relative, const qk_buf *text)
{
    const char *path = start_file(w, relative);
    return path ? qk_write_file(path, text->data, text->size, w->err) : w->err->status;
}

/* Size and digest of a file that was written. */
static void take_digest(joiner *w, const char *relative, qk_manifest_file *entry)
{
    const qk_publish_file *f = qk_publish_find(&w->done, relative);
    entry->bytes = f->bytes;
    memcpy(entry->sha256, f->sha256, sizeof entry->sha256);
}

/* ---- two folders ---- */

/* 0: no number of that size. */
static int head_dim_of(const qk_json *manifest)
{
    const qk_json *v = qk_json_get(manifest, "head_dim");
    return v && v->is_integer && v->integer > 0 && v->integer <= INT_MAX ? (int)v->integer : 0;
}

static bool wants_plain_vectors(const qk_json *manifest)
{
    const qk_json *run = qk_json_get(manifest, "runs");
    const qk_json *output = qk_json_get(
        qk_json_get(qk_json_get(run ? run->first : NULL, "identity"), "config"), "output");
    return qk_json_is_string(qk_json_get(output, "vector_encoding"), "plain");
}

static qk_status check_meaning(joiner *w)
{
    const qk_join *j = w->j;
    const char *difference =
        qk_compatibility_of_manifests(j->first.manifest, j->second.manifest, &w->arena);
    int d = head_dim_of(j->second.manifest), first = head_dim_of(j->first.manifest);
    if (!d || (j->first.manifest && !first))
        return qk_fail(w->err, QK_ERR_FORMAT, "restore it from a copy of the folder",
                       "%s/manifest.json: head_dim is no length of a vector",
                       d ? j->first.path : j->second.path);
    if (difference)
        return qk_fail(w->err, QK_ERR_CONFIG, j->hint,
                       "%s: %s holds rows of another meaning there than in %s; %s", j->first.name,
                       j->split, j->second.name, difference);
    if (j->first.manifest && first != d)
        return qk_fail(w->err, QK_ERR_CONFIG, j->hint, "%s: %s has head_dim %d, the folder %d",
                       j->first.name, j->split, first, d);
    w->format =
        (qk_head_file_format){.d = d, .plain_vectors = wants_plain_vectors(j->second.manifest)};
    return QK_OK;
}

/* ---- examples ---- */

static qk_status write_example(joiner *w, const qk_unit_example *e)
{
    w->examples++;
    w->tokens += e->tokens;
    if (e->tokens > w->longest) w->longest = e->tokens;
    return qk_examples_append(w->examples_out, e, w->err);
}

static qk_status take_first(void *context, const qk_unit_example *e, qk_error *err)
{
    joiner *w = context;
    (void)err;
    qk_texts_add(&w->texts, e, QK_TEXT_THERE);
    return write_example(w, e);
}

/* Rows hold the low 32 bits of an id. Different ids that share them can only be told apart by
 * examples.parquet and the order of rows, so a run says that; of a folder the run that wrote it
 * has. */
static void warn_of_shared(joiner *w, const qk_unit_example *e, int64_t other)
{
    if (!w->j->units || ++w->shared_ids > MAX_WARNINGS) return;
    qk_warn("the ids %" PRId64 " and %" PRId64 "%s%.80s%s are both stored as example_id %d", other,
            e->id, e->id_text ? " ('" : "", e->id_text ? e->id_text : "", e->id_text ? "')" : "",
            qk_example_id_stored(e->id));
}

static qk_status take_second(void *context, const qk_unit_example *e, qk_error *err)
{
    joiner *w = context;
    const qk_join *j = w->j;
    int64_t other = 0;
    uint32_t sharing = qk_id_index_find(&w->texts.ids, qk_example_id_stored(e->id), &other);
    if (!j->units) qk_id_index_add(&w->second_ids, e->id);
    if (!j->once) {
        if (j->units && j->units->ids_from_column && qk_id_index_add(&w->texts.ids, e->id) &&
            sharing)
            warn_of_shared(w, e, other);
        return write_example(w, e);
    }
    switch (qk_texts_add(&w->texts, e, QK_TEXT_COMES)) {
    case QK_TEXT_OTHER:
        return qk_texts_refuse(&w->texts, e, j->first.name, j->second.name, j->hint, err);
    case QK_TEXT_KNOWN: return QK_OK;
    case QK_TEXT_AGAIN:
        if (j->units && ++w->texts_again <= MAX_WARNINGS) qk_texts_warn(&w->texts, e);
        break;
    case QK_TEXT_NEW:
        if (sharing) warn_of_shared(w, e, other);
        w->collide |= qk_id_index_find(&w->texts.there, qk_example_id_stored(e->id), &other) > 0;
        break;
    }
    return write_example(w, e);
}

/* The same of two folders, after take_second has seen all examples of the second: it may have ids
 * that share a stored one already. */
static qk_status look_for_collision(void *context, const qk_unit_example *e, qk_error *err)
{
    joiner *w = context;
    int64_t any;
    int32_t stored = qk_example_id_stored(e->id);
    uint32_t all = qk_id_index_find(&w->texts.ids, stored, &any);
    (void)err;
    w->collide |= all > 1 && (all > qk_id_index_find(&w->second_ids, stored, &any) ||
                              all > qk_id_index_find(&w->texts.there, stored, &any));
    return QK_OK;
}

static qk_status visit_examples(joiner *w)
{
    const qk_join *j = w->j;
    if (j->first.path) {
        if (j->fetch) QK_TRY(j->fetch(j->context, false, w->err));
        const char *path = qk_arena_strf(&w->arena, "%s/examples.parquet", j->first.path);
        QK_TRY(qk_examples_read_if_there(path, take_first, w, w->err));
    }
    if (j->units) return j->units->examples(j->units->self, take_second, w, w->err);
    const char *path = qk_arena_strf(&w->arena, "%s/examples.parquet", j->second.path);
    QK_TRY(qk_examples_read_if_there(path, take_second, w, w->err));
    if (!j->first.path) return QK_OK;
    return qk_examples_read_if_there(path, look_for_collision, w, w->err);
}

static qk_status write_examples(joiner *w)
{
    const char *path = start_file(w, relative_path(w, "examples.parquet"));
    if (!path) return w->err->status;
    QK_TRY(qk_examples_create(&w->examples_out, path, w->err));
    qk_status s = visit_examples(w);
    if (w->texts_again > MAX_WARNINGS)
        qk_warn("%" PRId64 " more examples have the id of another text",
                w->texts_again - MAX_WARNINGS);
    if (w->shared_ids > MAX_WARNINGS)
        qk_warn("%" PRId64 " more ids share a stored example_id with another one",
                w->shared_ids - MAX_WARNINGS);
    if (s != QK_OK) {
        qk_examples_abort(w->examples_out);
        return s;
    }
    qk_buf attention = {0};
    qk_attention_write(&attention, &w->manifest, NULL, w->longest);
    qk_examples_set_metadata(w->examples_out, QK_ATTENTION_KEY, qk_buf_str(&attention));
    qk_buf_free(&attention);
    return qk_examples_commit(w->examples_out, w->err);
}

/* ---- head files that are written anew ---- */

/* Whether rows of two datasets meet in the file, or units write it. Else one folder has it, or both
 * have it alike. */
static bool is_joined(const joiner *w, const qk_join_head *h)
{
    return h->second && (w->j->units || (h->first && !h->equal));
}

static qk_status open_reader(joiner *w, qk_head_file_reader **out, const char *path,
                             qk_head_file_format *format, qk_error *err)
{
    QK_TRY(qk_head_file_open(out, path, w->format.d, err));
    /* A column that is there stays, even if a run does not ask for it. */
    qk_head_file_add_columns(*out, format);
    return QK_OK;
}

/* Begins a file with the rows that folders have of it. */
static qk_status open_file(void *context, qk_join_file *f, qk_error *err)
{
    joiner *w = context;
    const qk_join *j = w->j;
    const qk_join_head *h = &j->heads[f->index];
    bool joined = is_joined(w, h);
    qk_head_file_format format = w->format;
    /* A run adds no column to a file that it adds nothing to. */
    format.token_strings &= joined;
    format.token_ids &= joined;
    format.lse &= joined; /* of all kinds: readers take many files for one table */
    format.head_columns &= joined;
    format.layer = f->layer;
    format.head = f->head;
    format.kind = f->kind;
    qk_head_file_reader *first = NULL, *second = NULL;
    char *a = h->first && (joined || !h->second)
                  ? qk_strf("%s/%s/data.parquet", j->first.path, h->name)
                  : NULL;
    char *b =
        h->second && !j->units ? qk_strf("%s/%s/data.parquet", j->second.path, h->name) : NULL;
    qk_status s = a ? open_reader(w, &first, a, &format, err) : QK_OK;
    if (s == QK_OK && b) s = open_reader(w, &second, b, &format, err);
    f->head_columns = format.head_columns;
    if (s == QK_OK) s = qk_head_file_create(&f->writer, f->path, &format, err);
    if (s == QK_OK && a) s = qk_join_file_read(f, true, first, a, &w->texts.there, err);
    if (s == QK_OK && b) s = qk_join_file_read(f, false, second, b, &w->second_ids, err);
    qk_head_file_close(first);
    qk_head_file_close(second);
    free(a);
    free(b);
    return s;
}

/* What its vectors are, in its metadata. */
static void describe_file(const joiner *w, qk_join_file *f)
{
    const qk_attention_file file = {f->layer, f->head, f->kind};
    qk_buf text = {0};
    qk_attention_write(&text, &w->manifest, &file, (int64_t)f->last_position + 1);
    qk_head_file_set_metadata(f->writer, QK_ATTENTION_KEY, qk_buf_str(&text));
    qk_buf_clear(&text);
    qk_attention_write_head(&text, &w->manifest, &file);
    qk_head_file_set_metadata(f->writer, QK_HEAD_KEY, qk_buf_str(&text));
    qk_buf_free(&text);
}

static qk_status commit_file(void *context, qk_join_file *f, qk_error *err)
{
    joiner *w = context;
    qk_manifest_file *entry = &w->entries[f->index];
    entry->rows = f->rows;
    if (f->head_columns) describe_file(w, f);
    return qk_join_file_commit(f, &entry->nonfinite, err);
}

/* What folders have is copied when a file is opened, and what a writer holds is encoded when it is
 * finished: both are worth several threads. */
static qk_status write_group(joiner *w)
{
    const qk_join *j = w->j;
    uint64_t rows = 0;
    QK_TRY(qk_join_each(w->files, w->n_files, j->first.manifest ? UINT64_MAX : 0, open_file, w,
                        w->err));
    if (j->units && j->heads[w->files->index].second)
        QK_TRY(j->units->rows(j->units->self, w->files, w->n_files, w->err));
    for (size_t i = 0; i < w->n_files; i++) rows += w->files[i].rows;
    QK_TRY(qk_join_each(w->files, w->n_files, rows * (uint64_t)w->format.d * sizeof(float),
                        commit_file, w, w->err));
    QK_TRY(qk_publish_hash(&w->done, j->staging, w->err));
    for (size_t i = 0; i < w->n_files; i++) {
        w->result->rows_added += w->files[i].added;
        take_digest(w, head_path(w, w->files[i].name), &w->entries[w->files[i].index]);
    }
    w->result->written += w->n_files;
    return QK_OK;
}

static qk_status end_group(joiner *w)
{
    qk_status s = w->n_files ? write_group(w) : QK_OK;
    for (size_t i = 0; i < w->n_files; i++) qk_join_file_free(&w->files[i]);
    w->n_files = 0;
    return s;
}

static qk_status add_to_group(joiner *w, size_t index)
{
    const qk_join *j = w->j;
    const qk_join_head *h = &j->heads[index];
    qk_join_file f = {.name = h->name, .index = index, .d = w->format.d, .last_position = -1};
    QK_ASSERT(qk_parse_file_name(f.name, &f.layer, &f.head, &f.kind));
    /* Of one layer, and all or none with rows of the second. */
    bool other =
        w->n_files && (w->files->layer != f.layer || j->heads[w->files->index].second != h->second);
    if (w->n_files == w->max_files || other) QK_TRY(end_group(w));
    f.path = start_file(w, head_path(w, f.name));
    if (!f.path) return w->err->status;
    f.compare = j->once && is_joined(w, h);
    f.compare_stored = !j->units;
    f.all_ids = j->once ? &w->texts.ids : NULL;
    w->files[w->n_files++] = f;
    return QK_OK;
}

/* ---- head files that stay as they are ---- */

static qk_status copy_file(const char *from, const char *to, qk_error *err)
{
    enum { BYTES = 1 << 20 };
    int fd;
    ssize_t n;
    qk_writer out;
    QK_TRY(qk_open_regular(&fd, from, O_RDONLY, err));
    qk_status s = qk_writer_open(&out, to, err);
    uint8_t *bytes = qk_alloc(1, BYTES);
    while (s == QK_OK && (n = read(fd, bytes, BYTES)) != 0) {
        if (n > 0)
            qk_writer_add(&out, bytes, (size_t)n);
        else if (errno != EINTR)
            s = qk_fail_errno(err, "cannot read", from);
        if (s == QK_OK) s = qk_interrupt_check(err);
        if (s != QK_OK) qk_writer_abort(&out);
    }
    free(bytes);
    close(fd);
    return s == QK_OK ? qk_writer_commit(&out, err) : s;
}

/* Counts its rows; of one that stays also the size, and the digest that its manifest has. */
static qk_status measure(joiner *w, const char *path, const qk_join_folder *stays,
                         qk_manifest_file *entry)
{
    qk_head_file_reader *reader;
    qk_manifest_file known = {0};
    QK_TRY(qk_head_file_open(&reader, path, w->j->units ? 0 : w->format.d, w->err));
    entry->rows = qk_head_file_count(reader);
    entry->nonfinite = qk_head_file_nonfinite(reader);
    qk_head_file_close(reader);
    if (!stays) return QK_OK;
    QK_TRY(qk_file_size(path, &entry->bytes, w->err));
    if (qk_manifest_find(stays->manifest, entry->name, &known))
        memcpy(entry->sha256, known.sha256, sizeof entry->sha256);
    return *entry->sha256 ? QK_OK : qk_sha256_file(path, entry->sha256, &entry->bytes, w->err);
}

static qk_status keep_file(joiner *w, size_t index)
{
    const qk_join_head *h = &w->j->heads[index];
    const qk_join_folder *in = h->second ? &w->j->second : &w->j->first;
    const char *from = qk_arena_strf(&w->arena, "%s/%s/data.parquet", in->path, h->name);
    if (in->way == QK_JOIN_STAY) return measure(w, from, in, &w->entries[index]);
    const char *to = start_file(w, head_path(w, h->name));
    if (!to) return w->err->status;
    QK_TRY(in->way == QK_JOIN_MOVE ? qk_move_file(from, to, w->err) : copy_file(from, to, w->err));
    w->result->written++;
    return measure(w, to, NULL, &w->entries[index]);
}

/* ---- head files ---- */

static qk_status write_heads(joiner *w)
{
    const qk_join *j = w->j;
    qk_status s = QK_OK;
    if (j->fetch) QK_TRY(j->fetch(j->context, true, w->err));
    /* Rows of units come to all open files at once, those of a folder to one after the other. */
    uint64_t fit = j->units ? MEMORY_BUDGET / qk_head_file_writer_bytes(&w->format) : 1;
    w->max_files = fit < 1 ? 1 : fit > MAX_OPEN_FILES ? MAX_OPEN_FILES : (size_t)fit;
    w->files = qk_zalloc(w->max_files, sizeof *w->files);
    for (size_t i = 0; i < j->n_heads && s == QK_OK; i++) {
        if (!j->units) qk_progress_of("merging", (double)i, (double)j->n_heads, "file");
        w->entries[i].name = j->heads[i].name;
        const qk_join_head *h = &j->heads[i];
        bool rewritten = w->collide || is_joined(w, h);
        s = rewritten ? add_to_group(w, i) : keep_file(w, i);
        if (s == QK_OK) s = qk_interrupt_check(w->err);
    }
    if (s == QK_OK) s = end_group(w);
    for (size_t i = 0; i < w->n_files; i++) qk_join_file_free(&w->files[i]);
    free(w->files);
    return s;
}

/* ---- manifest and card ---- */

static int by_file_name(const void *a, const void *b)
{
    const qk_manifest_file *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* Sums up the files, and says what of them is new. */
static void make_manifest(joiner *w, qk_buf *text)
{
    const qk_join *j = w->j;
    uint64_t nonfinite = 0;
    qk_manifest_file examples_file = {0};
    take_digest(w, relative_path(w, "examples.parquet"), &examples_file);
    for (size_t i = 0; i < j->n_heads; i++) {
        if (!*w->entries[i].sha256) take_digest(w, head_path(w, j->heads[i].name), &w->entries[i]);
        w->result->rows += w->entries[i].rows;
        nonfinite += w->entries[i].nonfinite;
    }
    w->result->files = j->n_heads;
    if (j->n_heads) qsort(w->entries, j->n_heads, sizeof *w->entries, by_file_name);
    w->manifest.files = w->entries;
    w->manifest.n_files = j->n_heads;
    w->manifest.examples_file = &examples_file;
    w->manifest.examples = w->examples;
    w->manifest.tokens = w->tokens;
    qk_manifest_write(text, &w->manifest);
    if (nonfinite && j->units)
        qk_warn("%" PRIu64 " rows hold NaN or infinity (capture.allow_nonfinite); manifest.json "
                "says in which files",
                nonfinite);
}

/* Of the whole folder. It is moved in with the rows that it speaks of: nobody would write it again
 * after a crash between the two. */
static qk_status write_card(joiner *w, const qk_buf *manifest)
{
    const qk_join *j = w->j;
    const qk_json *tree;
    qk_buf card = {0};
    QK_TRY(qk_json_parse(&w->arena, (const char *)manifest->data, manifest->size, "manifest", &tree,
                         w->err));
    qk_status s = qk_card_make(&card, j->final, j->split, *j->below ? j->split : "", tree, w->err);
    if (s == QK_OK) s = write_text(w, "README.md", &card);
    qk_buf_free(&card);
    return s;
}

static qk_status join(joiner *w)
{
    const qk_join *j = w->j;
    if (j->units)
        w->format = j->units->format;
    else
        QK_TRY(check_meaning(w));
    w->manifest = (qk_manifest){.head_dim = w->format.d,
                                .first = j->first.manifest,
                                .second = j->second.manifest,
                                .run = j->units ? &j->units->run : NULL};
    QK_TRY(write_examples(w)); /* refuses, so before the data */
    QK_TRY(write_heads(w));
    QK_TRY(qk_publish_hash(&w->done, j->staging, w->err));
    qk_buf manifest = {0};
    make_manifest(w, &manifest);
    qk_status s = j->final ? write_card(w, &manifest) : QK_OK;
    /* Moved last: with it in place, all that it lists is. */
    if (s == QK_OK) s = write_text(w, relative_path(w, "manifest.json"), &manifest);
    qk_buf_free(&manifest);
    if (s != QK_OK || !j->final) return s;
    return qk_publish_move(&w->done, j->staging, j->final, w->err);
}

qk_status qk_join_run(const qk_join *j, qk_join_result *result, qk_error *err)
{
    joiner w = {.j = j, .result = result, .err = err};
    *result = (qk_join_result){0};
    w.entries = qk_zalloc(j->n_heads, sizeof *w.entries);
    qk_status s = join(&w);
    free(w.entries);
    qk_texts_free(&w.texts);
    qk_id_index_free(&w.second_ids);
    qk_publish_free(&w.done);
    qk_arena_free(&w.arena);
    return s;
}
