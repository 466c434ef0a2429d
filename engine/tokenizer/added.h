/* Added tokens: strings that become one token wherever they stand in a text, special or not.
 *
 * The leftmost match wins, and of those that begin there the longest. lstrip and rstrip also
 * swallow the white space beside the match; single_word passes over matches inside words. The
 * search goes on behind the match itself, so a token may be found again in white space that the one
 * before swallowed; with lstrip it begins behind that, and counts only if something is left. (Where
 * it would end before it begins, the library stops with an error; here it does not count.)
 *
 * next: engine/tokenizer/encode.c */
#pragma once

#include "engine/base/mem.h"
#include "engine/tokenizer/work.h"

enum { QK_MAX_ADDED_LENGTH = 4096 }; /* bytes */

typedef struct qk_trie_node {
    int32_t child, sibling; /* 0: none */
    int32_t token;          /* index of the token that ends here, or -1 */
    uint8_t byte;
} qk_trie_node;

typedef struct qk_added_token {
    int32_t id;
    bool lstrip, rstrip, single_word;
    bool passed_over; /* what it matches is text; the search goes on behind it */
} qk_added_token;

typedef struct qk_added {
    qk_added_token *tokens;
    size_t count, capacity;
    qk_trie_node *nodes; /* nodes[0] is the root */
    size_t node_count, node_capacity;
    int32_t roots[256]; /* the root's children by byte, 0: none */
} qk_added;

/* content: 1..QK_MAX_ADDED_LENGTH bytes. false when it is there already. */
bool qk_added_add(qk_added *added, const void *content, size_t length, qk_added_token token);
void qk_added_free(qk_added *added);

/* Walks a text: zero-initialise but for `work`, then call qk_added_next until it returns false. */
typedef struct qk_added_walk {
    qk_work *work;     /* what the search may take, borrowed; tokens that begin alike cost it */
    bool stopped;      /* there was not enough, or a signal has come */
    size_t at;         /* where the search goes on */
    size_t start, end; /* of the match, stripped space included; start may lie before an end */
    int32_t id;
} qk_added_walk;
bool qk_added_next(const qk_added *added, const uint8_t *text, size_t length, qk_added_walk *w);
