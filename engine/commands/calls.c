/* See calls.h. */
#include "engine/commands/calls.h"

#include <stdlib.h>

#include "engine/base/log.h"
#include "engine/base/text.h"
#include "engine/output/card_splits.h"
#include "engine/output/manifest.h"

/* As README.md there names files. */
static qk_status read_card(qk_card *card, const char *final, qk_error *err)
{
    const qk_json *manifest;
    QK_TRY(qk_manifest_read(final, &card->arena, &manifest, err));
    if (!manifest) return qk_card_add_folders(card, final, err);
    qk_card_add(card, "train", "", NULL, manifest);
    return QK_OK;
}

void qk_show_calls(const char *final, const char *split, const char *repo, const char *branch)
{
    qk_card card = {0};
    qk_buf call = {0};
    qk_error ignored;
    if (qk_log_is_quiet() || read_card(&card, final, &ignored) != QK_OK) {
        qk_card_free(&card);
        return;
    }
    qk_card_write_call(&call, card.files, card.n_files, card.splits, card.n_splits, split,
                       repo ? repo : final, branch);
    if (call.size) {
        call.size--; /* the line's end */
        qk_info(repo ? "in Python, from the Hub:" : "in Python (pip install datasets):");
        qk_log_plain("from datasets import load_dataset");
        char *line = qk_strf("rows = %s", qk_visible(qk_buf_str(&call)));
        qk_log_plain(line);
        free(line);
    }
    qk_buf_free(&call);
    qk_card_free(&card);
}
