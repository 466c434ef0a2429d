/* sampler/heads: head_sampling of the goldens, listed heads, what is refused; and whole runs of the
 * reference: heads, positions and ids together. */
#include "tests/test_sampler_vectors.h"

#include "sampler/example_id.h"
#include "sampler/heads.h"
#include "sampler/positions.h"

/* A model and a choice, with the arrays they borrow. */
typedef struct setup {
    qk_head_model model;
    qk_head_choice choice;
    int64_t *layers, *heads;
    bool sliding[QK_MAX_HEADS];
} setup;

static void set_model(setup *s, const vectors *v, int first_field)
{
    s->model = (qk_head_model){.n_layers = (int32_t)field_int(v, first_field),
                               .n_q_heads = (int32_t)field_int(v, first_field + 1),
                               .n_k_heads = (int32_t)field_int(v, first_field + 2),
                               .sliding = s->sliding};
    size_t n;
    int64_t *layers = field_list(v, first_field + 3, &n);
    for (size_t i = 0; i < n; i++) s->sliding[layers[i]] = true;
    free(layers);
}

static void set_sampling(setup *s, int64_t count, const char *seed)
{
    qk_error err;
    s->choice.sample = true;
    s->choice.sample_count = count;
    CHECK_INT(qk_python_seed_parse(&s->choice.sample_seed, seed, 10, &err), QK_OK);
}

static void set_lists(setup *s, const vectors *v, int first_field)
{
    s->choice.layers = s->layers = field_list(v, first_field, &s->choice.n_layers);
    s->choice.heads = s->heads = field_list(v, first_field + 1, &s->choice.n_heads);
}

static void setup_free(setup *s)
{
    free(s->layers), free(s->heads);
    memset(s, 0, sizeof *s);
}

/* "layer:mask,layer:mask" in hex against one side of a plan, bit by bit. */
static void check_side(const vectors *v, const qk_head_plan *plan, bool keys)
{
    const char *p = field(v, 1);
    for (int32_t i = 0; i < plan->n_layers; i++) {
        const qk_layer_heads *row = &plan->layers[i];
        const int32_t *heads = keys ? row->k : row->q;
        int32_t n = keys ? row->n_k : row->n_q;
        char *end;
        CHECK_INT(strtol(p, &end, 10), row->layer);
        uint64_t expected = strtoull(end + 1, &end, 16), actual = 0;
        for (int32_t h = 0; h < n; h++) {
            actual |= UINT64_C(1) << heads[h];
            CHECK(h == 0 || heads[h - 1] < heads[h]);
        }
        CHECK_MSG(actual == expected, "layer %d: heads %" PRIx64 ", expected %" PRIx64, row->layer,
                  actual, expected);
        p = end + (*end == ',');
    }
    CHECK_MSG(*p == 0, "the plan lacks layers %s", p);
}

static void check_plan(vectors *v)
{
    static setup s;
    set_model(&s, v, 1);
    set_sampling(&s, field_int(v, 5), field(v, 6));
    set_lists(&s, v, 7);
    s.choice.full_attention_only = field_int(v, 9) != 0;
    s.choice.capture_queries = s.choice.capture_keys = true;
    qk_head_plan plan;
    qk_error err = {0};
    qk_status status = qk_head_plan_make(&plan, &s.model, &s.choice, &err);
    CHECK_MSG((status == QK_OK) == (field_int(v, 10) == 0), "%s", err.message);
    if (status == QK_OK) {
        CHECK(vectors_next(v) && vectors_is(v, "sampled"));
        CHECK_INT(plan.n_q, field_int(v, 1));
        CHECK_INT(plan.n_k, field_int(v, 2));
        CHECK_INT(plan.last_layer, plan.layers[plan.n_layers - 1].layer);
        CHECK(vectors_next(v) && vectors_is(v, "q"));
        check_side(v, &plan, false);
        CHECK(vectors_next(v) && vectors_is(v, "k"));
        check_side(v, &plan, true);
    } else {
        CHECK_INT(status, QK_ERR_CONFIG);
    }
    qk_head_plan_free(&plan);
    setup_free(&s);
}

