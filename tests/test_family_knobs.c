/* Every knob of every family must matter: this test turns one at a time, in each forward golden
 * that has it, and some golden of that family must then fail. A knob that no golden sees would be a
 * knob that nobody checks.
 *
 * A turn fails a golden when the checkpoint no longer fits (a bias that is not there), or when any
 * query, key or last hidden state is further off than the golden allows. */
#include "tests/generated.h"
#include "tests/test.h"

#include "engine/base/file.h"
#include "engine/tools/verify.h"

/* Turns one knob; false when this model does not have it. */
typedef bool (*turn)(qk_spec *s);

/* ---- layers ---- */

static bool each_window(qk_spec *s, int add, bool off)
{
    bool any = false;
    for (int l = 0; l < s->layers; l++) {
        if (!s->layer[l].window) continue;
        s->layer[l].window = off ? 0 : s->layer[l].window + add;
        any = true;
    }
    return any;
}
static bool window_longer(qk_spec *s)
{
    return each_window(s, 1, false);
}
static bool window_shorter(qk_spec *s)
{
    return each_window(s, -1, false);
}
static bool window_off(qk_spec *s)
{
    return each_window(s, 0, true);
}
static bool window_everywhere(qk_spec *s)
{
    int size = 0;
    bool any = false;
    for (int l = 0; l < s->layers; l++) size = s->layer[l].window ? s->layer[l].window : size;
    for (int l = 0; size && l < s->layers; l++) {
        any |= !s->layer[l].window;
        s->layer[l].window = size;
    }
    return any;
}
static bool windows_shifted(qk_spec *s)
{
    bool any = false;
    int last = s->layer[s->layers - 1].window;
    for (int l = s->layers - 1; l >= 0; l--) {
        int before = l ? s->layer[l - 1].window : last;
        any |= before != s->layer[l].window;
        s->layer[l].window = before;
    }
    return any;
}
static bool rope_where_there_is_none(qk_spec *s)
{
    bool any = false;
    for (int l = 0; l < s->layers; l++)
        if (s->layer[l].rope < 0) s->layer[l].rope = 0, any = true;
    return any;
}
static bool no_rope(qk_spec *s)
{
    for (int l = 0; l < s->layers; l++) s->layer[l].rope = -1;
    return true;
}
static bool ropes_exchanged(qk_spec *s)
{
    if (s->n_ropes < 2) return false;
    for (int l = 0; l < s->layers; l++)
        if (s->layer[l].rope >= 0) s->layer[l].rope = 1 - s->layer[l].rope;
    return true;
}
static bool cross_attention_present(qk_spec *s)
{
    bool any = false;
    for (int l = 0; l < s->layers; l++) any |= s->layer[l].absent, s->layer[l].absent = false;
    return any;
}

/* ---- numbers ---- */

static bool norm_weight_plus_one(qk_spec *s)
{
    s->norm_plus_one = !s->norm_plus_one;
    return true;
}
static bool qk_norm_over_all_heads(qk_spec *s)
{
    s->qk_norm_whole = !s->qk_norm_whole;
    return (*s->family->names)[QK_W_Q_NORM] != NULL;
}
static bool interleaved_pairs(qk_spec *s)
{
    s->interleaved = !s->interleaved;
    return true;
}
static bool activation(qk_spec *s)
{
    s->act = s->act == QK_GELU_TANH ? QK_GELU : s->act == QK_GELU ? QK_GELU_TANH : QK_GELU;
    return true;
}
static bool epsilon(qk_spec *s)
{
    s->eps *= 1000;
    return true;
}
static bool embedding_scale(qk_spec *s)
{
    s->embed_scale *= 1.001f;
    return true;
}
static bool no_embedding_scale(qk_spec *s)
{
    bool has = s->embed_scale != 1;
    s->embed_scale = 1;
    return has;
}
static bool residual_scale(qk_spec *s)
{
    bool has = s->residual_scale != 1;
    s->residual_scale = 1;
    return has;
}
static bool attention_scale(qk_spec *s)
{
    s->attention_scale *= 1.001f;
    return true;
}
static bool attention_scale_by_head_dim(qk_spec *s)
{
    float plain = (float)(1 / sqrt(s->d));
    bool other = s->attention_scale != plain;
    s->attention_scale = plain;
    return other;
}
static bool soft_cap_off(qk_spec *s)
{
    bool has = s->soft_cap > 0;
    s->soft_cap = 0;
    return has;
}
static bool soft_cap_higher(qk_spec *s)
{
    bool has = s->soft_cap > 0;
    s->soft_cap *= 1.01f;
    return has;
}
static bool q_scale_off(qk_spec *s)
{
    bool has = s->q_scale_beta > 0;
    s->q_scale_beta = 0;
    return has;
}
static bool q_scale_later(qk_spec *s)
{
    s->q_scale_length += 1;
    return s->q_scale_beta > 0;
}

