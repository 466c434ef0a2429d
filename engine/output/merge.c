/* See merge.h. Steps: examples.parquet and the ids, the data files in groups, manifest and card,
 * and the move into final/. */
#include "engine/output/merge.h"

#include <inttypes.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/output/examples_file.h"
#include "engine/output/final_folder.h"
#include "engine/output/merge_file.h"
#include "engine/output/merge_report.h"
#include "engine/staging/numerics.h"
#include "engine/staging/publish.h"
#include "sampler/example_id.h"

enum { MOST_WARNINGS = 10 };

/* Open writers may hold this much together. */
static const uint64_t MEMORY_BUDGET = 256u << 20;
/* Vectors that are worth waking other threads for: 10 ms of work. */
static const uint64_t PARALLEL_BYTES = 4u << 20;

typedef struct merger {
    const qk_output *out;
    const qk_staging *staging;
    qk_error *err;
    int64_t units;
    qk_unit_stamp stamp; /* of every unit */
    const char *below;   /* "" or "<split>/": where files lie below final/ */
    qk_merge_context context;
    qk_texts texts;      /* prefix layout: of examples.parquet and the units; else the ids alone */
    int64_t texts_again; /* examples whose id stood for another text */
    int64_t shared_ids;  /* ids whose low 32 bits another id has as well */
    qk_examples_writer *examples_out;
    qk_publish done; /* finished files */
    int64_t damaged; /* unit, or -1 */
    qk_merge_report report;
    uint64_t rows_added;
    int layer;            /* being written */
    qk_merge_file *files; /* its files that are open */
    size_t n_files;
    uint64_t group_bytes; /* of vectors that they have taken */
    const qk_unit *unit;  /* whose rows they take */
    struct block {        /* its blocks of this layer: integer columns, read once for all files */
        const qk_unit_block *index;
        qk_unit_rows rows;
        qk_buf columns;
    } * blocks;
    size_t n_blocks, blocks_capacity;
} merger;

/* A unit holds the examples that its number says. */
static qk_status check_place(const merger *m, int64_t u, const qk_unit *unit)
{
    int64_t size = m->out->unit_examples, n = (int64_t)unit->n_examples, first = u * size;
    bool right = u + 1 < m->units ? n == size : n <= size;
    for (int64_t i = 0; i < n && right; i++) right = unit->examples[i].index == first + i;
    if (right) return QK_OK;
    return qk_fail(m->err, QK_ERR_DAMAGED, "remove this file and run the same command again",
                   "%s: does not hold the examples of unit %" PRId64, unit->path, u);
}

static qk_status with_unit(merger *m, int64_t u,
                           qk_status (*use)(merger *, int64_t, const qk_unit *))
{
    char *path = qk_staging_unit(m->staging, u);
    qk_unit unit;
    qk_status s = qk_unit_open(&unit, path, m->err);
    if (s == QK_OK) s = qk_unit_stamp_check(&unit.stamp, &m->stamp, path, m->err);
    if (s == QK_OK && unit.d != m->out->head_dim)
        s = qk_fail(m->err, QK_ERR_DATA, "remove the staging folder",
                    "%s: head_dim %d, expected %d", path, unit.d, m->out->head_dim);
    if (s == QK_OK) s = check_place(m, u, &unit);
    if (s == QK_OK) s = use(m, u, &unit);
    if (s == QK_ERR_DAMAGED) m->damaged = u;
    qk_unit_close(&unit);
    free(path);
    return s == QK_OK ? qk_interrupt_check(m->err) : s;
}

/* A finished file is written under staging/merged and listed for the move. */
static qk_status merged_path(merger *m, const char *relative, char **out)
{
    *out = qk_publish_add(&m->done, m->staging, relative, m->err);
    return *out ? QK_OK : m->err->status;
}

