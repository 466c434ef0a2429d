/* See download.h. */
#include "hub/download.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/progress.h"
#include "engine/base/thread.h"
#include "hub/content.h"
#include "hub/oid.h"
#include "hub/piece.h"

enum { MAX_WORKERS = 8, REHASH_PIECE = 1 << 20 };

typedef enum state {
    WAITING, /* nothing was done */
    OPENING, /* a worker waits for the lock, or hashes what is there */
    PIECES,  /* pieces are handed out in order */
    STREAM,  /* one worker reads it whole */
    ENDING,  /* a worker checks and installs it */
    DONE,
} state;

typedef struct transfer {
    qk_piece_source source;
    state state;
    double try_again; /* another process holds the lock: not before this time */
    int fd, lock;     /* of the temporary file, or -1 */
    qk_hash *digest;
    uint64_t next;  /* first byte that nobody was given */
    uint64_t at;    /* bytes that are written and in the digest */
    int round;      /* counts restarts: pieces of an older round are dropped */
    int wrong;      /* contents that came whole in this run, and were not the file's */
    bool inherited; /* some of the bytes are of an earlier run: they may be what is wrong */
    bool adding;    /* a worker writes outside of the mutex */
    qk_file_state installed; /* what became of the temporary file */
    bool write_failed;       /* writing failed: what is there would only be in the way */
} transfer;

typedef struct download {
    const qk_cache *cache;
    bool quiet; /* no progress is shown */
    transfer *files;
    size_t count, first_open; /* files before it are DONE */
    size_t done;
    uint64_t total, received, kept; /* bytes: in all, by this run, found in partial files */
    double started, told;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    qk_status status; /* of the first failure */
    qk_error err;
} download;

/* ---- bookkeeping; the mutex is held ---- */

static void fail(download *d, const qk_error *err)
{
    if (d->status == QK_OK) {
        d->status = err->status;
        d->err = *err;
    }
    pthread_cond_broadcast(&d->changed);
}

static void show(download *d, const transfer *t, bool done)
{
    if (d->quiet) return;
    if (!done && !qk_progress_due()) return;
    double seconds = qk_now() - d->started;
    uint64_t have = d->kept + d->received;
    double rate = seconds > 0 ? (double)d->received / seconds : 0;
    qk_progress_line line = {0};
    qk_progress_add_count(&line, 4, (int64_t)d->done, (int64_t)d->count, "file");
    qk_progress_add(&line, 1, "%s of %s", qk_human_bytes((double)have),
                    qk_human_bytes((double)d->total));
    qk_progress_add_share(&line, 2, (double)have, (double)d->total);
    qk_progress_add(&line, 5, "%s/s", qk_human_bytes(rate));
    if (!done)
        qk_progress_add(
            &line, 3, "ETA %s",
            rate > 0 && have < d->total ? qk_human_seconds((double)(d->total - have) / rate) : "-");
    if (!done && t && t->source.file->size)
        qk_progress_add(&line, 6, "%.60s %d %%", t->source.file->path,
                        (int)(100 * t->at / t->source.file->size));
    if (done)
        qk_progress_end(&line);
    else
        qk_progress_show(&line);
}

static void close_files(transfer *t)
{
    if (t->fd >= 0) close(t->fd);
    if (t->lock >= 0) close(t->lock);
    t->fd = t->lock = -1;
    qk_hash_free(t->digest);
    t->digest = NULL;
}

static void set_done(download *d, transfer *t)
{
    close_files(t);
    t->state = DONE;
    d->done++;
    show(d, t, d->done == d->count);
    pthread_cond_broadcast(&d->changed);
}

/* The next piece of work: a file to open or a piece to get. NULL: none right now. */
static transfer *choose(download *d)
{
    double now = qk_now();
    while (d->first_open < d->count && d->files[d->first_open].state == DONE) d->first_open++;
    for (size_t i = d->first_open; i < d->count; i++) {
        transfer *t = &d->files[i];
        if (t->state == WAITING && t->try_again <= now) return t;
        if (t->state == PIECES && t->next < t->source.file->size) return t;
    }
    return NULL;
}

/* ---- one file; the mutex is not held ---- */

/* The digest of what an earlier run left. */
static qk_status rehash(const download *d, transfer *t, uint64_t length, qk_error *err)
{
    uint8_t *piece = qk_alloc(REHASH_PIECE, 1);
    uint64_t at = 0;
    qk_status s = QK_OK;
    while (at < length && s == QK_OK) {
        size_t n = length - at < REHASH_PIECE ? (size_t)(length - at) : REHASH_PIECE;
        ssize_t got = pread(t->fd, piece, n, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            if (!got) errno = EIO;
            s = qk_fail_errno(err, "cannot read the partial file", t->source.file->path);
            break;
        }
        qk_hash_add(t->digest, piece, (size_t)got);
        at += (uint64_t)got;
        s = qk_hub_check(d->cache->hub, err);
    }
    free(piece);
    t->at = t->next = at;
    t->inherited = at > 0;
    return s;
}

