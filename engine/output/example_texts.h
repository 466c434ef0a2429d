/* Which tokens an example id stands for. In prefix layout an id's rows are kept once, so a run may
 * not add another text under an id that the folder has, nor a push one that the branch has: rows of
 * the two would be one example's.
 *
 * Within a run the older reference keeps a row once per (id, position) whatever the text is; that
 * stays, with a warning.
 *
 * Memory: 36 to 72 bytes for each text, and the ids (engine/output/id_index.h).
 *
 * next: engine/output/join.h */
#pragma once

#include "engine/output/examples_file.h"
#include "engine/output/id_index.h"

typedef enum qk_text_side {
    QK_TEXT_THERE, /* of the folder, or of the branch */
    QK_TEXT_COMES, /* of the run, or of the folder that is pushed */
} qk_text_side;

/* Zero-initialise to create. */
typedef struct qk_texts {
    qk_id_index ids, there; /* of both sides; of QK_TEXT_THERE */
    struct qk_text_slot {
        int64_t id;
        uint64_t digest; /* the first 8 bytes of the SHA-256, never 0; 0: a free slot */
        int64_t order;   /* 2 * index + side */
    } * slots;           /* open addressing by id and digest */
    size_t count, capacity;
    uint64_t key;    /* of the hash, see engine/output/pair_set.h */
    uint64_t probes; /* slots that qk_texts_add has looked at: what it cost */
} qk_texts;

typedef enum qk_text {
    QK_TEXT_NEW,   /* the id is not known */
    QK_TEXT_KNOWN, /* the id stands for these tokens already */
    QK_TEXT_AGAIN, /* the id came with other tokens, and was not there before */
    QK_TEXT_OTHER, /* the id was there before, with other tokens */
} qk_text;

/* What is known of the example's id. */
qk_text qk_texts_find(const qk_texts *texts, const qk_unit_example *e);
/* The same; notes the example after that. */
qk_text qk_texts_add(qk_texts *texts, const qk_unit_example *e, qk_text_side side);
void qk_texts_free(qk_texts *texts);
/* Adds the examples of a file, as QK_TEXT_THERE. */
qk_status qk_texts_read(qk_texts *texts, const char *path, qk_error *err);
/* The error of QK_TEXT_OTHER: names the id, and of both texts the example and the digest. `there`
 * and `comes` say where they are: "final/m/examples.parquet", "this run". */
qk_status qk_texts_refuse(const qk_texts *texts, const qk_unit_example *e, const char *there,
                          const char *comes, const char *hint, qk_error *err);
/* The same of QK_TEXT_AGAIN, as a warning. */
void qk_texts_warn(const qk_texts *texts, const qk_unit_example *e);
