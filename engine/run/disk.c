/* See disk.h. */
#include "engine/run/disk.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/config/config.h"
#include "engine/run/estimate.h"
#include "engine/run/inputs.h"
#include "engine/run/plan.h"
#include "engine/run/results.h"

/* Bytes of a head file beside its rows: a folder, the footer, the rest of its last block. */
enum { FILE_BYTES = 6 << 10 };

qk_disk_need qk_disk_need_of(const qk_plan *plan, const qk_estimate *e, const qk_results *results)
{
    static const double packed[2][3] = {
        {[QK_F32] = 0.80, [QK_F16] = 0.80, [QK_BF16] = 0.33}, /* byte_stream_split */
        {[QK_F32] = 0.88, [QK_F16] = 0.88, [QK_BF16] = 0.44}, /* plain */
    };
    const qk_config *c = plan->config;
    double blocks = (double)plan->heads.n_layers * (c->capture.queries + c->capture.keys);
    if (c->capture.per_head_masks) blocks = e->files;
    double rows_of_file = e->files > 0 ? e->rows / e->files : 0;
    qk_disk_need need = {
        .staging = e->rows * 4.0 * plan->spec.d + 16 * rows_of_file * blocks,
        .final = e->bytes * packed[c->output.plain_vectors][c->model.dtype] + FILE_BYTES * e->files,
    };
    need.final += (double)results->final_bytes;
    need.peak = need.staging + need.final;
    double there = (double)results->finished_bytes;
    need.missing = need.final + (there < need.staging ? need.staging - there : 0);
    return need;
}

/* Cuts a path to the nearest folder above it that is there, or to itself. */
static qk_status cut_to_folder(char *path, qk_error *err)
{
    for (;;) {
        qk_path_info info;
        QK_TRY(qk_path_stat(path, &info, err));
        if (info.type != QK_PATH_ABSENT || !strcmp(path, ".") || !strcmp(path, "/")) return QK_OK;
        size_t n = strlen(path);
        while (n > 1 && path[n - 1] == '/') n--;
        while (n && path[n - 1] != '/') n--;
        while (n > 1 && path[n - 1] == '/') n--;
        if (!n) path[n++] = '.';
        path[n] = 0;
    }
}

qk_status qk_disk_of(const char *data_root, qk_disk *out, qk_error *err)
{
    char *path = qk_strf("%s%s", data_root, *data_root ? "" : ".");
    *out = (qk_disk){.folder = path};
    QK_TRY(cut_to_folder(path, err));
    bool is_folder;
    QK_TRY(qk_has_folder(path, &is_folder, err));
    out->is_file = !is_folder;
    out->writable = is_folder && access(path, W_OK | X_OK) == 0;
    return qk_disk_free(path, &out->free, err);
}

void qk_disk_warn(const qk_disk *disk, const qk_disk_need *need, const char *data_root)
{
    if (disk->is_file)
        qk_warn("output.data_root: %s: %s is a file, and no folder", data_root, disk->folder);
    else if (!disk->writable)
        qk_warn("output.data_root: %s: this user cannot write in %s", data_root, disk->folder);
    else if (need->missing > (double)disk->free)
        qk_warn("output.data_root: about %s will be needed at once and %s are free in %s: the run "
                "stops when the disk is full, and goes on once there is more",
                qk_human_bytes(need->missing), qk_human_bytes((double)disk->free), disk->folder);
}

void qk_check_disk(const qk_plan *plan, const qk_tokenizer *tokenizer, int64_t examples)
{
    if (plan->inputs->dataset) return; /* its texts are still on the way */
    qk_estimate estimate;
    qk_results results;
    qk_disk disk = {0};
    qk_error ignored;
    qk_status s = qk_estimate_start(plan, tokenizer, examples, &estimate, &ignored);
    if (s == QK_OK) s = qk_results_read(&results, plan, &ignored);
    if (s == QK_OK) s = qk_disk_of(plan->config->output.data_root, &disk, &ignored);
    if (s == QK_OK && estimate.examples > 0) {
        qk_disk_need need = qk_disk_need_of(plan, &estimate, &results);
        qk_disk_warn(&disk, &need, plan->config->output.data_root);
    }
    free(disk.folder);
}
