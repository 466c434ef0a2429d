/* See digest_note.h. */
#include "engine/base/digest_note.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "engine/base/file.h"

/* SETTLED: seconds after which the next change of a file has another time everywhere. */
enum { SETTLED = 2, NOTE_ROOM = 256 };

static int64_t nanoseconds(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The note's path, or NULL when there is no cache; the caller frees. */
static char *path_of(const struct stat *f, int digits)
{
    char *folder = qk_cache_folder("digests");
    char *path = folder ? qk_strf("%s/%" PRIx64 "-%" PRIx64 "%s", folder, (uint64_t)f->st_dev,
                                  (uint64_t)f->st_ino, digits == QK_DIGEST_GIT ? "-git" : "")
                        : NULL;
    free(folder);
    return path;
}

/* "size modified changed ": what a note begins with while it holds. */
static size_t describe(const struct stat *f, char text[NOTE_ROOM])
{
    return (size_t)snprintf(text, NOTE_ROOM, "%" PRIu64 " %" PRId64 " %" PRId64 " ",
                            (uint64_t)f->st_size, nanoseconds(f->st_mtim), nanoseconds(f->st_ctim));
}

bool qk_digest_note_find(const struct stat *file, int digits, char *hex)
{
    char text[NOTE_ROOM], *path = path_of(file, digits);
    qk_buf note = {0};
    qk_error ignored;
    bool found = false;
    size_t n = describe(file, text);
    if (path && qk_read_file_if_there(&note, path, NOTE_ROOM, &found, &ignored) != QK_OK)
        found = false;
    const char *at = found ? (const char *)note.data + n : NULL;
    found = found && note.size == n + (size_t)digits + 1 && !memcmp(note.data, text, n) &&
            at[digits] == '\n' && (int)strspn(at, "0123456789abcdef") == digits;
    if (found) {
        memcpy(hex, at, (size_t)digits);
        hex[digits] = 0;
    }
    qk_buf_free(&note);
    free(path);
    return found;
}

void qk_digest_note_leave(const struct stat *file, const char *hex)
{
    int64_t last = nanoseconds(file->st_ctim), modified = nanoseconds(file->st_mtim);
    if (modified > last) last = modified;
    if ((int64_t)time(NULL) - last / 1000000000 <= SETTLED) return;
    char text[NOTE_ROOM], *path = path_of(file, (int)strlen(hex));
    qk_error ignored; /* without a note it is read again */
    size_t n = describe(file, text);
    n += (size_t)snprintf(text + n, sizeof text - n, "%s\n", hex);
    char *folder = qk_cache_folder("digests");
    if (path && qk_make_dirs(folder, &ignored) == QK_OK) qk_write_file(path, text, n, &ignored);
    free(folder);
    free(path);
}
