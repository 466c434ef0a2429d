/* The emulator's race check. Every 4 bytes of shared and every 2 bytes of global memory have a
 * shadow that remembers who wrote them last and who read them since; an access is right when a
 * barrier orders it after those it conflicts with. (Lamport, 1978: happens-before; vector clocks.)
 *
 *   same thread                  program order
 *   same warp                    a sync_warp or barrier lies between: the epochs differ
 *   another warp                 this thread knows that warp up to a clock that includes the access
 *   another block, same launch   never
 *
 * next: kernels/emulator/shared.c */
#include <stdio.h>

#include "kernels/emulator/internal.h"

static bool ordered(const stamp *before, const thread *t)
{
    if (before->block != emu_block.serial) return before->block < emu_first_block();
    if (before->thread / WARP != t->warp) return t->seen[before->thread / WARP] >= before->clock;
    return (before->thread == t->id && !before->many) || before->epoch != t->epoch;
}

static stamp stamp_of(const thread *t, bool many)
{
    return (stamp){emu_block.serial, t->seen[t->warp], t->epoch, (u16)t->id, many};
}

static const char *conflict(const char *does, const char *did, const stamp *other)
{
    static char text[120];
    if (other->block != emu_block.serial)
        snprintf(text, sizeof text, "race between blocks: %s what another block %s", does, did);
    else
        snprintf(text, sizeof text, "race: %s what thread %d %s, and no barrier lies between", does,
                 other->thread, did);
    return text;
}

const char *emu_shadow_read(shadow *s, const thread *t, bool whole_warp)
{
    if (!ordered(&s->write, t)) return conflict("reads", "writes", &s->write);
    stamp now = stamp_of(t, whole_warp);
    bool stale = s->read.block != now.block, same_warp = s->read.thread / WARP == t->warp;
    if (!stale && same_warp && s->read.epoch == now.epoch)
        now.many |= s->read.many || s->read.thread != t->id;
    if (!stale && !same_warp) s->other_read = s->read;
    /* A reader in another block of this launch must not be forgotten: nothing orders it. */
    if (stale && s->read.block >= emu_first_block()) s->other_read = s->read;
    s->read = now;
    return NULL;
}

const char *emu_shadow_write(shadow *s, const thread *t)
{
    if (!ordered(&s->write, t)) return conflict("overwrites", "writes", &s->write);
    if (!ordered(&s->read, t)) return conflict("overwrites", "reads", &s->read);
    if (!ordered(&s->other_read, t)) return conflict("overwrites", "reads", &s->other_read);
    s->write = stamp_of(t, false);
    return NULL;
}
