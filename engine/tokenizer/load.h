/* Loading: what the files of the loader share.
 *
 *   load.c        the file, its parts, the result     load_model.c  the model and its flags
 *   load_steps.c  normalizer and pre-tokenizer        load_bpe.c    BPE: vocabulary and merges
 *   load_added.c  added tokens                        load_unigram.c  Unigram: the same, scores
 *   load_post.c   what goes around the ids            side_files.c  the files beside it
 *   config_keys.c keys of tokenizer_config.json       classes.c     which class rules
 *   specials.c    special tokens of any file          class_rules.c what it replaces
 *   special_files.c  special_tokens_map.json, added_tokens.json
 *
 * Most of a file is its vocabulary and its merges. The file is read once, from its begin to its
 * end; these two go into tables as they come, and of other parts their offsets are noted.
 *
 * next: engine/tokenizer/load.c */
#pragma once

#include "engine/tokenizer/internal.h"
#include "engine/tokenizer/token_specs.h"

/* A value inside the text: [begin, end), or nothing (begin == end). */
typedef struct qk_span {
    size_t begin, end;
} qk_span;

/* The JSON files beside tokenizer.json; NULL: there is none, or it is not read. */
typedef struct qk_side_files {
    const qk_json *config; /* tokenizer_config.json */
    const qk_json *model;  /* config.json */
    const qk_json *map;    /* special_tokens_map.json, without added_tokens_decoder in config */
    const qk_json *added;  /* added_tokens.json, the same */
} qk_side_files;

typedef struct qk_loader {
    qk_tokenizer *tok;
    const char *folder;
    const char *path; /* of tokenizer.json */
    qk_side_files side;
    const struct qk_class_rule *rule; /* NULL: tokenizer.json counts as it stands */
    qk_specials specials;
    const char *text;
    size_t size; /* bytes */
    qk_error *err;
    qk_arena arena; /* trees; dies with the loader */
} qk_loader;

/* Reads member i of an object, whose first event was just returned, to its end. *done = false, as
 * it comes: it read nothing, and the value is passed over. */
typedef qk_status (*qk_member_reader)(qk_loader *l, qk_json_reader *r, qk_json_event first, int i,
                                      void *context, bool *done);
/* Finds the members of an object whose first event was just returned: spans[i] becomes the span of
 * the value of names[i]. A key that is given twice is refused. */
qk_status qk_loader_members(qk_loader *l, qk_json_reader *r, qk_json_event first,
                            const char *const *names, qk_span *spans, int count,
                            qk_member_reader read, void *context);
/* A reader that stands before a value noted earlier. Close it. */
void qk_loader_open(qk_loader *l, qk_json_reader *r, qk_span span);
/* A small value as a tree; NULL for an empty span. */
qk_status qk_loader_tree(qk_loader *l, qk_span span, const qk_json **out);
/* Fails with "PATH: where: message" and the hint for things that are not supported. */
qk_status qk_loader_refuse(qk_loader *l, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for a file beside tokenizer.json: "FOLDER/name: message". */
qk_status qk_side_refuse(const qk_loader *l, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define QK_REFUSAL_HINT "qkengine tokenizes exactly as the reference or not at all"
/* A true or false member. required = false: an absent or null one leaves *out. */
qk_status qk_loader_bool(qk_loader *l, const qk_json *object, const char *where, const char *key,
                         bool required, bool *out);
/* A string member, copied into the tokenizer's arena; absent or null: NULL. */
qk_status qk_loader_string(qk_loader *l, const qk_json *object, const char *where, const char *key,
                           const char **out, size_t *length);

/* The model, whose first event was just returned. */
qk_status qk_load_model(qk_loader *l, qk_json_reader *r, qk_json_event first);
/* Its vocabulary (a Unigram model is made by it) and its merges (when the vocabulary and the prefix
 * are known), the same way. */
qk_status qk_read_bpe_vocab(qk_json_reader *r, qk_json_event first, qk_vocab *vocab);
qk_status qk_read_bpe_merges(qk_json_reader *r, qk_json_event first, qk_bpe *bpe);
qk_status qk_read_unigram_vocab(qk_json_reader *r, qk_json_event first, qk_tokenizer *tok);
/* Builds a Unigram model when its vocabulary is read. */
qk_status qk_load_unigram(qk_loader *l, const qk_json *unknown, const qk_json *fallback);
qk_status qk_load_normalizer(qk_loader *l, const qk_json *node);
qk_status qk_load_pretokenizer(qk_loader *l, const qk_json *node);
/* Reads the list of tokenizer.json into l->specials. */
qk_status qk_read_added(qk_loader *l, const qk_json *node);
/* Finds the special tokens of the other files and of the class. padding: the token that
 * tokenizer.json pads with, or NULL. */
qk_status qk_load_specials(qk_loader *l, const char *padding);
/* Adds them all to the tokenizer, behind its normalizer. */
qk_status qk_load_added(qk_loader *l);
/* What goes around the ids: of the class, or of tokenizer.json. */
qk_status qk_load_post_processor(qk_loader *l, const qk_json *node);

/* Sets the model's flags, normalizer and pre-tokenizer of the class that rules. */
qk_status qk_apply_class(qk_loader *l);
/* The trees live in the arena. */
qk_status qk_side_files_read(qk_side_files *out, qk_arena *arena, const char *folder,
                             qk_error *err);

/* Of a table in which qk_vocab_add and its like found too many collisions. */
#define QK_CROWDED "its entries were chosen such that each look-up passes thousands of others"

#define QK_GPT2_REGEX                                                                              \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
