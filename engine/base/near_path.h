/* What was probably meant by a path that is not there. */
#pragma once

/* The path of the nearest name in its folder; NULL: none resembles it, or it is there. The caller
 * frees. */
char *qk_near_path(const char *path);
