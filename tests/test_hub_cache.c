/* The parts of pulling that need no server: the cache's layout, listings, digests, patterns. */
#include "tests/test.h"

#include <time.h>
#include <unistd.h>

#include "engine/base/digest_note.h"
#include "hub/cache.h"
#include "hub/content.h"
#include "hub/match.h"
#include "hub/oid.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"

static char folder[] = "/tmp/qk_hub_XXXXXX";

static void test_patterns(void)
{
    static const struct {
        const char *pattern, *path;
        bool matches;
    } cases[] = {
        {"*", "a/b/.c", true},
        {"**/*", "a", false},
        {"**/*", "a/b", true},
        {"*.json", "a/b.json", true},
        {"*.json", "a/b.jsonl", false},
        {"a?c", "abc", true},
        {"a?c",
         "a\xC3\xBC"
         "c",
         true},
        {"a?c", "ac", false},
        {"[a-c]x", "bx", true},
        {"[!a-c]x", "bx", false},
        {"[!a-c]x", "dx", true},
        {"[]]x", "]x", true},
        {"[x", "[x", true},
        {"a*b*c", "a1b2b3c", true},
        {"a*b*c", "a1b2b3", false},
        {"", "", true},
        {"", "a", false},
        {"a", "", false},
        {"*", "", true},
        {"A", "a", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_MSG(qk_path_matches(cases[i].pattern, cases[i].path) == cases[i].matches, "%s %s",
                  cases[i].pattern, cases[i].path);
}

static bool digest_is(const char *text, size_t n, const char *digest)
{
    qk_hub_file file = {.path = "x", .size = n, .digest = digest};
    qk_hash *d = qk_oid_begin(&file);
    qk_hash_add(d, text, n);
    bool same = qk_oid_is(d, &file);
    qk_hash_free(d);
    return same;
}

/* Of `git hash-object` and `sha256sum`. */
static void test_digests(void)
{
    CHECK(digest_is("", 0, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"));
    CHECK(digest_is("hello\n", 6, "ce013625030ba8dba906f756967f9e9ca394464a"));
    CHECK(digest_is("hello\n", 6,
                    "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"));
    CHECK(!digest_is("hellO\n", 6, "ce013625030ba8dba906f756967f9e9ca394464a"));
}

static char *read_text(const char *path)
{
    qk_buf text = {0};
    CHECK(qk_read_file(&text, path, 1 << 20, &test_error) == QK_OK);
    qk_buf_str(&text);
    return (char *)text.data;
}

static bool has(const qk_cache *c, const qk_hub_file *file, uint64_t size)
{
    bool found;
    CHECK(qk_cache_has(c, file->path, size, &found, &test_error) == QK_OK);
    return found;
}

static bool has_blob(const qk_cache *c, const qk_hub_file *file)
{
    bool found;
    CHECK(qk_cache_has_blob(c, file, &found, &test_error) == QK_OK);
    return found;
}

/* A first try that failed leaves nothing open that the second one would take for prepared. */
static void test_prepared_at_the_second_try(void)
{
    qk_hub hub = {.cache = folder};
    qk_repo repo = {QK_REPO_MODEL, "me/twice", "main"};
    qk_hub_file file = {"c.txt", 6, "ce013625030ba8dba906f756967f9e9ca394464a", ""};
    qk_cache c;
    qk_cache_open(&c, &hub, &repo);
    qk_cache_set_commit(&c, COMMIT);
    char *blobs = qk_path_join(c.folder, "blobs");
    CHECK(qk_make_dirs(c.folder, &test_error) == QK_OK);
    CHECK(qk_write_file(blobs, "", 0, &test_error) == QK_OK);
    for (int i = 0; i < 2; i++) {
        CHECK(qk_cache_prepare(&c, &test_error) == QK_ERR_IO);
        CHECK_MSG(strstr(test_error.message, "/blobs: a link or a file stands where"), "%s",
                  test_error.message);
        CHECK(c.root < 0 && c.blobs < 0);
    }
    CHECK(qk_remove_file(blobs, &test_error) == QK_OK);
    CHECK(qk_cache_prepare(&c, &test_error) == QK_OK && !has_blob(&c, &file));
    free(blobs);
    qk_cache_close(&c);
}

static void test_layout(void)
{
    qk_hub hub = {.cache = folder};
    qk_repo repo = {QK_REPO_DATASET, "me/my.data", "b/1"};
    qk_cache c;
    char commit[72], target[256] = "";
    qk_cache_open(&c, &hub, &repo);
    CHECK(qk_cache_read_ref(&c, "b/1", commit, &test_error) == QK_OK && !*commit);
    CHECK(qk_cache_read_ref(&c, COMMIT, commit, &test_error) == QK_OK);
    CHECK_STR(commit, COMMIT);
    qk_cache_set_commit(&c, COMMIT);
    CHECK(qk_cache_prepare(&c, &test_error) == QK_OK);
    CHECK(qk_cache_write_ref(&c, "b/1", &test_error) == QK_OK);
    char *path = qk_strf("%s/datasets--me--my.data/refs/b/1", folder);
    char *text = read_text(path);
    CHECK_STR(text, COMMIT);
    CHECK(qk_cache_read_ref(&c, "b/1", commit, &test_error) == QK_OK && *commit);

    qk_hub_file file = {"a/b/c.txt", 6, "ce013625030ba8dba906f756967f9e9ca394464a", ""};
    int fd;
    CHECK(!has(&c, &file, file.size) && !has_blob(&c, &file));
    CHECK(qk_cache_open_partial(&c, file.digest, &fd, &test_error) == QK_OK);
    CHECK(write(fd, "hello\n", 6) == 6);
    close(fd);
    CHECK(qk_cache_install(&c, &file, &test_error) == QK_OK);
    CHECK(has(&c, &file, 6) && !has(&c, &file, 7));
    CHECK(has_blob(&c, &file));
    char *link = qk_path_join(c.snapshot, file.path);
    CHECK(readlink(link, target, sizeof target - 1) > 0);
    CHECK_STR(target, "../../../../blobs/ce013625030ba8dba906f756967f9e9ca394464a");
    qk_cache_note_absent(&c, "x/y");
    free(path);
    path = qk_strf("%s/datasets--me--my.data/.no_exist/" COMMIT "/x/y", folder);
    CHECK_INT(test_file_size(path), 0);
    free(link);
    free(path);
    free(text);
    qk_cache_close(&c);
}

/* A content that is not what its name says goes, with its blob; a right one and one that another
 * process makes stay. */
static void test_wrong_content(void)
{
    qk_hub hub = {.cache = folder};
    qk_repo repo = {QK_REPO_MODEL, "me/rot", "main"};
    qk_hub_file file = {"c.txt", 6, "ce013625030ba8dba906f756967f9e9ca394464a", ""};
    qk_cache c;
    int fd, lock;
    bool right, busy;
    qk_file_state seen;
    qk_cache_open(&c, &hub, &repo);
    qk_cache_set_commit(&c, COMMIT);
    CHECK(qk_cache_prepare(&c, &test_error) == QK_OK);
    CHECK(qk_cache_open_partial(&c, file.digest, &fd, &test_error) == QK_OK);
    CHECK(write(fd, "hello\n", 6) == 6);
    CHECK(qk_cache_install(&c, &file, &test_error) == QK_OK);
    char *path = qk_path_join(c.snapshot, file.path);
    CHECK(qk_content_check(&hub, path, &file, &right, &seen, &test_error) == QK_OK && right);
    qk_hub_file unknown = {"c.txt", UINT64_MAX, "", ""},
                any = {"c.txt", UINT64_MAX, file.digest, ""};
    CHECK(qk_content_check(&hub, path, &any, &right, &seen, &test_error) == QK_OK && right);
    CHECK(pwrite(fd, "H", 1, 0) == 1);
    CHECK(qk_content_check(&hub, path, &unknown, &right, &seen, &test_error) == QK_OK && right);
    CHECK(qk_content_check(&hub, path, &any, &right, &seen, &test_error) == QK_OK && !right);
    CHECK(qk_content_check(&hub, path, &file, &right, &seen, &test_error) == QK_OK && !right);
    CHECK(qk_cache_lock(&c, file.digest, &lock, &busy, &test_error) == QK_OK && !busy);
    CHECK(qk_cache_drop(&c, &file, &seen, &busy, &test_error) == QK_OK && busy);
    CHECK(has(&c, &file, 6) && has_blob(&c, &file));
    close(lock);
    /* It became another one since: somebody has mended it. */
    qk_file_state before = seen;
    before.inode++;
    CHECK(qk_cache_drop(&c, &file, &before, &busy, &test_error) == QK_OK && !busy);
    CHECK(has(&c, &file, 6) && has_blob(&c, &file));
    CHECK(qk_cache_drop(&c, &file, &seen, &busy, &test_error) == QK_OK && !busy);
    CHECK(!has(&c, &file, 6) && !has_blob(&c, &file));
    CHECK(qk_content_check(&hub, path, &file, &right, &seen, &test_error) == QK_ERR_NOTFOUND);
    close(fd);
    free(path);
    qk_cache_close(&c);
}

/* A digest is noted for a file as it is; of one that was changed a moment ago, none. */
static void test_digest_notes(void)
{
    static const char sha[] = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    char *notes = qk_path_join(folder, "notes"), hex[72];
    const char *outer = getenv("QKENGINE_CACHE");
    char *kept = outer ? qk_strdup(outer) : NULL;
    setenv("QKENGINE_CACHE", notes, 1);
    const int64_t second = 1000000000, now = (int64_t)time(NULL) * second;
    qk_file_state file = {1, 2, 3, now, now};
    qk_digest_note_leave(&file, sha);
    file.modified = file.changed = now - 60 * second;
    CHECK(!qk_digest_note_find(&file, QK_DIGEST_SHA256, hex));
    qk_digest_note_leave(&file, sha);
    CHECK(qk_digest_note_find(&file, QK_DIGEST_SHA256, hex));
    CHECK_STR(hex, sha);
    CHECK(!qk_digest_note_find(&file, QK_DIGEST_GIT, hex));
    qk_file_state others[] = {file, file, file, file, file};
    others[0].size++, others[1].modified++, others[2].changed++, others[3].inode++;
    others[4].device++;
    for (size_t i = 0; i < 5; i++)
        CHECK_MSG(!qk_digest_note_find(&others[i], QK_DIGEST_SHA256, hex), "%zu", i);
    setenv("QKENGINE_CACHE", "off", 1);
    CHECK(!qk_digest_note_find(&file, QK_DIGEST_SHA256, hex));
    kept ? setenv("QKENGINE_CACHE", kept, 1) : unsetenv("QKENGINE_CACHE");
    free(notes);
    free(kept);
}

static void test_locks(void)
{
    qk_hub hub = {.cache = folder};
    qk_repo repo = {QK_REPO_MODEL, "me/m", "main"};
    qk_cache c;
    int first, second;
    bool busy;
    qk_cache_open(&c, &hub, &repo);
    CHECK(qk_cache_lock(&c, "abc", &first, &busy, &test_error) == QK_OK && !busy);
    CHECK(qk_cache_lock(&c, "abc", &second, &busy, &test_error) == QK_OK && busy && second < 0);
    close(first);
    CHECK(qk_cache_lock(&c, "abc", &second, &busy, &test_error) == QK_OK && !busy);
    close(second);
    char *path = qk_strf("%s/.locks/models--me--m/abc.lock", folder);
    CHECK(test_has_file(path));
    free(path);
    qk_cache_close(&c);
}

static void test_listing_file(void)
{
    qk_hub_listing l = {0}, again;
    qk_hub_file files[] = {{"a/\"b\".bin", 5,
                            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
                            "ce013625030ba8dba906f756967f9e9ca394464a"},
                           {"c", 6, "ce013625030ba8dba906f756967f9e9ca394464a",
                            "ce013625030ba8dba906f756967f9e9ca394464a"}};
    l.files = files;
    l.count = 2;
    qk_buf text;
    qk_hub_listing_json(&l, &text);
    char *path = qk_path_join(folder, "trees.json");
    CHECK(qk_write_file(path, text.data, text.size, &test_error) == QK_OK);
    CHECK(qk_hub_listing_read(&again, path, &test_error) == QK_OK);
    CHECK_INT(again.count, 2);
    for (size_t i = 0; i < again.count && i < 2; i++) {
        CHECK_STR(again.files[i].path, files[i].path);
        CHECK_STR(again.files[i].digest, files[i].digest);
        CHECK_INT(again.files[i].size, files[i].size);
    }
    qk_hub_listing_free(&again);
    static const char *const bad[] = {
        "{}",
        "[]",
        "{\"format_version\":2,\"files\":{}}",
        "{\"format_version\":1,\"files\":[]}",
        "{\"format_version\":1,\"files\":{\"../x\":{\"size\":1,\"blob_id\":"
        "\"ce013625030ba8dba906f756967f9e9ca394464a\"}}}",
        "{\"format_version\":1,\"files\":{\"x\":{\"size\":1,\"blob_id\":\"../y\"}}}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(qk_write_file(path, bad[i], strlen(bad[i]), &test_error) == QK_OK);
        CHECK_MSG(qk_hub_listing_read(&again, path, &test_error) != QK_OK, "%s", bad[i]);
    }
    free(path);
    qk_buf_free(&text);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    if (!mkdtemp(folder)) return 1;
    RUN(test_patterns);
    RUN(test_digests);
    RUN(test_layout);
    RUN(test_prepared_at_the_second_try);
    RUN(test_wrong_content);
    RUN(test_digest_notes);
    RUN(test_locks);
    RUN(test_listing_file);
    return test_summary("hub cache");
}
