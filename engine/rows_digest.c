/* See rows_digest.h. */
#include "engine/rows_digest.h"

#include <string.h>

#include "engine/base/log.h"
#include "engine/dataset/split.h"
#include "engine/sha256.h"

qk_status qk_rows_are_limited(const qk_config *config, bool *limited, qk_error *err)
{
    qk_split_parts parts = {0};
    *limited = config->dataset.max_samples >= 0;
    qk_status s = qk_split_parse(&parts, config->dataset.split, err);
    for (size_t i = 0; i < parts.count; i++) *limited |= parts.items[i].to.given;
    qk_split_parts_free(&parts);
    return s;
}

static void add_number(qk_sha256_run *run, uint64_t n)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(n >> 8 * i);
    qk_sha256_add(run, bytes, sizeof bytes);
}

static void add_row(qk_sha256_run *run, const qk_example *e)
{
    size_t n = e->id_text ? strlen(e->id_text) : 0;
    add_number(run, (uint64_t)e->id);
    add_number(run, e->id_text ? n : UINT64_MAX);
    if (n) qk_sha256_add(run, e->id_text, n);
    add_number(run, e->length);
    if (e->length) qk_sha256_add(run, e->text, e->length);
}

static qk_status read_rows(qk_rows_digest *out, qk_dataset *d, qk_sha256_run *run, qk_error *err)
{
    qk_example e;
    for (bool more = true;;) {
        QK_TRY(qk_dataset_next(d, &e, &more, err));
        if (!more) return QK_OK;
        add_row(run, &e);
        out->rows++;
        out->files = qk_dataset_files_opened(d);
        qk_progress(false, "looking at the rows of the run: %lld", (long long)out->rows);
    }
}

qk_status qk_rows_digest_make(qk_rows_digest *out, const qk_config *config, qk_watch *watch,
                              qk_error *err)
{
    uint8_t digest[32];
    qk_dataset *d;
    *out = (qk_rows_digest){0};
    QK_TRY(qk_dataset_open_in(&d, config, NULL, err));
    qk_dataset_watch(d, watch);
    qk_sha256_run *run = qk_sha256_begin();
    qk_status s = read_rows(out, d, run, err);
    if (s == QK_OK) s = qk_dataset_check(d, err);
    qk_sha256_end(run, digest);
    qk_sha256_hex(digest, out->hex);
    qk_dataset_close(d);
    return s;
}
