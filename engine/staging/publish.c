/* See publish.h. From top to bottom: the folders, looking at files, the journal, moving, recovery.
 */
#include "engine/staging/publish.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/interrupt.h"
#include "engine/base/sha256.h"
#include "engine/base/team.h"
#include "formats/sealed.h"

enum { MAX_JOURNAL = 256 << 20, MAX_IDENTITY = 64 << 20 };
#define FORMAT "qkengine commit 1"
#define GIVE_UP                                                                                    \
    "remove commit.json and merged/ beside it to give up that change, then run the same command "  \
    "again"

static char *journal_path(const qk_staging *s)
{
    return qk_path_join(s->folder, "commit.json");
}

/* ---- folders ---- */

typedef struct folders {
    qk_folder merged, final;
} folders;

static void close_folders(folders *p)
{
    qk_folder_close(&p->merged);
    qk_folder_close(&p->final);
}

static qk_status open_merged(const qk_staging *s, qk_folder *merged, qk_error *err)
{
    return qk_folder_open_in(merged, &s->own, "merged", true, err);
}

/* final/ beside staging/, or the folder around .qkengine/, which the user named. */
static qk_status open_final(const qk_staging *s, const char *path, bool make, qk_folder *final,
                            qk_error *err)
{
    char *inside = qk_path_join(path, qk_path_name(s->folder));
    bool around = !strcmp(inside, s->folder);
    free(inside);
    if (around) return qk_folder_open(final, path, err);
    return qk_folder_open_in(final, &s->above, qk_path_name(path), make, err);
}

static qk_status open_folders(const qk_staging *s, const char *final_folder, folders *p,
                              qk_error *err)
{
    *p = (folders){.merged = {.fd = -1}, .final = {.fd = -1}};
    QK_TRY(open_merged(s, &p->merged, err));
    return open_final(s, final_folder, true, &p->final, err);
}

/* ---- files to come ---- */

char *qk_publish_add(qk_publish *c, const qk_staging *s, const char *relative, qk_error *err)
{
    qk_folder merged;
    if (open_merged(s, &merged, err) != QK_OK) return NULL;
    qk_status status = qk_folder_make_way(&merged, relative, err);
    qk_folder_close(&merged);
    if (status != QK_OK) return NULL;
    QK_GROW(c->files, c->count, c->capacity);
    c->files[c->count++] = (qk_publish_file){.name = qk_strdup(relative)};
    return qk_strf("%s/merged/%s", s->folder, relative);
}

const qk_publish_file *qk_publish_find(const qk_publish *c, const char *relative)
{
    for (size_t i = c->count; i-- > 0;) /* what was added last is asked for first */
        if (!strcmp(c->files[i].name, relative)) return &c->files[i];
    return NULL;
}

void qk_publish_free(qk_publish *c)
{
    for (size_t i = 0; i < c->count; i++) free(c->files[i].name);
    free(c->files);
    *c = (qk_publish){0};
}

/* ---- looking at files ---- */

static qk_status hash_file(const qk_folder *in, qk_publish_file *f, qk_error *err)
{
    int fd;
    QK_TRY(qk_folder_open_file(in, f->name, &fd, err));
    char *path = qk_strf("%s/%s", in->path, f->name);
    qk_status s = qk_sha256_open_file(fd, path, f->sha256, &f->bytes, err);
    free(path);
    close(fd);
    return s;
}

typedef qk_status use_file(qk_publish_file *, const folders *, qk_error *);
typedef struct using
{
    qk_publish_file *files;
    const folders *folders;
    use_file *use;
}
using;

static qk_status use_item(void *context, size_t i, int member, qk_error *err)
{
    const using *u = context;
    (void)member;
    return qk_interrupted() ? QK_OK : u->use(&u->files[i], u->folders, err);
}

/* Calls `use` for each file, several at once. */
static qk_status for_each(qk_publish *c, const folders *p, use_file *use, qk_error *err)
{
    using u = {c->files, p, use};
    QK_TRY(qk_loop_try(0, c->count, use_item, &u, err));
    return qk_interrupt_check(err);
}

static qk_status hash_new(qk_publish_file *f, const folders *p, qk_error *err)
{
    return *f->sha256 ? QK_OK : hash_file(&p->merged, f, err);
}

qk_status qk_publish_hash(qk_publish *c, const qk_staging *s, qk_error *err)
{
    folders p = {.final = {.fd = -1}};
    QK_TRY(open_merged(s, &p.merged, err));
    qk_status status = for_each(c, &p, hash_new, err);
    close_folders(&p);
    return status;
}

