/* See claims.h. */
#include "engine/base/file.h"
#include "engine/staging/claims.h"
#include "engine/staging/holder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { TOKEN = QK_HOLDER_TOKEN }; /* hexadecimal digits, of the temporary name and of the holder */

/* Two processes with the same one would be counted as one, and nothing else. */
static void name_holder(char out[TOKEN + 1])
{
    char host[256] = "";
    if (gethostname(host, sizeof host - 1) != 0) host[0] = 0;
    snprintf(out, TOKEN + 1, "%08lx%08x", crc32(0, (const uint8_t *)host, (unsigned)strlen(host)),
             (unsigned)getpid());
}

static void close_claim(qk_claim *c)
{
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
}

static void free_claim(qk_claim *c)
{
    close_claim(c);
    free(c->path);
    free(c->unit);
    free(c->tmp);
    *c = (qk_claim){.fd = -1};
}

/* A lock on a file that its last holder has removed keeps nobody out. */
static qk_status is_current(const qk_claim *c, bool *current, qk_error *err)
{
    struct stat mine, named;
    *current = false;
    if (fstat(c->fd, &mine) != 0) return qk_fail_errno(err, "cannot look at", c->path);
    if (lstat(c->path, &named) != 0)
        return errno == ENOENT ? QK_OK : qk_fail_errno(err, "cannot look at", c->path);
    *current = mine.st_ino == named.st_ino && mine.st_dev == named.st_dev;
    return QK_OK;
}

/* Removes what the last holder left when it died, and says how this one's file is called. */
static qk_status sign(qk_claim *c, qk_error *err)
{
    char token[TOKEN + 1] = "", counted[TOKEN + 1];
    qk_buf text = {0};
    qk_holder self;
    size_t got;
    QK_TRY(qk_read_at_start(c->fd, token, TOKEN, &got, c->path, err));
    if (got == TOKEN && strspn(token, "0123456789abcdef") == TOKEN) {
        char *left = qk_strf("%s.%s.tmp", c->unit, token);
        qk_status removed = qk_remove_file(left, err);
        free(left);
        if (removed != QK_OK) return removed;
    }
    QK_TRY(qk_unique_name(token, err));
    c->tmp = qk_strf("%s.%s.tmp", c->unit, token);
    name_holder(counted);
    qk_holder_self(&self);
    qk_buf_addf(&text, "%s%s", token, counted);
    qk_holder_write(&text, &self, token);
    qk_status s = qk_write_at_start(c->fd, text.data, text.size, c->path, err);
    qk_buf_free(&text);
    return s;
}

static qk_status take(qk_claim *c, qk_claim_state *state, qk_error *err)
{
    bool finished, held = false, current = false;
    while (!current) {
        close_claim(c);
        *state = QK_CLAIM_DONE;
        QK_TRY(qk_has_file(c->unit, &finished, err));
        if (finished) return QK_OK;
        QK_TRY(qk_open_regular(&c->fd, c->path, O_RDWR | O_CREAT, err));
        QK_TRY(qk_staging_flock(c->fd, QK_HOLD_ALONE, c->path, &held, err));
        *state = QK_CLAIM_BUSY;
        if (!held) return QK_OK;
        QK_TRY(is_current(c, &current, err));
    }
    QK_TRY(qk_has_file(c->unit, &finished, err));
    *state = finished ? QK_CLAIM_DONE : QK_CLAIM_MINE;
    qk_status s = finished ? QK_OK : sign(c, err);
    if (finished || s != QK_OK) unlink(c->path);
    return s;
}

static char *claim_path(const qk_staging *s, int64_t unit)
{
    return qk_strf("%s/unit-%06lld.claim", s->folder, (long long)unit);
}

qk_status qk_claim_is_free(const qk_staging *s, int64_t unit, bool *is_free, qk_error *err)
{
    int fd = -1;
    bool finished;
    char *file = qk_staging_unit(s, unit), *claim = claim_path(s, unit);
    qk_status status = qk_has_file(file, &finished, err);
    *is_free = status == QK_OK && !finished;
    if (*is_free) {
        status = qk_open_regular(&fd, claim, O_RDONLY, err);
        if (status == QK_OK) status = qk_staging_flock(fd, QK_HOLD_SHARED, claim, is_free, err);
        if (status == QK_ERR_NOTFOUND) status = QK_OK;
    }
    if (fd >= 0) close(fd);
    free(file);
    free(claim);
    return status;
}

