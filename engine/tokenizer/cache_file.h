/* The cache of loaded tokenizers: what takes long to read in a tokenizer.json, as tables ready to
 * be mapped.
 *
 *   FOLDER/SHA-256.tables   a header, sections at multiples of 64 bytes: the vocabulary's
 *                           strings, offsets, lengths and hash slots, the merges' hash slots,
 *                           which tokens merge, and the JSON text with null in place of
 *                           vocabulary and merges
 *   FOLDER/DEVICE-INODE.sum the SHA-256 of a tokenizer.json that has not changed since (size, times
 *                           of change to the nanosecond), so that it is not read at all
 *
 * FOLDER is qk_cache_folder("tokenizers"). A file that is damaged, of another version or of another
 * kind of machine counts as absent and is replaced; a folder that cannot be written is no error.
 * Little-endian or not at all.
 *
 * next: engine/tokenizer/cache_file.c, engine/tokenizer/cache_place.c */
#pragma once

#include "engine/base/file.h"
#include "engine/tokenizer/bpe.h"

enum { QK_CACHE_LEAST = 1 << 19 }; /* bytes: a smaller tokenizer.json is as fast without */

/* ---- places ---- */

typedef struct qk_table_cache_place {
    char *folder;    /* NULL: there is no cache */
    uint8_t key[32]; /* SHA-256 of tokenizer.json */
    char *path;      /* of the tables; NULL until the key is known */
    char *note;      /* DEVICE-INODE.sum, NULL when there is none to be had */
    char state[128]; /* size and times of tokenizer.json, as the note has them */
    bool settled;    /* it was changed long enough ago for its times to tell the next change */
} qk_table_cache_place;

/* Where the tables of the tokenizer.json at `path` belong, as far as notes tell. */
void qk_table_cache_place_find(qk_table_cache_place *place, const char *path);
/* Sets key and path from the file's bytes, and leaves a note for the next time. */
void qk_table_cache_place_hash(qk_table_cache_place *place, const char *path, const uint8_t *bytes,
                               size_t n);
void qk_table_cache_place_free(qk_table_cache_place *place);

/* ---- tables ---- */

/* Maps the tables into bpe (vocabulary, merges, glued) and the text that goes with them. They lie
 * in *map: see qk_table_cache_release. false: absent, or not to be trusted; bpe is as it was. */
bool qk_table_cache_read(const qk_table_cache_place *place, qk_bpe *bpe, qk_map *map,
                         const char **text, size_t *size);
/* Writes under a temporary name and renames. What goes wrong is left at that. */
void qk_table_cache_write(const qk_table_cache_place *place, const qk_bpe *bpe, const char *text,
                          size_t size);
/* Takes mapped tables out of bpe and unmaps them. */
void qk_table_cache_release(qk_bpe *bpe, qk_map *map);
