/* Token strings and their ids. See vocab.h. */
#include "engine/tokenizer/vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool qk_vocab_is(const qk_vocab *v, int64_t id, const void *text, size_t length)
{
    if (id < 0 || (size_t)id >= v->size || v->entries[id].length != length) return false;
    return !length || !memcmp(v->bytes.data + v->entries[id].offset, text, length);
}

/* The slot of this string, or the free one where it belongs. */
static size_t find_slot(const qk_vocab *v, uint64_t hash, const void *text, size_t length)
{
    size_t mask = v->slot_count - 1, i = (size_t)(hash >> 32) & mask;
    for (uint64_t slot; (slot = v->slots[i]); i = (i + 1) & mask) {
        if (slot >> 32 != hash >> 32) continue;
        const qk_vocab_entry *e = &v->entries[(uint32_t)slot - 1];
        if (e->length == length && (!length || !memcmp(v->bytes.data + e->offset, text, length)))
            break;
    }
    return i;
}

static void grow_slots(qk_vocab *v)
{
    uint64_t *old = v->slots;
    size_t n = v->slot_count;
    v->slot_count = n ? 2 * n : 1024;
    v->slots = qk_zalloc(v->slot_count, sizeof *v->slots);
    size_t mask = v->slot_count - 1;
    for (size_t k = 0; k < n; k++) {
        if (!old[k]) continue;
        size_t i = (size_t)(old[k] >> 32) & mask;
        while (v->slots[i]) i = (i + 1) & mask;
        v->slots[i] = old[k];
    }
    free(old);
}

bool qk_vocab_add(qk_vocab *v, const char *text, size_t length, int64_t id)
{
    if (id < 0 || id > QK_MAX_TOKEN_ID || length >= UINT32_MAX - v->bytes.size - 1) return false;
    if ((size_t)id < v->size && v->entries[id].offset != UINT32_MAX) return false;
    if (2 * (v->count + 1) > v->slot_count) grow_slots(v);
    uint64_t hash = qk_hash_bytes(text, length);
    size_t slot = find_slot(v, hash, text, length);
    if (v->slots[slot]) return false;
    v->crowded = ((slot - (size_t)(hash >> 32)) & (v->slot_count - 1)) > QK_MAX_PROBES;
    if (v->crowded) return false;
    if ((size_t)id >= v->capacity) {
        v->capacity = (size_t)id + 1 > 2 * v->capacity ? (size_t)id + 1 : 2 * v->capacity;
        v->entries = qk_realloc(v->entries, v->capacity, sizeof *v->entries);
    }
    for (; v->size <= (size_t)id; v->size++)
        v->entries[v->size] = (qk_vocab_entry){UINT32_MAX, UINT32_MAX};
    v->slots[slot] = (hash >> 32 << 32) | (uint32_t)(id + 1);
    v->entries[id] = (qk_vocab_entry){(uint32_t)v->bytes.size, (uint32_t)length};
    v->count++;
    qk_buf_add(&v->bytes, text, length);
    qk_buf_add_byte(&v->bytes, 0);
    return true;
}

bool qk_vocab_is_spread(const qk_vocab *v)
{
    size_t run = 0, longest = 0;
    for (size_t i = 0; i < v->slot_count; i++) {
        run = v->slots[i] ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    return longest <= QK_MAX_PROBES;
}

int32_t qk_vocab_find(const qk_vocab *v, const void *text, size_t length)
{
    if (!v->slot_count) return -1;
    size_t slot = find_slot(v, qk_hash_bytes(text, length), text, length);
    return (int32_t)(uint32_t)v->slots[slot] - 1;
}

void qk_vocab_find_many(const qk_vocab *v, qk_vocab_query *queries, size_t count)
{
    size_t mask = v->slot_count - 1;
    for (qk_vocab_query *q = queries; q < queries + count; q++) {
        q->hash = qk_hash_bytes(q->text, q->length);
        q->id = -1;
        if (v->slot_count) __builtin_prefetch(&v->slots[q->hash >> 32 & mask]);
    }
    if (!v->slot_count) return;
    for (qk_vocab_query *q = queries; q < queries + count; q++) {
        q->id = (int32_t)(uint32_t)v->slots[q->hash >> 32 & mask] - 1;
        if (q->id >= 0) __builtin_prefetch(&v->entries[q->id]);
    }
    for (qk_vocab_query *q = queries; q < queries + count; q++)
        if (q->id >= 0) __builtin_prefetch(v->bytes.data + v->entries[q->id].offset);
    for (qk_vocab_query *q = queries; q < queries + count; q++)
        q->id = (int32_t)(uint32_t)v->slots[find_slot(v, q->hash, q->text, q->length)] - 1;
}

void qk_vocab_find_bytes(const qk_vocab *v, int32_t ids[256])
{
    for (unsigned b = 0; b < 256; b++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", b);
        ids[b] = qk_vocab_find(v, name, 6);
    }
}

bool qk_has_bytes(const int32_t ids[256], const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ids[bytes[i]] < 0) return false;
    return true;
}

const char *qk_vocab_text(const qk_vocab *v, int64_t id, size_t *length)
{
    if (id < 0 || (size_t)id >= v->size || v->entries[id].offset == UINT32_MAX) return NULL;
    if (length) *length = v->entries[id].length;
    return (const char *)v->bytes.data + v->entries[id].offset;
}

void qk_vocab_free(qk_vocab *v)
{
    qk_buf_free(&v->bytes);
    free(v->entries);
    free(v->slots);
    *v = (qk_vocab){0};
}
