/* Writing a random checkpoint. See synth.h. */
#include "engine/tools/synth.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/base/progress.h"
#include "engine/tokenizer/bpe.h"
#include "formats/safetensors.h"

enum { PIECE = 4 << 20 }; /* bytes made and written at a time */

typedef struct synth {
    const qk_synth_options *o;
    const char *folder;
    qk_spec spec;
    const char *prefix;
    qk_st_writer file;
    void *piece;
    uint64_t total; /* bytes of data */
    qk_synth_result *result;
    qk_arena arena;
    qk_error *err;
} synth;

/* ---- config.json ---- */

/* config.json with other layers and another dtype, the text model's object included. */
static void write_config(qk_json_out *o, const char *key, const qk_json *config,
                         const qk_synth_options *options)
{
    int layers = options->layers;
    qk_json_begin(o, key, '{');
    for (const qk_json *v = config->first; v; v = v->next) {
        bool per_layer = !strcmp(v->key, "layer_types") || !strcmp(v->key, "no_rope_layers");
        bool layer_set =
            !strcmp(v->key, "cross_attention_layers") || !strcmp(v->key, "mlp_only_layers");
        if (!strcmp(v->key, "text_config")) {
            write_config(o, v->key, v, options);
        } else if (!strcmp(v->key, "torch_dtype")) {
            qk_json_add_str(o, v->key, qk_dtype_name(options->dtype));
        } else if (layers && !strcmp(v->key, "num_hidden_layers")) {
            qk_json_add_int(o, v->key, layers);
        } else if (layers && (per_layer || layer_set)) {
            /* An entry for each layer, or numbers of layers: without those that are gone. */
            int l = 0;
            qk_json_begin(o, v->key, '[');
            for (const qk_json *e = v->first; e; e = e->next, l++)
                if ((per_layer ? l : e->integer) < layers) qk_json_add_tree(o, NULL, e);
            qk_json_end(o, ']');
        } else {
            qk_json_add_tree(o, v->key, v);
        }
    }
    qk_json_end(o, '}');
}

/* Reads what it made, so that the tensors are those that a reader of the file expects. */
qk_status qk_synth_config(const qk_synth_options *o, qk_json_out *text, const qk_json **config,
                          qk_spec *spec, qk_arena *arena, qk_error *err)
{
    if (o->layers) {
        QK_TRY(qk_spec_from(spec, o->config, NULL, o->name, arena, err));
        if (o->layers > spec->layers)
            return qk_fail(err, QK_ERR_USAGE, NULL, "--layers %d: %s has %d layers", o->layers,
                           o->name, spec->layers);
    }
    write_config(text, NULL, o->config, o);
    QK_TRY(qk_json_parse(arena, (char *)text->buf.data, text->buf.size, o->name, config, err));
    return qk_spec_from(spec, *config, NULL, o->name, arena, err);
}

/* ---- tokenizer ---- */

static void write_byte_level(qk_json_out *o, const char *key)
{
    qk_json_begin(o, key, '{');
    qk_json_add_str(o, "type", "ByteLevel");
    qk_json_add_bool(o, "add_prefix_space", false);
    qk_json_add_bool(o, "trim_offsets", true);
    qk_json_add_bool(o, "use_regex", false);
    qk_json_end(o, '}');
}

/* A byte-level BPE without merges: token id = byte. */
static void write_bpe(qk_json_out *o)
{
    qk_json_begin(o, "model", '{');
    qk_json_add_str(o, "type", "BPE");
    static const char *const unset[] = {"dropout", "unk_token", "continuing_subword_prefix",
                                        "end_of_word_suffix"};
    for (size_t i = 0; i < sizeof unset / sizeof *unset; i++) qk_json_add_null(o, unset[i]);
    static const char *const off[] = {"fuse_unk", "byte_fallback", "ignore_merges"};
    for (size_t i = 0; i < sizeof off / sizeof *off; i++) qk_json_add_bool(o, off[i], false);
    qk_json_begin(o, "vocab", '{');
    for (int i = 0; i < 256; i++) {
        uint8_t spelled[5] = {0};
        qk_byte_level_character((uint8_t)i, spelled);
        qk_json_add_int(o, (const char *)spelled, i);
    }
    qk_json_end(o, '}');
    qk_json_begin(o, "merges", '[');
    qk_json_end(o, ']');
    qk_json_end(o, '}');
}

static void make_tokenizer(qk_json_out *o)
{
    qk_json_begin(o, NULL, '{');
    qk_json_add_str(o, "version", "1.0");
    qk_json_add_null(o, "truncation");
    qk_json_add_null(o, "padding");
    qk_json_begin(o, "added_tokens", '[');
    qk_json_end(o, ']');
    qk_json_add_null(o, "normalizer");
    write_byte_level(o, "pre_tokenizer");
    qk_json_add_null(o, "post_processor");
    write_byte_level(o, "decoder");
    write_bpe(o);
    qk_json_end(o, '}');
}

/* ---- weights ---- */

static size_t elements(const qk_tensor_spec *t)
{
    return t->shape[0] * (t->n_dims == 2 ? t->shape[1] : 1);
}

