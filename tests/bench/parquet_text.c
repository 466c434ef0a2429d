/* Reads one column of strings as the engine does (a cursor, 1024 rows a batch, UTF-8 checked) and
 * prints what it saw and how long it took. usage: parquet_text FILE COLUMN
 *
 * next: tests/bench/parquet.py */
#include <stdio.h>
#include <time.h>

#include "engine/base/text.h"
#include "formats/parquet_read.h"

enum { BATCH_ROWS = 1024 };

typedef struct totals {
    uint64_t rows, nulls, bytes;
} totals;

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The largest resident set, the mapped file included; -1: the system does not say. */
static long peak_kb(void)
{
    char line[128];
    long kb = -1;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f) && sscanf(line, "VmHWM: %ld", &kb) != 1) continue;
    if (f) fclose(f);
    return kb;
}

static qk_status read_column(const qk_pq_file *f, const char *name, totals *sum, qk_error *err)
{
    qk_pq_cursor *c;
    qk_pq_batch batch;
    int leaf = qk_pq_find(f, name);
    if (leaf < 0 || f->leaves[leaf].type != QK_PQ_T_BYTES)
        return qk_fail(err, QK_ERR_NOTFOUND, NULL, "%s: no column '%s' of strings", f->path, name);
    QK_TRY(qk_pq_cursor_open(&c, f, (size_t)leaf, err));
    qk_status status;
    while ((status = qk_pq_next(c, BATCH_ROWS, &batch, err)) == QK_OK && batch.n) {
        const qk_pq_bytes *texts = batch.values;
        for (size_t i = 0; i < batch.n; i++) {
            if (qk_utf8_check(texts[i].data, texts[i].size) != texts[i].size)
                status = qk_fail(err, QK_ERR_FORMAT, NULL, "%s: text that is not UTF-8", f->path);
            sum->bytes += texts[i].size;
            sum->nulls += !batch.valid[i];
        }
        sum->rows += batch.n;
        if (status != QK_OK) break;
    }
    qk_pq_cursor_close(c);
    return status;
}

int main(int argc, char **argv)
{
    qk_error err = {0};
    qk_pq_file *f;
    totals sum = {0};
    if (argc != 3) return 2;
    double begin = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    qk_status status = qk_pq_open(&f, argv[1], &err);
    if (status == QK_OK) {
        status = read_column(f, argv[2], &sum, &err);
        qk_pq_close(f);
    }
    if (status != QK_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    double seconds = now(CLOCK_MONOTONIC) - begin;
    cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("{\"rows\": %llu, \"nulls\": %llu, \"bytes\": %llu, \"seconds\": %.6f, "
           "\"cpu\": %.6f, \"peak_kb\": %ld}\n",
           (unsigned long long)sum.rows, (unsigned long long)sum.nulls,
           (unsigned long long)sum.bytes, seconds, cpu, peak_kb());
    return 0;
}
