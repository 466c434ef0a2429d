/* What the CUDA backend does when the driver, NVRTC or cuBLASLt fail, on the fake GPU
 * (tests/fake_cuda): any call, any kernel, short memory, no device, old or absent libraries.
 *
 *   test_cuda_failures         what make CUDA=1 unit runs: every 23rd call
 *   test_cuda_failures full    every call */
#include "tests/fake_run.h"

#include <dlfcn.h>
#include <signal.h>
#include <unistd.h>

static bool full;

/* ---- any call fails ---- */

static char running[200]; /* what is tried now, for the handler */

static void say_and_end(int number)
{
    static const char text[] = "a signal while trying: ";
    ssize_t n = write(1, text, sizeof text - 1);
    n += write(1, running, strlen(running));
    n += write(1, "\n", 1);
    _exit(n ? 90 + number % 10 : 90);
}

/* Calls whose failure changes nothing that was asked for. */
static bool may_be_ignored(const char *call, bool closing)
{
    return closing || strstr(call, "Destroy") || strstr(call, "Free") || strstr(call, "Unload") ||
           strstr(call, "ProgramLog");
}

static bool names_call(const char *message, const char *call)
{
    char plain[80];
    snprintf(plain, sizeof plain, "%s", call);
    char *version = strstr(plain, "_v2");
    if (version) *version = 0;
    return strstr(message, plain) != NULL;
}

/* The name of the error that an injected failure of this call returns by default. */
static const char *usual_error(const char *call)
{
    return !strncmp(call, "nvrtc", 5)      ? "NVRTC_ERROR_INTERNAL_ERROR"
           : !strncmp(call, "cublasLt", 8) ? "CUBLAS_STATUS_INTERNAL_ERROR"
                                           : "CUDA_ERROR_UNKNOWN";
}

/* A small run in which something fails. layers: in memory at a time. */
static void run_failing_with(outcome *o, const char *failure, unsigned order, int layers,
                             const outcome *right)
{
    fake_cuda_reset();
    fake_cuda_set_order((fake_order)(order % 3), order);
    fake_cuda_set_failures(failure);
    snprintf(running, sizeof running, "%s", failure);
    alarm(60);
    small_run_with(o, QK_BF16, layers, 0);
    alarm(0);
    snprintf(running, sizeof running, "something that came after %s", failure);
    check_rows(o, right, failure);
    check_clean(failure);
    CHECK_MSG(o->status == QK_OK || *o->err.hint, "%s: no hint", failure);
}

static void run_failing(outcome *o, const char *failure, unsigned order, const outcome *right)
{
    run_failing_with(o, failure, order, LAYERS, right);
    CHECK_MSG(*fake_cuda_failed_call(), "%s: was never reached", failure);
}

static void test_every_failing_call(void)
{
    static outcome o;
    const outcome *right = right_outcome();
    int n = (int)fake_cuda_calls("*");
    CHECK(n > 300);
    for (int k = 1; k <= n; k += full ? 1 : 23) {
        char failure[40];
        snprintf(failure, sizeof failure, "*:%d:0", k);
        run_failing(&o, failure, (unsigned)k, right);
        const char *call = fake_cuda_failed_call(), *message = o.err.message;
        if (o.status == QK_OK)
            CHECK_MSG(may_be_ignored(call, (uint64_t)k > o.calls_before_close),
                      "call %d, %s: nobody noticed", k, call);
        else
            CHECK_MSG(names_call(message, call) && strstr(message, usual_error(call)),
                      "call %d, %s: the message is: %s", k, call, message);
    }
    printf("%d calls, each failed once%s\n", n, full ? "" : " (every 23rd)");
}

/* The same while a second thread reads layers. What fails there after the last batch, when it is a
 * layer ahead, is nobody's loss. */