static qk_status start_over(transfer *t, qk_error *err)
{
    if (ftruncate(t->fd, 0))
        return qk_fail_write(err, "cannot shorten the partial file", t->source.file->path);
    qk_hash_free(t->digest);
    t->digest = qk_oid_begin(t->source.file);
    t->at = t->next = 0;
    t->inherited = false;
    return QK_OK;
}

typedef enum opened { OPENED, LINKED, BUSY } opened;

/* A blob that is there, perhaps of another commit, and has other bytes than its name says goes. */
static qk_status check_blob(const download *d, const qk_hub_file *file, bool *blob, bool *busy,
                            qk_error *err)
{
    qk_file_state seen;
    bool right;
    char *path = qk_strf("%s/blobs/%s", d->cache->folder, file->digest);
    qk_status s = qk_content_check(d->cache->hub, path, file, &right, &seen, err);
    if (s == QK_OK && !right) {
        *blob = false;
        s = qk_cache_drop(d->cache, file, &seen, busy, err);
    }
    free(path);
    return s;
}

/* LINKED: the blob is there by now. BUSY: another process is making it. */
static qk_status open_file(download *d, transfer *t, opened *how, qk_error *err)
{
    const qk_hub_file *file = t->source.file;
    struct stat st;
    bool busy = false, blob, linked = false;
    QK_TRY(qk_cache_has_blob(d->cache, file, &blob, err));
    if (blob) QK_TRY(check_blob(d, file, &blob, &busy, err));
    if (!blob && !busy) QK_TRY(qk_cache_lock(d->cache, file->digest, &t->lock, &busy, err));
    *how = busy ? BUSY : LINKED;
    if (!busy) QK_TRY(qk_cache_has(d->cache, file->path, file->size, &linked, err));
    if (busy || linked) return QK_OK;
    QK_TRY(qk_cache_has_blob(d->cache, file, &blob, err));
    if (blob) return qk_cache_link(d->cache, file, err);
    *how = OPENED;
    QK_TRY(qk_cache_open_partial(d->cache, file->digest, &t->fd, err));
    if (fstat(t->fd, &st)) return qk_fail_errno(err, "cannot look at", file->path);
    if (st.st_size > (off_t)file->size) return start_over(t, err);
    t->digest = qk_oid_begin(file);
    return rehash(d, t, (uint64_t)st.st_size, err);
}

static qk_status write_at(transfer *t, const uint8_t *bytes, size_t n, qk_error *err)
{
    uint64_t at = t->at;
    for (size_t done = 0; done < n;) {
        ssize_t w = pwrite(t->fd, bytes + done, n - done, (off_t)(at + done));
        if (w < 0 && errno == EINTR) continue;
        if (!w) errno = EIO;
        t->write_failed = w <= 0;
        if (w <= 0) return qk_fail_write(err, "cannot write", t->source.file->path);
        done += (size_t)w;
    }
    qk_hash_add(t->digest, bytes, n);
    return QK_OK;
}

/* All bytes are there: are they the right ones? */
static qk_status finish_file(download *d, transfer *t, bool *wrong, qk_error *err)
{
    const qk_hub_file *file = t->source.file;
    struct stat st;
    if (fstat(t->fd, &st) != 0) return qk_fail_errno(err, "cannot look at", file->path);
    *wrong = !qk_oid_is(t->digest, file) || st.st_size != (off_t)file->size;
    if (*wrong)
        return qk_fail(err, QK_ERR_DATA,
                       "run the same command again; if it stays, the repository or a proxy in "
                       "between is at fault",
                       "%s: the content that came is not the one that the Hub lists (%s %.12s...)",
                       file->path, strlen(file->digest) == 64 ? "SHA-256" : "git sha1",
                       file->digest);
    t->write_failed = fsync(t->fd) != 0;
    if (t->write_failed) return qk_fail_write(err, "cannot write", file->path);
    QK_TRY(qk_cache_install(d->cache, file, err));
    qk_error ignored; /* without its state it is hashed once more when it is used */
    qk_file_state_of_open(t->fd, file->path, &t->installed, &ignored);
    return QK_OK;
}

/* ---- steps of a worker; called with the mutex held, which they release for the work ---- */

typedef struct worker {
    download *d;
    qk_http *http;
    uint8_t *piece;
    qk_error err;
} worker;

/* A wrong content once: from the start again. Twice: the end. One that an earlier run began does
 * not count. */
