/* Compiles every specialisation of every CUDA kernel with NVRTC, which needs no GPU and no driver,
 * and reads what the assembler says about it: no spilled register, no stack, no warning, and no
 * more registers than kernels/cuda/budgets.txt allows. Headers are handed over by name, as the
 * program will do it, so this also shows that kernels need nothing of the toolkit.
 *
 *   cuda_nvrtc sm_80 sm_90a ...    from the repository's root; prints one line per kernel and GPU
 *
 * NVRTC is looked for as the loader does and in $CUDA_HOME/lib64 (/usr/local/cuda); without it the
 * program says SKIPPED. */
#include "kernels/cuda/compile.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/libraries.h"
#include "tests/test.h"

/* ---- budgets ---- */

typedef struct budget {
    char kernel[32], build[32];
    int registers, shared; /* shared: -1 when it depends on the shape */
    int used;              /* the most of this GPU generation's builds */
    int builds;
} budget;

static budget budgets[64];
static int n_budgets;

static char *read_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) qk_fatal("cannot open %s: run from the repository's root", path);
    char *text = qk_zalloc(1, 1 << 16);
    QK_ASSERT(fread(text, 1, (1 << 16) - 1, f) < (1 << 16) - 1);
    fclose(f);
    return text;
}

static void read_budgets(void)
{
    char *text = read_text("kernels/cuda/budgets.txt"), *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (line[0] == '#') continue;
        budget *b = &budgets[n_budgets++];
        char shared[16];
        int n = sscanf(line, "%31s %31s %d %15s", b->kernel, b->build, &b->registers, shared);
        CHECK_MSG(n == 4, "budgets.txt: %s", line);
        b->shared = shared[0] == '-' ? -1 : atoi(shared);
    }
    free(text);
}

static budget *budget_of(const char *kernel, const char *build)
{
    for (int i = 0; i < n_budgets; i++)
        if (!strcmp(budgets[i].kernel, kernel) && !strcmp(budgets[i].build, build))
            return &budgets[i];
    return NULL;
}

/* ---- one compilation ---- */

/* The assembler's words about each kernel of the file. */
static void judge_log(const char *words, const char *arch, const char *file, const char *build,
                      const char *extra)
{
    char kernel[64] = "";
    int n = 0;
    char *log = qk_strdup(words), *save = NULL;
    for (char *line = strtok_r(log, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        int stack, stores, loads, registers;
        char *at;
        CHECK_MSG(!strstr(line, "warning") && !strstr(line, "error") && !strstr(line, "C75"),
                  "%s %s %s %s: %s", arch, file, build, extra, line);
        if ((at = strstr(line, "entry function '"))) sscanf(at, "entry function '%63[^']", kernel);
        if (sscanf(line, " %d bytes stack frame, %d bytes spill stores, %d bytes spill loads",
                   &stack, &stores, &loads) == 3)
            CHECK_MSG(!stack && !stores && !loads, "%s %s %s %s: %s", arch, kernel, build, extra,
                      line);
        if ((at = strstr(line, "Used ")) && sscanf(at, "Used %d registers", &registers) == 1) {
            budget *b = budget_of(kernel, build);
            /* What moves no floats has one build; the other is not in the table. */
            if (!b && !strncmp(kernel, "route_", 6)) continue;
            CHECK_MSG(b && registers <= b->registers, "%s %s %s %s: %d registers, allowed %d", arch,
                      kernel, build, extra, registers, b ? b->registers : 0);
            if (b && registers > b->used) b->used = registers;
            if (b) b->builds++;
            n++;
        }
    }
    CHECK_MSG(n > 0, "%s %s %s: the log names no kernel", arch, file, build);
    free(log);
}

static void compile(const char *arch, const cuda_build *b)
{
    char build[64];
    snprintf(build, sizeof build, "%s=%d", b->macro, b->value);
    qk_buf cubin = {0}, log = {0};
    qk_status s = cuda_compile(b, arch, "--ptxas-options=-v", &cubin, &log, &test_error);
    CHECK_MSG(s == QK_OK && cubin.size > 0, "%s", test_error.message);
    if (s == QK_OK) judge_log(qk_buf_str(&log), arch, b->file, build, b->defines);
    qk_buf_free(&cubin);
    qk_buf_free(&log);
}

/* ---- all of them ---- */

static const char *arch;

static void test_kernels(void)
{
    size_t n;
    const cuda_build *builds = cuda_builds(&n);
    for (int i = 0; i < n_budgets; i++) budgets[i].used = budgets[i].builds = 0;
    for (size_t i = 0; i < n; i++) compile(arch, &builds[i]);
    for (int i = 0; i < n_budgets; i++) {
        printf("%-7s %-14s %-13s %d builds, %3d registers of %3d\n", arch, budgets[i].kernel,
               budgets[i].build, budgets[i].builds, budgets[i].used, budgets[i].registers);
        CHECK_MSG(budgets[i].builds > 0, "%s %s was not compiled", budgets[i].kernel,
                  budgets[i].build);
    }
}

/* Compute capability, and the most a block may have, in KB. (CUDA C++ programming guide, table of
 * compute capabilities) */
static const struct {
    const char *arch;
    int capability, limit;
} generations[] = {{"sm_80", 80, 163},  {"sm_86", 86, 99},     {"sm_89", 89, 99},
                   {"sm_90a", 90, 227}, {"sm_100a", 100, 227}, {"sm_120a", 120, 99}};

static void test_shared_memory(void)
{
    size_t g = 0, n = sizeof generations / sizeof *generations;
    while (g < n && strcmp(arch, generations[g].arch) != 0) g++;
    CHECK_MSG(g < n, "%s is not in the table", arch);
    for (int i = 0; i < n_budgets && g < n; i++) {
        int dim;
        if (strncmp(budgets[i].build, "HEAD_DIM", 8) ||
            sscanf(strchr(budgets[i].build, '='), "=%d", &dim) != 1)
            continue;
        size_t bytes = cuda_attention_shared(budgets[i].kernel, dim, generations[g].capability);
        CHECK_MSG(
            bytes <= (size_t)budgets[i].shared && bytes <= 1024 * (size_t)generations[g].limit,
            "%s %s: %zu bytes of shared memory, allowed %d here and %d KB by %s", budgets[i].kernel,
            budgets[i].build, bytes, budgets[i].shared, generations[g].limit, arch);
    }
}

static void test_nvrtc_is_absent(void)
{
    SKIP("no NVRTC (libnvrtc.so; set CUDA_HOME): nothing was compiled");
}

int main(int argc, char **argv)
{
    const cuda_nvrtc *rtc = cuda_nvrtc_get(&test_error);
    if (!rtc) {
        RUN(test_nvrtc_is_absent);
        return test_summary("cuda nvrtc");
    }
    int major, minor;
    rtc->nvrtcVersion(&major, &minor);
    printf("NVRTC %d.%d\n", major, minor);
    read_budgets();
    for (int i = 1; i < argc; i++) {
        arch = argv[i];
        RUN(test_kernels);
        RUN(test_shared_memory);
    }
    return test_summary("cuda nvrtc");
}
