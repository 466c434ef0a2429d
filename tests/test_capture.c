/* engine/capture: every kind, stage and sampler on its way into a unit, from hooks that are called by
 * hand. What stands in for the forward writes numbers that say where they come from. */
#include "tests/test.h"

#include <unistd.h>

#include "engine/capture/capture.h"
#include "engine/capture/unit_file.h"
#include "engine/capture/unit_queue.h"
#include "engine/forward/forward.h"
#include "engine/forward/row_set.h"
#include "sampler/heads.h"

enum { D = 4, LAYERS = 3, Q_HEADS = 4, K_HEADS = 2, EXAMPLES = 3 };

static char folder[] = "/tmp/qk_test_capture_XXXXXX";
static char *path, *tmp;

static const int32_t lengths[EXAMPLES] = {23, 0, 40};
static const int64_t ids[EXAMPLES] = {11, -3, 1 << 20};

/* ---- a forward without a model ---- */

/* Which float of which vector: small integers, exact in float32. */
static float value_of(int list, bool before, int layer, int head, int32_t token, int at)
{
    return (float)((((list * 2 + before) * LAYERS + layer) * Q_HEADS + head) * 512 + token * D +
                   at);
}

static float lse_of(int layer, int head, int32_t token)
{
    return -(float)((layer * Q_HEADS + head) * 64 + token);
}

static void fill(const qk_row_copy *copies, size_t n, int list, bool before, int layer,
                 const int32_t *ids_of)
{
    for (size_t i = 0; i < n; i++) {
        const qk_row_copy *c = &copies[i];
        for (size_t h = 0; h < c->n_heads; h++)
            for (size_t r = 0; r < c->n_rows; r++) {
                float *out = c->out + (h * c->n_rows + r) * D;
                int32_t token = ids_of[c->rows[r]];
                for (int at = 0; at < D; at++)
                    out[at] = value_of(list, before, layer, c->heads[h], token, at);
                if (!c->lse) continue;
                CHECK(list == 0 && !before);
                c->lse[h * c->n_rows + r] = lse_of(layer, c->heads[h], token);
            }
    }
}

static void give(const qk_layer_capture *c, bool before, int layer, const int32_t *tokens)
{
    if (!c) return;
    CHECK(!before || !c->n_v);
    fill(c->q, c->n_q, 0, before, layer, tokens);
    fill(c->k, c->n_k, 1, before, layer, tokens);
    fill(c->v, c->n_v, 2, before, layer, tokens);
}

static void add_rows(const qk_row_copy *copies, size_t n, uint64_t *rows, uint64_t *with_lse)
{
    for (size_t i = 0; i < n; i++)
        for (size_t r = 0; r < copies[i].n_rows; r++) {
            qk_row_add(rows, (size_t)copies[i].rows[r]);
            if (copies[i].lse) qk_row_add(with_lse, (size_t)copies[i].rows[r]);
        }
}

/* What was said to be wanted is what both requests name. */
static void check_wanted(const qk_capture_hooks *h, int layer, const qk_layer_capture *pre,
                         const qk_layer_capture *post)
{
    uint64_t said[2][2] = {{0}}, named[2][2] = {{0}};
    const qk_layer_capture *const both[] = {pre, post};
    h->wanted(h->context, layer, said[0], said[1]);
    for (int i = 0; i < 2; i++) {
        if (!both[i]) continue;
        add_rows(both[i]->q, both[i]->n_q, named[0], named[1]);
        add_rows(both[i]->k, both[i]->n_k, named[0], named[1]);
        add_rows(both[i]->v, both[i]->n_v, named[0], named[1]);
    }
    CHECK_MSG(!memcmp(said, named, sizeof said), "layer %d: other rows are wanted", layer);
}

/* Runs the layers as qk_forward_run does on a device that works by itself: each is asked for before
 * the last one is done. */
static qk_status forward(const qk_batch *b, const qk_capture_hooks *h, qk_error *err)
{
    for (int l = 0; l <= LAYERS; l++) {
        const qk_layer_capture *pre = NULL, *post = NULL;
        if (l < LAYERS && h->pre_rope) pre = h->pre_rope(h->context, l);
        if (l < LAYERS && h->post_rope) post = h->post_rope(h->context, l);
        if (l < LAYERS) check_wanted(h, l, pre, post);
        give(pre, true, l, b->ids);
        give(post, false, l, b->ids);
        if (l) QK_TRY(h->layer_done(h->context, l - 1, err));
    }
    return QK_OK;
}

