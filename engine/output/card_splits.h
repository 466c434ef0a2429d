/* What README.md says of each split, from two things only: the names of its data files, and its
 * manifest. Runs, merges and pushes know both of every split, here or on the Hub, and therefore
 * write the same text.
 *
 * next: engine/output/manifest.h */
#pragma once

#include "engine/base/file.h"
#include "engine/output/dataset_card.h"
#include "formats/json.h"

/* Start with {0}. Strings and runs live in the arena. */
typedef struct qk_card {
    qk_card_file *files;
    size_t n_files, files_capacity;
    qk_card_split *splits;
    size_t n_splits, splits_capacity;
    qk_arena arena;
} qk_card;

/* Adds a split whose files lie in `folder` ("": at the root). names: of its data files ("l00h00q";
 * others are passed over); NULL: those that the manifest lists. Rows, runs and the rest are the
 * manifest's; NULL: not known. Nothing is added where the card has the split, where it has no file,
 * or where no split of `datasets` can have that name. */
void qk_card_add(qk_card *c, const char *split, const char *folder, const qk_names *names,
                 const qk_json *manifest);
/* Adds the folders of final that are splits and that the card lacks. Says which it leaves out. */
qk_status qk_card_add_folders(qk_card *c, const char *final, qk_error *err);
bool qk_card_has(const qk_card *c, const char *split);
/* Appends README.md. */
void qk_card_text(const qk_card *c, qk_buf *out);
/* Appends README.md of final as it is once the split has this manifest: the other folders as they
 * are. folder "": the split lies at the root, and is alone. */
qk_status qk_card_make(qk_buf *out, const char *final, const char *split, const char *folder,
                       const qk_json *manifest, qk_error *err);
void qk_card_free(qk_card *c);
