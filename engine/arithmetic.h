/* One run, one arithmetic. A run that is resumed on another kind of processor would mix last bits
 * where processors add in different orders (bfloat16 with and without AMX; a GPU): so the staging
 * folder notes what its units were computed with, and a later start follows it or is refused.
 *
 * next: engine/run.c */
#pragma once

#include "engine/staging.h"
#include "kernels/backend.h"

/* Before a device is opened: where units of another arithmetic are there, changes options->isa to
 * one that computes as they were, or fails. */
qk_status qk_arithmetic_follow(const qk_staging *staging, const qk_backend *backend,
                               qk_device_options *options, qk_error *err);
/* Before the first unit: notes what this device computes like. */
qk_status qk_arithmetic_note(const qk_staging *staging, const qk_backend *backend,
                             const qk_device *device, qk_error *err);
