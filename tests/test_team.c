/* Parallel loops, and how many threads they have. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/available.h"
#include "engine/base/team.h"
#include "kernels/backend.h"
#include "tests/test.h"

static char folder[64];

/* ---- how many ---- */

static void put_text(const char *name, const char *text)
{
    char *path = qk_strf("%s/%s", folder, name);
    char *parent = qk_strf("%.*s", (int)(strrchr(path, '/') - path), path);
    CHECK_INT(qk_make_dirs(parent, &test_error), QK_OK);
    CHECK_INT(qk_write_file(path, text, strlen(text), &test_error), QK_OK);
    free(path);
    free(parent);
}

static void check_cpus(int n, const char *why)
{
    const char *said;
    CHECK_INT(qk_available_cpus(folder, &said), n);
    CHECK_STR(said ? said : "", why);
}

static void test_quotas(void)
{
    static const char quota[] = "CPU quota of its control group";
    const char *why;
    int here = qk_available_cpus("/nonexistent", &why); /* affinity alone */
    bool quota_fits = here >= 2;
    check_cpus(here, why ? why : "");
    const char *all = why ? why : "";
    /* Version 2: a group without a limit in one that has 1.5 CPUs. */
    put_text("proc/self/cgroup", "1:name=systemd:/x\n0::/a/b\n");
    put_text("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    check_cpus(here, all);
    put_text("sys/fs/cgroup/a/cpu.max", "50000 100000\n");
    check_cpus(1, here > 1 ? quota : all);
    put_text("sys/fs/cgroup/a/cpu.max", "100000 100000\n");
    check_cpus(1, here > 1 ? quota : all);
    put_text("sys/fs/cgroup/a/cpu.max", "100001 100000\n");
    check_cpus(quota_fits ? 2 : 1, here > 2 ? quota : all);
    put_text("sys/fs/cgroup/a/b/cpu.max", "1000 100000\n");
    check_cpus(1, here > 1 ? quota : all);
    put_text("sys/fs/cgroup/a/b/cpu.max", "nonsense\n");
    put_text("sys/fs/cgroup/a/cpu.max", "900000000 100000\n");
    check_cpus(here, all);
    /* Version 1, in a container: the path is the host's, only the top is there. */
    put_text("proc/self/cgroup", "3:cpuset:/y\n4:cpuacct,cpu:/docker/x\n");
    check_cpus(here, all);
    put_text("sys/fs/cgroup/cpu/cpu.cfs_period_us", "50000\n");
    put_text("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    check_cpus(here, all);
    put_text("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "40000\n");
    check_cpus(1, here > 1 ? quota : all);
    put_text("sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us", "10000\n"); /* without a period */
    put_text("proc/self/cgroup", "3:cpuset:/y\n4:cpuacct:/docker/x\n");
    check_cpus(here, all);
}

/* What qk_threads says in a new process with this environment; NULL: without the variable. */
static void check_threads(const char *omp, const char *slurm, int cpus, const char *expected)
{
    int ends[2];
    char said[64] = "";
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    if (!child) {
        cpu_set_t all, some;
        CPU_ZERO(&some);
        sched_getaffinity(0, sizeof all, &all);
        for (int i = 0, n = 0; i < CPU_SETSIZE; i++)
            if (CPU_ISSET(i, &all) && (!cpus || n++ < cpus)) CPU_SET(i, &some);
        sched_setaffinity(0, sizeof some, &some);
        unsetenv("OMP_NUM_THREADS");
        unsetenv("SLURM_CPUS_PER_TASK");
        if (omp) setenv("OMP_NUM_THREADS", omp, 1);
        if (slurm) setenv("SLURM_CPUS_PER_TASK", slurm, 1);
        const char *why;
        int n = qk_threads(&why);
        dprintf(ends[1], "%d %s", n, why ? why : "all");
        _exit(0);
    }
    close(ends[1]);
    CHECK(read(ends[0], said, sizeof said - 1) > 0);
    close(ends[0]);
    waitpid(child, NULL, 0);
    CHECK_STR(said, expected);
}

/* Before this process has asked itself: the answer is kept. */
static void test_environment(void)
{
    const char *why;
    int here = qk_available_cpus("", &why);
    char *usual = qk_strf("%d %s", here, why ? why : "all");
    check_threads(NULL, NULL, 0, usual);
    check_threads("7", NULL, 0, "7 OMP_NUM_THREADS");
    check_threads("7", "1", 0, "7 OMP_NUM_THREADS");
    check_threads("3,2", NULL, 0, "3 OMP_NUM_THREADS");
    const char *nothing[] = {"", "x", "0", "-4", "2x", "99999999999999999999"};
    for (int i = 0; i < 6; i++) {
        check_threads(nothing[i], NULL, 0, usual);
        check_threads(NULL, nothing[i], 0, usual);
    }
    check_threads(NULL, "4000", 0, usual);
    if (here > 1) {
        check_threads(NULL, "1", 0, "1 SLURM_CPUS_PER_TASK");
        check_threads(NULL, NULL, 1, "1 CPU affinity");
        check_threads(NULL, "2", 1, "1 CPU affinity");
    }
    free(usual);
    qk_threads_set(5, "inference.threads");
    CHECK_INT(qk_threads(&why), 5);
    CHECK_STR(why, "inference.threads");
}

/* ---- loops ---- */

enum { MAX_ITEMS = 5000, MAX_MEMBERS = 9 };
typedef struct counts {
    atomic_int items[MAX_ITEMS], busy[MAX_MEMBERS];
    atomic_int wrong; /* two at once as one member, a member that is too high */
    int threads;
    size_t longest; /* items of one call */
} counts;

static void count(void *context, size_t begin, size_t end, int member)
{
    counts *c = context;
    if (member < 0 || member >= c->threads) {
        c->wrong++;
        return;
    }
    c->wrong += atomic_fetch_add(&c->busy[member], 1) != 0;
    for (size_t i = begin; i < end; i++) c->items[i]++;
    c->busy[member]--;
}

/* Each item once, none behind the last. */
static int loops_that_are_wrong(counts *c, int threads, size_t n)
{
    int wrong = 0;
    for (int by_one = 0; by_one < 2; by_one++) {
        memset(c->items, 0, sizeof c->items);
        c->threads = threads;
        (by_one ? qk_loop_each : qk_loop)(threads, n, count, c);
        for (size_t i = 0; i < MAX_ITEMS; i++) wrong += c->items[i] != (i < n);
    }
    return wrong + c->wrong;
}

static void test_each_item_once(void)
{
    static const size_t sizes[] = {0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 1000, 4999};
    static const int threads[] = {2, 1, 5, 3, 8, 9}; /* teams grow, and may be larger than a loop */
    static counts c;
    for (size_t t = 0; t < sizeof threads / sizeof *threads; t++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (int again = 0; again < 5; again++)
                CHECK_INT(loops_that_are_wrong(&c, threads[t], sizes[s]), 0);
}

/* With pauses that let the workers go to sleep, or nearly. */
static void test_pauses(void)
{
    static counts c;
    for (int i = 0; i < 60; i++) {
        usleep((useconds_t)(i * 5));
        CHECK_INT(loops_that_are_wrong(&c, 1 + i % 4, 30), 0);
    }
}

/* The first items are begun by the caller and not left until all others are done: those of his own
 * share are done by somebody else. */
static void wait_for_others(void *context, size_t begin, size_t end, int member)
{
    atomic_size_t *done = context;
    enum { ITEMS = 64 };
    (void)member;
    while (!begin && *done < ITEMS - end) usleep(100);
    *done += end - begin;
}

static void test_others_go_on(void)
{
    atomic_size_t done = 0;
    qk_loop(2, 64, wait_for_others, &done);
    CHECK_INT(done, 64);
}

static void outer(void *context, size_t begin, size_t end, int member)
{
    (void)member;
    for (size_t i = begin; i < end; i++) {
        static _Thread_local counts c;
        atomic_int *wrong = context;
        *wrong += loops_that_are_wrong(&c, 1, 100); /* as member 0 alone */
        c.threads = 4;
        qk_loop(4, 100, count, &c);
        *wrong += c.wrong;
    }
}

static void test_loops_in_loops(void)
{
    atomic_int wrong = 0;
    qk_loop(4, 20, outer, &wrong);
    CHECK_INT(wrong, 0);
}

static qk_status fail_some(void *context, size_t i, int member, qk_error *err)
{
    atomic_int *calls = context;
    (void)member;
    (*calls)++;
    return i % 10 == 7 ? qk_fail(err, QK_ERR_DATA, NULL, "item %zu", i) : QK_OK;
}

static void test_errors(void)
{
    atomic_int calls = 0;
    test_error = (qk_error){0};
    CHECK_INT(qk_loop_try(4, 7, fail_some, &calls, &test_error), QK_OK);
    for (int i = 0; i < 20; i++) {
        CHECK_INT(qk_loop_try(4, 50, fail_some, &calls, &test_error), QK_ERR_DATA);
        CHECK_STR(test_error.message, "item 7");
    }
    CHECK_INT(calls, 7 + 20 * 50);
}

/* ---- several owners, processes, limits ---- */

static void *own_loops(void *context)
{
    counts *c = qk_zalloc(1, sizeof *c);
    atomic_int *wrong = context;
    for (int i = 0; i < 300; i++) *wrong += loops_that_are_wrong(c, 3, (size_t)(i * 7));
    free(c);
    return NULL;
}

static int threads_now(void)
{
    char line[256];
    int n = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f)) sscanf(line, "Threads: %d", &n);
    if (f) fclose(f);
    return n;
}

static void test_several_owners(void)
{
    pthread_t owners[3];
    atomic_int wrong = 0;
    int before = threads_now();
    for (int i = 0; i < 3; i++) CHECK(!pthread_create(&owners[i], NULL, own_loops, &wrong));
    for (int i = 0; i < 3; i++) CHECK(!pthread_join(owners[i], NULL));
    CHECK_INT(wrong, 0);
    /* Their workers have ended with them; the kernel may take a moment to forget a joined one. */
    for (int i = 0; i < 1000 && threads_now() != before; i++) usleep(1000);
    CHECK_INT(threads_now(), before);
}

static void test_after_a_fork(void)
{
    static counts c;
    CHECK_INT(loops_that_are_wrong(&c, 4, 100), 0);
    pid_t child = fork();
    if (!child) {
        int wrong = loops_that_are_wrong(&c, 4, 100);
        _exit(wrong || threads_now() < 2); /* it has workers of its own */
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_INT(status, 0);
    CHECK_INT(loops_that_are_wrong(&c, 4, 100), 0);
}

/* Where no thread starts, the caller does everything. */
static void test_without_workers(void)
{
    static counts c;
    pid_t child = fork();
    if (!child) {
        int alone = threads_now(); /* the thread sanitizer has one of its own */
        setenv("OMP_STACKSIZE", "900000G", 1);
        bool fails = qk_team_start(3, &test_error) == QK_ERR_IO;
        bool wrong = !fails || loops_that_are_wrong(&c, 3, 100);
        /* A loop does not try again, thousands of times in a run; who starts a team does. */
        unsetenv("OMP_STACKSIZE");
        wrong |= loops_that_are_wrong(&c, 3, 100) || threads_now() != alone;
        wrong |= qk_team_start(3, &test_error) != QK_OK || threads_now() < alone + 2;
        _exit(wrong || loops_that_are_wrong(&c, 3, 100));
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_INT(status, 0);
}

/* ---- two devices ---- */

enum { ROWS = 70, IN = 96, OUT = 130, PRODUCTS = 40 };

typedef struct computing {
    int threads;
    float *y; /* [ROWS, OUT] of the last product */
    atomic_int *wrong;
} computing;

static void *multiply(void *context)
{
    computing *c = context;
    const qk_backend *b = qk_backend_find("cpu");
    qk_device_options options = {.compute = QK_F32, .threads = c->threads};
    qk_device *dev;
    qk_tensor x, y;
    qk_matrix *w;
    qk_error err;
    float *values = qk_alloc(OUT * IN, sizeof *values);
    for (size_t i = 0; i < OUT * IN; i++) values[i] = (float)(i * 7919 % 1000) / 997 - 0.5f;
    bool ready = b->open(&options, &dev, &err) == QK_OK &&
                 b->alloc(dev, QK_F32, ROWS, IN, "x", &x, &err) == QK_OK &&
                 b->alloc(dev, QK_F32, ROWS, OUT, "y", &y, &err) == QK_OK &&
                 b->matrix_new(dev, OUT, IN, "w", &w, &err) == QK_OK;
    QK_ASSERT(ready);
    b->matrix_load(dev, w, 0, OUT, values, QK_F32);
    b->upload(dev, x, values, QK_F32);
    for (int i = 0; i < PRODUCTS; i++) {
        float *before = i ? qk_alloc(ROWS * OUT, sizeof *before) : NULL;
        if (before) memcpy(before, c->y, ROWS * OUT * sizeof *before);
        b->matmul(dev, y, x, w, NULL, false);
        b->download(dev, c->y, y);
        if (before && memcmp(before, c->y, ROWS * OUT * sizeof *before) != 0) (*c->wrong)++;
        free(before);
    }
    b->matrix_free(dev, w);
    b->free(dev, &x);
    b->free(dev, &y);
    b->close(dev);
    free(values);
    return NULL;
}

/* As a forward and the thread that reads its next layer have them; the same bits as of one thread. */
static void test_two_devices(void)
{
    atomic_int wrong = 0;
    computing all[3] = {{.threads = 1}, {.threads = 3}, {.threads = 2}};
    pthread_t second;
    for (int i = 0; i < 3; i++) {
        all[i].y = qk_zalloc(ROWS * OUT, sizeof *all[i].y);
        all[i].wrong = &wrong;
    }
    multiply(&all[0]);
    CHECK(!pthread_create(&second, NULL, multiply, &all[1]));
    multiply(&all[2]);
    CHECK(!pthread_join(second, NULL));
    CHECK_INT(wrong, 0);
    for (int i = 1; i < 3; i++) CHECK(!memcmp(all[i].y, all[0].y, ROWS * OUT * sizeof *all[i].y));
    for (int i = 0; i < 3; i++) free(all[i].y);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    snprintf(folder, sizeof folder, "/tmp/qk_team_XXXXXX");
    if (!mkdtemp(folder)) return 1;
    RUN(test_environment);
    RUN(test_quotas);
    RUN(test_each_item_once);
    RUN(test_pauses);
    RUN(test_others_go_on);
    RUN(test_loops_in_loops);
    RUN(test_errors);
    RUN(test_several_owners);
    RUN(test_after_a_fork);
    RUN(test_without_workers);
    RUN(test_two_devices);
    qk_error ignored;
    qk_remove_tree(folder, &ignored);
    return test_summary("team");
}
