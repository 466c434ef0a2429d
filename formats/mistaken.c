/* See mistaken.h. */
#include "formats/mistaken.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "formats/json.h"

enum { MAX_ADAPTER = 1 << 20 };

qk_status qk_refuse_pointer(const void *bytes, size_t n, const char *path, qk_error *err)
{
    static const char pointer[] = "version https://git-lfs.github.com/spec/";
    size_t length = sizeof pointer - 1;
    if (n < length || memcmp(bytes, pointer, length) != 0) return QK_OK;
    return qk_fail(err, QK_ERR_FORMAT, "fetch the real file: git lfs pull",
                   "%s: this is a Git LFS pointer, not the file it stands for", path);
}

qk_status qk_refuse_stand_in(const void *bytes, size_t n, const char *path, qk_error *err)
{
    static const char *const pages[] = {"<!doctype html", "<html", "<?xml"};
    const char *text = bytes;
    size_t at = 0;
    QK_TRY(qk_refuse_pointer(bytes, n, path, err));
    while (at < n && at < QK_POINTER_BYTES / 2 && strchr(" \t\r\n", text[at]) && text[at]) at++;
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        size_t length = strlen(pages[i]);
        if (n - at >= length && !strncasecmp(text + at, pages[i], length))
            return qk_fail(err, QK_ERR_FORMAT,
                           "fetch the real file: its address on the Hub has /resolve/, not /blob/",
                           "%s: this is a web page, not the file of this name", path);
    }
    return QK_OK;
}

/* ---- what a name tells ---- */

/* A file that shows what a folder is: the first line of a table that fits a name counts. */
typedef struct sign {
    const char *pattern; /* of fnmatch */
    const char *what;    /* behind "FOLDER: " */
    const char *hint;
} sign;

static const char other_program[] = "give the folder of the original checkpoint, in safetensors";
static const char convert[] = "convert the checkpoint to safetensors, once in Python: "
                              "AutoModelForCausalLM.from_pretrained(\"X\").save_pretrained(\"Y\")";
static const char take_transformers[] =
    "take the files that the same repository has for transformers: config.json, "
    "model.safetensors or model.safetensors.index.json and its shards";

static const sign weights[] = {
    {"*.gguf", "GGUF is not supported: safetensors needed", other_program},
    {"consolidated*.safetensors",
     "consolidated.safetensors, Mistral's own layout, is not supported", take_transformers},
    {"consolidated*.pth", "consolidated.*.pth, Meta's own layout, is not supported",
     take_transformers},
    {"zero_to_fp32.py", "a checkpoint of DeepSpeed, in the parts of its processes",
     "join them there: python zero_to_fp32.py . OUT --safe_serialization"},
    {"*.distcp", "a checkpoint of distributed training, in the parts of its processes",
     "save the model as a whole, with save_pretrained"},
    {"pytorch_model*.bin", "pytorch_model.bin is not supported: safetensors needed", convert},
    {"pytorch_model.bin.index.json", "pytorch_model.bin is not supported: safetensors needed",
     convert},
    {"*.msgpack", "weights of Flax are not supported: safetensors needed", other_program},
    {"*.h5", "weights of TensorFlow are not supported: safetensors needed", other_program},
    {"*.onnx", "ONNX is not supported: safetensors needed", other_program},
    {"*.npz", "weights of MLX are not supported: safetensors needed", other_program},
    {"*.ckpt", "a checkpoint of a training program: safetensors needed", convert},
    {"*.pth", "pickled weights are not supported: safetensors needed", convert},
    {"*.pt", "pickled weights are not supported: safetensors needed", convert},
    {"*.bin", "pickled weights are not supported: safetensors needed", convert},
};

static const char save_tokenizer[] =
    "once in Python: AutoTokenizer.from_pretrained(\"X\").save_pretrained(\"Y\"); then "
    "tokenizer.name: Y";

static const sign tokenizers[] = {
    {"tekken.json", "there is no tokenizer.json, only tekken.json, Mistral's own", save_tokenizer},
    {"tokenizer.model", "there is no tokenizer.json, only tokenizer.model", save_tokenizer},
    {"tokenizer.model.v*", "there is no tokenizer.json, only tokenizer.model.v..., Mistral's own",
     save_tokenizer},
    {"*.tiktoken", "there is no tokenizer.json, only a .tiktoken file", save_tokenizer},
    {"spiece.model", "there is no tokenizer.json, only spiece.model", save_tokenizer},
    {"sentencepiece.bpe.model", "there is no tokenizer.json, only sentencepiece.bpe.model",
     save_tokenizer},
    {"merges.txt", "there is no tokenizer.json, only vocab.json and merges.txt", save_tokenizer},
    {"vocab.json", "there is no tokenizer.json, only vocab.json", save_tokenizer},
    {"vocab.txt", "there is no tokenizer.json, only vocab.txt", save_tokenizer},
    {"*.gguf", "there is no tokenizer.json: the tokenizer is inside of the GGUF file",
     "tokenizer.name: the original model, which has one"},
};

