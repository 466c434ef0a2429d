/* Races between streams, found whatever the order of a run was.
 *
 * Every stream counts its work. A piece of work knows how far each other stream had certainly come
 * when it began: what its own stream knew, what the events it waited for had seen, and what the
 * host had waited for when it queued it (Lamport, 1978; Fidge, 1988). When two pieces touch the
 * same bytes, one writes, and the later one does not know the earlier one, nothing orders them.
 *
 * Bytes are told apart in pieces of EMU_GRANULE, which is what device memory is aligned to.
 *
 * next: tests/fake_cuda/memory.c */
#include "engine/base/mem.h"
#include "kernels/emulator/emulator.h"
#include "tests/fake_cuda/fake.h"

enum { READERS = 3 };

typedef struct access {
    uint32_t tick; /* 0: nobody */
    int slot;
} access;

typedef struct piece {
    access write, reads[READERS];
} piece;

struct fake_history {
    access blamed; /* work that was reported already */
    piece pieces[];
};

fake_history *fake_history_new(size_t bytes)
{
    return qk_zalloc(1, sizeof(fake_history) + (bytes / EMU_GRANULE + 1) * sizeof(piece));
}

static bool unordered(const fake_work *w, access before)
{
    return before.tick && before.slot != w->slot && before.tick > w->clock.tick[before.slot];
}

static void note_read(piece *p, access now)
{
    for (int i = 0; i < READERS; i++)
        if (!p->reads[i].tick || p->reads[i].slot == now.slot) {
            p->reads[i] = now;
            return;
        }
    p->reads[0] = now; /* four streams that read one piece: the first is forgotten */
}

void fake_touch(const fake_work *w, fake_history *h, size_t offset, size_t bytes, bool write,
                const char *name)
{
    const access now = {w->clock.tick[w->slot], w->slot};
    for (size_t i = offset / EMU_GRANULE; i <= (offset + bytes - 1) / EMU_GRANULE; i++) {
        piece *p = &h->pieces[i];
        const access *other = unordered(w, p->write) ? &p->write : NULL;
        for (int r = 0; write && r < READERS; r++)
            if (unordered(w, p->reads[r])) other = &p->reads[r];
        if (other && (h->blamed.tick != now.tick || h->blamed.slot != now.slot)) {
            fake_fault("race: %s %s %s near byte %zu, which work of another stream %s, and no "
                       "event orders them",
                       w->what, write ? "writes" : "reads", name, i * EMU_GRANULE,
                       other == &p->write ? "writes" : "reads");
            h->blamed = now;
        }
        if (write)
            p->write = now;
        else
            note_read(p, now);
    }
}
