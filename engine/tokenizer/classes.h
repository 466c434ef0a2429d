/* Which tokenizer class AutoTokenizer (transformers 5.1.0) takes for a folder.
 *
 * next: engine/tokenizer/classes.c */
#pragma once

#include "engine/base/error.h"

typedef struct qk_loader qk_loader;

/* The class that rules: its name, static or of the loader's trees. NULL when tokenizer.json counts
 * as it stands. Fails where the reference fails, and where which class it takes is not known. */
qk_status qk_choose_class(qk_loader *l, const char **name);
