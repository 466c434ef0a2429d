/* See rows_digest.h. */
#include "engine/dataset/rows_digest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cache.h"
#include "engine/base/hash.h"
#include "engine/base/progress.h"
#include "engine/base/version.h"
#include "engine/dataset/split.h"

enum { NOTE_SIZE = 200 };

qk_status qk_rows_are_limited(const qk_config *config, bool *limited, qk_error *err)
{
    qk_split_parts parts = {0};
    *limited = config->dataset.max_samples >= 0;
    qk_status s = qk_split_parse(&parts, config->dataset.split, err);
    for (size_t i = 0; i < parts.count; i++) *limited |= parts.items[i].to.given;
    qk_split_parts_free(&parts);
    return s;
}

static void add_number(qk_hash *run, uint64_t n)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(n >> 8 * i);
    qk_hash_add(run, bytes, sizeof bytes);
}

static qk_status read_rows(qk_rows_digest *out, qk_dataset *d, qk_hash *run, qk_error *err)
{
    qk_example e;
    for (bool more = true;;) {
        QK_TRY(qk_dataset_next(d, &e, &more, err));
        if (!more) return QK_OK;
        size_t n = e.id_text ? e.id_length : 0; /* NUL may be in it */
        add_number(run, (uint64_t)e.id);
        add_number(run, e.id_text ? n : UINT64_MAX);
        if (n) qk_hash_add(run, e.id_text, n);
        add_number(run, e.length);
        if (e.length) qk_hash_add(run, e.text, e.length);
        out->rows++;
        out->files = qk_dataset_files_opened(d);
        qk_progress_of("hashing the texts", (double)out->rows, -1, "text");
    }
}

/* ---- notes ---- */

/* What decides the rows. */
typedef struct key {
    qk_buf text;
    bool settled; /* false: a file is too young to be known between runs */
} key;

static void add_file(key *k, const char *path, const qk_file_state *s)
{
    qk_buf_addf(&k->text, "%s\n%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRId64 "\n", path,
                s->device, s->inode, s->size, s->modified, s->changed);
    k->settled &= qk_file_state_is_settled(s);
}

static void add_card(key *k, const char *folder, const char *name)
{
    qk_file_state state;
    qk_error ignored;
    char *path = qk_path_join(folder, name);
    qk_status s = qk_file_state_of(path, &state, &ignored);
    if (s == QK_OK) add_file(k, path, &state);
    k->settled &= s == QK_OK || s == QK_ERR_NOTFOUND; /* else nobody knows what it says */
    free(path);
}

static qk_status make_key(key *k, const qk_config *config, const qk_names *files, qk_watch *watch,
                          qk_error *err)
{
    const char *const settings[] = {QK_OUTPUT_VERSION,           config->dataset.path,
                                    config->dataset.name,        config->dataset.split,
                                    config->dataset.text_column, config->dataset.id_column};
    *k = (key){.settled = true};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        qk_buf_addf(&k->text, "%d %s\n", settings[i] != NULL, settings[i] ? settings[i] : "");
    qk_buf_addf(&k->text, "%" PRId64 "\n", config->dataset.max_samples);
    add_card(k, config->dataset.path, "README.md");
    add_card(k, config->dataset.path, ".huggingface.yaml");
    add_card(k, config->dataset.path, "dataset_infos.json");
    for (size_t i = 0; i < files->count; i++) {
        qk_file_state state;
        QK_TRY(qk_watch_file(watch, files->items[i], &state, err));
        add_file(k, files->items[i], &state);
    }
    return QK_OK;
}

static bool find_note(qk_rows_digest *out, const char *name, size_t files)
{
    qk_buf note;
    char end = 0;
    if (!qk_kept_read("digests", name, NOTE_SIZE, &note)) return false;
    int found = sscanf(qk_buf_str(&note), "%" SCNd64 " %zu %64[0-9a-f]%c", &out->rows, &out->files,
                       out->hex, &end);
    qk_buf_free(&note);
    return found == 4 && end == '\n' && strlen(out->hex) == 64 && out->files <= files;
}

static qk_status find_or_make(qk_rows_digest *out, qk_dataset *d, const qk_config *config,
                              qk_watch *watch, qk_error *err)
{
    key k;
    uint8_t digest[32];
    char hex[65], name[80], note[NOTE_SIZE];
    const qk_names *files = qk_dataset_files(d);
    qk_status s = make_key(&k, config, files, watch, err);
    qk_sha256(k.text.data, k.text.size, digest);
    qk_sha256_hex(digest, hex);
    snprintf(name, sizeof name, "rows-%s", hex); /* no file's note is called so */
    qk_buf_free(&k.text);
    if (s != QK_OK || (k.settled && find_note(out, name, files->count))) return s;
    *out = (qk_rows_digest){0};
    qk_hash *run = qk_hash_sha256();
    s = read_rows(out, d, run, err);
    if (s == QK_OK) s = qk_dataset_check(d, err);
    qk_hash_end(run, out->hex);
    if (s != QK_OK || !k.settled) return s;
    int n = snprintf(note, sizeof note, "%" PRId64 " %zu %s\n", out->rows, out->files, out->hex);
    qk_kept_write("digests", name, note, (size_t)n);
    return QK_OK;
}

qk_status qk_rows_digest_make(qk_rows_digest *out, const qk_config *config, qk_dataset *dataset,
                              qk_watch *watch, qk_error *err)
{
    *out = (qk_rows_digest){0};
    qk_dataset_watch(dataset, watch);
    qk_status s = find_or_make(out, dataset, config, watch, err);
    qk_dataset_rewind(dataset);
    return s;
}
