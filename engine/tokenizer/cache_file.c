/* Tables of a tokenizer on disk. See cache_file.h. */
#include "engine/tokenizer/cache_file.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { VERSION = 1, ALIGN = 64, CHUNK = 1 << 16, BYTE_ORDER_MARK = 0x01020304 };

enum { BYTES, OFFSETS, LENGTHS, SLOTS, MERGES, MERGING, TEXT, SECTIONS };
static const size_t item_sizes[SECTIONS] = {1, 4, 4, sizeof(uint64_t), sizeof(qk_merge), 1, 1};

typedef struct cache_header {
    char magic[8];
    uint32_t version, byte_order;
    uint64_t checksum;         /* of the whole file, with 0 here */
    uint64_t counts[SECTIONS]; /* items */
    uint64_t tokens, merges;   /* used slots */
    uint8_t key[32];
    uint8_t glued[256];
} cache_header;
_Static_assert(sizeof(cache_header) % ALIGN == 0, "sections begin behind the header");

static const char MAGIC[8] = "QKTOKEN";

/* One of eight lanes; each step is a bijection, so that no single change goes unseen. */
static inline uint64_t step(uint64_t lane, const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, 8);
    return (lane ^ word) * 0xD6E8FEB86659FD93u;
}

/* n is a multiple of ALIGN. Eight lanes keep a core's multiplier busy. */
static uint64_t checksum(uint64_t seed, const uint8_t *p, size_t n)
{
    uint64_t a = seed, b = ~seed, c = seed + 2, d = seed + 3, e = seed + 5, f = seed + 7,
             g = seed + 11, h = seed + 13;
    for (const uint8_t *end = p + n; p < end; p += ALIGN) {
        a = step(a, p);
        b = step(b, p + 8);
        c = step(c, p + 16);
        d = step(d, p + 24);
        e = step(e, p + 32);
        f = step(f, p + 40);
        g = step(g, p + 48);
        h = step(h, p + 56);
    }
    uint64_t lanes[8] = {a, b, c, d, e, f, g, h}, sum = 0;
    for (int k = 0; k < 8; k++) {
        sum = (sum ^ lanes[k]) * 0x9E3779B97F4A7C15u;
        sum ^= sum >> 32;
    }
    return sum;
}

/* What the hash slots of a file hold. Collected chunk by chunk while the checksum is made, because
 * reading them a second time would take as long again. */
typedef struct slot_audit {
    const uint8_t *slots, *merges, *end; /* the two sections lie side by side */
    uint64_t used, merges_used;
    uint32_t most_id;    /* of the vocabulary's slots, plus 1 */
    bool bad;            /* a slot that is not free names no token */
    int32_t least, most; /* of merges; the ids of free slots are -1 */
} slot_audit;

static void audit_slots(slot_audit *a, const uint64_t *slots, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t id = (uint32_t)slots[i];
        a->bad |= slots[i] && !id;
        a->most_id = a->most_id > id ? a->most_id : id;
        a->used += slots[i] != 0;
    }
}

static void audit_merges(slot_audit *a, const qk_merge *merges, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t pair = merges[i].pair;
        int32_t left = (int32_t)(pair >> 32), right = (int32_t)pair, joined = merges[i].joined;
        int32_t high = left > right ? left : right, low = left < right ? left : right;
        high = high > joined ? high : joined;
        low = low < joined ? low : joined;
        a->most = a->most > high ? a->most : high;
        a->least = a->least < low ? a->least : low;
        a->merges_used += pair != UINT64_MAX;
    }
}

/* A chunk [p, p + n): begins and ends at multiples of ALIGN, so it cuts no slot. */
static void audit(slot_audit *a, const uint8_t *p, size_t n)
{
    const uint8_t *end = p + n, *from = p > a->slots ? p : a->slots;
    const uint8_t *to = end < a->merges ? end : a->merges;
    if (from < to) audit_slots(a, (const uint64_t *)from, (size_t)(to - from) / sizeof(uint64_t));
    from = p > a->merges ? p : a->merges;
    to = end < a->end ? end : a->end;
    if (from < to) audit_merges(a, (const qk_merge *)from, (size_t)(to - from) / sizeof(qk_merge));
}