/* The three examples in batches of so many; a token's id is its number among all of them. */
static qk_status capture(const qk_capture_plan *plan, int batch_size, qk_error *err)
{
    const qk_unit_stamp stamp = {.identity = "i", .numerics = "n"};
    qk_unit_writer *w;
    qk_unit_queue *queue;
    qk_capture *c = qk_capture_new(plan);
    QK_ASSERT(qk_unit_create(&w, path, tmp, &stamp, D, err) == QK_OK);
    QK_ASSERT(qk_unit_queue_new(&queue, err) == QK_OK);
    for (int e = 0; e < EXAMPLES; e++)
        qk_unit_add_example(w, &(qk_unit_example){.index = e, .id = ids[e], .tokens = lengths[e]});
    qk_status s = QK_OK;
    int32_t token = 0, tokens[128];
    for (int first = 0; first < EXAMPLES && s == QK_OK; first += batch_size) {
        int32_t starts[EXAMPLES + 1] = {0}, n = 0;
        qk_capture_example examples[EXAMPLES];
        qk_batch batch = {tokens, starts, 0};
        for (int e = first; e < EXAMPLES && batch.n_seq < batch_size; e++) {
            for (int32_t t = 0; t < lengths[e]; t++) tokens[n++] = token++;
            examples[batch.n_seq] = (qk_capture_example){ids[e], e};
            starts[++batch.n_seq] = n;
        }
        qk_capture_aim(c, &batch, examples, w, queue);
        qk_capture_hooks hooks = qk_capture_hooks_of(c);
        s = forward(&batch, &hooks, err);
    }
    qk_unit_queue_drop(queue, NULL); /* all jobs end */
    if (s == QK_OK) s = qk_unit_queue_check(queue, err);
    qk_unit_queue_free(queue);
    if (s == QK_OK)
        s = qk_unit_commit(w, err);
    else
        qk_unit_abort(w);
    qk_capture_free(c);
    return s;
}

/* ---- what must be in the unit ---- */

static const int stage_list[] = {['q'] = 0, ['Q'] = 0, ['k'] = 1, ['K'] = 1, ['v'] = 2};

/* The rows of one file: blocks of its head in order, against a draw of its own. */
static void check_file(const qk_unit *u, const qk_capture_plan *p, int layer, qk_kind kind,
                       int32_t head, int32_t first_head)
{
    qk_sampled_rows drawn = {0};
    qk_buf ints = {0}, floats = {0}, lses = {0};
    int32_t example = -1, next = 0, token_begin = 0;
    long wrong = 0, rows = 0, expected = 0;
    bool before = p->pre_rope ? kind != QK_KIND_V : kind == QK_KIND_Q_PRE || kind == QK_KIND_K_PRE;
    bool lse = p->lse && kind == QK_KIND_Q;
    qk_draw d = {.layer = layer,
                 .mask_head = p->per_head_masks ? head : -1,
                 .first_head = p->per_head_masks ? head : first_head,
                 .kind = qk_kind_drawn_as(kind)};
    const qk_sampler *sampler = d.kind == QK_KIND_Q ? &p->sampler : &p->key_sampler;
    for (int e = 0; e < EXAMPLES; e++) {
        d.example_id = ids[e], d.n_tokens = lengths[e];
        qk_sampler_draw(sampler, &d, &drawn);
        expected += drawn.count;
    }
    for (size_t i = 0; i < u->n_blocks; i++) {
        const qk_unit_block *b = &u->blocks[i];
        if (b->layer != layer || b->kind != kind) continue;
        CHECK_INT(b->has_lse, lse);
        for (int32_t h = 0; h < b->n_heads; h++) {
            if (b->heads[h] != head) continue;
            qk_unit_rows r;
            const float *v, *l;
            CHECK_INT(qk_unit_read_rows(u, b, &ints, &r, &test_error), QK_OK);
            CHECK_INT(qk_unit_read_vectors(u, b, h, &floats, &v, &test_error), QK_OK);
            CHECK_INT(qk_unit_read_lse(u, b, h, &lses, &l, &test_error), QK_OK);
            for (size_t k = 0; k < r.rows; k++, next++, rows++) {
                while (r.examples[k] != example) {
                    if (example >= 0) token_begin += lengths[example];
                    d.example_id = ids[++example], d.n_tokens = lengths[example];
                    qk_sampler_draw(sampler, &d, &drawn);
                    next = 0;
                }
                int32_t token = token_begin + drawn.positions[next];
                wrong += r.positions[k] != drawn.positions[next] ||
                         r.buckets[k] != drawn.buckets[next] || r.tokens[k] != token;
                for (int at = 0; at < D; at++)
                    wrong += v[k * D + (size_t)at] !=
                             value_of(stage_list[kind], before, layer, head, token, at);
                if (lse) wrong += l[k] != lse_of(layer, head, token);
            }
        }
    }
    CHECK_MSG(!wrong && rows == expected, "%s of layer %d, head %d: %ld of %ld rows, %ld wrong",
              qk_kind_title(kind), layer, head, rows, expected, wrong);
    qk_sampled_rows_free(&drawn);
    qk_buf_free(&ints), qk_buf_free(&floats), qk_buf_free(&lses);
}

