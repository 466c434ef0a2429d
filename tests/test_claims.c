/* engine/staging/claims and engine/staging/staging between processes: a unit has one holder, death gives it back,
 * what happens between two system calls is noticed, files made once are made once. */
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/staging/claims.h"
#include "engine/staging/holder.h"
#include "formats/sealed.h"

static char folder[64];
static qk_staging staging;

/* flock and link of this program: what another process does just before them, or their failure. */
static void (*before_flock)(void), (*before_link)(void);
static int flock_fails, link_fails;

int flock(int fd, int operation)
{
    void (*hook)(void) = before_flock;
    before_flock = NULL;
    if (hook) hook();
    errno = flock_fails;
    return flock_fails ? -1 : (int)syscall(SYS_flock, fd, operation);
}

int link(const char *from, const char *to)
{
    void (*hook)(void) = before_link;
    before_link = NULL;
    if (hook) hook();
    errno = link_fails;
    return link_fails ? -1 : (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

static void put(const char *name, const char *text)
{
    char *path = qk_path_join(folder, name);
    CHECK_INT(qk_write_file(path, text, strlen(text), &test_error), QK_OK);
    free(path);
}

static bool is_there(const char *name)
{
    char *path = qk_path_join(folder, name);
    bool there = test_has_file(path);
    free(path);
    return there;
}

static void drop_file(const char *name)
{
    char *path = qk_path_join(folder, name);
    CHECK_INT(unlink(path), 0);
    free(path);
}

static size_t count_files(void)
{
    qk_names names;
    CHECK_INT(qk_list_dir(folder, &names, &test_error), QK_OK);
    size_t n = names.count;
    qk_names_free(&names);
    return n;
}

static qk_claim_state take(qk_claim *c, int64_t unit)
{
    qk_claim_state state = QK_CLAIM_BUSY;
    CHECK_INT(qk_claim_take(c, &staging, unit, &state, &test_error), QK_OK);
    return state;
}

/* The state that another process finds. */
static qk_claim_state state_elsewhere(int64_t unit)
{
    pid_t child = fork();
    if (!child) {
        qk_claim c;
        _exit((int)take(&c, unit));
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
    return (qk_claim_state)WEXITSTATUS(status);
}

static void test_one_holder(void)
{
    qk_claim c, again;
    CHECK_INT(take(&c, 3), QK_CLAIM_MINE);
    CHECK(is_there("unit-000003.claim"));
    CHECK_INT(state_elsewhere(3), QK_CLAIM_BUSY);
    CHECK_INT(take(&again, 3), QK_CLAIM_BUSY);
    CHECK(again.fd == -1 && is_there("unit-000003.claim"));
    CHECK_INT(state_elsewhere(4), QK_CLAIM_MINE);
    qk_claim_drop(&c);
    CHECK(!is_there("unit-000003.claim"));
    CHECK_INT(state_elsewhere(3), QK_CLAIM_MINE); /* and dies with it */
    CHECK_INT(take(&c, 3), QK_CLAIM_MINE);
    put("unit-000003.qku", "");
    qk_claim_drop(&c);
    CHECK_INT(take(&c, 3), QK_CLAIM_DONE);
    CHECK(!is_there("unit-000003.claim"));
    drop_file("unit-000003.qku");
    drop_file("unit-000004.claim");
}

/* A process that is killed leaves its claim and its file: both are taken over. */
static void test_killed_holder(void)
{
    int ready[2];
    char byte;
    CHECK_INT(pipe(ready), 0);
    pid_t child = fork();
    if (!child) {
        qk_claim c;
        bool mine = take(&c, 7) == QK_CLAIM_MINE;
        int fd = open(c.tmp, O_CREAT | O_WRONLY, 0666);
        if (mine && fd >= 0 && write(ready[1], "x", 1) == 1) pause();
        _exit(1);
    }
    CHECK_INT(read(ready[0], &byte, 1), 1);
    CHECK_INT(count_files(), 3); /* lock, claim, half a unit */
    qk_claim c;
    CHECK_INT(take(&c, 7), QK_CLAIM_BUSY);
    kill(child, SIGSTOP); /* one that stands still is alive */
    CHECK_INT(take(&c, 7), QK_CLAIM_BUSY);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    CHECK_INT(take(&c, 7), QK_CLAIM_MINE);
    CHECK_INT(count_files(), 2);
    qk_claim_drop(&c);
    CHECK_INT(count_files(), 1);
    close(ready[0]), close(ready[1]);
}

static int64_t holders(int64_t index, int64_t of)
{
    return qk_claims_holders(&staging, (qk_shard){index, of});
}

/* Each process once, however many claims it has; of the shard only, and only while it lives. */
static void test_holders(void)
{
    int ready[2];
    char byte;
    qk_claim a, b;
    CHECK_INT(holders(0, 1), 0);
    CHECK_INT(take(&a, 2), QK_CLAIM_MINE);
    CHECK_INT(take(&b, 3), QK_CLAIM_MINE);
    CHECK_INT(holders(0, 1), 1);
    CHECK_INT(pipe(ready), 0);
    pid_t child = fork();
    if (!child) {
        qk_claim c;
        close(a.fd), close(b.fd);
        if (take(&c, 6) == QK_CLAIM_MINE && write(ready[1], "x", 1) == 1) pause();
        _exit(1);
    }
    CHECK_INT(read(ready[0], &byte, 1), 1);
    CHECK_INT(holders(0, 1), 2);
    CHECK_INT(holders(0, 2), 2);
    CHECK_INT(holders(1, 2), 1);
    CHECK_INT(state_elsewhere(6), QK_CLAIM_BUSY); /* who counts takes nothing */
    put("unit-000001.claim", "0123456789abcdef"); /* nobody's, and one of an older program */
    put("unit-000001.claims", "");
    CHECK_INT(holders(0, 1), 2);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    CHECK_INT(holders(0, 1), 1);
    qk_claim_drop(&a);
    qk_claim_drop(&b);
    CHECK_INT(holders(0, 1), 0);
    drop_file("unit-000001.claim");
    drop_file("unit-000001.claims");
    drop_file("unit-000006.claim");
    close(ready[0]), close(ready[1]);
}

static bool is_free(int64_t unit)
{
    bool answer = false;
    CHECK_INT(qk_claim_is_free(&staging, unit, &answer, &test_error), QK_OK);
    return answer;
}

/* Who asks takes nothing and leaves nothing. */
static void test_is_free(void)
{
    qk_claim c;
    CHECK(is_free(3));
    CHECK_INT(count_files(), 1);
    CHECK_INT(take(&c, 3), QK_CLAIM_MINE);
    CHECK(!is_free(3) && is_free(4));
    CHECK_INT(state_elsewhere(3), QK_CLAIM_BUSY);
    qk_claim_drop(&c);
    CHECK_INT(state_elsewhere(3), QK_CLAIM_MINE); /* a process that died: its claim lies there */
    CHECK(is_there("unit-000003.claim") && is_free(3));
    CHECK(is_there("unit-000003.claim"));
    put("unit-000003.qku", "");
    CHECK(!is_free(3));
    drop_file("unit-000003.qku");
    drop_file("unit-000003.claim");
    char *path = qk_path_join(folder, "unit-000003.claim");
    bool answer = true;
    CHECK_INT(mkfifo(path, 0666), 0);
    CHECK_INT(qk_claim_is_free(&staging, 3, &answer, &test_error), QK_ERR_DATA);
    unlink(path);
    put("unit-000003.claim", "");
    flock_fails = ENOLCK;
    CHECK_INT(qk_claim_is_free(&staging, 3, &answer, &test_error), QK_ERR_UNSUPPORTED);
    flock_fails = 0;
    unlink(path);
    free(path);
}

static size_t read_claim(char *out, size_t capacity)
{
    char *path = qk_path_join(folder, "unit-000003.claim");
    size_t n = 0;
    int fd = open(path, O_RDONLY);
    CHECK_INT(qk_read_at_start(fd, out, capacity, &n, path, &test_error), QK_OK);
    close(fd);
    free(path);
    return n;
}

/* A claim says who has it; whoever takes it over says so, behind whatever stood there. */
static void test_who_holds(void)
{
    char text[6000];
    int ready[2];
    char byte;
    qk_claim c;
    qk_holder h;
    setenv("SLURM_JOB_ID", "71", 1);
    setenv("RANK", "3", 1);
    setenv("WORLD_SIZE", "8", 1);
    memset(text, 'x', 5000);
    text[5000] = 0;
    put("unit-000003.claim", text);
    CHECK_INT(pipe(ready), 0);
    pid_t child = fork();
    if (!child) {
        if (take(&c, 3) == QK_CLAIM_MINE && write(ready[1], "x", 1) == 1) pause();
        _exit(1);
    }
    CHECK_INT(read(ready[0], &byte, 1), 1);
    close(ready[0]), close(ready[1]);
    size_t n = read_claim(text, sizeof text);
    CHECK_INT(n, 5000);
    CHECK(qk_holder_read(&h, text, n) && h.pid == child && h.rank == 3 && h.world == 8);
    CHECK(!strcmp(h.job, "71") && *h.host && h.since > 1e9);
    CHECK_INT(qk_holder_look(&h), QK_HOLDER_WORKS);
    kill(child, SIGSTOP);
    for (int i = 0; i < 20000 && qk_holder_look(&h) != QK_HOLDER_STOPPED; i++) usleep(1000);
    CHECK_INT(qk_holder_look(&h), QK_HOLDER_STOPPED);
    kill(child, SIGKILL);
    for (int i = 0; i < 20000 && qk_holder_look(&h) != QK_HOLDER_GONE; i++) usleep(1000);
    CHECK_INT(qk_holder_look(&h), QK_HOLDER_GONE); /* a zombie */
    waitpid(child, NULL, 0);
    CHECK_INT(qk_holder_look(&h), QK_HOLDER_GONE);
    /* Another process that has its number by now; another boot or container. */
    h.pid = getpid();
    h.started = 1; /* not now: the two may have begun in one tick of the clock, or in two */
    CHECK_INT(qk_holder_look(&h), QK_HOLDER_GONE);
    h.machine[0] ^= 1;
    CHECK_INT(qk_holder_look(&h), QK_HOLDER_ELSEWHERE);

    unsetenv("SLURM_JOB_ID"), unsetenv("RANK"), unsetenv("WORLD_SIZE");
    CHECK_INT(take(&c, 3), QK_CLAIM_MINE);
    n = read_claim(text, sizeof text);
    CHECK(qk_holder_read(&h, text, n) && h.pid == getpid() && !h.world && !*h.job);
    CHECK_INT(qk_holder_look(&h), QK_HOLDER_WORKS);
    /* A program of before wrote the digits alone, over another's. */
    memset(text, 'a', 32);
    CHECK(!qk_holder_read(&h, text, n));
    CHECK(!qk_holder_read(&h, text, 32) && !qk_holder_read(&h, text, 5));
    qk_claim_drop(&c);
    CHECK_INT(count_files(), 1);
}

/* ---- between two system calls ---- */

static void finish_unit(void)
{
    put("unit-000005.qku", "");
    drop_file("unit-000005.claim");
}

static void give_unit_back(void)
{
    drop_file("unit-000005.claim");
}

static void test_what_happens_before_the_lock(void)
{
    qk_claim c;
    before_flock = finish_unit;
    CHECK_INT(take(&c, 5), QK_CLAIM_DONE);
    drop_file("unit-000005.qku");

    before_flock = give_unit_back;
    CHECK_INT(take(&c, 5), QK_CLAIM_MINE);
    CHECK_INT(state_elsewhere(5), QK_CLAIM_BUSY); /* the lock is on the file of that name */
    qk_claim_drop(&c);
    CHECK_INT(count_files(), 1);
}

static void finish_quietly(void)
{
    put("unit-000005.qku", "");
}

/* Finished, but the holder died before it removed its claim. */
static void test_second_look(void)
{
    qk_claim c;
    before_flock = finish_quietly;
    CHECK_INT(take(&c, 5), QK_CLAIM_DONE);
    CHECK(!is_there("unit-000005.claim"));
    drop_file("unit-000005.qku");
}

static void test_no_locks(void)
{
    static const int codes[] = {ENOTSUP, ENOLCK, ENOSYS};
    qk_claim c;
    qk_claim_state state;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        flock_fails = codes[i];
        CHECK_INT(qk_claim_take(&c, &staging, 5, &state, &test_error), QK_ERR_UNSUPPORTED);
        CHECK(strstr(test_error.message, "has no locks") && strstr(test_error.hint, "--shard"));
        flock_fails = 0;
        CHECK_INT(c.fd, -1);
        drop_file("unit-000005.claim");
    }
}

/* ---- many processes ---- */

enum { WORKERS = 4, UNITS = 150, SECONDS = 60 };

/* Takes units in turn, gives some back and finishes the others, until all are finished; the status
 * is 1 when two held one, or one was done twice. */
static int worker(unsigned seed)
{
    alarm(SECONDS);
    for (int left = UNITS; left;) {
        left = 0;
        for (int64_t u = 0; u < UNITS; u++) {
            qk_claim c;
            qk_claim_state state = take(&c, u);
            left += state != QK_CLAIM_DONE;
            if (state != QK_CLAIM_MINE) continue;
            char *mark = qk_strf("%s/holder-%d", folder, (int)u);
            int fd = open(mark, O_CREAT | O_EXCL | O_WRONLY, 0666);
            if (fd < 0) return 1;
            close(fd);
            bool finish = rand_r(&seed) % 3 == 0;
            int unit = finish ? open(c.unit, O_CREAT | O_EXCL | O_WRONLY, 0666) : -1;
            if (finish && unit < 0) return 1;
            if (finish) close(unit);
            unlink(mark);
            free(mark);
            qk_claim_drop(&c);
        }
    }
    return test_failed_checks != 0;
}

static void test_many_processes(void)
{
    pid_t children[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++)
        if (!(children[i] = fork())) _exit(worker(i + 1));
    for (int i = 0; i < WORKERS; i++) {
        int status = -1;
        waitpid(children[i], &status, 0);
        CHECK_MSG(WIFEXITED(status) && !WEXITSTATUS(status), "worker %d: status %x", i,
                  (unsigned)status);
    }
    qk_units finished;
    CHECK_INT(qk_staging_finished(&staging, &finished, &test_error), QK_OK);
    CHECK_INT(finished.count, UNITS);
    qk_units_free(&finished);
    CHECK_INT(count_files(), UNITS + 1);
    CHECK_INT(qk_staging_clear(&staging, &test_error), QK_OK);
    CHECK_INT(count_files(), 1);
}

static void test_left(void)
{
    qk_claim busy;
    qk_left left;
    put("unit-000000.qku", "");
    put("unit-000004.qku", "");
    put("unit-1000000.qku", "");
    CHECK_INT(take(&busy, 1), QK_CLAIM_MINE);
    CHECK_INT(qk_claims_left(&left, &staging, (qk_shard){0, 1}, 6, &test_error), QK_OK);
    CHECK(left.missing == 4 && left.free == 3 && left.last_free == 5);
    CHECK(left.busy.count == 1 && left.busy.items[0] == 1);
    qk_left_free(&left);
    CHECK_INT(qk_claims_left(&left, &staging, (qk_shard){1, 2}, 6, &test_error), QK_OK);
    CHECK(left.missing == 4 && left.free == 2 && left.last_free == 5 && left.busy.count == 1);
    qk_left_free(&left);
    CHECK_INT(qk_claims_left(&left, &staging, (qk_shard){2, 3}, 6, &test_error), QK_OK);
    CHECK(left.missing == 4 && left.free == 2 && left.last_free == 5 && left.busy.count == 0);
    qk_left_free(&left);
    /* A number that no dataset has takes no longer. */
    int64_t many = 1LL << 40;
    CHECK_INT(qk_claims_left(&left, &staging, (qk_shard){2, 4}, many, &test_error), QK_OK);
    CHECK_INT(left.missing, many - 3);
    CHECK(left.free == (many - 2 + 3) / 4 && left.last_free % 4 == 2 && left.last_free > many - 5);
    qk_left_free(&left);
    qk_claim_drop(&busy);
    /* What was not made here stays. */
    static const char *const strangers[] = {"unit-00001.qku", "unit-000001.qku.tmp",
                                            "unit-x.claim",   "identity.json.0123.tmp",
                                            "notes",          "units.json.bak"};
    for (size_t i = 0; i < 6; i++) put(strangers[i], "");
    put("unit-000002.qku.0123456789abcdef.tmp", "");
    put("identity.json.0123456789abcdef.tmp", "");
    CHECK_INT(qk_staging_clear(&staging, &test_error), QK_OK);
    CHECK_INT(count_files(), 7);
    for (size_t i = 0; i < 6; i++) drop_file(strangers[i]);
}

/* ---- the folder's own lock, and what is noted once ---- */

static bool try_elsewhere(qk_hold how)
{
    pid_t child = fork();
    if (!child) {
        qk_staging other;
        bool held;
        qk_status s = qk_staging_open(&other, folder, &test_error);
        _exit(s == QK_OK && qk_staging_hold(&other, how, &held, &test_error) == QK_OK && held);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WEXITSTATUS(status) == 1;
}

static void test_hold(void)
{
    bool held = false;
    CHECK_INT(qk_staging_hold(&staging, QK_HOLD_SHARED, &held, &test_error), QK_OK);
    CHECK(held && try_elsewhere(QK_HOLD_SHARED) && !try_elsewhere(QK_HOLD_ALONE));
    CHECK_INT(qk_staging_hold(&staging, QK_HOLD_ALONE, &held, &test_error), QK_OK);
    CHECK(held && !try_elsewhere(QK_HOLD_SHARED) && !try_elsewhere(QK_HOLD_ALONE));
    qk_staging second;
    CHECK_INT(qk_staging_open_alone(&second, folder, &test_error), QK_ERR_CONFIG);
    CHECK(strstr(test_error.message, "another run is working here") != NULL);
    CHECK_INT(qk_staging_open(&second, folder, &test_error), QK_OK);
    CHECK_INT(qk_staging_hold(&second, QK_HOLD_SHARED, &held, &test_error), QK_OK);
    CHECK(!held);
    qk_staging_release(&staging);
    CHECK_INT(qk_staging_hold(&second, QK_HOLD_SHARED, &held, &test_error), QK_OK);
    CHECK(held);
    /* Refused, and nothing is held any more. */
    CHECK_INT(qk_staging_hold(&staging, QK_HOLD_SHARED, &held, &test_error), QK_OK);
    CHECK_INT(qk_staging_hold(&staging, QK_HOLD_ALONE, &held, &test_error), QK_OK);
    CHECK(!held);
    CHECK_INT(qk_staging_hold(&second, QK_HOLD_ALONE, &held, &test_error), QK_OK);
    CHECK(held);
    qk_staging_close(&second);
}

/* Of several that note something at once one wins, and all know which. */
static void test_noted_once(void)
{
    for (int round = 0; round < 2; round++) {
        link_fails = round ? EPERM : 0; /* a file system without links */
        pid_t children[WORKERS];
        for (int i = 0; i < WORKERS; i++)
            if (!(children[i] = fork())) {
                char *mine = qk_strf("cpu %d", i), *noted = NULL;
                bool ok = qk_staging_set_numerics(&staging, mine, &test_error) == QK_OK &&
                          qk_staging_numerics(&staging, &noted, &test_error) == QK_OK && noted;
                _exit(ok ? noted[4] : 1);
            }
        int first = 0;
        for (int i = 0; i < WORKERS; i++) {
            int status = 0;
            waitpid(children[i], &status, 0);
            if (!i) first = WEXITSTATUS(status);
            CHECK(first >= '0' && first < '0' + WORKERS && WEXITSTATUS(status) == first);
        }
        CHECK_INT(count_files(), 2);
        drop_file("arithmetic");
    }
    link_fails = 0;
    CHECK_INT(qk_staging_set_units(&staging, 5, &test_error), QK_OK);
    CHECK_INT(qk_staging_set_units(&staging, 5, &test_error), QK_OK);
    CHECK_INT(qk_staging_set_units(&staging, 6, &test_error), QK_ERR_DATA);
    CHECK(strstr(test_error.message, "says 5 units") != NULL);
    drop_file("units.json");
}

static void test_last_merge(void)
{
    char none[17], first[17], second[17];
    qk_staging other;
    CHECK_INT(qk_staging_last_merge(&staging, none, &test_error), QK_OK);
    CHECK_STR(none, "");
    CHECK_INT(qk_staging_note_merge(&staging, &test_error), QK_OK);
    CHECK_INT(qk_staging_last_merge(&staging, first, &test_error), QK_OK);
    CHECK_INT(qk_staging_note_merge(&staging, &test_error), QK_OK);
    CHECK_INT(qk_staging_open(&other, folder, &test_error), QK_OK);
    CHECK_INT(qk_staging_last_merge(&other, second, &test_error), QK_OK);
    CHECK(strlen(first) == 16 && strlen(second) == 16 && strcmp(first, second) != 0);
    char changed = (char)(second[0] ^ 1);
    CHECK_INT(pwrite(other.lock, &changed, 1, 0), 1);
    CHECK_INT(qk_staging_last_merge(&other, second, &test_error), QK_OK);
    CHECK_STR(second, "");
    qk_staging_close(&other);
    other = staging; /* a lock that cannot be read is no lock without a mark */
    other.lock = open(folder, O_RDONLY | O_DIRECTORY);
    CHECK_INT(qk_staging_last_merge(&other, second, &test_error), QK_ERR_IO);
    close(other.lock);
}

static void bind_to_another_run(void)
{
    char *path = qk_path_join(folder, "identity.json");
    CHECK_INT(qk_sealed_create(path, "{\"rate\": 3}", 11, &test_error), QK_OK);
    free(path);
}

static bool is_bound(void)
{
    bool bound;
    CHECK_INT(qk_staging_is_bound(&staging, &bound, &test_error), QK_OK);
    return bound;
}

static bool is_of(const qk_identity *id)
{
    bool same;
    CHECK_INT(qk_staging_is_of(&staging, id, &same, &test_error), QK_OK);
    return same;
}

/* Of two runs that come at the same moment one gets the folder, and the other one is told. */
static void test_bound_once(void)
{
    qk_arena arena = {0};
    qk_identity id = {.text = "{\"rate\": 8}"};
    bool held;
    qk_staging second;
    CHECK_INT(qk_json_parse(&arena, id.text, strlen(id.text), "id", &id.tree, &test_error), QK_OK);
    CHECK(!is_bound() && !is_of(&id));
    before_link = bind_to_another_run;
    CHECK_INT(qk_staging_bind(&staging, &id, &test_error), QK_ERR_CONFIG);
    CHECK(strstr(test_error.message, "unfinished units of another run; rate: 3 then, 8 now"));
    CHECK(before_link == NULL && is_bound() && !is_of(&id));
    CHECK_INT(qk_staging_open(&second, folder, &test_error), QK_OK);
    CHECK_INT(qk_staging_hold(&second, QK_HOLD_SHARED, &held, &test_error), QK_OK);
    CHECK_INT(qk_staging_bind(&staging, &id, &test_error), QK_ERR_CONFIG);
    CHECK(strstr(test_error.message, "a run with other settings is working here; rate: 3 then"));
    qk_staging_close(&second);
    drop_file("identity.json");
    CHECK_INT(qk_staging_bind(&staging, &id, &test_error), QK_OK);
    CHECK_INT(qk_staging_bind(&staging, &id, &test_error), QK_OK);
    CHECK(is_of(&id));
    drop_file("identity.json");
    CHECK_INT(count_files(), 1);
    qk_arena_free(&arena);
}

/* Held alone: what the dead left goes, what is damaged goes with a warning, the rest stays. */
static void test_mend(void)
{
    static const char *const left[] = {"unit-000001.claim", "unit-000001.qku.0123456789abcdef.tmp",
                                       "units.json.0123456789abcdef.tmp", "commit.json.tmp"};
    for (size_t i = 0; i < 4; i++) put(left[i], "");
    put("unit-000001.qku", "");
    put("notes", "");
    CHECK_INT(qk_staging_set_units(&staging, 5, &test_error), QK_OK);
    CHECK_INT(qk_staging_set_commit(&staging, "abc", &test_error), QK_OK);
    put("arithmetic", "cpu amx");
    put("identity.json", "{}");
    bool bound = false;
    CHECK(qk_staging_is_bound(&staging, &bound, &test_error) == QK_OK && bound);
    char *name = NULL;
    CHECK_INT(qk_staging_numerics(&staging, &name, &test_error), QK_ERR_DAMAGED);
    CHECK(!name && strstr(test_error.message, "arithmetic: is damaged"));
    CHECK_INT(qk_staging_mend(&staging, &test_error), QK_OK);
    CHECK_INT(count_files(), 5); /* the lock, the unit, notes, units.json, dataset_commit */
    CHECK_INT(qk_staging_numerics(&staging, &name, &test_error), QK_OK);
    CHECK(!name && qk_staging_is_bound(&staging, &bound, &test_error) == QK_OK && !bound);
    int64_t units = 0;
    CHECK_INT(qk_staging_units(&staging, &units, &test_error), QK_OK);
    CHECK_INT(units, 5);
    drop_file("notes");
    CHECK_INT(qk_staging_clear(&staging, &test_error), QK_OK);
    CHECK_INT(count_files(), 1);
}

/* A number of units that is none is no empty dataset. */
static void test_units_are_a_number(void)
{
    static const char *const texts[] = {"",
                                        "{}",
                                        "[]",
                                        "{\"units\": \"4\"}",
                                        "{\"units\": -1}",
                                        "{\"units\": 4.5}",
                                        "{\"units\": null}",
                                        "{\"units\": 1e30}"};
    char *path = qk_path_join(folder, "units.json");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int64_t units = 0;
        CHECK_INT(qk_sealed_write(path, texts[i], strlen(texts[i]), &test_error), QK_OK);
        CHECK(qk_staging_units(&staging, &units, &test_error) != QK_OK && units == -1);
        CHECK_MSG(strstr(test_error.message, "units.json") != NULL, "%s", test_error.message);
    }
    unlink(path);
    CHECK_INT(mkfifo(path, 0666), 0);
    int64_t units;
    CHECK_INT(qk_staging_units(&staging, &units, &test_error), QK_ERR_DATA);
    unlink(path);
    free(path);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    snprintf(folder, sizeof folder, "/tmp/qk_claims_XXXXXX");
    if (!mkdtemp(folder) || qk_staging_open(&staging, folder, &test_error) != QK_OK) return 1;
    RUN(test_one_holder);
    RUN(test_killed_holder);
    RUN(test_holders);
    RUN(test_is_free);
    RUN(test_who_holds);
    RUN(test_what_happens_before_the_lock);
    RUN(test_second_look);
    RUN(test_no_locks);
    RUN(test_many_processes);
    RUN(test_left);
    RUN(test_hold);
    RUN(test_noted_once);
    RUN(test_last_merge);
    RUN(test_bound_once);
    RUN(test_mend);
    RUN(test_units_are_a_number);
    qk_staging_close(&staging);
    char *lock = qk_path_join(folder, "lock");
    unlink(lock);
    free(lock);
    rmdir(folder);
    return test_summary("claims");
}