/* What is no model at all. */
static const sign others[] = {
    {"setup.py", "a Python package, not a model", NULL},
    {"pyproject.toml", "a Python package, not a model", NULL},
    {"__init__.py", "a Python package, not a model", NULL},
    {"*.zip", "an archive, not a model", "unpack it"},
    {"*.tar", "an archive, not a model", "unpack it"},
    {"*.tar.gz", "an archive, not a model", "unpack it"},
    {".git", "a Git repository without a model", NULL},
};

#define COUNT(table) (sizeof(table) / sizeof *(table))

static const char *find_name(const qk_names *names, const char *pattern)
{
    for (size_t i = 0; i < names->count; i++)
        if (!fnmatch(pattern, names->items[i], 0)) return names->items[i];
    return NULL;
}

static const sign *find_sign(const qk_names *names, const sign *table, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (find_name(names, table[i].pattern)) return &table[i];
    return NULL;
}

/* ---- the cases ---- */

typedef struct subject {
    const char *where;
    const qk_names *names; /* its files, and folders of a folder */
    bool is_folder;        /* of this disk */
    qk_wanted wanted;
    qk_error *err;
    qk_arena arena; /* for paths and hints */
} subject;

static const char *const lacks[] = {
    [QK_WANT_CONFIG] = "there is no config.json",
    [QK_WANT_WEIGHTS] = "no model.safetensors and no model.safetensors.index.json",
    [QK_WANT_TOKENIZER] = "there is no tokenizer.json",
};
/* Listed, and yet absent: a link whose target went. */
static const char *const files[][2] = {
    [QK_WANT_CONFIG] = {"config.json"},
    [QK_WANT_WEIGHTS] = {"model.safetensors", "model.safetensors.index.json"},
    [QK_WANT_TOKENIZER] = {"tokenizer.json"},
};

static const char give_model[] = "give the folder of a downloaded model";

/* A path below the folder. */
static const char *inside(subject *p, const char *name)
{
    char *path = qk_path_join(p->where, name);
    const char *kept = qk_arena_strndup(&p->arena, path, strlen(path));
    free(path);
    return kept;
}

static qk_status explain_adapter(subject *p)
{
    const qk_json *root = NULL;
    qk_error ignored;
    const char *path = inside(p, "adapter_config.json");
    if (p->is_folder) qk_json_parse_file(&p->arena, path, MAX_ADAPTER, &root, &ignored);
    const qk_json *name = qk_json_get(root, "base_model_name_or_path");
    bool named = name && name->type == QK_JSON_T_STRING && name->length;
    const char *comma = named ? ", " : "", *base = named ? name->text : "";
    const char *hint =
        p->wanted == QK_WANT_TOKENIZER
            ? qk_arena_strf(&p->arena, "tokenizer.name: its base model%s%.200s", comma, base)
            : qk_arena_strf(&p->arena,
                            "merge it into its base model%s%.200s (merge_and_unload of peft, then "
                            "save_pretrained) and give that folder",
                            comma, base);
    return qk_fail(p->err, QK_ERR_UNSUPPORTED, hint, "%s: an adapter (LoRA), not a whole model",
                   p->where);
}

/* CACHE/models--owner--name, as the Hub's clients keep it. */
static qk_status explain_cache(subject *p)
{
    qk_names commits = {0};
    qk_error ignored;
    const char *folder = inside(p, "snapshots");
    bool known = qk_list_dir(folder, &commits, &ignored) == QK_OK && commits.count;
    const char *hint = qk_arena_strf(&p->arena, "give one of its snapshots: %s/%.100s", folder,
                                     known ? commits.items[commits.count - 1] : "COMMIT");
    qk_names_free(&commits);
    return qk_fail(p->err, QK_ERR_NOTFOUND, hint, "%s: the folder of a cache, not of a model",
                   p->where);
}