static void check_unit(const qk_capture_plan *p)
{
    qk_unit u;
    CHECK_INT(qk_unit_open(&u, path, &test_error), QK_OK);
    int64_t files = 0;
    for (int32_t l = 0; l < p->heads->n_layers; l++)
        for (int k = 0; k < QK_KINDS; k++) {
            const int32_t *heads;
            const qk_layer_heads *layer = &p->heads->layers[l];
            int32_t n = qk_head_plan_heads(p->heads, layer, qk_kinds[k], &heads);
            for (int32_t h = 0; h < n; h++, files++)
                check_file(&u, p, layer->layer, qk_kinds[k], heads[h], heads[0]);
        }
    CHECK_INT(files, qk_head_plan_files(p->heads));
    for (size_t b = 0; b < u.n_blocks; b++) {
        const int32_t *heads;
        const qk_layer_heads *layer = p->heads->layers;
        while (layer->layer != u.blocks[b].layer) layer++;
        CHECK(qk_head_plan_heads(p->heads, layer, u.blocks[b].kind, &heads) > 0);
    }
    qk_unit_close(&u);
}

static const qk_sampler half = {
    .kind = QK_SAMPLE_UNIFORM, .base_rate = 4, .min_bucket_size = 8, .max_rows = 15};
static const qk_sampler every = {.kind = QK_SAMPLE_ALL, .min_bucket_size = 8};

static const struct run {
    const char *name;
    bool q, k, v, both, pre, lse, per_head;
    int64_t sample; /* 0: all heads */
} runs[] = {
    {"queries and keys", true, true, false, false, false, false, false, 0},
    {"before RoPE", true, true, false, false, true, false, false, 0},
    {"everything", true, true, true, true, false, true, false, 0},
    {"everything, masks per head", true, true, true, true, false, true, true, 0},
    {"values alone", false, false, true, false, false, false, false, 0},
    {"values and keys before RoPE", false, true, true, false, true, false, false, 0},
    {"queries with lse, values", true, false, true, false, false, true, false, 0},
    {"some heads of everything", true, true, true, true, false, true, false, 3},
};

static qk_head_plan plan_of(const struct run *r)
{
    const qk_head_model model = {LAYERS, Q_HEADS, K_HEADS, NULL, NULL};
    qk_head_choice choice = {.capture_queries = r->q,
                             .capture_keys = r->k,
                             .capture_values = r->v,
                             .both_states = r->both,
                             .sample = r->sample > 0,
                             .sample_count = r->sample,
                             .sample_seed = {.words = {4}, .count = 1}};
    qk_head_plan plan;
    QK_ASSERT(qk_head_plan_make(&plan, &model, &choice, &test_error) == QK_OK);
    return plan;
}

static qk_capture_plan capture_of(const struct run *r, const qk_head_plan *heads)
{
    return (qk_capture_plan){.heads = heads,
                             .sampler = half,
                             .key_sampler = every,
                             .per_head_masks = r->per_head,
                             .pre_rope = r->pre,
                             .lse = r->lse,
                             .buffers = 2 + (int)(r - runs) % 3,
                             .d = D};
}

static void test_kinds(void)
{
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        qk_head_plan heads = plan_of(&runs[i]);
        qk_capture_plan p = capture_of(&runs[i], &heads);
        int before = test_failed_checks;
        for (int batch = 1; batch <= EXAMPLES; batch++) {
            CHECK_INT(capture(&p, batch, &test_error), QK_OK);
            check_unit(&p);
        }
        if (test_failed_checks > before) printf("  in %s\n", runs[i].name);
        qk_head_plan_free(&heads);
    }
}

/* No hook where nothing is taken: the forward need not stop there. */
static void test_hooks(void)
{
    static const bool wanted[][2] = {{false, true}, {true, false}, {true, true},  {true, true},
                                     {false, true}, {true, true},  {false, true}, {true, true}};
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        qk_head_plan heads = plan_of(&runs[i]);
        qk_capture_plan p = capture_of(&runs[i], &heads);
        qk_capture *c = qk_capture_new(&p);
        qk_capture_hooks hooks = qk_capture_hooks_of(c);
        CHECK_MSG(!hooks.pre_rope == !wanted[i][0], "%s", runs[i].name);
        CHECK_MSG(!hooks.post_rope == !wanted[i][1], "%s", runs[i].name);
        qk_capture_free(c);
        qk_head_plan_free(&heads);
    }
}

