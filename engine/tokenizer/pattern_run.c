/* The machine that runs a pattern's instructions. See pattern_program.h. */
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/pattern_program.h"

enum { MAX_FRAMES = 1 << 22 };
#define NOWHERE SIZE_MAX

/* What a frame does when everything behind it has failed: its place is tried from pc on; a run
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

static void push(machine *m, uint32_t pc, uint32_t low, size_t place)
{
    qk_machine_memory *s = m->memory;
    if (s->count == s->capacity) {
        if (s->count == MAX_FRAMES) {
            m->stop = QK_MACHINE_MEMORY;
            return;
        }
        QK_GROW(s->stack, s->count, s->capacity);
    }
    s->stack[s->count++] = (qk_frame){pc, low, (uint32_t)place};
}

static void pay(machine *m)
{
    if (!qk_work_take(m->work, m->steps)) m->stop = QK_MACHINE_WORK;
    m->steps = 0;
}

/* Behind the characters of a set from `at` on, at most `most` of them. */
static size_t pass(machine *m, const qk_kind_set *set, size_t at, size_t most)
{
    size_t end = m->count - at < most ? m->count : at + most, i = at;
    while (i < end && qk_kind_has(set, m->kinds[i])) {
        i++;
        if ((i - at) % QK_WORK_CHUNK) continue;
        pay(m);
        if (m->stop) break;
    }
    m->steps += i - at;
    return i;
}

/* The last place in [low, at] of a run behind which its next character stands, or NOWHERE. */
static size_t give_back(machine *m, const qk_instruction *run, size_t low, size_t at)
{
    size_t place = at;
    if (run->next >= 0) {
        const qk_kind_set *next = &m->code->sets[run->next];
        while (place == m->count || !qk_kind_has(next, m->kinds[place])) {
            if (place == low) {
                m->steps += at - low;
                return NOWHERE;
            }
            place--;
        }
    }
    m->steps += at - place;
    return place;
}

/* RUN: where it goes on, or NOWHERE. What else it may give back waits on the stack. */
static size_t run_greedy(machine *m, uint32_t pc, const qk_instruction *i, size_t at)
{
    size_t low = at + i->min, end = pass(m, &m->code->sets[i->set], at, i->max);
    if (end < low) return NOWHERE;
    if (i->keeps) return end;
    end = give_back(m, i, low, end);
    if (end != NOWHERE && end > low) push(m, pc, (uint32_t)low, end - 1);
    return end;
}

/* Takes up the choice that was left open last, of those above `base`. false: there is none. */
static bool turn_back(machine *m, size_t base, uint32_t *pc, size_t *at)
{
    qk_machine_memory *s = m->memory;
    while (s->count > base) {
        qk_frame *f = &s->stack[s->count - 1];
        m->steps++;
        if (f->low == RESTORE) {
            s->registers[f->pc] = f->place;
            s->count--;
            continue;
        }
        *pc = f->pc;
        *at = f->place;
        if (f->low == RESUME) {
            s->count--;
            return true;
        }
        *at = give_back(m, &m->code->items[f->pc], f->low, f->place);
        *pc = f->pc + 1;
        if (*at == NOWHERE || *at == f->low)
            s->count--;
        else
            f->place = (uint32_t)*at - 1;
        if (*at != NOWHERE) return true;
    }
    return false;
}

static size_t run(machine *m, uint32_t pc, size_t at);

/* One instruction: false when it fails. */
static inline bool step(machine *m, uint32_t *pc, size_t *at)
{
    const qk_instruction *i = &m->code->items[(*pc)++];
    uint32_t *registers = m->memory->registers;
    bool here = i->set >= 0 && *at < m->count && qk_kind_has(&m->code->sets[i->set], m->kinds[*at]);
    size_t end;
    switch (i->op) {
    case QK_OP_SET: *at += here; return here;
    case QK_OP_RUN: end = run_greedy(m, *pc - 1, i, *at); break;
    case QK_OP_FORK:
        if (here || i->set < 0)
            push(m, i->other, RESUME, *at);
        else
            *pc = i->other;
        return true;
    case QK_OP_SKIP: push(m, *pc, RESUME, *at); /* fallthrough */
    case QK_OP_JUMP: *pc = i->other; return true;
    case QK_OP_MARK:
        push(m, i->min, RESTORE, registers[i->min]);
        registers[i->min] = (uint32_t)*at;
        return true;
    case QK_OP_MOVED:
        if (registers[i->min] == *at) *pc = i->other;
        return true;
    case QK_OP_ATOMIC:
        end = run(m, *pc, *at);
        *pc = i->other;
        break;
    case QK_OP_LOOK:
        end = run(m, *pc, *at);
        *pc = i->other;
        return (end == NOWHERE) == (i->min == 1);
    case QK_OP_BACK:
        if (*at < i->min) return false;
        *at -= i->min;
        return true;
    case QK_OP_BEGIN: return *at == 0;
    default: return *at == m->count; /* QK_OP_END */
    }
    if (end != NOWHERE) *at = end;
    return end != NOWHERE;
}

/* From an instruction to the next MATCH: where the match ends, or NOWHERE. Open choices are then
 * forgotten. Calls itself for groups in groups, which the parser bounds. */
static size_t run(machine *m, uint32_t pc, size_t at)
{
    size_t base = m->memory->count;
    for (;;) {
        if (m->code->items[pc].op == QK_OP_MATCH) {
            m->memory->count = base;
            return at;
        }
        bool ok = step(m, &pc, &at);
        if (++m->steps >= QK_WORK_CHUNK) pay(m);
        if (m->stop || (!ok && !turn_back(m, base, &pc, &at))) return NOWHERE;
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
        while (first && at < count && !qk_kind_has(first, kinds[at])) at++;
        m.steps += at - begin + 1;
        if (first && at == count) break;
        found = run(&m, 0, at);
        if (found != NOWHERE) break;
    }
    if (!m.stop) pay(&m);
    *start = at;
    *end = found;
    return m.stop ? m.stop : found == NOWHERE ? QK_MACHINE_NONE : QK_MACHINE_FOUND;
}
