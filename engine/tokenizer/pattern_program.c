/* From the parser's text to instructions: a tree, then its instructions. See pattern_program.h. */
#include "engine/tokenizer/pattern_program.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_INSTRUCTIONS = 1 << 16 };
#define ENDLESS UINT32_MAX

typedef enum node_kind { SET, SEQUENCE, CHOICE, LOOP, ATOMIC, LOOKAROUND, BEGIN, END } node_kind;
typedef enum loop_mode { GREEDY, LAZY, POSSESSIVE } loop_mode;

typedef struct node {
    node_kind kind;
    int32_t set;
    bool negative, behind; /* of LOOKAROUND */
    uint32_t back;         /* steps back before a way of a lookbehind */
    uint32_t min, max;     /* of LOOP */
    loop_mode mode;
    struct node *first, *last, *next; /* children; the next of the parent's */
    bool empty;                       /* may match no character */
    qk_kind_set starts;               /* what its first character may be */
    int64_t length;                   /* characters of every match, or -1 */
} node;

typedef struct compiler {
    const uint8_t *at, *end;
    const qk_kind_set *sets;
    qk_arena arena;
    qk_machine_code *out;
    const char *wrong;
} compiler;

static node *new_node(compiler *c, node_kind kind)
{
    node *n = qk_arena_alloc(&c->arena, 1, sizeof *n);
    n->kind = kind;
    return n;
}

static void append(node *parent, node *child)
{
    if (parent->last)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
}

/* ---- what is known of a node ---- */

/* The length of a match; what is longer than any text counts as not fixed. */
static int64_t as_length(int64_t length)
{
    return length > INT32_MAX ? -1 : length;
}

static void join_sets(qk_kind_set *a, const qk_kind_set *b)
{
    for (int i = 0; i < 256; i++) a->has[i] |= b->has[i];
}

/* Fills the last three members of a node whose children are complete. */
static void study(const compiler *c, node *n)
{
    const node *k = n->first;
    switch (n->kind) {
    case SET:
        n->starts = c->sets[n->set];
        n->length = 1;
        return;
    case SEQUENCE:
        n->empty = true;
        n->length = 0;
        for (; k; k = k->next) {
            if (n->empty) join_sets(&n->starts, &k->starts);
            n->empty = n->empty && k->empty;
            n->length = n->length < 0 || k->length < 0 ? -1 : as_length(n->length + k->length);
        }
        return;
    case CHOICE:
        n->length = k->length;
        for (; k; k = k->next) {
            join_sets(&n->starts, &k->starts);
            n->empty = n->empty || k->empty;
            if (k->length != n->length) n->length = -1;
        }
        return;
    case LOOP:
        n->starts = k->starts;
        n->empty = k->empty || !n->min;
        n->length = n->min == n->max && k->length >= 0 ? as_length(k->length * n->min) : -1;
        return;
    case ATOMIC:
        n->starts = k->starts;
        n->empty = k->empty;
        n->length = k->length;
        return;
    default: n->empty = true; /* of no characters: what follows it comes first */
    }
}

/* ---- the tree ---- */

static node *parse_choice(compiler *c);

static bool take(compiler *c, const char *text)
{
    size_t n = strlen(text);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, text, n) != 0) return false;
    c->at += n;
    return true;
}

static node *parse_group(compiler *c)
{
    static const struct {
        const char *open;
        node_kind kind;
        bool negative, behind;
    } kinds[] = {{"(?:", SEQUENCE, false, false},   {"(?>", ATOMIC, false, false},
                 {"(?=", LOOKAROUND, false, false}, {"(?!", LOOKAROUND, true, false},
                 {"(?<=", LOOKAROUND, false, true}, {"(?<!", LOOKAROUND, true, true}};
    size_t k = 0;
    while (!take(c, kinds[k].open)) QK_ASSERT(++k < sizeof kinds / sizeof *kinds);
    node *inside = parse_choice(c);
    QK_ASSERT(take(c, ")"));
    if (kinds[k].kind == SEQUENCE) return inside;
    node *n = new_node(c, kinds[k].kind);
    n->negative = kinds[k].negative;
    n->behind = kinds[k].behind;
    append(n, inside);
    study(c, n);
    for (node *way = inside->first; n->behind && way; way = way->next) {
        if (way->length < 0) c->wrong = "what is asserted to stand before has no fixed length";
        way->back = (uint32_t)way->length;
    }
    return n;
}

