/* The line that says how far the work is: what of it fits, and when it comes. */
#include "tests/test.h"

#include <unistd.h>

#include "engine/base/progress.h"

static const char *fitted(const qk_progress_line *line, size_t columns)
{
    static char text[QK_PROGRESS_LINE];
    size_t n = qk_progress_fit(line, columns, text, sizeof text);
    CHECK_MSG(!columns || n <= columns, "%zu columns in %zu: %s", n, columns, text);
    return text;
}

static qk_progress_line a_run(void)
{
    qk_progress_line line = {0};
    qk_progress_add_count(&line, 1, 12, 75, "unit");
    qk_progress_add_count(&line, 4, 24, 150, "text");
    qk_progress_add_share(&line, 2, 24, 150);
    qk_progress_add(&line, 5, "21 tokens/s");
    qk_progress_add(&line, 6, "2 processes");
    qk_progress_add(&line, 3, "ETA 1h32m");
    return line;
}

static void test_widths(void)
{
    static const char all[] =
        "12/75 units  24/150 texts  16 %  21 tokens/s  2 processes  ETA 1h32m";
    qk_progress_line line = a_run();
    CHECK_STR(fitted(&line, 0), all);
    CHECK_STR(fitted(&line, 200), all);
    CHECK_STR(fitted(&line, 80), all);
    CHECK_STR(fitted(&line, sizeof all - 1), all);
    CHECK_STR(fitted(&line, sizeof all - 2),
              "12/75 units  24/150 texts  16 %  21 tokens/s  ETA 1h32m");
    CHECK_STR(fitted(&line, 50), "12/75 units  24/150 texts  16 %  ETA 1h32m");
    CHECK_STR(fitted(&line, 40), "12/75 units  16 %  ETA 1h32m");
    CHECK_STR(fitted(&line, 25), "12/75  16 %  ETA 1h32m");
    CHECK_STR(fitted(&line, 21), "12/75 units  16 %");
    CHECK_STR(fitted(&line, 12), "12/75  16 %");
    CHECK_STR(fitted(&line, 6), "12/75");
    CHECK_STR(fitted(&line, 3), "12/");
    for (size_t columns = 1; columns < 100; columns++) fitted(&line, columns);
}

static void test_words(void)
{
    qk_progress_line line = {0};
    qk_progress_add_count(&line, 1, 1, -1, "unit");
    qk_progress_add_count(&line, 1, 0, -1, "text");
    qk_progress_add_count(&line, 1, 1, 1, "text");
    qk_progress_add_count(&line, 1, 1, 2, "text");
    qk_progress_add_share(&line, 1, 1, -1); /* nothing is known of it */
    CHECK_STR(fitted(&line, 0), "1 unit  0 texts  1/1 text  1/2 texts");
    line = (qk_progress_line){0};
    qk_progress_add_share(&line, 1, 0, 3);
    qk_progress_add_share(&line, 1, 999, 1000);
    qk_progress_add_share(&line, 1, 3, 3);
    CHECK_STR(fitted(&line, 0), "0 %  99 %  100 %");
}

/* Names come from files and servers, and may be of any length and script. */
static void test_names(void)
{
    qk_progress_line line = {0};
    qk_progress_add(&line, 1, "a\r\033[2Jb");
    CHECK_STR(fitted(&line, 0), "a\\r\\x1b[2Jb");
    line = (qk_progress_line){0};
    qk_progress_add(&line, 1, "%s", "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e");
    CHECK_STR(fitted(&line, 5), "\xe6\x97\xa5\xe6\x9c\xac");
    CHECK_STR(fitted(&line, 1), "");
    line = (qk_progress_line){0};
    char name[3 * 100 + 1] = "";
    for (int i = 0; i < 100; i++) strcat(name, "\xe6\x97\xa5");
    qk_progress_add(&line, 1, "x%s", name); /* a character that is cut in two is left out */
    CHECK_INT(strlen(fitted(&line, 0)), 1 + 3 * ((QK_PROGRESS_PART - 2) / 3));
    for (int i = 0; i < 2 * QK_PROGRESS_PARTS; i++) qk_progress_add(&line, 1, "%090d", i);
    CHECK_INT(line.count, QK_PROGRESS_PARTS);
    CHECK_INT(strlen(fitted(&line, 0)), QK_PROGRESS_LINE - 1);
}

/* ---- when, in a pipe ---- */

static double now;
static double fake_clock(void)
{
    return now;
}

static void test_plain_lines(void)
{
    static const double wanted[] = {2, 10, 30, 60, 120, 300, 600, 1200, 1800, 2400};
    size_t count = 0;
    int saved = dup(STDERR_FILENO);
    FILE *pipe = tmpfile();
    dup2(fileno(pipe), STDERR_FILENO);
    qk_progress_set_clock(fake_clock);
    qk_progress_line line = a_run();
    for (now = 1000; now <= 1000 + 2500; now += 0.5) {
        if (!qk_progress_due()) continue;
        CHECK_MSG(count < sizeof wanted / sizeof *wanted && now - 1000 == wanted[count],
                  "line %zu after %g s", count, now - 1000);
        count++;
        qk_progress_show(&line);
        CHECK(!qk_progress_due());
    }
    CHECK_INT(count, sizeof wanted / sizeof *wanted);
    qk_progress_end(&line); /* due or not */
    /* After long work that says nothing, one line, and the next one at its time. */
    qk_progress_set_clock(fake_clock);
    now = 0;
    CHECK(!qk_progress_due());
    now = 100;
    CHECK(qk_progress_due());
    qk_progress_show(&line);
    now = 119;
    CHECK(!qk_progress_due());
    now = 120;
    CHECK(qk_progress_due());
    qk_progress_set_clock(NULL);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(pipe);
    char text[256];
    size_t lines = 0;
    while (fgets(text, sizeof text, pipe)) {
        int year, month, day, hour, minute, second, pid, at = 0;
        char host[65];
        CHECK(sscanf(text, "%4d-%2d-%2d %2d:%2d:%2d %64[^[][%d] %n", &year, &month, &day, &hour,
                     &minute, &second, host, &pid, &at) == 8);
        CHECK_INT(pid, getpid());
        CHECK_STR(text + at,
                  "12/75 units  24/150 texts  16 %  21 tokens/s  2 processes  ETA 1h32m\n");
        lines++;
    }
    CHECK_INT(lines, sizeof wanted / sizeof *wanted + 2);
    fclose(pipe);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_widths);
    RUN(test_words);
    RUN(test_names);
    RUN(test_plain_lines);
    return test_summary("progress");
}
