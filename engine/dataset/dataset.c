/* The iterator: parts of the split expression -> files of each -> rows. See
 * engine/dataset/dataset.h. */
#include "engine/dataset/dataset.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/interrupt.h"
#include "engine/dataset/cell.h"
#include "engine/dataset/folder.h"
#include "engine/dataset/split.h"
#include "engine/dataset/stream.h"

/* Rows [begin, end) of a split. */
typedef struct range {
    const qk_data_split *split;
    const qk_split_part *part;
    const char *name; /* of the split, borrowed */
    int64_t begin, end;
    bool sliced;
} range;

struct qk_dataset {
    const qk_config *config;
    const qk_dataset_remote *remote; /* or NULL: every file is there */
    qk_data_files files;
    qk_split_parts parts;
    range *ranges;
    size_t n_ranges;
    int64_t rows;   /* of the selection; -1: not known */
    qk_names paths; /* of the files of all ranges, each once */
    size_t opened;  /* of them, up to the last one that was opened to be read */
    bool begun;     /* bounds are counted and the first file is open */

    size_t range, file;   /* where reading is */
    qk_source *source;    /* of that file, or NULL before it */
    int64_t row;          /* of the split that comes next */
    int64_t index, given; /* rows given in all, and of this range */
    qk_id_type id_type;   /* of the first file that has rows, once another one follows */
    bool past_first_file, fetched_ahead;
    qk_id id;
    char id_type_name[QK_ID_TYPE_NAME];
    qk_watch *watch, own_watch;
};

static qk_source_spec spec_of(const qk_dataset *d, const char *path)
{
    return (qk_source_spec){.format = d->files.format,
                            .path = path,
                            .text_column = d->config->dataset.text_column,
                            .id_column = d->config->dataset.id_column,
                            .is_later = d->past_first_file};
}

/* ---- files that come when they are needed ---- */

static qk_status holds(const qk_dataset *d, const char *path, bool *has, qk_error *err)
{
    *has = true;
    return d->remote ? d->remote->holds(d->remote->context, path, has, err) : QK_OK;
}

static qk_status need(const qk_dataset *d, const qk_names *paths, const char *reason, qk_error *err)
{
    return d->remote ? d->remote->need(d->remote->context, paths, reason, err) : QK_OK;
}

static qk_status need_one(const qk_dataset *d, const char *path, qk_error *err)
{
    char *item = (char *)path;
    return need(d, &(qk_names){.items = &item, .count = 1}, NULL, err);
}

/* Whether rows behind the current file are wanted for certain, and if so, of which file; else NULL.
 * Only Parquet says how many rows it has before it is read, so that other files are fetched ahead
 * only when neither max_samples nor a slice ends the reading. */
static const char *next_file(const qk_dataset *d)
{
    const range *r = &d->ranges[d->range];
    int64_t max = d->config->dataset.max_samples, rows = d->source->rows, end = INT64_MAX;
    if (rows < 0 && (max >= 0 || r->end != INT64_MAX)) return NULL;
    if (rows >= 0) {
        end = d->row + rows;
        int64_t from = d->row > r->begin ? d->row : r->begin, to = end < r->end ? end : r->end;
        int64_t gives = to > from ? to - from : 0;
        if (max >= 0 && d->index + gives >= max) return NULL;
    }
    bool goes_on = rows < 0 || end < r->end;
    if (goes_on && d->file + 1 < r->split->files.count) return r->split->files.items[d->file + 1];
    if (d->range + 1 == d->n_ranges) return NULL;
    const qk_names *next = &d->ranges[d->range + 1].split->files;
    return next->count ? next->items[0] : NULL;
}

/* ---- files that change ---- */

qk_status qk_dataset_check(const qk_dataset *d, qk_error *err)
{
    return d->source ? qk_watch_file(d->watch, d->source->spec.path, NULL, err) : QK_OK;
}

void qk_dataset_watch(qk_dataset *d, qk_watch *watch)
{
    d->watch = watch;
}

/* An error in a file that has changed is told as that. */
static qk_status explain(const qk_dataset *d, const char *path, qk_status s, qk_error *err)
{
    qk_error change;
    if (s == QK_OK || s == QK_ERR_RESUME) return s;
    if (qk_watch_file(d->watch, path, NULL, &change) == QK_ERR_DATA) *err = change;
    return err->status;
}

