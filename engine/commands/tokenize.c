/* qkengine tokenize MODEL [FILE]: token ids of a text. */
#include <stdio.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/commands/cli.h"
#include "engine/tokenizer.h"
#include "formats/json.h"

static qk_status read_input(const char *path, qk_buf *out, qk_error *err)
{
    if (path && strcmp(path, "-")) return qk_read_file(out, path, (size_t)1 << 32, err);
    *out = (qk_buf){0};
    for (;;) {
        qk_buf_reserve(out, 65536);
        size_t got = fread(out->data + out->size, 1, 65536, stdin);
        if (!got) break;
        out->size += got;
    }
    if (ferror(stdin)) return qk_fail_errno(err, "cannot read", "standard input");
    return QK_OK;
}

static void print_json(const qk_tokenizer *tok, const qk_tokens *t, bool strings)
{
    qk_json_out o = {.compact = true};
    qk_json_begin(&o, NULL, '{');
    qk_json_begin(&o, "ids", '[');
    for (size_t i = 0; i < t->count; i++) qk_json_add_int(&o, NULL, t->ids[i]);
    qk_json_end(&o, ']');
    if (strings) {
        qk_json_begin(&o, "tokens", '[');
        for (size_t i = 0; i < t->count; i++)
            qk_json_add_str(&o, NULL, qk_tokenizer_piece(tok, t->ids[i]));
        qk_json_end(&o, ']');
    }
    qk_json_add_bool(&o, "truncated", t->truncated);
    qk_json_end(&o, '}');
    puts(qk_buf_str(&o.buf));
    qk_buf_free(&o.buf);
}

static void print_plain(const qk_tokenizer *tok, const qk_tokens *t, bool strings)
{
    for (size_t i = 0; i < t->count; i++) {
        const char *piece = strings ? qk_tokenizer_piece(tok, t->ids[i]) : NULL;
        if (strings)
            printf("%d\t%s\n", t->ids[i], piece ? piece : "");
        else
            printf("%s%d", i ? " " : "", t->ids[i]);
    }
    if (!strings) putchar('\n');
}

static qk_status tokenize(const qk_args *args, const qk_tokenizer *tok, qk_error *err)
{
    int64_t max_length;
    QK_TRY(qk_value_int(args, "max-length", 0, 0, &max_length, err));
    qk_buf text;
    QK_TRY(read_input(qk_arg(args, 1), &text, err));
    qk_tokens tokens = {0};
    qk_status s =
        qk_tokenizer_encode(tok, (const char *)text.data, text.size, max_length, &tokens, err);
    bool strings = qk_has(args, "strings");
    if (s == QK_OK && qk_has(args, "count"))
        printf("%zu\n", tokens.count);
    else if (s == QK_OK && qk_has(args, "json"))
        print_json(tok, &tokens, strings);
    else if (s == QK_OK)
        print_plain(tok, &tokens, strings);
    qk_tokens_free(&tokens);
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
    {"strings", NULL, "also the vocabulary's spelling of each token"},
    {"count", NULL, "only how many tokens there are"},
    {"max-length", "N", "cut as tokenizer.max_length does"},
    {"json", NULL, "for programs"},
    {NULL, NULL, NULL},
};

const qk_command qk_command_tokenize = {
    .name = "tokenize",
    .arguments = "MODEL [FILE|-]",
    .summary = "show the token ids of a text",
    .details =
        "MODEL is a folder with tokenizer.json. The text is the whole file, or standard input.",
    .options = options,
    .least = 1,
    .most = 2,
    .run = run,
};
