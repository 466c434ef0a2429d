/* See sha256.h. */
#include "engine/base/sha256.h"

#include <errno.h>
#include <omp.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/beneath.h"
#include "engine/base/digest_note.h"
#include "engine/base/interrupt.h"
#include "engine/base/log.h"

enum { PIECE = 1 << 20 };

/* ---- bytes ---- */

void qk_sha256(const void *bytes, size_t n, uint8_t out[32])
{
    unsigned length;
    if (!EVP_Digest(bytes, n, out, &length, EVP_sha256(), NULL)) qk_fatal("SHA-256 failed");
}

qk_sha256_run *qk_sha256_begin(void)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (!md || !EVP_DigestInit_ex(md, EVP_sha256(), NULL)) qk_fatal("SHA-256 failed");
    return md;
}

void qk_sha256_add(qk_sha256_run *run, const void *bytes, size_t n)
{
    if (!EVP_DigestUpdate(run, bytes, n)) qk_fatal("SHA-256 failed");
}

void qk_sha256_end(qk_sha256_run *run, uint8_t out[32])
{
    if (!EVP_DigestFinal_ex(run, out, NULL)) qk_fatal("SHA-256 failed");
    EVP_MD_CTX_free(run);
}

void qk_sha256_hex(const uint8_t digest[32], char out[65])
{
    for (int i = 0; i < 32; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

/* ---- files ---- */

/* What all threads have done. */
typedef struct work {
    atomic_uint_fast64_t done;
    uint64_t total; /* bytes */
} work;

static qk_status read_digest(const qk_input *in, work *w, char hex[65], qk_error *err)
{
    uint8_t digest[32], *piece = qk_alloc(PIECE, 1);
    qk_sha256_run *run = qk_sha256_begin();
    qk_status s = QK_OK;
    for (uint64_t at = 0, size = in->state.size; at < size && s == QK_OK; at += PIECE) {
        size_t n = size - at < PIECE ? (size_t)(size - at) : PIECE;
        s = qk_interrupt_check(err);
        if (s == QK_OK) s = qk_input_read(in, at, piece, n, err);
        if (s == QK_OK) qk_sha256_add(run, piece, n);
        qk_progress(false, "SHA-256 of the inputs: %s of %s",
                    qk_human_bytes((double)atomic_fetch_add(&w->done, n)),
                    qk_human_bytes((double)w->total));
    }
    qk_sha256_end(run, digest);
    qk_sha256_hex(digest, hex);
    free(piece);
    return s;
}

/* state: as the watch saw the file first. */
static qk_status file_digest(const char *path, const qk_file_state *state, work *w, char hex[65],
                             qk_error *err)
{
    qk_input in;
    bool settled = qk_file_state_is_settled(state);
    if (settled && qk_digest_note_find(state, QK_DIGEST_SHA256, hex)) {
        w->done += state->size;
        return QK_OK;
    }
    QK_TRY(qk_input_open(&in, path, err));
    qk_status s = read_digest(&in, w, hex, err);
    qk_input_close(&in);
    if (s == QK_OK) s = qk_file_state_check(state, path, err);
    if (s == QK_OK && settled) qk_digest_note_leave(state, hex);
    return s;
}

static qk_status digest_all(const qk_names *paths, const qk_file_state *states, int threads,
                            char (*hex)[65], qk_error *err)
{
    qk_status result = QK_OK;
    work w = {0};
    for (size_t i = 0; i < paths->count; i++) w.total += states[i].size;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (size_t i = 0; i < paths->count; i++) {
        qk_error own = {0};
        qk_status s = file_digest(paths->items[i], &states[i], &w, hex[i], &own);
        if (s == QK_OK) continue;
#pragma omp critical
        {
            result = s;
            *err = own;
        }
    }
    return result;
}

qk_status qk_sha256_files(const qk_names *paths, int threads, qk_watch *watch, char (*hex)[65],
                          qk_error *err)
{
    qk_file_state *states = qk_alloc(paths->count, sizeof *states);
    qk_status s = QK_OK;
    for (size_t i = 0; i < paths->count && s == QK_OK; i++)
        s = qk_watch_file(watch, paths->items[i], &states[i], err);
    if (!threads) threads = omp_get_max_threads();
    if (s == QK_OK) s = digest_all(paths, states, threads, hex, err);
    free(states);
    return s;
}

qk_status qk_sha256_open_file(int fd, const char *path, char hex[65], uint64_t *bytes,
                              qk_error *err)
{
    uint8_t digest[32], *piece = qk_alloc(PIECE, 1);
    qk_sha256_run *run = qk_sha256_begin();
    qk_status s = QK_OK;
    bool more = true;
    for (*bytes = 0; more && s == QK_OK;) {
        ssize_t n = pread(fd, piece, PIECE, (off_t)*bytes);
        more = n != 0;
        s = n < 0 && errno != EINTR ? qk_fail_errno(err, "cannot read", path)
                                    : qk_interrupt_check(err);
        if (n <= 0) continue;
        qk_sha256_add(run, piece, (size_t)n);
        *bytes += (uint64_t)n;
    }
    qk_sha256_end(run, digest);
    free(piece);
    qk_sha256_hex(digest, hex);
    return s;
}

qk_status qk_sha256_file(const char *path, char hex[65], uint64_t *bytes, qk_error *err)
{
    int fd;
    QK_TRY(qk_open_regular(&fd, path, O_RDONLY, err));
    qk_status s = qk_sha256_open_file(fd, path, hex, bytes, err);
    close(fd);
    return s;
}