static node *parse_atom(compiler *c)
{
    if (*c->at == '(') return parse_group(c);
    node *n;
    if (*c->at >= 0x80) {
        n = new_node(c, SET);
        n->set = *c->at++ - 0x80;
    } else {
        bool begin = take(c, "\\A");
        QK_ASSERT(begin || take(c, "\\z"));
        n = new_node(c, begin ? BEGIN : END);
    }
    study(c, n);
    return n;
}

static uint32_t parse_number(compiler *c, uint32_t absent)
{
    if (*c->at < '0' || *c->at > '9') return absent;
    uint32_t value = 0;
    while (*c->at >= '0' && *c->at <= '9') value = 10 * value + (*c->at++ - '0');
    return value;
}

/* A CHOICE of one way of one node is that node. */
static const node *only_node(const node *n)
{
    while ((n->kind == CHOICE || n->kind == SEQUENCE) && n->first && n->first == n->last)
        n = n->first;
    return n;
}

/* Oniguruma leaves {n} of a large group at the first time that it matches nothing, of a small one
 * it does not. Where nothing comes last or first (a*, a??) that is the same. */
static bool counts_alike(const node *n, uint32_t min, uint32_t max)
{
    const node *body = only_node(n);
    if (!n->empty || (min <= 1 && (max <= 1 || max == ENDLESS))) return true;
    return body->kind == LOOP && only_node(body->first)->kind == SET;
}

/* A quantifier behind n, if there is one. */
static node *parse_loop(compiler *c, node *n)
{
    uint32_t min = 0, max = ENDLESS;
    if (take(c, "+")) {
        min = 1;
    } else if (take(c, "?")) {
        max = 1;
    } else if (take(c, "{")) {
        min = parse_number(c, 0);
        max = take(c, ",") ? parse_number(c, ENDLESS) : min;
        QK_ASSERT(take(c, "}"));
        if (min > max) c->wrong = "numbers out of order in {}";
        if (!counts_alike(n, min, max)) c->wrong = "{} behind a group that may match nothing";
    } else if (!take(c, "*")) {
        return n;
    }
    node *loop = new_node(c, LOOP);
    loop->min = min;
    loop->max = max;
    loop->mode = take(c, "?") ? LAZY : take(c, "+") ? POSSESSIVE : GREEDY;
    append(loop, n);
    study(c, loop);
    return loop;
}

/* A CHOICE, of one way where there is no '|'. */
static node *parse_choice(compiler *c)
{
    node *choice = new_node(c, CHOICE);
    do {
        node *way = new_node(c, SEQUENCE);
        while (c->at < c->end && *c->at != '|' && *c->at != ')')
            append(way, parse_loop(c, parse_atom(c)));
        study(c, way);
        append(choice, way);
    } while (take(c, "|"));
    study(c, choice);
    return choice;
}

/* ---- instructions ---- */

/* Appends one; returns its index. Beyond the limit the last one is written over. */
static uint32_t emit(compiler *c, qk_instruction i)
{
    qk_machine_code *out = c->out;
    if (out->count == MAX_INSTRUCTIONS) {
        c->wrong = "it is too large";
        out->count--;
    }
    if (i.op > QK_OP_FORK) i.set = -1;
    QK_GROW(out->items, out->count, out->capacity);
    out->items[out->count] = i;
    return (uint32_t)out->count++;
}

static int32_t add_set(compiler *c, const qk_kind_set *set)
{
    qk_machine_code *out = c->out;
    for (size_t i = 0; i < out->set_count; i++)
        if (!memcmp(&out->sets[i], set, sizeof *set)) return (int32_t)i;
    QK_GROW(out->sets, out->set_count, out->set_capacity);
    out->sets[out->set_count] = *set;
    return (int32_t)out->set_count++;
}