/* What manifest.json will say of a file that is whole by now. */
static qk_manifest_file entry_of(const merger *m, const char *name, const char *relative,
                                 uint64_t rows)
{
    const qk_publish_file *f = qk_publish_find(&m->done, relative);
    qk_manifest_file entry = {.name = name, .rows = rows, .bytes = f->bytes};
    memcpy(entry.sha256, f->sha256, sizeof entry.sha256);
    return entry;
}

/* ---- examples ---- */

static qk_status write_example(merger *m, const qk_unit_example *e)
{
    m->report.examples++;
    m->report.tokens += e->tokens;
    return qk_examples_append(m->examples_out, e, m->err);
}

/* Rows hold the low 32 bits of an id. Different ids that share them can only be told apart by
 * examples.parquet and the order of rows, so that is said. */
static void warn_of_shared(merger *m, const qk_unit_example *e, int64_t other)
{
    if (++m->shared_ids > MOST_WARNINGS) return;
    qk_warn("the ids %" PRId64 " and %" PRId64 "%s%.80s%s are both stored as example_id %d", other,
            e->id, e->id_text ? " ('" : "", e->id_text ? e->id_text : "", e->id_text ? "')" : "",
            qk_example_id_stored(e->id));
}

static void count_warnings(const merger *m)
{
    if (m->texts_again > MOST_WARNINGS)
        qk_warn("%" PRId64 " more examples have the id of another text",
                m->texts_again - MOST_WARNINGS);
    if (m->shared_ids > MOST_WARNINGS)
        qk_warn("%" PRId64 " more ids share a stored example_id with another one",
                m->shared_ids - MOST_WARNINGS);
}

/* The run that wrote it has warned of its ids. */
static qk_status take_old_example(void *context, const qk_unit_example *e, qk_error *err)
{
    merger *m = context;
    (void)err;
    qk_texts_add(&m->texts, e, QK_TEXT_THERE);
    return write_example(m, e);
}

qk_status qk_merge_refuse_text(const qk_texts *texts, const qk_unit_example *e, const char *folder,
                               qk_error *err)
{
    return qk_texts_refuse(texts, e, folder, "this run",
                           "choose another output.data_root, or a dataset.id_column whose ids "
                           "stand for one text each",
                           err);
}

/* Prefix layout: an example once. */
static qk_status take_once(merger *m, const qk_unit_example *e)
{
    int64_t other;
    uint32_t sharing = qk_id_index_find(&m->texts.ids, qk_example_id_stored(e->id), &other);
    qk_text known = qk_texts_add(&m->texts, e, QK_TEXT_COMES);
    if (known == QK_TEXT_OTHER) return qk_merge_refuse_text(&m->texts, e, m->out->folder, m->err);
    if (known == QK_TEXT_KNOWN) return QK_OK;
    if (known == QK_TEXT_AGAIN && ++m->texts_again <= MOST_WARNINGS) qk_texts_warn(&m->texts, e);
    if (known == QK_TEXT_NEW && sharing) warn_of_shared(m, e, other);
    return write_example(m, e);
}

/* Branch layout: as they come. */
static qk_status take_each(merger *m, const qk_unit_example *e)
{
    int64_t other;
    qk_id_index *ids = &m->texts.ids;
    if (m->out->ids_from_column) {
        uint32_t sharing = qk_id_index_find(ids, qk_example_id_stored(e->id), &other);
        if (qk_id_index_add(ids, e->id) && sharing) warn_of_shared(m, e, other);
    }
    return write_example(m, e);
}

static qk_status take_examples(merger *m, int64_t u, const qk_unit *unit)
{
    qk_unit_totals *t = &m->report.units[u];
    t->examples = (int64_t)unit->n_examples;
    t->rows = unit->rows;
    for (size_t i = 0; i < unit->n_examples; i++) {
        const qk_unit_example *e = &unit->examples[i];
        t->tokens += e->tokens;
        QK_TRY(m->context.keep_pairs_once ? take_once(m, e) : take_each(m, e));
    }
    return QK_OK;
}

