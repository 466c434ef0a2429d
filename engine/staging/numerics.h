/* One run, one kind of numerics. A run that is resumed on another kind of processor would mix last bits
 * where processors add in different orders (bfloat16 with and without AMX; a GPU): so the staging
 * folder notes what its units were computed with, and a later start follows it or is refused. Each
 * unit says it too, because units may come from other folders; and so does manifest.json, because
 * in prefix layout a run adds its rows to those of another one.
 *
 * next: engine/run/run.c */
#pragma once

#include "engine/base/mem.h"

typedef struct qk_backend qk_backend;
typedef struct qk_device qk_device;
typedef struct qk_device_options qk_device_options;
typedef struct qk_identity qk_identity;
typedef struct qk_staging qk_staging;
typedef struct qk_unit_stamp qk_unit_stamp;
typedef struct qk_units qk_units;

/* Rows that this run will be merged with. */
typedef struct qk_numerics_existing {
    const char *name;  /* what computed them; NULL: unknown, or there are none */
    const char *where; /* the folder that has them, for messages */
} qk_numerics_existing;

/* Before a device is opened: where units or rows of other numerics are there, changes
 * options->isa to one that computes as they were, or fails. */
qk_status qk_numerics_follow(const qk_staging *staging, const qk_numerics_existing *existing,
                             const qk_backend *backend, qk_device_options *options, qk_error *err);
/* Refuses units that were computed otherwise than the rows they will be merged with. */
qk_status qk_numerics_check_existing(const qk_staging *staging,
                                     const qk_numerics_existing *existing, qk_error *err);
/* Before the first unit: notes what this device computes like. *same is false when another process
 * has noted something else since it was followed: the device must be closed, and follow again. */
qk_status qk_numerics_note(const qk_staging *staging, const qk_backend *backend,
                           const qk_device *device, bool *same, qk_error *err);
/* What every unit of this run is stamped with; the numerics are "" where none are noted yet. */
qk_status qk_numerics_stamp(qk_unit_stamp *out, const qk_staging *staging, const qk_identity *id,
                            qk_error *err);
/* Checks the stamps of these finished units: another run's, or one of other numerics, is
 * refused by name; one that is damaged is removed, with a warning, and is unfinished then. Where no
 * numerics are noted, those of the first unit are. */
qk_status qk_numerics_check_units(const qk_staging *staging, const qk_identity *id,
                                  const qk_units *finished, qk_error *err);
/* The first half of it, which changes nothing: that no unit is of another run or version. */
qk_status qk_numerics_check_run(const qk_staging *staging, const qk_identity *id,
                                const qk_units *finished, qk_error *err);
