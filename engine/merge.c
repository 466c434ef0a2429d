/* See merge.h. Steps: examples.parquet and the ids, the data files in groups, manifest and card,
 * and the move into final/. */
#include "engine/merge.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/arithmetic.h"
#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/commit.h"
#include "engine/examples_file.h"
#include "engine/merge_file.h"
#include "engine/merge_report.h"
#include "sampler/example_id.h"

enum { MOST_WARNINGS = 10 };

/* Open writers may hold this much together. */
static const uint64_t MEMORY_BUDGET = 256u << 20;

typedef struct merger {
    const qk_plan *plan;
    const qk_staging *staging;
    qk_error *err;
    int64_t units;
    qk_unit_stamp stamp; /* of every unit */
    const char *below;   /* "" or "<split>/": where files lie below final/ */
    qk_merge_context context;
    qk_id_book old_ids, all_ids;
    int64_t shared_ids;       /* ids whose low 32 bits another id has as well */
    qk_pairset examples_seen; /* prefix layout: examples that examples.parquet has */
    qk_examples_writer *examples_out;
    qk_names done; /* relative paths of finished files */
    qk_merge_report report;
    uint64_t rows_added;
    int layer;            /* being written */
    qk_merge_file *files; /* its files that are open */
    size_t n_files;
    qk_buf columns;
} merger;

static qk_status with_unit(merger *m, int64_t u,
                           qk_status (*use)(merger *, int64_t, const qk_unit *))
{
    char *path = qk_staging_unit(m->staging, u);
    qk_unit unit;
    qk_status s = qk_unit_open(&unit, path, m->err);
    if (s == QK_OK) s = qk_unit_stamp_check(&unit.stamp, &m->stamp, path, m->err);
    if (s == QK_OK && unit.d != m->plan->spec.d)
        s = qk_fail(m->err, QK_ERR_DATA, "remove the staging folder",
                    "%s: head_dim %d, expected %d", path, unit.d, m->plan->spec.d);
    if (s == QK_OK) s = use(m, u, &unit);
    qk_unit_close(&unit);
    free(path);
    return s == QK_OK ? qk_interrupt_check(m->err) : s;
}

/* A finished file is written under staging/merged and listed for the move. */
static qk_status merged_path(merger *m, const char *relative, char **out)
{
    *out = qk_commit_path(m->staging, relative, m->err);
    if (!*out) return m->err->status;
    qk_names_add(&m->done, relative);
    return QK_OK;
}

/* ---- examples ---- */

static qk_status write_example(merger *m, const qk_unit_example *e)
{
    if (m->context.keep_pairs_once && !qk_example_is_new(&m->examples_seen, e)) return QK_OK;
    m->report.examples++;
    m->report.tokens += e->tokens;
    return qk_examples_append(m->examples_out, e, m->err);
}

/* Rows hold the low 32 bits of an id. Different ids that share them can only be told apart by
 * examples.parquet and the order of rows, so that is said. */
static void note_id(merger *m, const qk_unit_example *e)
{
    int64_t other;
    int same = qk_id_book_find(&m->all_ids, qk_example_id_stored(e->id), &other);
    if (!qk_id_book_add(&m->all_ids, e->id) || !same) return;
    if (++m->shared_ids > MOST_WARNINGS) return;
    qk_warn("the ids %" PRId64 " and %" PRId64 "%s%.80s%s are both stored as example_id %d", other,
            e->id, e->id_text ? " ('" : "", e->id_text ? e->id_text : "", e->id_text ? "')" : "",
            qk_example_id_stored(e->id));
}

static void count_shared_ids(const merger *m)
{
    if (m->shared_ids > MOST_WARNINGS)
        qk_warn("%" PRId64 " more ids share a stored example_id with another one",
                m->shared_ids - MOST_WARNINGS);
}

static qk_status take_old_example(void *context, const qk_unit_example *e, qk_error *err)
{
    merger *m = context;
    (void)err;
    qk_id_book_add(&m->old_ids, e->id);
    qk_id_book_add(&m->all_ids, e->id); /* the run that wrote it has warned */
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
        if (m->context.keep_pairs_once || m->plan->config->dataset.id_column) note_id(m, e);
        QK_TRY(write_example(m, e));
    }
    return QK_OK;
}

static qk_status write_examples(merger *m)
{
    char *old = qk_path_join(m->plan->split_folder, "examples.parquet"), *path = NULL;
    char *relative = qk_strf("%sexamples.parquet", m->below);
    qk_status s = merged_path(m, relative, &path);
    if (s == QK_OK) s = qk_examples_create(&m->examples_out, path, m->err);
    bool there = false;
    if (s == QK_OK && m->context.keep_pairs_once) s = qk_has_file(old, &there, m->err);
    if (s == QK_OK && there) s = qk_examples_read(old, take_old_example, m, m->err);
    for (int64_t u = 0; u < m->units && s == QK_OK; u++) s = with_unit(m, u, take_examples);
    count_shared_ids(m);
    if (s == QK_OK)
        s = qk_examples_commit(m->examples_out, m->err);
    else
        qk_examples_abort(m->examples_out);
    m->examples_out = NULL;
    free(old);
    free(path);
    free(relative);
    return s;
}

/* ---- data files ---- */

static qk_merge_file *file_of(const merger *m, const qk_unit_block *b, int32_t h)
{
    for (size_t i = 0; i < m->n_files; i++)
        if (m->files[i].kind == b->kind && m->files[i].head == b->heads[h]) return &m->files[i];
    return NULL;
}

