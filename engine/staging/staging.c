/* See staging.h. */
#include "engine/staging/staging.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <zlib.h>

#include "engine/base/beneath.h"
#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/base/version.h"
#include "formats/sealed.h"

enum { MAX_NOTE = 64 << 20, SECONDS_FOR_OTHERS = 2 };
static const int64_t MAX_UNITS = 1LL << 40;

/* The small files; identity.json comes last where they are removed. */
#define IDENTITY "identity.json"
static const char *const small_files[] = {"units.json", "arithmetic", "dataset_commit", IDENTITY};
enum { SMALL_FILES = sizeof small_files / sizeof *small_files };
#define BUILDS "builds"

static char *in_staging(const qk_staging *s, const char *name)
{
    return qk_path_join(s->folder, name);
}

/* ---- the lock ---- */

qk_status qk_staging_flock(int fd, qk_hold how, const char *path, bool *held, qk_error *err)
{
    int operation = (how == QK_HOLD_ALONE ? LOCK_EX : LOCK_SH) | LOCK_NB, rc;
    while ((rc = flock(fd, operation)) != 0 && errno == EINTR) {
    }
    *held = rc == 0;
    if (*held || errno == EWOULDBLOCK) return QK_OK;
    if (errno == ENOLCK || errno == ENOSYS || errno == EOPNOTSUPP)
        return qk_fail(err, QK_ERR_UNSUPPORTED,
                       "choose an output.data_root on another file system; several machines: one "
                       "of its own for each, and --shard I/N",
                       "%s: this file system has no locks (flock: %s)", path, strerror(errno));
    return qk_fail_write(err, "cannot lock", path);
}

/* The folder that the user named may be a link; what lies in it may not. */
static qk_status open_folders(qk_staging *s, qk_error *err)
{
    size_t n = (size_t)(qk_path_name(s->folder) - s->folder);
    while (n > 1 && s->folder[n - 1] == '/') n--;
    char *path = n ? qk_strf("%.*s", (int)n, s->folder) : qk_strdup(".");
    qk_status status = qk_make_dirs(path, err);
    if (status == QK_OK) status = qk_folder_open(&s->above, path, err);
    free(path);
    if (status != QK_OK) return status;
    return qk_folder_open_in(&s->own, &s->above, qk_path_name(s->folder), true, err);
}

qk_status qk_staging_open(qk_staging *s, const char *folder, qk_error *err)
{
    *s = (qk_staging){.folder = folder, .lock = -1};
    char *path = in_staging(s, "lock");
    qk_status status = open_folders(s, err);
    if (status == QK_OK) status = qk_open_regular(&s->lock, path, O_RDWR | O_CREAT, err);
    if (status != QK_OK) qk_staging_close(s);
    free(path);
    return status;
}

qk_status qk_staging_open_alone(qk_staging *s, const char *folder, qk_error *err)
{
    bool held = false;
    qk_status status = qk_staging_open(s, folder, err);
    for (double began = qk_now(); status == QK_OK;) {
        status = qk_staging_hold(s, QK_HOLD_ALONE, &held, err);
        if (held || status != QK_OK || qk_now() - began > SECONDS_FOR_OTHERS) break;
        usleep(50000);
        status = qk_interrupt_check(err);
    }
    if (status == QK_OK && !held)
        status = qk_fail(err, QK_ERR_CONFIG, "wait for it, or choose another output.data_root",
                         "%s: another run is working here", folder);
    if (status != QK_OK) qk_staging_close(s);
    return status;
}

qk_status qk_staging_hold(qk_staging *s, qk_hold how, bool *held, qk_error *err)
{
    /* flock may lose what is held when it cannot change it; this way it always does. */
    qk_staging_release(s);
    char *path = in_staging(s, "lock");
    qk_status status = qk_staging_flock(s->lock, how, path, held, err);
    free(path);
    return status;
}

void qk_staging_release(qk_staging *s)
{
    flock(s->lock, LOCK_UN);
}

/* Eight random digits, then the CRC-32 of them: a mark that changed by itself is none. */
static void add_check(char mark[17])
{
    snprintf(mark + 8, 9, "%08lx", crc32(0, (const uint8_t *)mark, 8));
}

