/* inspect: checkpoints and tokenizers. See inspect.h. */
#include "engine/commands/inspect.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/base/text.h"
#include "engine/families/family.h"
#include "engine/tokenizer/tokenizer.h"
#include "formats/safetensors.h"

/* ---- checkpoint ---- */

static void spec_json(qk_json_out *o, const qk_spec *s)
{
    qk_json_add_int(o, "layers", s->layers);
    qk_json_add_int(o, "query_heads", s->H);
    qk_json_add_int(o, "key_heads", s->K);
    qk_json_add_int(o, "head_dim", s->d);
    qk_json_begin(o, "ropes", '[');
    for (int i = 0; i < s->n_ropes; i++) {
        qk_json_begin(o, NULL, '{');
        qk_json_add_str(o, "type", qk_rope_type_name(s->ropes[i].type));
        qk_json_add_num(o, "theta", s->ropes[i].theta);
        qk_json_add_int(o, "rotary", s->ropes[i].rotary);
        qk_json_end(o, '}');
    }
    qk_json_end(o, ']');
    qk_json_begin(o, "layer", '[');
    for (int l = 0; l < s->layers; l++) {
        qk_json_begin(o, NULL, '{');
        qk_json_add_int(o, "window", s->layer[l].window);
        qk_json_add_int(o, "rope", s->layer[l].rope);
        qk_json_end(o, '}');
    }
    qk_json_end(o, ']');
}

static bool same_kind(const qk_layer_spec *a, const qk_layer_spec *b)
{
    return a->window == b->window && a->rope == b->rope && a->absent == b->absent;
}

/* One line for each kind of layer: how far its queries see and what turns its heads. */
static void print_layers(const qk_spec *s)
{
    for (int l = 0; l < s->layers; l++) {
        const qk_layer_spec *kind = &s->layer[l];
        int first = 0, n = 0;
        while (!same_kind(&s->layer[first], kind)) first++;
        if (first < l) continue;
        for (int i = l; i < s->layers; i++) n += same_kind(&s->layer[i], kind);
        printf("%d layer%s from %d on: ", n, n == 1 ? "" : "s", l);
        if (kind->absent) {
            printf("passed over, it looks at images\n");
            continue;
        }
        printf(kind->window ? "window %d, " : "full attention, ", kind->window);
        const qk_rope *r = kind->rope < 0 ? NULL : &s->ropes[kind->rope];
        if (r)
            printf("RoPE %s, theta %.10g, turns %d of %d\n", qk_rope_type_name(r->type), r->theta,
                   r->rotary, s->d);
        else
            printf("no RoPE\n");
    }
}

/* s: NULL where why says what is in the way; both NULL for a lone file. */
static void checkpoint_json(const qk_checkpoint *c, const qk_spec *s, const qk_error *why)
{
    qk_json_out o = {0};
    qk_json_begin(&o, NULL, '{');
    if (s || why) qk_json_add_bool(&o, "can_run", s != NULL);
    if (why) qk_json_add_str(&o, "why_not", why->message);
    if (s) qk_json_add_str(&o, "model_type", s->family->model_type);
    if (s) spec_json(&o, s);
    if (s) qk_json_add_tree(&o, "config", s->config);
    qk_json_begin(&o, "tensors", '{');
    for (size_t i = 0; i < c->count; i++) {
        const qk_st_tensor *t = &c->tensors[i];
        qk_json_begin(&o, t->name, '{');
        qk_json_add_str(&o, "dtype", t->dtype);
        qk_json_begin(&o, "shape", '[');
        for (int d = 0; d < t->n_dims; d++) qk_json_add_int(&o, NULL, (int64_t)t->shape[d]);
        qk_json_end(&o, ']');
        qk_json_add_int(&o, "bytes", (int64_t)t->bytes);
        qk_json_add_str(&o, "file", qk_path_name(t->file));
        qk_json_end(&o, '}');
    }
    qk_json_end(&o, '}');
    qk_json_end(&o, '}');
    qk_print_json(&o);
}

static void checkpoint_table(const qk_checkpoint *c, const qk_spec *s, const qk_error *why,
                             qk_arena *arena)
{
    uint64_t bytes = 0;
    if (s) {
        printf("%s: %d layers, hidden %d, ffn %d, vocabulary %d, %d query and %d key heads of %d\n",
               s->family->model_type, s->layers, s->D, s->F, s->V, s->H, s->K, s->d);
        print_layers(s);
        printf("can run: yes, as far as config.json says\n\n");
    }
    if (why) printf("can run: no; %s\n\n", qk_visible(why->message));
    printf("%-56s %-6s %-20s %10s\n", "tensor", "dtype", "shape", "bytes");
    for (size_t i = 0; i < c->count; i++) {
        const qk_st_tensor *t = &c->tensors[i];
        printf("%-56s %-6s %-20s %10zu\n", qk_visible(t->name), qk_visible(t->dtype),
               qk_st_shape_text(arena, t->shape, t->n_dims), t->bytes);
        bytes += t->bytes;
    }
    printf("%zu tensors in %zu files, %s\n", c->count, c->files.count,
           qk_human_bytes((double)bytes));
}

qk_status qk_inspect_checkpoint(const char *path, bool json, qk_error *err)
{
    qk_checkpoint c;
    bool folder;
    QK_TRY(qk_has_folder(path, &folder, err));
    QK_TRY(qk_checkpoint_open(&c, path, err));
    qk_arena arena = {0};
    qk_spec spec;
    qk_error why = {0};
    /* A lone file, or a family that cannot run here, still has tensors to show. */
    bool known = folder && qk_spec_read(&spec, path, NULL, &arena, &why) == QK_OK;
    if (json)
        checkpoint_json(&c, known ? &spec : NULL, folder && !known ? &why : NULL);
    else
        checkpoint_table(&c, known ? &spec : NULL, folder && !known ? &why : NULL, &arena);
    qk_arena_free(&arena);
    qk_checkpoint_close(&c);
    return QK_OK;
}

/* ---- tokenizer ---- */

qk_status qk_inspect_tokenizer(const char *folder, bool json, qk_error *err)
{
    qk_tokenizer *tok;
    QK_TRY(qk_tokenizer_load(&tok, folder, err));
    if (json) {
        qk_json_out o = {0};
        qk_json_begin(&o, NULL, '{');
        qk_json_add_str(&o, "tokenizer", qk_tokenizer_describe(tok));
        qk_json_add_int(&o, "vocabulary", (int64_t)qk_tokenizer_vocab_size(tok));
        qk_json_end(&o, '}');
        qk_print_json(&o);
    } else {
        printf("%s: %s\n", qk_visible(folder), qk_visible(qk_tokenizer_describe(tok)));
    }
    qk_tokenizer_free(tok);
    return QK_OK;
}