/* ---- opening ---- */

static qk_status open_file(qk_dataset *d, const char *path, qk_error *err)
{
    qk_source_spec spec = spec_of(d, path);
    QK_TRY(qk_watch_file(d->watch, path, NULL, err));
    for (size_t i = d->opened; i < d->paths.count; i++)
        if (!strcmp(d->paths.items[i], path)) d->opened = i + 1;
    return explain(d, path, qk_source_open(&d->source, &spec, err), err);
}

/* Footers may say anything. */
static qk_status add_rows(const qk_dataset *d, int64_t *rows, int64_t more, qk_error *err)
{
    if (!__builtin_add_overflow(*rows, more, rows)) return QK_OK;
    return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: its files have over 2^63 rows, as they say",
                   d->config->dataset.path);
}

/* Stops at `enough` rows: files behind them are not opened. *rows is -1 when a file would have to
 * be fetched for it. */
static qk_status count_split(const qk_dataset *d, const qk_data_split *split, int64_t enough,
                             int64_t *rows, qk_error *err)
{
    *rows = 0;
    for (size_t i = 0; i < split->files.count && *rows < enough; i++) {
        qk_source_spec spec = spec_of(d, split->files.items[i]);
        int64_t n;
        bool there;
        QK_TRY(holds(d, spec.path, &there, err));
        if (!there) {
            *rows = -1;
            return QK_OK;
        }
        QK_TRY(need_one(d, spec.path, err)); /* its content is checked */
        spec.is_later |= i > 0;
        QK_TRY(qk_watch_file(d->watch, spec.path, NULL, err));
        QK_TRY(explain(d, spec.path, qk_source_count(&n, &spec, err), err));
        QK_TRY(qk_watch_file(d->watch, spec.path, NULL, err)); /* all of it of one content */
        QK_TRY(add_rows(d, rows, n, err));
    }
    return QK_OK;
}

static qk_status no_rows(const qk_dataset *d, const char *name, qk_error *err)
{
    return qk_fail(err, QK_ERR_DATA, "set dataset.split to rows that exist",
                   "%s: the split '%s', as dataset.split '%.100s' cuts it, has no rows",
                   d->config->dataset.path, name, d->config->dataset.split);
}

/* No row of a split behind this many is ever wanted: the slice ends, or max_samples does. */
static int64_t enough_rows(const qk_dataset *d, const qk_split_part *part)
{
    int64_t max = d->config->dataset.max_samples, begin, end, enough;
    if (qk_split_needs_count(part)) return INT64_MAX;
    qk_split_resolve(part, -1, &begin, &end);
    if (max < 0 || __builtin_add_overflow(begin, max + 1, &enough)) return end;
    return enough < end ? enough : end;
}

static qk_status choose_ranges(qk_dataset *d, qk_error *err)
{
    const qk_split_part *first = &d->parts.items[0];
    bool all = d->parts.count == 1 && !strcmp(first->name, "all") && !first->from.given &&
               !first->to.given;
    d->n_ranges = all ? d->files.count : d->parts.count;
    d->ranges = qk_zalloc(d->n_ranges, sizeof *d->ranges);
    for (size_t i = 0; i < d->n_ranges; i++) {
        const qk_split_part *part = all ? first : &d->parts.items[i];
        const qk_data_split *split = &d->files.splits[all ? i : 0];
        if (!all)
            QK_TRY(qk_data_files_get(&d->files, d->config->dataset.path, part->name, &split, err));
        d->ranges[i] = (range){.split = split,
                               .part = part,
                               .name = split->name,
                               .sliced = part->from.given || part->to.given};
    }
    return QK_OK;
}

static qk_status check_text(const qk_dataset *d, const qk_row *row, qk_error *err)
{
    if (row->text.kind == QK_CELL_TEXT) return QK_OK;
    return qk_fail(err, QK_ERR_DATA, "leave such rows out, or give them an empty text",
                   "%s: row %lld (from 0): '%s' is null", d->source->spec.path,
                   (long long)d->source->at - 1, d->source->spec.text_column);
}

/* Opens the first file, so that a wrong column is an error before anything else is done. Only
 * Parquet says what a column holds; of others the first row is read, where it is wanted. */
