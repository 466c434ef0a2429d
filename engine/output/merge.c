/* See merge.h. From top to bottom: units as a dataset that gives its examples and rows, the head
 * files of a run, the join. */
#include "engine/output/merge.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/interrupt.h"
#include "engine/base/progress.h"
#include "engine/output/example_texts.h"
#include "engine/output/final_folder.h"
#include "engine/output/join.h"
#include "engine/output/join_file.h"
#include "engine/output/listed_use.h"
#include "engine/staging/numerics.h"
#include "engine/staging/staging.h"
#include "engine/tokenizer/tokenizer.h"
#include "sampler/example_id.h"

static const char OTHER_TEXT[] =
    "choose another output.data_root, or a dataset.id_column whose ids stand for one text each";

typedef struct units {
    const qk_merge_job *job;
    const qk_output *out;
    int64_t count;          /* that are there */
    int64_t last;           /* number of the only one that may be shorter than the others */
    qk_unit_stamp stamp;    /* of every unit */
    qk_unit_totals *totals; /* [count] */
    int64_t damaged;        /* unit, or -1 */
    int layer;              /* of the last group of files, or -1 */
    qk_listed_use used[2];  /* of out->listed */
    const qk_unit *unit;    /* whose rows files take */
    struct block {          /* its blocks of that layer: integer columns, read once for all files */
        const qk_unit_block *index;
        qk_unit_rows rows;
        qk_buf columns;
    } * blocks;
    size_t n_blocks, blocks_capacity;
} units;

/* ---- units as a dataset ---- */

static int64_t number_of(const units *u, int64_t k)
{
    return u->job->part ? u->job->part->items[k] : k;
}

/* The k-th unit, checked, in *unit; closed by close_unit in any case. */
static qk_status open_unit(const units *u, int64_t k, qk_unit *unit, qk_error *err)
{
    const int64_t number = number_of(u, k);
    char *path = qk_staging_unit(u->job->staging, number);
    qk_status s = qk_unit_open(unit, path, err);
    if (s == QK_OK) s = qk_unit_stamp_check(&unit->stamp, &u->stamp, path, err);
    if (s == QK_OK && unit->d != u->out->head_dim)
        s = qk_fail(err, QK_ERR_DATA, "remove the staging folder", "%s: head_dim %d, expected %d",
                    path, unit->d, u->out->head_dim);
    /* It holds the examples that its number says. */
    int64_t size = u->out->unit_examples, n = s == QK_OK ? (int64_t)unit->n_examples : 0;
    bool right = number < u->last ? n == size : n <= size;
    for (int64_t i = 0; i < n && right; i++) right = unit->examples[i].index == number * size + i;
    if (s == QK_OK && !right)
        s = qk_fail(err, QK_ERR_DAMAGED, "remove this file and run the same command again",
                    "%s: does not hold the examples of unit %" PRId64, path, number);
    free(path);
    return s;
}

static qk_status close_unit(units *u, int64_t k, qk_unit *unit, qk_status s, qk_error *err)
{
    if (s == QK_ERR_DAMAGED) u->damaged = number_of(u, k);
    qk_unit_close(unit);
    return s == QK_OK ? qk_interrupt_check(err) : s;
}

static qk_status give_examples(void *self, qk_example_visit visit, void *context, qk_error *err)
{
    units *u = self;
    for (int64_t k = 0; k < u->count; k++) {
        qk_unit unit;
        qk_unit_totals *t = &u->totals[k];
        qk_status s = open_unit(u, k, &unit, err);
        if (s == QK_OK) *t = (qk_unit_totals){(int64_t)unit.n_examples, 0, unit.rows};
        for (size_t i = 0; s == QK_OK && i < unit.n_examples; i++) {
            t->tokens += unit.examples[i].tokens;
            for (int side = 0; side < 2; side++)
                qk_listed_use_add(&u->used[side], unit.examples[i].id);
            s = visit(context, &unit.examples[i], err);
        }
        QK_TRY(close_unit(u, k, &unit, s, err));
    }
    return QK_OK;
}