static qk_status write_examples(merger *m)
{
    char *old = qk_path_join(m->out->folder, "examples.parquet"), *path = NULL;
    char *relative = qk_strf("%sexamples.parquet", m->below);
    qk_status s = merged_path(m, relative, &path);
    if (s == QK_OK) s = qk_examples_create(&m->examples_out, path, m->err);
    bool there = false;
    if (s == QK_OK && m->context.keep_pairs_once) s = qk_has_file(old, &there, m->err);
    if (s == QK_OK && there) s = qk_examples_read(old, take_old_example, m, m->err);
    for (int64_t u = 0; u < m->units && s == QK_OK; u++) s = with_unit(m, u, take_examples);
    count_warnings(m);
    if (s == QK_OK)
        s = qk_examples_commit(m->examples_out, m->err);
    else
        qk_examples_abort(m->examples_out);
    m->examples_out = NULL;
    if (s == QK_OK) s = qk_publish_hash(&m->done, m->staging, m->err);
    if (s == QK_OK) m->report.examples_file = entry_of(m, NULL, relative, 0);
    free(old);
    free(path);
    free(relative);
    return s;
}

/* ---- data files ---- */

/* A step of one file of the group, with an error of its own. */
typedef qk_status (*file_step)(merger *m, qk_merge_file *f, qk_error *err);

/* Takes a step of every file, side by side where that pays; bytes is the work of all of them. The
 * error is that of the first file that has one. */
static qk_status each_file(merger *m, uint64_t bytes, file_step step)
{
    int threads = bytes < PARALLEL_BYTES ? 1 : omp_get_max_threads();
    size_t first_failed = m->n_files;
    qk_status result = QK_OK;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (size_t i = 0; i < m->n_files; i++) {
        qk_error err = {0};
        qk_status s = step(m, &m->files[i], &err);
        if (s == QK_OK) continue;
#pragma omp critical(merge)
        if (i < first_failed) {
            first_failed = i;
            result = s;
            *m->err = err;
        }
    }
    return result;
}

/* The place of a head among those of a block, or -1. */
static int32_t place_of(const qk_unit_block *b, int32_t head)
{
    for (int32_t h = 0; h < b->n_heads; h++)
        if (b->heads[h] == head) return h;
    return -1;
}

static qk_status add_rows(merger *m, qk_merge_file *f, qk_error *err)
{
    for (size_t i = 0; i < m->n_blocks; i++) {
        const struct block *b = &m->blocks[i];
        int32_t h = b->index->kind == f->kind ? place_of(b->index, f->head) : -1;
        if (h < 0) continue;
        QK_TRY(qk_merge_file_add(f, &m->context, m->unit, b->index, h, &b->rows, err));
    }
    return QK_OK;
}

static struct block *next_block(merger *m)
{
    if (m->n_blocks == m->blocks_capacity) {
        size_t n = m->blocks_capacity, more = n ? 2 * n : 64;
        m->blocks = qk_realloc(m->blocks, more, sizeof *m->blocks);
        memset(m->blocks + n, 0, (more - n) * sizeof *m->blocks);
        m->blocks_capacity = more;
    }
    return &m->blocks[m->n_blocks++];
}

static qk_status add_unit(merger *m, int64_t u, const qk_unit *unit)
{
    (void)u;
    uint64_t bytes = 0;
    m->unit = unit;
    m->n_blocks = 0;
    for (size_t i = 0; i < unit->n_blocks; i++) {
        const qk_unit_block *index = &unit->blocks[i];
        if (index->layer != m->layer) continue;
        struct block *b = next_block(m);
        b->index = index;
        QK_TRY(qk_unit_read_rows(unit, index, &b->columns, &b->rows, m->err));
        bytes += index->rows * (uint64_t)index->n_heads * (uint64_t)unit->d * sizeof(float);
    }
    m->group_bytes += bytes;
    return each_file(m, bytes, add_rows);
}

