/* See sha256.h. */
#include "engine/sha256.h"

#include <inttypes.h>
#include <omp.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cache.h"
#include "engine/base/interrupt.h"
#include "engine/base/log.h"

enum { PIECE = 1 << 20, NOTE_ROOM = 256 };

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

/* ---- notes ---- */

/* "size modified changed ": what a note begins with while it holds. */
static int describe(const qk_file_state *s, char name[64], char text[NOTE_ROOM])
{
    snprintf(name, 64, "%" PRIx64 "-%" PRIx64, s->device, s->inode);
    return snprintf(text, NOTE_ROOM, "%" PRIu64 " %" PRId64 " %" PRId64 " ", s->size, s->modified,
                    s->changed);
}

static bool find_note(const qk_file_state *state, char hex[65])
{
    char name[64], text[NOTE_ROOM];
    qk_buf note;
    size_t n = (size_t)describe(state, name, text);
    if (!qk_kept_read("digests", name, NOTE_ROOM, &note)) return false;
    const char *digits = (const char *)note.data + n;
    bool holds = note.size == n + 65 && !memcmp(note.data, text, n) && digits[64] == '\n' &&
                 strspn(digits, "0123456789abcdef") == 64;
    if (holds) snprintf(hex, 65, "%.64s", digits);
    qk_buf_free(&note);
    return holds;
}

static void leave_note(const qk_file_state *state, const char hex[65])
{
    char name[64], text[NOTE_ROOM];
    int n = describe(state, name, text);
    n += snprintf(text + n, sizeof text - (size_t)n, "%s\n", hex);
    qk_kept_write("digests", name, text, (size_t)n);
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
    if (settled && find_note(state, hex)) {
        w->done += state->size;
        return QK_OK;
    }
    QK_TRY(qk_input_open(&in, path, err));
    qk_status s = read_digest(&in, w, hex, err);
    qk_input_close(&in);
    if (s == QK_OK) s = qk_file_state_check(state, path, err);
    if (s == QK_OK && settled) leave_note(state, hex);
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
