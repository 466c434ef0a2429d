/* engine/base/stages: what any thread adds is in the sum. */
#include "tests/test.h"

#include "engine/base/stages.h"
#include "engine/base/team.h"

static void add(void *context, size_t begin, size_t end, int member)
{
    (void)context, (void)member;
    for (size_t i = begin; i < end; i++)
        qk_stage_add(i % 2 ? QK_STAGE_WRITE : QK_STAGE_ROWS, 1.0 / 1024);
}

static void test_threads(void)
{
    qk_stages_reset();
    qk_loop_each(4, 4096, add, NULL);
    CHECK(fabs(qk_stage_seconds(QK_STAGE_ROWS) - 2) < 1e-5);
    CHECK(fabs(qk_stage_seconds(QK_STAGE_WRITE) - 2) < 1e-5);
    CHECK(qk_stage_seconds(QK_STAGE_MERGE) == 0);
    qk_stages_reset();
    CHECK(qk_stage_seconds(QK_STAGE_ROWS) == 0);
}

static void test_names(void)
{
    CHECK_STR(qk_stage_name(QK_STAGE_TOKENIZE), "tokenize");
    CHECK_STR(qk_stage_name(QK_STAGE_MERGE), "merge");
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_threads);
    RUN(test_names);
    return test_summary("stages");
}
