/* See launcher.h. */
#include "engine/base/launcher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"

enum { MAX_DIGITS = 9, MAX_WORLD = 999999999 };

#define ANY_SHARED                                                                                 \
    "processes that share a data_root need no rank: leave --shard out; else give --shard I/N"

/* From the outside to the inside. */
typedef enum level {
    ARRAY, /* tasks that are jobs of their own */
    NODES, /* tasks on one or several machines */
    PROCESSES,
    LEVELS,
} level;

/* Names of variables; NULL: it has none. */
typedef struct launcher {
    const char *name;
    level level;
    const char *rank;
    int64_t base;                   /* the first rank, where no variable says it */
    const char *size;               /* how many there are, */
    const char *first, *last, *gap; /* or it is that of a range, (last - first) / gap + 1 */
    const char *local, *local_size; /* of this machine's: rank, how many */
    const char *step;               /* only a process that has this is one of the ranks */
    const char *step_size;          /* where it is set: how many that step has, not the job */
    const char *own;                /* set by the launcher itself, never copied by hand */
    const char *missing;            /* what to do where rank or size are not there */
} launcher;

/* Sources: "Output environment variables" of sbatch(1) and srun(1); "Environment variables set for
 * MPI applications" of Open MPI; what Hydra sets (MPICH, Intel MPI); torchrun of PyTorch; "Indexed
 * Job for Parallel Processing" of Kubernetes; "Environment Variables" of SkyPilot; "Job environment
 * variables" of AWS Batch; "Environment variables set for job execution" of LSF. */
static const launcher launchers[] = {
    {.name = "a Slurm array",
     .level = ARRAY,
     .rank = "SLURM_ARRAY_TASK_ID",
     .size = "SLURM_ARRAY_TASK_COUNT",
     .first = "SLURM_ARRAY_TASK_MIN",
     .last = "SLURM_ARRAY_TASK_MAX",
     .gap = "SLURM_ARRAY_TASK_STEP",
     .missing = "an array is a range: sbatch --array=0-7"},
    {.name = "an LSF array", /* LSB_JOBINDEX is 0 in a job that is none */
     .level = ARRAY,
     .rank = "LSB_JOBINDEX",
     .base = 1,
     .last = "LSB_JOBINDEX_END",
     .gap = "LSB_JOBINDEX_STEP",
     .missing = "an array begins at 1: bsub -J \"name[1-8]\""},
    {.name = "an AWS Batch array",
     .level = ARRAY,
     .rank = "AWS_BATCH_JOB_ARRAY_INDEX",
     .size = "AWS_BATCH_JOB_ARRAY_SIZE"},
    {.name = "Slurm", /* the batch script itself has SLURM_PROCID=0, too, and no step */
     .level = NODES,
     .rank = "SLURM_PROCID",
     .size = "SLURM_NTASKS",
     .local = "SLURM_LOCALID",
     .step = "SLURM_STEP_ID",
     .step_size = "SLURM_STEP_NUM_TASKS",
     .missing = "start it with srun"},
    {.name = "a Kubernetes Indexed Job",
     .level = NODES,
     .rank = "JOB_COMPLETION_INDEX",
     .size = "JOB_COMPLETIONS",
     .missing = "set JOB_COMPLETIONS in the pod's env to what spec.completions says"},
    {.name = "SkyPilot",
     .level = NODES,
     .rank = "SKYPILOT_NODE_RANK",
     .size = "SKYPILOT_NUM_NODES"},
    {.name = "AWS Batch nodes",
     .level = NODES,
     .rank = "AWS_BATCH_JOB_NODE_INDEX",
     .size = "AWS_BATCH_JOB_NUM_NODES"},
    {.name = "Open MPI",
     .level = PROCESSES,
     .rank = "OMPI_COMM_WORLD_RANK",
     .size = "OMPI_COMM_WORLD_SIZE",
     .local = "OMPI_COMM_WORLD_LOCAL_RANK",
     .local_size = "OMPI_COMM_WORLD_LOCAL_SIZE"},
    {.name = "MPI",
     .level = PROCESSES,
     .rank = "PMI_RANK",
     .size = "PMI_SIZE",
     .local = "MPI_LOCALRANKID",
     .local_size = "MPI_LOCALNRANKS"},
    {.name = "torchrun",
     .level = PROCESSES,
     .rank = "RANK",
     .size = "WORLD_SIZE",
     .local = "LOCAL_RANK",
     .local_size = "LOCAL_WORLD_SIZE",
     .own = "TORCHELASTIC_RUN_ID"},
};
enum { LAUNCHERS = sizeof launchers / sizeof *launchers };

/* What a launcher says. world 0: nothing. */
typedef struct said {
    const launcher *who;
    int64_t rank, world, local, local_size; /* -1: not known */
    bool own;                               /* not a copy of what another launcher says */
} said;

static bool is_set(qk_getenv *get, const char *name)
{
    const char *value = name ? get(name) : NULL;
    return value && *value;
}

/* -1 where it is no whole number of at most nine digits. */
static int64_t number(qk_getenv *get, const char *name)
{
    const char *text = get(name);
    size_t n = strlen(text);
    return n <= MAX_DIGITS && strspn(text, "0123456789") == n ? strtoll(text, NULL, 10) : -1;
}