static void test_sampled_heads(void)
{
    int plans = 0;
    vectors v = vectors_open("heads.txt");
    while (vectors_next(&v)) {
        CHECK(vectors_is(&v, "plan"));
        check_plan(&v);
        plans++;
    }
    CHECK_INT(plans, 56);
}

/* The rows of one file, as the reference wrote them: triples (bucket, stored id, position). */
typedef struct file_rows {
    int64_t *values, *ids; /* [3 * count], [count] full ids */
    size_t count;
} file_rows;

static void add_row(file_rows *f, int64_t bucket, int64_t id, int64_t position, bool once)
{
    for (size_t i = 0; once && i < f->count; i++)
        if (f->ids[i] == id && f->values[3 * i + 2] == position) return;
    f->values = realloc(f->values, (3 * f->count + 3) * sizeof *f->values);
    f->ids = realloc(f->ids, (f->count + 1) * sizeof *f->ids);
    const int64_t row[] = {bucket, qk_example_id_stored(id), position};
    memcpy(f->values + 3 * f->count, row, sizeof row);
    f->ids[f->count++] = id;
}

typedef struct run {
    qk_sampler sampler;
    bool per_head;
    int64_t *ids, *lengths;
    size_t n;
} run;

static file_rows draw_file(const run *r, int32_t layer, int32_t head, int32_t first_head,
                           qk_kind kind)
{
    file_rows out = {0};
    qk_sampled_rows rows = {0};
    for (size_t i = 0; i < r->n; i++) {
        qk_draw d = {.example_id = r->ids[i],
                     .layer = layer,
                     .mask_head = r->per_head ? head : -1,
                     .first_head = r->per_head ? head : first_head,
                     .kind = kind,
                     .n_tokens = (int32_t)r->lengths[i]};
        qk_sampler_draw(&r->sampler, &d, &rows);
        for (int32_t j = 0; j < rows.count; j++)
            add_row(&out, rows.buckets[j], r->ids[i], rows.positions[j], r->per_head);
    }
    qk_sampled_rows_free(&rows);
    return out;
}

/* Every file of (layer, kind): its `rows` line is the next one, or it has no row. */
static int check_files(vectors *v, const run *r, const qk_layer_heads *row, qk_kind kind)
{
    const int32_t *heads = kind == QK_KIND_K ? row->k : row->q;
    int32_t n = kind == QK_KIND_K ? row->n_k : row->n_q, files = 0;
    for (int32_t h = 0; h < n; h++) {
        file_rows f = draw_file(r, row->layer, heads[h], heads[0], kind);
        if (f.count) {
            CHECK(vectors_next(v) && vectors_is(v, "rows"));
            CHECK_INT(field_int(v, 1), row->layer);
            CHECK_INT(field_int(v, 2), heads[h]);
            CHECK_INT(*field(v, 3), kind);
            CHECK_INT(field_int(v, 4), f.count);
            check_hash(v, field(v, 5), f.values, 3 * f.count);
            files++;
        }
        free(f.values), free(f.ids);
    }
    return files;
}