static qk_status open_first(qk_dataset *d, qk_error *err)
{
    const qk_names *files = &d->ranges[0].split->files;
    qk_row row;
    bool more;
    if (!files->count) return QK_OK;
    QK_TRY(open_file(d, files->items[0], err));
    bool wanted = d->ranges[0].begin == 0 && d->config->dataset.max_samples != 0;
    if (d->source->rows >= 0 || !wanted) return QK_OK;
    qk_status s = qk_source_next(d->source, &row, &more, err);
    if (s == QK_OK && more) s = check_text(d, &row, err);
    QK_TRY(explain(d, files->items[0], s, err));
    qk_source_close(d->source);
    d->source = NULL;
    return open_file(d, files->items[0], err);
}

qk_status qk_dataset_begin(qk_dataset *d, qk_error *err)
{
    if (d->begun) return QK_OK;
    const qk_names *first = &d->ranges[0].split->files;
    for (size_t i = 0; i < d->n_ranges && d->remote; i++) {
        const range *r = &d->ranges[i];
        if (!qk_split_needs_count(r->part)) continue;
        char *reason =
            qk_strf("dataset.split '%.100s' needs the number of rows of the whole split '%s'",
                    d->config->dataset.split, r->name);
        qk_status s = need(d, &r->split->files, reason, err);
        free(reason);
        QK_TRY(s);
    }
    if (first->count) QK_TRY(need_one(d, first->items[0], err));
    d->rows = 0;
    bool cheap = d->files.format == QK_FORMAT_PARQUET; /* footers only */
    for (size_t i = 0; i < d->n_ranges; i++) {
        range *r = &d->ranges[i];
        int64_t rows = -1;
        if (cheap || qk_split_needs_count(r->part))
            QK_TRY(count_split(d, r->split, enough_rows(d, r->part), &rows, err));
        qk_split_resolve(r->part, rows, &r->begin, &r->end);
        if (r->begin >= r->end && (rows != 0 || r->sliced)) return no_rows(d, r->name, err);
        if (r->end == INT64_MAX || rows < 0) d->rows = -1;
        if (d->rows >= 0) QK_TRY(add_rows(d, &d->rows, r->end - r->begin, err));
    }
    int64_t max = d->config->dataset.max_samples;
    if (max >= 0 && d->rows > max) d->rows = max;
    QK_TRY(open_first(d, err));
    d->begun = true;
    return QK_OK;
}

typedef struct named {
    const char *path;
    size_t position;
} named;

static int by_path(const void *a, const void *b)
{
    const named *x = a, *y = b;
    int order = strcmp(x->path, y->path);
    return order ? order : (x->position > y->position) - (x->position < y->position);
}

/* In reading order, each once: a file may belong to several ranges, or twice to one. */
static void list_paths(qk_dataset *d)
{
    size_t count = 0, n = 0;
    for (size_t r = 0; r < d->n_ranges; r++) count += d->ranges[r].split->files.count;
    named *all = qk_alloc(count + 1, sizeof *all);
    bool *again = qk_zalloc(count + 1, sizeof *again);
    for (size_t r = 0; r < d->n_ranges; r++)
        for (size_t i = 0; i < d->ranges[r].split->files.count; i++, n++)
            all[n] = (named){d->ranges[r].split->files.items[i], n};
    qsort(all, count, sizeof *all, by_path);
    for (size_t i = 1; i < count; i++)
        again[all[i].position] = !strcmp(all[i].path, all[i - 1].path);
    n = 0;
    for (size_t r = 0; r < d->n_ranges; r++)
        for (size_t i = 0; i < d->ranges[r].split->files.count; i++)
            if (!again[n++]) qk_names_add(&d->paths, d->ranges[r].split->files.items[i]);
    free(all);
    free(again);
}

static qk_status open_all(qk_dataset *d, qk_error *err)
{
    const char *path = d->config->dataset.path, *name = d->config->dataset.name;
    const char *id = d->config->dataset.id_column;
    const qk_dataset_remote *r = d->remote;
    QK_TRY(qk_split_parse(&d->parts, d->config->dataset.split, err));
    QK_TRY(r ? qk_data_files_find_in(&d->files, r->files, r->folder, name, id, err)
             : qk_data_files_find(&d->files, path, name, id, err));
    const qk_id_type *t = &d->files.id_type;
    if (t->kind == QK_CELL_INT || t->kind == QK_CELL_UINT)
        strcpy(d->id_type_name, "int"); /* of any size: ids that fit are the same */
    else if (t->kind == QK_CELL_FLOAT && t->bits == 64)
        strcpy(d->id_type_name, "float");
    else
        qk_id_type_name(t, d->id_type_name);
    QK_TRY(choose_ranges(d, err));
    list_paths(d);
    return QK_OK;
}

