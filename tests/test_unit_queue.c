/* engine/capture/unit_queue: order, a full queue, failures, dropping, and the bytes of units that pass
 * through it. A gate that the test opens holds the writer at a job. */
#include "tests/test.h"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/capture/unit_file.h"
#include "engine/capture/unit_queue.h"

/* ---- jobs ---- */

enum { MOST = 64 };

typedef struct note {
    int number;
    qk_status fails;
} note;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool open_gate, reached;
static int order[MOST], ran; /* what ran, in its order; read when all have ended */
static note notes[MOST];

static qk_status write_note(void *context, qk_error *err)
{
    const note *n = context;
    order[ran++] = n->number;
    if (n->fails == QK_OK) return QK_OK;
    return qk_fail(err, n->fails, "a hint", "job %d failed", n->number);
}

static qk_status wait_at_gate(void *context, qk_error *err)
{
    (void)err;
    pthread_mutex_lock(&lock);
    reached = true;
    pthread_cond_broadcast(&changed);
    while (!open_gate) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    return write_note(context, err);
}

static void open_the_gate(void)
{
    pthread_mutex_lock(&lock);
    open_gate = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static const int unit_a, unit_b;

static int64_t put(qk_unit_queue *q, int number, qk_status fails, const void *unit)
{
    notes[number] = (note){number, fails};
    qk_unit_job job = {write_note, &notes[number], unit};
    return qk_unit_queue_put(q, &job);
}

/* A queue whose writer stands at the gate, in job 1. */
static qk_unit_queue *held(void)
{
    qk_unit_queue *q;
    QK_ASSERT(qk_unit_queue_new(&q, &test_error) == QK_OK);
    ran = 0;
    open_gate = reached = false;
    notes[0] = (note){0, QK_OK};
    qk_unit_job job = {wait_at_gate, &notes[0], &unit_a};
    CHECK_INT(qk_unit_queue_put(q, &job), 1);
    pthread_mutex_lock(&lock);
    while (!reached) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    return q;
}

/* ---- tests ---- */

static void test_order(void)
{
    qk_unit_queue *q;
    QK_ASSERT(qk_unit_queue_new(&q, &test_error) == QK_OK);
    ran = 0;
    for (int i = 0; i < MOST; i++) CHECK_INT(put(q, i, QK_OK, &unit_a), i + 1);
    qk_unit_queue_wait(q, MOST);
    CHECK(qk_unit_queue_ended(q, MOST) && !qk_unit_queue_ended(q, MOST + 1));
    CHECK_INT(ran, MOST);
    for (int i = 0; i < MOST; i++) CHECK_INT(order[i], i);
    CHECK_INT(qk_unit_queue_check(q, &test_error), QK_OK);
    qk_unit_queue_free(q);
    qk_unit_queue_free(NULL);
}

/* What is still waiting at the end is done. */
static void test_free_finishes(void)
{
    qk_unit_queue *q = held();
    for (int i = 1; i <= QK_UNIT_QUEUE_JOBS; i++) put(q, i, QK_OK, &unit_a);
    open_the_gate();
    qk_unit_queue_free(q);
    CHECK_INT(ran, QK_UNIT_QUEUE_JOBS + 1);
}

static bool put_returned;

static void *put_one_more(void *q)
{
    put(q, QK_UNIT_QUEUE_JOBS + 1, QK_OK, &unit_a);
    pthread_mutex_lock(&lock);
    put_returned = true;
    CHECK(open_gate); /* not before the writer went on */
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void test_full(void)
{
    qk_unit_queue *q = held();
    pthread_t other;
    for (int i = 1; i <= QK_UNIT_QUEUE_JOBS; i++) put(q, i, QK_OK, &unit_a);
    CHECK(!qk_unit_queue_ended(q, 1));
    QK_ASSERT(pthread_create(&other, NULL, put_one_more, q) == 0);
    usleep(1000); /* for it to wait; a queue that does not hold it fails its check */
    open_the_gate();
    pthread_join(other, NULL);
    CHECK(put_returned);
    qk_unit_queue_free(q);
    CHECK_INT(ran, QK_UNIT_QUEUE_JOBS + 2);
    for (int i = 0; i < ran; i++) CHECK_INT(order[i], i);
}

/* The first failure is the one that is told, at every call, and nothing runs behind it. */
static void test_failure(void)
{
    qk_unit_queue *q = held();
    qk_error err = {0};
    put(q, 1, QK_OK, &unit_a);
    put(q, 2, QK_ERR_DATA, &unit_a);
    put(q, 3, QK_ERR_IO, &unit_a);
    int64_t last = put(q, 4, QK_OK, &unit_b);
    CHECK_INT(qk_unit_queue_check(q, &err), QK_OK);
    open_the_gate();
    qk_unit_queue_wait(q, last);
    CHECK_INT(ran, 3);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(qk_unit_queue_check(q, &err), QK_ERR_DATA);
        CHECK_STR(err.message, "job 2 failed");
    }
    last = put(q, 5, QK_OK, &unit_b);
    qk_unit_queue_wait(q, last);
    CHECK_INT(ran, 3);
    qk_unit_queue_free(q);
}

static void *open_later(void *nothing)
{
    usleep(1000);
    open_the_gate();
    return nothing;
}

/* Only what has not begun, and only of that unit. */
static void test_drop(void)
{
    qk_unit_queue *q = held();
    pthread_t other;
    put(q, 1, QK_OK, &unit_b);
    put(q, 2, QK_ERR_DATA, &unit_a);
    put(q, 3, QK_OK, &unit_b);
    QK_ASSERT(pthread_create(&other, NULL, open_later, NULL) == 0);
    qk_unit_queue_drop(q, &unit_a);
    CHECK(qk_unit_queue_ended(q, 4));
    CHECK_INT(ran, 3);
    CHECK(order[0] == 0 && order[1] == 1 && order[2] == 3);
    CHECK_INT(qk_unit_queue_check(q, &test_error), QK_OK);
    pthread_join(other, NULL);
    put(q, 4, QK_OK, &unit_a); /* a later unit may have the same address */
    qk_unit_queue_free(q);
    CHECK_INT(ran, 4);
}

/* Sanitizers end the program where memory is short. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define SANITIZED true
#elif defined __has_feature
#define SANITIZED (__has_feature(thread_sanitizer) || __has_feature(address_sanitizer))
#else
#define SANITIZED false
#endif

static void test_no_thread(void)
{
    if (SANITIZED) SKIP("memory cannot be limited under a sanitizer");
    struct rlimit old, none;
    qk_unit_queue *q = (qk_unit_queue *)&old;
    QK_ASSERT(getrlimit(RLIMIT_AS, &old) == 0);
    none = (struct rlimit){1 << 20, old.rlim_max};
    free(qk_alloc(1 << 16, 1)); /* memory for all but the stack */
    QK_ASSERT(setrlimit(RLIMIT_AS, &none) == 0);
    qk_status s = qk_unit_queue_new(&q, &test_error);
    QK_ASSERT(setrlimit(RLIMIT_AS, &old) == 0);
    CHECK(s != QK_OK && !q);
    CHECK_MSG(strstr(test_error.message, "thread"), "%s", test_error.message);
}

