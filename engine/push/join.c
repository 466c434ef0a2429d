/* See join.h. Steps: the examples of both, fetch, data files, card and manifest, the move into the
 * folder. */
#include "engine/push/join.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/output/card_splits.h"
#include "engine/output/compatibility.h"
#include "engine/output/example_texts.h"
#include "engine/output/examples_file.h"
#include "engine/output/layout.h"
#include "engine/output/merge_file.h"
#include "engine/staging/publish.h"
#include "sampler/example_id.h"

static const char OTHER_PLACE[] = "push to another repository or --branch";

typedef struct joiner {
    qk_push_merge *m;
    const char *split;
    const qk_json *theirs, *ours; /* manifests */
    qk_error *err;
    char *here, *there; /* the split's folder, and that of its fetched files */
    qk_texts texts;     /* of both */
    qk_id_index our_ids;
    bool collide; /* a stored id means one example there and another one here */
    qk_examples_writer *examples_out;
    int64_t examples, tokens;
    qk_merge_context context;
    qk_names names;  /* of data files of either side, sorted: "l00h00q" */
    qk_publish done; /* written under staging/merged */
} joiner;

static int64_t number(const qk_json *object, const char *key)
{
    const qk_json *v = qk_json_get(object, key);
    return v && v->is_integer ? v->integer : 0;
}

static char *data_of(const char *folder, const char *name)
{
    return qk_strf("%s/%s/data.parquet", folder, name);
}

static const qk_hub_file *remote_of(const joiner *j, const char *name)
{
    char *full = data_of(j->split, name);
    const qk_hub_file *f = qk_hub_listing_find(&j->m->remote->listing, full);
    free(full);
    return f;
}

static const qk_push_file *local_of(const joiner *j, const char *name)
{
    char *full = data_of(j->split, name);
    const qk_push_file *f = qk_push_files_find(j->m->files, full);
    free(full);
    return f;
}

static bool is_equal(const qk_hub_file *there, const qk_push_file *here)
{
    return here && qk_push_file_is(here, there);
}

/* ---- which files ---- */