/* Of the header, with 0 for the sum itself, and of what follows it. audit may be NULL. */
static uint64_t sum_file(const cache_header *header, const uint8_t *rest, size_t n,
                         slot_audit *slots)
{
    cache_header h = *header;
    h.checksum = 0;
    uint64_t sum = checksum(VERSION, (const uint8_t *)&h, sizeof h);
    for (size_t at = 0; at < n; at += CHUNK) {
        size_t part = n - at < CHUNK ? n - at : CHUNK;
        sum = checksum(sum, rest + at, part);
        if (slots) audit(slots, rest + at, part);
    }
    return sum;
}

/* Where each section begins; the last is the end of the file. false: sizes out of all reason. */
static bool lay_out(const cache_header *h, size_t starts[SECTIONS + 1])
{
    starts[0] = sizeof *h;
    for (int i = 0; i < SECTIONS; i++) {
        if (h->counts[i] > UINT32_MAX) return false;
        size_t end = starts[i] + h->counts[i] * item_sizes[i];
        starts[i + 1] = (end + ALIGN - 1) / ALIGN * ALIGN;
    }
    return true;
}

/* ---- reading ---- */

/* Tables of hash slots: a power of two, and not full, or a search would not end. */
static bool is_table(uint64_t slots, uint64_t used)
{
    return used < slots && (slots & (slots - 1)) == 0;
}

/* Strings lie inside their bytes and end with a NUL; ids without a token have no length. */
static bool check_strings(const qk_vocab *v)
{
    size_t tokens = 0;
    for (size_t i = 0; i < v->size; i++) {
        if (v->offsets[i] == UINT32_MAX) {
            if (v->lengths[i] != UINT32_MAX) return false;
            continue;
        }
        size_t end = (size_t)v->offsets[i] + v->lengths[i];
        if (end >= v->bytes.size || v->bytes.data[end]) return false;
        tokens++;
    }
    return tokens == v->count;
}

static bool check_header(const qk_table_cache_place *place, const qk_map *map, size_t starts[])
{
    const cache_header *h = (const cache_header *)map->data;
    return map->size >= sizeof *h && !memcmp(h->magic, MAGIC, sizeof h->magic) &&
           h->version == VERSION && h->byte_order == BYTE_ORDER_MARK &&
           !memcmp(h->key, place->key, sizeof h->key) && lay_out(h, starts) &&
           starts[SECTIONS] == map->size && h->counts[OFFSETS] == h->counts[LENGTHS] &&
           h->counts[OFFSETS] == h->counts[MERGING] && h->counts[OFFSETS] <= QK_MAX_TOKEN_ID + 1 &&
           is_table(h->counts[SLOTS], h->tokens) &&
           (h->counts[MERGES] ? is_table(h->counts[MERGES], h->merges) : !h->merges);
}

/* No look-up may leave the tables or go on for ever. What they say is as true as their sum. */
static bool check_tables(const cache_header *h, const size_t *starts)
{
    const uint8_t *base = (const uint8_t *)h;
    slot_audit a = {.slots = base + starts[SLOTS],
                    .merges = base + starts[MERGES],
                    .end = base + starts[MERGES] + h->counts[MERGES] * sizeof(qk_merge)};
    uint64_t sum = sum_file(h, base + sizeof *h, starts[SECTIONS] - sizeof *h, &a);
    return sum == h->checksum && !a.bad && a.used == h->tokens && a.merges_used == h->merges &&
           a.most_id <= h->counts[OFFSETS] && a.least >= -1 &&
           (uint64_t)a.most < h->counts[OFFSETS];
}

/* The tables are never written to: a cast is all it takes to hold them where others own theirs. */
static void point_at(qk_bpe *bpe, const cache_header *h, const size_t *starts)
{
    uint8_t *base = (uint8_t *)(uintptr_t)h;
    bpe->vocab = (qk_vocab){.bytes = {base + starts[BYTES], h->counts[BYTES], h->counts[BYTES]},
                            .offsets = (uint32_t *)(base + starts[OFFSETS]),
                            .lengths = (uint32_t *)(base + starts[LENGTHS]),
                            .size = h->counts[OFFSETS],
                            .capacity = h->counts[OFFSETS],
                            .count = h->tokens,
                            .slots = (uint64_t *)(base + starts[SLOTS]),
                            .slot_count = h->counts[SLOTS]};
    bpe->merges = (qk_merge *)(base + starts[MERGES]);
    bpe->merge_slots = h->counts[MERGES];
    bpe->merge_count = h->merges;
    bpe->merging = (bool *)(base + starts[MERGING]);
    for (int i = 0; i < 256; i++) bpe->glued[i] = h->glued[i] != 0;
}

