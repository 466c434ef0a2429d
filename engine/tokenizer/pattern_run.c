/* The machine that runs a pattern's instructions. See pattern_program.h. */
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/pattern_program.h"

enum { MAX_FRAMES = 1 << 22 };
#define NOWHERE SIZE_MAX

/* What a frame does when everything behind it has failed: its position is tried from pc on; a run
 * gives back one character, down to `low`; a register gets its value back. */
#define RESUME UINT32_MAX
#define RESTORE (UINT32_MAX - 1)

typedef struct machine {
    const qk_machine_code *code;
    qk_machine_memory *memory;
    qk_work *work;
    const uint8_t *kinds;
    size_t count;
    uint64_t steps;         /* not yet taken from `work` */
    qk_machine_result stop; /* NONE while all is well */
} machine;

void qk_machine_memory_free(qk_machine_memory *memory)
{
    free(memory->stack);
    free(memory->registers);
    *memory = (qk_machine_memory){0};
}

static void grow(machine *m)
{
    qk_machine_memory *s = m->memory;
    if (s->count < MAX_FRAMES)
        QK_GROW(s->stack, s->count, s->capacity);
    else
        m->stop = QK_MACHINE_MEMORY;
}

/* false when the stack is full; m->stop says so. */
static inline bool push(machine *m, uint32_t pc, uint32_t low, size_t at)
{
    qk_machine_memory *s = m->memory;
    if (s->count == s->capacity) grow(m);
    if (s->count == s->capacity) return false;
    s->stack[s->count++] = (qk_frame){pc, low, (uint32_t)at};
    return true;
}

static void pay(machine *m)
{
    if (!qk_work_take(m->work, m->steps)) m->stop = QK_MACHINE_WORK;
    m->steps = 0;
}

/* Behind the characters of a set from `at` on, `max` of them at most. */
static inline size_t pass(machine *m, const qk_kind_set *set, size_t at, size_t max)
{
    size_t end = m->count - at < max ? m->count : at + max, i = at;
    while (i < end && !m->stop) {
        size_t begin = i, pause = end - i < QK_WORK_CHUNK ? end : i + QK_WORK_CHUNK;
        while (i < pause && set->has[m->kinds[i]]) i++;
        m->steps += i - begin;
        if (i < pause) break;
        if (m->steps >= QK_WORK_CHUNK) pay(m);
    }
    return i;
}

/* The last position in [low, at] of a run behind which its next character stands, or NOWHERE. */
static inline size_t give_back(machine *m, const qk_instruction *run, size_t low, size_t at)
{
    size_t last = at;
    if (run->next >= 0) {
        const qk_kind_set *next = &m->code->sets[run->next];
        while (last == m->count || !next->has[m->kinds[last]]) {
            if (last == low) {
                m->steps += at - low;
                return NOWHERE;
            }
            last--;
        }
    }
    m->steps += at - last;
    return last;
}

/* RUN: where it goes on, or NOWHERE. What else it may give back waits on the stack. */
static size_t run_greedy(machine *m, uint32_t pc, const qk_instruction *i, size_t at)
{
    size_t low = at + i->min, end = pass(m, &m->code->sets[i->set], at, i->max);
    if (end < low || m->stop) return NOWHERE;
    end = give_back(m, i, i->keeps ? end : low, end);
    if (i->keeps || end == NOWHERE || end == low) return end;
    return push(m, pc, (uint32_t)low, end - 1) ? end : NOWHERE;
}

/* Takes up the choice that was left open last, of those above `base`. false: there is none. */
static bool turn_back(machine *m, size_t base, uint32_t *pc, size_t *at)
{
    qk_machine_memory *s = m->memory;
    while (s->count > base) {
        qk_frame *f = &s->stack[s->count - 1];
        m->steps++;
        if (f->low == RESTORE) {
            s->registers[f->pc] = f->at;
            s->count--;
            continue;
        }
        *pc = f->pc;
        *at = f->at;
        if (f->low == RESUME) {
            s->count--;
            return true;
        }
        *at = give_back(m, &m->code->items[f->pc], f->low, f->at);
        *pc = f->pc + 1;
        if (*at == NOWHERE || *at == f->low)
            s->count--;
        else
            f->at = (uint32_t)*at - 1;
        if (*at != NOWHERE) return true;
    }
    return false;
}