/* One block: its integer columns once, then its heads side by side. */
static qk_status add_block(merger *m, const qk_unit *unit, const qk_unit_block *block)
{
    qk_unit_rows rows;
    QK_TRY(qk_unit_read_rows(unit, block, &m->columns, &rows, m->err));
    qk_status result = QK_OK;
#pragma omp parallel for schedule(dynamic, 1)
    for (int32_t h = 0; h < block->n_heads; h++) {
        qk_merge_file *f = file_of(m, block, h);
        qk_error err = {0};
        qk_status s = f ? qk_merge_file_add(f, &m->context, unit, block, h, &rows, &err) : QK_OK;
        if (s == QK_OK) continue;
#pragma omp critical
        {
            result = s;
            *m->err = err;
        }
    }
    return result;
}

static qk_status add_unit(merger *m, int64_t u, const qk_unit *unit)
{
    (void)u;
    for (size_t i = 0; i < unit->n_blocks; i++)
        if (unit->blocks[i].layer == m->layer) QK_TRY(add_block(m, unit, &unit->blocks[i]));
    return QK_OK;
}

static qk_status open_file(merger *m, qk_merge_file *f)
{
    char *relative = qk_strf("%s%s/data.parquet", m->below, f->name), *old = NULL;
    qk_status s = merged_path(m, relative, &f->path);
    bool there = false;
    if (m->context.keep_pairs_once) old = qk_path_join(m->plan->final, relative);
    if (s == QK_OK && old) s = qk_has_file(old, &there, m->err);
    if (s == QK_OK) s = qk_merge_file_open(f, &m->context, there ? old : NULL, m->err);
    free(old);
    free(relative);
    return s;
}

static qk_status finish_file(merger *m, qk_merge_file *f)
{
    QK_TRY(qk_merge_file_commit(f, m->err));
    m->rows_added += f->added;
    qk_manifest_file file = {f->name, f->rows, f->bytes, f->nonfinite};
    qk_merge_report_add(&m->report, f->layer, f->head, f->kind, &file);
    return QK_OK;
}

/* Writes m->files from the first unit to the last. */
static qk_status write_group(merger *m)
{
    qk_status s = QK_OK;
    for (size_t i = 0; i < m->n_files && s == QK_OK; i++) s = open_file(m, &m->files[i]);
    for (int64_t u = 0; u < m->units && s == QK_OK; u++) s = with_unit(m, u, add_unit);
    for (size_t i = 0; i < m->n_files && s == QK_OK; i++) s = finish_file(m, &m->files[i]);
    for (size_t i = 0; i < m->n_files; i++) qk_merge_file_free(&m->files[i]);
    m->n_files = 0;
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
    uint64_t room = MEMORY_BUDGET / qk_rows_writer_bytes(&m->context.format);
    size_t most = room < 1 ? 1 : room > 512 ? 512 : (size_t)room;
    m->files = qk_zalloc(most, sizeof *m->files);
    const qk_head_plan *heads = &m->plan->heads;
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

static qk_status write_text(merger *m, const char *relative, qk_buf *text)
{
    char *path = NULL;
    qk_status s = merged_path(m, relative, &path);
    if (s == QK_OK) s = qk_write_file(path, text->data, text->size, m->err);
    free(path);
    qk_buf_free(text);
    return s;
}

static qk_status write_report(merger *m, const qk_identity *id, const qk_json *old)
{
    QK_TRY(qk_merge_report_find_others(&m->report, m->err));
    qk_buf text = {0};
    qk_merge_report_card(&m->report, id, &text);
    QK_TRY(write_text(m, "README.md", &text));
    /* The manifest is moved last: with it in place, all that it lists is. */
    qk_merge_report_manifest(&m->report, id, old, (size_t)m->units, &text);
    char *relative = qk_strf("%smanifest.json", m->below);
    qk_status s = write_text(m, relative, &text);
    free(relative);
    return s;
}

static qk_status merge(merger *m, const qk_identity *id, const qk_json *old)
{
    QK_TRY(qk_arithmetic_stamp(&m->stamp, m->staging, id, m->err));
    QK_TRY(write_examples(m));
    QK_TRY(write_files(m));
    QK_TRY(write_report(m, id, old));
    if (m->report.nonfinite)
        qk_warn("%" PRIu64 " rows hold NaN or infinity (capture.allow_nonfinite); manifest.json "
                "says in which files",
                m->report.nonfinite);
    return qk_commit_files(m->staging, m->plan->final, &m->done, m->err);
}

qk_status qk_merge(const qk_plan *plan, const qk_staging *staging, const qk_identity *id,
                   const qk_json *old, int64_t units, const qk_tokenizer *tokenizer,
                   qk_merge_result *result, qk_error *err)
{
    bool prefix = plan->config->output.layout == QK_LAYOUT_PREFIX;
    merger m = {.plan = plan, .staging = staging, .err = err, .units = units};
    m.context = (qk_merge_context){
        .keep_pairs_once = prefix,
        .token_strings = plan->config->capture.token_strings,
        .tokenizer = tokenizer,
        .old_ids = &m.old_ids,
        .all_ids = prefix ? &m.all_ids : NULL,
        .format = {plan->spec.d, plan->config->capture.token_strings,
                   plan->config->output.plain_vectors},
        .window = plan->window,
    };
    char *below = qk_strf("%s%s", prefix ? plan->split : "", prefix ? "/" : "");
    m.below = below;
    m.report = (qk_merge_report){.plan = plan};
    m.report.units = qk_zalloc((size_t)units, sizeof *m.report.units);
    qk_status s = merge(&m, id, old);
    *result = (qk_merge_result){m.report.rows, m.rows_added, m.report.n_files};
    qk_merge_report_free(&m.report);
    qk_pairset_free(&m.examples_seen);
    qk_id_book_free(&m.old_ids);
    qk_id_book_free(&m.all_ids);
    qk_names_free(&m.done);
    qk_buf_free(&m.columns);
    free(below);
    return s;
}
