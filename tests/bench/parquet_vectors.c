/* Writes the rows of a captured file from memory; prints time and size.
 * usage: parquet_vectors IN OUT split|plain
 *
 * next: tests/bench/parquet.py */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/output/head_file.h"

typedef struct rows {
    qk_buf bucket, example_id, position, vectors, window;
    size_t n;
    int d;
} rows;

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static qk_status load(rows *all, const char *path, qk_error *err)
{
    qk_head_file_reader *r;
    qk_file_rows part;
    QK_TRY(qk_head_file_open(&r, path, 0, err));
    all->d = qk_head_file_head_dim(r);
    qk_status status;
    while ((status = qk_head_file_next(r, &part, err)) == QK_OK && part.n) {
        qk_buf_add(&all->bucket, part.bucket, part.n * 4);
        qk_buf_add(&all->example_id, part.example_id, part.n * 4);
        qk_buf_add(&all->position, part.position, part.n * 4);
        qk_buf_add(&all->vectors, part.vectors, part.n * 4 * (size_t)all->d);
        qk_buf_add(&all->window, part.window, part.n * 4);
        all->n += part.n;
    }
    qk_head_file_close(r);
    return status;
}

static const int32_t *ints(const qk_buf *b)
{
    return (const int32_t *)(const void *)b->data;
}

static qk_status write_all(const rows *all, const char *path, bool plain, uint64_t *bytes,
                           qk_error *err)
{
    const qk_head_file_format format = {.d = all->d, .plain_vectors = plain};
    const qk_file_rows part = {.n = all->n,
                               .bucket = ints(&all->bucket),
                               .example_id = ints(&all->example_id),
                               .position = ints(&all->position),
                               .vectors = (const float *)(const void *)all->vectors.data,
                               .window = ints(&all->window)};
    qk_head_file_writer *w;
    QK_TRY(qk_head_file_create(&w, path, &format, err));
    qk_status status = qk_head_file_append(w, &part, err);
    if (status == QK_OK) return qk_head_file_commit(w, NULL, bytes, err);
    qk_head_file_abort(w);
    return status;
}

int main(int argc, char **argv)
{
    qk_error err = {0};
    rows all = {0};
    uint64_t bytes;
    if (argc != 4) return 2;
    qk_status status = load(&all, argv[1], &err);
    double begin = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    if (status == QK_OK) status = write_all(&all, argv[2], !strcmp(argv[3], "plain"), &bytes, &err);
    if (status == QK_OK)
        printf("{\"rows\": %zu, \"bytes\": %llu, \"seconds\": %.6f, \"cpu\": %.6f}\n", all.n,
               (unsigned long long)bytes, now(CLOCK_MONOTONIC) - begin,
               now(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    if (status != QK_OK) fprintf(stderr, "%s\n", err.message);
    qk_buf *const buffers[] = {&all.bucket, &all.example_id, &all.position, &all.vectors,
                               &all.window};
    for (size_t i = 0; i < 5; i++) qk_buf_free(buffers[i]);
    return status != QK_OK;
}
