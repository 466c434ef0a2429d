/* engine/base/launcher: environments, and the rank that each of them means. */
#include "tests/test.h"

#include "engine/base/launcher.h"

/* The environment of a row: "NAME=value NAME=value". */
static const char *environment;

static char *get(const char *name)
{
    static char value[64];
    size_t n = strlen(name);
    for (const char *at = environment; at; at = strchr(at, ' ') ? strchr(at, ' ') + 1 : NULL)
        if (!strncmp(at, name, n) && at[n] == '=') {
            snprintf(value, sizeof value, "%.*s", (int)strcspn(at + n + 1, " "), at + n + 1);
            return value;
        }
    return NULL;
}

/* What srun, sbatch --array and mpirun give a process. */
#define STEP(rank, size, local)                                                                    \
    "SLURM_JOB_ID=7 SLURM_STEP_ID=0 SLURM_PROCID=" rank " SLURM_NTASKS=" size                      \
    " SLURM_LOCALID=" local
#define SCRIPT "SLURM_JOB_ID=7 SLURM_PROCID=0 SLURM_LOCALID=0"
#define TASK(id, min, max, step, count)                                                            \
    "SLURM_ARRAY_TASK_ID=" id " SLURM_ARRAY_TASK_MIN=" min " SLURM_ARRAY_TASK_MAX=" max            \
    " SLURM_ARRAY_TASK_STEP=" step " SLURM_ARRAY_TASK_COUNT=" count
#define OMPI(rank, size, local, local_size)                                                        \
    "OMPI_COMM_WORLD_RANK=" rank " OMPI_COMM_WORLD_SIZE=" size                                     \
    " OMPI_COMM_WORLD_LOCAL_RANK=" local " OMPI_COMM_WORLD_LOCAL_SIZE=" local_size
#define TORCH(rank, size, local, local_size)                                                       \
    "RANK=" rank " WORLD_SIZE=" size " LOCAL_RANK=" local " LOCAL_WORLD_SIZE=" local_size
#define POD(index, size) "JOB_COMPLETION_INDEX=" index " JOB_COMPLETIONS=" size

