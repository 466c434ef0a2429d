/* See status.h. */
#include "engine/run/status.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/beneath.h"
#include "engine/capture/unit_file.h"
#include "engine/output/final_folder.h"
#include "engine/output/manifest.h"
#include "engine/staging/staging.h"
#include "formats/sealed.h"

enum { MAX_RECENT = 64, MAX_CLAIM = 4096, MAX_IDENTITY = 64 << 20, MAX_PROBLEMS = 20 };

typedef struct finished_unit {
    int64_t unit;
    double time; /* of its file, seconds since 1970 */
} finished_unit;

typedef struct survey {
    qk_run_status *out;
    const char *staging;     /* the folder's path */
    qk_folder folder;        /* the same, open */
    finished_unit *finished; /* in the order of the listing, then the newest first */
    size_t n_finished, finished_capacity;
    bool bound; /* identity.json is there */
} survey;

static void add_problem(qk_run_status *out, const qk_error *err)
{
    if (out->problems.count < MAX_PROBLEMS) qk_names_add(&out->problems, err->message);
}

/* ---- units ---- */

static double seconds_of(const struct stat *info)
{
    return (double)info->st_mtim.tv_sec + (double)info->st_mtim.tv_nsec / 1e9;
}

static void add_unit(survey *s, const char *name, int64_t unit)
{
    struct stat info;
    qk_error problem;
    if (fstatat(s->folder.fd, name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) return; /* merged by now */
        qk_fail_errno(&problem, "cannot look at", name);
        add_problem(s->out, &problem);
        return;
    }
    if (!S_ISREG(info.st_mode)) {
        qk_fail(&problem, QK_ERR_DATA, NULL, "%s/%s: is no regular file", s->staging, name);
        add_problem(s->out, &problem);
        return;
    }
    QK_GROW(s->finished, s->n_finished, s->finished_capacity);
    s->finished[s->n_finished++] = (finished_unit){unit, seconds_of(&info)};
}

/* Claims are small; what is longer, or no regular file, is no claim of ours. */
static void add_claim(survey *s, const char *name, int64_t unit)
{
    int fd;
    char text[MAX_CLAIM];
    size_t n = 0;
    struct stat info;
    qk_error problem;
    char *path = qk_path_join(s->staging, name);
    qk_status status = qk_folder_open_file(&s->folder, name, &fd, &problem);
    if (status == QK_OK) {
        status = qk_read_at_start(fd, text, sizeof text, &n, path, &problem);
        if (status == QK_OK && fstat(fd, &info) != 0)
            status = qk_fail_errno(&problem, "cannot look at", path);
        close(fd);
    }
    free(path);
    if (status != QK_OK) {
        if (status != QK_ERR_NOTFOUND) add_problem(s->out, &problem);
        return;
    }
    qk_worker w = {.unit = unit};
    if (qk_holder_read(&w.holder, text, n)) w.state = qk_holder_look(&w.holder);
    if (w.holder.since <= 0) w.holder.since = seconds_of(&info);
    QK_GROW(s->out->workers, s->out->n_workers, s->out->workers_capacity);
    s->out->workers[s->out->n_workers++] = w;
}

static int by_unit(const void *a, const void *b)
{
    const qk_worker *x = a, *y = b;
    return (x->unit > y->unit) - (x->unit < y->unit);
}

static int newest_first(const void *a, const void *b)
{
    const finished_unit *x = a, *y = b;
    return (x->time < y->time) - (x->time > y->time);
}

static int is_unit_of(const void *worker, const void *unit)
{
    int64_t x = ((const qk_worker *)worker)->unit, y = ((const finished_unit *)unit)->unit;
    return (x > y) - (x < y);
}

static int finished_by_unit(const void *a, const void *b)
{
    const finished_unit *x = a, *y = b;
    return (x->unit > y->unit) - (x->unit < y->unit);
}

/* A claim goes behind its unit's rename, and both may have been seen. */
static void drop_claims_of_finished(survey *s)
{
    qk_run_status *out = s->out;
    size_t kept = 0;
    if (s->n_finished) qsort(s->finished, s->n_finished, sizeof *s->finished, finished_by_unit);
    for (size_t i = 0; i < out->n_workers; i++)
        if (!s->n_finished ||
            !bsearch(&out->workers[i], s->finished, s->n_finished, sizeof *s->finished, is_unit_of))
            out->workers[kept++] = out->workers[i];
    out->n_workers = kept;
    if (kept) qsort(out->workers, kept, sizeof *out->workers, by_unit);
}

