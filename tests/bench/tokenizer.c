/* Times a tokenizer's encoding and loading for tests/bench/tokenizer.py.
 *
 * usage: tokenizer FOLDER load                         milliseconds of one load: elapsed, processor
 *        tokenizer FOLDER encode FILE THREADS ROUNDS
 *            MB for each second of processor time, and elapsed; tokens; a hash of the ids
 *
 * FILE holds documents, each with its length in bytes as a little-endian uint64 in front. One round
 * encodes all of them; the rates are those of the fastest round, and every thread keeps its working
 * memory from one document to the next. The processor's clock does not count what other programs on
 * the machine do. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/base/team.h"
#include "engine/tokenizer/tokenizer.h"

typedef struct document {
    const char *text;
    size_t length;
    uint64_t hash; /* of its ids */
    size_t tokens;
} document;

static void die(const qk_error *err)
{
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

static double processor_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static document *find_documents(const qk_buf *file, size_t *count)
{
    document *out = NULL;
    size_t capacity = 0;
    *count = 0;
    for (size_t at = 0; at + 8 <= file->size;) {
        uint64_t n;
        memcpy(&n, file->data + at, 8);
        at += 8;
        if (n > file->size - at) break;
        QK_GROW(out, *count, capacity);
        out[(*count)++] = (document){.text = (const char *)file->data + at, .length = n};
        at += n;
    }
    return out;
}

static void encode(const qk_tokenizer *tok, document *d, qk_tokens *tokens)
{
    qk_error err = {0};
    if (qk_tokenizer_encode(tok, d->text, d->length, 0, tokens, &err) != QK_OK) die(&err);
    d->tokens = tokens->count;
    d->hash = 0;
    for (size_t i = 0; i < tokens->count; i++)
        d->hash = (d->hash ^ (uint64_t)tokens->ids[i]) * 0x100000001B3u;
}

/* Seconds by both clocks. */
typedef struct seconds {
    double elapsed, processor;
} seconds;

typedef struct round_of {
    const qk_tokenizer *tok;
    document *docs;
    qk_tokens *tokens; /* of each thread */
} round_of;

static void encode_documents(void *context, size_t begin, size_t end, int member)
{
    const round_of *r = context;
    for (size_t i = begin; i < end; i++) encode(r->tok, &r->docs[i], &r->tokens[member]);
}

static seconds run_round(const qk_tokenizer *tok, document *docs, size_t n, int threads,
                         qk_tokens *tokens)
{
    seconds begin = {qk_now(), processor_now()};
    round_of r = {tok, docs, tokens};
    qk_loop_each(threads, n, encode_documents, &r);
    return (seconds){qk_now() - begin.elapsed, processor_now() - begin.processor};
}

static int encode_file(const qk_tokenizer *tok, const char *path, int threads, int rounds)
{
    qk_error err = {0};
    qk_buf file;
    if (qk_read_file(&file, path, SIZE_MAX / 2, &err) != QK_OK) die(&err);
    size_t n, bytes = 0, count = 0;
    uint64_t hash = 0;
    document *docs = find_documents(&file, &n);
    qk_tokens *tokens = qk_zalloc((size_t)threads, sizeof *tokens);
    seconds best = {1e30, 1e30};
    for (int r = 0; r < rounds; r++) {
        seconds s = run_round(tok, docs, n, threads, tokens);
        if (s.elapsed < best.elapsed) best.elapsed = s.elapsed;
        if (s.processor < best.processor) best.processor = s.processor;
    }
    for (size_t i = 0; i < n; i++) {
        bytes += docs[i].length;
        count += docs[i].tokens;
        hash = hash * 31 + docs[i].hash;
    }
    double mb = (double)bytes / 1e6;
    printf("%.4f %.4f %zu %016" PRIx64 "\n", mb / best.processor, mb / best.elapsed, count, hash);
    for (int t = 0; t < threads; t++) qk_tokens_free(&tokens[t]);
    free(tokens);
    free(docs);
    qk_buf_free(&file);
    return 0;
}

int main(int argc, char **argv)
{
    bool load = argc == 3 && !strcmp(argv[2], "load");
    if (!load && !(argc == 6 && !strcmp(argv[2], "encode") && atoi(argv[4]) > 0)) {
        fprintf(stderr,
                "usage: tokenizer FOLDER load | tokenizer FOLDER encode FILE THREADS ROUNDS\n");
        return 2;
    }
    qk_error err = {0};
    qk_tokenizer *tok;
    double begin = qk_now(), processor = processor_now();
    if (qk_tokenizer_load(&tok, argv[1], &err) != QK_OK) die(&err);
    if (load) printf("%.3f %.3f\n", 1e3 * (qk_now() - begin), 1e3 * (processor_now() - processor));
    int rc = load ? 0 : encode_file(tok, argv[3], atoi(argv[4]), atoi(argv[5]));
    qk_tokenizer_free(tok);
    return rc;
}
