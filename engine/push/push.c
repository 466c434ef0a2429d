/* See push.h. */
#include "engine/push/push.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/output/final_folder.h"
#include "engine/output/layout.h"
#include "engine/output/manifest.h"
#include "engine/push/check.h"
#include "engine/push/merge.h"
#include "engine/push/snapshot.h"
#include "engine/staging/publish.h"
#include "hub/push.h"
#include "hub/rights.h"

/* How often the branch may move on under a push: with several pushers one of them always gets
 * further, so this only ends what cannot end. */
enum { MAX_MOVES = 200 };

typedef struct pusher {
    const qk_push_options *options;
    qk_push_report *report;
    qk_error *err;
    qk_hub hub;
    qk_push push;
    qk_push_files files;
    qk_staging staging; /* folder/.qkengine */
    qk_staging run;     /* of the run that writes the folder, where it is held */
    char *run_path;
    char *card; /* README.md for the branch when it is not the folder's, or NULL */
} pusher;

/* ---- the command that goes on ---- */

static void add_argument(qk_buf *out, const char *text)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=+:,@%";
    qk_buf_add_byte(out, ' ');
    if (*text && strspn(text, plain) == strlen(text)) {
        qk_buf_add_str(out, text);
        return;
    }
    qk_buf_add_byte(out, '\'');
    for (const char *c = text; *c; c++)
        if (*c == '\'')
            qk_buf_add_str(out, "'\\''");
        else
            qk_buf_add_byte(out, (uint8_t)*c);
    qk_buf_add_byte(out, '\'');
}

static void add_command(qk_buf *out, const qk_push_options *o)
{
    qk_buf_add_str(out, "qkengine push");
    add_argument(out, o->folder);
    add_argument(out, o->repo);
    if (o->branch) {
        qk_buf_add_str(out, " --branch");
        add_argument(out, o->branch);
    }
    if (o->partial) qk_buf_add_str(out, " --partial");
    if (o->is_private) qk_buf_add_str(out, " --private");
    if (o->delete_stale) qk_buf_add_str(out, " --delete-stale");
}

qk_status qk_push_keep(const qk_push_options *options, qk_error *err)
{
    qk_buf command = {0};
    add_command(&command, options);
    const char *text = qk_buf_str(&command);
    size_t used = strlen(err->hint);
    /* The command is worth more than the reason's own hint. */
    if (used + command.size + 16 > sizeof err->hint) used = 0;
    snprintf(err->hint + used, sizeof err->hint - used, "%sto go on: %s", used ? "; " : "", text);
    qk_buf_free(&command);
    return err->status = QK_ERR_RESUME;
}

/* ---- rounds ---- */

/* What an earlier push left on its way in: incoming/ is this program's alone. */
static qk_status clean(const pusher *p)
{
    char *path = qk_path_join(p->staging.folder, "incoming");
    qk_status s = qk_remove_tree(path, p->err);
    free(path);
    return s == QK_OK ? qk_publish_clean(&p->staging, p->err) : s;
}

static qk_status list_folder(pusher *p)
{
    qk_push_files known = p->files;
    p->files = (qk_push_files){0};
    qk_status s = qk_push_files_scan(&p->files, p->options->folder, &known, p->err);
    qk_push_files_free(&known);
    if (s == QK_OK && p->card) s = qk_push_files_put(&p->files, "README.md", p->card, p->err);
    return s == QK_OK ? qk_push_files_hash(&p->files, p->err) : s;
}

static qk_status merge(pusher *p)
{
    free(p->card);
    p->card = NULL;
    if (p->options->delete_stale) return QK_OK;
    qk_push_merge m = {.folder = p->options->folder,
                       .staging = &p->staging,
                       .remote = &p->push.remote,
                       .lines = &p->push.uploader,
                       .files = &p->files};
    QK_TRY(clean(p));
    qk_status s = qk_push_merge_run(&m, p->err);
    if (s == QK_OK) s = clean(p);
    p->card = m.card;
    p->report->merged += m.merged;
    return s;
}

static qk_status one_round(pusher *p, bool *done)
{
    QK_TRY(qk_push_list(&p->push, p->err));
    QK_TRY(list_folder(p));
    QK_TRY(qk_push_check(&p->files, p->options->folder, p->err));
    QK_TRY(merge(p));
    QK_TRY(list_folder(p));
    return qk_push_send(&p->push, &p->files, done, p->err);
}

static qk_status rounds(pusher *p)
{
    qk_retry slow = {.random = (uint64_t)(qk_now() * 1e6)}, moved = slow;
    for (int moves = 0;;) {
        bool done = false;
        size_t before = p->push.commits;
        QK_TRY(one_round(p, &done));
        if (done) return QK_OK;
        QK_TRY(qk_interrupt_check(p->err));
        if (p->push.commits > before) {
            qk_retry_progress(&slow);
            qk_retry_progress(&moved);
            moves = 0;
        }
        /* A branch that moves on shows that the Hub is well: it may do so more often. */
        if (p->push.moved && ++moves < MAX_MOVES) qk_retry_progress(&moved);
        double seconds;
        qk_error why = *p->err;
        if (!qk_retry_next(p->push.moved ? &moved : &slow, -1, &seconds)) {
            *p->err = why;
            return p->err->status = QK_ERR_RESUME;
        }
        QK_TRY(qk_retry_sleep(&p->hub, seconds, p->err));
    }
}

/* ---- the push ---- */

/* Whether there are files of rows in a folder, as a run or the reference writes them; something
 * else would become a dataset of its name, with its notes as the card. */
