/* formats/parquet_read: any bytes as a file; every column is read to its end. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "formats/parquet_read.h"

static void read_column(const qk_pq_file *f, size_t leaf)
{
    qk_pq_cursor *c;
    qk_pq_batch batch;
    qk_error err;
    if (qk_pq_cursor_open(&c, f, leaf, &err) != QK_OK) return;
    size_t rows = 0;
    do {
        qk_status s = f->leaves[leaf].max_rep ? qk_pq_next_floats(c, 4, 1000, &batch, &err)
                                              : qk_pq_next(c, 1000, &batch, &err);
        if (s != QK_OK) break;
        rows += batch.n; /* an all-null column of a few bytes may have any number */
    } while (batch.n && rows < 1000000);
    qk_pq_cursor_close(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("fuzz", 0);
    char path[64];
    qk_pq_file *f;
    qk_error err;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    if (qk_pq_open(&f, path, &err) == QK_OK) {
        for (size_t i = 0; i < f->n_leaves && i < 64; i++) read_column(f, i);
        qk_pq_close(f);
    }
    close(fd);
    return 0;
}
