/* See sha256.h. */
#include "engine/base/sha256.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/beneath.h"
#include "engine/base/digest_note.h"
#include "engine/base/interrupt.h"
#include "engine/base/progress.h"
#include "engine/base/team.h"

enum { PIECE = 1 << 20 };

typedef struct work {
    const qk_names *paths;
    const qk_file_state *states; /* as the watch saw the files first */
    char (*hex)[65];
    atomic_uint_fast64_t done; /* by all threads */
    uint64_t total;            /* bytes */
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

static qk_status file_digest(void *context, size_t item, int member, qk_error *err)
{
    work *w = context;
    const char *path = w->paths->items[item];
    const qk_file_state *state = &w->states[item];
    qk_input in;
    bool settled = qk_file_state_is_settled(state);
    (void)member;
    if (settled && qk_digest_note_find(state, QK_DIGEST_SHA256, w->hex[item])) {
        w->done += state->size;
        return QK_OK;
    }
    QK_TRY(qk_input_open(&in, path, err));
    qk_status s = read_digest(&in, w, w->hex[item], err);
    qk_input_close(&in);
    if (s == QK_OK) s = qk_file_state_check(state, path, err);
    if (s == QK_OK && settled) qk_digest_note_leave(state, w->hex[item]);
    return s;
}

qk_status qk_sha256_files(const qk_names *paths, int threads, qk_watch *watch, char (*hex)[65],
                          qk_error *err)
{
    qk_file_state *states = qk_alloc(paths->count, sizeof *states);
    qk_status s = QK_OK;
    for (size_t i = 0; i < paths->count && s == QK_OK; i++)
        s = qk_watch_file(watch, paths->items[i], &states[i], err);
    work w = {.paths = paths, .states = states, .hex = hex};
    for (size_t i = 0; i < paths->count && s == QK_OK; i++) w.total += states[i].size;
    if (s == QK_OK) s = qk_loop_try(threads, paths->count, file_digest, &w, err);
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
