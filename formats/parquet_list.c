/* Lists of float: the vectors of a capture. See parquet_read.h.
 *
 * Levels of a row of two elements, in list<float> whose list and elements may be null:
 *   repetition 0 1   definition 3 3;   null list: 0, 0;   empty list: 0, 1;   null element: x, 2 */
#include "formats/parquet_cursor.h"

#include <string.h>

/* Floats of a batch at most, unless one row has more. */
static const size_t max_floats = (size_t)4 << 20;

static qk_status read_levels(qk_pq_rle *r, uint32_t *out, size_t n, uint32_t max, qk_error *err)
{
    if (!qk_pq_rle_read(r, out, n))
        return qk_fail(err, QK_ERR_FORMAT, NULL,
                       "the page holds fewer levels than its header says");
    for (size_t i = 0; i < n; i++)
        if (out[i] > max)
            return qk_fail(err, QK_ERR_FORMAT, NULL, "level %u exceeds %u", out[i], max);
    return QK_OK;
}

static qk_status fill_piece(qk_pq_cursor *c, qk_error *err)
{
    const uint32_t max = (uint32_t)c->leaf->max_def;
    size_t n = c->page_left < QK_PQ_PIECE ? (size_t)c->page_left : QK_PQ_PIECE, present = 0;
    QK_TRY(read_levels(&c->repetition, c->repetitions, n, 1, err));
    QK_TRY(read_levels(&c->definition, c->definitions, n, max, err));
    for (size_t i = 0; i < n; i++) present += c->definitions[i] == max;
    QK_TRY(qk_pq_decoder_read(&c->decoder, c->elements, present, err));
    c->page_left -= n;
    c->piece_at = c->element_at = 0;
    c->piece_n = n;
    return QK_OK;
}

/* Whether the row group has another element or row; then c->piece_at is at it. */
static qk_status peek(qk_pq_cursor *c, bool *more, qk_error *err)
{
    *more = true;
    if (c->piece_at < c->piece_n) return QK_OK;
    *more = c->page_left > 0 || c->chunk_left > 0;
    if (!*more) return QK_OK;
    if (c->page_left == 0) QK_TRY(qk_pq_cursor_page(c, NULL, more, err));
    return fill_piece(c, err) == QK_OK ? QK_OK : qk_pq_cursor_fail(c, err);
}

/* Goes to the first level of the next row, perhaps in another row group. */
static qk_status begin_row(qk_pq_cursor *c, uint64_t *skip, bool *more, qk_error *err)
{
    QK_TRY(peek(c, more, err));
    if (!*more && c->rows_left) {
        qk_fail(err, QK_ERR_FORMAT, NULL, "the column ends %lld rows too early",
                (long long)c->rows_left);
        return qk_pq_cursor_fail(c, err);
    }
    if (!*more) {
        QK_TRY(qk_pq_cursor_page(c, skip, more, err));
        if (!*more) return QK_OK;
        QK_TRY(peek(c, more, err));
    }
    if (c->repetitions[c->piece_at] == 0 && c->rows_left-- > 0) return QK_OK;
    qk_fail(err, QK_ERR_FORMAT, NULL,
            c->repetitions[c->piece_at] ? "the first row continues a row that is not there"
                                        : "there are more rows than the row group has");
    return qk_pq_cursor_fail(c, err);
}

/* One row into out[size], or past it when out is NULL. */
static qk_status read_row(qk_pq_cursor *c, float *out, size_t size, uint8_t *valid, qk_error *err)
{
    const uint32_t present = (uint32_t)c->leaf->max_def;
    const uint32_t in_list = (uint32_t)c->leaf->list_def;
    uint32_t level = c->definitions[c->piece_at];
    uint64_t n = 0;
    *valid = level + 1 >= in_list;
    if (level < in_list) c->piece_at++;
    for (bool more = level >= in_list; more;) {
        level = c->definitions[c->piece_at++];
        if (level == present) {
            if (out && n < size) out[n] = c->elements[c->element_at];
            c->element_at++;
        } else if (out) {
            qk_fail(err, QK_ERR_DATA, NULL, "an element of a list is null");
            return qk_pq_cursor_fail(c, err);
        }
        n++;
        QK_TRY(peek(c, &more, err));
        more = more && c->repetitions[c->piece_at] == 1;
    }
    if (!out || n == size) return QK_OK;
    if (*valid) {
        qk_fail(err, QK_ERR_DATA, NULL, "a list of %llu elements, not %zu", (unsigned long long)n,
                size);
        return qk_pq_cursor_fail(c, err);
    }
    memset(out, 0, size * sizeof *out);
    return QK_OK;
}

static qk_status check_list(const qk_pq_cursor *c, qk_error *err)
{
    if (c->leaf->type == QK_PQ_T_FLOAT && c->leaf->max_rep == 1) return QK_OK;
    return qk_fail(err, QK_ERR_UNSUPPORTED, NULL, "%s: the column '%s' is no list of 32-bit floats",
                   c->file->path, c->leaf->path);
}

qk_status qk_pq_next_floats(qk_pq_cursor *c, size_t list_size, size_t max_rows, qk_pq_batch *batch,
                            qk_error *err)
{
    size_t n = 0, bytes, limit = max_floats / (list_size ? list_size : 1);
    bool more = true;
    *batch = (qk_pq_batch){.type = QK_PQ_T_FLOAT};
    QK_TRY(check_list(c, err));
    if (max_rows > limit) max_rows = limit;
    if (max_rows == 0) max_rows = 1;
    if (!qk_mul(max_rows * sizeof(float), list_size, &bytes))
        return qk_fail(err, QK_ERR_USAGE, NULL, "lists of %zu elements", list_size);
    QK_TRY(qk_pq_scratch_reserve(&c->values, bytes + 1, "a batch of lists", err));
    QK_TRY(qk_pq_scratch_reserve(&c->valid, max_rows, "a batch of lists", err));
    float *values = c->values.data;
    uint8_t *valid = c->valid.data;
    for (; n < max_rows; n++) {
        QK_TRY(begin_row(c, NULL, &more, err));
        if (!more) break;
        QK_TRY(read_row(c, values + n * list_size, list_size, &valid[n], err));
    }
    batch->n = n;
    batch->values = values;
    batch->valid = valid;
    return QK_OK;
}

qk_status qk_pq_skip_lists(qk_pq_cursor *c, uint64_t rows, qk_error *err)
{
    uint8_t valid;
    bool more = true;
    QK_TRY(check_list(c, err));
    while (rows > 0) {
        QK_TRY(begin_row(c, &rows, &more, err));
        if (!more) break;
        if (!rows) { /* row groups were passed over up to here: the row is not to be skipped */
            c->rows_left++;
            break;
        }
        QK_TRY(read_row(c, NULL, 0, &valid, err));
        rows--;
    }
    return QK_OK;
}