/* What n may begin with, as a set for FORK. */
static int32_t starts_of(compiler *c, const node *n)
{
    return n->empty ? -1 : add_set(c, &n->starts);
}

static void land(compiler *c, uint32_t at)
{
    c->out->items[at].other = (uint32_t)c->out->count;
}

static void emit_node(compiler *c, const node *n);

static void emit_choice(compiler *c, const node *n)
{
    uint32_t jumps = UINT32_MAX; /* a list through `other` */
    for (const node *way = n->first; way; way = way->next) {
        uint32_t fork = UINT32_MAX;
        int32_t starts = way->back ? -1 : starts_of(c, way);
        if (way->next) fork = emit(c, (qk_instruction){.op = QK_OP_FORK, .set = starts});
        if (way->back) emit(c, (qk_instruction){.op = QK_OP_BACK, .min = way->back});
        emit_node(c, way);
        if (!way->next) break;
        jumps = emit(c, (qk_instruction){.op = QK_OP_JUMP, .other = jumps});
        land(c, fork);
    }
    while (jumps != UINT32_MAX && !c->wrong) {
        uint32_t before = c->out->items[jumps].other;
        land(c, jumps);
        jumps = before;
    }
}

/* The body, once more if it moved. A loop around nothing ends, or it would never. */
static void emit_endless(compiler *c, const node *n)
{
    const node *body = n->first;
    bool lazy = n->mode == LAZY;
    uint32_t enter = UINT32_MAX, moved = UINT32_MAX, reg = c->out->registers;
    if (body->empty) c->out->registers++;
    uint8_t op = lazy ? QK_OP_SKIP : QK_OP_FORK;
    qk_instruction choose = {.op = op, .set = lazy ? -1 : starts_of(c, body)};
    if (!n->min) enter = emit(c, choose);
    uint32_t top = (uint32_t)c->out->count;
    if (body->empty) emit(c, (qk_instruction){.op = QK_OP_MARK, .min = reg});
    emit_node(c, body);
    if (body->empty) moved = emit(c, (qk_instruction){.op = QK_OP_MOVED, .min = reg});
    uint32_t again = emit(c, choose);
    emit(c, (qk_instruction){.op = QK_OP_JUMP, .other = top});
    land(c, again);
    if (enter != UINT32_MAX) land(c, enter);
    if (moved != UINT32_MAX) land(c, moved);
}

static void emit_copies(compiler *c, const node *n)
{
    const node *body = n->first;
    bool lazy = n->mode == LAZY;
    for (uint32_t i = 0; i < n->min && !c->wrong; i++)
        if (n->max != ENDLESS || i + 1 < n->min) emit_node(c, body);
    if (n->max == ENDLESS) {
        emit_endless(c, n);
        return;
    }
    uint32_t forks = UINT32_MAX; /* a list through `other` */
    for (uint32_t i = n->min; i < n->max && !c->wrong; i++) {
        forks = emit(c, (qk_instruction){.op = lazy ? QK_OP_SKIP : QK_OP_FORK,
                                         .set = lazy ? -1 : starts_of(c, body),
                                         .other = forks});
        emit_node(c, body);
    }
    while (forks != UINT32_MAX && !c->wrong) {
        uint32_t before = c->out->items[forks].other;
        land(c, forks);
        forks = before;
    }
}

static void emit_atomic(compiler *c, const node *inside, void (*body)(compiler *, const node *))
{
    uint32_t begin = emit(c, (qk_instruction){.op = QK_OP_ATOMIC});
    body(c, inside);
    emit(c, (qk_instruction){.op = QK_OP_MATCH});
    land(c, begin);
}

static void emit_loop(compiler *c, const node *n)
{
    const node *set = only_node(n->first);
    if (set->kind == SET && n->mode != LAZY)
        emit(c, (qk_instruction){.op = QK_OP_RUN,
                                 .keeps = n->mode == POSSESSIVE,
                                 .set = set->set,
                                 .next = -1,
                                 .min = n->min,
                                 .max = n->max});
    else if (n->mode == POSSESSIVE)
        emit_atomic(c, n, emit_copies);
    else
        emit_copies(c, n);
}