qk_status qk_staging_last_merge(const qk_staging *s, char out[17], qk_error *err)
{
    char right[17], *path = in_staging(s, "lock");
    size_t got;
    memset(out, 0, 17);
    qk_status status = qk_read_at_start(s->lock, out, 16, &got, path, err);
    if (status != QK_OK || got != 16) *out = 0;
    memcpy(right, out, 17);
    add_check(right);
    if (strcmp(right, out) != 0) *out = 0;
    free(path);
    return status;
}

qk_status qk_staging_note_merge(const qk_staging *s, qk_error *err)
{
    char now[17], *path = in_staging(s, "lock");
    qk_status status = qk_unique_name(now, err);
    add_check(now);
    if (status == QK_OK) status = qk_write_at_start(s->lock, now, 16, path, err);
    if (status == QK_OK && fsync(s->lock) != 0) status = qk_fail_write(err, "cannot flush", path);
    free(path);
    return status;
}

void qk_staging_close(qk_staging *s)
{
    if (s->lock >= 0) close(s->lock);
    s->lock = -1;
    qk_folder_close(&s->own);
    qk_folder_close(&s->above);
}

/* ---- small files ---- */

/* A small file's text without its last line end; NULL when it is not there. The caller frees. */
static qk_status read_note(const qk_staging *s, const char *name, char **text, qk_error *err)
{
    char *path = in_staging(s, name);
    qk_buf whole;
    *text = NULL;
    qk_status status = qk_sealed_read(&whole, path, MAX_NOTE, err);
    if (status == QK_OK) {
        while (whole.size && whole.data[whole.size - 1] == '\n') whole.size--;
        *text = qk_strdup(qk_buf_str(&whole));
    }
    qk_buf_free(&whole);
    free(path);
    return status == QK_ERR_NOTFOUND ? QK_OK : status;
}

static qk_status make_note(const qk_staging *s, const char *name, const char *text, qk_error *err)
{
    char *path = in_staging(s, name);
    qk_status status = qk_sealed_create(path, text, strlen(text), err);
    free(path);
    return status;
}

/* ---- identity ---- */

static qk_status refuse(qk_staging *s, const char *difference, qk_error *err)
{
    bool alone = false;
    qk_error ignored; /* it only decides which words the refusal takes */
    (void)qk_staging_hold(s, QK_HOLD_ALONE, &alone, &ignored);
    qk_staging_release(s);
    if (!alone)
        return qk_fail(err, QK_ERR_CONFIG, "wait for it, or choose another output.data_root",
                       "%s: a run with other settings is working here; %s", s->folder, difference);
    return qk_fail(
        err, QK_ERR_CONFIG,
        "finish that run with its own settings (qkengine merge --partial makes a dataset "
        "of what it has), choose another output.data_root, or remove the staging folder "
        "to give it up",
        "%s: holds the unfinished units of another run; %s", s->folder, difference);
}

qk_status qk_staging_difference(const qk_staging *s, const qk_identity *id, qk_arena *arena,
                                const char **difference, qk_error *err)
{
    char *path = in_staging(s, IDENTITY);
    const qk_json *then = NULL;
    qk_status status = qk_sealed_json(arena, path, MAX_NOTE, &then, err);
    *difference = status == QK_OK ? qk_identity_difference(then, id->tree, arena) : NULL;
    free(path);
    return status;
}

qk_status qk_staging_bind(qk_staging *s, const qk_identity *id, qk_error *err)
{
    qk_arena arena = {0};
    const char *difference = NULL;
    bool there;
    QK_TRY(qk_staging_is_bound(s, &there, err));
    if (!there) QK_TRY(make_note(s, IDENTITY, id->text, err));
    qk_status status = qk_staging_difference(s, id, &arena, &difference, err);
    if (difference) status = refuse(s, difference, err);
    qk_arena_free(&arena);
    return status;
}

qk_status qk_staging_is_bound(const qk_staging *s, bool *bound, qk_error *err)
{
    char *path = in_staging(s, IDENTITY);
    qk_status status = qk_has_file(path, bound, err);
    free(path);
    return status;
}

