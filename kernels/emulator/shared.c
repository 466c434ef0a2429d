/* The emulator's shared memory and the asynchronous copies into it.
 *
 * A copy belongs to its thread from copy_async16 to the copy_wait that covers its group. In between
 * its 16 bytes hold NaN (unless it landed early) and touching them is an error; at the wait they
 * count as written by that thread, so others need a barrier before they read.
 *
 * next: kernels/emulator/global.c */
#include <stdlib.h>

#include "engine/base/error.h"
#include "kernels/emulator/internal.h"

enum { MAX_NAMES = 16, MAX_SHARED = 232448 }; /* 227 KB: the most a block of sm_90 can have */

static u8 *memory;
static u32 size;
static shadow *shadows; /* one per 4 bytes */
static u16 *in_flight;  /* one per 4 bytes: 1 + the thread whose copy is on its way */

static struct {
    u32 from, to;
    const char *name;
} names[MAX_NAMES];
static int n_names;

void emu_shared_open(size_t bytes)
{
    QK_ASSERT(bytes <= MAX_SHARED && bytes % 4 == 0);
    if (!memory) {
        memory = aligned_alloc(1024, MAX_SHARED);
        shadows = calloc(MAX_SHARED / 4, sizeof *shadows);
        in_flight = calloc(MAX_SHARED / 4, sizeof *in_flight);
        QK_ASSERT(memory && shadows && in_flight);
    }
    size = (u32)bytes;
}

void emu_shared_reset(void)
{
    memset(memory, 0xFF, size); /* NaN */
    memset(in_flight, 0, size / 4 * sizeof *in_flight);
    memset(shadows, 0, size / 4 * sizeof *shadows); /* what other blocks did was to other memory */
    n_names = 0;
}

/* Shared addresses start at 0 on a GPU; here at 1024, so that a forgotten base is noticed. */
u32 shared_base(void)
{
    return 1024;
}

void name_shared(u32 address, u32 bytes, const char *name)
{
    for (int i = 0; i < n_names; i++)
        if (names[i].from == address && !strcmp(names[i].name, name)) return;
    QK_ASSERT(n_names < MAX_NAMES);
    names[n_names].from = address;
    names[n_names].to = address + bytes;
    names[n_names++].name = name;
}

static const char *name_of(u32 at)
{
    for (int i = 0; i < n_names; i++)
        if (at >= names[i].from && at < names[i].to) return names[i].name;
    return "shared memory";
}

/* Where n bytes are; the index of their first shadow in *word. */
static u8 *locate(u32 at, u32 n, u32 *word, const char *what)
{
    if (at % n) emu_fault("misaligned: %s of %u bytes at %u in %s", what, n, at, name_of(at));
    if (at < 1024 || at - 1024 > size || n > size - (at - 1024))
        emu_fault("out of bounds: %s at shared address %d of %u", what, (int)at - 1024, size);
    *word = (at - 1024) / 4;
    return memory + (at - 1024);
}

static void refuse_in_flight(u32 at, u32 word, const char *what)
{
    if (in_flight[word])
        emu_fault("missing wait: %s in %s, where an asynchronous copy of thread %d is on its way",
                  what, name_of(at), in_flight[word] - 1);
}

const u8 *emu_shared_read(u32 at, u32 n, const thread *t, bool whole_warp, const char *what)
{
    u32 word;
    const u8 *p = locate(at, n, &word, what);
    for (u32 i = word; i < word + n / 4; i++) {
        refuse_in_flight(at, i, what);
        if (shadows[i].write.block != emu_block.serial)
            emu_fault("uninitialised: %s in %s, which nobody has written yet", what, name_of(at));
        const char *wrong = emu_shadow_read(&shadows[i], t, whole_warp);
        if (wrong) emu_fault("%s: %s (%s)", name_of(at), wrong, what);
    }
    return p;
}

static u8 *check_write(u32 at, u32 n, const char *what)
{
    u32 word;
    u8 *p = locate(at, n, &word, what);
    for (u32 i = word; i < word + n / 4; i++) {
        refuse_in_flight(at, i, what);
        const char *wrong = emu_shadow_write(&shadows[i], emu_thread);
        if (wrong) emu_fault("%s: %s (%s)", name_of(at), wrong, what);
    }
    return p;
}

u32 ld_shared_u32(u32 at)
{
    u32 v;
    memcpy(&v, emu_shared_read(at, 4, emu_thread, false, "load"), 4);
    return v;
}

float ld_shared_f32(u32 at)
{
    return emu_float(ld_shared_u32(at));
}

void st_shared_u32(u32 at, u32 v)
{
    memcpy(check_write(at, 4, "store"), &v, 4);
}

void st_shared_f32(u32 at, float v)
{
    st_shared_u32(at, emu_bits(v));
}

void ld_shared_f32x4(float *v, u32 at)
{
    memcpy(v, emu_shared_read(at, 16, emu_thread, false, "load"), 16);
}

void st_shared_f32x4(u32 at, const float *v)
{
    memcpy(check_write(at, 16, "store"), v, 16);
}

/* ---- asynchronous copies ---- */

static void land(const copy *c)
{
    u8 *to = memory + (c->to - 1024);
    if (c->valid)
        memcpy(to, c->from, 16);
    else
        memset(to, 0, 16);
}

void copy_async16(u32 to, const void *from, int valid)
{
    thread *t = emu_thread;
    u8 *p = check_write(to, 16, "asynchronous copy");
    if (valid) emu_global_read(from, 16, 16, "asynchronous copy");
    if (t->n_copies == MAX_COPIES) emu_fault("more than %d copies on their way", MAX_COPIES);
    copy c = {to, from, valid, t->group};
    memset(p, 0xFF, 16);
    if (emu_copy_order() == EMU_EAGER) land(&c);
    for (u32 i = 0; i < 4; i++) in_flight[(to - 1024) / 4 + i] = (u16)(t->id + 1);
    t->copies[t->n_copies++] = c;
}

void copy_commit(void)
{
    emu_thread->group++;
}

/* Some copies arrive early; they stay the thread's own until it has waited. */
void emu_copies_land_randomly(thread *t)
{
    for (int i = 0; i < t->n_copies; i++)
        if (emu_random() % 4 == 0) land(&t->copies[i]);
}

void copy_wait(int n)
{
    thread *t = emu_thread;
    int kept = 0;
    for (int i = 0; i < t->n_copies; i++) {
        copy *c = &t->copies[i];
        if (c->group >= t->group - n) {
            t->copies[kept++] = *c;
            continue;
        }
        if (emu_copy_order() != EMU_EAGER) land(c);
        for (u32 j = 0; j < 4; j++) in_flight[(c->to - 1024) / 4 + j] = 0;
        check_write(c->to, 16, "asynchronous copy");
    }
    t->n_copies = kept;
}