bool qk_table_cache_read(const qk_table_cache_place *place, qk_bpe *bpe, qk_map *map,
                         const char **text, size_t *size)
{
    size_t starts[SECTIONS + 1];
    qk_error ignored = {0};
    if (!place->path) return false;
    /* Whatever keeps the cache from being read, the tables are made anew. */
    if (qk_map_open(map, place->path, &ignored) != QK_OK) return false;
    qk_bpe found = {0};
    const cache_header *h = (const cache_header *)map->data;
    bool ok = check_header(place, map, starts) && check_tables(h, starts);
    if (ok) {
        point_at(&found, h, starts);
        ok = check_strings(&found.vocab);
    }
    if (!ok) {
        qk_map_close(map);
        *map = (qk_map){0};
        return false;
    }
    *bpe = found;
    *text = (const char *)map->data + starts[TEXT];
    *size = h->counts[TEXT];
    return true;
}

void qk_table_cache_release(qk_bpe *bpe, qk_map *map)
{
    if (!map->data) return;
    bpe->vocab = (qk_vocab){0};
    bpe->merges = NULL;
    bpe->merging = NULL;
    qk_map_close(map);
    *map = (qk_map){0};
}

/* ---- writing ---- */

static void fill_file(uint8_t *file, const cache_header *header, const void *const *sections,
                      const size_t *starts)
{
    for (int i = 0; i < SECTIONS; i++)
        if (header->counts[i])
            memcpy(file + starts[i], sections[i], header->counts[i] * item_sizes[i]);
    cache_header h = *header;
    h.checksum = sum_file(&h, file + sizeof h, starts[SECTIONS] - sizeof h, NULL);
    memcpy(file, &h, sizeof h);
}

/* Not flushed to the disk: what a power cut leaves is found damaged. */
static bool put_file(const char *path, const uint8_t *bytes, size_t n)
{
    char *tmp = qk_strf("%s.XXXXXX", path);
    int fd = mkstemp(tmp);
    bool ok = fd >= 0;
    for (size_t at = 0; ok && at < n;) {
        ssize_t wrote = write(fd, bytes + at, n - at);
        ok = wrote > 0;
        if (ok) at += (size_t)wrote;
    }
    if (fd >= 0) {
        ok = close(fd) == 0 && ok;
        ok = ok && rename(tmp, path) == 0;
        if (!ok) unlink(tmp);
    }
    free(tmp);
    return ok;
}

void qk_table_cache_write(const qk_table_cache_place *place, const qk_bpe *bpe, const char *text,
                          size_t size)
{
    size_t starts[SECTIONS + 1];
    qk_error ignored = {0};
    const qk_vocab *v = &bpe->vocab;
    if (!place->path || qk_make_dirs(place->folder, &ignored) != QK_OK) return;
    cache_header h = {
        .version = VERSION,
        .byte_order = BYTE_ORDER_MARK,
        .counts = {v->bytes.size, v->size, v->size, v->slot_count, bpe->merge_slots, v->size, size},
        .tokens = v->count,
        .merges = bpe->merge_count};
    memcpy(h.magic, MAGIC, sizeof h.magic);
    memcpy(h.key, place->key, sizeof h.key);
    for (int i = 0; i < 256; i++) h.glued[i] = bpe->glued[i];
    const void *sections[SECTIONS] = {v->bytes.data, v->offsets,   v->lengths, v->slots,
                                      bpe->merges,   bpe->merging, text};
    void *file;
    if (!lay_out(&h, starts) ||
        qk_try_alloc(&file, starts[SECTIONS], 1, "the tokenizer's cache", &ignored) != QK_OK)
        return;
    memset(file, 0, starts[SECTIONS]);
    fill_file(file, &h, sections, starts);
    put_file(place->path, file, starts[SECTIONS]);
    free(file);
}