qk_status qk_claim_take(qk_claim *c, const qk_staging *s, int64_t unit, qk_claim_state *state,
                        qk_error *err)
{
    *c = (qk_claim){
        .fd = -1,
        .path = claim_path(s, unit),
        .unit = qk_staging_unit(s, unit),
    };
    qk_status status = take(c, state, err);
    if (status != QK_OK || *state != QK_CLAIM_MINE) free_claim(c);
    return status;
}

void qk_claim_drop(qk_claim *c)
{
    if (c->fd >= 0) unlink(c->path); /* while it is locked */
    free_claim(c);
}

/* Tries unfinished units of the shard until one is free: then the caller goes back to work and
 * learns about the others there. Each try costs some calls of the file system. */
static qk_status find_free(qk_left *out, const qk_staging *s, qk_shard shard, int64_t units,
                           const qk_units *finished, int64_t *first, qk_error *err)
{
    for (*first = shard.index; *first < units; *first += shard.of) {
        qk_claim claim;
        qk_claim_state state;
        if (qk_units_has(finished, *first)) continue;
        QK_TRY(qk_claim_take(&claim, s, *first, &state, err));
        qk_claim_drop(&claim);
        if (state == QK_CLAIM_MINE) return QK_OK;
        if (state == QK_CLAIM_DONE) {
            out->missing--;
            continue;
        }
        QK_GROW(out->busy.items, out->busy.count, out->busy.capacity);
        out->busy.items[out->busy.count++] = *first;
    }
    return QK_OK;
}

/* The time that this takes depends on what is finished or being worked on, not on `units`, which
 * may be any number that a file says. */
qk_status qk_claims_left(qk_left *out, const qk_staging *s, qk_shard shard, int64_t units,
                         qk_error *err)
{
    qk_units finished;
    int64_t first, done = 0, done_behind = 0;
    int64_t n = units > shard.index ? (units - shard.index + shard.of - 1) / shard.of : 0;
    *out = (qk_left){.last_free = -1};
    QK_TRY(qk_staging_finished(s, &finished, err));
    for (size_t i = 0; i < finished.count; i++) done += finished.items[i] < units;
    out->missing = units - done;
    qk_status status = find_free(out, s, shard, units, &finished, &first, err);
    if (status == QK_OK && first < units) {
        for (size_t i = 0; i < finished.count; i++) {
            int64_t u = finished.items[i];
            done_behind += u > first && u < units && u % shard.of == shard.index;
        }
        out->free = n - first / shard.of - done_behind;
        out->last_free = shard.index + (n - 1) * shard.of;
        while (qk_units_has(&finished, out->last_free)) out->last_free -= shard.of;
    }
    qk_units_free(&finished);
    return status;
}

/* The holder of a claim: false where nobody has it. */
static bool read_holder(const char *path, char holder[TOKEN])
{
    int fd;
    bool free_now = true;
    qk_error ignored;
    if (qk_open_regular(&fd, path, O_RDONLY, &ignored) != QK_OK) return false;
    qk_status s = qk_staging_flock(fd, QK_HOLD_SHARED, path, &free_now, &ignored);
    bool held = s == QK_OK && !free_now && pread(fd, holder, TOKEN, TOKEN) == TOKEN;
    close(fd);
    return held;
}

int64_t qk_claims_holders(const qk_staging *s, qk_shard shard)
{
    qk_names names;
    qk_error ignored;
    size_t n = 0;
    if (qk_list_dir(s->folder, &names, &ignored) != QK_OK) return 0;
    char(*holders)[TOKEN] = qk_alloc(names.count + 1, sizeof *holders);
    for (size_t i = 0; i < names.count; i++) {
        long long unit;
        int end = 0;
        const char *name = names.items[i];
        if (sscanf(name, "unit-%lld.claim%n", &unit, &end) != 1 || !end || name[end]) continue;
        if (unit < 0 || unit % shard.of != shard.index) continue;
        char *path = qk_path_join(s->folder, name);
        bool new = read_holder(path, holders[n]);
        free(path);
        for (size_t k = 0; k < n && new; k++) new = memcmp(holders[k], holders[n], TOKEN) != 0;
        n += new;
    }
    free(holders);
    qk_names_free(&names);
    return (int64_t)n;
}

void qk_left_free(qk_left *left)
{
    qk_units_free(&left->busy);
    *left = (qk_left){.last_free = -1};
}
