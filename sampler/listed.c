/* Look-ups in listed positions. See listed.h; next: engine/config/listed_file.h */
#include "sampler/listed.h"

const qk_listed_example *qk_listed_own(const qk_listed *listed, int64_t id)
{
    size_t low = 0, high = listed->n_examples;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (listed->examples[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    bool own = low < listed->n_examples && listed->examples[low].id == id;
    return own ? &listed->examples[low] : NULL;
}

const int32_t *qk_listed_of(const qk_listed *listed, int64_t id, int32_t *count)
{
    const qk_listed_example *own = qk_listed_own(listed, id), *e = own ? own : &listed->others;
    *count = (int32_t)e->count;
    return *count ? listed->positions + e->first : NULL;
}

double qk_listed_mean(const qk_listed *listed)
{
    size_t lists = listed->n_examples + listed->has_others;
    return lists ? (double)listed->n_positions / (double)lists : 0;
}