/* ---- biases and sizes: the checkpoint then has a tensor too few or too many ---- */

static bool qkv_bias(qk_spec *s)
{
    s->qkv_bias = !s->qkv_bias;
    return true;
}
static bool o_bias(qk_spec *s)
{
    s->o_bias = !s->o_bias;
    return true;
}
static bool mlp_bias(qk_spec *s)
{
    s->mlp_bias = !s->mlp_bias;
    return !s->experts;
}
static bool embedding_rows(qk_spec *s)
{
    s->V += s->family->extra_embeddings ? -s->family->extra_embeddings : 8;
    return true;
}

/* ---- experts ---- */

static bool one_expert_more(qk_spec *s)
{
    s->top_k++;
    return s->experts > 0;
}
static bool one_expert_less(qk_spec *s)
{
    s->top_k--;
    return s->experts > 0;
}
static bool expert_weights_sum(qk_spec *s)
{
    s->top_k_renormalised = !s->top_k_renormalised;
    return s->experts > 0;
}
static bool all_layers_dense(qk_spec *s)
{
    for (int l = 0; l < s->layers; l++) s->layer[l].sparse = false;
    return s->experts > 0;
}
static bool all_layers_sparse(qk_spec *s)
{
    bool any = false;
    for (int l = 0; l < s->layers && s->experts; l++)
        any |= !s->layer[l].sparse, s->layer[l].sparse = true;
    return any;
}

/* ---- RoPE ---- */

static qk_rope changed[2];

/* Copies of the ropes that a turn may change; i: which one to hand out. */
static qk_rope *rope_to_change(qk_spec *s, int i)
{
    for (int r = 0; r < s->n_ropes; r++) changed[r] = s->ropes[r];
    s->ropes = changed;
    return &changed[i];
}
static bool rope_base(qk_spec *s)
{
    rope_to_change(s, 0)->theta *= 1.001;
    return true;
}
static bool local_rope_base(qk_spec *s)
{
    if (s->n_ropes < 2) return false;
    rope_to_change(s, 1)->theta *= 1.001;
    return true;
}
static bool rotary_part(qk_spec *s)
{
    qk_rope *r = rope_to_change(s, 0);
    if (r->type == QK_ROPE_LONGROPE) return false; /* its lists have one entry per pair */
    r->rotary = r->rotary == s->d ? s->d / 2 : s->d;
    return true;
}
static bool unscaled_rope(qk_spec *s)
{
    qk_rope *r = rope_to_change(s, 0);
    bool scaled = r->type != QK_ROPE_DEFAULT;
    r->type = QK_ROPE_DEFAULT;
    return scaled;
}
static bool rope_attention_factor(qk_spec *s)
{
    qk_rope *r = rope_to_change(s, 0);
    r->attention_factor *= 1.001;
    return r->type == QK_ROPE_YARN || r->type == QK_ROPE_LONGROPE;
}
static bool rope_factor(qk_spec *s)
{
    qk_rope *r = rope_to_change(s, 0);
    r->factor *= 1.1;
    return r->type != QK_ROPE_DEFAULT && r->type != QK_ROPE_LONGROPE;
}
static bool rope_trained_length(qk_spec *s)
{
    qk_rope *r = rope_to_change(s, 0);
    /* Far enough: in a head of 16 the ends of the ramp are rounded to whole dimensions. */
    r->original *= 64, r->max_position *= 64;
    return r->type == QK_ROPE_YARN || r->type == QK_ROPE_LLAMA3 || r->type == QK_ROPE_DYNAMIC;
}
static bool longrope_lists_exchanged(qk_spec *s)
{
    qk_rope *r = rope_to_change(s, 0);
    const double *list = r->long_factor;
    r->long_factor = r->short_factor, r->short_factor = list;
    return r->type == QK_ROPE_LONGROPE;
}

#define KNOB(name)                                                                                 \
    {                                                                                              \
#name, name                                                                                \
    }