static qk_status name_file(merger *m, qk_merge_file *f)
{
    char *relative = qk_strf("%s%s/data.parquet", m->below, f->name);
    qk_status s = merged_path(m, relative, &f->path);
    free(relative);
    return s;
}

static qk_status open_file(merger *m, qk_merge_file *f, qk_error *err)
{
    char *old = qk_strf("%s/%s%s/data.parquet", m->out->final, m->below, f->name);
    bool there = false;
    qk_status s = m->context.keep_pairs_once ? qk_has_file(old, &there, err) : QK_OK;
    if (s == QK_OK) s = qk_merge_file_open(f, &m->context, there ? old : NULL, err);
    free(old);
    return s;
}

static qk_status commit_file(merger *m, qk_merge_file *f, qk_error *err)
{
    (void)m;
    return qk_merge_file_commit(f, err);
}

static void report_files(merger *m)
{
    for (size_t i = 0; i < m->n_files; i++) {
        const qk_merge_file *f = &m->files[i];
        char *relative = qk_strf("%s%s/data.parquet", m->below, f->name);
        qk_manifest_file entry = entry_of(m, f->name, relative, f->rows);
        entry.nonfinite = f->nonfinite;
        m->rows_added += f->added;
        qk_merge_report_add(&m->report, &entry);
        free(relative);
    }
}

/* Old rows are copied when a file is opened, and what a writer holds is encoded when it is
 * finished: both are worth several threads. */
static qk_status write_group(merger *m)
{
    qk_status s = QK_OK;
    for (size_t i = 0; i < m->n_files && s == QK_OK; i++) s = name_file(m, &m->files[i]);
    if (s == QK_OK) s = each_file(m, m->report.old ? UINT64_MAX : 0, open_file);
    for (int64_t u = 0; u < m->units && s == QK_OK; u++) s = with_unit(m, u, add_unit);
    if (s == QK_OK) s = each_file(m, m->group_bytes, commit_file);
    if (s == QK_OK) s = qk_publish_hash(&m->done, m->staging, m->err);
    if (s == QK_OK) report_files(m);
    for (size_t i = 0; i < m->n_files; i++) qk_merge_file_free(&m->files[i]);
    m->n_files = 0;
    m->group_bytes = 0;
    return s;
}

static qk_status add_to_group(merger *m, int32_t head, qk_kind kind, size_t room)
{
    m->files[m->n_files++] = (qk_merge_file){
        .layer = m->layer,
        .head = head,
        .kind = kind,
        .name = qk_file_name(&m->report.arena, m->layer, head, kind),
    };
    return m->n_files == room ? write_group(m) : QK_OK;
}

static qk_status write_layer(merger *m, const qk_layer_heads *heads, size_t room)
{
    m->layer = heads->layer;
    for (int32_t i = 0; i < heads->n_q; i++) QK_TRY(add_to_group(m, heads->q[i], QK_KIND_Q, room));
    for (int32_t i = 0; i < heads->n_k; i++) QK_TRY(add_to_group(m, heads->k[i], QK_KIND_K, room));
    return m->n_files ? write_group(m) : QK_OK;
}

static qk_status write_files(merger *m)
{
    uint64_t room = MEMORY_BUDGET / qk_head_file_writer_bytes(&m->context.format);
    size_t most = room < 1 ? 1 : room > 512 ? 512 : (size_t)room;
    m->files = qk_zalloc(most, sizeof *m->files);
    const qk_head_plan *heads = m->out->heads;
    qk_status s = QK_OK;
    for (int32_t l = 0; l < heads->n_layers && s == QK_OK; l++) {
        qk_progress(false, "merging layer %d, %d of %d", heads->layers[l].layer, l + 1,
                    heads->n_layers);
        s = write_layer(m, &heads->layers[l], most);
    }
    free(m->files);
    return s;
}

/* ---- manifest and card ---- */