/* The rows of the h-th head of a block. */
static qk_status add_rows(const units *u, const struct block *b, int32_t h, qk_join_file *f,
                          qk_error *err)
{
    const qk_unit_rows *in = &b->rows;
    size_t n = in->rows;
    const float *vectors, *lse = NULL;
    QK_TRY(qk_interrupt_check(err));
    QK_TRY(qk_unit_read_vectors(u->unit, b->index, h, &f->block, &vectors, err));
    if (b->index->has_lse) QK_TRY(qk_unit_read_lse(u->unit, b->index, h, &f->lse, &lse, err));
    qk_buf_clear(&f->columns);
    qk_buf_reserve(&f->columns, n * (sizeof(int64_t) + sizeof(qk_pq_text) + 2 * sizeof(int32_t)));
    int64_t *ids = (int64_t *)(void *)f->columns.data;
    qk_pq_text *texts = (qk_pq_text *)(void *)(ids + n);
    int32_t *stored = (int32_t *)(void *)(texts + n), *window = stored + n;
    for (size_t i = 0; i < n; i++) {
        ids[i] = u->unit->examples[in->examples[i]].id;
        stored[i] = qk_example_id_stored(ids[i]);
        window[i] = u->out->window[f->layer];
        if (u->out->token_strings)
            texts[i].data =
                qk_tokenizer_piece_text(u->job->tokenizer, in->tokens[i], &texts[i].size);
    }
    const qk_id_rows rows = {.ids = ids,
                             .rows = {.n = n,
                                      .bucket = in->buckets,
                                      .example_id = stored,
                                      .position = in->positions,
                                      .vectors = vectors,
                                      .window = window,
                                      .token_str = u->out->token_strings ? texts : NULL,
                                      .token_id = u->out->token_ids ? in->tokens : NULL,
                                      .lse = lse}};
    return qk_join_file_add(f, false, &rows, err);
}

/* What the unit has for one file. */
static qk_status add_blocks(void *context, qk_join_file *f, qk_error *err)
{
    const units *u = context;
    for (size_t i = 0; i < u->n_blocks; i++) {
        const qk_unit_block *b = u->blocks[i].index;
        if (b->kind != f->kind) continue;
        for (int32_t h = 0; h < b->n_heads; h++)
            if (b->heads[h] == f->head) QK_TRY(add_rows(u, &u->blocks[i], h, f, err));
    }
    return QK_OK;
}

/* The integer columns of the unit's blocks of the layer; *bytes: the size of their vectors. */
static qk_status read_blocks(units *u, const qk_unit *unit, uint64_t *bytes, qk_error *err)
{
    *bytes = 0;
    u->unit = unit;
    u->n_blocks = 0;
    for (size_t i = 0; i < unit->n_blocks; i++) {
        const qk_unit_block *index = &unit->blocks[i];
        if (index->layer != u->layer) continue;
        size_t before = u->blocks_capacity;
        QK_GROW(u->blocks, u->n_blocks, u->blocks_capacity);
        memset(u->blocks + before, 0, (u->blocks_capacity - before) * sizeof *u->blocks);
        struct block *b = &u->blocks[u->n_blocks++];
        b->index = index;
        QK_TRY(qk_unit_read_rows(unit, index, &b->columns, &b->rows, err));
        *bytes += index->rows * (uint64_t)index->n_heads * (uint64_t)unit->d * sizeof(float);
    }
    return QK_OK;
}

static qk_status give_rows(void *self, qk_join_file *files, size_t n, qk_error *err)
{
    units *u = self;
    const qk_head_plan *plan = u->out->heads;
    for (int32_t l = 0; l < plan->n_layers; l++)
        if (plan->layers[l].layer == files->layer && files->layer != u->layer)
            qk_progress_of("merging", l, plan->n_layers, "layer");
    u->layer = files->layer;
    for (int64_t k = 0; k < u->count; k++) {
        qk_unit unit;
        uint64_t bytes;
        qk_status s = open_unit(u, k, &unit, err);
        if (s == QK_OK) s = read_blocks(u, &unit, &bytes, err);
        if (s == QK_OK) s = qk_join_each(files, n, bytes, add_blocks, u, err);
        QK_TRY(close_unit(u, k, &unit, s, err));
    }
    return QK_OK;
}

/* Rows are never left out without a word. */
static qk_status refuse_more_units(const units *u, qk_error *err)
{
    qk_units finished;
    if (u->job->units < 0) return QK_OK; /* of a part: how many there are is not known */
    QK_TRY(qk_staging_finished(u->job->staging, &finished, err));
    int64_t last = finished.count ? finished.items[finished.count - 1] : -1;
    qk_units_free(&finished);
    if (last < u->job->units) return QK_OK;
    return qk_fail(err, QK_ERR_DATA,
                   "move it to the staging folder that it came from, or remove units.json where "
                   "that is wrong",
                   "%s: holds unit %" PRId64 ", but the dataset has only %" PRId64,
                   u->job->staging->folder, last, u->job->units);
}

/* ---- head files ---- */

/* Those that the run writes, by layer, and behind them those that the split has beside them. */
typedef struct heads {
    qk_join_head *items;
    size_t count, capacity;
    const qk_names *there; /* of the split */
    bool *taken;           /* [there->count]: the run writes it, too */
    qk_arena arena;
} heads;

