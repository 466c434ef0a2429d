/* See id_index.h. */
#include "engine/output/id_index.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/json.h"
#include "sampler/example_id.h"
#include "sampler/seed.h"

/* The slot of a stored id, or the free one where it belongs. Every bit of the id moves the place:
 * the low bits of a plain product would keep the zeros that ids such as i << 16 end with. The key
 * differs from table to table, so no dataset can choose ids that meet. */
static size_t slot_of(const qk_id_index *b, int32_t stored, uint64_t *probes)
{
    size_t i = qk_seed_mix((uint32_t)stored ^ b->key) & (b->capacity - 1);
    for (++*probes; b->sharing[i]; ++*probes) {
        if (qk_example_id_stored(b->ids[i]) == stored) break;
        i = (i + 1) & (b->capacity - 1);
    }
    return i;
}

static void grow(qk_id_index *b)
{
    qk_id_index bigger = {.capacity = b->capacity ? 2 * b->capacity : 1024,
                          .count = b->count,
                          .others = b->others,
                          .probes = b->probes};
    bigger.ids = qk_alloc(bigger.capacity, sizeof *bigger.ids);
    bigger.sharing = qk_zalloc(bigger.capacity, sizeof *bigger.sharing);
    bigger.key = qk_seed_mix((uintptr_t)bigger.ids);
    for (size_t i = 0; i < b->capacity; i++) {
        if (!b->sharing[i]) continue;
        size_t to = slot_of(&bigger, qk_example_id_stored(b->ids[i]), &bigger.probes);
        bigger.ids[to] = b->ids[i];
        bigger.sharing[to] = b->sharing[i];
    }
    free(b->ids);
    free(b->sharing);
    *b = bigger;
}

bool qk_id_index_add(qk_id_index *b, int64_t id)
{
    size_t used = b->count - b->others.count;
    if (3 * (used + 1) > 2 * b->capacity) grow(b);
    size_t i = slot_of(b, qk_example_id_stored(id), &b->probes);
    if (!b->sharing[i])
        b->ids[i] = id;
    else if (b->ids[i] == id || !qk_pair_set_add(&b->others, id, 0))
        return false;
    b->sharing[i]++;
    b->count++;
    return true;
}

bool qk_id_index_has(const qk_id_index *b, int64_t id)
{
    int64_t first;
    uint32_t sharing = qk_id_index_find(b, qk_example_id_stored(id), &first);
    return sharing && (first == id || (sharing > 1 && qk_pair_set_has(&b->others, id, 0)));
}

uint32_t qk_id_index_find(const qk_id_index *b, int32_t stored, int64_t *id)
{
    uint64_t probes = 0;
    if (!b->capacity) return 0;
    size_t i = slot_of(b, stored, &probes);
    if (b->sharing[i]) *id = b->ids[i];
    return b->sharing[i];
}

void qk_id_index_free(qk_id_index *b)
{
    free(b->ids);
    free(b->sharing);
    qk_pair_set_free(&b->others);
    *b = (qk_id_index){0};
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