static int check_run(vectors *v)
{
    static setup s;
    qk_error err = {0};
    run r = {.sampler = {.min_bucket_size = field_int(v, 3),
                         .base_rate = strtod(field(v, 4), NULL),
                         .max_rows = field_int(v, 5)},
             .per_head = field_int(v, 6) != 0};
    r.sampler.kind = sampler_kind(field(v, 2));
    CHECK(vectors_next(v) && vectors_is(v, "heads"));
    set_model(&s, v, 1);
    set_lists(&s, v, 5);
    s.choice.capture_queries = field_int(v, 7) != 0;
    s.choice.capture_keys = field_int(v, 8) != 0;
    s.choice.full_attention_only = field_int(v, 9) != 0;
    if (field_int(v, 10)) set_sampling(&s, field_int(v, 10), field(v, 11));
    CHECK(vectors_next(v) && vectors_is(v, "examples"));
    r.ids = field_list(v, 1, &r.n);
    r.lengths = field_list(v, 2, &r.n);
    qk_head_plan plan;
    CHECK_MSG(!qk_head_plan_make(&plan, &s.model, &s.choice, &err), "%s", err.message);
    int files = 0;
    for (int32_t i = 0; i < plan.n_layers; i++) {
        files += check_files(v, &r, &plan.layers[i], QK_KIND_Q);
        files += check_files(v, &r, &plan.layers[i], QK_KIND_K);
    }
    qk_head_plan_free(&plan);
    setup_free(&s);
    free(r.ids), free(r.lengths);
    return files;
}

static void test_whole_runs(void)
{
    int runs = 0, files = 0;
    vectors v = vectors_open("runs.txt");
    while (vectors_next(&v)) {
        CHECK_MSG(vectors_is(&v, "run"), "a file with rows was not drawn: line %ld", v.records);
        files += check_run(&v);
        runs++;
    }
    CHECK_INT(runs, 18);
    CHECK_INT(files, 250);
}

/* Listed heads and layers, in any order and repeated: what is captured is sorted and once. */
static void test_listed_heads(void)
{
    const int64_t layers[] = {3, 1, 3}, heads[] = {1, 0, 1};
    qk_head_model model = {.n_layers = 5, .n_q_heads = 8, .n_k_heads = 2};
    qk_head_choice choice = {.layers = layers,
                             .n_layers = 3,
                             .heads = heads,
                             .n_heads = 3,
                             .capture_queries = true,
                             .capture_keys = true};
    qk_head_plan plan;
    qk_error err = {0};
    CHECK_INT(qk_head_plan_make(&plan, &model, &choice, &err), QK_OK);
    CHECK(plan.n_layers == 2 && plan.last_layer == 3 && plan.n_q == 4 && plan.n_k == 4);
    CHECK(plan.layers[0].layer == 1 && plan.layers[1].layer == 3);
    CHECK(plan.layers[1].q[0] == 0 && plan.layers[1].q[1] == 1 && plan.layers[1].k[1] == 1);
    qk_head_plan_free(&plan);
    qk_head_plan_free(&plan); /* twice is fine */

    const int64_t beyond_keys[] = {7, 2};
    choice = (qk_head_choice){.heads = beyond_keys, .n_heads = 2, .capture_queries = true};
    CHECK_INT(qk_head_plan_make(&plan, &model, &choice, &err), QK_OK);
    CHECK(plan.n_layers == 5 && plan.n_q == 10 && plan.n_k == 0 && plan.layers[4].q[0] == 2);
    qk_head_plan_free(&plan);

    choice = (qk_head_choice){.capture_keys = true};
    CHECK_INT(qk_head_plan_make(&plan, &model, &choice, &err), QK_OK);
    CHECK(plan.n_q == 0 && plan.n_k == 10 && plan.layers[0].n_q == 0 && plan.layers[0].n_k == 2);
    qk_head_plan_free(&plan);
}

/* Keys of sampled query heads, also when queries themselves are not captured. */
static void test_keys_alone_of_sampled_heads(void)
{
    const int64_t heads[] = {6, 7};
    qk_head_model model = {.n_layers = 2, .n_q_heads = 8, .n_k_heads = 4};
    qk_head_choice choice = {.heads = heads,
                             .n_heads = 2,
                             .capture_keys = true,
                             .sample = true,
                             .sample_count = 100,
                             .sample_seed = {.words = {3}, .count = 1}};
    qk_head_plan plan;
    qk_error err;
    CHECK_INT(qk_head_plan_make(&plan, &model, &choice, &err), QK_OK);
    CHECK(plan.n_layers == 2 && plan.n_q == 0 && plan.n_k == 2 && plan.layers[0].k[0] == 3);
    qk_head_plan_free(&plan);
}

