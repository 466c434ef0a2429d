/* The format of a set of files from the dotted parts of their names ("a.jsonl.gz" counts for jsonl
 * and gz). The most frequent one wins; a tie goes to parquet, jsonl, json, csv, then the last in
 * the alphabet; metadata.jsonl and its like count where there is nothing else. Without a card,
 * files without a part of that format are dropped; files that a card names all have to be of it.
 * Private to engine/dataset/.
 *
 * next: engine/dataset/glob.h */
#pragma once

#include "engine/dataset/folder.h"

#define QK_FORMAT_HINT                                                                             \
    "convert it to Parquet (.parquet), JSON lines (.jsonl), CSV (.csv) or text (.txt)"

/* Whether some part of a file's name says what format it has, be it one that is not read. */
bool qk_format_knows(const char *path);
/* Of a CSV file: whether its fields are between tabs, by its name. */
bool qk_format_is_tsv(const char *path);
/* Sets files->format. Drops files of no format and, without a card, of others, and splits that are
 * left without any. Refuses formats that are not read, splits of different formats or without any,
 * tabs and commas between the fields of one dataset, and files of another format where a card's
 * configuration takes them: `datasets` would read those as this format, which is that of `first`,
 * the files of the card's first configuration (NULL, or none in it: of `files`). */
qk_status qk_data_files_keep_one_format(qk_data_files *files, const qk_data_files *first,
                                        const char *path, qk_error *err);
const char *qk_format_name(qk_format format);
