/* The dataset: an iterator over (text, example id) in the order of `datasets.load_dataset`.
 *
 * dataset.path is a file or a folder of Parquet, JSON, CSV or text files; engine/dataset/folder.h
 * says which files of a folder are which split, split.h how a split is cut. Memory is bounded by
 * one row group of Parquet or one row of the others (of packed ones 32 MB), never by the file.
 *
 * next: engine/dataset/folder.h, engine/tokenizer/tokenizer.h */
#pragma once

#include "engine/base/file.h"
#include "engine/base/input.h"
#include "engine/config/config.h"

typedef struct qk_dataset qk_dataset;

/* One row. Pointers are valid until the next call on the same dataset. */
typedef struct qk_example {
    int64_t index;    /* row number in the selection, from 0 */
    int64_t id;       /* the full 64-bit id that seeds the masks */
    const char *text; /* UTF-8, length bytes, not NUL-terminated */
    size_t length;
    const char *id_text; /* Python's str() of the id cell, or NULL without an id column */
    size_t id_length;    /* bytes of it: strings may hold NULs */
} qk_example;

/* Where the files of dataset.path are, when that is a Hub repository: a folder, and the names of
 * all files of the repository in byte order. Only the card needs to be there: of the others one is
 * asked for when its rows are to be read. Paths are full ones, in the folder. */
typedef struct qk_dataset_remote {
    const char *folder;
    const qk_names *files;
    void *context;
    qk_status (*holds)(void *context, const char *path, bool *has, qk_error *err);
    /* Makes files be there. reason: why so many at once, for people; NULL for one whose turn it is.
     */
    qk_status (*need)(void *context, const qk_names *paths, const char *reason, qk_error *err);
    /* This one will be needed next, for certain: it may be fetched meanwhile. */
    void (*soon)(void *context, const char *path);
} qk_dataset_remote;

/* Opens config->dataset and begins. The configuration is borrowed for the life of the dataset. */
qk_status qk_dataset_open(qk_dataset **out, const qk_config *config, qk_error *err);
/* Resolves names, files and splits; reads nothing but the card. `remote` is borrowed, too; NULL:
 * dataset.path itself. */
qk_status qk_dataset_open_in(qk_dataset **out, const qk_config *config,
                             const qk_dataset_remote *remote, qk_error *err);
/* Shares what is known of the files with others who read or hash them; before the first row.
 * Without it the dataset knows them from its own first check. Borrowed. */
void qk_dataset_watch(qk_dataset *d, qk_watch *watch);
/* Whether the file that is being read is still the one of the first check: then all rows of it so
 * far are of one content. Files that were closed were checked then. */
qk_status qk_dataset_check(const qk_dataset *d, qk_error *err);
/* Counts what a slice needs, opens the first file, checks that the columns exist and, where only
 * the rows tell it, that the first of them holds a text. Done by the first qk_dataset_next, if not
 * before. */
qk_status qk_dataset_begin(qk_dataset *d, qk_error *err);
/* *more is false behind the last row. Errors name file and row; a null text is one, and so is a
 * selection without any row (unless max_samples is 0). A file that has changed is an error, at the
 * latest when it is closed. Looks at signals. */
qk_status qk_dataset_next(qk_dataset *d, qk_example *out, bool *more, qk_error *err);
/* Passes over that many rows, or all that are left. Of a file that knows its rows (Parquet) nothing
 * of them is read, of others all is; errors in them come out only where they are read. */
qk_status qk_dataset_skip(qk_dataset *d, int64_t rows, qk_error *err);
/* Back to before qk_dataset_begin, with the same files: a folder is listed once, so what is put
 * into it between two passes is in none of them. NULL-safe. */
void qk_dataset_rewind(qk_dataset *d);
/* Rows the selection will give, when they are known without reading or fetching everything (Parquet
 * files that are there, a slice that had to be counted); else -1, and before qk_dataset_begin. */
int64_t qk_dataset_rows(const qk_dataset *d);
/* The same where only reading everything tells, and that is a moment's work: plain files that are
 * there, of 16 MB together. -1: not so, or a row is in the way that cannot be read. */
int64_t qk_dataset_count_small(const qk_dataset *d);
/* Paths of the files that the rows come from, in reading order; borrowed. */
const qk_names *qk_dataset_files(const qk_dataset *d);
/* What the card says that ids are: "string", "int", "float", "bool", or another type as `datasets`
 * writes it, borrowed; NULL where it does not, and without an id column. */
const char *qk_dataset_id_type(const qk_dataset *d);
/* How many of them, from the first, lead up to the last one that was opened to be read. */
size_t qk_dataset_files_opened(const qk_dataset *d);
void qk_dataset_close(qk_dataset *d); /* NULL-safe */