static void add_name(joiner *j, const char *path)
{
    size_t n = strlen(j->split);
    const char *name = path + n + 1, *slash;
    if (strncmp(path, j->split, n) != 0 || path[n] != '/') return;
    slash = strchr(name, '/');
    if (!slash || strcmp(slash, "/data.parquet")) return;
    char *head = qk_strf("%.*s", (int)(slash - name), name);
    int layer, number_;
    qk_kind kind;
    bool known = !qk_parse_file_name(head, &layer, &number_, &kind);
    for (size_t i = 0; i < j->names.count && !known; i++) known = !strcmp(j->names.items[i], head);
    if (!known) qk_names_add(&j->names, head);
    free(head);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_names(joiner *j)
{
    for (size_t i = 0; i < j->m->remote->listing.count; i++)
        add_name(j, j->m->remote->listing.files[i].path);
    for (size_t i = 0; i < j->m->files->count; i++) add_name(j, j->m->files->items[i].name);
    if (j->names.count) qsort(j->names.items, j->names.count, sizeof *j->names.items, by_text);
}

static qk_status fetch_data(joiner *j)
{
    const qk_hub_file **wanted = qk_alloc(j->names.count, sizeof *wanted);
    size_t n = 0;
    for (size_t i = 0; i < j->names.count; i++) {
        const qk_hub_file *there = remote_of(j, j->names.items[i]);
        if (there && !is_equal(there, local_of(j, j->names.items[i]))) wanted[n++] = there;
    }
    qk_info("%s: %zu files of %s changed in the meantime, merging them", j->m->remote->repo, n,
            j->split);
    char *folder = qk_path_join(j->m->staging->folder, "incoming");
    qk_status s = qk_fetch_files(j->m->lines, j->m->remote, wanted, n, folder, j->err);
    free(folder);
    free(wanted);
    return s;
}

/* ---- examples ---- */

static qk_status write_example(joiner *j, const qk_unit_example *e)
{
    j->examples++;
    j->tokens += e->tokens;
    return qk_examples_append(j->examples_out, e, j->err);
}

static qk_status take_theirs(void *context, const qk_unit_example *e, qk_error *err)
{
    (void)err;
    joiner *j = context;
    qk_texts_add(&j->texts, e, QK_TEXT_THERE);
    return write_example(j, e);
}

static qk_status take_ours(void *context, const qk_unit_example *e, qk_error *err)
{
    joiner *j = context;
    qk_id_index_add(&j->our_ids, e->id);
    qk_text known = qk_texts_add(&j->texts, e, QK_TEXT_COMES);
    if (known == QK_TEXT_KNOWN) return QK_OK;
    if (known == QK_TEXT_OTHER)
        return qk_texts_refuse(&j->texts, e, j->m->remote->repo, j->m->folder, OTHER_PLACE, err);
    return write_example(j, e);
}

/* After take_ours has seen all. */
static qk_status look_for_collision(void *context, const qk_unit_example *e, qk_error *err)
{
    (void)err;
    joiner *j = context;
    int64_t any;
    int32_t stored = qk_example_id_stored(e->id);
    uint32_t all = qk_id_index_find(&j->texts.ids, stored, &any);
    j->collide |= all > 1 && (all > qk_id_index_find(&j->our_ids, stored, &any) ||
                              all > qk_id_index_find(&j->texts.there, stored, &any));
    return QK_OK;
}

static char *start_file(joiner *j, const char *name)
{
    char *relative = qk_strf("%s/%s", j->split, name);
    char *path = qk_publish_add(&j->done, j->m->staging, relative, j->err);
    free(relative);
    return path;
}

static qk_status join_examples(joiner *j)
{
    char *theirs = NULL, *ours = qk_path_join(j->here, "examples.parquet");
    char *path = start_file(j, "examples.parquet");
    qk_status s = path ? qk_examples_create(&j->examples_out, path, j->err) : j->err->status;
    if (s == QK_OK) s = qk_push_incoming(j->m, j->split, "examples.parquet", &theirs, j->err);
    if (s == QK_OK && theirs) s = qk_examples_read(theirs, take_theirs, j, j->err);
    bool have = false;
    if (s == QK_OK) s = qk_has_file(ours, &have, j->err);
    if (s == QK_OK && have) s = qk_examples_read(ours, take_ours, j, j->err);
    if (s == QK_OK && have) s = qk_examples_read(ours, look_for_collision, j, j->err);
    if (s == QK_OK)
        s = qk_examples_commit(j->examples_out, j->err);
    else
        qk_examples_abort(j->examples_out);
    free(theirs);
    free(ours);
    free(path);
    return s;
}

/* ---- data files ---- */

/* Writes one file anew: `first` and what `second` has beside it; either may be NULL. */
static qk_status rewrite(joiner *j, const char *name, const char *first, const qk_id_index *ids,
                         const char *second)
{
    char *relative = qk_strf("%s/data.parquet", name);
    qk_merge_file f = {.name = name, .keep_all_stored = true, .path = start_file(j, relative)};
    qk_merge_context c = j->context;
    c.old_ids = ids;
    qk_status s = f.path ? qk_merge_file_open(&f, &c, first, j->err) : j->err->status;
    if (s == QK_OK && second) s = qk_merge_file_add_file(&f, &c, second, &j->our_ids, j->err);
    if (s == QK_OK) s = qk_merge_file_commit(&f, j->err);
    qk_merge_file_free(&f);
    free(relative);
    j->m->merged++;
    return s;
}

static qk_status take_whole(joiner *j, const char *name, const char *from)
{
    char *relative = qk_strf("%s/data.parquet", name), *to = start_file(j, relative);
    qk_status s = to ? QK_OK : j->err->status;
    if (to) s = qk_move_file(from, to, j->err);
    free(relative);
    free(to);
    j->m->merged++;
    return s;
}

static qk_status join_file(joiner *j, const char *name)
{
    QK_TRY(qk_interrupt_check(j->err));
    const qk_hub_file *there = remote_of(j, name);
    const qk_push_file *here = local_of(j, name);
    char *theirs = data_of(j->there, name), *ours = data_of(j->here, name);
    qk_status s = QK_OK;
    if (there && here && !is_equal(there, here))
        s = rewrite(j, name, theirs, &j->texts.there, ours);
    else if (there && !here)
        s = j->collide ? rewrite(j, name, theirs, &j->texts.there, NULL)
                       : take_whole(j, name, theirs);
    else if (j->collide)
        s = rewrite(j, name, ours, &j->our_ids, NULL);
    free(theirs);
    free(ours);
    return s;
}

/* ---- manifest and card ---- */

/* A data file as it is now: rewritten, or as it was. */
static qk_status measure(const joiner *j, const char *name, qk_manifest_file *out)
{
    char *relative = data_of(j->split, name);
    const qk_publish_file *new = qk_publish_find(&j->done, relative);
    const qk_push_file *old = local_of(j, name);
    char *path =
        new ? qk_strf("%s/merged/%s", j->m->staging->folder, relative) : data_of(j->here, name);
    qk_head_file_reader *r = NULL;
    qk_status s = qk_head_file_open(&r, path, j->context.format.d, j->err);
    if (s == QK_OK) {
        *out = (qk_manifest_file){.name = name,
                                  .rows = qk_head_file_count(r),
                                  .bytes = new ? new->bytes : old->size,
                                  .nonfinite = qk_head_file_nonfinite(r)};
        memcpy(out->sha256, new ? new->sha256 : old->sha256, sizeof out->sha256);
    }
    qk_head_file_close(r);
    free(relative);
    free(path);
    return s;
}

static qk_manifest_file measure_examples(const joiner *j)
{
    char *relative = qk_strf("%s/examples.parquet", j->split);
    const qk_publish_file *f = qk_publish_find(&j->done, relative);
    qk_manifest_file entry = {.bytes = f->bytes};
    memcpy(entry.sha256, f->sha256, sizeof entry.sha256);
    free(relative);
    return entry;
}

static qk_status make_manifest(joiner *j, qk_buf *text)
{
    qk_manifest_file *files = qk_alloc(j->names.count, sizeof *files);
    qk_status s = qk_publish_hash(&j->done, j->m->staging, j->err);
    for (size_t i = 0; i < j->names.count && s == QK_OK; i++)
        s = measure(j, j->names.items[i], &files[i]);
    if (s == QK_OK) {
        qk_manifest_file examples = measure_examples(j);
        qk_manifest_join(text, j->theirs, j->ours, j->context.format.d, files, j->names.count,
                         &examples, j->examples, j->tokens);
    }
    free(files);
    return s;
}

/* Of the whole folder. It is moved in with the rows that it speaks of: nobody would write it again
 * after a crash between the two. */
static qk_status write_card(joiner *j, const qk_buf *manifest)
{
    qk_arena arena = {0};
    const qk_json *tree;
    qk_buf card = {0};
    char *path = qk_publish_add(&j->done, j->m->staging, "README.md", j->err);
    qk_status s = path ? QK_OK : j->err->status;
    if (path)
        s = qk_json_parse(&arena, (const char *)manifest->data, manifest->size, "manifest", &tree,
                          j->err);
    if (s == QK_OK) s = qk_card_make(&card, j->m->folder, j->split, j->split, tree, j->err);
    if (s == QK_OK) s = qk_write_file(path, card.data, card.size, j->err);
    qk_buf_free(&card);
    qk_arena_free(&arena);
    free(path);
    return s;
}

static qk_status write_manifest(joiner *j, const qk_buf *text)
{
    char *path = start_file(j, "manifest.json");
    qk_status s = path ? qk_write_file(path, text->data, text->size, j->err) : j->err->status;
    free(path);
    return s;
}

static qk_status join_texts(joiner *j)
{
    qk_buf manifest = {0};
    qk_status s = make_manifest(j, &manifest);
    if (s == QK_OK) s = write_card(j, &manifest);
    if (s == QK_OK) s = write_manifest(j, &manifest); /* moved last, as after a run */
    qk_buf_free(&manifest);
    return s;
}

/* ---- all of it ---- */

static bool wants_plain_vectors(const qk_json *manifest)
{
    const qk_json *run = qk_json_get(manifest, "runs");
    const qk_json *output = qk_json_get(
        qk_json_get(qk_json_get(run ? run->first : NULL, "identity"), "config"), "output");
    return qk_json_is_string(qk_json_get(output, "vector_encoding"), "plain");
}

static qk_status join(joiner *j)
{
    int d = (int)number(j->ours, "head_dim");
    qk_arena arena = {0};
    const char *difference = qk_compatibility_of_manifests(j->theirs, j->ours, &arena);
    if (difference)
        qk_fail(j->err, QK_ERR_CONFIG, OTHER_PLACE,
                "%s: %s holds rows of another meaning there than in %s; %s", j->m->remote->repo,
                j->split, j->m->folder, difference);
    qk_arena_free(&arena);
    if (difference) return j->err->status;
    if (j->theirs && number(j->theirs, "head_dim") != d)
        return qk_fail(j->err, QK_ERR_CONFIG, OTHER_PLACE, "%s: %s has head_dim %d, the folder %d",
                       j->m->remote->repo, j->split, (int)number(j->theirs, "head_dim"), d);
    j->context.format = (qk_head_file_format){d, false, wants_plain_vectors(j->ours)};
    list_names(j);
    QK_TRY(join_examples(j)); /* refuses, so before the data */
    QK_TRY(fetch_data(j));
    for (size_t i = 0; i < j->names.count; i++) {
        qk_progress(false, "merging file %zu of %zu", i + 1, j->names.count);
        QK_TRY(join_file(j, j->names.items[i]));
    }
    QK_TRY(join_texts(j));
    return qk_publish_move(&j->done, j->m->staging, j->m->folder, j->err);
}

qk_status qk_push_join(qk_push_merge *m, const char *split, const qk_json *theirs,
                       const qk_json *ours, qk_error *err)
{
    joiner j = {.m = m, .split = split, .theirs = theirs, .ours = ours, .err = err};
    j.context = (qk_merge_context){.keep_pairs_once = true, .all_ids = &j.texts.ids};
    j.here = qk_path_join(m->folder, split);
    j.there = qk_strf("%s/incoming/%s", m->staging->folder, split);
    qk_status s = join(&j);
    free(j.here);
    free(j.there);
    qk_id_index_free(&j.our_ids);
    qk_texts_free(&j.texts);
    qk_names_free(&j.names);
    qk_publish_free(&j.done);
    return s;
}
