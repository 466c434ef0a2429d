/* See example_texts.h. */
#include "engine/output/example_texts.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "sampler/seed.h"

static uint64_t digest_of(const qk_unit_example *e)
{
    uint64_t digest = 0;
    for (int i = 0; i < 8; i++) digest = digest << 8 | e->sha256[i];
    return digest ? digest : 1;
}

/* The slot of a text, or the free one where it belongs. */
static struct qk_text_slot *slot_of(const qk_texts *t, int64_t id, uint64_t digest,
                                    uint64_t *probes)
{
    size_t i = qk_seed_mix((uint64_t)id ^ qk_seed_mix(digest ^ t->key)) & (t->capacity - 1);
    for (++*probes; t->slots[i].digest; ++*probes) {
        if (t->slots[i].id == id && t->slots[i].digest == digest) break;
        i = (i + 1) & (t->capacity - 1);
    }
    return &t->slots[i];
}

static void grow(qk_texts *t)
{
    struct qk_text_slot *old = t->slots;
    size_t n = t->capacity;
    t->capacity = n ? 2 * n : 1024;
    t->slots = qk_zalloc(t->capacity, sizeof *t->slots);
    t->key = qk_seed_mix((uintptr_t)t->slots);
    for (size_t i = 0; i < n; i++)
        if (old[i].digest) *slot_of(t, old[i].id, old[i].digest, &t->probes) = old[i];
    free(old);
}

/* What is known of an id whose text is new. */
static qk_text look_at_id(const qk_texts *t, int64_t id)
{
    if (qk_id_index_has(&t->there, id)) return QK_TEXT_OTHER;
    return qk_id_index_has(&t->ids, id) ? QK_TEXT_AGAIN : QK_TEXT_NEW;
}

qk_text qk_texts_find(const qk_texts *t, const qk_unit_example *e)
{
    uint64_t probes = 0;
    bool known = t->capacity && slot_of(t, e->id, digest_of(e), &probes)->digest;
    return known ? QK_TEXT_KNOWN : look_at_id(t, e->id);
}

qk_text qk_texts_add(qk_texts *t, const qk_unit_example *e, qk_text_side side)
{
    if (3 * (t->count + 1) > 2 * t->capacity) grow(t);
    uint64_t digest = digest_of(e);
    struct qk_text_slot *slot = slot_of(t, e->id, digest, &t->probes);
    if (slot->digest) return QK_TEXT_KNOWN;
    qk_text known = look_at_id(t, e->id);
    *slot = (struct qk_text_slot){e->id, digest, (int64_t)(2 * (uint64_t)e->index + side)};
    t->count++;
    qk_id_index_add(&t->ids, e->id);
    if (side == QK_TEXT_THERE) qk_id_index_add(&t->there, e->id);
    return known;
}

void qk_texts_free(qk_texts *t)
{
    qk_id_index_free(&t->ids);
    qk_id_index_free(&t->there);
    free(t->slots);
    *t = (qk_texts){0};
}

static qk_status add_there(void *context, const qk_unit_example *e, qk_error *err)
{
    (void)err;
    qk_texts_add(context, e, QK_TEXT_THERE);
    return QK_OK;
}

qk_status qk_texts_read(qk_texts *t, const char *path, qk_error *err)
{
    return qk_examples_read(path, add_there, t, err);
}

/* Another text of the example's id: one that was there before one that comes, then by index. */
static const struct qk_text_slot *find_other(const qk_texts *t, const qk_unit_example *e)
{
    const struct qk_text_slot *best = NULL;
    uint64_t digest = digest_of(e);
    for (size_t i = 0; i < t->capacity; i++) {
        const struct qk_text_slot *s = &t->slots[i];
        if (!s->digest || s->id != e->id || s->digest == digest) continue;
        bool sooner = best && (s->order & 1) == (best->order & 1) && s->order < best->order;
        if (!best || sooner || (s->order & 1) < (best->order & 1)) best = s;
    }
    return best;
}

/* "the id 7 ('x') stands for two texts: example 3 of there (SHA-256 of its tokens 01...) and
 * example 5 of comes (89...)". The caller frees. */
static char *describe(const qk_texts *t, const qk_unit_example *e, const char *there,
                      const char *comes)
{
    const struct qk_text_slot *other = find_other(t, e);
    QK_ASSERT(other);
    const char *text = e->id_text ? e->id_text : "";
    bool was_there = (other->order & 1) == QK_TEXT_THERE;
    return qk_strf("the id %lld%s%.80s%s stands for two texts: example %lld of %s (SHA-256 of its "
                   "tokens %016llx...) and example %lld of %s (%016llx...)",
                   (long long)e->id, *text ? " ('" : "", text, *text ? "')" : "",
                   (long long)(other->order >> 1), was_there ? there : comes,
                   (unsigned long long)other->digest, (long long)e->index, comes,
                   (unsigned long long)digest_of(e));
}

qk_status qk_texts_refuse(const qk_texts *t, const qk_unit_example *e, const char *there,
                          const char *comes, const char *hint, qk_error *err)
{
    char *text = describe(t, e, there, comes);
    qk_fail(err, QK_ERR_DATA, hint, "%s", text);
    free(text);
    return err->status;
}

void qk_texts_warn(const qk_texts *t, const qk_unit_example *e)
{
    char *text = describe(t, e, "this run", "this run");
    qk_warn("%s; of rows at the same position the first is kept", text);
    free(text);
}
