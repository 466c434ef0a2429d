/* See input.h. */
#include "engine/base/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/file.h"

/* The coarsest tick of Linux is 10 ms; of the file systems in use, FAT's, 2 s. */
enum { TICK_NS = 20000000, SETTLED_SECONDS = 2 };

typedef struct qk_watched {
    char *path;
    qk_file_state state;
} qk_watched;

/* ---- states ---- */

static int64_t nanoseconds(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static qk_status state_of(const struct stat *st, const char *path, qk_file_state *out,
                          qk_error *err)
{
    *out = (qk_file_state){.device = st->st_dev,
                           .inode = st->st_ino,
                           .size = (uint64_t)st->st_size,
                           .modified = nanoseconds(st->st_mtim),
                           .changed = nanoseconds(st->st_ctim)};
    if (S_ISREG(st->st_mode)) return QK_OK;
    return qk_fail(err, QK_ERR_IO, "give the path of a file", "%s: not a regular file", path);
}

qk_status qk_file_state_of(const char *path, qk_file_state *out, qk_error *err)
{
    struct stat st;
    *out = (qk_file_state){0};
    if (stat(path, &st) != 0) return qk_fail_errno(err, "cannot look at", path);
    return state_of(&st, path, out, err);
}

qk_status qk_file_state_of_open(int fd, const char *path, qk_file_state *out, qk_error *err)
{
    struct stat st;
    *out = (qk_file_state){0};
    if (fstat(fd, &st) != 0) return qk_fail_errno(err, "cannot look at", path);
    return state_of(&st, path, out, err);
}

static qk_status changed(const char *path, qk_error *err, const char *how)
{
    return qk_fail(err, QK_ERR_DATA,
                   "run the same command again when nobody writes to it: what is finished is kept, "
                   "and goes on with the same content only",
                   "%s: was changed while it was in use: %s", path, how);
}

static qk_status compare(const qk_file_state *then, const struct stat *st, const char *path,
                         qk_error *err)
{
    qk_file_state now;
    char sizes[80];
    QK_TRY(state_of(st, path, &now, err));
    snprintf(sizes, sizeof sizes, "%llu bytes then, %llu now", (unsigned long long)then->size,
             (unsigned long long)now.size);
    if (now.size != then->size) return changed(path, err, sizes);
    if (now.device != then->device || now.inode != then->inode)
        return changed(path, err, "another file is in its place");
    if (now.modified != then->modified) return changed(path, err, "it was written to");
    /* Losing its last name is no change of an open file, though it is dated. */
    if (now.changed != then->changed && st->st_nlink > 0)
        return changed(path, err, "it was written to, or its owner, links or permissions changed");
    return QK_OK;
}

qk_status qk_file_state_check(const qk_file_state *then, const char *path, qk_error *err)
{
    struct stat st;
    bool is_there = stat(path, &st) == 0, was_there = then->inode != 0;
    if (!is_there && errno != ENOENT && errno != ENOTDIR)
        return qk_fail_errno(err, "cannot look at", path);
    if (is_there && was_there) return compare(then, &st, path, err);
    if (is_there == was_there) return QK_OK;
    return changed(path, err, was_there ? "it is gone" : "it was not there then");
}

bool qk_file_state_is_settled(const qk_file_state *s)
{
    int64_t last = s->changed > s->modified ? s->changed : s->modified;
    return (int64_t)time(NULL) - last / 1000000000 > SETTLED_SECONDS;
}

/* ---- reading ---- */

qk_status qk_input_open(qk_input *in, const char *path, qk_error *err)
{
    *in = (qk_input){0};
    /* O_NONBLOCK: a pipe is refused, not waited for. */
    int fd = qk_open_at(AT_FDCWD, path, O_RDONLY | O_NONBLOCK);
    if (fd < 0) return qk_fail_errno(err, "cannot open", path);
    qk_status s = qk_file_state_of_open(fd, path, &in->state, err);
    if (s != QK_OK) {
        close(fd);
        return s;
    }
    in->path = qk_strdup(path);
    in->file = fd + 1;
    return QK_OK;
}

int qk_input_try(const qk_input *in, uint64_t at, void *out, size_t n)
{
    QK_ASSERT(at <= in->state.size && n <= in->state.size - at);
    for (size_t have = 0; have < n;) {
        ssize_t got = pread(in->file - 1, (char *)out + have, n - have, (off_t)(at + have));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return got < 0 ? errno : -1;
        have += (size_t)got;
    }
    return 0;
}

qk_status qk_input_read(const qk_input *in, uint64_t at, void *out, size_t n, qk_error *err)
{
    int why = qk_input_try(in, at, out, n);
    if (why < 0) return changed(in->path, err, "it was cut off");
    errno = why;
    return why ? qk_fail_errno(err, "cannot read", in->path) : QK_OK;
}

qk_status qk_input_check(const qk_input *in, qk_error *err)
{
    struct stat st;
    if (fstat(in->file - 1, &st) == 0) return compare(&in->state, &st, in->path, err);
    return qk_fail_errno(err, "cannot look at", in->path);
}

void qk_input_close(qk_input *in)
{
    if (in->file) close(in->file - 1);
    free(in->path);
    *in = (qk_input){0};
}

/* ---- watching ---- */

/* The index of the path, or where it belongs. */
static size_t index_of(const qk_watch *w, const char *path)
{
    size_t low = 0, high = w->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(w->items[middle].path, path) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The state of a file whose next change will have another time. */
static qk_status settled_state(const char *path, qk_file_state *out, qk_error *err)
{
    for (;;) {
        struct timespec now;
        QK_TRY(qk_file_state_of(path, out, err));
        clock_gettime(CLOCK_REALTIME, &now);
        int64_t last = out->changed > out->modified ? out->changed : out->modified;
        int64_t age = nanoseconds(now) - last;
        /* A time far ahead is that of another clock: waiting for it would help nobody. */
        if (age >= TICK_NS || age < -TICK_NS) return QK_OK;
        nanosleep(&(struct timespec){.tv_nsec = TICK_NS - age}, NULL);
    }
}

static qk_status watch(qk_watch *w, const char *path, bool may_be_absent, qk_file_state *state,
                       qk_error *err)
{
    size_t i = index_of(w, path);
    qk_file_state now;
    if (i < w->count && !strcmp(w->items[i].path, path)) {
        if (state) *state = w->items[i].state;
        return qk_file_state_check(&w->items[i].state, path, err);
    }
    qk_status s = settled_state(path, &now, err);
    if (s == QK_ERR_NOTFOUND && may_be_absent)
        now = (qk_file_state){0};
    else
        QK_TRY(s);
    QK_GROW(w->items, w->count, w->capacity);
    memmove(w->items + i + 1, w->items + i, (w->count - i) * sizeof *w->items);
    w->items[i] = (qk_watched){qk_strdup(path), now};
    w->count++;
    if (state) *state = now;
    return QK_OK;
}

qk_status qk_watch_file(qk_watch *w, const char *path, qk_file_state *state, qk_error *err)
{
    return watch(w, path, false, state, err);
}

qk_status qk_watch_name(qk_watch *w, const char *path, qk_error *err)
{
    return watch(w, path, true, NULL, err);
}

qk_status qk_watch_check(const qk_watch *w, qk_error *err)
{
    for (size_t i = 0; i < w->count; i++)
        QK_TRY(qk_file_state_check(&w->items[i].state, w->items[i].path, err));
    return QK_OK;
}

void qk_watch_free(qk_watch *w)
{
    for (size_t i = 0; i < w->count; i++) free(w->items[i].path);
    free(w->items);
    *w = (qk_watch){0};
}
