/* engine/config/listed_file: any bytes as a file of positions. What is read is in order, and every
 * example finds its own. */
#include "tests/fuzz/fuzz.h"

#include "engine/config/listed_file.h"
#include "sampler/sampler.h"

static void check_list(const qk_listed *l, const int32_t *positions, uint32_t count)
{
    QK_ASSERT(count <= l->n_positions);
    for (uint32_t i = 0; i < count; i++) {
        QK_ASSERT(positions[i] >= 0 && positions[i] < QK_SAMPLER_MAX_TOKENS);
        QK_ASSERT(!i || positions[i - 1] < positions[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1 << 16) return 0;
    const char *path = fuzz_file("positions.jsonl", data, size);
    qk_arena arena = {0};
    qk_listed l;
    qk_error err = {0};
    if (qk_listed_read(&l, path, &arena, &err) == QK_OK) {
        int32_t count;
        size_t sum = l.others.count;
        QK_ASSERT(l.n_examples || l.has_others);
        check_list(&l, l.positions + l.others.first, l.others.count);
        for (size_t i = 0; i < l.n_examples; i++) {
            const qk_listed_example *e = &l.examples[i];
            QK_ASSERT(!i || l.examples[i - 1].id < e->id);
            const int32_t *positions = qk_listed_of(&l, e->id, &count);
            QK_ASSERT((uint32_t)count == e->count);
            check_list(&l, positions, e->count);
            sum += e->count;
        }
        QK_ASSERT(sum == l.n_positions);
    } else {
        QK_ASSERT(*err.message);
    }
    qk_arena_free(&arena);
    return 0;
}