/* *out stays as it is where the variable is not set. */
static qk_status read_number(qk_getenv *get, const char *name, int64_t *out, qk_error *err)
{
    if (!is_set(get, name)) return QK_OK;
    *out = number(get, name);
    if (*out >= 0) return QK_OK;
    return qk_fail(err, QK_ERR_USAGE, ANY_SHARED,
                   "--shard auto: %s is '%.40s', and no whole number", name, qk_visible(get(name)));
}

static qk_status fail_missing(const launcher *l, const char *has, const char *lacks, qk_error *err)
{
    char hint[256];
    snprintf(hint, sizeof hint, "%s%s%s", l->missing ? l->missing : "", l->missing ? "; " : "",
             ANY_SHARED);
    return qk_fail(err, QK_ERR_USAGE, hint, "--shard auto: %s is set, and %s is not (%s)", has,
                   lacks, l->name);
}

/* rank and world of a range: --array=2-10:4 is 0, 1 and 2 of 3. */
static qk_status number_range(const launcher *l, qk_getenv *get, said *s, qk_error *err)
{
    int64_t first = l->base, last = -1, gap = 1, size = -1, index = s->rank;
    if (!is_set(get, l->last)) return fail_missing(l, l->rank, l->last, err);
    QK_TRY(read_number(get, l->first, &first, err));
    QK_TRY(read_number(get, l->last, &last, err));
    QK_TRY(read_number(get, l->gap, &gap, err));
    QK_TRY(read_number(get, l->size, &size, err));
    if (gap < 1) gap = 1;
    s->rank = (index - first) / gap;
    s->world = last < first ? 0 : (last - first) / gap + 1;
    bool even = index >= first && (index - first) % gap == 0 && s->rank < s->world;
    if (even && (size < 0 || size == s->world)) return QK_OK;
    char hint[256];
    snprintf(hint, sizeof hint, "%s; %s", l->missing, ANY_SHARED);
    return qk_fail(err, QK_ERR_USAGE, hint,
                   "--shard auto: %s is %lld, which is no task of the range %lld-%lld:%lld of %s",
                   l->rank, (long long)index, (long long)first, (long long)last, (long long)gap,
                   l->name);
}

static qk_status read_launcher(const launcher *l, qk_getenv *get, said *s, qk_error *err)
{
    *s = (said){.who = l, .local = -1, .local_size = -1, .own = is_set(get, l->own)};
    if (!is_set(get, l->rank)) {
        const char *other = l->last ? l->last : l->size;
        return is_set(get, other) ? fail_missing(l, other, l->rank, err) : QK_OK;
    }
    QK_TRY(read_number(get, l->rank, &s->rank, err));
    if (l->base && s->rank == 0) return QK_OK;
    if (l->last) return number_range(l, get, s, err);
    const char *size = is_set(get, l->step_size) ? l->step_size : l->size;
    if (!is_set(get, size)) return fail_missing(l, l->rank, size, err);
    QK_TRY(read_number(get, size, &s->world, err));
    QK_TRY(read_number(get, l->local, &s->local, err));
    QK_TRY(read_number(get, l->local_size, &s->local_size, err));
    if (s->rank < s->world) return QK_OK;
    return qk_fail(err, QK_ERR_USAGE, ANY_SHARED,
                   "--shard auto: %s is %lld and %s is %lld (%s): ranks go from 0 to one less",
                   l->rank, (long long)s->rank, size, (long long)s->world, l->name);
}

/* A step's number; those of a batch script and of an interactive shell are near 2^32. */
static bool is_task(const launcher *l, qk_getenv *get)
{
    return !l->step || (is_set(get, l->step) && number(get, l->step) >= 0);
}

static qk_status fail_contradiction(const said *a, const said *b, qk_error *err)
{
    return qk_fail(err, QK_ERR_USAGE, ANY_SHARED,
                   "--shard auto: %s (%s) says rank %lld of %lld, %s (%s) rank %lld of %lld",
                   a->who->name, a->who->rank, (long long)a->rank, (long long)a->world,
                   b->who->name, b->who->rank, (long long)b->rank, (long long)b->world);
}

/* The one that speaks for each level; a world of one is said by whoever has nothing to say. */
static qk_status read_levels(said found[LEVELS], qk_getenv *get, qk_error *err)
{
    for (size_t i = 0; i < LAUNCHERS; i++) {
        said s, *best = &found[launchers[i].level];
        if (!is_task(&launchers[i], get)) continue;
        QK_TRY(read_launcher(&launchers[i], get, &s, err));
        if (s.world > 1 && best->world > 1 && (s.world != best->world || s.rank != best->rank))
            return fail_contradiction(best, &s, err);
        if (s.world > best->world) *best = s;
    }
    return QK_OK;
}

/* A node's processes, of all nodes: *nodes becomes part of *inner, or says nothing beside it.
 *
 * Four tasks that start four processes each look like one set of four where both ranks happen to be
 * equal. So there it must be known that it is no copy, and two other ranks are a contradiction:
 * else some of the sixteen would count to 4 and the others to 16. */