/* Values are of the key heads, whether those are captured or not. */
static void test_values(void)
{
    const int64_t heads[] = {1};
    qk_head_model model = {.n_layers = 2, .n_q_heads = 4, .n_k_heads = 2};
    qk_head_choice listed = {.heads = heads, .n_heads = 1, .capture_values = true};
    qk_head_choice sampled = {.capture_queries = true,
                              .capture_values = true,
                              .both_states = true,
                              .sample = true,
                              .sample_count = 3,
                              .sample_seed = {.words = {3}, .count = 1}};
    qk_head_plan plan, keys;
    qk_error err;
    const int32_t *list;
    CHECK_INT(qk_head_plan_make(&plan, &model, &listed, &err), QK_OK);
    CHECK(plan.n_q == 0 && plan.n_k == 0 && plan.n_v == 2 && plan.last_layer == 1);
    CHECK(plan.layers[0].n_v == 1 && plan.layers[0].v[0] == 1);
    CHECK_INT(qk_head_plan_files(&plan), 2);
    CHECK_INT(qk_head_plan_heads(&plan, &plan.layers[0], QK_KIND_K, &list), 0);
    CHECK(qk_head_plan_heads(&plan, &plan.layers[0], QK_KIND_V, &list) == 1 && *list == 1);
    qk_head_plan_free(&plan);
    CHECK_INT(qk_head_plan_make(&plan, &model, &sampled, &err), QK_OK);
    sampled.capture_keys = true;
    CHECK_INT(qk_head_plan_make(&keys, &model, &sampled, &err), QK_OK);
    CHECK(plan.n_q == 3 && plan.n_k == 0 && plan.n_v == keys.n_k && keys.n_v == keys.n_k);
    CHECK_INT(qk_head_plan_files(&plan), 6 + plan.n_v);
    CHECK_INT(qk_head_plan_files(&keys), 6 + 3 * keys.n_k);
    for (int32_t l = 0; l < plan.n_layers; l++) {
        const qk_layer_heads *v = &plan.layers[l], *k = &keys.layers[l];
        CHECK(v->n_v == k->n_k && !memcmp(v->v, k->k, (size_t)k->n_k * sizeof *k->k));
        CHECK_INT(qk_head_plan_heads(&plan, v, QK_KIND_Q_PRE, &list), v->n_q);
        CHECK_INT(qk_head_plan_heads(&plan, v, QK_KIND_K_PRE, &list), 0);
    }
    qk_head_plan_free(&plan);
    qk_head_plan_free(&keys);
    listed.heads = (const int64_t[]){2};
    CHECK_INT(qk_head_plan_make(&plan, &model, &listed, &err), QK_ERR_CONFIG);
    CHECK(strstr(err.message, "there is no key head 2") && strstr(err.hint, "capture_values"));
}

typedef struct refusal {
    int64_t layer, head; /* listed when not -100 */
    bool queries, keys, full_only, sample;
    int64_t count;
    const char *message;
} refusal;