/* ---- units ---- */

static char folder[] = "/tmp/qk_test_unit_queue_XXXXXX";

typedef struct block {
    qk_unit_writer *unit;
    int32_t ints[3];
    float vectors[6];
} block;

static qk_status write_block(void *context, qk_error *err)
{
    const block *b = context;
    static const int32_t head;
    const qk_unit_rows rows = {.layer = b->ints[0],
                               .kind = QK_KIND_Q,
                               .heads = &head,
                               .n_heads = 1,
                               .rows = 3,
                               .tokens = b->ints,
                               .positions = b->ints,
                               .buckets = b->ints,
                               .examples = b->ints,
                               .vectors = b->vectors};
    return qk_unit_add_rows(b->unit, &rows, err);
}

static qk_status commit(void *context, qk_error *err)
{
    block *b = context;
    qk_unit_writer *unit = b->unit;
    b->unit = NULL;
    return qk_unit_commit(unit, err);
}

enum { UNITS = 5, BLOCKS = 20 };

static char *name_of(char *name, size_t n, const char *kind, int unit)
{
    snprintf(name, n, "%s/%s-%d.qku", folder, kind, unit);
    return name;
}

/* Several units, by the queue and without it. */
static void write_units(qk_unit_queue *q, const char *kind, qk_status wanted)
{
    static block blocks[UNITS][BLOCKS + 1];
    const qk_unit_stamp stamp = {.identity = "i", .numerics = "n"};
    int64_t last = 0;
    for (int u = 0; u < UNITS; u++) {
        char path[128], tmp[140];
        qk_unit_writer *w;
        name_of(path, sizeof path, kind, u);
        snprintf(tmp, sizeof tmp, "%s.tmp", path);
        QK_ASSERT(qk_unit_create(&w, path, tmp, &stamp, 2, &test_error) == QK_OK);
        for (int i = 0; i <= BLOCKS; i++) {
            block *b = &blocks[u][i];
            *b = (block){.unit = w, .ints = {i, u, i + u}};
            for (int k = 0; k < 6; k++) b->vectors[k] = (float)(u * 100 + i * 6 + k);
            const qk_unit_job job = {i < BLOCKS ? write_block : commit, b, w};
            if (q)
                last = qk_unit_queue_put(q, &job);
            else
                CHECK_INT(job.run(b, &test_error), QK_OK);
        }
    }
    if (!q) return;
    qk_unit_queue_wait(q, last);
    CHECK_INT(qk_unit_queue_check(q, &test_error), wanted);
    for (int u = 0; u < UNITS; u++) qk_unit_abort(blocks[u][BLOCKS].unit);
}

