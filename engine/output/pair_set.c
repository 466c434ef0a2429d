/* See pair_set.h. Open addressing with linear probing; the key keeps datasets from choosing ids
 * that meet. */
#include "engine/output/pair_set.h"

#include <stdlib.h>

#include "sampler/seed.h"

/* The slot of a pair, or the free one where it belongs. */
static size_t slot_of(const qk_pair_set *set, int64_t id, int32_t position, uint64_t *probes)
{
    uint64_t hash = qk_seed_mix((uint64_t)id ^ qk_seed_mix(set->key + (uint64_t)position + 1));
    size_t i = hash & (set->capacity - 1);
    for (++*probes; set->slots[i].position >= 0; ++*probes) {
        if (set->slots[i].id == id && set->slots[i].position == position) break;
        i = (i + 1) & (set->capacity - 1);
    }
    return i;
}

static void grow(qk_pair_set *set)
{
    qk_pair_set bigger = {.capacity = set->capacity ? 2 * set->capacity : 1024,
                          .count = set->count,
                          .probes = set->probes};
    bigger.slots = qk_alloc(bigger.capacity, sizeof *bigger.slots);
    bigger.key = qk_seed_mix((uintptr_t)bigger.slots);
    for (size_t i = 0; i < bigger.capacity; i++) bigger.slots[i].position = -1;
    for (size_t i = 0; i < set->capacity; i++) {
        struct qk_pair p = set->slots[i];
        if (p.position < 0) continue;
        bigger.slots[slot_of(&bigger, p.id, (int32_t)p.position, &bigger.probes)] = p;
    }
    free(set->slots);
    *set = bigger;
}

bool qk_pair_set_has(const qk_pair_set *set, int64_t id, int32_t position)
{
    uint64_t probes = 0;
    return set->capacity && set->slots[slot_of(set, id, position, &probes)].position >= 0;
}

bool qk_pair_set_add(qk_pair_set *set, int64_t id, int32_t position)
{
    if (3 * (set->count + 1) > 2 * set->capacity) grow(set);
    size_t i = slot_of(set, id, position, &set->probes);
    if (set->slots[i].position >= 0) return false;
    set->slots[i] = (struct qk_pair){id, position};
    set->count++;
    return true;
}

void qk_pair_set_free(qk_pair_set *set)
{
    free(set->slots);
    *set = (qk_pair_set){0};
}