static qk_status has_rows(const char *folder, bool *rows, qk_error *err)
{
    qk_names found = {0};
    bool there;
    *rows = false;
    QK_TRY(qk_has_folder(folder, &there, err));
    if (!there) return QK_OK;
    qk_status s = qk_find_data_files(folder, &found, err);
    for (size_t i = 0; i < found.count && !*rows; i++) {
        const char *slash = strchr(found.items[i], '/');
        *rows = qk_is_file_name(slash ? slash + 1 : found.items[i]);
    }
    qk_names_free(&found);
    return s == QK_ERR_NOTFOUND ? QK_OK : s;
}

static qk_status check_folder(const pusher *p)
{
    const char *folder = p->options->folder;
    bool there, below = false;
    if (p->options->held || p->run_path) return QK_OK; /* a run writes it */
    QK_TRY(qk_has_folder(p->staging.folder, &there, p->err));
    if (!there) QK_TRY(has_rows(folder, &there, p->err));
    if (there) return QK_OK;
    char *final = qk_path_join(folder, "final");
    qk_status s = has_rows(final, &below, p->err);
    if (s == QK_OK)
        s = qk_fail(p->err, QK_ERR_NOTFOUND, "give the final/ folder of a run",
                    "%s: holds no dataset%s%s%s", folder, below ? "; did you mean '" : "",
                    below ? final : "", below ? "'?" : "");
    free(final);
    return s;
}

/* The dataset of a run that is not finished is not taken for a whole one. split: NULL for the folder
 * itself. */
static qk_status check_whole(const pusher *p, const char *split)
{
    char *folder = split ? qk_path_join(p->options->folder, split) : qk_strdup(p->options->folder);
    qk_arena arena = {0};
    const qk_json *manifest = NULL;
    qk_status s = qk_final_check(p->options->folder, split, p->err);
    if (s == QK_OK) s = qk_manifest_read(folder, &arena, &manifest, p->err);
    const char *partial = qk_manifest_partial(manifest, &arena);
    if (partial && p->options->partial)
        qk_info("%s: partial, %s", folder, partial);
    else if (partial)
        s = qk_fail(
            p->err, QK_ERR_CONFIG,
            "finish the run, and push what it writes; --partial pushes the part, whose card "
            "says that it is one",
            "%s: partial, %s of its run", folder, partial);
    qk_arena_free(&arena);
    free(folder);
    return s;
}

static qk_status check_all_whole(const pusher *p)
{
    qk_names names;
    QK_TRY(check_whole(p, NULL));
    QK_TRY(qk_list_dir(p->options->folder, &names, p->err));
    qk_status s = QK_OK;
    for (size_t i = 0; i < names.count && s == QK_OK; i++) {
        bool is_split;
        s = qk_final_is_split(p->options->folder, names.items[i], &is_split, p->err);
        if (s == QK_OK && is_split) s = check_whole(p, names.items[i]);
    }
    qk_names_free(&names);
    return s;
}

static qk_status check_target(const pusher *p)
{
    const qk_push_options *o = p->options;
    QK_TRY(qk_check_push_names(o->repo, o->branch, p->err));
    bool there;
    QK_TRY(qk_has_folder(o->folder, &there, p->err));
    if (!there)
        return qk_fail(p->err, QK_ERR_NOTFOUND, "give the final/ folder of a run",
                       "%s: no such folder", o->folder);
    return qk_check_push_token(&p->hub, p->err);
}

static qk_status push(pusher *p)
{
    QK_TRY(check_target(p));
    if (!p->options->held) QK_TRY(qk_final_hold(p->options->folder, &p->run, &p->run_path, p->err));
    QK_TRY(check_folder(p));
    QK_TRY(qk_staging_open_alone(&p->staging, p->staging.folder, p->err));
    QK_TRY(qk_publish_recover(&p->staging, p->options->folder, p->err));
    QK_TRY(check_all_whole(p));
    QK_TRY(qk_push_snapshot_read(p->staging.folder, p->options->folder, &p->files, p->err));
    QK_TRY(qk_push_open(&p->push, &p->hub, p->options->repo, p->options->branch,
                        p->options->is_private, p->err));
    p->push.delete_stale = p->options->delete_stale;
    QK_TRY(rounds(p));
    return qk_push_snapshot_write(p->staging.folder, &p->push.remote, &p->files, p->err);
}

static void fill_report(const pusher *p)
{
    qk_push_report *r = p->report;
    r->files = p->files.count;
    r->sent = p->push.files_sent;
    r->deleted = p->push.files_deleted;
    r->commits = p->push.commits;
    r->bytes_sent = p->push.uploader.bytes_sent;
    memcpy(r->head, p->push.remote.head, sizeof r->head);
}

qk_status qk_push_folder(const qk_push_options *options, qk_push_report *report, qk_error *err)
{
    *report = (qk_push_report){0};
    pusher p = {.options = options, .report = report, .err = err};
    char *state = qk_path_join(options->folder, ".qkengine");
    p.staging = (qk_staging){.folder = state, .lock = -1};
    p.run.lock = -1;
    qk_interrupt_install();
    qk_status s = qk_hub_open(&p.hub, NULL, err);
    if (s == QK_OK) {
        s = push(&p);
        fill_report(&p);
        qk_push_close(&p.push);
        qk_hub_close(&p.hub);
    }
    qk_push_files_free(&p.files);
    qk_staging_close(&p.staging);
    qk_staging_close(&p.run);
    free(p.card);
    free(state);
    free(p.run_path);
    return s == QK_ERR_RESUME ? qk_push_keep(options, err) : s;
}
