/* Whole captures of a model with the slice and without it (engine/forward/slice.h): what arrives in
 * the unit file must have the same bytes. */
#pragma once

#include <unistd.h>

#include "engine/capture/capture.h"
#include "engine/capture/unit_file.h"
#include "engine/capture/unit_queue.h"
#include "engine/forward/forward.h"
#include "engine/model/model.h"
#include "sampler/heads.h"
#include "sampler/listed.h"
#include "tests/test.h"

enum { SLICE_EXAMPLES = 4, SLICE_TOKENS = 512 };

/* What is captured, in the words of the configuration. */
typedef struct slice_case {
    const char *name;
    qk_sampler sampler, key_sampler;
    bool no_queries, no_keys, values, both, pre, per_head, lse;
    int layer; /* the only one, counted from the last one; 0: all */
} slice_case;

static const qk_listed slice_nothing = {.has_others = true};
static const int32_t slice_positions[] = {3, 30, 201};
static const qk_listed slice_some = {
    .positions = slice_positions, .n_positions = 3, .others = {0, 0, 3}, .has_others = true};

#define SLICE_LOG                                                                                  \
    {                                                                                              \
        .kind = QK_SAMPLE_LOG_UNIFORM, .base_rate = 4, .min_bucket_size = 8                        \
    }
#define SLICE_RARE                                                                                 \
    {                                                                                              \
        .kind = QK_SAMPLE_UNIFORM, .base_rate = 1, .min_bucket_size = 40                           \
    }
#define SLICE_ALL                                                                                  \
    {                                                                                              \
        .kind = QK_SAMPLE_ALL, .min_bucket_size = 8                                                \
    }
#define SLICE_LISTED(list, n)                                                                      \
    {                                                                                              \
        .kind = QK_SAMPLE_ALL, .min_bucket_size = 8, .listed = &(list), .first = (n)               \
    }

static const slice_case slice_cases[] = {
    {"log_uniform", SLICE_LOG, SLICE_LOG, .values = true},
    {"the first 20", SLICE_LISTED(slice_nothing, 20), SLICE_LISTED(slice_nothing, 20),
     .lse = false},
    {"listed, lse", SLICE_LISTED(slice_some, 0), SLICE_LISTED(slice_some, 2), .lse = true},
    {"rare, lse, values", SLICE_RARE, SLICE_RARE, .lse = true, .values = true},
    {"rare, last layer", SLICE_RARE, SLICE_RARE, .layer = 1},
    {"rare, last layer, lse", SLICE_RARE, SLICE_RARE, .layer = 1, .lse = true},
    {"rare, layer before, values alone", SLICE_RARE, SLICE_RARE, .layer = 2, .no_queries = true,
     .no_keys = true, .values = true},
    {"few queries, all keys", SLICE_LISTED(slice_some, 0), SLICE_ALL, .lse = false},
    {"all queries, few keys", SLICE_ALL, SLICE_LISTED(slice_some, 0), .lse = true},
    {"nothing", SLICE_LISTED(slice_nothing, 0), SLICE_LISTED(slice_nothing, 0), .lse = true},
    {"all", SLICE_ALL, SLICE_ALL, .lse = false},
    {"masks per head", SLICE_RARE, SLICE_LOG, .per_head = true, .lse = true},
    {"before RoPE", SLICE_RARE, SLICE_RARE, .pre = true},
    {"both states", SLICE_RARE, SLICE_LOG, .both = true, .values = true},
};
enum { SLICE_CASES = sizeof slice_cases / sizeof *slice_cases };

static inline qk_head_plan slice_heads(const slice_case *c, const qk_spec *s)
{
    static bool absent[64];
    int64_t layer = s->layers - 1;
    for (int l = 0; l < s->layers; l++) absent[l] = s->layer[l].absent;
    for (int before = 1; before < c->layer || absent[layer]; layer--) before += !absent[layer];
    const qk_head_model model = {s->layers, s->H, s->K, NULL, absent};
    qk_head_choice choice = {.layers = &layer,
                             .n_layers = c->layer > 0,
                             .capture_queries = !c->no_queries,
                             .capture_keys = !c->no_keys,
                             .capture_values = c->values,
                             .both_states = c->both};
    qk_head_plan plan;
    QK_ASSERT(qk_head_plan_make(&plan, &model, &choice, &test_error) == QK_OK);
    return plan;
}

