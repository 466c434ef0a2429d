/* Reads tests/data/sampler/NAME.txt, lines of fields made by tests/tools/make_sampler_vectors.py.
 *
 *   for (vectors v = vectors_open("masks.txt"); vectors_next(&v);)
 *       if (vectors_is(&v, "mask")) ... field_int(&v, 2) ...
 *
 * The end of the file is checked against its count of records. */
#pragma once

#include <openssl/sha.h>

#include "tests/test.h"

#include "sampler/positions.h"

enum { VECTOR_FIELDS = 16 };

typedef struct vectors {
    FILE *file;
    char *line;
    size_t capacity;
    char *fields[VECTOR_FIELDS];
    int n_fields;
    long records;
} vectors;

static inline vectors vectors_open(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "tests/data/sampler/%s", name);
    vectors v = {.file = fopen(path, "r")};
    CHECK_MSG(v.file != NULL, "%s cannot be read", path);
    return v;
}

static inline bool vectors_is(const vectors *v, const char *kind)
{
    return !strcmp(v->fields[0], kind);
}

static inline const char *field(const vectors *v, int i)
{
    if (i < v->n_fields) return v->fields[i];
    CHECK_MSG(false, "a %s line without field %d", v->fields[0], i);
    return "0";
}

static inline int64_t field_int(const vectors *v, int i)
{
    return strtoll(field(v, i), NULL, 10);
}

static inline uint64_t field_uint(const vectors *v, int i)
{
    return strtoull(field(v, i), NULL, 10);
}

/* By its name in a configuration. */
static inline qk_sampler_kind sampler_kind(const char *name)
{
    for (int kind = QK_SAMPLE_LOG_UNIFORM; kind <= QK_SAMPLE_ALL; kind++)
        if (!strcmp(name, qk_sampler_kind_name((qk_sampler_kind)kind)))
            return (qk_sampler_kind)kind;
    CHECK_MSG(false, "no sampler is called %s", name);
    return QK_SAMPLE_ALL;
}

/* The next record; at the end of the file closes it and returns false. */
static inline bool vectors_next(vectors *v)
{
    while (v->file && getline(&v->line, &v->capacity, v->file) > 0) {
        if (*v->line == '#') continue;
        v->n_fields = 0;
        char *save = NULL, *token = strtok_r(v->line, " \n", &save);
        for (; token && v->n_fields < VECTOR_FIELDS; token = strtok_r(NULL, " \n", &save))
            v->fields[v->n_fields++] = token;
        if (!vectors_is(v, "end")) {
            v->records++;
            return true;
        }
        CHECK_INT(v->records, field_int(v, 1));
        CHECK(v->records > 0);
        fclose(v->file);
        v->file = NULL;
    }
    CHECK_MSG(v->file == NULL, "no end line");
    free(v->line);
    v->line = NULL;
    return false;
}

/* A list of integers joined by commas, "-" when empty; the caller frees. */
static inline int64_t *field_list(const vectors *v, int i, size_t *count)
{
    const char *p = field(v, i);
    int64_t *items = malloc((strlen(p) + 1) * sizeof *items);
    *count = 0;
    if (!strcmp(p, "-")) return items;
    for (char *end;; p = end + 1) {
        items[(*count)++] = strtoll(p, &end, 10);
        if (*end != ',') return items;
    }
}

static inline void hash16(const void *bytes, size_t n, char out[17])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(bytes, n, digest);
    for (int i = 0; i < 8; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

/* The hash in the vectors is the one of these int64 values. */
static inline void check_hash(const vectors *v, const char *expected, const int64_t *values,
                              size_t n)
{
    char actual[17];
    hash16(values, n * sizeof *values, actual);
    CHECK_MSG(!strncmp(actual, expected, 16), "%s record %ld: hash of %zu values is %s, not %.16s",
              v->fields[0], v->records, n, actual, expected);
}
