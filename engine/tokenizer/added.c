/* Added tokens. See added.h. */
#include "engine/tokenizer/added.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/tokenizer/unicode.h"

static int32_t new_node(qk_added *a, uint8_t byte)
{
    QK_GROW(a->nodes, a->node_count, a->node_capacity);
    a->nodes[a->node_count] = (qk_trie_node){.token = -1, .byte = byte};
    return (int32_t)a->node_count++;
}

static int32_t find_child(const qk_added *a, int32_t node, uint8_t byte)
{
    int32_t i = a->nodes[node].child;
    while (i && a->nodes[i].byte != byte) i = a->nodes[i].sibling;
    return i;
}

void qk_added_add(qk_added *a, const void *content, size_t length, qk_added_token token)
{
    const uint8_t *bytes = content;
    if (!a->node_count) new_node(a, 0);
    int32_t node = 0;
    for (size_t i = 0; i < length; i++) {
        int32_t child = find_child(a, node, bytes[i]);
        if (!child) {
            child = new_node(a, bytes[i]);
            a->nodes[child].sibling = a->nodes[node].child;
            a->nodes[node].child = child;
        }
        if (i == 0) a->roots[bytes[0]] = child;
        node = child;
    }
    if (a->nodes[node].token >= 0) {
        a->tokens[a->nodes[node].token] = token;
        return;
    }
    QK_GROW(a->tokens, a->count, a->capacity);
    a->nodes[node].token = (int32_t)a->count;
    a->tokens[a->count++] = token;
}

void qk_added_free(qk_added *a)
{
    free(a->tokens);
    free(a->nodes);
    *a = (qk_added){0};
}

/* The longest token at text[0..n): its index, or -1. */
static int32_t longest_at(const qk_added *a, const uint8_t *text, size_t n, size_t *length)
{
    int32_t best = -1, node = a->roots[text[0]];
    for (size_t i = 1; node; i++) {
        if (a->nodes[node].token >= 0) {
            best = a->nodes[node].token;
            *length = i;
        }
        if (i == n) break;
        node = find_child(a, node, text[i]);
    }
    return best;
}

static bool is_space(uint32_t code)
{
    if (code < 0x80) return code == ' ' || (code >= 9 && code <= 13);
    return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
           code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

/* Where the white space that ends at `end` begins. */
static size_t space_before(const uint8_t *text, size_t end, size_t floor)
{
    while (end > floor) {
        size_t i = end - 1;
        while (i > floor && (text[i] & 0xC0) == 0x80) i--;
        uint32_t code;
        if (!qk_utf8_decode(text + i, end - i, &code) || !is_space(code)) break;
        end = i;
    }
    return end;
}

static size_t space_behind(const uint8_t *text, size_t from, size_t length)
{
    while (from < length) {
        uint32_t code;
        size_t n = qk_utf8_decode(text + from, length - from, &code);
        if (!n || !is_space(code)) break;
        from += n;
    }
    return from;
}

bool qk_added_next(const qk_added *a, const uint8_t *text, size_t length, qk_added_walk *w)
{
    if (!a->count) return false;
    for (size_t i = w->at; i < length; i++) {
        size_t n;
        if (!a->roots[text[i]]) continue;
        int32_t k = longest_at(a, text + i, length - i, &n);
        if (k < 0) continue;
        const qk_added_token *token = &a->tokens[k];
        w->start = token->lstrip && i > w->end ? space_before(text, i, w->end) : i;
        w->end = token->rstrip ? space_behind(text, i + n, length) : i + n;
        w->at = i + n;
        w->id = token->id;
        return true;
    }
    return false;
}
