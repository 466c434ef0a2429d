/* The test harness: CHECK counts, never aborts, and main returns the number of failures.
 *
 *   static void test_addition(void) { CHECK(1 + 1 == 2); CHECK_INT(1 + 1, 2); }
 *   int main(int argc, char **argv)
 *   {
 *       test_begin(argc, argv, "");
 *       RUN(test_addition);
 *       return test_summary("arithmetic");
 *   }
 *
 * Arguments of the program are parts of names: `build/cpu/tests/test_json bpe` runs the tests that
 * have "bpe" in theirs. One that no test has is an error.
 * A test whose inputs are absent (tests/README.md) calls SKIP("why") and is printed loudly.
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
__attribute__((unused)) static int test_argc;    /* at most 64 arguments, from number 1 on */
__attribute__((unused)) static char **test_argv;
/* Bit i: argument i is a word of the program's own; is a part of some test's name. */
__attribute__((unused)) static uint64_t test_own, test_fits;
/* For calls whose message does not matter here. */
__attribute__((unused)) static qk_error test_error;

/* What only repeats itself, with other random input or on a longer text, does a tenth of it, and all
 * of it with TEST_LONG in the environment, as `make test-rest` has it. */
__attribute__((unused)) static inline int test_share(void)
{
    return getenv("TEST_LONG") ? 1 : 10;
}

/* With TEST_STOP in the environment the first failed check ends the program: who seeds bugs need not
 * know what else they break. */
static inline void test_check_failed(void)
{
    test_failed_checks++;
    if (!getenv("TEST_STOP")) return;
    fflush(stdout);
    _Exit(1);
}

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        test_checks++;                                                                             \
        if (!(condition)) {                                                                        \
            printf("  %s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                       \
            test_check_failed();                                                                   \
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
            test_check_failed();                                                                   \
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

/* Whether a test runs: arguments that are no words of the program's own are parts of names. */
static inline bool test_is_chosen(const char *name)
{
    bool chosen = true, fits = false;
    for (int i = 1; i < test_argc; i++) {
        if (test_own >> i & 1) continue;
        chosen = false;
        if (!strstr(name, test_argv[i])) continue;
        test_fits |= UINT64_C(1) << i;
        fits = true;
    }
    return chosen || fits;
}

#define RUN(function)                                                                              \
    do {                                                                                           \
        if (!test_is_chosen(#function)) break;                                                     \
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

/* Whether an argument is this word, one of those that test_begin() was told. */
static inline bool test_word(const char *word)
{
    for (int i = 1; i < test_argc; i++)
        if (!strcmp(test_argv[i], word)) return true;
    return false;
}

/* First in main. own: what the program asks for by test_word(), each between blanks: " full v1 " */
static inline void test_begin(int argc, char **argv, const char *own)
{
    test_argc = argc < 64 ? argc : 64;
    test_argv = argv;
    for (int i = 1; i < test_argc; i++) {
        char word[80];
        snprintf(word, sizeof word, " %s ", argv[i]);
        if (strstr(own, word)) test_own |= UINT64_C(1) << i;
    }
}

/* Prints the counts; the exit status: 0, 1 when a test failed, 2 when no test has the asked name. */
static inline int test_summary(const char *name)
{
    bool known = true;
    for (int i = 1; i < test_argc; i++) {
        if ((test_own | test_fits) >> i & 1) continue;
        printf("no test of this program has \"%s\" in its name\n", test_argv[i]);
        known = false;
    }
    if (!known) test_failed++;
    printf("%ld checks\n", test_checks);
    printf("%s: %d passed, %d failed, %d skipped\n", name, test_passed, test_failed, test_skipped);
    return !known ? 2 : test_failed ? 1 : 0;
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

/* "<folder>/golden/<name>" in a fresh string, or NULL when it is not there. */
static inline char *test_golden_below(const char *folder, const char *name)
{
    size_t size = strlen(folder) + strlen(name) + 16;
    char *path = malloc(size);
    snprintf(path, size, "%s/golden/%s", folder, name);
    FILE *probe = fopen(path, "rb");
    if (probe) {
        fclose(probe);
        return path;
    }
    free(path);
    return NULL;
}

/* Of the whole collection, which QK_SHARED names when it is not beside this checkout; else NULL. */
static inline char *test_whole_golden(const char *name)
{
    const char *shared = getenv("QK_SHARED");
    return test_golden_below(shared ? shared : "../shared", name);
}

/* Of the whole collection or, where it is not, of the copies in tests/data/golden.tar.xz, which the
 * Makefile unpacks into build/. NULL when neither has it. */
static inline char *test_golden(const char *name)
{
    char *path = test_whole_golden(name);
    return path ? path : test_golden_below("build", name);
}
