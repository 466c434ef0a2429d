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

static void checkpoint_json(const qk_checkpoint *c, const qk_spec *s)
{
    qk_json_out o = {0};
    qk_json_begin(&o, NULL, '{');
    if (s) qk_json_add_str(&o, "model_type", s->family->model_type);
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

static void checkpoint_table(const qk_checkpoint *c, const qk_spec *s, qk_arena *arena)
{
    uint64_t bytes = 0;
    if (s)
        printf(
            "%s: %d layers, hidden %d, ffn %d, vocabulary %d, %d query and %d key heads of %d\n\n",
            s->family->model_type, s->layers, s->D, s->F, s->V, s->H, s->K, s->d);
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
    qk_error ignored;
    /* A lone file, or a family that cannot run here, still has tensors to show. */
    bool known = folder && qk_spec_read(&spec, path, NULL, &arena, &ignored) == QK_OK;
    if (json)
        checkpoint_json(&c, known ? &spec : NULL);
    else
        checkpoint_table(&c, known ? &spec : NULL, &arena);
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
