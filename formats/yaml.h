/* YAML text -> a tree whose nodes know their position, with the scalars of PyYAML.
 *
 * libyaml does the syntax (its event API); what a plain scalar means is decided by formats/yaml_scalar.c
 * with PyYAML's patterns (YAML 1.1): `yes` is a boolean, `1e3` a string, `1.0e+3` a number, `010`
 * eight, `1:30` ninety, `2024-05-06` a date. Quoted and block scalars are strings.
 *
 * Stricter than PyYAML: one document, no key twice, keys are strings, no tags, no merge keys. An
 * alias is a copy of what it stands for, and copies are counted. Only UTF-8 is read.
 *
 * qk_yaml_parse_safe is for text of others, of which a part is used: it reads what PyYAML's
 * SafeLoader reads, and more where that makes no difference to the rest.
 *
 * next: engine/config/keys.h */
#pragma once

#include "engine/base/mem.h"

enum {
    QK_YAML_MAX_DEPTH = 64,
    QK_YAML_MAX_NODES = 200000, /* in all, copies of aliases included */
    QK_YAML_MAX_KEYS = 10000,   /* in one map */
    QK_YAML_MAX_BYTES = 1 << 22
};

typedef enum qk_yaml_type {
    QK_YAML_NULL,
    QK_YAML_BOOL,
    QK_YAML_INT,
    QK_YAML_FLOAT,
    QK_YAML_STRING,
    QK_YAML_DATE, /* a date or time stamp; text as written */
    QK_YAML_LIST,
    QK_YAML_MAP,
    QK_YAML_OTHER, /* of qk_yaml_parse_safe: a set, bytes, an unknown tag ...: no value we use */
} qk_yaml_type;

typedef struct qk_yaml {
    qk_yaml_type type;
    bool plain;       /* a scalar without quotes */
    bool boolean;     /* of a BOOL */
    bool fits;        /* an INT within int64 */
    int64_t integer;  /* then its value */
    double number;    /* of INT and FLOAT */
    const char *text; /* of every scalar: as written, quotes and escapes resolved */
    size_t length;    /* bytes of text */

    const char *key; /* inside a map, else NULL */
    size_t key_length;
    bool other_key; /* of qk_yaml_parse_safe: the key is no string; qk_yaml_get passes it */
    int key_line, key_column; /* from 1 */
    int line, column;         /* of the value, from 1 */
    const char *setting;      /* "--set a.b=c" that the value came from; NULL: the file */

    size_t count; /* children of a LIST or MAP */
    struct qk_yaml *first, *last, *next;
} qk_yaml;

/* The only document in text[0..size), as a tree in the arena; *out is NULL when there is none.
 * `name` is for messages: "run.yaml:3:9: ...". QK_ERR_CONFIG on error. */
qk_status qk_yaml_parse(qk_arena *arena, const char *text, size_t size, const char *name,
                        qk_yaml **out, qk_error *err);

/* The same as PyYAML's SafeLoader reads it: keys of any type, the last of equal keys, merge keys
 * (<<), tags. What that refuses inside a value (an unknown tag, a list as a key, an impossible
 * date) is QK_YAML_OTHER here, or a key that is passed over. QK_YAML_OTHER is also what two maps of
 * one merge key say differently: PyYAML took the first until 6.0.3, and takes the last since. At
 * most 256 levels, a million values and QK_YAML_MAX_BYTES; an alias shares its children with what it
 * stands for, so change none of them. Errors are those of what is no YAML at all. */
qk_status qk_yaml_parse_safe(qk_arena *arena, const char *text, size_t size, const char *name,
                             qk_yaml **out, qk_error *err);
/* Whether Python would call the value true. NULL: false. */
bool qk_yaml_is_true(const qk_yaml *value);

/* Gives a scalar node its type and value from text, length and plain. false when the text looks
 * like a value that PyYAML cannot make either ("=", "0b_"). */
bool qk_yaml_resolve(qk_yaml *scalar);

/* The member of a map, or NULL; also NULL when `map` is no map or NULL. */
qk_yaml *qk_yaml_get(const qk_yaml *map, const char *key);
/* Puts `value` into a map under `key` (borrowed), in place of an earlier one. */
void qk_yaml_put(qk_yaml *map, const char *key, qk_yaml *value);
