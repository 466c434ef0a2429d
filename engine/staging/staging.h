/* The staging folder: which run it belongs to, which units are done, and who may do what in it.
 *
 *   lock                held shared by who computes, alone by who merges, clears or pushes; it has
 *                       8 random digits and their CRC-32 inside, new ones after each merge
 *   identity.json       what the units belong to
 *   dataset_commit      of a dataset of the Hub: what the first start read
 *                       (engine/run/dataset_commit.h)
 *   arithmetic          what they are computed with (engine/staging/numerics.h)
 *   unit-NNNNNN.qku     one finished unit each (engine/capture/unit_file.h)
 *   unit-NNNNNN.claim   who works on one (engine/staging/claims.h)
 *   units.json          how many units there are, once that is known: the rows are counted, or the
 *                       dataset has been read to its end
 *   builds              a line for each program that has written to final/ (engine/base/version.h);
 *                       stays when the run is in final/, and nothing depends on it
 *
 * Every file gets its name when it is whole; the small ones are made once, by whoever comes
 * first, and read by the others. Locks are flock(2), which ends with the process that holds it.
 * All of them have checksums (formats/sealed.h, engine/capture/unit_file.h), and all are regular
 * files: a link, a pipe or a folder in the place of one is refused by name.
 *
 * next: engine/staging/claims.h, engine/capture/unit_file.h */
#pragma once

#include "engine/base/beneath.h"
#include "engine/staging/identity.h"

typedef struct qk_staging {
    const char *folder;   /* borrowed */
    int lock;             /* file descriptor; -1: closed, and so are: */
    qk_folder above, own; /* the folder that the user named, and this one in it */
} qk_staging;

typedef enum qk_hold { QK_HOLD_SHARED, QK_HOLD_ALONE } qk_hold;

/* Makes the folder and opens its lock; nothing is held yet. The folder above it, which the user
 * named, may be a link; the folder itself may not. */
qk_status qk_staging_open(qk_staging *s, const char *folder, qk_error *err);
/* Opens it and holds it alone; refused when somebody works here for longer than two seconds. */
qk_status qk_staging_open_alone(qk_staging *s, const char *folder, qk_error *err);
/* Lets go of what is held, then tries to hold the folder so; *held is false when others do not
 * allow it. Between the two, others may have changed anything. */
qk_status qk_staging_hold(qk_staging *s, qk_hold how, bool *held, qk_error *err);
void qk_staging_release(qk_staging *s);
/* Which merge was the last one: another text after each, "" before the first, and when the text is
 * damaged. While the folder is held this is up to date even where a network file system still shows
 * old names. */
qk_status qk_staging_last_merge(const qk_staging *s, char out[17], qk_error *err);
qk_status qk_staging_note_merge(const qk_staging *s, qk_error *err);
void qk_staging_close(qk_staging *s);
/* Removes the folder with its lock and builds, where nothing else is in it. Held alone. */
void qk_staging_remove(const qk_staging *s);
/* flock without waiting; *held is false when others hold it. The file is open for writing: on NFS
 * only such a one can be locked alone (qk_open_regular). A file system without locks is an
 * error that says so. */
qk_status qk_staging_flock(int fd, qk_hold how, const char *path, bool *held, qk_error *err);

/* Binds the folder to this run, or checks that it belongs to it: of two that do so at once one
 * wins. A folder of another run is refused, with the difference. */
qk_status qk_staging_bind(qk_staging *s, const qk_identity *id, qk_error *err);
/* Whether it belongs to a run already; to this one. */
qk_status qk_staging_is_bound(const qk_staging *s, bool *bound, qk_error *err);
qk_status qk_staging_is_of(const qk_staging *s, const qk_identity *id, bool *same, qk_error *err);
/* How the run that it belongs to differs; NULL for this one. In the arena. */
qk_status qk_staging_difference(const qk_staging *s, const qk_identity *id, qk_arena *arena,
                                const char **difference, qk_error *err);

/* Path of a unit's file; the caller frees. */
char *qk_staging_unit(const qk_staging *s, int64_t unit);
/* The number of "unit-NNNNNN<rest>", or -1. */
int64_t qk_staging_unit_number(const char *name, const char **rest);
/* Numbers of units, ascending. qk_units_free frees. */
typedef struct qk_units {
    int64_t *items;
    size_t count, capacity;
} qk_units;
/* Which units are finished now. */
qk_status qk_staging_finished(const qk_staging *s, qk_units *out, qk_error *err);
bool qk_units_has(const qk_units *units, int64_t unit);
void qk_units_free(qk_units *units);
/* Number of units once it is known, else -1. */
qk_status qk_staging_units(const qk_staging *s, int64_t *units, qk_error *err);
qk_status qk_staging_set_units(const qk_staging *s, int64_t units, qk_error *err);
/* The numerics (kernels/backend.h) of the units that are there: "cpu amx"; NULL when they are not
 * known yet. The caller frees. */
qk_status qk_staging_numerics(const qk_staging *s, char **name, qk_error *err);
/* Notes them, unless others are noted already. */
qk_status qk_staging_set_numerics(const qk_staging *s, const char *name, qk_error *err);
/* The commit of a dataset of the Hub (engine/run/dataset_commit.h); NULL when none is noted. The
 * caller frees.
 */
qk_status qk_staging_commit(const qk_staging *s, char **commit, qk_error *err);
qk_status qk_staging_set_commit(const qk_staging *s, const char *commit, qk_error *err);
/* Held alone: notes in builds that this program writes to final/. */
qk_status qk_staging_note_build(const qk_staging *s, qk_error *err);
/* Held alone: takes away what processes that died have left, and small files that are damaged, with
 * a warning; they are made again. */
qk_status qk_staging_mend(const qk_staging *s, qk_error *err);
/* Removes the units, and whatever else was noted about them: the run is in final/. Held alone. */
qk_status qk_staging_clear(const qk_staging *s, qk_error *err);