/* A listed file lies under merged/ still, or in final/ already, and is the one that was listed. */
static qk_status check_listed(qk_publish_file *f, const folders *p, qk_error *err)
{
    qk_publish_file found = {.name = f->name};
    const qk_folder *in = &p->merged;
    qk_status s = hash_file(in, &found, err);
    if (s == QK_ERR_NOTFOUND) s = hash_file(in = &p->final, &found, err);
    if (s == QK_ERR_NOTFOUND)
        return qk_fail(err, QK_ERR_DATA, GIVE_UP,
                       "%s/%s: is gone, but commit.json says that it is to be moved to %s",
                       p->merged.path, f->name, p->final.path);
    QK_TRY(s);
    if (found.bytes == f->bytes && !strcmp(found.sha256, f->sha256)) return QK_OK;
    return qk_fail(err, QK_ERR_DAMAGED, GIVE_UP,
                   "%s/%s: is damaged or another file: it is not the one that commit.json lists",
                   in->path, f->name);
}

/* ---- the journal ---- */

/* SHA-256 of identity.json as it lies there, or "" where there is none. */
static qk_status whose(const qk_staging *s, char hex[65], qk_error *err)
{
    char *path = qk_path_join(s->folder, "identity.json");
    qk_buf text;
    uint8_t digest[32];
    qk_status status = qk_sealed_read(&text, path, MAX_IDENTITY, err);
    *hex = 0;
    if (status == QK_OK) {
        qk_sha256(text.data, text.size, digest);
        qk_sha256_hex(digest, hex);
    }
    qk_buf_free(&text);
    free(path);
    return status == QK_ERR_NOTFOUND ? QK_OK : status;
}

static qk_status write_journal(const qk_publish *c, const qk_staging *s, qk_error *err)
{
    char owner[65], *path = journal_path(s);
    qk_json_out o = {0};
    qk_status status = whose(s, owner, err);
    qk_json_begin(&o, NULL, '{');
    qk_json_add_str(&o, "format", FORMAT);
    qk_json_add_str(&o, "identity", owner);
    qk_json_begin(&o, "files", '[');
    for (size_t i = 0; i < c->count; i++) {
        qk_json_begin(&o, NULL, '{');
        qk_json_add_str(&o, "name", c->files[i].name);
        qk_json_add_int(&o, "bytes", (int64_t)c->files[i].bytes);
        qk_json_add_str(&o, "sha256", c->files[i].sha256);
        qk_json_end(&o, '}');
    }
    qk_json_end(&o, ']');
    qk_json_end(&o, '}');
    if (status == QK_OK) status = qk_sealed_write(path, (const char *)o.buf.data, o.buf.size, err);
    qk_buf_free(&o.buf);
    free(path);
    return status;
}

static qk_status bad_journal(const char *path, const char *why, qk_error *err)
{
    return qk_fail(err, QK_ERR_DATA, GIVE_UP, "%s: is not followed: %s", path, why);
}

static qk_status add_listed(qk_publish *c, const qk_json *f, const char *path, qk_error *err)
{
    const qk_json *name = qk_json_get(f, "name"), *bytes = qk_json_get(f, "bytes"),
                  *sha256 = qk_json_get(f, "sha256");
    if (!name || name->type != QK_JSON_T_STRING || !bytes || !bytes->is_integer ||
        bytes->integer < 0 || !sha256 || sha256->type != QK_JSON_T_STRING || sha256->length != 64)
        return bad_journal(path, "a file in its list has no name, bytes and sha256", err);
    const char *problem = qk_path_problem(name->text, name->length);
    if (problem) return bad_journal(path, problem, err);
    if (qk_publish_find(c, name->text)) return bad_journal(path, "it lists a file twice", err);
    QK_GROW(c->files, c->count, c->capacity);
    qk_publish_file *new = &c->files[c->count++];
    *new = (qk_publish_file){.name = qk_strdup(name->text), .bytes = (uint64_t)bytes->integer};
    memcpy(new->sha256, sha256->text, 65);
    return QK_OK;
}

static qk_status read_journal(qk_publish *c, const qk_staging *s, const char *path, qk_error *err)
{
    qk_arena arena = {0};
    const qk_json *root = NULL;
    char owner[65];
    qk_status status = qk_sealed_json(&arena, path, MAX_JOURNAL, &root, err);
    if (status == QK_ERR_DAMAGED || status == QK_ERR_FORMAT)
        bad_journal(path, "it is damaged, or of another version of this program", err);
    if (status == QK_OK) status = whose(s, owner, err);
    const qk_json *list = qk_json_get(root, "files");
    if (status == QK_OK && (!qk_json_is_string(qk_json_get(root, "format"), FORMAT) || !list ||
                            list->type != QK_JSON_T_ARRAY))
        status = bad_journal(path, "it is no list of files of this program", err);
    if (status == QK_OK && !qk_json_is_string(qk_json_get(root, "identity"), owner))
        status = bad_journal(path, "it belongs to another run than identity.json beside it", err);
    for (const qk_json *f = status == QK_OK ? list->first : NULL; f && status == QK_OK; f = f->next)
        status = add_listed(c, f, path, err);
    qk_arena_free(&arena);
    return status;
}