static void add_heads(heads *list, const qk_head_plan *plan, const qk_layer_heads *in, qk_kind kind)
{
    const int32_t *numbers;
    int32_t n = qk_head_plan_heads(plan, in, kind, &numbers);
    for (int32_t h = 0; h < n; h++) {
        qk_join_head new = {qk_file_name(&list->arena, in->layer, numbers[h], kind), false, true,
                            false};
        for (size_t i = 0; i < list->there->count && !new.first; i++)
            list->taken[i] |= new.first = !strcmp(list->there->items[i], new.name);
        QK_GROW(list->items, list->count, list->capacity);
        list->items[list->count++] = new;
    }
}

static void list_heads(heads *list, const qk_head_plan *plan)
{
    list->taken = qk_zalloc(list->there->count, sizeof *list->taken);
    for (int32_t l = 0; l < plan->n_layers; l++)
        for (int i = 0; i < QK_KINDS; i++) add_heads(list, plan, &plan->layers[l], qk_kinds[i]);
    for (size_t i = 0; i < list->there->count; i++) {
        if (list->taken[i]) continue;
        QK_GROW(list->items, list->count, list->capacity);
        list->items[list->count++] = (qk_join_head){list->there->items[i], true, false, false};
    }
    free(list->taken);
}

/* ---- the join ---- */

qk_status qk_merge_refuse_text(const qk_texts *texts, const qk_unit_example *e, const char *folder,
                               qk_error *err)
{
    return qk_texts_refuse(texts, e, folder, "this run", OTHER_TEXT, err);
}

static qk_status merge(units *u, qk_merge_result *result, qk_error *err)
{
    const qk_merge_job *job = u->job;
    const qk_output *out = u->out;
    const bool adds = out->prefix && !job->part; /* to the rows that are there */
    const qk_json *old = adds ? job->old : NULL;
    qk_names there = {0};
    heads list = {.there = &there};
    QK_TRY(qk_numerics_stamp(&u->stamp, job->staging, job->id, err));
    QK_TRY(refuse_more_units(u, err));
    if (out->prefix) QK_TRY(qk_final_check(out->final, out->split, err));
    if (old) QK_TRY(qk_manifest_check(old, out->folder, err));
    if (adds) QK_TRY(qk_list_heads(out->folder, &there, err));
    list_heads(&list, out->heads);
    const qk_source source = {
        .self = u,
        .examples = give_examples,
        .rows = give_rows,
        .run = {.id = job->id,
                .numerics = u->stamp.numerics,
                .units = u->totals,
                .n_units = (size_t)u->count,
                .attention = out->attention,
                .partial = job->part ? job->part->items : NULL,
                .of = job->units},
        .format = {.d = out->head_dim,
                   .token_strings = out->token_strings,
                   .plain_vectors = out->plain_vectors,
                   .token_ids = out->token_ids,
                   .lse = out->lse,
                   .head_columns = out->head_columns},
        .ids_from_column = out->ids_from_column,
    };
    const qk_join join = {
        .staging = job->work,
        .final = out->final,
        .split = out->split,
        .below = out->prefix ? qk_arena_strf(&list.arena, "%s/", out->split) : "",
        .once = out->prefix,
        .first = {adds ? out->folder : NULL, old, out->folder, QK_JOIN_STAY},
        .second = {.name = "this run"},
        .units = &source,
        .heads = list.items,
        .n_heads = list.count,
        .hint = OTHER_TEXT,
    };
    qk_join_result joined;
    qk_status s = qk_join_run(&join, &joined, err);
    *result = (qk_merge_result){joined.rows, joined.rows_added, joined.files, u->damaged};
    qk_names_free(&there);
    qk_arena_free(&list.arena);
    free(list.items);
    return s;
}

qk_status qk_merge(const qk_merge_job *job, qk_merge_result *result, qk_error *err)
{
    const int64_t count = job->part ? (int64_t)job->part->count : job->units;
    units u = {.job = job,
               .out = job->out,
               .count = count,
               .last = job->units < 0 ? job->part->items[count - 1] : job->units - 1,
               .totals = qk_zalloc((size_t)count, sizeof *u.totals),
               .damaged = -1,
               .layer = -1};
    *result = (qk_merge_result){.damaged = -1};
    for (int i = 0; i < 2; i++)
        qk_listed_use_begin(&u.used[i], job->part ? NULL : u.out->listed[i]);
    qk_status s = merge(&u, result, err);
    for (int i = 0; i < 2; i++) qk_listed_use_end(&u.used[i], s == QK_OK);
    for (size_t i = 0; i < u.blocks_capacity; i++) qk_buf_free(&u.blocks[i].columns);
    free(u.blocks);
    free(u.totals);
    return s;
}
