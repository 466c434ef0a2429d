/* engine/capture/unit_file: a unit survives a round trip; a damaged one is refused; a full disk stops it. */
#include "tests/test.h"

#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "engine/capture/unit_file.h"

enum { D = 3, ROWS = 5, HEADS = 2 };

static char folder[64];
static char *path, *tmp;
static const qk_unit_stamp stamp = {.identity = "0123abcd", .numerics = "cpu amx"};

/* with_lse: a second block, of queries with their log-sum-exp. */
static void write_unit(bool with_lse)
{
    qk_unit_writer *w;
    qk_error err = {0};
    CHECK_INT(qk_unit_create(&w, path, tmp, &stamp, D, &err), QK_OK);
    int32_t heads[HEADS] = {1, 4}, tokens[ROWS], positions[ROWS], buckets[ROWS], examples[ROWS];
    float vectors[HEADS * ROWS * D];
    for (int i = 0; i < ROWS; i++) {
        tokens[i] = 100 + i;
        positions[i] = 10 * i;
        buckets[i] = i / 2;
        examples[i] = i / 3;
    }
    for (int i = 0; i < HEADS * ROWS * D; i++) vectors[i] = (float)i / 8;
    qk_unit_rows r = {7,         QK_KIND_K, heads,    HEADS,   ROWS, tokens,
                      positions, buckets,   examples, vectors, NULL};
    CHECK_INT(qk_unit_add_rows(w, &r, &err), QK_OK);
    float lse[HEADS * ROWS];
    for (int i = 0; i < HEADS * ROWS; i++) lse[i] = -(float)i;
    r.kind = QK_KIND_Q;
    r.lse = lse;
    if (with_lse) CHECK_INT(qk_unit_add_rows(w, &r, &err), QK_OK);
    r.rows = 0; /* nothing was kept in this batch: no block */
    CHECK_INT(qk_unit_add_rows(w, &r, &err), QK_OK);
    qk_unit_example a = {
        .index = 5, .id = -9, .id_text = "é\0x", .id_length = 4, .tokens = 41, .truncated = true};
    qk_unit_example b = {.index = 6, .id = INT64_MAX, .tokens = 0};
    memset(a.sha256, 0xAB, 32);
    qk_unit_add_example(w, &a);
    qk_unit_add_example(w, &b);
    CHECK_INT(qk_unit_commit(w, &err), QK_OK);
}

static void test_round_trip(void)
{
    write_unit(false);
    qk_unit u;
    qk_error err = {0};
    CHECK_INT(qk_unit_open(&u, path, &err), QK_OK);
    CHECK(!memcmp(&u.stamp, &stamp, sizeof stamp));
    CHECK_INT(u.d, D);
    CHECK_INT(u.n_examples, 2);
    CHECK_INT(u.examples[0].id, -9);
    CHECK(u.examples[0].id_length == 4 && !memcmp(u.examples[0].id_text, "é\0x", 5));
    CHECK(u.examples[0].truncated && u.examples[0].sha256[31] == 0xAB);
    CHECK(u.examples[1].id_text == NULL && u.examples[1].id == INT64_MAX);
    CHECK_INT(u.n_blocks, 1);
    CHECK_INT(u.rows, ROWS * HEADS);
    qk_buf buf = {0};
    qk_unit_rows r;
    CHECK_INT(qk_unit_read_rows(&u, &u.blocks[0], &buf, &r, &err), QK_OK);
    CHECK(r.layer == 7 && r.kind == QK_KIND_K && r.rows == ROWS && r.heads[1] == 4);
    CHECK(r.tokens[4] == 104 && r.positions[4] == 40 && r.buckets[4] == 2 && r.examples[4] == 1);
    const float *v;
    CHECK_INT(qk_unit_read_vectors(&u, &u.blocks[0], 1, &buf, &v, &err), QK_OK);
    CHECK_CLOSE(v[0], (double)ROWS * D / 8, 0);
    CHECK_CLOSE(v[ROWS * D - 1], (double)(HEADS * ROWS * D - 1) / 8, 0);
    qk_buf_free(&buf);
    qk_unit_close(&u);
}

