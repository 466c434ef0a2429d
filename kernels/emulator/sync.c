/* The emulator's meeting points: barriers of the block, named barriers, warps.
 *
 * Only barriers and sync_warp order memory. A shuffle, ldmatrix or mma makes the lanes of a warp
 * meet too, but promises nothing about memory, so it leaves clocks and epochs alone.
 *
 * next: kernels/emulator/shadow.c */
#include "kernels/emulator/internal.h"

void emu_sync_reset(void)
{
    memset(&emu_block.all, 0, sizeof emu_block.all);
    memset(emu_block.named, 0, sizeof emu_block.named);
    memset(emu_block.warp, 0, sizeof emu_block.warp);
}

/* ---- barriers ---- */

/* What this thread knows of others, and has done itself, joins the meeting; it then begins a new
 * clock: what it does from now on is not covered by this barrier. */
static void release(meeting *m)
{
    thread *t = emu_thread;
    u32 *joint = m->seen[m->generation & 1];
    if (!m->arrived) memset(joint, 0, sizeof m->seen[0]);
    for (int w = 0; w < MAX_WARPS; w++)
        if (t->seen[w] > joint[w]) joint[w] = t->seen[w];
    t->seen[t->warp]++;
    t->epoch++;
}

static void acquire(const meeting *m, u32 generation)
{
    thread *t = emu_thread;
    u32 own = t->seen[t->warp];
    for (int w = 0; w < MAX_WARPS; w++)
        if (m->seen[generation & 1][w] > t->seen[w]) t->seen[w] = m->seen[generation & 1][w];
    t->seen[t->warp] = own;
}

static void count_arrival(meeting *m, int expected)
{
    if (++m->arrived < expected) return;
    m->arrived = 0;
    m->generation++;
    emu_progress();
}

static void meet(meeting *m, int expected, const char *what)
{
    u32 generation = m->generation;
    release(m);
    count_arrival(m, expected);
    if (m->generation == generation) emu_wait(&m->generation, generation, what);
    acquire(m, generation);
}

void sync_block(void)
{
    meet(&emu_block.all, emu_block.n_threads, "waits at sync_block");
}

static meeting *named(int id, int n)
{
    if (id < 1 || id > 15) emu_fault("barrier %d does not exist", id);
    if (n % WARP || n > emu_block.n_threads) emu_fault("barrier %d for %d threads", id, n);
    return &emu_block.named[id];
}

void barrier_sync(int id, int n)
{
    meet(named(id, n), n, "waits at a named barrier");
}

void barrier_arrive(int id, int n)
{
    meeting *m = named(id, n);
    release(m);
    count_arrival(m, n);
}

/* ---- warps ---- */

int emu_warp_first(void)
{
    return emu_thread->warp * WARP;
}

bool emu_warp_meet(const char *what)
{
    meeting *m = &emu_block.warp[emu_thread->warp];
    if (m->arrived && strcmp(m->what, what))
        emu_fault("split warp: is at %s while lanes before it are at %s", what, m->what);
    m->what = what;
    if (++m->arrived == WARP) return true;
    emu_wait(&m->generation, m->generation, what);
    return false;
}

void emu_warp_leave(void)
{
    meeting *m = &emu_block.warp[emu_thread->warp];
    m->arrived = 0;
    m->generation++;
    emu_progress();
}

void sync_warp(void)
{
    if (emu_warp_meet("sync_warp")) {
        for (int l = 0; l < WARP; l++) emu_block.threads[emu_warp_first() + l].epoch++;
        emu_warp_leave();
    }
}

/* ---- exchanges ---- */

typedef union word {
    float f;
    int i;
    u32 u;
} word;

static struct {
    word in[WARP];
    word *out[WARP];
    int mask[WARP];
} exchanges[MAX_WARPS];

static word exchange(word value, int mask, const char *what)
{
    int warp = emu_thread->warp, lane = emu_thread->lane;
    word mine;
    exchanges[warp].in[lane] = value;
    exchanges[warp].out[lane] = &mine;
    exchanges[warp].mask[lane] = mask;
    if (emu_warp_meet(what)) {
        for (int l = 0; l < WARP; l++)
            *exchanges[warp].out[l] = exchanges[warp].in[(l ^ exchanges[warp].mask[l]) & 31];
        emu_warp_leave();
    }
    return mine;
}

float shuffle_xor(float v, int mask)
{
    return exchange((word){.f = v}, mask, "shuffle_xor").f;
}

int shuffle_xor_int(int v, int mask)
{
    return exchange((word){.i = v}, mask, "shuffle_xor_int").i;
}

u32 warp_ballot(int predicate)
{
    int warp = emu_thread->warp, lane = emu_thread->lane;
    word mine;
    exchanges[warp].in[lane].i = predicate;
    exchanges[warp].out[lane] = &mine;
    if (emu_warp_meet("ballot")) {
        u32 votes = 0;
        for (int l = 0; l < WARP; l++) votes |= (u32)(exchanges[warp].in[l].i != 0) << l;
        for (int l = 0; l < WARP; l++) exchanges[warp].out[l]->u = votes;
        emu_warp_leave();
    }
    return mine.u;
}
