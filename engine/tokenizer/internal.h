/* What a loaded tokenizer consists of; shared by loading and encoding.
 *
 * next: engine/tokenizer/load.c, engine/tokenizer/encode.c */
#pragma once

#include "engine/tokenizer/added.h"
#include "engine/tokenizer/bpe.h"
#include "engine/tokenizer/tokenizer.h"

struct qk_tokenizer {
    qk_arena arena;      /* strings of the parts below */
    qk_added added;      /* matched in the raw text */
    qk_added normalized; /* matched in what is left, after normalising */
    qk_vocab added_ids;  /* both kinds by content; they hide tokens of the model */
    struct qk_normalizer *normalizer;
    struct qk_pretokenizer *pretokenizer;
    qk_bpe bpe;                 /* of a Unigram model only its vocabulary is used */
    struct qk_unigram *unigram; /* with the scores of bpe.vocab; NULL: the model is BPE */
    bool cut_left;              /* a text that is too long loses its beginning */
    bool split_specials;        /* special tokens that stand in a text are text */
    qk_id_array before, behind; /* ids around those of the text (TemplateProcessing) */
    size_t size;                /* largest id + 1 */
    char *description;
    uint64_t serial; /* tells tokenizers apart in scratch memory */
};
