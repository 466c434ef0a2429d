/* What is pushed is what was written: the files of a folder against its manifests. Damage that a
 * disk or a copy did to a folder would otherwise be the next one's data. */
#pragma once

#include "hub/push_files.h"

/* files: of the folder, hashed. A file that its manifest.json lists with another digest, or that is
 * missing, is an error that names it; a card that is not as it was written is a warning. */
qk_status qk_push_check(const qk_push_files *files, const char *folder, qk_error *err);
