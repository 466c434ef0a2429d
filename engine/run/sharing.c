/* See sharing.h. */
#include "engine/run/sharing.h"

#include <string.h>
#include <unistd.h>

#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/run/existing.h"
#include "engine/run/plan.h"
#include "engine/staging/publish.h"

/* Waits a moment, longer each time; says once why. */
static qk_status pause_for_others(const qk_sharing *s, double *waited, const char *why,
                                  qk_error *err)
{
    enum { FIRST_MS = 20, MAX_MS = 500 };
    double ms = FIRST_MS + *waited * 100, message_at = 1;
    if (ms > MAX_MS) ms = MAX_MS;
    if (*waited < message_at && *waited + ms / 1e3 >= message_at)
        qk_info("%s: %s", s->staging->folder, why);
    *waited += ms / 1e3;
    usleep((useconds_t)(ms * 1e3));
    return qk_interrupt_check(err);
}

/* What identity.json says; *known is false where it is damaged or gone. */
static qk_status read_identity(const qk_sharing *s, bool *known, bool *ours, qk_error *err)
{
    QK_TRY(qk_staging_is_bound(s->staging, known, err));
    qk_status status = qk_staging_is_of(s->staging, s->identity, ours, err);
    if (status == QK_ERR_DAMAGED) *known = false;
    return status == QK_ERR_DAMAGED ? QK_OK : status;
}

/* Units say themselves whose they are: those of another run or version are an error. */
static qk_status check_units(const qk_sharing *s, qk_error *err)
{
    qk_units finished;
    QK_TRY(qk_staging_finished(s->staging, &finished, err));
    qk_status status = qk_numerics_check_run(s->staging, s->identity, &finished, err);
    qk_units_free(&finished);
    return status;
}

qk_status qk_sharing_check_owner(const qk_sharing *s, bool *bound, qk_error *err)
{
    bool known, ours;
    QK_TRY(read_identity(s, &known, &ours, err));
    if (!known) QK_TRY(check_units(s, err));
    return qk_staging_is_bound(s->staging, bound, err);
}

/* Held alone: completes what a process that died had begun. The unfinished work of another run
 * stays as it is, to the last leftover. */
static qk_status tidy(qk_sharing *s, qk_error *err)
{
    qk_units finished;
    bool known, ours, complete;
    QK_TRY(qk_publish_recover(s->staging, s->existing->plan->final, err));
    QK_TRY(qk_staging_finished(s->staging, &finished, err));
    bool no_units = !finished.count;
    qk_units_free(&finished);
    /* A start that ended before its first unit was there binds nobody. */
    if (no_units) QK_TRY(qk_staging_clear(s->staging, err));
    QK_TRY(read_identity(s, &known, &ours, err));
    qk_status units = known ? QK_OK : check_units(s, err);
    bool foreign = known ? !ours : units == QK_ERR_DATA || units == QK_ERR_FORMAT;
    if (!foreign) {
        QK_TRY(units);
        QK_TRY(qk_publish_clean(s->staging, err));
        QK_TRY(qk_staging_mend(s->staging, err));
    }
    QK_TRY(qk_existing_check(s->existing, err));
    QK_TRY(qk_existing_is_complete(s->existing, &complete, err));
    QK_TRY(read_identity(s, &known, &ours, err));
    if (!complete || !known || !ours) return QK_OK;
    QK_TRY(
        qk_existing_verify(s->existing, err)); /* until it is whole, the units are all there is */
    return qk_staging_clear(s->staging, err);
}

qk_status qk_sharing_enter(qk_sharing *s, qk_entry *entry, qk_error *err)
{
    for (double waited = 0;;) {
        bool held, pending, complete;
        QK_TRY(qk_staging_hold(s->staging, QK_HOLD_ALONE, &held, err));
        if (held) QK_TRY(tidy(s, err));
        QK_TRY(qk_staging_hold(s->staging, QK_HOLD_SHARED, &held, err));
        QK_TRY(qk_publish_is_pending(s->staging, &pending, err));
        if (held && !pending) {
            QK_TRY(qk_existing_check(s->existing, err));
            QK_TRY(qk_existing_is_complete(s->existing, &complete, err));
            if (complete) QK_TRY(qk_existing_verify(s->existing, err));
            *entry = complete ? QK_ENTRY_COMPLETE : QK_ENTRY_WORK;
            return qk_staging_last_merge(s->staging, s->last_merge, err);
        }
        qk_staging_release(s->staging);
        *entry = QK_ENTRY_MERGED_BY_OTHER;
        QK_TRY(qk_existing_has_become_complete(s->existing, &complete, err));
        if (complete) return QK_OK;
        QK_TRY(pause_for_others(s, &waited,
                                "another process merges or pushes here; waiting for its end", err));
    }
}

qk_status qk_sharing_hold_alone(qk_sharing *s, bool *merged, qk_error *err)
{
    double waited = 0;
    for (bool held = false; !held;) {
        QK_TRY(qk_staging_hold(s->staging, QK_HOLD_ALONE, &held, err));
        *merged = false;
        if (held) break;
        QK_TRY(qk_existing_has_become_complete(s->existing, merged, err));
        if (*merged) return QK_OK;
        QK_TRY(pause_for_others(
            s, &waited, "all units are done; waiting for the others to leave the folder", err));
    }
    /* While all units of this run were there, a merge could only be its own. */
    char now[17];
    QK_TRY(qk_staging_last_merge(s->staging, now, err));
    *merged = *now && strcmp(now, s->last_merge) != 0;
    return QK_OK;
}
