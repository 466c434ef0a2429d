/* Patterns of data files, as `datasets` reads them: `*` and `?` stop at '/', `**` stands for any
 * number of folders and only as a whole component, [a-z] and [!a-z] are classes, braces are plain
 * letters, and case counts. A component that begins with '.' (but not one of dots alone), or a
 * folder that begins with "__", is met only by a pattern that has as many of those. Private to
 * engine/dataset/.
 *
 * next: engine/dataset/folder.h */
#pragma once

#include <stdbool.h>

/* Whether it is more than the name of one file. */
bool qk_glob_has_wildcard(const char *pattern);
/* false when "**" is a part of a component. */
bool qk_glob_is_valid(const char *pattern);
/* Matches a '/'-separated path of a file, with no "./" in front. */
bool qk_glob_match(const char *pattern, const char *path);