static void test_ranks(void)
{
    static const struct {
        const char *environment;
        int rank, world, local;
        const char *from;
    } rows[] = {
        {STEP("3", "8", "1"), 3, 8, 1, "Slurm (SLURM_PROCID)"},
        {STEP("0", "1", "0"), 0, 1, 0, "Slurm (SLURM_PROCID)"},
        /* a step smaller than its job; a step of several components, which has the ranks of all */
        {STEP("1", "4", "1") " SLURM_STEP_NUM_TASKS=2", 1, 2, 1, "Slurm (SLURM_PROCID)"},
        {STEP("5", "2", "1") " SLURM_STEP_NUM_TASKS=6", 5, 6, 1, "Slurm (SLURM_PROCID)"},
        {OMPI("5", "8", "1", "4"), 5, 8, 1, "Open MPI (OMPI_COMM_WORLD_RANK)"},
        {"PMI_RANK=2 PMI_SIZE=4", 2, 4, -1, "MPI (PMI_RANK)"},
        {"PMI_RANK=2 PMI_SIZE=4 MPI_LOCALRANKID=0", 2, 4, 0, "MPI (PMI_RANK)"},
        {TORCH("6", "8", "2", "4"), 6, 8, 2, "torchrun (RANK)"},
        {"RANK=1 WORLD_SIZE=2", 1, 2, -1, "torchrun (RANK)"}, /* as Kubeflow has it */
        {POD("4", "5"), 4, 5, -1, "a Kubernetes Indexed Job (JOB_COMPLETION_INDEX)"},
        {"SKYPILOT_NODE_RANK=1 SKYPILOT_NUM_NODES=3", 1, 3, -1, "SkyPilot (SKYPILOT_NODE_RANK)"},
        {"AWS_BATCH_JOB_ARRAY_INDEX=9 AWS_BATCH_JOB_ARRAY_SIZE=10", 9, 10, -1,
         "an AWS Batch array (AWS_BATCH_JOB_ARRAY_INDEX)"},
        {"AWS_BATCH_JOB_NODE_INDEX=1 AWS_BATCH_JOB_NUM_NODES=2", 1, 2, -1,
         "AWS Batch nodes (AWS_BATCH_JOB_NODE_INDEX)"},
        /* LSF counts from 1; END is as it was written, on a step or behind it */
        {"LSB_JOBINDEX=1 LSB_JOBINDEX_END=8 LSB_JOBINDEX_STEP=1", 0, 8, -1,
         "an LSF array (LSB_JOBINDEX)"},
        {"LSB_JOBINDEX=8 LSB_JOBINDEX_END=8", 7, 8, -1, "an LSF array (LSB_JOBINDEX)"},
        {"LSB_JOBINDEX=9 LSB_JOBINDEX_END=10 LSB_JOBINDEX_STEP=2", 4, 5, -1,
         "an LSF array (LSB_JOBINDEX)"},
        {"LSB_JOBINDEX=0 LSB_JOBINDEX_END=0 LSB_JOBINDEX_STEP=0 " OMPI("1", "2", "1", "2"), 1, 2, 1,
         "Open MPI (OMPI_COMM_WORLD_RANK)"}, /* a job of LSF that is no array */
        /* arrays of Slurm: the batch script runs it, which is task 0 of 1 or of --ntasks */
        {SCRIPT " " TASK("2", "0", "3", "1", "4"), 2, 4, -1, "a Slurm array (SLURM_ARRAY_TASK_ID)"},
        {SCRIPT " " TASK("1", "1", "4", "1", "4"), 0, 4, -1, "a Slurm array (SLURM_ARRAY_TASK_ID)"},
        {SCRIPT " SLURM_NTASKS=6 " TASK("10", "2", "10", "4", "3"), 2, 3, -1,
         "a Slurm array (SLURM_ARRAY_TASK_ID)"},
        {"SLURM_ARRAY_TASK_ID=1 SLURM_ARRAY_TASK_MIN=0 SLURM_ARRAY_TASK_MAX=1", 1, 2, -1,
         "a Slurm array (SLURM_ARRAY_TASK_ID)"},
        {STEP("1", "4", "1") " " TASK("2", "0", "3", "1", "4"), 9, 16, 1,
         "a Slurm array (SLURM_ARRAY_TASK_ID) and Slurm (SLURM_PROCID)"},
        {STEP("0", "1", "0") " " TASK("2", "0", "3", "1", "4"), 2, 4, -1,
         "a Slurm array (SLURM_ARRAY_TASK_ID)"},
        /* srun with an MPI's own interface: both say the same */
        {STEP("3", "4", "1") " PMI_RANK=3 PMI_SIZE=4", 3, 4, 1, "MPI (PMI_RANK)"},
        /* mpirun in a job of Slurm: on its own machine, and behind a daemon that srun has started */
        {SCRIPT " SLURM_NTASKS=8 " OMPI("3", "8", "3", "4"), 3, 8, 3,
         "Open MPI (OMPI_COMM_WORLD_RANK)"},
        {STEP("1", "2", "0") " " OMPI("17", "24", "1", "8"), 17, 24, 1,
         "Open MPI (OMPI_COMM_WORLD_RANK)"},
        /* srun starts a torchrun on each node */
        {STEP("1", "2", "0") " " TORCH("2", "8", "2", "4"), 2, 8, 2, "torchrun (RANK)"},
        {"SKYPILOT_NODE_RANK=0 SKYPILOT_NUM_NODES=2 " TORCH("7", "8", "3", "4"), 7, 8, 3,
         "torchrun (RANK)"},
        {"SKYPILOT_NODE_RANK=0 SKYPILOT_NUM_NODES=1 " TORCH("1", "4", "1", "4"), 1, 4, 1,
         "torchrun (RANK)"},
        {STEP("2", "4", "2") " " OMPI("0", "1", "0", "1"), 2, 4, 2, "Slurm (SLURM_PROCID)"},
        /* a launcher of its own in each pod, task, node */
        {POD("2", "4") " " TORCH("1", "8", "1", "8"), 17, 32, 1,
         "a Kubernetes Indexed Job (JOB_COMPLETION_INDEX) and torchrun (RANK)"},
        /* as many as there are pods: not only where the ranks differ */
        {POD("1", "4") " TORCHELASTIC_RUN_ID=none " TORCH("1", "4", "1", "4"), 5, 16, 1,
         "a Kubernetes Indexed Job (JOB_COMPLETION_INDEX) and torchrun (RANK)"},
        {STEP("2", "4", "0") " TORCHELASTIC_RUN_ID=none " TORCH("1", "4", "1", "4"), 9, 16, 1,
         "Slurm (SLURM_PROCID) and torchrun (RANK)"},
        {STEP("1", "2", "0") " TORCHELASTIC_RUN_ID=7 " TORCH("1", "2", "0", "1"), 1, 2, 0,
         "torchrun (RANK)"},
        {POD("2", "4") " " TORCH("5", "8", "1", "2"), 5, 8, 1, "torchrun (RANK)"},
        {"AWS_BATCH_JOB_ARRAY_INDEX=3 AWS_BATCH_JOB_ARRAY_SIZE=10 " OMPI("2", "4", "2", "4"), 14,
         40, 2,
         "an AWS Batch array (AWS_BATCH_JOB_ARRAY_INDEX) and Open MPI (OMPI_COMM_WORLD_RANK)"},
        {STEP("1", "2", "1") " " OMPI("1", "2", "1", "2"), 1, 2, 1,
         "Open MPI (OMPI_COMM_WORLD_RANK)"},
        {STEP("1", "2", "1") " " OMPI("3", "4", "3", "4"), 7, 8, 7,
         "Slurm (SLURM_PROCID) and Open MPI (OMPI_COMM_WORLD_RANK)"},
        {STEP("1", "4", "1") " " TASK("2", "0", "3", "1", "4") " " OMPI("1", "2", "1", "2"), 19, 32,
         3,
         "a Slurm array (SLURM_ARRAY_TASK_ID) and Slurm (SLURM_PROCID) and Open MPI "
         "(OMPI_COMM_WORLD_RANK)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qk_launch l = {0};
        environment = rows[i].environment;
        qk_status s = qk_launch_find(&l, get, &test_error);
        CHECK_MSG(s == QK_OK, "%s: %s", environment, test_error.message);
        CHECK_MSG(l.rank == rows[i].rank && l.world == rows[i].world && l.local == rows[i].local,
                  "%s: rank %d of %d, local %d", environment, (int)l.rank, (int)l.world,
                  (int)l.local);
        CHECK_MSG(!strcmp(l.from, rows[i].from), "%s: %s", environment, l.from);
        CHECK_INT(qk_launch_local(get), rows[i].local);
    }
}

static void test_errors(void)
{
    static const struct {
        const char *environment, *words, *hint;
    } rows[] = {
        /* nobody */
        {"HOME=/root", "no launcher has set a rank", "leave --shard out"},
        {"RANK= WORLD_SIZE=", "no launcher has set a rank", "--shard I/N"},
        {"PARALLEL_SEQ=3", "GNU parallel (PARALLEL_SEQ)", "$(({#} - 1))/8"},
        {"LSB_JOBINDEX=0 LSB_JOBID=5", "no launcher", ""},
        /* not in a task */
        {SCRIPT " SLURM_NTASKS=8", "script or the shell of a Slurm job", "srun"},
        {SCRIPT, "(SLURM_STEP_ID)", "srun"},
        {"SLURM_NTASKS=8", "script or the shell of a Slurm job", "srun"}, /* salloc */
        {"SLURM_STEP_ID=4294967290 SLURM_PROCID=0 SLURM_NTASKS=8", "script or the shell", "srun"},
        /* half of it */
        {"JOB_COMPLETION_INDEX=3", "JOB_COMPLETIONS is not", "spec.completions"},
        {"JOB_COMPLETIONS=3", "JOB_COMPLETION_INDEX is not", "--shard I/N"},
        {"RANK=1", "RANK is set, and WORLD_SIZE is not (torchrun)", "--shard I/N"},
        {"WORLD_SIZE=2", "WORLD_SIZE is set, and RANK is not", ""},
        {"OMPI_COMM_WORLD_RANK=1", "OMPI_COMM_WORLD_SIZE is not", ""},
        {"PMI_SIZE=2", "PMI_RANK is not", ""},
        {"SKYPILOT_NODE_RANK=0", "SKYPILOT_NUM_NODES is not", ""},
        {"SLURM_STEP_ID=0 SLURM_PROCID=1", "SLURM_NTASKS is not", "srun"},
        {"SLURM_ARRAY_TASK_ID=1 SLURM_ARRAY_TASK_COUNT=4", "SLURM_ARRAY_TASK_MAX is not", "0-7"},
        {"LSB_JOBINDEX=3", "LSB_JOBINDEX_END is not", "[1-8]"},
        {"AWS_BATCH_JOB_ARRAY_SIZE=3", "AWS_BATCH_JOB_ARRAY_INDEX is not", ""},
        /* no numbers, or not of these */
        {"RANK=one WORLD_SIZE=2", "RANK is 'one'", ""},
        {"RANK=1 WORLD_SIZE=2.0", "WORLD_SIZE is '2.0'", ""},
        {"RANK=-1 WORLD_SIZE=2", "RANK is '-1'", ""},
        {"RANK=0 WORLD_SIZE=9999999999", "WORLD_SIZE is '9999999999'", ""},
        {"RANK=0 WORLD_SIZE=2 LOCAL_RANK=x", "LOCAL_RANK is 'x'", ""},
        {"RANK=2 WORLD_SIZE=2", "RANK is 2 and WORLD_SIZE is 2", ""},
        {STEP("3", "4", "0") " SLURM_STEP_NUM_TASKS=2", "SLURM_STEP_NUM_TASKS is 2", ""},
        {STEP("3", "4", "0") " SLURM_STEP_NUM_TASKS=x", "SLURM_STEP_NUM_TASKS is 'x'", ""},
        {"RANK=0 WORLD_SIZE=0", "WORLD_SIZE is 0", ""},
        {"PMI_RANK=4 PMI_SIZE=4", "PMI_RANK is 4", ""},
        {"LSB_JOBINDEX=9 LSB_JOBINDEX_END=8", "LSB_JOBINDEX is 9", "[1-8]"},
        {"LSB_JOBINDEX=2 LSB_JOBINDEX_END=9 LSB_JOBINDEX_STEP=2", "range 1-9:2", ""},
        {TASK("3", "1", "7", "2", "3"), "no task of the range 1-7:2", "--array=0-7"}, /* 1,3,7 */
        {TASK("4", "1", "7", "2", "4"), "SLURM_ARRAY_TASK_ID is 4", ""},
        {TASK("0", "5", "1", "1", "4"), "SLURM_ARRAY_TASK_ID is 0", ""},
        /* contradictions */
        {OMPI("1", "4", "1", "4") " RANK=2 WORLD_SIZE=4",
         "Open MPI (OMPI_COMM_WORLD_RANK) says rank 1 of 4, torchrun (RANK) rank 2 of 4",
         "--shard I/N"},
        {OMPI("1", "4", "1", "4") " PMI_RANK=1 PMI_SIZE=2", "MPI (PMI_RANK) rank 1 of 2", ""},
        {STEP("3", "4", "3") " RANK=0 WORLD_SIZE=2",
         "Slurm (SLURM_PROCID) says rank 3 of 4, torchrun (RANK) rank 0 of 2", ""},
        {STEP("3", "4", "0") " " TORCH("1", "2", "0", "1"), "torchrun (RANK) rank 1 of 2", ""},
        {STEP("1", "4", "1") " " OMPI("2", "4", "2", "4"),
         "Slurm (SLURM_PROCID) says rank 1 of 4, Open MPI (OMPI_COMM_WORLD_RANK) rank 2 of 4", ""},
        {POD("1", "4") " " TORCH("3", "4", "3", "4"), "torchrun (RANK) rank 3 of 4", ""},
        {POD("1", "4") " SKYPILOT_NODE_RANK=0 SKYPILOT_NUM_NODES=4", "SkyPilot", ""},
        {"AWS_BATCH_JOB_ARRAY_INDEX=3 AWS_BATCH_JOB_ARRAY_SIZE=900000000 " POD("1", "900000000"),
         "too many", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qk_launch l;
        qk_error e = {0};
        environment = rows[i].environment;
        CHECK_MSG(qk_launch_find(&l, get, &e) == QK_ERR_USAGE, "%s: %lld of %lld", environment,
                  (long long)l.rank, (long long)l.world);
        CHECK_MSG(strstr(e.message, rows[i].words) && strstr(e.message, "--shard auto: "), "%s: %s",
                  environment, e.message);
        CHECK_MSG(strstr(e.hint, rows[i].hint) && strstr(e.hint, "share a data_root"), "%s: %s",
                  environment, e.hint);
        CHECK_INT(qk_launch_local(get), -1);
    }
}

static void test_jobs(void)
{
    static const char *const rows[][2] = {
        {"HOME=/root", ""},
        {"SLURM_JOB_ID=71", "71"},
        {"SLURM_JOB_ID=72 SLURM_ARRAY_JOB_ID=70 SLURM_ARRAY_TASK_ID=0", "70_0"},
        {"PBS_JOBID=1234[5].server", "1234[5].server"},
        {"LSB_JOBID=9 LSB_JOBINDEX=0", "9"},
        {"LSB_JOBID=9 LSB_JOBINDEX=4", "9_4"},
        {"AWS_BATCH_JOB_ID=1b2c:5 AWS_BATCH_JOB_ARRAY_INDEX=5", "1b2c:5"},
        {"SKYPILOT_TASK_ID=sky-2026-11-30-1-0", "sky-2026-11-30-1-0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char job[QK_LAUNCH_JOB];
        environment = rows[i][0];
        qk_launch_job(job, get);
        CHECK_MSG(!strcmp(job, rows[i][1]), "%s: '%s'", environment, job);
    }
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_ranks);
    RUN(test_errors);
    RUN(test_jobs);
    return test_summary("launcher");
}
