/* The format of a set of files from the dotted parts of their names ("a.jsonl.gz" counts for jsonl
 * and gz). The most frequent one wins; a tie goes to parquet, jsonl, json, csv, then the last in
 * the alphabet. Files without a part of that format are dropped. Private to engine/dataset/.
 *
 * next: engine/dataset/glob.h */
#pragma once

#include "engine/dataset/folder.h"

#define QK_FORMAT_HINT                                                                             \
    "convert it to Parquet (.parquet), JSON lines (.jsonl), CSV (.csv) or text (.txt)"

/* Whether some part of a file's name says what format it has, be it one that is not read. */
bool qk_format_knows(const char *path);
/* Sets files->format and drops the files of others, and splits that are left without any. Refuses
 * formats that are not read, splits of different formats or without any, and files of another
 * format where a card's configuration takes them: `datasets` would read those as this format. */
qk_status qk_data_files_keep_one_format(qk_data_files *files, const char *path, qk_error *err);
const char *qk_format_name(qk_format format);
