/* Pre-tokenizers: where a normalised stretch is cut into pieces.
 *
 *   Split      cuts at the matches of a pattern, as its behaviour says (Digits, Punctuation,
 *              Whitespace, WhitespaceSplit and the regex of ByteLevel are Splits, too)
 *   Prefix     a space in front of every piece that has none (ByteLevel's add_prefix_space)
 *   Metaspace  spaces become a replacement character, which may also be put in front
 *   Spell      ByteLevel's spelling of bytes as characters, where other steps follow it; as the
 *              last step it is the flag byte_level, and encode.c does it
 *
 * next: engine/tokenizer/encode.c */
#pragma once

#include "engine/tokenizer/normalize.h"
#include "engine/tokenizer/pattern.h"

typedef enum qk_split_behavior {
    QK_SPLIT_ISOLATED,
    QK_SPLIT_REMOVED,
    QK_SPLIT_MERGED_WITH_PREVIOUS,
    QK_SPLIT_MERGED_WITH_NEXT,
    QK_SPLIT_CONTIGUOUS,
} qk_split_behavior;

typedef enum qk_pre_kind {
    QK_PRE_SPLIT,
    QK_PRE_PREFIX,
    QK_PRE_METASPACE,
    QK_PRE_SPELL,
} qk_pre_kind;
typedef enum qk_prepend { QK_PREPEND_NEVER, QK_PREPEND_FIRST, QK_PREPEND_ALWAYS } qk_prepend;

typedef struct qk_pre_step {
    qk_pre_kind kind;
    qk_pattern *pattern; /* of a Split; owned */
    qk_split_behavior behavior;
    bool invert;         /* matches count as the text between them and the other way round */
    qk_prepend prepend;  /* of Metaspace */
    char replacement[5]; /* of Metaspace */
} qk_pre_step;

typedef struct qk_pretokenizer {
    qk_pre_step steps[QK_MAX_STEPS];
    int count;
    bool byte_level;      /* pieces are spelled with GPT-2's 256 characters */
    bool needs_raw_spans; /* some step asks where in the raw text a piece begins */
} qk_pretokenizer;

/* Appends a text in GPT-2's spelling of bytes; each character has the raw span of its byte. */
void qk_traced_spell(qk_traced *out, qk_view text);

/* Appends a step, whose pattern it takes over. false when there are too many. */
bool qk_pretokenizer_add(qk_pretokenizer *pre, qk_pre_step step);
void qk_pretokenizer_free(qk_pretokenizer *pre);

typedef struct qk_piece {
    uint32_t start, end; /* bytes */
} qk_piece;

typedef struct qk_piece_list {
    qk_piece *items;
    size_t count, capacity;
} qk_piece_list;

/* Working memory of one thread; holds the result, too. Zero-initialise to create. */
typedef struct qk_pre_memory {
    qk_view view;
    size_t length;        /* of the text before any step, in bytes */
    qk_piece_list pieces; /* of the view; none is empty */
    qk_piece_list spare;
    struct qk_cut {
        qk_piece piece;
        bool match;
    } * cuts;
    size_t cut_count, cut_capacity;
    qk_traced a, b;
    qk_match_memory match;
} qk_pre_memory;
void qk_pre_memory_free(qk_pre_memory *memory);

/* Cuts a stretch of at most QK_MAX_TEXT bytes. at_start: the stretch begins where the text does. */
qk_status qk_pretokenize(const qk_pretokenizer *pre, qk_pre_memory *memory, qk_view view,
                         bool at_start, qk_error *err);