qk_status qk_dataset_open_in(qk_dataset **out, const qk_config *config,
                             const qk_dataset_remote *remote, qk_error *err)
{
    qk_dataset *d = qk_zalloc(1, sizeof *d);
    d->config = config;
    d->remote = remote;
    d->rows = -1;
    d->watch = &d->own_watch;
    qk_status s = open_all(d, err);
    if (s != QK_OK) {
        qk_dataset_close(d);
        d = NULL;
    }
    *out = d;
    return s;
}

qk_status qk_dataset_open(qk_dataset **out, const qk_config *config, qk_error *err)
{
    QK_TRY(qk_dataset_open_in(out, config, NULL, err));
    if (qk_dataset_begin(*out, err) == QK_OK) return QK_OK;
    qk_dataset_close(*out);
    *out = NULL;
    return err->status;
}

void qk_dataset_rewind(qk_dataset *d)
{
    if (!d) return;
    qk_source_close(d->source);
    d->source = NULL;
    d->range = d->file = 0;
    d->row = d->index = d->given = 0;
    d->rows = -1;
    d->id_type = (qk_id_type){0};
    d->begun = d->past_first_file = d->fetched_ahead = false;
}

const qk_names *qk_dataset_files(const qk_dataset *d)
{
    return &d->paths;
}

const char *qk_dataset_id_type(const qk_dataset *d)
{
    return d->files.id_type.is_known ? d->id_type_name : NULL;
}

size_t qk_dataset_files_opened(const qk_dataset *d)
{
    return d->opened;
}

int64_t qk_dataset_rows(const qk_dataset *d)
{
    return d->rows;
}

/* Unpacked a small file may be a large one. */
static bool is_small(const qk_dataset *d)
{
    static const uint64_t MOST = 16 << 20;
    uint64_t sum = 0, bytes;
    for (size_t i = 0; i < d->paths.count; i++) {
        qk_packing packing;
        qk_error ignored;
        if (qk_stream_packing(d->paths.items[i], &packing, &ignored) != QK_OK) return false;
        if (packing != QK_PACKING_NONE || qk_file_size(d->paths.items[i], &bytes, &ignored))
            return false;
        if (bytes > MOST - sum) return false;
        sum += bytes;
    }
    return true;
}

int64_t qk_dataset_count_small(const qk_dataset *d)
{
    int64_t sum = 0, max = d->config->dataset.max_samples;
    if (d->rows >= 0 || !is_small(d)) return d->rows;
    for (size_t i = 0; i < d->n_ranges; i++) {
        const range *r = &d->ranges[i];
        int64_t rows, begin, end;
        qk_error ignored;
        if (count_split(d, r->split, enough_rows(d, r->part), &rows, &ignored) != QK_OK) return -1;
        if (rows < 0) return -1;
        qk_split_resolve(r->part, rows, &begin, &end);
        sum += end > begin ? end - begin : 0;
    }
    return max >= 0 && max < sum ? max : sum;
}

void qk_dataset_close(qk_dataset *d)
{
    if (!d) return;
    qk_source_close(d->source);
    qk_names_free(&d->paths);
    qk_data_files_free(&d->files);
    qk_split_parts_free(&d->parts);
    qk_id_free(&d->id);
    qk_watch_free(&d->own_watch);
    free(d->ranges);
    free(d);
}

/* ---- reading ---- */

static qk_status close_file(qk_dataset *d, qk_error *err)
{
    QK_TRY(qk_dataset_check(d, err));
    if (!d->id_type.is_known) d->id_type = d->source->id_type;
    qk_source_close(d->source);
    d->source = NULL;
    d->past_first_file = true;
    d->fetched_ahead = false;
    d->file++;
    return QK_OK;
}

