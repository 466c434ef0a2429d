/* See digest_note.h. */
#include "engine/base/digest_note.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/cache.h"

enum { NOTE_SIZE = 256 };
static const char cache[] = "digests";

/* The note's name, and "size modified changed ", what it begins with while it holds. */
static size_t describe(const qk_file_state *s, int digits, char name[64], char text[NOTE_SIZE])
{
    snprintf(name, 64, "%" PRIx64 "-%" PRIx64 "%s", s->device, s->inode,
             digits == QK_DIGEST_GIT ? "-git" : "");
    return (size_t)snprintf(text, NOTE_SIZE, "%" PRIu64 " %" PRId64 " %" PRId64 " ", s->size,
                            s->modified, s->changed);
}

bool qk_digest_note_find(const qk_file_state *file, int digits, char *hex)
{
    char name[64], text[NOTE_SIZE];
    qk_buf note;
    size_t n = describe(file, digits, name, text);
    if (!qk_file_state_is_settled(file) || !qk_kept_read(cache, name, NOTE_SIZE, &note))
        return false;
    const char *at = (const char *)note.data + n;
    bool holds = note.size == n + (size_t)digits + 1 && !memcmp(note.data, text, n) &&
                 at[digits] == '\n' && (int)strspn(at, "0123456789abcdef") == digits;
    if (holds) {
        memcpy(hex, at, (size_t)digits);
        hex[digits] = 0;
    }
    qk_buf_free(&note);
    return holds;
}

void qk_digest_note_leave(const qk_file_state *file, const char *hex)
{
    char name[64], text[NOTE_SIZE];
    if (!qk_file_state_is_settled(file)) return;
    size_t n = describe(file, (int)strlen(hex), name, text);
    n += (size_t)snprintf(text + n, sizeof text - n, "%s\n", hex);
    qk_kept_write(cache, name, text, n);
}
