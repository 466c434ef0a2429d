/* See id_book.h. */
#include "engine/id_book.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/json.h"
#include "sampler/example_id.h"

static size_t home(const qk_id_book *b, int32_t stored)
{
    return ((uint32_t)stored * 2654435769u) & (b->capacity - 1); /* Knuth's multiplicative hash */
}

static bool put(qk_id_book *b, int64_t id)
{
    size_t i = home(b, qk_example_id_stored(id));
    for (; b->used[i]; i = (i + 1) & (b->capacity - 1))
        if (b->ids[i] == id) return false;
    b->ids[i] = id;
    b->used[i] = true;
    b->count++;
    return true;
}

bool qk_id_book_add(qk_id_book *b, int64_t id)
{
    if (2 * (b->count + 1) > b->capacity) {
        qk_id_book bigger = {.capacity = b->capacity ? 2 * b->capacity : 1024};
        bigger.ids = qk_alloc(bigger.capacity, sizeof *bigger.ids);
        bigger.used = qk_zalloc(bigger.capacity, sizeof *bigger.used);
        for (size_t i = 0; i < b->capacity; i++)
            if (b->used[i]) put(&bigger, b->ids[i]);
        qk_id_book_free(b);
        *b = bigger;
    }
    return put(b, id);
}

int qk_id_book_find(const qk_id_book *b, int32_t stored, int64_t *id)
{
    int n = 0;
    if (!b->capacity) return 0;
    for (size_t i = home(b, stored); b->used[i]; i = (i + 1) & (b->capacity - 1))
        if (qk_example_id_stored(b->ids[i]) == stored) {
            *id = b->ids[i];
            n++;
        }
    return n;
}

void qk_id_book_free(qk_id_book *b)
{
    free(b->ids);
    free(b->used);
    *b = (qk_id_book){0};
}

/* ---- runs ---- */

void qk_id_runs_add(qk_id_runs *runs, uint64_t row, int64_t id)
{
    qk_id_run *last = runs->count ? &runs->items[runs->count - 1] : NULL;
    if (last && last->id == id && last->first + last->rows == row) {
        last->rows++;
        return;
    }
    QK_GROW(runs->items, runs->count, runs->capacity);
    runs->items[runs->count++] = (qk_id_run){row, 1, id};
}

bool qk_id_runs_find(const qk_id_runs *runs, uint64_t row, int64_t *id)
{
    size_t low = 0, high = runs->count;
    while (low < high) { /* the first run that ends behind the row */
        size_t mid = low + (high - low) / 2;
        if (runs->items[mid].first + runs->items[mid].rows <= row)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == runs->count || row < runs->items[low].first) return false;
    *id = runs->items[low].id;
    return true;
}

char *qk_id_runs_write(const qk_id_runs *runs)
{
    if (!runs->count) return NULL;
    qk_json_out o = {.compact = true};
    qk_json_begin(&o, NULL, '[');
    for (size_t i = 0; i < runs->count; i++) {
        char id[32];
        snprintf(id, sizeof id, "%lld", (long long)runs->items[i].id);
        qk_json_begin(&o, NULL, '[');
        qk_json_add_int(&o, NULL, (int64_t)runs->items[i].first);
        qk_json_add_int(&o, NULL, (int64_t)runs->items[i].rows);
        qk_json_add_str(&o, NULL, id);
        qk_json_end(&o, ']');
    }
    qk_json_end(&o, ']');
    return (char *)qk_buf_str(&o.buf); /* a heap block of its own */
}

static bool read_run(const qk_json *v, qk_id_run *run)
{
    const qk_json *rows = v->first ? v->first->next : NULL, *id = rows ? rows->next : NULL;
    if (v->type != QK_JSON_T_ARRAY || v->count != 3 || !v->first->is_integer || !rows->is_integer ||
        id->type != QK_JSON_T_STRING || v->first->integer < 0 || rows->integer < 1)
        return false;
    *run = (qk_id_run){(uint64_t)v->first->integer, (uint64_t)rows->integer,
                       strtoll(id->text, NULL, 10)};
    return true;
}

qk_status qk_id_runs_read(qk_id_runs *runs, const char *text, const char *path, qk_error *err)
{
    *runs = (qk_id_runs){0};
    if (!text) return QK_OK;
    qk_arena arena = {0};
    const qk_json *root;
    qk_status s = qk_json_parse(&arena, text, strlen(text), path, &root, err);
    for (const qk_json *v = s == QK_OK ? root->first : NULL; v && s == QK_OK; v = v->next) {
        QK_GROW(runs->items, runs->count, runs->capacity);
        qk_id_run *run = &runs->items[runs->count];
        uint64_t end = runs->count ? run[-1].first + run[-1].rows : 0;
        if (!read_run(v, run) || run->first < end)
            s = qk_fail(err, QK_ERR_FORMAT, NULL,
                        "%s: the metadata 'qkengine.shared_ids' is damaged", path);
        runs->count++;
    }
    qk_arena_free(&arena);
    if (s != QK_OK) qk_id_runs_free(runs);
    return s;
}

void qk_id_runs_free(qk_id_runs *runs)
{
    free(runs->items);
    *runs = (qk_id_runs){0};
}
