/* See options.h. */
#include "engine/bench/options.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sampler/positions.h"

enum { MAX_TOKENS = 1 << 20 };

qk_status qk_bench_parse_tokens(const char *text, qk_bench_options *o, qk_error *err)
{
    o->n_tokens = 0;
    for (const char *at = text;; at++) {
        char *end;
        errno = 0;
        long n = *at >= '0' && *at <= '9' ? strtol(at, &end, 10) : 0;
        if (n < 1 || n > MAX_TOKENS || errno || (*end && *end != ','))
            return qk_fail(err, QK_ERR_USAGE, "as in --tokens 512,4096",
                           "--tokens %.100s: whole numbers from 1 to %d, with commas between them",
                           text, MAX_TOKENS);
        for (size_t i = 0; i < o->n_tokens; i++)
            if (o->tokens[i] == n)
                return qk_fail(err, QK_ERR_USAGE, NULL, "--tokens %.100s: %ld is there twice", text,
                               n);
        if (o->n_tokens == QK_BENCH_LENGTHS)
            return qk_fail(err, QK_ERR_USAGE, NULL, "--tokens %.100s: %d lengths at most", text,
                           QK_BENCH_LENGTHS);
        o->tokens[o->n_tokens++] = (int)n;
        at = end;
        if (!*at) return QK_OK;
    }
}

static qk_status refuse_sampler(const char *text, qk_error *err)
{
    return qk_fail(
        err, QK_ERR_USAGE,
        "as in --sampler log_uniform:128/16: the smallest bucket has 128 positions and a "
        "bucket gives 16 rows",
        "--sampler %.100s: log_uniform, uniform or all, then :SIZE or :SIZE/RATE", text);
}

qk_status qk_bench_parse_sampler(const char *text, qk_sampler *out, qk_error *err)
{
    const char *colon = strchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : strlen(text);
    int kind = QK_SAMPLE_LOG_UNIFORM;
    *out = (qk_sampler){.base_rate = 1, .min_bucket_size = 128};
    for (;; kind++) {
        if (kind > QK_SAMPLE_ALL) return refuse_sampler(text, err);
        const char *name = qk_sampler_kind_name((qk_sampler_kind)kind);
        if (strlen(name) == n && !strncmp(name, text, n)) break;
    }
    out->kind = (qk_sampler_kind)kind;
    if (!colon) return QK_OK;
    char *end;
    errno = 0;
    out->min_bucket_size = strtoll(colon + 1, &end, 10);
    bool right = colon[1] >= '0' && colon[1] <= '9' && !errno && out->min_bucket_size >= 1 &&
                 out->min_bucket_size <= INT64_C(1) << 31;
    if (right && *end == '/') {
        const char *rate = end + 1;
        right = kind != QK_SAMPLE_ALL && ((*rate >= '0' && *rate <= '9') || *rate == '.');
        out->base_rate = strtod(rate, &end);
        right = right && isfinite(out->base_rate) && out->base_rate > 0;
    }
    return right && !*end ? QK_OK : refuse_sampler(text, err);
}