static qk_status join_nodes(said *nodes, said *inner, qk_error *err)
{
    bool on_one = inner->local_size == inner->world; /* all of them on this machine */
    bool nested = on_one && inner->own;
    bool same = !nested && nodes->rank == inner->rank && nodes->world == inner->world;
    if (nodes->world <= 1 || inner->world <= 1) {
        said *idle = nodes->world <= 1 && inner->world >= 1 ? nodes : inner;
        idle->world = 0;
        return QK_OK;
    }
    bool fits = on_one ? nested || inner->world != nodes->world
                       : inner->local_size >= 0 && inner->world >= nodes->world;
    if (!same && !fits) return fail_contradiction(nodes, inner, err);
    if (same && inner->local < 0) inner->local = nodes->local;
    if (same || !on_one) nodes->world = 0;
    return QK_OK;
}

/* Nobody has said anything. Those that know a rank, and no more, are named. */
static qk_status fail_nobody(qk_getenv *get, qk_error *err)
{
    for (size_t i = 0; i < LAUNCHERS; i++) {
        const launcher *l = &launchers[i];
        if (!l->step || !(is_set(get, l->rank) || is_set(get, l->size))) continue;
        char hint[256];
        snprintf(hint, sizeof hint, "%s; %s", l->missing, ANY_SHARED);
        return qk_fail(err, QK_ERR_USAGE, hint,
                       "--shard auto: this is the script or the shell of a %s job, and none of its "
                       "tasks (%s)",
                       l->name, l->step);
    }
    if (is_set(get, "PARALLEL_SEQ"))
        return qk_fail(err, QK_ERR_USAGE,
                       "of 8 jobs: parallel 'qkengine run my.yaml --shard $(({#} - 1))/8' ::: "
                       "{1..8}; processes that share a data_root need no --shard",
                       "--shard auto: GNU parallel (PARALLEL_SEQ) does not say how many jobs there "
                       "are");
    return qk_fail(err, QK_ERR_USAGE, ANY_SHARED,
                   "--shard auto: no launcher has set a rank (Slurm, MPI, torchrun, an Indexed Job "
                   "of Kubernetes, SkyPilot, AWS Batch or LSF)");
}

qk_status qk_launch_find(qk_launch *out, qk_getenv *get, qk_error *err)
{
    said found[LEVELS] = {0};
    *out = (qk_launch){.world = 1, .local = -1};
    QK_TRY(read_levels(found, get, err));
    QK_TRY(join_nodes(&found[NODES], &found[PROCESSES], err));
    size_t at = 0, parts = 0;
    for (int i = 0; i < LEVELS; i++) parts += found[i].world > 1;
    for (int i = 0; i < LEVELS; i++) {
        const said *s = &found[i];
        if (s->world < 1 || (s->world == 1 && parts)) continue;
        if (out->world > MAX_WORLD / s->world)
            return qk_fail(
                err, QK_ERR_USAGE, ANY_SHARED,
                "--shard auto: %s (%s) says rank %lld of %lld, of each of %lld: too many",
                s->who->name, s->who->rank, (long long)s->rank, (long long)s->world,
                (long long)out->world);
        out->rank = out->rank * s->world + s->rank;
        out->world *= s->world;
        /* Tasks of an array may be on one machine and not know it; nodes say it. */
        if (i == PROCESSES && found[NODES].world > 1 && out->local >= 0 && s->local >= 0)
            out->local = out->local * s->local_size + s->local;
        else if (s->local >= 0)
            out->local = s->local;
        at += (size_t)snprintf(out->from + at, sizeof out->from - at, "%s%s (%s)",
                               at ? " and " : "", s->who->name, s->who->rank);
    }
    return at ? QK_OK : fail_nobody(get, err);
}

int64_t qk_launch_local(qk_getenv *get)
{
    qk_launch l;
    qk_error ignored;
    return qk_launch_find(&l, get, &ignored) == QK_OK ? l.local : -1;
}

void qk_launch_job(char out[QK_LAUNCH_JOB], qk_getenv *get)
{
    static const struct {
        const char *job, *task; /* of an array */
        const char *no_task;    /* what it is in a job that is none */
    } jobs[] = {
        {"SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", ""},
        {"SLURM_JOB_ID", NULL, ""},
        {"PBS_JOBID", NULL, ""}, /* "1234[5].server" in an array */
        {"LSB_JOBID", "LSB_JOBINDEX", "0"},
        {"AWS_BATCH_JOB_ID", NULL, ""}, /* "id:5" in an array */
        {"SKYPILOT_TASK_ID", NULL, ""},
    };
    size_t i = 0, n = sizeof jobs / sizeof *jobs;
    *out = 0;
    while (i < n && !is_set(get, jobs[i].job)) i++;
    if (i == n) return;
    snprintf(out, QK_LAUNCH_JOB, "%.80s", get(jobs[i].job));
    if (is_set(get, jobs[i].task) && strcmp(get(jobs[i].task), jobs[i].no_task) != 0)
        snprintf(out + strlen(out), 24, "_%.20s", get(jobs[i].task));
}
