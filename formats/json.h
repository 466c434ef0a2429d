/* JSON (RFC 8259), the only parser of it in the program: safetensors headers, config.json,
 * tokenizer.json, JSONL rows, Hub replies.
 *
 * Two layers. qk_json_reader pulls events from text in memory and allocates nothing but one scratch
 * buffer for strings with escapes: large files go straight into tables. qk_json_parse builds a tree
 * from the events, for small files. Both refuse trailing text, bytes that are not UTF-8, lone
 * surrogates and nesting beyond QK_JSON_MAX_DEPTH; the tree also refuses a key given twice.
 * NaN, Infinity and -Infinity are read as Python's json does, because Hub files contain them.
 *
 * next: formats/safetensors.h */
#pragma once

#include "engine/base/mem.h"

enum { QK_JSON_MAX_DEPTH = 192 };

/* ---- pulling events ---- */

typedef enum qk_json_event {
    QK_JSON_ERROR, /* sticky: every later call returns it again */
    QK_JSON_OBJECT,
    QK_JSON_OBJECT_END,
    QK_JSON_ARRAY,
    QK_JSON_ARRAY_END,
    QK_JSON_KEY,    /* text, length */
    QK_JSON_STRING, /* text, length */
    QK_JSON_NUMBER, /* text, length: as written; see qk_json_number */
    QK_JSON_TRUE,
    QK_JSON_FALSE,
    QK_JSON_NULL,
    QK_JSON_DONE, /* the document is complete */
} qk_json_event;

typedef struct qk_json_reader {
    const char *begin, *at, *end; /* borrowed text; need not end with a NUL */
    bool goes_on;                 /* behind `end`, unseen: a number that reaches it is cut off */
    const char *name;             /* file name for messages, borrowed */
    qk_error *err;
    /* What lies before `begin`, for messages about text that is read in pieces: bytes, line ends,
     * and bytes behind the last of those. */
    uint64_t base_offset, base_line;
    size_t base_column;

    const char *text; /* of the last key, string or number; valid until the next event */
    size_t length;
    size_t offset; /* bytes from the start of the text to the last event */

    qk_buf scratch;
    int depth;
    bool failed, done, need_comma, after_key;
    bool in_object[QK_JSON_MAX_DEPTH];
} qk_json_reader;

void qk_json_open(qk_json_reader *r, const char *text, size_t size, const char *name,
                  qk_error *err);
qk_json_event qk_json_next(qk_json_reader *r);
/* For documents one after the other (JSON lines): begins the next one and returns its first event,
 * or QK_JSON_DONE behind the last. White space between documents is optional. */
qk_json_event qk_json_next_document(qk_json_reader *r);
/* Passes over the rest of the value whose first event was just returned. false on error. */
bool qk_json_skip(qk_json_reader *r, qk_json_event first);
/* Fails the reader at its position: "name: byte 17 (line 2, column 5): message". */
qk_status qk_json_fail(qk_json_reader *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void qk_json_close(qk_json_reader *r);

/* ---- a tree ---- */

typedef enum qk_json_type {
    QK_JSON_T_NULL,
    QK_JSON_T_BOOL,
    QK_JSON_T_NUMBER,
    QK_JSON_T_STRING,
    QK_JSON_T_ARRAY,
    QK_JSON_T_OBJECT,
} qk_json_type;

typedef struct qk_json {
    qk_json_type type;
    bool boolean;      /* of a BOOL */
    bool is_integer;   /* a NUMBER without fraction and exponent that fits in int64 */
    int64_t integer;   /* then its value */
    double number;     /* the nearest double of any NUMBER */
    const char *text;  /* of a STRING; of a NUMBER as it was written */
    size_t length;     /* bytes of text; strings may contain NUL */
    const char *key;   /* inside an object, else NULL */
    size_t key_length; /* bytes */
    size_t offset;     /* of the value in the text */
    size_t count;      /* children of an ARRAY or OBJECT */
    struct qk_json *first, *next;
} qk_json;

/* The whole document as a tree that lives in the arena (strings included). */
qk_status qk_json_parse(qk_arena *arena, const char *text, size_t size, const char *name,
                        const qk_json **out, qk_error *err);
/* Reads and parses a file of at most `limit` bytes. */
qk_status qk_json_parse_file(qk_arena *arena, const char *path, size_t limit, const qk_json **out,
                             qk_error *err);
/* The same where an absent file is fine: *out is NULL then. */
qk_status qk_json_parse_if_there(qk_arena *arena, const char *path, size_t limit,
                                 const qk_json **out, qk_error *err);

/* The member called key, or NULL; also NULL when the value is absent, no object, or `object` is
 * NULL, so that look-ups chain. A null member is returned as a node of type NULL. */
const qk_json *qk_json_get(const qk_json *object, const char *key);
bool qk_json_is_string(const qk_json *value, const char *text);
/* Whether a key or a string, which may contain NULs, is this text. */
bool qk_json_text_is(const char *text, size_t length, const char *wanted);
/* "null", "a boolean", "a number", "a string", "an array", "an object", "nothing". */
const char *qk_json_type_name(const qk_json *value);

/* Number text to double (correctly rounded, whatever the locale) and to int64 when it is one. */
double qk_json_number(const char *text, size_t length, bool *is_integer, int64_t *integer);

/* ---- writing ---- */

/* Builds text with commas and two-space indentation; compact = true gives one line.
 * key is NULL inside arrays and for the outermost value. */
typedef struct qk_json_out {
    qk_buf buf;
    int depth;
    bool compact;
    bool has_item[QK_JSON_MAX_DEPTH];
} qk_json_out;

/* A string with its quotes, appended: JSON, and a double-quoted string of YAML as well. */
void qk_json_quote(qk_buf *buf, const char *text, size_t length);
void qk_json_begin(qk_json_out *o, const char *key, char bracket);       /* '{' or '[' */
void qk_json_end(qk_json_out *o, char bracket);                          /* '}' or ']' */
void qk_json_add_str(qk_json_out *o, const char *key, const char *text); /* NULL writes null */
void qk_json_add_strn(qk_json_out *o, const char *key, const char *text, size_t length);
void qk_json_add_int(qk_json_out *o, const char *key, int64_t value);
/* The shortest digits that read back as the same double; null for NaN and infinities. */
void qk_json_add_num(qk_json_out *o, const char *key, double value);
void qk_json_add_bool(qk_json_out *o, const char *key, bool value);
void qk_json_add_null(qk_json_out *o, const char *key);
/* A copy of a parsed tree. */
void qk_json_add_tree(qk_json_out *o, const char *key, const qk_json *value);
