/* The parts of hub/ that need no network: names, URLs, redaction, waits, settings. */
#include "tests/test.h"

#include <unistd.h>

#include "engine/base/file.h"
#include "hub/endpoint.h"
#include "hub/retry.h"
#include "hub/url.h"

static void test_repo_ids(void)
{
    static const char *const good[] = {"gpt2", "a/b", "Qwen/Qwen3-0.6B", "o_x/y.z", "a-b/c_d"};
    static const char *const bad[] = {"",       "a/b/c", "a--b/c", "a/..",  "../a", "a/b.git",
                                      "/a",     "a/",    "a b/c",  "a/-b",  "a/b-", "a/.b",
                                      "a/b%2f", "a\n/b", "a@/b",   "a..b/c"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK_MSG(qk_check_repo(good[i], &test_error) == QK_OK, "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_MSG(qk_check_repo(bad[i], &test_error) == QK_ERR_CONFIG, "%s", bad[i]);
    CHECK(qk_looks_like_repo("a/b"));
    CHECK(!qk_looks_like_repo("gpt2") && !qk_looks_like_repo("./a/b") &&
          !qk_looks_like_repo("a/b/c"));
}

static void test_revisions(void)
{
    static const char *const good[] = {"main", "b/1", "refs/pr/1", "v1.0",
                                       "0123456789abcdef0123456789abcdef01234567"};
    static const char *const bad[] = {"",     "../x",  "/a",   "a/",     "a//b",
                                      "a..b", "a@{1}", "a b",  "a.lock", "a\nb",
                                      "-x",   ".x",    "a/.b", "a\\b",   "\xff\xfe"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK_MSG(qk_check_revision(good[i], &test_error) == QK_OK, "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_MSG(qk_check_revision(bad[i], &test_error) == QK_ERR_CONFIG, "%s", bad[i]);
}

static void test_file_names(void)
{
    static const char *const good[] = {
        "README.md", "a/b/c.txt", ".gitattributes", "sp ace/\xC3\xBC+#%.txt", "a..b", "..."};
    static const char *const bad[] = {"",     "/etc/passwd", "../x", "a/../b", "a/..",
                                      "a//b", "./a",         "a/.",  "a\\b",   "..\\x",
                                      "C:x",  "a/C:/b",      "a\nb", "a\x7f",  "\xC0\xAF",
                                      "a/",   "\\\\host\\x"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK_MSG(qk_check_file_name(good[i], &test_error) == QK_OK, "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_MSG(qk_check_file_name(bad[i], &test_error) == QK_ERR_DATA, "%s", bad[i]);
    char *segment = malloc(300);
    memset(segment, 'a', 299);
    segment[299] = 0;
    CHECK(qk_check_file_name(segment, &test_error) == QK_ERR_DATA);
    segment[255] = 0;
    CHECK(qk_check_file_name(segment, &test_error) == QK_OK);
    free(segment);
    char *path = malloc(5001);
    for (int i = 0; i < 5000; i++) path[i] = i % 2 ? '/' : 'a';
    path[4999] = 0;
    CHECK(qk_check_file_name(path, &test_error) == QK_ERR_DATA);
    free(path);
}

static void test_digests(void)
{
    CHECK(qk_is_digest("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"));
    CHECK(!qk_is_digest("E69de29bb2d1d6434b8b29ae775ad8c2e48c5391"));
    CHECK(!qk_is_digest("..") && !qk_is_digest("") && !qk_is_digest("e69de29b/../../x"));
}

static void check_quoted(const char *text, bool slash, const char *expected)
{
    qk_buf out = {0};
    qk_url_quote(&out, text, slash);
    CHECK_STR(qk_buf_str(&out), expected);
    qk_buf_free(&out);
}

static void test_quoting(void)
{
    check_quoted("b/1", false, "b%2F1");
    check_quoted("refs/pr/1", false, "refs%2Fpr%2F1");
    check_quoted("sp ace/\xC3\xBC+#%.txt", true, "sp%20ace/%C3%BC%2B%23%25.txt");
    check_quoted("Az09_.-~", false, "Az09_.-~");
}

static void test_origins(void)
{
    CHECK(qk_url_same_origin("https://huggingface.co/a?b", "HTTPS://HuggingFace.co:443/c"));
    CHECK(!qk_url_same_origin("https://huggingface.co", "http://huggingface.co"));
    CHECK(!qk_url_same_origin("https://huggingface.co", "https://huggingface.co.evil.com"));
    CHECK(!qk_url_same_origin("https://huggingface.co", "https://cdn.huggingface.co"));
    CHECK(!qk_url_same_origin("http://127.0.0.1:1", "http://127.0.0.1:2"));
    CHECK(!qk_url_same_origin("https://huggingface.co", "https://huggingface.co@evil.com"));
    CHECK(!qk_url_same_origin("nonsense://x", "nonsense://x"));
    CHECK(qk_url_is_loopback("http://127.0.0.1:8080/x") && qk_url_is_loopback("http://localhost"));
    CHECK(qk_url_is_loopback("http://[::1]:80/"));
    CHECK(!qk_url_is_loopback("http://127.evil.com/") && !qk_url_is_loopback("http://10.0.0.1/"));
}

static void check_follow(const char *base, const char *location, const char *expected)
{
    char *out = NULL;
    qk_status s = qk_url_follow(&out, base, location, &test_error);
    if (expected)
        CHECK_STR(out, expected);
    else
        CHECK_MSG(s == QK_ERR_FORMAT && !out, "%s gave %s", location, out ? out : "nothing");
    free(out);
}

static void test_redirect_targets(void)
{
    const char *base = "https://hub.test/a/b?c=d";
    check_follow(base, "/x?y=%20z", "https://hub.test/x?y=%20z");
    check_follow(base, "x", "https://hub.test/a/x");
    check_follow(base, "https://cdn.test/y", "https://cdn.test/y");
    check_follow(base, "//evil.test/y", "https://evil.test/y");
    check_follow(base, "http://hub.test/a", NULL);
    check_follow(base, "file:///etc/passwd", NULL);
    check_follow(base, "ftp://x/y", NULL);
    check_follow(base, "javascript:alert(1)", NULL);
    check_follow(base, "https://user:pw@hub.test/a", NULL);
    check_follow("http://hub.test/", "https://hub.test/", "https://hub.test/");
}

static void check_redacted(const char *text, const char *token, const char *expected)
{
    char *copy = strdup(text);
    qk_redact(copy, token);
    CHECK_STR(copy, expected);
    free(copy);
}

static void test_redaction(void)
{
    check_redacted("a hf_abcdefghijklmnop b", NULL, "a *** b");
    check_redacted("api_org_abcdefghijklmnop", NULL, "***");
    check_redacted("Authorization: Bearer x y\nz", NULL, "Authorization:***\nz");
    check_redacted("got 'Bearer abc.def' there", NULL, "got 'Bearer ***' there");
    check_redacted("https://s3/x?X-Amz-Signature=1&b=2 end", NULL, "https://s3/x?*** end");
    check_redacted("my secret-token-1 is secret-token-1", "secret-token-1", "my *** is ***");
    check_redacted("hf_repo_id stays, nothing secret", NULL, "hf_repo_id stays, nothing secret");
    char *shown = qk_url_shown("https://u:p@h/x?Signature=abc#f");
    CHECK_STR(shown, "https://h/x");
    free(shown);
}

static void check_next(const char *link, const char *expected)
{
    char *next = qk_link_next(link);
    if (expected)
        CHECK_STR(next, expected);
    else
        CHECK(!next);
    free(next);
}

static void test_link_header(void)
{
    check_next("<https://h/t?cursor=a,b>; rel=\"next\"", "https://h/t?cursor=a,b");
    check_next("<https://h/1>; rel=\"prev\", <https://h/2>; rel=next", "https://h/2");
    check_next("<https://h/1>; title=\"a, <x>; rel=next\"; rel=prev", NULL);
    check_next("</rel>; x=y; rel=\"next\"", "/rel");
    check_next("<https://h/1>; nofollowrel=next", NULL);
    check_next("", NULL);
    check_next("<unclosed; rel=next", NULL);
}

static void test_waits(void)
{
    static const double expected[] = {1, 2, 4, 8, 8};
    qk_retry r = {.random = 7};
    double seconds;
    for (int i = 0; i < 5; i++) {
        CHECK(qk_retry_next(&r, -1, &seconds));
        CHECK_MSG(seconds >= 0.8 * expected[i] && seconds <= 1.2 * expected[i], "%g", seconds);
    }
    CHECK(!qk_retry_next(&r, -1, &seconds));
    r = (qk_retry){.random = 7};
    CHECK(qk_retry_next(&r, 60, &seconds) && seconds >= 60 && seconds <= 66);
    CHECK(!qk_retry_next(&r, 3600, &seconds));
    for (int i = 0; i < 4; i++) {
        r.failures = 0;
        bool fits = qk_retry_next(&r, 300, &seconds);
        CHECK(fits == (i < 2)); /* 15 minutes in all */
    }
    /* Pauses of our own and those that a server asks for are counted apart; progress clears both.
     */
    r = (qk_retry){.random = 7};
    for (int round = 0; round < 3; round++, qk_retry_progress(&r)) {
        for (int i = 0; i < 5; i++)
            CHECK(qk_retry_next(&r, -1, &seconds) && qk_retry_next(&r, 60, &seconds));
        CHECK(!qk_retry_next(&r, -1, &seconds) && !qk_retry_next(&r, 60, &seconds));
    }
}

static void test_asked_waits(void)
{
    CHECK_CLOSE(qk_retry_asked(429, "\"api\";r=0;t=55", NULL), 56, 0);
    CHECK_CLOSE(qk_retry_asked(429, "\"api\";r=3;t=55", NULL), -1, 0);
    CHECK_CLOSE(qk_retry_asked(429, "\"api\";r=0;t=55", "7"), 56, 0);
    CHECK_CLOSE(qk_retry_asked(503, "\"api\";r=0;t=55", "7"), 8, 0);
    CHECK_CLOSE(qk_retry_asked(429, NULL, "120"), 121, 0);
    CHECK_CLOSE(qk_retry_asked(429, NULL, "Wed, 21 Oct 2026 07:28:00 GMT"), -1, 0);
    CHECK_CLOSE(qk_retry_asked(429, "garbage;;r=;t", "-5"), -1, 0);
    CHECK_CLOSE(qk_retry_asked(200, NULL, "7"), -1, 0);
    CHECK(qk_retry_status(429) && qk_retry_status(504) && !qk_retry_status(404));
}

/* ---- settings ---- */

static char folder[] = "/tmp/qkengine-hub-XXXXXX";

static void clean_environment(void)
{
    static const char *const names[] = {"HF_ENDPOINT",
                                        "HF_TOKEN",
                                        "HUGGING_FACE_HUB_TOKEN",
                                        "HF_HUB_CACHE",
                                        "HUGGINGFACE_HUB_CACHE",
                                        "HF_HUB_OFFLINE",
                                        "TRANSFORMERS_OFFLINE",
                                        "HF_TOKEN_PATH",
                                        "HF_HUB_DISABLE_IMPLICIT_TOKEN",
                                        "XDG_CACHE_HOME"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unsetenv(names[i]);
    setenv("HF_HOME", folder, 1);
}

static void write_text(const char *name, const char *text)
{
    char *path = qk_path_join(folder, name);
    CHECK(qk_write_file(path, text, strlen(text), &test_error) == QK_OK);
    free(path);
}

static void check_token(const char *given, const char *expected)
{
    qk_hub hub;
    CHECK(qk_hub_open(&hub, given, &test_error) == QK_OK);
    if (expected)
        CHECK_STR(hub.token, expected);
    else
        CHECK(!hub.token);
    qk_hub_close(&hub);
}

static void test_tokens(void)
{
    clean_environment();
    check_token(NULL, NULL);
    write_text("token", "  hf_file\r\n");
    check_token(NULL, "hf_file");
    write_text(".env", "# c\nexport HF_TOKEN='hf_dotenv' # x\nHF_ENDPOINT=http://evil\n");
    check_token(NULL, "hf_dotenv");
    setenv("HUGGING_FACE_HUB_TOKEN", "hf_old", 1);
    setenv("HF_TOKEN", "", 1); /* .env does not override, and empty falls through */
    check_token(NULL, "hf_old");
    setenv("HF_TOKEN", "hf_new\n", 1);
    check_token(NULL, "hf_new");
    check_token("hf_given", "hf_given");
    setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "yes", 1);
    check_token(NULL, NULL);
    unsetenv("HF_HUB_DISABLE_IMPLICIT_TOKEN");
    setenv("HF_TOKEN", "hf_a b", 1);
    qk_hub hub;
    CHECK(qk_hub_open(&hub, NULL, &test_error) == QK_ERR_CONFIG);
    CHECK(!strstr(test_error.message, "hf_a"));
    unlink(".env");
    clean_environment();
}

static void test_settings(void)
{
    qk_hub hub;
    clean_environment();
    setenv("HF_ENDPOINT", "http://127.0.0.1:1/", 1);
    setenv("TRANSFORMERS_OFFLINE", "true", 1);
    setenv("QK_TEST_DIR", "/q", 1);
    setenv("HF_HUB_CACHE", "$QK_TEST_DIR/${QK_TEST_DIR}x", 1);
    CHECK(qk_hub_open(&hub, NULL, &test_error) == QK_OK);
    CHECK_STR(hub.endpoint, "http://127.0.0.1:1");
    CHECK_STR(hub.cache, "/q//qx");
    CHECK(hub.offline && !hub.no_links);
    char *url = qk_hub_resolve_url(&hub, QK_REPO_DATASET, "a/b", "b/1", "x y/z");
    CHECK_STR(url, "http://127.0.0.1:1/datasets/a/b/resolve/b%2F1/x%20y/z");
    free(url);
    url = qk_hub_fix_url(&hub, "https://huggingface.co/api/x");
    CHECK_STR(url, "http://127.0.0.1:1/api/x");
    free(url);
    url = qk_hub_fix_url(&hub, "https://huggingface.com/api/x");
    CHECK_STR(url, "https://huggingface.com/api/x");
    free(url);
    qk_hub_close(&hub);
    static const char *const bad[] = {"ftp://x", "huggingface.co", "https://u:p@h",
                                      "https://h?x=1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("HF_ENDPOINT", bad[i], 1);
        CHECK_MSG(qk_hub_open(&hub, NULL, &test_error) == QK_ERR_CONFIG, "%s", bad[i]);
    }
    clean_environment();
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    if (!mkdtemp(folder) || chdir(folder)) return 1;
    RUN(test_repo_ids);
    RUN(test_revisions);
    RUN(test_file_names);
    RUN(test_digests);
    RUN(test_quoting);
    RUN(test_origins);
    RUN(test_redirect_targets);
    RUN(test_redaction);
    RUN(test_link_header);
    RUN(test_waits);
    RUN(test_asked_waits);
    RUN(test_tokens);
    RUN(test_settings);
    return test_summary("hub names");
}
