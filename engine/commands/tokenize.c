/* qkengine tokenize MODEL [FILE]: token ids of one text, or of many.
 *
 * next: engine/tokenizer/tokenizer.h */
#include <stdio.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/text.h"
#include "engine/commands/cli.h"
#include "engine/tokenizer/tokenizer.h"
#include "formats/json.h"

static qk_status read_input(const char *path, qk_buf *out, qk_error *err)
{
    if (path && strcmp(path, "-")) return qk_read_file(out, path, (size_t)1 << 32, err);
    *out = (qk_buf){0};
    for (;;) {
        qk_buf_reserve(out, 65536);
        size_t got = fread(out->data + out->size, 1, 65536, stdin);
        if (ferror(stdin)) return qk_fail_errno(err, "cannot read", "standard input");
        if (!got) return QK_OK;
        out->size += got;
    }
}

typedef struct output {
    const qk_tokenizer *tok;
    qk_encode_options options;
    bool count, json, strings;
    qk_tokens tokens;
    qk_json_out out; /* of one line */
} output;

/* ---- printing ---- */

static void print_json(output *o)
{
    const qk_tokens *t = &o->tokens;
    qk_json_out *out = &o->out;
    qk_buf_clear(&out->buf);
    qk_json_begin(out, NULL, '{');
    qk_json_begin(out, "ids", '[');
    for (size_t i = 0; i < t->count; i++) qk_json_add_int(out, NULL, t->ids[i]);
    qk_json_end(out, ']');
    if (o->strings) {
        qk_json_begin(out, "tokens", '[');
        for (size_t i = 0; i < t->count; i++) {
            size_t length = 0;
            const char *piece = qk_tokenizer_piece_text(o->tok, t->ids[i], &length);
            if (piece)
                qk_json_add_strn(out, NULL, piece, length);
            else
                qk_json_add_null(out, NULL);
        }
        qk_json_end(out, ']');
    }
    if (o->options.spans) {
        qk_json_begin(out, "offsets", '[');
        for (size_t i = 0; i < t->count; i++) {
            qk_json_begin(out, NULL, '[');
            qk_json_add_int(out, NULL, t->spans[i].start);
            qk_json_add_int(out, NULL, t->spans[i].end);
            qk_json_end(out, ']');
        }
        qk_json_end(out, ']');
    }
    qk_json_add_bool(out, "truncated", t->truncated);
    qk_json_end(out, '}');
    puts(qk_buf_str(&out->buf));
}

/* One token a line, or the ids in one line. */
static void print_plain(const output *o)
{
    const qk_tokens *t = &o->tokens;
    bool long_form = o->strings || o->options.spans;
    for (size_t i = 0; i < t->count; i++) {
        printf("%s%d", i && !long_form ? " " : "", t->ids[i]);
        if (o->options.spans) printf("\t%u:%u", t->spans[i].start, t->spans[i].end);
        const char *piece = o->strings ? qk_tokenizer_piece(o->tok, t->ids[i]) : NULL;
        if (o->strings) printf("\t%s", piece ? qk_visible(piece) : "");
        if (long_form) putchar('\n');
    }
    putchar('\n');
}

static qk_status show(output *o, const char *text, size_t length, qk_error *err)
{
    QK_TRY(qk_tokenizer_encode_with(o->tok, text, length, o->options, &o->tokens, err));
    if (o->count)
        printf("%zu\n", o->tokens.count);
    else if (o->json)
        print_json(o);
    else
        print_plain(o);
    return QK_OK;
}

/* ---- many texts ---- */

/* A line of JSON: a string, or an object with "text". */
static qk_status show_document(output *o, const char *line, size_t length, qk_error *err)
{
    qk_arena arena = {0};
    const qk_json *value;
    qk_status s = qk_json_parse(&arena, line, length, "JSON", &value, err);
    if (s == QK_OK && value->type == QK_JSON_T_OBJECT) value = qk_json_get(value, "text");
    if (s == QK_OK && (!value || value->type != QK_JSON_T_STRING))
        s = qk_fail(err, QK_ERR_DATA, "each line is a JSON string or an object with \"text\"",
                    "no text but %s", qk_json_type_name(value));
    if (s == QK_OK) s = show(o, value->text, value->length, err);
    qk_arena_free(&arena);
    return s;
}

static qk_status show_lines(output *o, const qk_buf *input, bool jsonl, qk_error *err)
{
    const char *at = (const char *)input->data, *end = at + input->size;
    for (size_t number = 1; at < end && !ferror(stdout); number++) { /* as long as somebody reads */
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        size_t length = (size_t)(stop - at);
        qk_status s = jsonl ? show_document(o, at, length, err) : show(o, at, length, err);
        if (s != QK_OK) return qk_error_prefix(err, "line %zu", number);
        at = stop + 1;
    }
    return QK_OK;
}

static qk_status tokenize(const qk_args *args, const qk_tokenizer *tok, qk_error *err)
{
    bool lines = qk_has(args, "lines"), jsonl = qk_has(args, "jsonl");
    output o = {.tok = tok,
                .options = {.plain = qk_has(args, "plain"),
                            .spans = qk_has(args, "offsets"),
                            .max_length = qk_value_int(args, "max-length")},
                .count = qk_has(args, "count"),
                .json = qk_has(args, "json"),
                .strings = qk_has(args, "strings"),
                .out = {.compact = true}};
    if (o.json) qk_print_json_lines();
    if (lines && jsonl)
        return qk_fail(err, QK_ERR_USAGE, NULL, "--lines and --jsonl exclude each other");
    qk_buf text;
    QK_TRY(read_input(qk_arg(args, 1), &text, err));
    qk_status s = lines || jsonl ? show_lines(&o, &text, jsonl, err)
                                 : show(&o, (const char *)text.data, text.size, err);
    qk_tokens_free(&o.tokens);
    qk_buf_free(&o.out.buf);
    qk_buf_free(&text);
    return s;
}

static qk_status run(const qk_args *args, qk_error *err)
{
    qk_tokenizer *tok;
    QK_TRY(qk_tokenizer_load(&tok, qk_arg(args, 0), err));
    qk_status s = tokenize(args, tok, err);
    qk_tokenizer_free(tok);
    return s;
}

static const qk_option options[] = {
    {"lines", .help = "each line is a text, without its newline"},
    {"jsonl", .help = "each line is a text as a JSON string, or an object with \"text\""},
    {"strings", .help = "also the vocabulary's spelling of each token"},
    {"offsets", .help = "also the bytes of the text that each token came from, start:end"},
    {"count", .help = "only how many tokens there are"},
    {"plain", .help = "without special tokens around the text"},
    {"max-length", "N", "cut as tokenizer.max_length does", .type = QK_VALUE_INT},
    QK_OPTION_JSON("for programs: one object a text"),
    {0},
};

const qk_command qk_command_tokenize = {
    .name = "tokenize",
    .arguments = {{"MODEL", QK_VALUE_FOLDER}, {"FILE|-", QK_VALUE_FILE, .optional = true}},
    .summary = "show the token ids of a text",
    .details =
        "MODEL is a folder with tokenizer.json. The text is the whole file, or standard input; "
        "--lines and --jsonl read many texts. It must be UTF-8: malformed bytes are an error that "
        "names their place. Offsets count bytes (the tokenizers package counts characters).",
    .options = options,
    .run = run,
};
