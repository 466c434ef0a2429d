/* The pure parts of a push: names of content, request bodies, LFS replies, which files are sent. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "hub/commit_body.h"
#include "hub/lfs.h"
#include "hub/oid.h"
#include "hub/push_files.h"
#include "tests/test.h"

static qk_error err;

/* ---- content ---- */

static void test_content_names(void)
{
    char sha[65], git[41];
    qk_git_hex("", 0, git);
    CHECK_STR(git, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    qk_git_hex("hello\n", 6, git);
    CHECK_STR(git, "ce013625030ba8dba906f756967f9e9ca394464a");
    qk_hash *h = qk_hash_sha256(), *mark = qk_hash_sha256();
    qk_hash_hex(h, sha);
    CHECK_STR(sha, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    qk_hash_add(h, "a", 1);
    qk_hash_copy(mark, h);
    qk_hash_add(h, "xx", 2);
    qk_hash_copy(h, mark); /* a part that is sent again */
    qk_hash_add(h, "bc", 2);
    qk_hash_hex(h, sha);
    CHECK_STR(sha, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    qk_hash_reset(h);
    qk_hash_hex(h, sha);
    CHECK_STR(sha, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    qk_hash_free(h);
    qk_hash_free(mark);
}

static void check_base64(const char *text, const char *expected)
{
    qk_buf out = {0};
    qk_base64_add(&out, text, strlen(text));
    CHECK_STR(qk_buf_str(&out), expected);
    qk_buf_free(&out);
}

/* RFC 4648, section 10. */
static void test_base64(void)
{
    check_base64("", "");
    check_base64("f", "Zg==");
    check_base64("fo", "Zm8=");
    check_base64("foo", "Zm9v");
    check_base64("foob", "Zm9vYg==");
    check_base64("fooba", "Zm9vYmE=");
    check_base64("foobar", "Zm9vYmFy");
    check_base64("\xff\xfb\xbe", "//u+");

    /* What OpenSSL is not given at once has no padding inside. */
    size_t n = (3 << 20) + 4, half = 3 << 10;
    uint8_t *bytes = malloc(n);
    qk_buf whole = {0}, parts = {0};
    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(i * 7 + (i >> 8));
    qk_base64_add(&whole, bytes, n);
    for (size_t at = 0; at < n; at += half)
        qk_base64_add(&parts, bytes + at, n - at < half ? n - at : half);
    CHECK(whole.size == (n + 2) / 3 * 4 && parts.size == whole.size);
    CHECK(!memcmp(whole.data, parts.data, whole.size));
    qk_buf_free(&whole);
    qk_buf_free(&parts);
    free(bytes);
}

/* ---- the commit ---- */

static void test_commit_lines(void)
{
    qk_buf out = {0};
    qk_commit_add_header(&out, "a \"b\"\nc", "0123");
    qk_commit_add_header(&out, "s", NULL);
    qk_commit_add_file(&out, "sp ace/\xc3\xbc.txt", "hi", 2);
    qk_commit_add_lfs(&out, "l00h00q/data.parquet", "00a1", UINT64_C(5000000000));
    qk_commit_add_deletion(&out, "old");
    CHECK_STR(
        qk_buf_str(&out),
        "{\"key\": \"header\", \"value\": {\"summary\": \"a \\\"b\\\"\\nc\", \"description\": "
        "\"\", "
        "\"parentCommit\": \"0123\"}}\n"
        "{\"key\": \"header\", \"value\": {\"summary\": \"s\", \"description\": \"\"}}\n"
        "{\"key\": \"file\", \"value\": {\"content\": \"aGk=\", \"path\": \"sp ace/\xc3\xbc.txt\", "
        "\"encoding\": \"base64\"}}\n"
        "{\"key\": \"lfsFile\", \"value\": {\"path\": \"l00h00q/data.parquet\", \"algo\": "
        "\"sha256\", "
        "\"oid\": \"00a1\", \"size\": 5000000000}}\n"
        "{\"key\": \"deletedFile\", \"value\": {\"path\": \"old\"}}\n");
    qk_buf_free(&out);
}

/* ---- the LFS batch ---- */

static const qk_lfs_object object = {"aa11", 25};

static qk_status parse(const char *reply, qk_lfs_action *action, qk_arena *arena)
{
    qk_buf text = {0};
    qk_buf_add_str(&text, reply);
    qk_status s = qk_lfs_batch_parse(action, &object, 1, &text, arena, &err);
    qk_buf_free(&text);
    return s;
}

/* The reply with this "header" of the upload. */
static qk_status parse_header(const char *header, qk_lfs_action *action, qk_arena *arena)
{
    char *reply = qk_strf("{\"objects\":[{\"oid\":\"aa11\",\"size\":25,\"actions\":{\"upload\":"
                          "{\"href\":\"https://h/c\",\"header\":%s}}}]}",
                          header);
    qk_status s = parse(reply, action, arena);
    free(reply);
    return s;
}

static void test_batch_request(void)
{
    qk_buf body = {0};
    qk_lfs_batch_body(&body, &object, 1, "b/1");
    CHECK_STR(qk_buf_str(&body),
              "{\"operation\": \"upload\", \"transfers\": [\"basic\", \"multipart\"], \"objects\": "
              "[{\"oid\": \"aa11\", \"size\": 25}], \"hash_algo\": \"sha256\", \"ref\": {\"name\": "
              "\"b/1\"}}");
    qk_buf_free(&body);
    char *etags[] = {"\"e1\"", "e2"};
    qk_lfs_complete_body(&body, "aa11", etags, 2);
    CHECK_STR(qk_buf_str(&body), "{\"oid\": \"aa11\", \"parts\": [{\"partNumber\": 1, \"etag\": "
                                 "\"\\\"e1\\\"\"}, {\"partNumber\": 2, \"etag\": \"e2\"}]}");
    qk_buf_free(&body);
    qk_lfs_verify_body(&body, "aa11", 25);
    CHECK_STR(qk_buf_str(&body), "{\"oid\": \"aa11\", \"size\": 25}");
    qk_buf_free(&body);
}

static void test_batch_replies(void)
{
    qk_arena arena = {0};
    qk_lfs_action a;
    CHECK(parse("{\"transfer\":\"basic\",\"objects\":[{\"oid\":\"zz\"},{\"oid\":\"AA11\"}]}", &a,
                &arena) == QK_OK);
    CHECK(!a.upload && !a.verify && !a.chunk);
    CHECK(
        parse("{\"objects\":[{\"oid\":\"aa11\",\"actions\":{\"upload\":{\"href\":\"u\",\"header\":"
              "null},\"verify\":{\"href\":\"v\"}}}]}",
              &a, &arena) == QK_OK);
    CHECK_STR(a.upload, "u");
    CHECK_STR(a.verify, "v");
    CHECK_INT(a.chunk, 0);
    CHECK_INT(parse("{\"transfer\":\"xet\",\"objects\":[]}", &a, &arena), QK_ERR_UNSUPPORTED);
    CHECK_INT(parse("{\"objects\":[]}", &a, &arena), QK_ERR_FORMAT);
    CHECK_INT(parse("{\"objects\":{}}", &a, &arena), QK_ERR_FORMAT);
    CHECK_INT(parse("{\"objects\":[{\"oid\":\"aa11\",\"actions\":{\"upload\":{}}}]}", &a, &arena),
              QK_ERR_FORMAT);
    CHECK_INT(
        parse("{\"objects\":[{\"oid\":\"aa11\",\"error\":{\"code\":422,\"message\":\"no\"}}]}", &a,
              &arena),
        QK_ERR_DATA);
    CHECK(strstr(err.message, "no (code 422)") != NULL);
    CHECK(parse("[", &a, &arena) != QK_OK);
    qk_arena_free(&arena);
}

static void test_multipart_plan(void)
{
    qk_arena arena = {0};
    qk_lfs_action a;
    CHECK(parse_header("{\"00002\":\"two\",\"chunk_size\":\"10\",\"00001\":\"one\",\"00003\":"
                       "\"three\",\"upload_id\":\"x\"}",
                       &a, &arena) == QK_OK);
    CHECK_INT(a.chunk, 10);
    CHECK_INT(a.n_parts, 3);
    CHECK_STR(a.parts[0], "one");
    CHECK_STR(a.parts[2], "three");
    CHECK(parse_header("{\"chunk_size\":25,\"1\":\"u\"}", &a, &arena) == QK_OK);
    CHECK_INT(a.n_parts, 1);
    static const char *const bad[] = {
        "{\"chunk_size\":0}",
        "{\"chunk_size\":\"-5\",\"1\":\"u\"}",
        "{\"chunk_size\":\"ten\",\"1\":\"u\"}",
        "{\"chunk_size\":1.5,\"1\":\"u\"}",
        "{\"chunk_size\":\"99999999999999999999999\",\"1\":\"u\"}",
        "{\"chunk_size\":10,\"1\":\"u\",\"2\":\"u\"}",                          /* too few */
        "{\"chunk_size\":10,\"1\":\"u\",\"2\":\"u\",\"3\":\"u\",\"4\":\"u\"}",  /* too many */
        "{\"chunk_size\":10,\"1\":\"u\",\"01\":\"u\",\"2\":\"u\",\"3\":\"u\"}", /* twice */
        "{\"chunk_size\":10,\"1\":\"u\",\"2\":7,\"3\":\"u\"}",
        "{\"chunk_size\":10,\"0\":\"u\",\"1\":\"u\",\"2\":\"u\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_MSG(parse_header(bad[i], &a, &arena) == QK_ERR_FORMAT, "%s", bad[i]);
    qk_arena_free(&arena);
}

/* ---- files ---- */

static void test_private_names(void)
{
    static const char *const never[] = {
        ".env",   "a/.env",       ".env.local",     ".ENV",
        "token",  ".git/x",       "a/.git/config",  ".cache/huggingface/x",
        "x.tmp",  ".netrc",       ".qkengine/lock", ".sniff_snapshot.json",
        ".envrc", "a.incomplete", "a/stored_tokens"};
    static const char *const always[] = {"README.md", ".gitattributes",       ".gitignore",
                                         "tokens",    "l00h00q/data.parquet", "environment",
                                         "a.env",     "tokenizer.json"};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        CHECK_MSG(qk_push_is_private(never[i]), "%s", never[i]);
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        CHECK_MSG(!qk_push_is_private(always[i]), "%s", always[i]);
}

static char folder[] = "/tmp/qk-push-XXXXXX";

static char *put(const char *name, const char *text)
{
    char *path = qk_path_join(folder, name), *parent = qk_strdup(path);
    *strrchr(parent, '/') = 0;
    CHECK(qk_make_dirs(parent, &err) == QK_OK);
    CHECK(qk_write_file(path, text, strlen(text), &err) == QK_OK);
    free(parent);
    return path;
}

static void remove_all(const qk_push_files *files)
{
    for (size_t i = 0; i < files->count; i++) unlink(files->items[i].path);
    static const char *const rest[] = {"b/.env", "b/link", "b", "z", ""};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
        char *path = qk_path_join(folder, rest[i]);
        remove(path);
        free(path);
    }
}

static void test_scan(void)
{
    CHECK(mkdtemp(folder) != NULL);
    free(put("b/two", "hello\n"));
    free(put("b/.env", "secret"));
    free(put("z/one", ""));
    char *changing = put("a", "abc"), *link = qk_path_join(folder, "b/link");
    CHECK(symlink(changing, link) == 0);
    qk_push_files files = {0}, again = {0};
    CHECK(qk_push_files_scan(&files, folder, NULL, &err) == QK_OK);
    CHECK_INT(files.count, 3);
    CHECK_STR(files.items[0].name, "a");
    CHECK_STR(files.items[1].name, "b/two");
    CHECK(qk_push_files_hash(&files, &err) == QK_OK);
    const qk_push_file *two = qk_push_files_find(&files, "b/two");
    CHECK(two && !strcmp(two->git, "ce013625030ba8dba906f756967f9e9ca394464a"));
    qk_hub_file there = {"b/two", 6, two->git, ""}, large = {"b/two", 6, two->sha256, ""};
    CHECK(qk_push_file_is(two, &there) && qk_push_file_is(two, &large));
    there.size = 7;
    CHECK(!qk_push_file_is(two, &there) && !qk_push_file_is(two, NULL));
    /* A file that is written while it is pushed. */
    int fd;
    CHECK(qk_push_file_open(&files.items[0], &fd, &err) == QK_OK);
    CHECK(qk_push_file_check(&files.items[0], fd, &err) == QK_OK);
    close(fd);
    free(put("a", "abd!"));
    CHECK_INT(qk_push_file_open(&files.items[0], &fd, &err), QK_ERR_RESUME);
    CHECK_INT(fd, -1);
    /* Digests of what did not change are kept. */
    CHECK(qk_push_files_scan(&again, folder, &files, &err) == QK_OK);
    CHECK(!again.items[0].hashed && again.items[1].hashed && again.items[2].hashed);
    CHECK(qk_push_files_put(&again, "b/two", changing, &err) == QK_OK);
    CHECK_INT(again.count, 3);
    CHECK_STR(qk_push_files_find(&again, "b/two")->path, changing);
    CHECK(!qk_push_files_find(&again, "b/two")->hashed);
    remove_all(&files);
    qk_push_files_free(&files);
    qk_push_files_free(&again);
    free(changing);
    free(link);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_content_names);
    RUN(test_base64);
    RUN(test_commit_lines);
    RUN(test_batch_request);
    RUN(test_batch_replies);
    RUN(test_multipart_plan);
    RUN(test_private_names);
    RUN(test_scan);
    return test_summary("hub push");
}
