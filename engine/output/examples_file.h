/* examples.parquet: one row for each example that was run.
 *
 *   index      int64   row of the dataset's selection
 *   id         int64   the full id behind the seeds; files store its low 32 bits
 *   id_text    string  the id column's cell as Python's str() gives it, null without one
 *   tokens     int32
 *   truncated  bool
 *   sha256     string  of the token ids as int32 little-endian, 64 hexadecimal digits
 *   example_id int32   low 32 bits of id, as head files have it: to join their rows with these
 *
 * Files of before have no example_id; it is not read. The metadata has "qkengine.attention"
 * (engine/output/attention.h).
 *
 * next: engine/output/example_texts.h */
#pragma once

#include "engine/capture/unit_file.h"

typedef struct qk_examples_writer qk_examples_writer;
qk_status qk_examples_create(qk_examples_writer **out, const char *path, qk_error *err);
qk_status qk_examples_append(qk_examples_writer *w, const qk_unit_example *e, qk_error *err);
/* A string under a key of the file's metadata; both are copied. */
void qk_examples_set_metadata(qk_examples_writer *w, const char *key, const char *value);
qk_status qk_examples_commit(qk_examples_writer *w, qk_error *err); /* frees w in any case */
void qk_examples_abort(qk_examples_writer *w);                      /* NULL-safe */

/* Calls visit for each row of an existing file. */
typedef qk_status (*qk_example_visit)(void *context, const qk_unit_example *e, qk_error *err);
qk_status qk_examples_read(const char *path, qk_example_visit visit, void *context, qk_error *err);
/* The same where an absent file has no row. */
qk_status qk_examples_read_if_there(const char *path, qk_example_visit visit, void *context,
                                    qk_error *err);