/* ---- numbers that are none ---- */

static qk_kind spoilt;
static bool spoil_lse;

/* One number of the second head's third row in layer 1. */
static void spoil(const qk_layer_capture *c, int layer, bool before)
{
    if (layer != 1) return;
    const qk_row_copy *copy = stage_list[spoilt] == 2   ? c->v
                              : stage_list[spoilt] == 1 ? c->k
                                                        : c->q;
    if (before != (spoilt == QK_KIND_Q_PRE || spoilt == QK_KIND_K_PRE)) return;
    if (spoil_lse)
        copy->lse[copy->n_rows + 2] = INFINITY;
    else
        copy->out[(copy->n_rows + 2) * D + 1] = NAN;
}

/* One batch of one example. */
static qk_status spoil_run(const qk_capture_plan *p, qk_error *err)
{
    const qk_unit_stamp stamp = {.identity = "i", .numerics = "n"};
    int32_t tokens[40], starts[] = {0, 40};
    for (int32_t t = 0; t < 40; t++) tokens[t] = t;
    qk_batch batch = {tokens, starts, 1};
    qk_capture_example example = {7, 1};
    qk_unit_writer *w;
    qk_unit_queue *queue;
    qk_capture *c = qk_capture_new(p);
    QK_ASSERT(qk_unit_create(&w, path, tmp, &stamp, D, err) == QK_OK);
    QK_ASSERT(qk_unit_queue_new(&queue, err) == QK_OK);
    qk_unit_add_example(w, &(qk_unit_example){.index = 4, .id = 3, .id_text = "doc-4", 5});
    qk_unit_add_example(w, &(qk_unit_example){.index = 5, .id = 7, .id_text = "doc-5", 5});
    qk_capture_aim(c, &batch, &example, w, queue);
    qk_capture_hooks hooks = qk_capture_hooks_of(c);
    qk_status s = QK_OK;
    for (int l = 0; l < LAYERS && s == QK_OK; l++) {
        const qk_layer_capture *pre = hooks.pre_rope(hooks.context, l);
        const qk_layer_capture *post = hooks.post_rope(hooks.context, l);
        give(pre, true, l, tokens);
        give(post, false, l, tokens);
        spoil(pre, l, true);
        spoil(post, l, false);
        s = hooks.layer_done(hooks.context, l, err);
    }
    qk_unit_queue_drop(queue, NULL);
    if (s == QK_OK) s = qk_unit_queue_check(queue, err);
    qk_unit_queue_free(queue);
    qk_unit_abort(w);
    qk_capture_free(c);
    return s;
}

static void test_nonfinite(void)
{
    static const struct {
        qk_kind kind;
        bool lse;
        const char *say;
    } cases[] = {
        {QK_KIND_Q, false,
         "head 1, query: example 5 (id 'doc-5'), position 2: the vector holds NaN"},
        {QK_KIND_Q_PRE, false, "head 1, query before RoPE: example 5"},
        {QK_KIND_K, false, "head 1, key: example 5"},
        {QK_KIND_K_PRE, false, "head 1, key before RoPE: example 5"},
        {QK_KIND_V, false, "head 1, value: example 5"},
        {QK_KIND_Q, true,
         "head 1, query: example 5 (id 'doc-5'), position 2: the log-sum-exp is infinity"},
    };
    qk_head_plan heads = plan_of(&runs[2]);
    qk_capture_plan p = capture_of(&runs[2], &heads);
    p.sampler = every;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        spoilt = cases[i].kind, spoil_lse = cases[i].lse;
        p.allow_nonfinite = false;
        CHECK_INT(spoil_run(&p, &test_error), QK_ERR_DATA);
        CHECK_MSG(strstr(test_error.message, cases[i].say) &&
                      strstr(test_error.message, "layer 1,"),
                  "%s", test_error.message);
        p.allow_nonfinite = true;
        CHECK_INT(spoil_run(&p, &test_error), QK_OK);
    }
    qk_head_plan_free(&heads);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    if (!mkdtemp(folder)) return 1;
    path = qk_path_join(folder, "unit-000000.qku");
    tmp = qk_path_join(folder, "unit-000000.qku.0123456789abcdef.tmp");
    RUN(test_kinds);
    RUN(test_hooks);
    RUN(test_nonfinite);
    unlink(path);
    rmdir(folder);
    free(path);
    free(tmp);
    return test_summary("capture");
}
