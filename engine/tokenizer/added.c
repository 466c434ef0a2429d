/* Added tokens. See added.h. */
#include "engine/tokenizer/added.h"

#include <stdlib.h>

#include "engine/tokenizer/space.h"

static int32_t new_node(qk_added *a, uint8_t byte)
{
    QK_GROW(a->nodes, a->node_count, a->node_capacity);
    a->nodes[a->node_count] = (qk_trie_node){.token = -1, .byte = byte};
    return (int32_t)a->node_count++;
}

/* *steps grows by the nodes that were visited. */
static int32_t find_child(const qk_added *a, int32_t node, uint8_t byte, size_t *steps)
{
    int32_t i = a->nodes[node].child;
    for (++*steps; i && a->nodes[i].byte != byte; ++*steps) i = a->nodes[i].sibling;
    return i;
}

bool qk_added_add(qk_added *a, const void *content, size_t length, qk_added_token token)
{
    const uint8_t *bytes = content;
    if (!a->node_count) new_node(a, 0);
    int32_t node = 0;
    size_t steps = 0;
    for (size_t i = 0; i < length; i++) {
        int32_t child = find_child(a, node, bytes[i], &steps);
        if (!child) {
            child = new_node(a, bytes[i]);
            a->nodes[child].sibling = a->nodes[node].child;
            a->nodes[node].child = child;
        }
        if (i == 0) a->roots[bytes[0]] = child;
        node = child;
    }
    if (a->nodes[node].token >= 0) return false;
    QK_GROW(a->tokens, a->count, a->capacity);
    a->nodes[node].token = (int32_t)a->count;
    a->tokens[a->count++] = token;
    return true;
}

void qk_added_free(qk_added *a)
{
    free(a->tokens);
    free(a->nodes);
    *a = (qk_added){0};
}

/* The longest token at text[0..n): its index, or -1. */
static int32_t longest_at(const qk_added *a, const uint8_t *text, size_t n, size_t *length,
                          size_t *steps)
{
    int32_t best = -1, node = a->roots[text[0]];
    for (size_t i = 1; node; i++) {
        if (a->nodes[node].token >= 0) {
            best = a->nodes[node].token;
            *length = i;
        }
        if (i == n) break;
        node = find_child(a, node, text[i], steps);
    }
    return best;
}

bool qk_added_next(const qk_added *a, const uint8_t *text, size_t length, qk_added_walk *w)
{
    if (!a->count) return false;
    for (size_t i = w->at; i < length; i++) {
        size_t n, steps = 0;
        if (!a->roots[text[i]]) continue;
        int32_t k = longest_at(a, text + i, length - i, &n, &steps);
        w->stopped = !qk_work_add(w->work, steps);
        if (w->stopped) return false;
        if (k < 0) continue;
        const qk_added_token *token = &a->tokens[k];
        /* A single_word token stands between characters that are no part of a word. */
        bool in_word =
            token->single_word && ((i > 0 && qk_word_before(text, i)) ||
                                   (i + n < length && qk_word_behind(text, i + n, length)));
        if (token->passed_over || in_word) {
            i += n - 1; /* the library searches on behind it */
            continue;
        }
        size_t from = i, end = token->rstrip ? qk_space_behind(text, i + n, length) : i + n;
        if (token->lstrip) from = i > w->end ? qk_space_before(text, i, w->end) : w->end;
        /* White space is passed over once for every token that is found in it. */
        w->stopped = !qk_work_add(w->work, end - i + (from < i ? i - from : 0));
        if (w->stopped) return false;
        if (from >= end) { /* all of it was swallowed by the one before */
            i += n - 1;
            continue;
        }
        w->start = from;
        w->end = end;
        w->at = i + n;
        w->id = token->id;
        return true;
    }
    return false;
}
