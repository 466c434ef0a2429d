/* What a folder brings along: a unit file, a journal, a manifest, a number of units. The checksums
 * are made to fit, since whoever writes a file on purpose makes them fit as well.
 *
 * The first byte picks which. A journal that is followed moves files within its folder only. */
#include "engine/output/manifest.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <zlib.h>

#include "engine/base/hash.h"
#include "engine/capture/unit_file.h"
#include "engine/staging/publish.h"
#include "formats/sealed.h"

/* The input as the footer of a unit whose blocks are some floats. */
static void read_unit(const uint8_t *data, size_t size)
{
    static const char mark[] = "QKUNIT03";
    qk_buf file = {0}, buf = {0};
    qk_unit_stamp stamp;
    qk_unit u;
    qk_error err;
    qk_buf_add(&file, mark, 8);
    for (int i = 0; i < 64; i++) qk_buf_add(&file, &(float){(float)i}, 4);
    uint64_t offset = file.size, bytes = size;
    uint32_t crc = (uint32_t)crc32(0, data, (uInt)size);
    qk_buf_add(&file, data, size);
    qk_buf_add(&file, &offset, 8);
    qk_buf_add(&file, &bytes, 8);
    qk_buf_add(&file, &crc, 4);
    qk_buf_add(&file, mark, 8);
    const char *path = fuzz_file("unit-000000.qku", file.data, file.size);
    bool sound = qk_unit_read_stamp(path, &stamp, &err) == QK_OK;
    if (qk_unit_open(&u, path, &err) == QK_OK) {
        QK_ASSERT(sound && !memcmp(&stamp, &u.stamp, sizeof stamp));
        for (size_t i = 0; i < u.n_examples; i++) {
            const qk_unit_example *e = &u.examples[i];
            QK_ASSERT(!e->id_text || e->id_text[e->id_length] == 0);
        }
        for (size_t b = 0; b < u.n_blocks; b++) {
            qk_unit_rows rows;
            const float *vectors;
            if (qk_unit_read_rows(&u, &u.blocks[b], &buf, &rows, &err) != QK_OK) continue;
            for (int32_t h = 0; h < rows.n_heads; h++) {
                (void)qk_unit_read_vectors(&u, &u.blocks[b], h, &buf, &vectors, &err);
                (void)qk_unit_read_lse(&u, &u.blocks[b], h, &buf, &vectors, &err);
            }
        }
        qk_unit_close(&u);
    }
    qk_buf_free(&file);
    qk_buf_free(&buf);
}

static void put_sealed(const char *path, const uint8_t *data, size_t size)
{
    qk_error err;
    if (qk_sealed_write(path, (const char *)data, size, &err) != QK_OK) abort();
}

static void follow_journal(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"b", "x/b"};
    char *top = qk_path_join(fuzz_folder(), "out"), *folder = qk_path_join(top, "staging");
    char *final = qk_path_join(top, "final"), *journal = qk_path_join(folder, "commit.json");
    char *key = qk_path_join(fuzz_folder(), "key");
    qk_staging s;
    qk_publish c = {0};
    qk_error err;
    bool has;
    if (qk_staging_open(&s, folder, &err) != QK_OK) abort();
    put_sealed(key, (const uint8_t *)"key", 3);
    for (int i = 0; i < 2; i++) {
        char *path = qk_publish_add(&c, &s, names[i], &err);
        if (!path || qk_write_file(path, "file", 4, &err) != QK_OK) abort();
        free(path);
    }
    put_sealed(journal, data, size);
    (void)qk_publish_recover(&s, final, &err);
    if (qk_has_file(key, &has, &err) != QK_OK || !has) abort();
    if (qk_remove_tree(top, &err) != QK_OK) abort();
    qk_publish_free(&c);
    qk_staging_close(&s);
    free(top), free(folder), free(final), free(journal), free(key);
}

/* The digest at the end is put right where there is one. */
static void read_manifest(const uint8_t *data, size_t size)
{
    enum { END = 4, DIGEST = 64 };
    qk_buf text = {0};
    qk_arena arena = {0};
    qk_manifest_file file;
    const qk_json *root;
    qk_error err;
    qk_buf_add(&text, data, size);
    if (size > END + DIGEST) {
        uint8_t digest[32];
        char hex[65];
        qk_sha256(data, size - END - DIGEST, digest);
        qk_sha256_hex(digest, hex);
        memcpy(text.data + size - END - DIGEST, hex, DIGEST);
    }
    const char *path = fuzz_file("manifest.json", text.data, text.size);
    if (qk_manifest_read_file(path, &arena, &root, &err) == QK_OK) {
        qk_identity id = {0};
        bool complete;
        (void)qk_manifest_is_complete(root, &id, fuzz_folder(), &complete, &err);
        (void)qk_manifest_check(root, fuzz_folder(), &err);
        const qk_json *files = qk_json_get(root, "files");
        for (const qk_json *f = files->first; f; f = f->next)
            QK_ASSERT(!strchr(f->key, '/') && qk_manifest_find(root, f->key, &file));
    }
    qk_arena_free(&arena);
    qk_buf_free(&text);
}

static void read_units(const uint8_t *data, size_t size)
{
    qk_staging s = {.folder = fuzz_folder(), .lock = -1};
    char *path = qk_path_join(s.folder, "units.json");
    qk_error err;
    int64_t units;
    put_sealed(path, data, size);
    qk_status status = qk_staging_units(&s, &units, &err);
    QK_ASSERT(status == QK_OK ? units >= 0 : units == -1);
    free(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(const uint8_t *, size_t) = {read_unit, follow_journal,
                                                               read_manifest, read_units};
    if (size < 1 || size > 1 << 16) return 0;
    readers[data[0] % 4](data + 1, size - 1);
    return 0;
}
