/* Compiles every specialisation of every CUDA kernel with NVRTC, which needs no GPU and no driver,
 * and reads what the assembler says about it: no spilled register, no stack, no warning, and no
 * more registers than kernels/cuda/budgets.txt allows. Headers are handed over by name, as the
 * program will do it, so this also shows that kernels need nothing of the toolkit.
 *
 *   cuda_nvrtc sm_80 sm_90a ...    from the repository's root; prints one line per kernel and GPU
 *
 * NVRTC is looked for as the loader does and in $CUDA_HOME/lib64 (/usr/local/cuda); without it the
 * program says SKIPPED. */
#include <dlfcn.h>

#include "engine/base/file.h"
#include "kernels/cuda/cuda.h"
#include "tests/test.h"

/* ---- NVRTC, the few calls of nvrtc.h that are needed ---- */

typedef struct nvrtc_program_s *nvrtc_program;
static int (*nvrtc_create)(nvrtc_program *, const char *source, const char *name, int n_headers,
                           const char *const *headers, const char *const *names);
static int (*nvrtc_compile)(nvrtc_program, int n_options, const char *const *options);
static int (*nvrtc_log_size)(nvrtc_program, size_t *);
static int (*nvrtc_log)(nvrtc_program, char *);
static int (*nvrtc_cubin_size)(nvrtc_program, size_t *);
static int (*nvrtc_destroy)(nvrtc_program *);
static int (*nvrtc_version)(int *major, int *minor);

static bool bind(void *library, const char *name, void *to)
{
    void *symbol = dlsym(library, name);
    memcpy(to, &symbol, sizeof symbol);
    return symbol != NULL;
}

static bool open_nvrtc(void)
{
    const char *home = getenv("CUDA_HOME");
    char in_home[512];
    snprintf(in_home, sizeof in_home, "%s/lib64/libnvrtc.so", home ? home : "/usr/local/cuda");
    const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", in_home};
    void *library = NULL;
    for (int i = 0; i < 4 && !library; i++) library = dlopen(names[i], RTLD_NOW);
    return library && bind(library, "nvrtcCreateProgram", &nvrtc_create) &&
           bind(library, "nvrtcCompileProgram", &nvrtc_compile) &&
           bind(library, "nvrtcGetProgramLogSize", &nvrtc_log_size) &&
           bind(library, "nvrtcGetProgramLog", &nvrtc_log) &&
           bind(library, "nvrtcGetCUBINSize", &nvrtc_cubin_size) &&
           bind(library, "nvrtcDestroyProgram", &nvrtc_destroy) &&
           bind(library, "nvrtcVersion", &nvrtc_version);
}

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

static const char *const header_names[] = {"kernels/cuda/args.h", "kernels/cuda/port.h",
                                           "kernels/cuda/rows.h", "kernels/cuda/capture.h"};
static char *headers[4];

/* The assembler's words about each kernel of the file. */
static void judge_log(char *log, const char *arch, const char *file, const char *build,
                      const char *extra)
{
    char kernel[64] = "";
    int n = 0;
    char *save = NULL;
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
}

static void compile(const char *arch, const char *file, const char *build, const char *extra)
{
    char path[128], gpu[64], define[64], more[4][32];
    snprintf(path, sizeof path, "kernels/cuda/%s.cu", file);
    snprintf(gpu, sizeof gpu, "--gpu-architecture=%s", arch);
    snprintf(define, sizeof define, "-D%s", build);
    const char *options[8] = {gpu, define, "--ptxas-options=-v"};
    int n = 3, extras = sscanf(extra, "%31s %31s %31s %31s", more[0], more[1], more[2], more[3]);
    for (int i = 0; i < extras; i++) options[n++] = more[i];
    char *source = read_text(path);
    nvrtc_program program;
    QK_ASSERT(!nvrtc_create(&program, source, path, 4, (const char *const *)headers, header_names));
    int failed = nvrtc_compile(program, n, options);
    size_t size = 0, cubin = 0;
    nvrtc_log_size(program, &size);
    char *log = qk_zalloc(size + 1, 1);
    nvrtc_log(program, log);
    if (!failed) nvrtc_cubin_size(program, &cubin);
    CHECK_MSG(!failed && cubin > 0, "%s %s %s %s does not compile: %s", arch, file, build, extra,
              log);
    if (!failed) judge_log(log, arch, file, build, extra);
    nvrtc_destroy(&program);
    free(log), free(source);
}