static void retry_or_fail(worker *w, transfer *t)
{
    download *d = w->d;
    t->state = ENDING;
    while (t->adding) pthread_cond_wait(&d->changed, &d->mutex);
    d->received -= d->received < t->at ? d->received : t->at;
    free(t->source.direct);
    t->source.direct = NULL;
    t->round++;
    if (!t->inherited && ++t->wrong >= 2) {
        qk_cache_drop_partial(d->cache, t->source.file->digest);
        fail(d, &w->err);
    } else if (start_over(t, &w->err) != QK_OK) {
        fail(d, &w->err);
    } else {
        t->state = PIECES;
        pthread_cond_broadcast(&d->changed);
    }
}

static void step_end(worker *w, transfer *t)
{
    download *d = w->d;
    bool wrong = false;
    t->state = ENDING;
    pthread_mutex_unlock(&d->mutex);
    qk_status s = finish_file(d, t, &wrong, &w->err);
    pthread_mutex_lock(&d->mutex);
    if (wrong)
        retry_or_fail(w, t);
    else if (s != QK_OK)
        fail(d, &w->err);
    else
        set_done(d, t);
}

static void step_open(worker *w, transfer *t)
{
    download *d = w->d;
    opened how;
    t->state = OPENING;
    pthread_mutex_unlock(&d->mutex);
    qk_status s = open_file(d, t, &how, &w->err);
    pthread_mutex_lock(&d->mutex);
    if (s != QK_OK) {
        fail(d, &w->err);
        return;
    }
    if (how == BUSY) { /* back to the queue; a message every 10 seconds */
        double now = qk_now();
        t->state = WAITING;
        t->try_again = now + 0.1;
        if (!d->told) d->told = now;
        if (now - d->told < 10) return;
        d->told = now;
        qk_info("waiting for another process that downloads %s", t->source.file->path);
        return;
    }
    d->kept += how == LINKED ? t->source.file->size : t->at;
    if (how == LINKED)
        set_done(d, t);
    else if (t->at == t->source.file->size)
        step_end(w, t);
    else
        t->state = PIECES;
    pthread_cond_broadcast(&d->changed);
}

/* The stream's sink: the file is this worker's alone. */
static qk_status add_streamed(void *context, const void *bytes, size_t n, qk_error *err)
{
    void **pair = context;
    download *d = pair[0];
    transfer *t = pair[1];
    QK_TRY(write_at(t, bytes, n, err));
    pthread_mutex_lock(&d->mutex);
    t->at += n;
    d->received += n;
    show(d, t, false);
    qk_status s = d->status;
    if (s != QK_OK) *err = d->err;
    pthread_mutex_unlock(&d->mutex);
    return s;
}

static void step_stream(worker *w, transfer *t)
{
    download *d = w->d;
    void *pair[2] = {d, t};
    t->state = STREAM;
    while (t->adding) pthread_cond_wait(&d->changed, &d->mutex);
    uint64_t skip = t->at;
    pthread_mutex_unlock(&d->mutex);
    qk_piece_end end = qk_piece_stream(w->http, &t->source, skip, add_streamed, pair, &w->err);
    pthread_mutex_lock(&d->mutex);
    if (end == QK_PIECE_WRONG)
        retry_or_fail(w, t);
    else if (end != QK_PIECE_DONE)
        fail(d, &w->err);
    else
        step_end(w, t);
}

static void add_piece(worker *w, transfer *t, uint64_t from, size_t n, int round)
{
    download *d = w->d;
    for (;;) { /* until everything before it is written */
        bool of_use = d->status == QK_OK && t->state == PIECES && t->round == round;
        if (!of_use) return;
        if (t->at == from && !t->adding) break;
        pthread_cond_wait(&d->changed, &d->mutex);
    }
    t->adding = true;
    pthread_mutex_unlock(&d->mutex);
    qk_status s = write_at(t, w->piece, n, &w->err);
    pthread_mutex_lock(&d->mutex);
    t->adding = false;
    if (s != QK_OK) {
        fail(d, &w->err);
        return;
    }
    t->at += n;
    d->received += n;
    show(d, t, false);
    pthread_cond_broadcast(&d->changed);
    if (t->state == PIECES && t->at == t->source.file->size) step_end(w, t);
}

static void step_piece(worker *w, transfer *t)
{
    download *d = w->d;
    uint64_t from = t->next, left = t->source.file->size - from;
    size_t n = left < QK_PIECE ? (size_t)left : QK_PIECE;
    int round = t->round;
    char *direct = t->source.direct ? qk_strdup(t->source.direct) : NULL, *led_to;
    t->next += n;
    pthread_mutex_unlock(&d->mutex);
    qk_piece_end end =
        qk_piece_get(w->http, &t->source, direct, from, n, w->piece, &led_to, &w->err);
    pthread_mutex_lock(&d->mutex);
    bool current = t->state == PIECES && t->round == round;
    if (led_to && current) {
        free(t->source.direct);
        t->source.direct = led_to;
        led_to = NULL;
    }
    free(led_to);
    free(direct);
    if (end == QK_PIECE_DONE)
        add_piece(w, t, from, n, round);
    else if (end == QK_PIECE_NO_RANGES && current)
        step_stream(w, t);
    else if (end == QK_PIECE_WRONG && current)
        retry_or_fail(w, t);
    else if (end == QK_PIECE_FAILED)
        fail(d, &w->err);
}