static void test_refusals(void)
{
    static const refusal cases[] = {
        {9, -100, true, true, false, false, 0,
         "capture.layers: there is no layer 9; the model has layers 0 to 1"},
        {-1, -100, true, true, false, true, 3,
         "capture.layers: there is no layer -1; the model has layers 0 to 1"},
        {-100, 4, true, true, false, false, 0,
         "capture.heads: there is no query head 4; the model has query heads 0 to 3"},
        {-100, -1, true, false, false, false, 0,
         "capture.heads: there is no query head -1; the model has query heads 0 to 3"},
        {-100, 2, true, true, false, false, 0,
         "capture.heads: there is no key head 2; the model has key heads 0 to 1"},
        {-100, 2, false, true, false, false, 0,
         "capture.heads: there is no key head 2; the model has key heads 0 to 1"},
        {-100, 4, false, true, false, true, 3,
         "capture.heads: there is no query head 4; the model has query heads 0 to 3"},
        {-100, -100, false, false, false, false, 0,
         "capture.capture_queries and capture.capture_keys are both false: there is nothing to "
         "capture"},
        {-100, -100, true, true, false, true, 0,
         "capture.head_sampling.count: 0 is not a number of heads"},
        {0, -100, true, true, true, false, 0,
         "capture.full_attention_only: every chosen layer has a sliding window, so there is "
         "nothing "
         "to capture"},
        {0, -100, true, true, true, true, 3,
         "capture.full_attention_only: every chosen layer has a sliding window, so there is "
         "nothing "
         "to capture"},
    };
    const bool sliding[] = {true, false};
    qk_head_model model = {.n_layers = 2, .n_q_heads = 4, .n_k_heads = 2, .sliding = sliding};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const refusal *r = &cases[i];
        qk_head_choice choice = {.layers = &r->layer,
                                 .n_layers = r->layer != -100,
                                 .heads = &r->head,
                                 .n_heads = r->head != -100,
                                 .capture_queries = r->queries,
                                 .capture_keys = r->keys,
                                 .full_attention_only = r->full_only,
                                 .sample = r->sample,
                                 .sample_count = r->count};
        qk_head_plan plan;
        qk_error err = {0};
        CHECK_INT(qk_head_plan_make(&plan, &model, &choice, &err), QK_ERR_CONFIG);
        CHECK_STR(err.message, r->message);
        qk_head_plan_free(&plan);
    }
}

/* A cross-attention layer has neither queries nor keys of the text. */
static void test_layers_without_self_attention(void)
{
    const bool absent[] = {false, true, false};
    qk_head_model model = {.n_layers = 3, .n_q_heads = 2, .n_k_heads = 1, .absent = absent};
    qk_head_choice all = {.capture_queries = true, .capture_keys = true};
    qk_head_plan plan;
    qk_error err = {0};
    CHECK_INT(qk_head_plan_make(&plan, &model, &all, &err), QK_OK);
    CHECK(plan.n_layers == 2 && plan.layers[0].layer == 0 && plan.layers[1].layer == 2);
    CHECK(plan.n_q == 4 && plan.n_k == 2 && plan.last_layer == 2);
    qk_head_plan_free(&plan);
    all.sample = true, all.sample_count = 100;
    CHECK_INT(qk_head_plan_make(&plan, &model, &all, &err), QK_OK);
    CHECK_INT(plan.n_q, 4);
    qk_head_plan_free(&plan);
    const int64_t asked[] = {0, 1};
    qk_head_choice listed = {.layers = asked, .n_layers = 2, .capture_queries = true};
    CHECK_INT(qk_head_plan_make(&plan, &model, &listed, &err), QK_ERR_CONFIG);
    CHECK_STR(err.message, "capture.layers: layer 1 has no self-attention, so no queries and keys "
                           "to capture");
}

static void test_impossible_models(void)
{
    static const int32_t shapes[][3] = {{0, 4, 2}, {2, 4, 3},    {2, 2, 4},   {2, 4, 0},
                                        {2, 0, 0}, {1025, 4, 2}, {2, 1025, 1}};
    qk_head_choice choice = {.capture_queries = true};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        qk_head_model model = {shapes[i][0], shapes[i][1], shapes[i][2], NULL, NULL};
        qk_head_plan plan;
        qk_error err;
        CHECK_INT(qk_head_plan_make(&plan, &model, &choice, &err), QK_ERR_FORMAT);
    }
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_sampled_heads);
    RUN(test_whole_runs);
    RUN(test_listed_heads);
    RUN(test_keys_alone_of_sampled_heads);
    RUN(test_values);
    RUN(test_refusals);
    RUN(test_layers_without_self_attention);
    RUN(test_impossible_models);
    return test_summary("sampler heads");
}
