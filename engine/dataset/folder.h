/* Which files of a folder are which split, as `datasets` 4.4 decides it.
 *
 * Without `configs` in the card, the first of these rules that matches any file decides for all:
 *   1  data/SPLIT-NNNNN-of-NNNNN*.*            names of the files' own making
 *   2  a folder named by a split word          train training | validation valid dev val |
 *   3  a file named by a split word            test testing eval evaluation
 *   4  everything is train
 * A word counts when '-', '.', '_', ' ', a digit or an end is on either side of it. Files are in
 * code point order of their paths within each pattern; two patterns that match a file give it
 * twice. Then the most frequent format among the names is kept and the rest dropped. With `configs`
 * the card says it all, and files of two formats are an error. Private to engine/dataset/.
 *
 * next: engine/dataset/card.h */
#pragma once

#include "engine/base/file.h"
#include "engine/dataset/source.h"

enum { QK_MAX_DATA_FILES = 1000000 }; /* in a folder, and of a configuration */

typedef struct qk_data_split {
    char *name;     /* owned */
    qk_names files; /* full paths */
} qk_data_split;

typedef struct qk_data_files {
    qk_format format;
    qk_data_split *splits; /* in the order of "all" */
    size_t count, capacity;
    qk_id_type id_type; /* what the card says of the id column, if it does */
    /* Of a configuration behind the card's first one. The first says what format the dataset has,
     * so there every split must have files of it. */
    bool is_later_config;
    bool from_card;   /* a configuration of the card: files of other formats are not passed over */
    const char *rule; /* what decided, for people; a constant */
} qk_data_files;

/* Resolves a file or folder. `name` is dataset.name or NULL, `id_column` may be NULL. */
qk_status qk_data_files_find(qk_data_files *out, const char *path, const char *name,
                             const char *id_column, qk_error *err);
/* The same for the names of a folder, in code point order, whose files need not all be there. */
qk_status qk_data_files_find_in(qk_data_files *out, const qk_names *names, const char *root,
                                const char *name, const char *id_column, qk_error *err);
void qk_data_files_free(qk_data_files *files);
/* The split called `name`; else QK_ERR_CONFIG with the names there are. */
qk_status qk_data_files_get(const qk_data_files *files, const char *path, const char *name,
                            const qk_data_split **out, qk_error *err);

void qk_data_split_free(qk_data_split *split);

/* ---- for card.c ---- */

/* What a folder holds. */
typedef struct qk_listing {
    const char *root; /* the folder */
    qk_names files;   /* paths inside it, in code point order */
} qk_listing;

/* Whether some file lies below a folder inside it ("a/b"). */
bool qk_listing_has_folder(const qk_listing *all, const char *folder);
/* A new split at the end. */
qk_data_split *qk_data_files_add(qk_data_files *files, const char *name, size_t length);
/* Adds the files that match; returns how many. */
size_t qk_data_split_match(qk_data_split *split, const char *pattern, const qk_listing *all);
/* Rules 1 to 4. */
qk_status qk_data_files_by_name(qk_data_files *files, const qk_listing *all, qk_error *err);