static qk_status list_staging(survey *s, qk_error *err)
{
    qk_names names;
    QK_TRY(qk_list_open(dup(s->folder.fd), s->staging, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        const char *rest, *name = names.items[i];
        int64_t unit = qk_staging_unit_number(name, &rest);
        if (!strcmp(name, "identity.json")) s->bound = true;
        if (unit >= 0 && !strcmp(rest, ".qku")) add_unit(s, name, unit);
        if (unit >= 0 && !strcmp(rest, ".claim")) add_claim(s, name, unit);
    }
    qk_names_free(&names);
    drop_claims_of_finished(s);
    s->out->units_done = (int64_t)s->n_finished;
    return QK_OK;
}

/* ---- how fast ---- */

/* How many of the newest units belong to the work that goes on now: a pause is a gap that is much
 * longer than the mean of the others, of which there must be some. */
static size_t without_pause(const finished_unit *newest, size_t n)
{
    enum { MIN_GAPS = 4, LONGER = 20 };
    double longest = 0, all = n ? newest[0].time - newest[n - 1].time : 0;
    for (size_t i = 1; i < n; i++) {
        double gap = newest[i - 1].time - newest[i].time;
        if (gap > longest) longest = gap;
    }
    if (n < MIN_GAPS + 1) return n;
    double limit = LONGER * (all - longest) / (double)(n - 2);
    for (size_t i = 1; i < n; i++)
        if (newest[i - 1].time - newest[i].time > limit) return i;
    return n;
}

/* Tokens of units, as their footers say; 0 where one cannot be read. */
static double tokens_of(const survey *s, const finished_unit *units, size_t n)
{
    double tokens = 0;
    for (size_t i = 0; i < n; i++) {
        qk_unit u;
        qk_error ignored;
        char *path = qk_strf("%s/unit-%06lld.qku", s->staging, (long long)units[i].unit);
        qk_status status = qk_unit_open(&u, path, &ignored);
        free(path);
        if (status != QK_OK) return 0;
        for (size_t e = 0; e < u.n_examples; e++) tokens += u.examples[e].tokens;
        qk_unit_close(&u);
    }
    return tokens;
}

/* The times of the newest units: the oldest of them only begins the measure. */
static void measure(survey *s)
{
    qk_run_status *out = s->out;
    if (!s->n_finished) return;
    qsort(s->finished, s->n_finished, sizeof *s->finished, newest_first);
    size_t n = s->n_finished < MAX_RECENT ? s->n_finished : MAX_RECENT;
    n = without_pause(s->finished, n);
    out->newest = s->finished[0].time;
    double seconds = out->newest - s->finished[n - 1].time;
    if (n < 2 || seconds <= 0) return;
    out->recent = (int64_t)n - 1;
    out->units_per_second = (double)out->recent / seconds;
    out->tokens_per_second = tokens_of(s, s->finished, n - 1) / seconds;
}

/* ---- the whole ---- */

static void read_notes(survey *s)
{
    qk_error problem;
    qk_arena arena = {0};
    const qk_json *identity = NULL;
    const qk_staging staging = {.folder = s->staging, .lock = -1};
    if (qk_staging_units(&staging, &s->out->units, &problem) != QK_OK)
        add_problem(s->out, &problem);
    char *path = qk_path_join(s->staging, "identity.json");
    qk_status status = s->bound ? qk_sealed_json(&arena, path, MAX_IDENTITY, &identity, &problem)
                                : QK_ERR_NOTFOUND;
    if (status != QK_OK && status != QK_ERR_NOTFOUND) add_problem(s->out, &problem);
    const qk_json *config = qk_json_get(identity, "config"), *model = qk_json_get(config, "model"),
                  *name = qk_json_get(model, "name");
    if (name && name->type == QK_JSON_T_STRING) s->out->model = qk_strdup(name->text);
    free(path);
    qk_arena_free(&arena);
}

static bool is_at_work(const qk_worker *w)
{
    return w->state == QK_HOLDER_WORKS || w->state == QK_HOLDER_ELSEWHERE;
}

static qk_run_state state_of(const survey *s)
{
    const qk_run_status *out = s->out;
    bool begun = s->bound || s->n_finished || out->n_workers;
    if (!begun) return out->n_splits ? QK_RUN_STATE_FINISHED : QK_RUN_STATE_STARTS;
    if (out->units >= 0 && out->units_done >= out->units) return QK_RUN_STATE_UNMERGED;
    for (size_t i = 0; i < out->n_workers; i++)
        if (is_at_work(&out->workers[i])) return QK_RUN_STATE_WORKS;
    return s->n_finished ? QK_RUN_STATE_STANDS : QK_RUN_STATE_STARTS;
}

static qk_status read_staging(survey *s, const qk_folder *root, bool *there, qk_error *err)
{
    qk_status status = qk_folder_open_in(&s->folder, root, "staging", false, err);
    *there = status == QK_OK;
    if (status == QK_ERR_NOTFOUND) return QK_OK;
    if (status == QK_OK) status = list_staging(s, err);
    if (status == QK_OK) read_notes(s);
    if (status == QK_OK) measure(s);
    return status;
}

/* ---- final/ ---- */

/* Adds what the manifest of a folder says, where it has one. */
static void add_split(qk_run_status *out, const char *final, const char *split)
{
    qk_arena arena = {0};
    const qk_json *manifest = NULL;
    qk_error problem;
    char *folder = split ? qk_path_join(final, split) : qk_strdup(final);
    qk_status status = qk_final_check(final, split, &problem);
    if (status == QK_OK) status = qk_manifest_read(folder, &arena, &manifest, &problem);
    if (status != QK_OK) add_problem(out, &problem);
    if (status == QK_OK && manifest) {
        const qk_json *files = qk_json_get(manifest, "files"),
                      *runs = qk_json_get(manifest, "runs"),
                      *examples = qk_json_get(manifest, "examples"),
                      *tokens = qk_json_get(manifest, "tokens");
        qk_final_split f = {
            .name = qk_strdup(split ? split : "train"),
            .files = (int64_t)files->count,
            .examples = examples ? examples->integer : 0,
            .tokens = tokens ? tokens->integer : 0,
            .runs = (int64_t)runs->count,
        };
        for (const qk_json *file = files->first; file; file = file->next)
            f.rows += (uint64_t)qk_json_get(file, "rows")->integer;
        QK_GROW(out->splits, out->n_splits, out->splits_capacity);
        out->splits[out->n_splits++] = f;
    }
    free(folder);
    qk_arena_free(&arena);
}

/* final/ itself in branch layout, its folders in prefix layout. */
static qk_status read_final(qk_run_status *out, const qk_folder *root, bool *there, qk_error *err)
{
    qk_folder folder;
    qk_names names;
    qk_status status = qk_folder_open_in(&folder, root, "final", false, err);
    *there = status == QK_OK;
    if (status != QK_OK) return status == QK_ERR_NOTFOUND ? QK_OK : status;
    add_split(out, folder.path, NULL);
    status = qk_list_dir(folder.path, &names, err);
    for (size_t i = 0; status == QK_OK && !out->n_splits && i < names.count; i++) {
        qk_path_info info;
        qk_error problem;
        char *path = qk_path_join(folder.path, names.items[i]);
        qk_status looked = qk_path_lstat(path, &info, &problem);
        free(path);
        if (looked == QK_OK && info.type == QK_PATH_FOLDER && names.items[i][0] != '.')
            add_split(out, folder.path, names.items[i]);
    }
    if (status == QK_OK) qk_names_free(&names);
    qk_folder_close(&folder);
    return status;
}

/* What somebody may have meant who named a folder, or a file, that is no run's. */
static qk_status fail_foreign(const char *data_root, qk_error *err)
{
    const char *name = qk_path_name(data_root);
    bool inside = !strcmp(name, "staging") || !strcmp(name, "final");
    return qk_fail(err, QK_ERR_DATA,
                   inside ? "name the folder around it, output.data_root"
                          : "name the folder that output.data_root of the configuration says",
                   "%s: no run was started here: it has no folder staging and none called final "
                   "with a dataset",
                   data_root);
}

static qk_status read_all(survey *s, const qk_folder *root, const char *data_root, qk_error *err)
{
    bool staging, final;
    qk_run_status *out = s->out;
    QK_TRY(read_staging(s, root, &staging, err));
    QK_TRY(read_final(out, root, &final, err));
    if (!staging && !out->n_splits && !out->problems.count) return fail_foreign(data_root, err);
    out->state = state_of(s);
    out->seconds_left = -1;
    if (out->state == QK_RUN_STATE_WORKS && out->units_per_second > 0 && out->units >= 0)
        out->seconds_left = (double)(out->units - out->units_done) / out->units_per_second;
    return QK_OK;
}

qk_status qk_run_status_read(qk_run_status *out, const char *data_root, qk_error *err)
{
    qk_folder root;
    *out = (qk_run_status){.units = -1};
    qk_status status = qk_folder_open(&root, data_root, err);
    if (status != QK_OK) {
        bool is_file;
        qk_error ignored;
        if (qk_has_file(data_root, &is_file, &ignored) == QK_OK && is_file)
            return qk_fail(err, QK_ERR_DATA,
                           "name the folder that output.data_root of the configuration says",
                           "%s: is a file, and no folder of a run", data_root);
        return status;
    }
    survey s = {.out = out, .folder = {.fd = -1}};
    char *staging = qk_path_join(data_root, "staging");
    s.staging = staging;
    status = read_all(&s, &root, data_root, err);
    qk_folder_close(&s.folder);
    qk_folder_close(&root);
    free(s.finished);
    free(staging);
    return status;
}

void qk_run_status_free(qk_run_status *s)
{
    for (size_t i = 0; i < s->n_splits; i++) free(s->splits[i].name);
    free(s->splits);
    free(s->workers);
    free(s->model);
    qk_names_free(&s->problems);
    *s = (qk_run_status){0};
}