/* ---- all of them ---- */

static void compile_attention_v3(const char *arch, const char *build)
{
    for (int i = 0; i < 8; i++) {
        char extra[128];
        snprintf(extra, sizeof extra,
                 "-DHAS_WINDOW=%d -DHAS_SOFT_CAP=%d -DHAS_CAPTURE=%d -DPADDED=0", i & 1, i >> 1 & 1,
                 i >> 2);
        compile(arch, "attention_v3", build, extra);
    }
    compile(arch, "attention_v3", build, "-DPADDED=1");
}

static const char *arch;

static void test_kernels(void)
{
    static const char *const vec_files[] = {"embed", "rmsnorm", "glu", "qkv_post", "experts"};
    static const char *const vecs[] = {"VEC=1", "VEC=4"}, *const formats[] = {"FORMAT=0",
                                                                              "FORMAT=1"};
    static const char *const dims[] = {"HEAD_DIM=64", "HEAD_DIM=80", "HEAD_DIM=96", "HEAD_DIM=128",
                                       "HEAD_DIM=256"};
    for (int i = 0; i < n_budgets; i++) budgets[i].used = budgets[i].builds = 0;
    for (int i = 0; i < 2; i++) {
        for (int f = 0; f < 5; f++) compile(arch, vec_files[f], vecs[i], "");
        compile(arch, "attention_v1", formats[i], "");
        compile(arch, "gather", formats[i], "");
    }
    for (int i = 0; i < 5; i++) {
        compile(arch, "attention_v2", dims[i], "");
        compile_attention_v3(arch, dims[i]);
    }
    for (int i = 0; i < n_budgets; i++) {
        printf("%-7s %-14s %-13s %d builds, %3d registers of %3d\n", arch, budgets[i].kernel,
               budgets[i].build, budgets[i].builds, budgets[i].used, budgets[i].registers);
        CHECK_MSG(budgets[i].builds > 0, "%s %s was not compiled", budgets[i].kernel,
                  budgets[i].build);
    }
}

/* The most a block may have, in KB. (CUDA C++ programming guide, table of compute capabilities) */
static int shared_limit(void)
{
    static const char *const names[] = {"sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"};
    static const int limits[] = {163, 99, 99, 227, 227, 99};
    for (int i = 0; i < 6; i++)
        if (!strcmp(arch, names[i])) return limits[i];
    return 0;
}

static void test_shared_memory(void)
{
    for (int i = 0; i < n_budgets; i++) {
        int rung, dim;
        if (sscanf(budgets[i].kernel, "attention_v%d", &rung) != 1 ||
            sscanf(budgets[i].build, "HEAD_DIM=%d", &dim) != 1)
            continue;
        size_t bytes = cuda_attention_shared(rung, dim);
        CHECK_MSG(bytes <= (size_t)budgets[i].shared && bytes <= 1024 * (size_t)shared_limit(),
                  "%s %s: %zu bytes of shared memory, allowed %d here and %d KB by %s",
                  budgets[i].kernel, budgets[i].build, bytes, budgets[i].shared, shared_limit(),
                  arch);
    }
}

static void test_nvrtc_is_absent(void)
{
    SKIP("no NVRTC (libnvrtc.so; set CUDA_HOME): nothing was compiled");
}

int main(int argc, char **argv)
{
    if (!open_nvrtc()) {
        RUN(test_nvrtc_is_absent);
        return test_summary("cuda nvrtc");
    }
    int major, minor;
    nvrtc_version(&major, &minor);
    printf("NVRTC %d.%d\n", major, minor);
    for (int i = 0; i < 4; i++) headers[i] = read_text(header_names[i]);
    read_budgets();
    for (int i = 1; i < argc; i++) {
        arch = argv[i];
        RUN(test_kernels);
        RUN(test_shared_memory);
    }
    for (int i = 0; i < 4; i++) free(headers[i]);
    return test_summary("cuda nvrtc");
}