/* So many examples at a time, into the file. */
static inline void slice_capture(const qk_model *m, const qk_capture_plan *plan, int batch_size,
                                 bool slice, const char *file)
{
    static const int32_t lengths[SLICE_EXAMPLES] = {37, 0, 5, 290};
    static const qk_unit_stamp stamp = {.identity = "i", .numerics = "n"};
    qk_unit_writer *w;
    qk_unit_queue *queue;
    char *tmp = qk_strf("%s.tmp", file);
    qk_capture *c = qk_capture_new(plan);
    qk_forward *f = qk_forward_new(m);
    QK_ASSERT(qk_unit_create(&w, file, tmp, &stamp, plan->d, &test_error) == QK_OK);
    QK_ASSERT(qk_unit_queue_new(&queue, &test_error) == QK_OK);
    for (int e = 0; e < SLICE_EXAMPLES; e++)
        qk_unit_add_example(w, &(qk_unit_example){.index = e, .id = 1000 + 7 * e});
    for (int first = 0; first < SLICE_EXAMPLES; first += batch_size) {
        int32_t ids[SLICE_TOKENS], starts[SLICE_EXAMPLES + 1] = {0}, n = 0;
        qk_capture_example examples[SLICE_EXAMPLES];
        qk_batch batch = {ids, starts, 0};
        for (int e = first; e < SLICE_EXAMPLES && batch.n_seq < batch_size; e++) {
            for (int t = 0; t < lengths[e]; t++) ids[n++] = (5 + e + 11 * t + t * t) % m->spec.V;
            examples[batch.n_seq] = (qk_capture_example){1000 + 7 * e, e};
            starts[++batch.n_seq] = n;
        }
        qk_capture_aim(c, &batch, examples, w, queue);
        qk_capture_hooks hooks = qk_capture_hooks_of(c);
        if (!slice) hooks.wanted = NULL;
        CHECK_MSG(qk_forward_run(f, &batch, &hooks, &test_error) == QK_OK, "%s",
                  test_error.message);
    }
    qk_unit_queue_drop(queue, NULL); /* all jobs end */
    CHECK(qk_unit_queue_check(queue, &test_error) == QK_OK);
    qk_unit_queue_free(queue);
    CHECK(qk_unit_commit(w, &test_error) == QK_OK);
    qk_forward_free(f);
    qk_capture_free(c);
    free(tmp);
}

/* False: other bytes. */
static inline bool slice_compare(const qk_model *m, const qk_capture_plan *plan, int batch_size)
{
    char folder[] = "/tmp/qk_slice_XXXXXX";
    CHECK(mkdtemp(folder));
    qk_buf bytes[2] = {{0}};
    for (int slice = 0; slice < 2; slice++) {
        char *file = qk_path_join(folder, "unit");
        slice_capture(m, plan, batch_size, slice, file);
        CHECK(qk_read_file(&bytes[slice], file, 1 << 28, &test_error) == QK_OK);
        unlink(file);
        free(file);
    }
    bool same = bytes[0].size > 0 && bytes[0].size == bytes[1].size &&
                !memcmp(bytes[0].data, bytes[1].data, bytes[0].size);
    qk_buf_free(&bytes[0]);
    qk_buf_free(&bytes[1]);
    rmdir(folder);
    return same;
}

static int slice_layers_in_memory; /* 0: all */

/* One example at a time, and all together. change_spec: as in qk_model_options. */
static inline void slice_check(const qk_backend *backend, qk_dtype compute, const char *folder,
                               const slice_case *c, void (*change_spec)(qk_spec *spec))
{
    qk_arena arena = {0};
    qk_spec spec;
    QK_ASSERT(qk_spec_read(&spec, folder, NULL, &arena, &test_error) == QK_OK);
    qk_head_plan heads = slice_heads(c, &spec);
    qk_capture_plan plan = {.heads = &heads,
                            .sampler = c->sampler,
                            .key_sampler = c->key_sampler,
                            .per_head_masks = c->per_head,
                            .pre_rope = c->pre,
                            .lse = c->lse,
                            .buffers = backend->depth + QK_CAPTURE_BEHIND,
                            .d = spec.d};
    const qk_layer_heads *last = &heads.layers[heads.n_layers - 1];
    qk_model_options o = {.backend = backend,
                          .device = {.compute = compute, .threads = 2},
                          .last_layer = heads.last_layer,
                          .last_needs = c->lse && last->n_q ? QK_LAST_ATTENTION
                                        : last->n_v         ? QK_LAST_QKV
                                                            : QK_LAST_QK,
                          .layers_in_memory = slice_layers_in_memory,
                          .change_spec = change_spec};
    qk_model m;
    qk_status s = qk_model_load(&m, folder, &o, &test_error);
    CHECK_MSG(s == QK_OK, "%s: %s", folder, test_error.message);
    for (int n = 1; s == QK_OK && n <= SLICE_EXAMPLES; n += SLICE_EXAMPLES - 1)
        CHECK_MSG(slice_compare(&m, &plan, n), "%s, %s, %s, %s, %d at a time: other rows", folder,
                  backend->name, qk_dtype_name(compute), c->name, n);
    if (s == QK_OK) qk_model_free(&m);
    qk_head_plan_free(&heads);
    qk_arena_free(&arena);
}