/* Beside a block of lse the bytes of another are what they were. */
static void test_log_sum_exp(void)
{
    qk_unit u;
    qk_buf buf = {0}, plain;
    const float *v;
    write_unit(false);
    CHECK_INT(qk_read_file(&plain, path, 1 << 20, &test_error), QK_OK);
    CHECK_INT(qk_unit_open(&u, path, &test_error), QK_OK);
    CHECK(!u.blocks[0].has_lse);
    CHECK_INT(qk_unit_read_lse(&u, &u.blocks[0], 0, &buf, &v, &test_error), QK_OK);
    CHECK(v == NULL);
    qk_unit_close(&u);
    write_unit(true);
    CHECK_INT(qk_unit_open(&u, path, &test_error), QK_OK);
    CHECK_INT(u.n_blocks, 2);
    CHECK(!u.blocks[0].has_lse && u.blocks[1].has_lse && u.blocks[1].kind == QK_KIND_Q);
    CHECK_INT(u.rows, 2 * ROWS * HEADS);
    for (int32_t h = 0; h < HEADS; h++) {
        CHECK_INT(qk_unit_read_vectors(&u, &u.blocks[1], h, &buf, &v, &test_error), QK_OK);
        CHECK_CLOSE(v[1], (double)(h * ROWS * D + 1) / 8, 0);
        CHECK_INT(qk_unit_read_lse(&u, &u.blocks[1], h, &buf, &v, &test_error), QK_OK);
        for (int i = 0; i < ROWS; i++) CHECK_CLOSE(v[i], -(h * ROWS + i), 0);
    }
    size_t data = 8 + ROWS * (16 + HEADS * D * 4);
    qk_buf with;
    CHECK_INT(qk_read_file(&with, path, 1 << 20, &test_error), QK_OK);
    CHECK(!memcmp(plain.data, with.data, data));
    qk_buf_free(&plain);
    qk_buf_free(&with);
    qk_buf_free(&buf);
    qk_unit_close(&u);
}

/* Writes a unit whose index has other 4 bytes at `at`, counted from its first entry, and a checksum
 * that fits; whether it opens. */
static bool opens_with(size_t at, uint32_t value)
{
    qk_buf whole;
    qk_unit u;
    uint64_t footer, bytes;
    write_unit(false);
    CHECK_INT(qk_read_file(&whole, path, 1 << 20, &test_error), QK_OK);
    memcpy(&footer, whole.data + whole.size - 28, 8);
    memcpy(&bytes, whole.data + whole.size - 20, 8);
    size_t entry = footer + bytes - (3 * 4 + 2 * 8 + 4 + HEADS * 8);
    memcpy(whole.data + entry + at, &value, 4);
    uint32_t crc = (uint32_t)crc32(0, whole.data + footer, (uInt)bytes);
    memcpy(whole.data + whole.size - 12, &crc, 4);
    CHECK_INT(qk_write_file(path, whole.data, whole.size, &test_error), QK_OK);
    qk_buf_free(&whole);
    bool opens = qk_unit_open(&u, path, &test_error) == QK_OK;
    if (opens) qk_unit_close(&u);
    CHECK(opens || test_error.status == QK_ERR_DAMAGED);
    return opens;
}

/* What an index must not say, though its checksum fits. */
static void test_hostile_index(void)
{
    CHECK(opens_with(4, QK_KIND_K) && opens_with(4, QK_KIND_V) && opens_with(4, QK_KIND_Q_PRE));
    CHECK(!opens_with(4, 'x') && !opens_with(4, 0) && !opens_with(4, QK_KIND_Q + 512));
    CHECK(!opens_with(4, QK_KIND_Q + 256)); /* with lse, whose checksums are not there */
    CHECK(opens_with(12, ROWS - 1) && !opens_with(12, ROWS + 1) && !opens_with(16, 1));
    CHECK(!opens_with(20, 16) && !opens_with(24, 1u << 31));
}

/* Reads everything; true when nothing was noticed. */
static bool reads_whole(void)
{
    qk_unit u;
    if (qk_unit_open(&u, path, &test_error) != QK_OK) return false;
    qk_buf buf = {0};
    bool ok = u.d == D;
    for (size_t b = 0; b < u.n_blocks && ok; b++) {
        qk_unit_rows r;
        const float *v;
        ok = qk_unit_read_rows(&u, &u.blocks[b], &buf, &r, &test_error) == QK_OK;
        for (int32_t h = 0; h < u.blocks[b].n_heads && ok; h++)
            ok = qk_unit_read_vectors(&u, &u.blocks[b], h, &buf, &v, &test_error) == QK_OK &&
                 qk_unit_read_lse(&u, &u.blocks[b], h, &buf, &v, &test_error) == QK_OK;
    }
    qk_buf_free(&buf);
    qk_unit_close(&u);
    return ok;
}

static void test_every_damaged_byte_is_noticed(void)
{
    write_unit(true);
    qk_buf whole;
    CHECK_INT(qk_read_file(&whole, path, 1 << 20, &test_error), QK_OK);
    CHECK(reads_whole());
    for (size_t i = 0; i < whole.size; i++) {
        whole.data[i] ^= 0x10;
        CHECK_INT(qk_write_file(path, whole.data, whole.size, &test_error), QK_OK);
        CHECK_MSG(!reads_whole(), "byte %zu of %zu", i, whole.size);
        whole.data[i] ^= 0x10;
    }
    for (size_t n = 0; n < whole.size; n++) {
        CHECK_INT(qk_write_file(path, whole.data, n, &test_error), QK_OK);
        CHECK_MSG(!reads_whole(), "%zu of %zu bytes", n, whole.size);
    }
    qk_buf_free(&whole);
}

