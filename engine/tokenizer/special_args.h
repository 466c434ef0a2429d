/* How specials.c and special_files.c share their work: the keyword arguments of the class, which
 * are the members of tokenizer_config.json with those of special_tokens_map.json written over them.
 *
 * next: engine/tokenizer/special_files.c */
#pragma once

#include "engine/tokenizer/token_specs.h"

typedef struct qk_loader qk_loader;

typedef struct qk_special_arg {
    const char *key;
    size_t key_length;
    const qk_json *value; /* NULL: taken out */
    bool of_map;          /* an object in special_tokens_map.json is an AddedToken, typed or not */
} qk_special_arg;

typedef struct qk_special_args {
    qk_loader *l;
    qk_special_arg *items; /* of the loader's arena */
    size_t count;
    qk_token_specs own;   /* model_specific_special_tokens */
    bool has_map_extras;  /* the extras are complete: special_tokens_map.json has a list of them */
    size_t config_extras; /* the first of them, which stood in tokenizer_config.json */
} qk_special_args;

/* Reads the four files: the arguments, the decoder (unsorted), extras of special_tokens_map.json.
 */
qk_status qk_special_args_read(qk_special_args *args, qk_loader *l);
void qk_special_args_free(qk_special_args *args);

qk_special_arg *qk_special_arg_find(const qk_special_args *args, const char *key);
/* A token out of the value of an argument, or of an element of its list; null gives no text. */
qk_status qk_special_arg_token(qk_loader *l, const qk_special_arg *arg, const qk_json *value,
                               qk_token_spec *out);
/* Appends the elements of a list of tokens to the extras; null has none. */
qk_status qk_special_arg_extras(qk_loader *l, const qk_special_arg *arg);
/* Puts a token in place of the one with its key, or at the end. */
void qk_token_specs_set(qk_token_specs *specs, qk_token_spec token);