static void emit_node(compiler *c, const node *n)
{
    uint32_t begin;
    if (c->wrong) return;
    switch (n->kind) {
    case SET: emit(c, (qk_instruction){.op = QK_OP_SET, .set = n->set}); return;
    case SEQUENCE:
        for (const node *k = n->first; k; k = k->next) emit_node(c, k);
        return;
    case CHOICE: emit_choice(c, n); return;
    case LOOP: emit_loop(c, n); return;
    case ATOMIC: emit_atomic(c, n->first, emit_node); return;
    case LOOKAROUND:
        begin = emit(c, (qk_instruction){.op = QK_OP_LOOKAROUND, .min = n->negative});
        emit_node(c, n->first);
        emit(c, (qk_instruction){.op = QK_OP_MATCH});
        land(c, begin);
        return;
    case BEGIN: emit(c, (qk_instruction){.op = QK_OP_BEGIN}); return;
    case END: emit(c, (qk_instruction){.op = QK_OP_END}); return;
    }
}

/* Adds what the next character may be when the machine goes on at pc. false: that is not known, or
 * none need follow. */
static bool add_following(const qk_machine_code *code, uint32_t pc, int depth, qk_kind_set *out)
{
    for (; depth > 0; depth--, pc++) {
        const qk_instruction *i = &code->items[pc];
        switch (i->op) {
        case QK_OP_SET: join_sets(out, &code->sets[i->set]); return true;
        case QK_OP_RUN:
            join_sets(out, &code->sets[i->set]);
            if (i->min) return true;
            break;
        case QK_OP_FORK:
            if (!add_following(code, i->other, depth - 1, out)) return false;
            break;
        case QK_OP_JUMP: pc = i->other - 1; break;
        case QK_OP_MARK: break;
        default: return false;
        }
    }
    return false;
}

/* A run stops where what follows can go on, and need not give back what nothing could use. */
static void settle_runs(compiler *c)
{
    enum { DEPTH = 8 };
    qk_machine_code *out = c->out;
    for (size_t pc = 0; pc < out->count; pc++) {
        qk_instruction *run = &out->items[pc];
        qk_kind_set next = {0};
        if (run->op != QK_OP_RUN) continue;
        uint32_t behind = (uint32_t)pc + 1;
        while (out->items[behind].op == QK_OP_JUMP) behind = out->items[behind].other;
        if (out->items[behind].op == QK_OP_MATCH || run->min == run->max) run->keeps = true;
        if (!add_following(out, behind, DEPTH, &next)) continue;
        bool overlap = false;
        for (int i = 0; i < 256; i++)
            overlap = overlap || (out->sets[run->set].has[i] && next.has[i]);
        if (!overlap) run->keeps = true;
        run->next = add_set(c, &next);
    }
}

const char *qk_machine_compile(qk_machine_code *out, const uint8_t *text, size_t size,
                               const qk_kind_set *sets, size_t count)
{
    compiler c = {.at = text, .end = text + size, .sets = sets, .out = out};
    *out = (qk_machine_code){0};
    for (size_t i = 0; i < count; i++) {
        QK_GROW(out->sets, out->set_count, out->set_capacity);
        out->sets[out->set_count++] = sets[i];
    }
    const node *tree = parse_choice(&c);
    QK_ASSERT(c.at == c.end);
    emit_node(&c, tree);
    emit(&c, (qk_instruction){.op = QK_OP_MATCH});
    out->first = starts_of(&c, tree);
    if (!c.wrong) settle_runs(&c);
    qk_arena_free(&c.arena);
    if (c.wrong) qk_machine_free(out);
    return c.wrong;
}

void qk_machine_free(qk_machine_code *code)
{
    free(code->items);
    free(code->sets);
    *code = (qk_machine_code){0};
}