/* Subfolders that hold a config.json. */
static bool explain_nested(subject *p)
{
    const char *one = NULL; /* the first of them */
    size_t found = 0;
    for (size_t i = 0; p->is_folder && i < p->names->count; i++) {
        qk_names below = {0};
        qk_error ignored;
        const char *folder = inside(p, p->names->items[i]);
        if (qk_list_dir(folder, &below, &ignored) == QK_OK && find_name(&below, "config.json") &&
            !found++)
            one = folder;
        qk_names_free(&below);
    }
    if (!found) return false;
    const char *hint =
        found == 1 ? qk_arena_strf(&p->arena, "give %.400s", one)
                   : qk_arena_strf(&p->arena,
                                   "give one of its %zu subfolders with a config.json, such as "
                                   "%.400s",
                                   found, one);
    qk_fail(p->err, QK_ERR_NOTFOUND, hint, "%s: %s here, but in a subfolder", p->where,
            lacks[p->wanted]);
    return true;
}

static qk_status explain_sign(subject *p, const sign *s)
{
    return qk_fail(p->err, QK_ERR_UNSUPPORTED, s->hint ? s->hint : give_model, "%s: %s", p->where,
                   s->what);
}

/* Safetensors under other names than those that are read. */
static qk_status explain_other_names(subject *p, const char *name)
{
    if (p->wanted == QK_WANT_CONFIG)
        return qk_fail(p->err, QK_ERR_NOTFOUND, "put the model's config.json beside its weights",
                       "%s: %s", p->where, lacks[p->wanted]);
    return qk_fail(p->err, QK_ERR_NOTFOUND,
                   strstr(name, "-of-")
                       ? "shards need their index: fetch model.safetensors.index.json, too"
                       : "if it is the whole model, give it the name model.safetensors",
                   "%s: %s, only %.100s", p->where, lacks[p->wanted], name);
}

static qk_status explain(subject *p)
{
    const qk_names *names = p->names;
    for (int i = 0; i < 2; i++) {
        const char *name = files[p->wanted][i];
        if (p->is_folder && name && find_name(names, name))
            return qk_fail(p->err, QK_ERR_NOTFOUND, "fetch it again",
                           "%s/%s: a link that leads to nothing", p->where, name);
    }
    bool tokenizer = p->wanted == QK_WANT_TOKENIZER;
    const sign *s = tokenizer ? find_sign(names, tokenizers, COUNT(tokenizers)) : NULL;
    if (s) return explain_sign(p, s);
    if (find_name(names, "adapter_config.json") || find_name(names, "adapter_model*"))
        return explain_adapter(p);
    if (find_name(names, "snapshots") && (find_name(names, "refs") || find_name(names, "blobs")))
        return explain_cache(p);
    if (!tokenizer && (s = find_sign(names, weights, COUNT(weights)))) return explain_sign(p, s);
    const char *other = tokenizer ? NULL : find_name(names, "*.safetensors");
    if (other) return explain_other_names(p, other);
    if (explain_nested(p)) return p->err->status;
    if ((s = find_sign(names, others, COUNT(others))) && !find_name(names, "config.json"))
        return explain_sign(p, s);
    if (!names->count)
        return qk_fail(p->err, QK_ERR_NOTFOUND, give_model, "%s: the folder is empty", p->where);
    return qk_fail(p->err, QK_ERR_NOTFOUND,
                   tokenizer
                       ? "set tokenizer.name to a model that has a tokenizer.json, and the same "
                         "tokenizer"
                       : give_model,
                   "%s: %s", p->where, lacks[p->wanted]);
}

qk_status qk_explain_folder(const char *folder, qk_wanted wanted, qk_error *err)
{
    qk_names names = {0};
    qk_status s = qk_list_dir(folder, &names, err);
    subject p = {folder, &names, true, wanted, err, {0}};
    if (s == QK_OK) s = explain(&p);
    qk_arena_free(&p.arena);
    qk_names_free(&names);
    return s;
}

qk_status qk_explain_file(const char *path, qk_error *err)
{
    qk_names name = {0};
    qk_names_add(&name, qk_path_name(path));
    const sign *s = find_sign(&name, weights, COUNT(weights));
    if (!s) s = find_sign(&name, others, COUNT(others));
    if (s)
        qk_fail(err, QK_ERR_UNSUPPORTED, s->hint ? s->hint : give_model, "%s: %s", path, s->what);
    else
        qk_fail(err, QK_ERR_FORMAT, "give the folder that the model's files lie in",
                "%s: a file, not the folder of a model", path);
    qk_names_free(&name);
    return err->status;
}

qk_status qk_explain_listing(const char *where, const qk_names *paths, qk_wanted wanted,
                             qk_error *err)
{
    subject p = {where, paths, false, wanted, err, {0}};
    qk_status s = explain(&p);
    qk_arena_free(&p.arena);
    return s;
}
