/* The test harness: CHECK counts, never aborts, and main returns the number of failures.
 *
 *   static void test_addition(void) { CHECK(1 + 1 == 2); CHECK_INT(1 + 1, 2); }
 *   int main(void) { RUN(test_addition); return test_summary("arithmetic"); }
 *
 * A test whose inputs are absent (../shared) calls SKIP("why") and is printed loudly.
 * The last line of every test program is "name: N passed, N failed, N skipped". */
#pragma once

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"

__attribute__((unused)) static int test_failed_checks, test_passed, test_failed, test_skipped;
__attribute__((unused)) static bool test_is_skipped;
__attribute__((unused)) static long test_checks; /* made, in all tests */
/* Sanitizers take ten times as long: what only repeats itself does so less often with them. */
#ifdef __SANITIZE_ADDRESS__
enum { TEST_SHARE = 10 };
#else
enum { TEST_SHARE = 1 };
#endif
/* For calls whose message does not matter here. */
__attribute__((unused)) static qk_error test_error;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        test_checks++;                                                                             \
        if (!(condition)) {                                                                        \
            printf("  %s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                       \
            test_failed_checks++;                                                                  \
        }                                                                                          \
    } while (0)

/* CHECK with a printf-style explanation. */
#define CHECK_MSG(condition, ...)                                                                  \
    do {                                                                                           \
        test_checks++;                                                                             \
        if (!(condition)) {                                                                        \
            printf("  %s:%d: failed: %s: ", __FILE__, __LINE__, #condition);                       \
            printf(__VA_ARGS__);                                                                   \
            putchar('\n');                                                                         \
            test_failed_checks++;                                                                  \
        }                                                                                          \
    } while (0)

#define CHECK_INT(actual, expected)                                                                \
    do {                                                                                           \
        int64_t a_ = (int64_t)(actual), e_ = (int64_t)(expected);                                  \
        CHECK_MSG(a_ == e_, "got %" PRId64 ", expected %" PRId64, a_, e_);                         \
    } while (0)

#define CHECK_STR(actual, expected)                                                                \
    do {                                                                                           \
        const char *a_ = (actual), *e_ = (expected);                                               \
        CHECK_MSG(a_ && !strcmp(a_, e_), "got \"%s\", expected \"%s\"", a_ ? a_ : "(null)", e_);   \
    } while (0)

/* Fails for NaN too, whichever side it is on: the comparison must be true, not "not false". */
#define CHECK_CLOSE(actual, expected, tolerance)                                                   \
    do {                                                                                           \
        double a_ = (actual), e_ = (expected), t_ = (tolerance);                                   \
        CHECK_MSG(fabs(a_ - e_) <= t_, "got %.9g, expected %.9g within %.3g", a_, e_, t_);         \
    } while (0)

#define SKIP(...)                                                                                  \
    do {                                                                                           \
        printf("  SKIPPED: ");                                                                     \
        printf(__VA_ARGS__);                                                                       \
        putchar('\n');                                                                             \
        test_is_skipped = true;                                                                    \
        return;                                                                                    \
    } while (0)

#define RUN(function)                                                                              \
    do {                                                                                           \
        test_failed_checks = 0;                                                                    \
        test_is_skipped = false;                                                                   \
        function();                                                                                \
        if (test_failed_checks) {                                                                  \
            printf("FAIL %s (%d checks)\n", #function, test_failed_checks);                        \
            test_failed++;                                                                         \
        } else if (test_is_skipped) {                                                              \
            test_skipped++;                                                                        \
        } else {                                                                                   \
            test_passed++;                                                                         \
        }                                                                                          \
    } while (0)

static inline int test_summary(const char *name)
{
    printf("%ld checks\n", test_checks);
    printf("%s: %d passed, %d failed, %d skipped\n", name, test_passed, test_failed, test_skipped);
    return test_failed ? 1 : 0;
}

static inline bool test_has_file(const char *path)
{
    bool has;
    CHECK(qk_has_file(path, &has, &test_error) == QK_OK);
    return has;
}

static inline bool test_has_folder(const char *path)
{
    bool has;
    CHECK(qk_has_folder(path, &has, &test_error) == QK_OK);
    return has;
}

static inline int64_t test_file_size(const char *path)
{
    uint64_t bytes = 0;
    CHECK(qk_file_size(path, &bytes, &test_error) == QK_OK);
    return (int64_t)bytes;
}

/* "<shared>/golden/..." in a fresh string, or NULL when the goldens are not beside this checkout.
 * QK_SHARED names another place for them. */
static inline char *test_golden(const char *name)
{
    const char *shared = getenv("QK_SHARED");
    size_t room = strlen(name) + (shared ? strlen(shared) : 0) + 64;
    char *path = malloc(room);
    snprintf(path, room, "%s/golden/%s", shared ? shared : "../shared", name);
    FILE *probe = fopen(path, "rb");
    if (probe) {
        fclose(probe);
        return path;
    }
    free(path);
    return NULL;
}