qk_status qk_staging_is_of(const qk_staging *s, const qk_identity *id, bool *same, qk_error *err)
{
    qk_arena arena = {0};
    const char *difference;
    QK_TRY(qk_staging_is_bound(s, same, err));
    if (!*same) return QK_OK;
    qk_status status = qk_staging_difference(s, id, &arena, &difference, err);
    *same = status == QK_OK && !difference;
    qk_arena_free(&arena);
    return status;
}

/* ---- units ---- */

char *qk_staging_unit(const qk_staging *s, int64_t unit)
{
    return qk_strf("%s/unit-%06lld.qku", s->folder, (long long)unit);
}

int64_t qk_staging_unit_number(const char *name, const char **rest)
{
    if (strncmp(name, "unit-", 5) != 0) return -1;
    const char *digits = name + 5;
    size_t n = strspn(digits, "0123456789");
    if (n < 6 || n > 15) return -1;
    *rest = digits + n;
    return strtoll(digits, NULL, 10);
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

qk_status qk_staging_finished(const qk_staging *s, qk_units *out, qk_error *err)
{
    qk_names names;
    *out = (qk_units){0};
    QK_TRY(qk_list_dir(s->folder, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        const char *rest;
        int64_t unit = qk_staging_unit_number(names.items[i], &rest);
        if (unit < 0 || strcmp(rest, ".qku") != 0) continue;
        QK_GROW(out->items, out->count, out->capacity);
        out->items[out->count++] = unit;
    }
    if (out->count) qsort(out->items, out->count, sizeof *out->items, by_number);
    qk_names_free(&names);
    return QK_OK;
}

bool qk_units_has(const qk_units *units, int64_t unit)
{
    return units->count && bsearch(&unit, units->items, units->count, sizeof unit, by_number);
}

void qk_units_free(qk_units *units)
{
    free(units->items);
    *units = (qk_units){0};
}

qk_status qk_staging_units(const qk_staging *s, int64_t *units, qk_error *err)
{
    *units = -1;
    char *text;
    qk_arena arena = {0};
    const qk_json *root = NULL, *n = NULL;
    QK_TRY(read_note(s, "units.json", &text, err));
    qk_status status =
        text ? qk_json_parse(&arena, text, strlen(text), "units.json", &root, err) : QK_OK;
    if (root) n = qk_json_get(root, "units");
    if (n && n->is_integer && n->integer >= 0 && n->integer <= MAX_UNITS)
        *units = n->integer;
    else if (text && status == QK_OK)
        status = qk_fail(err, QK_ERR_DAMAGED, "remove this file and run the same command again",
                         "%s/units.json: has no number of units", s->folder);
    qk_arena_free(&arena);
    free(text);
    return status;
}

qk_status qk_staging_set_units(const qk_staging *s, int64_t units, qk_error *err)
{
    char *text = qk_strf("{\"units\": %lld}\n", (long long)units);
    int64_t noted = -1;
    qk_status status = make_note(s, "units.json", text, err);
    free(text);
    if (status == QK_OK) status = qk_staging_units(s, &noted, err);
    if (status == QK_OK && noted != units)
        status = qk_fail(err, QK_ERR_DATA, "remove this file and run the same command again",
                         "%s/units.json: says %lld units, but the dataset has %lld", s->folder,
                         (long long)noted, (long long)units);
    return status;
}

qk_status qk_staging_numerics(const qk_staging *s, char **name, qk_error *err)
{
    return read_note(s, "arithmetic", name, err);
}

qk_status qk_staging_set_numerics(const qk_staging *s, const char *name, qk_error *err)
{
    return make_note(s, "arithmetic", name, err);
}

qk_status qk_staging_commit(const qk_staging *s, char **commit, qk_error *err)
{
    return read_note(s, "dataset_commit", commit, err);
}

qk_status qk_staging_set_commit(const qk_staging *s, const char *commit, qk_error *err)
{
    return make_note(s, "dataset_commit", commit, err);
}

qk_status qk_staging_note_build(const qk_staging *s, qk_error *err)
{
    char now[QK_BUILD_TEXT], *then, *path = in_staging(s, BUILDS);
    qk_build(now);
    qk_status status = read_note(s, BUILDS, &then, err);
    if (status == QK_ERR_DAMAGED) {
        qk_warn("%s; it is begun anew", err->message);
        status = QK_OK;
    }
    bool noted = false; /* as one of the lines */
    size_t n = strlen(now);
    for (const char *p = then; p && !noted; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
        noted = !strncmp(p, now, n) && (!p[n] || p[n] == '\n');
    if (status == QK_OK && !noted) {
        char *text = qk_strf("%s%s%s\n", then ? then : "", then ? "\n" : "", now);
        status = qk_sealed_write(path, text, strlen(text), err);
        free(text);
    }
    free(then);
    free(path);
    return status;
}

/* ---- clearing ---- */

/* ".<16 hexadecimal digits>.tmp": what a process that died left of a file. */
static bool is_temporary(const char *rest)
{
    return *rest == '.' && strspn(rest + 1, "0123456789abcdef") == 16 && !strcmp(rest + 17, ".tmp");
}

/* What only a process that is gone can have left, while the folder is held alone. */
static bool is_leftover(const char *name)
{
    const char *rest;
    if (qk_staging_unit_number(name, &rest) >= 0)
        return !strcmp(rest, ".claim") || (!strncmp(rest, ".qku", 4) && is_temporary(rest + 4));
    for (size_t i = 0; i < SMALL_FILES; i++) {
        size_t n = strlen(small_files[i]);
        if (!strncmp(name, small_files[i], n) && is_temporary(name + n)) return true;
    }
    return !strcmp(name, "commit.json.tmp") || !strcmp(name, BUILDS ".tmp");
}

static bool is_ours(const char *name)
{
    const char *rest;
    if (is_leftover(name) || (qk_staging_unit_number(name, &rest) >= 0 && !strcmp(rest, ".qku")))
        return true;
    for (size_t i = 0; i < SMALL_FILES; i++)
        if (!strcmp(name, small_files[i])) return true;
    return false;
}

static qk_status remove_named(const qk_staging *s, const char *name, qk_error *err)
{
    char *path = in_staging(s, name);
    qk_status status = qk_remove_file(path, err);
    free(path);
    return status;
}

/* Removes what `takes` says yes to, but for identity.json. */
static qk_status remove_all(const qk_staging *s, bool (*takes)(const char *name), qk_error *err)
{
    qk_names names;
    QK_TRY(qk_list_dir(s->folder, &names, err));
    qk_status status = QK_OK;
    for (size_t i = 0; i < names.count && status == QK_OK; i++)
        if (takes(names.items[i]) && strcmp(names.items[i], IDENTITY) != 0)
            status = remove_named(s, names.items[i], err);
    qk_names_free(&names);
    return status;
}

qk_status qk_staging_clear(const qk_staging *s, qk_error *err)
{
    /* identity.json goes last: as long as anything is left it says whose it is. */
    QK_TRY(remove_all(s, is_ours, err));
    return remove_named(s, IDENTITY, err);
}

qk_status qk_staging_mend(const qk_staging *s, qk_error *err)
{
    QK_TRY(remove_all(s, is_leftover, err));
    /* A damaged file says nothing, and can be made again: units.json by a pass over the dataset,
     * the others from the configuration and from the units, which say themselves whose they are. */
    for (size_t i = 0; i < SMALL_FILES; i++) {
        char *text;
        qk_status status = read_note(s, small_files[i], &text, err);
        free(text);
        if (status != QK_OK && status != QK_ERR_DAMAGED) return status;
        if (status == QK_OK) continue;
        qk_warn("%s; it is made again", err->message);
        QK_TRY(remove_named(s, small_files[i], err));
    }
    return QK_OK;
}

void qk_staging_remove(const qk_staging *s)
{
    static const char *const names[] = {BUILDS, "lock"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        qk_error ignored;
        remove_named(s, names[i], &ignored);
    }
    rmdir(s->folder);
}
