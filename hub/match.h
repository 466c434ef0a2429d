/* Patterns of whole paths as Python's fnmatch.fnmatchcase reads them: `*` any bytes, '/' and a
 * leading '.' included, `?` one code point, [abc] [a-z] [!abc] one of a class. */
#pragma once

#include <stdbool.h>

bool qk_path_matches(const char *pattern, const char *path);
