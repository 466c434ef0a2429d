/* The keys of tokenizer_config.json: which are read, which change no id, which are refused. The
 * table in README.md says it for people.
 *
 * next: engine/tokenizer/config_keys.c */
#pragma once

#include "formats/json.h"

typedef struct qk_loader qk_loader;

/* Refuses keys that are not supported, and values that the reference does not take; warns of keys
 * that nobody reads. */
qk_status qk_check_config_keys(qk_loader *l);
/* truncation_side and split_special_tokens, into the tokenizer. `truncation` is tokenizer.json's,
 * NULL where a class rules. */
qk_status qk_apply_config_keys(qk_loader *l, const qk_json *truncation);