/* ---- moving ---- */

/* "l00h00q", "README.md.tmp": what a merge makes below merged/. Folders that hold anything else
 * stay, with it. */
static bool is_merged(const char *name, bool folder)
{
    static const char *const names[] = {"data.parquet", "examples.parquet", "manifest.json",
                                        "README.md"};
    if (folder) return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = strlen(names[i]);
        if (!strncmp(name, names[i], n) && (!name[n] || !strcmp(name + n, ".tmp"))) return true;
    }
    return false;
}

qk_status qk_publish_clean(const qk_staging *s, qk_error *err)
{
    qk_folder merged;
    qk_status status = qk_folder_open_in(&merged, &s->own, "merged", false, err);
    if (status != QK_OK) return status == QK_ERR_NOTFOUND ? QK_OK : status;
    status = qk_folder_clean(&merged, is_merged, err);
    if (status == QK_OK && unlinkat(s->own.fd, "merged", AT_REMOVEDIR) != 0 && errno != ENOTEMPTY &&
        errno != EEXIST)
        status = qk_fail_write(err, "cannot remove", merged.path);
    qk_folder_close(&merged);
    return status == QK_ERR_NOTFOUND ? QK_OK : status;
}

void qk_publish_end(qk_staging *s)
{
    bool pending;
    qk_error ignored;
    if (qk_publish_is_pending(s, &pending, &ignored) == QK_OK && !pending &&
        qk_publish_clean(s, &ignored) == QK_OK)
        qk_staging_remove(s);
    qk_staging_close(s);
}

/* manifest.json comes last: with it in place, all that it lists is. */
static qk_status move_all(const qk_publish *c, const folders *p, qk_error *err)
{
    for (size_t i = 0; i < c->count; i++) {
        qk_status s = qk_folder_move(&p->merged, &p->final, c->files[i].name, err);
        /* Moved before the crash: nothing is left to do for this one. */
        if (s != QK_OK && s != QK_ERR_NOTFOUND) return s;
    }
    errno = qk_flush_folder(p->final.fd);
    return errno ? qk_fail_write(err, "cannot flush the folder", p->final.path) : QK_OK;
}

static qk_status finish(const qk_publish *c, const qk_staging *s, const folders *p, qk_error *err)
{
    char *journal = journal_path(s);
    qk_status status = move_all(c, p, err);
    if (status == QK_OK) status = qk_remove_file(journal, err);
    free(journal);
    return status == QK_OK ? qk_publish_clean(s, err) : status;
}

qk_status qk_publish_move(qk_publish *c, const qk_staging *s, const char *final_folder,
                          qk_error *err)
{
    folders p;
    qk_status status = open_folders(s, final_folder, &p, err);
    if (status == QK_OK) status = for_each(c, &p, hash_new, err);
    if (status == QK_OK) status = qk_staging_note_build(s, err);
    if (status == QK_OK) status = write_journal(c, s, err);
    if (status == QK_OK) status = finish(c, s, &p, err);
    close_folders(&p);
    return status;
}

/* ---- recovery ---- */

qk_status qk_publish_is_pending(const qk_staging *s, bool *pending, qk_error *err)
{
    char *journal = journal_path(s);
    qk_path_info info;
    qk_status status = qk_path_lstat(journal, &info, err);
    *pending = info.type != QK_PATH_ABSENT;
    free(journal);
    return status;
}

qk_status qk_publish_recover(const qk_staging *s, const char *final_folder, qk_error *err)
{
    bool pending;
    qk_folder final = {.fd = -1};
    /* That final/, where it is there, is no link: before hours of work, not behind them. */
    qk_status opened = open_final(s, final_folder, false, &final, err);
    qk_folder_close(&final);
    if (opened != QK_OK && opened != QK_ERR_NOTFOUND) return opened;
    QK_TRY(qk_publish_is_pending(s, &pending, err));
    if (!pending) return QK_OK;
    char *path = journal_path(s);
    qk_publish c = {0};
    folders p = {.merged = {.fd = -1}, .final = {.fd = -1}};
    qk_status status = read_journal(&c, s, path, err);
    if (status == QK_OK) status = open_folders(s, final_folder, &p, err);
    if (status == QK_OK) status = for_each(&c, &p, check_listed, err);
    if (status == QK_OK) status = finish(&c, s, &p, err);
    close_folders(&p);
    qk_publish_free(&c);
    free(path);
    return status;
}
