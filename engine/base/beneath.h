/* Work below a folder that may have come from somebody else, with names and links of his choice:
 * nothing outside of it is opened, written, moved or removed.
 *
 * A path that was read from a file passes qk_path_problem before it is used. Below an open folder
 * every step of a path is taken from the folder before it and never through a link, so a link that
 * lies there is an error by name, whoever put it there and whenever. Files are regular ones: a
 * named pipe or a device instead of one is an error, too, and nothing waits for it.
 *
 * next: engine/staging/staging.h */
#pragma once

#include <fcntl.h>

#include "engine/base/mem.h"

/* What is wrong with a relative path that a file brought along: empty, absolute, with "..", ".",
 * an empty part, a backslash, a control character, NUL, a part that is too long. NULL: nothing. */
const char *qk_path_problem(const char *path, size_t length);

typedef struct qk_folder {
    int fd;     /* -1: closed */
    char *path; /* for messages */
} qk_folder;

/* Opens a folder that the user named; it may be a link. */
qk_status qk_folder_open(qk_folder *f, const char *path, qk_error *err);
/* The folder called `name` in another one, which must be no link. QK_ERR_NOTFOUND when it is not
 * there, unless make is set. */
qk_status qk_folder_open_in(qk_folder *f, const qk_folder *above, const char *name, bool make,
                            qk_error *err);
void qk_folder_close(qk_folder *f);

/* Makes the folders that lead to a relative path. */
qk_status qk_folder_make_way(const qk_folder *f, const char *relative, qk_error *err);
/* Opens a regular file for reading; QK_ERR_NOTFOUND when it is not there. */
qk_status qk_folder_open_file(const qk_folder *f, const char *relative, int *fd, qk_error *err);
/* Whether a regular file is there. Anything else of that name, and a link on the way, is an error.
 */
qk_status qk_folder_has_file(const qk_folder *f, const char *relative, bool *has, qk_error *err);
/* Moves a regular file, over the one of that name where there is one, and flushes the folder. */
qk_status qk_folder_move(const qk_folder *from, const qk_folder *to, const char *relative,
                         qk_error *err);
/* Removes what `is_ours` says yes to, link or file, and folders that are empty then; the rest
 * stays. A missing folder is fine. `name` is the last part of a path. */
qk_status qk_folder_clean(const qk_folder *f, bool (*is_ours)(const char *name, bool folder),
                          qk_error *err);

/* Opens a file of ours by its path: a regular one, no link in its last step, and where it is
 * written without a second name elsewhere. flags as open(2) takes them. */
qk_status qk_open_regular(int *fd, const char *path, int flags, qk_error *err);