static void test_failing_calls_of_two_threads(void)
{
    static outcome o;
    const outcome *right = right_outcome();
    fake_cuda_reset();
    small_run_with(&o, QK_BF16, 2, 0);
    int n = (int)fake_cuda_calls("*"), noticed = 0, tried = 0;
    for (int k = 1; k <= n; k += full ? 5 : 37, tried++) {
        char failure[40];
        snprintf(failure, sizeof failure, "*:%d:0", k);
        run_failing_with(&o, failure, (unsigned)k, 2, right);
        const char *call = fake_cuda_failed_call(), *message = o.err.message;
        if (o.status == QK_OK) continue; /* or it was not reached: threads differ */
        noticed++;
        CHECK_MSG(names_call(message, call) && strstr(message, usual_error(call)),
                  "call %d, %s: the message is: %s", k, call, message);
    }
    CHECK_MSG(noticed > tried / 2, "%d of %d failures noticed", noticed, tried);
    printf("%d calls with two threads, each failed once (%d of them)\n", n, tried);
}

/* Work that goes wrong is noticed by some later call, before its rows are handed over. */
static void test_failing_work(void)
{
    static const char *const kinds[] = {"kernel:%d:700", "product:%d:719"};
    static const char *const errors[] = {"CUDA_ERROR_ILLEGAL_ADDRESS", "CUDA_ERROR_LAUNCH_FAILED"};
    static outcome o;
    const outcome *right = right_outcome();
    const int most[] = {(int)fake_cuda_calls("kernel"), (int)fake_cuda_calls("product")};
    printf("%d kernels, %d products\n", most[0], most[1]);
    CHECK(most[0] > 1 && most[1] > 1);
    for (int i = 0; i < 2; i++)
        for (int k = 1; k <= most[i]; k += full ? 1 : 11) {
            char failure[40];
            snprintf(failure, sizeof failure, kinds[i], k);
            run_failing(&o, failure, (unsigned)k, right);
            CHECK_MSG(o.status != QK_OK, "%s: nobody noticed", failure);
            CHECK_MSG(strstr(o.err.message, errors[i]), "%s: the message is: %s", failure,
                      o.err.message);
        }
}

/* ---- memory is short ---- */

static void check_shortage(const outcome *o, const char *what)
{
    CHECK_MSG(o->status == QK_ERR_IO, "%s: status %d, not that of what another setting needs", what,
              (int)o->status);
    CHECK_MSG(strstr(o->err.message, "out of memory") && strstr(o->err.message, " are free"),
              "%s: the message is: %s", what, o->err.message);
    CHECK_MSG(strstr(o->err.hint, "batch_size"), "%s: the hint is: %s", what, o->err.hint);
}

static void test_short_memory(void)
{
    static outcome o;
    const outcome *right = right_outcome();
    size_t peak = fake_cuda_memory_peak();
    int allocations = (int)fake_cuda_calls("cuMemAlloc_v2");
    for (int tenths = 0; tenths < 10; tenths += full ? 1 : 3) {
        char what[60];
        snprintf(what, sizeof what, "%d tenths of the memory", tenths);
        fake_cuda_reset();
        fake_cuda_set_memory(peak * (size_t)tenths / 10 + 1000);
        small_run(&o, QK_BF16);
        check_shortage(&o, what);
        check_rows(&o, right, what);
        check_clean(what);
    }
    for (int k = 1; k <= allocations; k += full ? 1 : 9) {
        char failure[40];
        snprintf(failure, sizeof failure, "cuMemAlloc_v2:%d:2", k);
        run_failing(&o, failure, (unsigned)k, right);
        check_shortage(&o, failure);
    }
}

/* Where weights would not fit beside the rest, fewer layers are in memory, and the rows are right.
 */
