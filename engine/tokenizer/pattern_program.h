/* A regex as instructions for a machine that backtracks and counts its steps.
 *
 * The machine is our own because its work must be bounded: a library that stops after so many
 * steps does not tell how many it took, and does not count what a repeat passes over.
 *
 * next: engine/tokenizer/pattern_program.c, engine/tokenizer/pattern_run.c */
#pragma once

#include "engine/base/mem.h"
#include "engine/tokenizer/work.h"

typedef struct qk_kind_set {
    bool has[256]; /* by kind of character (see pattern.h) */
} qk_kind_set;

typedef enum qk_pattern_op {
    QK_OP_MATCH,  /* the end of the regex, of an atomic group or of an assertion */
    QK_OP_SET,    /* one character of sets[set] */
    QK_OP_RUN,    /* min to max characters of sets[set], as many as may be */
    QK_OP_FORK,   /* goes on here; when that fails, at `other`. At a character that is not in
                     sets[set], straight to `other` (set < 0: any may follow) */
    QK_OP_SKIP,   /* goes on at `other`; when that fails, here */
    QK_OP_JUMP,   /* to `other` */
    QK_OP_MARK,   /* registers[min] = the position */
    QK_OP_MOVED,  /* to `other` unless the position moved since MARK: a loop around nothing ends */
    QK_OP_ATOMIC, /* the instructions behind, up to their MATCH, once; then on at `other` */
    QK_OP_LOOKAROUND, /* the same without moving; min = 1: they must not match */
    QK_OP_BACK,       /* back by min characters */
    QK_OP_BEGIN,      /* \A */
    QK_OP_END,        /* \z */
} qk_pattern_op;

typedef struct qk_instruction {
    uint8_t op;        /* qk_pattern_op */
    bool keeps;        /* RUN: never gives back what it took */
    int32_t set;       /* index; -1: none */
    int32_t next;      /* RUN: the set of the character that must follow, or -1 */
    uint32_t min, max; /* max: UINT32_MAX is no limit */
    uint32_t other;    /* index of an instruction */
} qk_instruction;

typedef struct qk_machine_code {
    qk_instruction *items;
    size_t count, capacity;
    qk_kind_set *sets;
    size_t set_count, set_capacity;
    uint32_t registers;
    int32_t first; /* the set a match begins with; -1: a match may be empty */
} qk_machine_code;

/* text: what pattern_parse.c makes of a regex, with bytes 0x80 + n for sets[n], of which there are
 * `count`. NULL, or what is wrong with it. */
const char *qk_machine_compile(qk_machine_code *out, const uint8_t *text, size_t size,
                               const qk_kind_set *sets, size_t count);
void qk_machine_free(qk_machine_code *code);

typedef struct qk_frame {
    uint32_t pc, low, at;
} qk_frame;

/* Working memory of one thread, for any program. Zero-initialise to create. */
typedef struct qk_machine_memory {
    qk_frame *stack;
    size_t count, capacity;
    uint32_t *registers;
    size_t register_capacity;
} qk_machine_memory;
void qk_machine_memory_free(qk_machine_memory *memory);

typedef enum qk_machine_result {
    QK_MACHINE_NONE,
    QK_MACHINE_FOUND,
    QK_MACHINE_WORK,   /* no steps are left, or a signal has come */
    QK_MACHINE_MEMORY, /* more open choices than the machine keeps */
} qk_machine_result;

/* The first match in kinds[0..count) that begins at or behind `from`. */
qk_machine_result qk_machine_find(const qk_machine_code *code, qk_machine_memory *memory,
                                  qk_work *work, const uint8_t *kinds, size_t count, size_t from,
                                  size_t *start, size_t *end);