static void *work(void *context)
{
    download *d = context;
    worker w = {.d = d, .http = qk_http_open(d->cache->hub), .piece = qk_alloc(QK_PIECE, 1)};
    pthread_mutex_lock(&d->mutex);
    while (d->status == QK_OK && d->done < d->count) {
        transfer *t = choose(d);
        if (!t) {
            /* Until something changes, and at most 0.1 seconds: locks and signals do not tell. */
            qk_condition_wait_a_little(&d->changed, &d->mutex);
            if (qk_hub_check(d->cache->hub, &w.err) != QK_OK) fail(d, &w.err);
        } else if (t->state == WAITING) {
            step_open(&w, t);
        } else {
            step_piece(&w, t);
        }
    }
    pthread_mutex_unlock(&d->mutex);
    qk_http_close(w.http);
    free(w.piece);
    return NULL;
}

/* ---- all files ---- */

/* The bytes that the files still need must fit on the disk. */
static qk_status check_space(const download *d, qk_error *err)
{
    uint64_t need = 0, available;
    for (size_t i = 0; i < d->count; i++) {
        const qk_hub_file *file = d->files[i].source.file;
        bool has;
        QK_TRY(qk_cache_has_blob(d->cache, file, &has, err));
        if (has) continue;
        char *partial = qk_strf("%s/blobs/%s.qk.incomplete", d->cache->folder, file->digest);
        qk_path_info have;
        qk_status s = qk_path_stat(partial, &have, err);
        free(partial);
        if (s != QK_OK) return s;
        need += have.size <= file->size ? file->size - have.size : file->size;
    }
    QK_TRY(qk_disk_free(d->cache->folder, &available, err));
    if (need <= available) return QK_OK;
    return qk_fail(err, QK_ERR_RESUME,
                   "free some space, or set HF_HUB_CACHE to a larger disk, and run it again",
                   "%s: %s are needed and %s are free", d->cache->folder,
                   qk_human_bytes((double)need), qk_human_bytes((double)available));
}

static qk_status run_workers(download *d, qk_error *err)
{
    pthread_t threads[MAX_WORKERS];
    uint64_t pieces = 0;
    for (size_t i = 0; i < d->count; i++) pieces += 1 + d->files[i].source.file->size / QK_PIECE;
    int n = pieces < MAX_WORKERS ? (int)pieces : MAX_WORKERS;
    int started = 0;
    while (started < n && qk_thread_start(&threads[started], work, d, err) == QK_OK) started++;
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    return started ? QK_OK : err->status; /* fewer are only slower */
}

/* After a failure partial files stay, except on a full disk, where they would be in the way. */
static void clean_up(download *d)
{
    for (size_t i = 0; i < d->count; i++) {
        transfer *t = &d->files[i];
        if (t->installed.inode) { /* hashed on the way: its first use need not do that again */
            char *path = qk_path_join(d->cache->snapshot, t->source.file->path);
            qk_content_note(path, t->source.file, &t->installed);
            free(path);
        }
        if (t->write_failed) qk_cache_drop_partial(d->cache, t->source.file->digest);
        close_files(t);
        free(t->source.url);
        free(t->source.direct);
    }
    free(d->files);
    pthread_mutex_destroy(&d->mutex);
    pthread_cond_destroy(&d->changed);
}

qk_status qk_download(const qk_cache *cache, const qk_repo *repo, const qk_hub_file *const *files,
                      size_t count, bool quiet, qk_error *err)
{
    download d = {.cache = cache, .quiet = quiet, .count = count, .started = qk_now()};
    pthread_mutex_init(&d.mutex, NULL);
    qk_condition_init(&d.changed);
    d.files = qk_zalloc(count + 1, sizeof *d.files);
    for (size_t i = 0; i < count; i++) {
        transfer *t = &d.files[i];
        t->fd = t->lock = -1;
        t->source = (qk_piece_source){.file = files[i], .commit = cache->commit};
        t->source.url =
            qk_hub_resolve_url(cache->hub, repo->type, repo->id, cache->commit, files[i]->path);
        d.total += files[i]->size;
    }
    d.status = check_space(&d, &d.err);
    if (d.status == QK_OK && count) {
        qk_status started = run_workers(&d, err);
        if (started != QK_OK) d.status = started, d.err = *err;
    }
    if (d.status != QK_OK) *err = d.err;
    qk_status s = d.status;
    clean_up(&d);
    return s;
}
