/* Where a tokenizer's tables are kept. See cache_file.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "engine/base/cache.h"
#include "engine/sha256.h"
#include "engine/tokenizer/cache_file.h"

/* Files change more than once within a tick of the clock that dates them; after this many seconds
 * every change shows. */
enum { SETTLED = 2 };

/* Describes a file as it is now; false when it cannot be seen: then there is no cache for it. */
static bool describe(const char *path, char *state, size_t room, char *name, size_t name_room,
                     bool *settled)
{
    struct stat st;
    struct timespec now;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) return false;
    snprintf(state, room, "%" PRId64 " %" PRId64 ".%09ld %" PRId64 ".%09ld ", (int64_t)st.st_size,
             (int64_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (int64_t)st.st_ctim.tv_sec,
             st.st_ctim.tv_nsec);
    snprintf(name, name_room, "%" PRIx64 "-%" PRIx64 ".sum", (uint64_t)st.st_dev,
             (uint64_t)st.st_ino);
    clock_gettime(CLOCK_REALTIME, &now);
    *settled = now.tv_sec - st.st_ctim.tv_sec >= SETTLED;
    return true;
}

static void set_path(qk_table_cache_place *p)
{
    char hex[65], name[80];
    qk_sha256_hex(p->key, hex);
    snprintf(name, sizeof name, "%s.tables", hex);
    p->path = qk_path_join(p->folder, name);
}

static bool read_hex(const char *text, size_t n, uint8_t key[32])
{
    if (n != 65 || text[64] != '\n') return false;
    for (size_t i = 0; i < 64; i++) {
        static const char digits[] = "0123456789abcdef";
        const char *d = text[i] ? strchr(digits, text[i]) : NULL;
        if (!d) return false;
        key[i / 2] = (uint8_t)(key[i / 2] << 4 | (d - digits));
    }
    return true;
}

void qk_table_cache_place_find(qk_table_cache_place *p, const char *path)
{
    char name[64];
    qk_buf note;
    qk_error ignored = {0};
    *p = (qk_table_cache_place){.folder = qk_cache_folder("tokenizers")};
    if (!p->folder) return;
    if (!describe(path, p->state, sizeof p->state, name, sizeof name, &p->settled)) return;
    p->note = qk_path_join(p->folder, name);
    if (qk_read_file(&note, p->note, 256, &ignored) != QK_OK) return; /* then the file is hashed */
    size_t n = strlen(p->state);
    if (note.size >= n && !memcmp(note.data, p->state, n) &&
        read_hex((const char *)note.data + n, note.size - n, p->key))
        set_path(p);
    qk_buf_free(&note);
}

void qk_table_cache_place_hash(qk_table_cache_place *p, const char *path, const uint8_t *bytes,
                               size_t n)
{
    char state[sizeof p->state], name[64], hex[65], text[256];
    bool settled;
    if (!p->folder) return;
    qk_sha256(bytes, n, p->key);
    free(p->path);
    set_path(p);
    if (!p->note || !p->settled) return;
    if (!describe(path, state, sizeof state, name, sizeof name, &settled) ||
        strcmp(state, p->state) != 0)
        return; /* it changed while it was read */
    qk_error ignored = {0};
    qk_sha256_hex(p->key, hex);
    int length = snprintf(text, sizeof text, "%s%s\n", state, hex);
    if (qk_make_dirs(p->folder, &ignored) == QK_OK)
        qk_write_file(p->note, text, (size_t)length, &ignored);
}

void qk_table_cache_place_free(qk_table_cache_place *p)
{
    free(p->folder);
    free(p->path);
    free(p->note);
    *p = (qk_table_cache_place){0};
}