static qk_status declare(void *context, const qk_tensor_spec *t)
{
    synth *s = context;
    qk_dtype d = s->o->dtype;
    char *name = qk_strf("%s%s", s->prefix, t->name);
    const char *dtype = d == QK_F32 ? "F32" : d == QK_F16 ? "F16" : "BF16";
    qk_st_writer_declare(&s->file, name, dtype, t->n_dims, t->shape);
    free(name);
    s->result->tensors++;
    s->result->parameters += elements(t);
    return QK_OK;
}

static qk_status write_tensor(void *context, const qk_tensor_spec *t)
{
    synth *s = context;
    qk_synth_values v = qk_synth_values_of(&s->spec, t, s->o->seed);
    size_t n = elements(t), size = qk_dtype_size(s->o->dtype), most = PIECE / size;
    for (size_t at = 0; at < n; at += most) {
        size_t part = n - at < most ? n - at : most;
        qk_synth_fill(s->piece, s->o->dtype, &v, at, part, s->o->threads);
        qk_st_writer_add(&s->file, s->piece, part * size);
        /* A full disk is noticed here, not hours later. */
        if (s->file.file.error) return QK_ERR_IO;
        QK_TRY(qk_interrupt_check(s->err));
    }
    qk_progress_of("writing", (double)s->file.added, (double)s->total, NULL);
    return QK_OK;
}

static qk_status write_weights(synth *s)
{
    qk_st_writer_init(&s->file, "pt");
    qk_each_tensor(&s->spec, declare, s);
    s->total = s->file.declared;
    uint64_t slack = 16 << 20, available;
    QK_TRY(qk_disk_free(s->folder, &available, s->err));
    if (s->total + slack > available)
        return qk_fail(s->err, QK_ERR_IO, "free some space, or make fewer layers with --layers",
                       "%s: the weights take %s, and %s are free there", s->folder,
                       qk_human_bytes((double)s->total), qk_human_bytes((double)available));
    QK_TRY(qk_try_alloc(&s->piece, PIECE, 1, "a piece of the weights", s->err));
    char *path = qk_path_join(s->folder, "model.safetensors");
    qk_status status = qk_st_writer_begin(&s->file, path, s->err);
    free(path);
    QK_TRY(status);
    status = qk_each_tensor(&s->spec, write_tensor, s);
    if (status == QK_OK) return qk_st_writer_commit(&s->file, s->err);
    if (!s->file.file.error) return status;         /* a signal; the half file goes */
    return qk_writer_commit(&s->file.file, s->err); /* says why writing failed */
}

/* ---- the folder ---- */

static qk_status write_json(synth *s, const char *name, qk_json_out *o)
{
    qk_buf_add_byte(&o->buf, '\n');
    char *path = qk_path_join(s->folder, name);
    qk_status status = qk_write_file(path, o->buf.data, o->buf.size, s->err);
    free(path);
    return status;
}

static qk_status write_all(synth *s, qk_json_out *config)
{
    const qk_json *parsed;
    QK_TRY(qk_synth_config(s->o, config, &parsed, &s->spec, &s->arena, s->err));
    s->prefix = qk_tensor_prefixes(&s->spec)[0];
    QK_TRY(qk_make_dirs(s->folder, s->err));
    qk_names names;
    QK_TRY(qk_list_dir(s->folder, &names, s->err));
    bool is_empty = !names.count;
    qk_names_free(&names);
    if (!is_empty)
        return qk_fail(s->err, QK_ERR_CONFIG, "give a new folder; nothing is overwritten",
                       "%s: the folder is not empty", s->folder);
    QK_TRY(write_weights(s));
    qk_json_out tokenizer = {0}, tokenizer_config = {0};
    make_tokenizer(&tokenizer);
    qk_json_begin(&tokenizer_config, NULL, '{');
    qk_json_add_str(&tokenizer_config, "tokenizer_class", "PreTrainedTokenizerFast");
    qk_json_add_bool(&tokenizer_config, "clean_up_tokenization_spaces", false);
    qk_json_end(&tokenizer_config, '}');
    qk_status status = write_json(s, "tokenizer.json", &tokenizer);
    if (status == QK_OK) status = write_json(s, "tokenizer_config.json", &tokenizer_config);
    if (status == QK_OK) status = write_json(s, "config.json", config);
    qk_buf_free(&tokenizer.buf);
    qk_buf_free(&tokenizer_config.buf);
    return status;
}

qk_status qk_synth(const qk_synth_options *options, const char *folder, qk_synth_result *result,
                   qk_error *err)
{
    *result = (qk_synth_result){0};
    synth s = {.o = options, .folder = folder, .result = result, .err = err};
    qk_json_out config = {0};
    double begin = qk_now();
    qk_status status = write_all(&s, &config);
    result->bytes = s.total;
    result->seconds = qk_now() - begin;
    qk_st_writer_abort(&s.file);
    free(s.piece);
    qk_buf_free(&config.buf);
    qk_arena_free(&s.arena);
    return status;
}