static void test_bytes(void)
{
    qk_unit_queue *q;
    QK_ASSERT(qk_unit_queue_new(&q, &test_error) == QK_OK);
    write_units(q, "behind", QK_OK);
    write_units(NULL, "direct", QK_OK);
    for (int u = 0; u < UNITS; u++) {
        char name[128];
        qk_buf have = {0}, want = {0};
        name_of(name, sizeof name, "behind", u);
        CHECK_INT(qk_read_file(&have, name, 1 << 20, &test_error), QK_OK);
        unlink(name);
        name_of(name, sizeof name, "direct", u);
        CHECK_INT(qk_read_file(&want, name, 1 << 20, &test_error), QK_OK);
        unlink(name);
        CHECK(have.size == want.size && have.size > BLOCKS * 72);
        CHECK(have.size == want.size && !memcmp(have.data, want.data, have.size));
        qk_buf_free(&have);
        qk_buf_free(&want);
    }
    qk_unit_queue_free(q);
}

/* A folder stands where the first unit should come to lie: its rename fails, and no unit is left. */
static void test_commit_fails(void)
{
    char taken[128];
    qk_unit_queue *q;
    qk_names left;
    QK_ASSERT(qk_unit_queue_new(&q, &test_error) == QK_OK);
    QK_ASSERT(qk_make_dirs(name_of(taken, sizeof taken, "taken", 0), &test_error) == QK_OK);
    write_units(q, "taken", QK_ERR_IO);
    CHECK_MSG(strstr(test_error.message, "taken-0.qku"), "%s", test_error.message);
    qk_unit_queue_free(q);
    CHECK_INT(qk_list_dir(folder, &left, &test_error), QK_OK);
    CHECK_INT(left.count, 1);
    qk_names_free(&left);
    rmdir(taken);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    if (!mkdtemp(folder)) return 1;
    RUN(test_no_thread); /* first: stacks of threads that have ended are used again */
    RUN(test_order);
    RUN(test_free_finishes);
    RUN(test_full);
    RUN(test_failure);
    RUN(test_drop);
    RUN(test_bytes);
    RUN(test_commit_fails);
    rmdir(folder);
    return test_summary("unit_queue");
}