static qk_status write_text(merger *m, const char *relative, const qk_buf *text)
{
    char *path = NULL;
    qk_status s = merged_path(m, relative, &path);
    if (s == QK_OK) s = qk_write_file(path, text->data, text->size, m->err);
    free(path);
    return s;
}

static qk_status write_report(merger *m)
{
    if (m->context.keep_pairs_once) QK_TRY(qk_merge_report_find_others(&m->report, m->err));
    qk_buf manifest = {0}, card = {0};
    char *relative = qk_strf("%smanifest.json", m->below);
    qk_status s = qk_merge_report_write(&m->report, &manifest, &card, m->err);
    if (s == QK_OK) s = write_text(m, "README.md", &card);
    /* The manifest is moved last: with it in place, all that it lists is. */
    if (s == QK_OK) s = write_text(m, relative, &manifest);
    free(relative);
    qk_buf_free(&manifest);
    qk_buf_free(&card);
    return s;
}

/* Rows are never left out without a word. */
static qk_status refuse_more_units(const merger *m)
{
    qk_units finished;
    QK_TRY(qk_staging_finished(m->staging, &finished, m->err));
    int64_t last = finished.count ? finished.items[finished.count - 1] : -1;
    qk_units_free(&finished);
    if (last < m->units) return QK_OK;
    return qk_fail(m->err, QK_ERR_DATA,
                   "move it to the staging folder that it came from, or remove units.json where "
                   "that is wrong",
                   "%s: holds unit %" PRId64 ", but the dataset has only %" PRId64,
                   m->staging->folder, last, m->units);
}

static qk_status merge(merger *m)
{
    QK_TRY(qk_numerics_stamp(&m->stamp, m->staging, m->report.run.id, m->err));
    QK_TRY(refuse_more_units(m));
    if (m->context.keep_pairs_once) QK_TRY(qk_final_look(m->out->final, m->out->split, m->err));
    if (m->report.old) QK_TRY(qk_manifest_check(m->report.old, m->out->folder, m->err));
    QK_TRY(write_examples(m));
    QK_TRY(write_files(m));
    QK_TRY(write_report(m));
    if (m->report.nonfinite)
        qk_warn("%" PRIu64 " rows hold NaN or infinity (capture.allow_nonfinite); manifest.json "
                "says in which files",
                m->report.nonfinite);
    return qk_publish_move(&m->done, m->staging, m->out->final, m->err);
}

qk_status qk_merge(const qk_output *out, const qk_staging *staging, const qk_identity *id,
                   const qk_json *old, int64_t units, const qk_tokenizer *tokenizer,
                   qk_merge_result *result, qk_error *err)
{
    merger m = {.out = out, .staging = staging, .err = err, .units = units, .damaged = -1};
    m.context = (qk_merge_context){
        .keep_pairs_once = out->prefix,
        .token_strings = out->token_strings,
        .tokenizer = tokenizer,
        .old_ids = &m.texts.there,
        .all_ids = out->prefix ? &m.texts.ids : NULL,
        .format = {out->head_dim, out->token_strings, out->plain_vectors},
        .window = out->window,
    };
    char *below = qk_strf("%s%s", out->prefix ? out->split : "", out->prefix ? "/" : "");
    m.below = below;
    m.report = (qk_merge_report){.out = out, .old = out->prefix ? old : NULL};
    m.report.units = qk_zalloc((size_t)units, sizeof *m.report.units);
    m.report.run = (qk_manifest_run){id, m.stamp.arithmetic, m.report.units, (size_t)units};
    qk_status s = merge(&m);
    *result = (qk_merge_result){m.report.rows, m.rows_added, m.report.n_files, m.damaged};
    qk_merge_report_free(&m.report);
    qk_texts_free(&m.texts);
    qk_publish_free(&m.done);
    for (size_t i = 0; i < m.blocks_capacity; i++) qk_buf_free(&m.blocks[i].columns);
    free(m.blocks);
    free(below);
    return s;
}