static void test_stamps(void)
{
    write_unit(false);
    qk_unit_stamp have, other = stamp;
    CHECK_INT(qk_unit_read_stamp(path, &have, &test_error), QK_OK);
    CHECK_INT(qk_unit_stamp_check(&have, &stamp, path, &test_error), QK_OK);
    other.identity[3] = 'x';
    CHECK_INT(qk_unit_stamp_check(&have, &other, path, &test_error), QK_ERR_DATA);
    CHECK(strstr(test_error.message, path) && strstr(test_error.message, "another run"));
    other = stamp;
    strcpy(other.numerics, "cpu");
    CHECK_INT(qk_unit_stamp_check(&have, &other, path, &test_error), QK_ERR_DATA);
    CHECK(strstr(test_error.message, path) && strstr(test_error.message, "'cpu amx'"));
    /* Too short to have one; a version that had none; two strings without an end. */
    qk_buf whole;
    CHECK_INT(qk_read_file(&whole, path, 1 << 20, &test_error), QK_OK);
    CHECK_INT(qk_write_file(path, whole.data, 20, &test_error), QK_OK);
    CHECK_INT(qk_unit_read_stamp(path, &have, &test_error), QK_ERR_DAMAGED);
    uint64_t footer, bytes;
    memcpy(&footer, whole.data + whole.size - 28, 8);
    memcpy(&bytes, whole.data + whole.size - 20, 8);
    memset(whole.data + footer, 'x', sizeof stamp);
    CHECK_INT(qk_write_file(path, whole.data, whole.size, &test_error), QK_OK);
    CHECK_INT(qk_unit_read_stamp(path, &have, &test_error), QK_ERR_DAMAGED);
    uint32_t crc = (uint32_t)crc32(0, whole.data + footer, (uInt)bytes); /* one that fits */
    memcpy(whole.data + whole.size - 12, &crc, 4);
    CHECK_INT(qk_write_file(path, whole.data, whole.size, &test_error), QK_OK);
    CHECK_INT(qk_unit_read_stamp(path, &have, &test_error), QK_ERR_DAMAGED);
    whole.data[whole.size - 1] = whole.data[7] = '1';
    CHECK_INT(qk_write_file(path, whole.data, whole.size, &test_error), QK_OK);
    CHECK_INT(qk_unit_read_stamp(path, &have, &test_error), QK_ERR_FORMAT);
    CHECK(strstr(test_error.message, "another version") != NULL);
    qk_buf_free(&whole);
}

/* What is no file of ours is neither waited for nor followed. */
static void test_other_things(void)
{
    qk_unit_stamp have;
    char *elsewhere = qk_path_join(folder, "elsewhere");
    write_unit(false);
    CHECK_INT(rename(path, elsewhere), 0);
    CHECK_INT(qk_unit_read_stamp(path, &have, &test_error), QK_ERR_NOTFOUND);
    CHECK_INT(symlink(elsewhere, path), 0);
    CHECK_INT(qk_unit_read_stamp(path, &have, &test_error), QK_ERR_DATA);
    unlink(path), unlink(elsewhere);
    CHECK_INT(mkfifo(path, 0666), 0);
    CHECK_INT(qk_unit_read_stamp(path, &have, &test_error), QK_ERR_DATA);
    CHECK(strstr(test_error.message, path) != NULL);
    unlink(path);
    CHECK_INT(mkdir(path, 0777), 0);
    CHECK_INT(qk_unit_read_stamp(path, &have, &test_error), QK_ERR_DATA);
    rmdir(path);
    free(elsewhere);
}

static void test_abort_leaves_nothing(void)
{
    unlink(path);
    qk_unit_writer *w;
    CHECK_INT(qk_unit_create(&w, path, tmp, &stamp, D, &test_error), QK_OK);
    qk_unit_abort(w);
    qk_names names;
    CHECK_INT(qk_list_dir(folder, &names, &test_error), QK_OK);
    CHECK_INT(names.count, 0);
    qk_names_free(&names);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    snprintf(folder, sizeof folder, "/tmp/qk_unit_file_XXXXXX");
    if (!mkdtemp(folder)) return 1;
    path = qk_path_join(folder, "unit-000000.qku");
    tmp = qk_path_join(folder, "unit-000000.qku.0123456789abcdef.tmp");
    RUN(test_round_trip);
    RUN(test_log_sum_exp);
    RUN(test_hostile_index);
    RUN(test_every_damaged_byte_is_noticed);
    RUN(test_stamps);
    RUN(test_other_things);
    RUN(test_abort_leaves_nothing);
    unlink(path);
    rmdir(folder);
    free(path);
    free(tmp);
    return test_summary("unit file");
}