static void test_as_many_layers_as_fit(void)
{
    static outcome o;
    const outcome *right = right_outcome();
    size_t peak = fake_cuda_memory_peak(),
           weights = 300000; /* more than two layers, less than all */
    fake_cuda_reset();
    fake_cuda_set_memory(peak);
    small_run_with(&o, QK_BF16, 0, peak - peak / 16 - weights);
    CHECK_MSG(o.status == QK_OK, "%s", o.err.message);
    CHECK_MSG(fake_cuda_memory_peak() < peak - 50000, "%zu of %zu", fake_cuda_memory_peak(), peak);
    check_rows(&o, right, "as many layers as fit");
    check_clean("as many layers as fit");
    small_run_with(&o, QK_BF16, 0, 0);
    CHECK_INT(o.status, QK_OK);
    fake_cuda_set_memory(200000);
    small_run_with(&o, QK_BF16, 0, 5000);
    CHECK(o.status == QK_ERR_CONFIG && strstr(o.err.message, "two layers of the model do not fit"));
    check_clean("two layers do not fit");
}

/* A model that is loaded and given up at once: weights are still on their way. */
static void test_load_alone(void)
{
    qk_model m;
    const qk_model_options options = {.backend = &qk_backend_cuda,
                                      .device = {.compute = QK_BF16, .threads = 1},
                                      .last_layer = -1};
    fake_cuda_reset();
    fake_cuda_set_order(FAKE_LATEST, 1);
    CHECK(qk_model_load(&m, model_folder, &options, &test_error) == QK_OK);
    qk_model_free(&m);
    check_clean("loading alone");
}

/* ---- no GPU, or the wrong one ---- */

static void check_open(const char *message)
{
    static outcome o;
    small_run(&o, QK_BF16);
    CHECK(o.status == QK_ERR_UNSUPPORTED);
    CHECK_MSG(strstr(o.err.message, message), "the message is: %s", o.err.message);
    CHECK(*o.err.hint);
    check_clean(message);
    fake_cuda_reset();
}

static void test_wrong_gpus(void)
{
    fake_cuda_reset();
    fake_cuda_set_devices(0);
    check_open("CUDA_ERROR_NO_DEVICE");
    fake_cuda_set_driver(11080);
    check_open("the NVIDIA driver is too old: it knows CUDA 11.8, and 12.0 is needed");
    fake_cuda_set_capability(7, 5);
    check_open("compute capability 7.5");
    fake_cuda_set_driver(12040); /* older than the compiler, whose code it then refuses */
    fake_cuda_set_failures("cuModuleLoadData:1:209");
    check_open("it knows CUDA 12.4, the kernel compiler is of 13.0");
}

/* Of several GPUs each process of a machine takes one: the rank among those that its launcher has
 * started there, around where there are more. */
static void test_own_gpu(void)
{
    static const struct {
        int devices;
        const char *local; /* NULL: no launcher */
        const char *title;
    } all[] = {{1, NULL, NULL},          {1, "3", NULL},           {4, NULL, "GPU 0 of 0-3"},
               {4, "0", "GPU 0 of 0-3"}, {4, "2", "GPU 2 of 0-3"}, {4, "6", "GPU 2 of 0-3"}};
    const qk_device_options options = {.compute = QK_BF16, .threads = 1};
    setenv("RANK", "9", 1);
    setenv("WORLD_SIZE", "16", 1);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        qk_device *dev;
        if (all[i].local)
            setenv("LOCAL_RANK", all[i].local, 1);
        else
            unsetenv("LOCAL_RANK");
        fake_cuda_reset();
        fake_cuda_set_devices(all[i].devices);
        CHECK_INT(qk_backend_cuda.open(&options, &dev, &test_error), QK_OK);
        const char *said = strstr(qk_backend_cuda.describe(dev), ", GPU "), *title = all[i].title;
        CHECK_MSG(title ? said && !strcmp(said + 2, title) : !said, "%d GPUs, local rank %s: %s",
                  all[i].devices, all[i].local ? all[i].local : "none",
                  qk_backend_cuda.describe(dev));
        qk_backend_cuda.close(dev);
        check_clean("one of several GPUs");
    }
    unsetenv("RANK");
    unsetenv("WORLD_SIZE");
    unsetenv("LOCAL_RANK");
    fake_cuda_reset();
}