/* Stands the source of the current file on the first row that is wanted. */
static qk_status enter_file(qk_dataset *d, qk_error *err)
{
    const range *r = &d->ranges[d->range];
    if (!d->source) {
        const char *path = r->split->files.items[d->file];
        QK_TRY(need_one(d, path, err));
        QK_TRY(open_file(d, path, err));
    }
    if (d->remote && !d->fetched_ahead) { /* once for each file, on its first row */
        d->fetched_ahead = true;
        const char *path = next_file(d);
        if (path) d->remote->soon(d->remote->context, path);
    }
    if (d->source->at || d->row >= r->begin) return QK_OK;
    qk_status s = qk_source_skip(d->source, r->begin - d->row, err);
    d->row += d->source->at;
    return explain(d, d->source->spec.path, s, err);
}

static qk_status set_id(qk_dataset *d, const qk_cell *cell, qk_example *out, qk_error *err)
{
    if (!d->config->dataset.id_column) {
        out->id = d->index;
        out->id_text = NULL;
        out->id_length = 0;
        return QK_OK;
    }
    const qk_id_type *type = &d->source->id_type, *column = type;
    if (d->id_type.is_known) column = &d->id_type;
    if (d->files.id_type.is_known) column = &d->files.id_type;
    if (qk_cell_to_id(cell, type, column, &d->id, err) != QK_OK)
        return qk_error_prefix(err, "%s: row %lld (from 0)", d->source->spec.path,
                               (long long)d->source->at - 1);
    out->id = d->id.id;
    out->id_text = d->id.text;
    out->id_length = d->id.buf.size;
    return QK_OK;
}

/* Stands on the next row of a file that may have one; *more is false at the end. */
static qk_status seek_row(qk_dataset *d, bool *more, qk_error *err)
{
    int64_t max = d->config->dataset.max_samples;
    QK_TRY(qk_interrupt_check(err));
    QK_TRY(qk_dataset_begin(d, err));
    for (*more = false; d->range < d->n_ranges && (max < 0 || d->index < max);) {
        const range *r = &d->ranges[d->range];
        if (d->file < r->split->files.count && d->row < r->end) {
            QK_TRY(enter_file(d, err));
            *more = true;
            return QK_OK;
        }
        if (d->source) QK_TRY(close_file(d, err));
        if (!d->given && r->sliced) return no_rows(d, r->name, err);
        d->range++;
        d->file = 0;
        d->row = d->given = 0;
    }
    if (d->index || max == 0) return QK_OK;
    return qk_fail(err, QK_ERR_DATA, NULL, "%s: the split '%s' has no rows",
                   d->config->dataset.path, d->config->dataset.split);
}

qk_status qk_dataset_next(qk_dataset *d, qk_example *out, bool *more, qk_error *err)
{
    for (;;) {
        QK_TRY(seek_row(d, more, err));
        if (!*more) return QK_OK;
        qk_row row;
        qk_status s = qk_source_next(d->source, &row, more, err);
        if (s == QK_OK && !*more) {
            QK_TRY(close_file(d, err));
            continue;
        }
        *more = false;
        *out = (qk_example){.index = d->index, .text = row.text.text, .length = row.text.length};
        if (s == QK_OK) s = check_text(d, &row, err);
        if (s == QK_OK) s = set_id(d, &row.id, out, err);
        QK_TRY(explain(d, d->source->spec.path, s, err));
        d->index++;
        d->given++;
        d->row++;
        *more = true;
        return QK_OK;
    }
}

qk_status qk_dataset_skip(qk_dataset *d, int64_t rows, qk_error *err)
{
    bool more = true;
    qk_example e;
    while (rows > 0 && more) {
        QK_TRY(seek_row(d, &more, err));
        if (!more) break;
        if (d->source->rows < 0) {
            QK_TRY(qk_dataset_next(d, &e, &more, err));
            rows--;
            continue;
        }
        /* Rows of the current file, unread. */
        int64_t here = d->source->rows - d->source->at, wanted = d->ranges[d->range].end - d->row;
        if (wanted > rows) wanted = rows;
        if (here > wanted) here = wanted;
        QK_TRY(explain(d, d->source->spec.path, qk_source_skip(d->source, here, err), err));
        d->index += here;
        d->given += here;
        d->row += here;
        rows -= here;
        if (d->source->at == d->source->rows) QK_TRY(close_file(d, err));
    }
    return QK_OK;
}
