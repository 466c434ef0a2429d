/* Steps of a pre-tokenizer that classes append, too (class_rules.c).
 *
 * next: engine/tokenizer/load_steps.c */
#pragma once

#include "engine/tokenizer/pretokenize.h"

typedef struct qk_json qk_json;
typedef struct qk_loader qk_loader;

/* Appends a Split on this regex that isolates its matches. */
qk_status qk_add_regex_split(qk_loader *l, const char *where, const char *regex);
/* Appends a Metaspace step. */
qk_status qk_add_metaspace(qk_loader *l, const char *where, const qk_json *replacement,
                           qk_prepend prepend, bool split);
/* Appends ByteLevel's space in front of pieces. */
qk_status qk_add_prefix_space(qk_loader *l, const char *where);