/* Other generations get other code, and the same rows. */
static void test_generations(void)
{
    static const int all[][2] = {{8, 0}, {8, 6}, {8, 9}, {10, 0}, {12, 0}};
    static outcome o;
    const outcome *right = right_outcome();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        fake_cuda_reset();
        fake_cuda_set_capability(all[i][0], all[i][1]);
        small_run(&o, QK_BF16);
        CHECK_MSG(o.status == QK_OK, "%s", o.err.message);
        check_rows(&o, right, "another generation");
        check_clean("another generation");
    }
}

/* ---- absent and old libraries: what the program says ---- */

/* The C library under an NVIDIA name: a library that has none of the functions. */
static void put_library(const char *folder, const char *name, const char *file)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
    CHECK(symlink(file, path) == 0);
}

static void check_program(const char *program, const char *folder, const char *message)
{
    char command[4000], output[4000];
    snprintf(command, sizeof command,
             "LD_LIBRARY_PATH=%s CUDA_HOME=/nonexistent %s verify %s "
             "tests/data/forward/qwen3/golden.safetensors --backend cuda 2>&1",
             folder, program, model_folder);
    FILE *f = popen(command, "r");
    size_t n = fread(output, 1, sizeof output - 1, f);
    output[n] = 0;
    CHECK(pclose(f) != 0);
    CHECK_MSG(strstr(output, message), "the program says: %s", output);
}

static void test_libraries(void)
{
    char folder[] = "/tmp/qk_libraries_XXXXXX", program[1024];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 40);
    Dl_info libc, fake;
    QK_ASSERT(n > 0 && mkdtemp(folder) && dladdr(dlsym(RTLD_DEFAULT, "exit"), &libc) &&
              dladdr(dlsym(RTLD_DEFAULT, "fake_cuda_reset"), &fake));
    program[n] = 0;
    for (int i = 0; i < 2; i++) *strrchr(program, '/') = 0;
    strcat(program, "/qkengine");
    char *real = realpath(fake.dli_fname, NULL);
    QK_ASSERT(real);
    put_library(folder, "libcuda.so.1", "/dev/null");
    check_program(program, folder, "the NVIDIA driver is not here: libcuda.so.1");
    put_library(folder, "libcuda.so.1", libc.dli_fname);
    check_program(program, folder, "the NVIDIA driver has no cuInit: too old");
    put_library(folder, "libcuda.so.1", real);
    put_library(folder, "libcublasLt.so.13", libc.dli_fname);
    check_program(program, folder, "cuBLASLt of the CUDA toolkit has no cublasLtCreate: too old");
    put_library(folder, "libcublasLt.so.13", real);
    put_library(folder, "libnvrtc.so.13", libc.dli_fname);
    check_program(program, folder, "has no nvrtcVersion: too old");
    free(real);
    const char *const names[] = {"libcuda.so.1", "libcublasLt.so.13", "libnvrtc.so.13"};
    for (int i = 0; i < 3; i++) {
        char path[1200];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, " full ");
    full = test_word("full");
    setenv("QKENGINE_CACHE", "off", 1); /* every run compiles, so that this can fail, too */
    qk_log_quiet(true);
    signal(SIGALRM, say_and_end);
    signal(SIGABRT, say_and_end);
    signal(SIGSEGV, say_and_end);
    RUN(test_every_failing_call);
    RUN(test_failing_calls_of_two_threads);
    RUN(test_failing_work);
    RUN(test_short_memory);
    RUN(test_as_many_layers_as_fit);
    RUN(test_load_alone);
    RUN(test_wrong_gpus);
    RUN(test_own_gpu);
    RUN(test_generations);
    RUN(test_libraries);
    return test_summary("cuda failures");
}
