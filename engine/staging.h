/* The staging folder: which run it belongs to, which units are done, and the lock.
 *
 * next: engine/sink.h */
#pragma once

#include "engine/manifest.h"

typedef struct qk_staging {
    const char *folder; /* borrowed from the plan */
    int lock;           /* file descriptor */
} qk_staging;

/* Makes the folder and takes the lock; a second run in the same data_root is refused. */
qk_status qk_staging_open(qk_staging *s, const char *folder, qk_error *err);
void qk_staging_close(qk_staging *s);

/* Binds an empty folder to this run, or checks that it belongs to it. A folder of another run is
 * refused, with the difference. */
qk_status qk_staging_bind(const qk_staging *s, const qk_identity *id, qk_arena *arena,
                          qk_error *err);
/* Whether it belongs to a run already. */
bool qk_staging_is_bound(const qk_staging *s);

/* Path of a unit's file; the caller frees. */
char *qk_staging_unit(const qk_staging *s, int64_t unit);
/* Number of units once the dataset has been read to its end, else -1. */
qk_status qk_staging_units(const qk_staging *s, int64_t *units, qk_error *err);
qk_status qk_staging_set_units(const qk_staging *s, int64_t units, qk_error *err);
/* The arithmetic (kernels/backend.h) of the units that are there: "cpu amx"; NULL when it is not
 * known yet. The caller frees. */
qk_status qk_staging_arithmetic(const qk_staging *s, char **name, qk_error *err);
qk_status qk_staging_set_arithmetic(const qk_staging *s, const char *name, qk_error *err);
/* Removes the units and what was noted about them: the run is in final/. */
qk_status qk_staging_clear(const qk_staging *s, int64_t units, qk_error *err);