/* From an instruction to the next MATCH: where the match ends, or NOWHERE. Open choices are then
 * forgotten. Calls itself for groups in groups, which the parser bounds. */
static size_t run(machine *m, uint32_t pc, size_t at)
{
    const qk_instruction *items = m->code->items;
    const qk_kind_set *sets = m->code->sets;
    const uint8_t *kinds = m->kinds;
    uint32_t *registers = m->memory->registers;
    size_t base = m->memory->count, count = m->count, end;
    for (;;) {
        const qk_instruction *i = &items[pc++];
        bool ok = true;
        switch (i->op) {
        case QK_OP_MATCH: m->memory->count = base; return at;
        case QK_OP_SET:
            ok = at < count && sets[i->set].has[kinds[at]];
            at += ok;
            break;
        case QK_OP_RUN:
            end = run_greedy(m, pc - 1, i, at);
            ok = end != NOWHERE;
            at = ok ? end : at;
            break;
        case QK_OP_FORK:
            if (i->set < 0 || (at < count && sets[i->set].has[kinds[at]]))
                ok = push(m, i->other, RESUME, at);
            else
                pc = i->other;
            break;
        case QK_OP_SKIP:
            ok = push(m, pc, RESUME, at);
            pc = i->other;
            break;
        case QK_OP_JUMP: pc = i->other; break;
        case QK_OP_MARK:
            ok = push(m, i->min, RESTORE, registers[i->min]);
            registers[i->min] = (uint32_t)at;
            break;
        case QK_OP_MOVED:
            if (registers[i->min] == at) pc = i->other;
            break;
        case QK_OP_ATOMIC:
            end = run(m, pc, at);
            pc = i->other;
            ok = end != NOWHERE;
            at = ok ? end : at;
            break;
        case QK_OP_LOOKAROUND:
            ok = (run(m, pc, at) == NOWHERE) == (i->min == 1) && !m->stop;
            pc = i->other;
            break;
        case QK_OP_BACK:
            ok = at >= i->min;
            at -= ok ? i->min : 0;
            break;
        case QK_OP_BEGIN: ok = at == 0; break;
        default: ok = at == count; /* QK_OP_END */
        }
        if (++m->steps >= QK_WORK_CHUNK) {
            pay(m);
            ok = ok && !m->stop;
        }
        if (!ok && (m->stop || !turn_back(m, base, &pc, &at))) return NOWHERE;
    }
}

qk_machine_result qk_machine_find(const qk_machine_code *code, qk_machine_memory *memory,
                                  qk_work *work, const uint8_t *kinds, size_t count, size_t from,
                                  size_t *start, size_t *end)
{
    machine m = {.code = code, .memory = memory, .work = work, .kinds = kinds, .count = count};
    if (code->registers > memory->register_capacity) {
        memory->register_capacity = code->registers;
        memory->registers = qk_realloc(memory->registers, code->registers, sizeof(uint32_t));
        memset(memory->registers, 0, code->registers * sizeof(uint32_t));
    }
    memory->count = 0;
    const qk_kind_set *first = code->first >= 0 ? &code->sets[code->first] : NULL;
    size_t found = NOWHERE, at = from;
    for (; at <= count && !m.stop; at++) {
        size_t begin = at;
        while (first && at < count && !first->has[kinds[at]]) at++;
        m.steps += at - begin + 1;
        if (first && at == count) break;
        found = run(&m, 0, at);
        if (found != NOWHERE) break;
    }
    if (!m.stop && !qk_work_add(work, m.steps)) m.stop = QK_MACHINE_WORK;
    *start = at;
    *end = found;
    return m.stop ? m.stop : found == NOWHERE ? QK_MACHINE_NONE : QK_MACHINE_FOUND;
}
