/* Merging symbols, by the length of the piece. See bpe.h.
 *
 *   up to SHORT symbols  the lowest rank is searched again after every merge
 *   up to WINDOW         neighbours wait in a heap
 *   longer               in windows that overlap, so that time is linear and memory stays in cache
 *
 * Why windows are exact: no merge of the whole crosses the boundary of two tokens A B exactly when
 * none does while A B is merged alone. (Until the first crossing, what happens inside A and B is
 * the same in both, in the same order, and both choose the lowest rank.) So tokens are the result
 * when every two neighbours stand side by side in the result of some stretch. A window ends with
 * the token A, inside its result, such that the next window, which begins behind A, begins with the
 * token that followed A. Where it does not, everything is done again with longer windows. */
#include <string.h>

#include "engine/tokenizer/bpe.h"
#include "engine/tokenizer/work.h"

enum { SHORT = 48, WINDOW = 1024, GROWTH = 8, OVERLAP = 8 }; /* overlap: an eighth of a window */

/* ---- short pieces ---- */

#define NO_MERGE UINT64_MAX

/* rank << 32 | joined */
static uint64_t key_of(const qk_bpe *bpe, int32_t left, int32_t right)
{
    const qk_merge *m = qk_bpe_find_merge(bpe, left, right);
    return m ? (uint64_t)m->rank << 32 | (uint32_t)m->joined : NO_MERGE;
}

static void merge_short(const qk_bpe *bpe, qk_bpe_memory *m)
{
    int32_t ids[SHORT];
    uint64_t keys[SHORT]; /* of a symbol and the next one */
    size_t n = m->symbols.count;
    memcpy(ids, m->symbols.items, n * sizeof *ids);
    for (size_t i = 0; i + 1 < n; i++) keys[i] = key_of(bpe, ids[i], ids[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (keys[i] < keys[best]) best = i;
        if (keys[best] == NO_MERGE) break;
        ids[best] = (int32_t)(uint32_t)keys[best];
        n--;
        for (size_t i = best + 1; i < n; i++) {
            ids[i] = ids[i + 1];
            keys[i - 1] = keys[i];
        }
        if (best > 0) keys[best - 1] = key_of(bpe, ids[best - 1], ids[best]);
        if (best + 1 < n) keys[best] = key_of(bpe, ids[best], ids[best + 1]);
    }
    qk_id_array_reserve(&m->tokens, n);
    memcpy(m->tokens.items, ids, n * sizeof *ids);
    m->tokens.count = n;
}

/* ---- the heap ---- */

static void push(qk_bpe_memory *m, uint64_t key)
{
    QK_GROW(m->heap, m->heap_count, m->heap_capacity);
    size_t i = m->heap_count++;
    for (; i > 0 && m->heap[(i - 1) / 2] > key; i = (i - 1) / 2) m->heap[i] = m->heap[(i - 1) / 2];
    m->heap[i] = key;
}

static uint64_t pop(qk_bpe_memory *m)
{
    uint64_t top = m->heap[0], last = m->heap[--m->heap_count];
    size_t i = 0, n = m->heap_count;
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && m->heap[child + 1] < m->heap[child]) child++;
        if (m->heap[child] >= last) break;
        m->heap[i] = m->heap[child];
    }
    m->heap[i] = last;
    return top;
}

/* Queues the pair of a symbol and the next one, when they may merge. */
static void queue_pair(const qk_bpe *bpe, qk_bpe_memory *m, int32_t left)
{
    int32_t right = m->links[left].next;
    if (right < 0) return;
    const qk_merge *merge = qk_bpe_find_merge(bpe, m->links[left].id, m->links[right].id);
    if (merge) push(m, (uint64_t)merge->rank << 32 | (uint32_t)left);
}

/* Merges n > 0 symbols; the tokens are m->links[0], its next, ... */
static void merge_stretch(const qk_bpe *bpe, qk_bpe_memory *m, const int32_t *ids, size_t n)
{
    if (n > m->link_capacity) {
        m->link_capacity = n;
        m->links = qk_realloc(m->links, n, sizeof *m->links);
    }
    qk_symbol *links = m->links;
    for (size_t i = 0; i < n; i++) links[i] = (qk_symbol){ids[i], (int32_t)i - 1, (int32_t)i + 1};
    links[n - 1].next = -1;
    m->heap_count = 0;
    for (size_t i = 0; i + 1 < n; i++) queue_pair(bpe, m, (int32_t)i);
    for (size_t step = 1; m->heap_count; step++) {
        if (step % QK_WORK_CHUNK == 0 && qk_interrupted()) return;
        uint64_t key = pop(m);
        int32_t left = (int32_t)(uint32_t)key, right = links[left].next;
        if (links[left].id < 0 || right < 0) continue;
        const qk_merge *merge = qk_bpe_find_merge(bpe, links[left].id, links[right].id);
        if (!merge || merge->rank != key >> 32) continue; /* one of them has changed since */
        links[left].id = merge->joined;
        links[left].next = links[right].next;
        links[right].id = -1;
        if (links[left].next >= 0) links[links[left].next].prev = left;
        if (links[left].prev >= 0) queue_pair(bpe, m, links[left].prev);
        queue_pair(bpe, m, left);
    }
}

/* ---- windows ---- */

/* false: two windows did not meet. */
static bool merge_windows(const qk_bpe *bpe, qk_bpe_memory *m, size_t window)
{
    const int32_t *ids = m->symbols.items;
    size_t n = m->symbols.count;
    qk_symbol expected = {0}; /* the first token of the next window, `next` symbols long */
    m->tokens.count = 0;
    for (size_t at = 0; at < n && !qk_interrupted();) {
        size_t size = n - at < window ? n - at : window, end = size;
        merge_stretch(bpe, m, ids + at, size);
        if (at && (m->links[0].id != expected.id || m->links[0].next != expected.next))
            return false;
        if (at + size < n) {
            end = size - window / OVERLAP; /* back to where the token that holds it begins */
            while (m->links[end].id < 0) end--;
            if (!end || m->links[end].next < 0) return false;
            expected =
                (qk_symbol){.id = m->links[end].id, .next = m->links[end].next - (int32_t)end};
        }
        for (int32_t i = 0; i >= 0 && (size_t)i < end; i = m->links[i].next) {
            qk_id_array_reserve(&m->tokens, m->tokens.count + 1);
            m->tokens.items[m->tokens.count++] = m->links[i].id;
        }
        at += end;
    }
    return true;
}

void qk_bpe_merge_symbols(const qk_bpe *bpe, qk_bpe_memory *m)
{
    size_t n = m->symbols.count;
    m->tokens.count = 0;
    if (!n) return;
    if (n <= SHORT) {
        merge_short(bpe, m);
        return;
    }
    for (size_t window = WINDOW; !merge_windows(bpe, m, window);) window *= GROWTH;
}