static const struct {
    const char *name;
    turn apply;
} knobs[] = {
    KNOB(window_longer),
    KNOB(window_shorter),
    KNOB(window_off),
    KNOB(window_everywhere),
    KNOB(windows_shifted),
    KNOB(rope_where_there_is_none),
    KNOB(no_rope),
    KNOB(ropes_exchanged),
    KNOB(cross_attention_present),
    KNOB(norm_weight_plus_one),
    KNOB(qk_norm_over_all_heads),
    KNOB(interleaved_pairs),
    KNOB(activation),
    KNOB(epsilon),
    KNOB(embedding_scale),
    KNOB(no_embedding_scale),
    KNOB(residual_scale),
    KNOB(attention_scale),
    KNOB(attention_scale_by_head_dim),
    KNOB(soft_cap_off),
    KNOB(soft_cap_higher),
    KNOB(q_scale_off),
    KNOB(q_scale_later),
    KNOB(qkv_bias),
    KNOB(o_bias),
    KNOB(mlp_bias),
    KNOB(embedding_rows),
    KNOB(one_expert_more),
    KNOB(one_expert_less),
    KNOB(expert_weights_sum),
    KNOB(all_layers_dense),
    KNOB(all_layers_sparse),
    KNOB(rope_base),
    KNOB(local_rope_base),
    KNOB(rotary_part),
    KNOB(unscaled_rope),
    KNOB(rope_attention_factor),
    KNOB(rope_factor),
    KNOB(rope_trained_length),
    KNOB(longrope_lists_exchanged),
};
enum { N_KNOBS = sizeof knobs / sizeof *knobs, MAX_FAMILIES = 64 };

/* ---- running ---- */

static struct {
    bool turned, caught;
} seen[MAX_FAMILIES][N_KNOBS];

static int family_number(const qk_family *f)
{
    int i = 0;
    while (qk_families[i] != f) i++;
    QK_ASSERT(i < MAX_FAMILIES);
    return i;
}

static int turning; /* index into knobs; -1: none */
static const qk_family *turned_family;
static bool was_turned;

static void change(qk_spec *s)
{
    turned_family = s->family;
    was_turned = turning >= 0 && knobs[turning].apply(s);
}

/* Whether the golden in `folder` passes with knob `k` turned. */
static bool passes(const char *folder, int k)
{
    char *model = qk_path_join(folder, "model"),
         *golden = qk_path_join(folder, "golden.safetensors");
    qk_model_options options = {.backend = qk_backend_find("cpu"),
                                .device = {.compute = QK_F32, .threads = 1},
                                .last_layer = -1,
                                .change_spec = change};
    qk_verification v;
    qk_error err = {0};
    turning = k;
    was_turned = false;
    bool ok = qk_verify(&v, model, golden, &options, &err) == QK_OK;
    free(model), free(golden);
    if (!ok) return false;
    for (size_t i = 0; i < v.count; i++) ok &= v.items[i].rms_error <= 2e-6 * v.layers;
    qk_verification_free(&v);
    return ok;
}

static void turn_all(const char *folder)
{
    CHECK_MSG(passes(folder, -1), "%s fails as it is", folder);
    for (int k = 0; k < N_KNOBS; k++) {
        bool ok = passes(folder, k);
        if (!was_turned) continue;
        int f = family_number(turned_family);
        seen[f][k].turned = true;
        seen[f][k].caught |= !ok;
    }
}

static int turn_folder(const char *root)
{
    qk_names names = {0};
    int cases = 0;
    if (qk_list_dir(root, &names, &test_error) != QK_OK) return 0;
    for (size_t i = 0; i < names.count; i++) {
        char *folder = qk_path_join(root, names.items[i]);
        char *golden = qk_path_join(folder, "golden.safetensors");
        if (test_has_file(golden)) turn_all(folder), cases++;
        free(folder), free(golden);
    }
    qk_names_free(&names);
    return cases;
}

static void test_every_knob_matters(void)
{
    char *shared = test_whole_golden("forward/llama2/meta.json"), made[] = "/tmp/qk_knobs_XXXXXX";
    int cases = turn_folder("tests/data/forward");
    if (shared) {
        shared[strlen(shared) - strlen("/llama2/meta.json")] = 0;
        cases += turn_folder(shared);
    } else {
        CHECK(mkdtemp(made));
        generated_all(made, generated_golden);
        cases += turn_folder(made);
        generated_remove(made);
    }
    free(shared);
    int turned = 0, families = 0;
    for (int f = 0; qk_families[f]; f++) {
        bool any = false;
        for (int k = 0; k < N_KNOBS; k++) {
            if (!seen[f][k].turned) continue;
            CHECK_MSG(seen[f][k].caught, "%s: no golden notices %s", qk_families[f]->model_type,
                      knobs[k].name);
            turned++, any = true;
        }
        families += any;
    }
    printf("%d knobs turned in %d families, %d goldens\n", turned, families, cases);
    CHECK(turned > 20);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_every_knob_matters);
    return test_summary("family knobs");
}
