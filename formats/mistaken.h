/* Files and folders that are often given in place of a model, a tokenizer or a data file, and what
 * to do then. One table knows them all, for folders of this disk and for repositories of the Hub.
 *
 * next: formats/safetensors.h */
#pragma once

#include "engine/base/file.h"

enum { QK_POINTER_BYTES = 40 }; /* of a file's beginning: enough to tell */
/* An error when the bytes begin like a Git LFS pointer, which stands where its file belongs in a
 * clone without git-lfs. n may be the size of the whole file or of its beginning. */
qk_status qk_refuse_pointer(const void *bytes, size_t n, const char *path, qk_error *err);

/* The same, and for a web page, which a browser or curl saved under the name of a file; a text may
 * be one. */
qk_status qk_refuse_stand_in(const void *bytes, size_t n, const char *path, qk_error *err);

typedef enum qk_wanted { QK_WANT_CONFIG, QK_WANT_WEIGHTS, QK_WANT_TOKENIZER } qk_wanted;

/* The error for a folder that lacks config.json, safetensors or tokenizer.json: what it holds
 * instead, and the way from there. Always an error, by default QK_ERR_NOTFOUND. */
qk_status qk_explain_folder(const char *folder, qk_wanted wanted, qk_error *err);
/* The same for a repository, by the paths of its files; `where` names it. */
qk_status qk_explain_listing(const char *where, const qk_names *paths, qk_wanted wanted,
                             qk_error *err);
/* The error for a file where the folder of a model is wanted. */
qk_status qk_explain_file(const char *path, qk_error *err);
