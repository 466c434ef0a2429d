/* See sha256.h. */
#include "engine/base/sha256.h"

#include <errno.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/beneath.h"
#include "engine/base/digest_note.h"
#include "engine/base/interrupt.h"
#include "engine/base/progress.h"

enum { PIECE = 1 << 20 };

/* What all threads have done. */
typedef struct work {
    atomic_uint_fast64_t done;
    uint64_t total; /* bytes */
} work;

static qk_status read_digest(const qk_input *in, work *w, char hex[65], qk_error *err)
{
    uint8_t *piece = qk_alloc(PIECE, 1);
    qk_hash *h = qk_hash_sha256();
    qk_status s = QK_OK;
    for (uint64_t at = 0, size = in->state.size; at < size && s == QK_OK; at += PIECE) {
        size_t n = size - at < PIECE ? (size_t)(size - at) : PIECE;
        s = qk_interrupt_check(err);
        if (s == QK_OK) s = qk_input_read(in, at, piece, n, err);
        if (s == QK_OK) qk_hash_add(h, piece, n);
        qk_progress_of("hashing the inputs", (double)(atomic_fetch_add(&w->done, n) + n),
                       (double)w->total, NULL);
    }
    qk_hash_end(h, hex);
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
    uint8_t *piece = qk_alloc(PIECE, 1);
    qk_hash *h = qk_hash_sha256();
    qk_status s = QK_OK;
    bool more = true;
    for (*bytes = 0; more && s == QK_OK;) {
        ssize_t n = pread(fd, piece, PIECE, (off_t)*bytes);
        more = n != 0;
        s = n < 0 && errno != EINTR ? qk_fail_errno(err, "cannot read", path)
                                    : qk_interrupt_check(err);
        if (n <= 0) continue;
        qk_hash_add(h, piece, (size_t)n);
        *bytes += (uint64_t)n;
    }
    qk_hash_end(h, hex);
    free(piece);
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
