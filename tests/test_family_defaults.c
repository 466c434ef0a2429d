/* What a family takes for granted when config.json is silent must be what transformers does:
 * tests/data/families/defaults.json holds its answers (tests/tools/make_family_defaults.py). */
#include "tests/test.h"

#include "engine/families/family.h"

static double number(const qk_json *want, const char *key)
{
    const qk_json *v = qk_json_get(want, key);
    CHECK_MSG(v && v->type == QK_JSON_T_NUMBER, "'%s' is no number", key);
    return v ? v->number : NAN;
}

static bool truth(const qk_json *want, const char *key)
{
    const qk_json *v = qk_json_get(want, key);
    CHECK_MSG(v && v->type == QK_JSON_T_BOOL, "'%s' is no boolean", key);
    return v && v->boolean;
}

static const char *activation_name(qk_activation act)
{
    return act == QK_SILU ? "silu" : act == QK_GELU ? "gelu" : "gelu_pytorch_tanh";
}

static void check_numbers(const qk_spec *s, const qk_json *want, const char *name)
{
    const struct {
        const char *key;
        double have;
    } all[] = {
        {"head_dim", s->d},
        {"kv_heads", s->K},
        {"rotary", s->ropes[0].rotary},
        {"max_position", s->ropes[0].max_position},
        {"soft_cap", s->soft_cap},
        {"experts", s->experts},
        {"top_k", s->experts ? s->top_k : 0},
        {"expert_ffn", s->expert_F},
        {"embedding_rows", s->V},
        {"residual_scale", s->residual_scale},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        CHECK_MSG(all[i].have == number(want, all[i].key), "%s: %s is %g", name, all[i].key,
                  all[i].have);
    CHECK_CLOSE(s->eps, number(want, "eps"), 1e-7 * number(want, "eps"));
    CHECK_CLOSE(s->attention_scale, number(want, "attention_scale"), 1e-7);
    CHECK_MSG(qk_json_is_string(qk_json_get(want, "activation"), activation_name(s->act)), "%s: %s",
              name, activation_name(s->act));
    CHECK_MSG(s->qkv_bias == truth(want, "qkv_bias"), "%s: qkv_bias", name);
    CHECK_MSG(s->o_bias == truth(want, "o_bias"), "%s: o_bias", name);
    CHECK_MSG(s->mlp_bias == truth(want, "mlp_bias"), "%s: mlp_bias", name);
    CHECK_MSG(s->tied == truth(want, "tied"), "%s: tied", name);
    CHECK_MSG(s->top_k_renormalised == truth(want, "renormalised"), "%s: renormalised", name);
    const qk_json *thetas = qk_json_get(want, "thetas");
    CHECK_INT(thetas->count, s->n_ropes);
    const qk_json *theta = thetas->first;
    for (int i = 0; theta && i < s->n_ropes; i++, theta = theta->next)
        CHECK_MSG(s->ropes[i].theta == theta->number, "%s: theta %d is %g", name, i,
                  s->ropes[i].theta);
}

static void check_layers(const qk_spec *s, const qk_json *want, const char *name)
{
    const qk_json *window = qk_json_get(want, "windows")->first;
    const qk_json *rope = qk_json_get(want, "rope")->first;
    const qk_json *absent = qk_json_get(want, "absent")->first;
    for (int l = 0; l < s->layers; l++) {
        CHECK_MSG(s->layer[l].absent == absent->boolean, "%s: layer %d absent", name, l);
        CHECK_MSG(s->layer[l].window == window->integer, "%s: layer %d has window %d", name, l,
                  s->layer[l].window);
        CHECK_MSG((s->layer[l].rope >= 0) == rope->boolean, "%s: layer %d RoPE", name, l);
        window = window->next, rope = rope->next, absent = absent->next;
    }
}

static void test_silent_configs(void)
{
    qk_arena arena = {0};
    const qk_json *file = NULL;
    CHECK_INT(qk_json_parse_file(&arena, "tests/data/families/defaults.json", 1 << 20, &file,
                                 &test_error),
              QK_OK);
    const qk_json *cases = qk_json_get(file, "cases");
    CHECK(cases && cases->count >= 18);
    for (const qk_json *c = cases ? cases->first : NULL; c; c = c->next) {
        qk_spec s;
        qk_error err = {0};
        CHECK_MSG(qk_spec_from(&s, qk_json_get(c, "config"), NULL, c->key, &arena, &err) == QK_OK,
                  "%s", err.message);
        if (err.status != QK_OK) continue;
        check_numbers(&s, qk_json_get(c, "want"), c->key);
        check_layers(&s, qk_json_get(c, "want"), c->key);
    }
    /* The families that need more than sizes: every other one is in the file. */
    for (size_t i = 0; qk_families[i]; i++) {
        const qk_family *f = qk_families[i];
        bool special = f->text_type || !strcmp(f->model_type, "ministral3");
        CHECK_MSG(special || qk_json_get(cases, f->model_type), "%s is not in defaults.json",
                  f->model_type);
    }
    qk_arena_free(&arena);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_silent_configs);
    return test_summary("family defaults");
}
