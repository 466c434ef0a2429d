/* See numerics.h. */
#include "engine/staging/numerics.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/capture/unit_file.h"
#include "engine/staging/staging.h"
#include "kernels/backend.h"

/* *same: whether a device with these options computes as `wanted` says; name: how it computes. */
static qk_status ask(const qk_backend *backend, const qk_device_options *options,
                     const char *wanted, bool *same, char name[40], qk_error *err)
{
    qk_device *device;
    QK_TRY(backend->open(options, &device, err));
    strncpy(name, backend->numerics(device), 39);
    name[39] = 0;
    *same = !strcmp(wanted, name);
    backend->close(device);
    return QK_OK;
}

/* An older instruction set of this processor may compute as the units that are there. */
static bool find_isa(const qk_backend *backend, qk_device_options *options, const char *wanted)
{
    static const char *const names[] = {"avx512bf16", "avx512", "avx2", "portable"};
    qk_device_options other = *options;
    for (size_t i = 0; i < sizeof names / sizeof *names && !options->isa; i++) {
        qk_error ignored;
        char name[40];
        bool same = false;
        other.isa = names[i];
        if (ask(backend, &other, wanted, &same, name, &ignored) != QK_OK || !same) continue;
        qk_info("isa %s, to go on with the bits that this run began with", names[i]);
        *options = other;
        return true;
    }
    return false;
}

static qk_status refuse(const char *where, const char *then, const char *now, bool are_units,
                        qk_error *err)
{
    if (are_units)
        return qk_fail(err, QK_ERR_CONFIG,
                       "finish it on such a machine, with the same inference.backend and isa, or "
                       "remove the staging folder to begin again here",
                       "%s: its units were computed with '%s', this is '%s': the last bits would "
                       "mix",
                       where, then, now);
    return qk_fail(err, QK_ERR_CONFIG,
                   "run on such a machine, with the same inference.backend and isa, or choose "
                   "another output.data_root",
                   "%s: its rows were computed with '%s', these with '%s': the last bits would mix",
                   where, then, now);
}

qk_status qk_numerics_follow(const qk_staging *staging, const qk_numerics_existing *existing,
                             const qk_backend *backend, qk_device_options *options, qk_error *err)
{
    char *units, now[40];
    bool same;
    QK_TRY(qk_staging_numerics(staging, &units, err));
    const char *then = units ? units : existing->name;
    qk_status s = then ? ask(backend, options, then, &same, now, err) : QK_OK;
    if (then && s == QK_OK && !same && !find_isa(backend, options, then))
        s = refuse(units ? staging->folder : existing->where, then, now, units != NULL, err);
    free(units);
    return s;
}

qk_status qk_numerics_check_existing(const qk_staging *staging,
                                     const qk_numerics_existing *existing, qk_error *err)
{
    char *units;
    QK_TRY(qk_staging_numerics(staging, &units, err));
    bool differ = units && existing->name && strcmp(units, existing->name) != 0;
    qk_status s = differ ? refuse(existing->where, existing->name, units, false, err) : QK_OK;
    free(units);
    return s;
}

qk_status qk_numerics_note(const qk_staging *staging, const qk_backend *backend,
                           const qk_device *device, bool *same, qk_error *err)
{
    char *noted;
    QK_TRY(qk_staging_set_numerics(staging, backend->numerics(device), err));
    QK_TRY(qk_staging_numerics(staging, &noted, err));
    *same = noted && !strcmp(noted, backend->numerics(device));
    free(noted);
    return QK_OK;
}

qk_status qk_numerics_stamp(qk_unit_stamp *out, const qk_staging *staging, const qk_identity *id,
                            qk_error *err)
{
    char *noted;
    QK_TRY(qk_staging_numerics(staging, &noted, err));
    *out = (qk_unit_stamp){0};
    memcpy(out->identity, id->fingerprint, sizeof out->identity);
    if (noted) strncpy(out->numerics, noted, sizeof out->numerics - 1);
    free(noted);
    return QK_OK;
}

static qk_status check_unit(const qk_staging *staging, const qk_identity *id, const char *path,
                            qk_unit_stamp *want, qk_error *err)
{
    qk_unit_stamp have;
    qk_status s = qk_unit_read_stamp(path, &have, err);
    /* Another process may do the same, and even remove the new one: that is computed once more. */
    if (s == QK_ERR_DAMAGED) {
        qk_warn("%s; it is computed again", err->message);
        return qk_remove_file(path, err);
    }
    if (s == QK_ERR_NOTFOUND) return QK_OK;
    QK_TRY(s);
    if (!*want->numerics && !strcmp(have.identity, want->identity)) {
        QK_TRY(qk_staging_set_numerics(staging, have.numerics, err));
        QK_TRY(qk_numerics_stamp(want, staging, id, err));
    }
    return qk_unit_stamp_check(&have, want, path, err);
}

qk_status qk_numerics_check_units(const qk_staging *staging, const qk_identity *id,
                                  const qk_units *finished, qk_error *err)
{
    qk_unit_stamp want;
    QK_TRY(qk_numerics_stamp(&want, staging, id, err));
    for (size_t i = 0; i < finished->count; i++) {
        char *path = qk_staging_unit(staging, finished->items[i]);
        qk_status s = check_unit(staging, id, path, &want, err);
        free(path);
        if (s != QK_OK) return s;
    }
    return QK_OK;
}

qk_status qk_numerics_check_run(const qk_staging *staging, const qk_identity *id,
                                const qk_units *finished, qk_error *err)
{
    for (size_t i = 0; i < finished->count; i++) {
        qk_unit_stamp have, want;
        char *path = qk_staging_unit(staging, finished->items[i]);
        qk_status s = qk_unit_read_stamp(path, &have, err);
        want = have;
        memcpy(want.identity, id->fingerprint, sizeof want.identity);
        if (s == QK_OK) s = qk_unit_stamp_check(&have, &want, path, err);
        free(path);
        if (s != QK_OK && s != QK_ERR_DAMAGED && s != QK_ERR_NOTFOUND) return s;
    }
    return QK_OK;
}
