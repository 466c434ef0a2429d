/* The tokenizer classes of transformers 5.1.0 that are supported, and what each puts in place of
 * parts of tokenizer.json: normalizer, pre-tokenizer, model flags, default special tokens.
 *
 * next: engine/tokenizer/class_rules.c */
#pragma once

#include "engine/tokenizer/token_specs.h"

typedef struct qk_class_name {
    const char *key, *text;
} qk_class_name;

typedef enum qk_class_prefix {
    QK_PREFIX_REQUIRED, /* add_prefix_space is true or false, by default false */
    QK_PREFIX_FALSE,    /* null is false */
    QK_PREFIX_TRUE,     /* absent and null are true */
    QK_PREFIX_UNREAD,
} qk_class_prefix;

typedef struct qk_class_rule {
    const char *name;
    const char *named[QK_NAMED]; /* default special tokens */
    const qk_class_name *others; /* default tokens under names of its own; NULL: none */
    const char *regex;           /* of a Split of a byte-level class */
    bool nfc, spaces, fallback;  /* spaces: each " " becomes "▁" */
    bool with_unk;               /* the model gets the unk_token */
    bool metaspace, legacy;      /* legacy: its key is read */
    bool prefix_after;           /* the prefix space stands behind the Split: at every piece */
    bool add_bos;                /* a template with BOS, whatever the post-processor says */
    bool plain_specials;         /* special tokens lose their flags */
    qk_class_prefix prefix;
} qk_class_rule;

/* NULL when there is none of this name. */
const qk_class_rule *qk_class_rule_find(const char *name);
