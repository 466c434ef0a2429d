/* Settings, the way into and out of every call, faults, injected errors, the log.
 *
 * next: tests/fake_cuda/objects.c */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#include "tests/fake_cuda/fake.h"

enum { MAX_NAMES = 80, MAX_FAILURES = 16 };

fake_settings fake_options;
CUresult fake_sticky;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool ready;
static const char *call = "";
static char arguments[300];
static int after; /* the error of a call that destroys, which it returns when it is done */
static FILE *log_file;
static uint64_t n_faults, n_hazards;
static char first_fault[500];
static uint32_t random_state;

static struct {
    const char *name;
    uint64_t n;
} counts[MAX_NAMES];
static uint64_t all_calls; /* that can fail */

typedef struct failure {
    char name[64];
    long long at;
    int error;
    long long seen;
} failure;
static failure failures[MAX_FAILURES];
static const char *failed_call = "";

/* ---- settings ---- */

static void set_order(const char *name)
{
    static const char *const names[] = {"eager", "lazy", "latest"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(names[i], name)) {
            fake_options.order = (fake_order)i;
            return;
        }
    qk_fatal("FAKE_CUDA_ORDER is eager, lazy or latest, not '%s'", name);
}

static void set_seed(unsigned seed)
{
    fake_options.seed = seed;
    random_state = seed * 2654435761u + 12345;
    if (!random_state) random_state = 1;
}

static void set_failures(const char *what)
{
    memset(failures, 0, sizeof failures);
    failed_call = "";
    for (int i = 0; what && *what; i++) {
        failure *f = &failures[i];
        int read = 0;
        if (i == MAX_FAILURES ||
            sscanf(what, "%63[^:]:%lld:%d%n", f->name, &f->at, &f->error, &read) != 3)
            qk_fatal("a failure is NAME:N:ERROR, not '%s'", what);
        what += read;
        if (*what == ',') what++;
    }
}

static void set_log(const char *path)
{
    if (log_file) fclose(log_file);
    log_file = path ? fopen(path, "w") : NULL;
    if (path && !log_file) qk_fatal("cannot write the log %s", path);
}

static const char *setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

static void configure(void)
{
    ready = true;
    set_order(setting("FAKE_CUDA_ORDER", "eager"));
    set_seed((unsigned)strtoul(setting("FAKE_CUDA_SEED", "1"), NULL, 10));
    fake_options.memory = strtoull(setting("FAKE_CUDA_MEMORY", "2147483648"), NULL, 10);
    const char *capability = setting("FAKE_CUDA_CAPABILITY", "9.0");
    if (sscanf(capability, "%d.%d", &fake_options.major, &fake_options.minor) != 2)
        qk_fatal("FAKE_CUDA_CAPABILITY is MAJOR.MINOR, not '%s'", capability);
    fake_options.driver = (int)strtol(setting("FAKE_CUDA_DRIVER", "13000"), NULL, 10);
    fake_options.devices = (int)strtol(setting("FAKE_CUDA_DEVICES", "1"), NULL, 10);
    set_failures(getenv("FAKE_CUDA_FAIL"));
    set_log(getenv("FAKE_CUDA_LOG"));
}

void fake_enter(void)
{
    pthread_mutex_lock(&lock);
    if (!ready) configure();
}

static void leave(void)
{
    pthread_mutex_unlock(&lock);
}

/* ---- counting, failing ---- */

static uint64_t *count_of(const char *name)
{
    static uint64_t nothing;
    for (int i = 0; i < MAX_NAMES; i++) {
        if (!counts[i].name) counts[i].name = name;
        if (!strcmp(counts[i].name, name)) return &counts[i].n;
    }
    return nothing = 0, &nothing;
}

static int usual_error(const char *name)
{
    return !strncmp(name, "nvrtc", 5)      ? 11 /* NVRTC_ERROR_INTERNAL_ERROR */
           : !strncmp(name, "cublasLt", 8) ? 14 /* CUBLAS_STATUS_INTERNAL_ERROR */
                                           : CUDA_ERROR_UNKNOWN;
}

/* Counts this call of `name` in every failure that means it. */
static int failure_of(const char *name, bool is_call)
{
    int error = 0;
    for (failure *f = failures; f < failures + MAX_FAILURES; f++) {
        if (strcmp(f->name, name) != 0 && !(is_call && !strcmp(f->name, "*"))) continue;
        if (++f->seen == f->at) error = f->error ? f->error : usual_error(name);
    }
    if (error) failed_call = name;
    return error;
}

/* What is destroyed is gone, whatever the call returns. */
static bool destroys(const char *name)
{
    return strstr(name, "Free") || strstr(name, "Destroy") || strstr(name, "Release") ||
           strstr(name, "Unload");
}

bool fake_destroys(const char *name, int wrong)
{
    if (wrong != (int)fake_sticky || !destroys(name)) return false;
    after = wrong;
    return true;
}

int fake_begin(const char *name, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(arguments, sizeof arguments, format, args);
    va_end(args);
    call = name;
    after = 0;
    all_calls++;
    ++*count_of(name);
    int error = failure_of(name, true);
    if (error && destroys(name)) {
        after = error;
        error = 0;
    }
    return error;
}

void fake_begin_sure(const char *name)
{
    fake_enter();
    call = name;
    after = 0;
    arguments[0] = 0;
    ++*count_of(name);
}

int fake_end(int result)
{
    if (!result) result = after;
    fake_log("%s(%s) = %d", call, arguments, result);
    fake_run_some();
    fake_memory_close();
    leave();
    return result;
}

int fake_work_failure(const char *name)
{
    ++*count_of(name);
    return failure_of(name, false);
}

/* ---- what went wrong ---- */

void fake_log(const char *format, ...)
{
    if (!log_file) return;
    va_list args;
    va_start(args, format);
    vfprintf(log_file, format, args);
    va_end(args);
    fputc('\n', log_file);
    fflush(log_file);
}

static void report(const char *kind, const char *format, va_list args, char *copy, size_t capacity)
{
    char text[400];
    vsnprintf(text, sizeof text, format, args);
    fprintf(stderr, "fake GPU, %s: %s: %s\n", kind, call, text);
    fake_log("  %s: %s", kind, text);
    if (copy && !*copy) snprintf(copy, capacity, "%s: %s", call, text);
}

void fake_fault(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report("fault", format, args, first_fault, sizeof first_fault);
    va_end(args);
    n_faults++;
}

void fake_hazard(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report("hazard", format, args, NULL, 0);
    va_end(args);
    n_hazards++;
}

void fake_break(CUresult error, const char *message)
{
    fprintf(stderr, "fake GPU, work failed with %d: %s\n", (int)error, message);
    fake_log("  work failed with %d: %s", (int)error, message);
    if (!fake_sticky) fake_sticky = error;
}

uint32_t fake_random(void) /* Marsaglia, 2003: xorshift */
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

uint64_t fake_hash(uint64_t hash, const void *data, size_t n) /* FNV-1a, 8 bytes at a time */
{
    hash ^= 0xCBF29CE484222325u;
    for (size_t at = 0; at < n; at += 8) {
        uint64_t word = 0;
        memcpy(&word, (const char *)data + at, n - at < 8 ? n - at : 8);
        hash = (hash ^ word) * 0x100000001B3u;
        hash ^= hash >> 29;
    }
    return hash;
}

/* ---- for tests ---- */

static char leaked[300]; /* when their context was released */

void fake_context_leaks(void)
{
    char alive[300];
    fake_objects_count(0, FAKE_BOUND_KINDS, alive, sizeof alive);
    if (!*alive) return;
    fprintf(stderr, "fake GPU: leaked with the context: %s\n", alive);
    fake_log("  leaked: %s", alive);
    strncat(leaked, *leaked ? ", " : "", sizeof leaked - strlen(leaked) - 1);
    strncat(leaked, alive, sizeof leaked - strlen(leaked) - 1);
}

const char *fake_cuda_leaks(void)
{
    static char text[640];
    char alive[300];
    fake_enter();
    fake_objects_count(0, FAKE_KINDS, alive, sizeof alive);
    snprintf(text, sizeof text, "%s%s%s", leaked, *leaked && *alive ? ", " : "", alive);
    leave();
    return text;
}

void fake_cuda_reset(void)
{
    fake_enter();
    fake_objects_reset();
    fake_memory_reset();
    fake_context_reset();
    fake_sticky = CUDA_SUCCESS;
    memset(counts, 0, sizeof counts);
    all_calls = n_faults = n_hazards = 0;
    leaked[0] = first_fault[0] = 0;
    configure();
    leave();
}

#define SETTING(declaration, action)                                                               \
    declaration                                                                                    \
    {                                                                                              \
        fake_enter();                                                                              \
        action;                                                                                    \
        leave();                                                                                   \
    }
SETTING(void fake_cuda_set_order(fake_order order, unsigned seed), fake_options.order = order;
        set_seed(seed))
SETTING(void fake_cuda_set_memory(size_t bytes), fake_options.memory = bytes)
SETTING(void fake_cuda_set_capability(int major, int minor), fake_options.major = major;
        fake_options.minor = minor)
SETTING(void fake_cuda_set_driver(int version), fake_options.driver = version)
SETTING(void fake_cuda_set_devices(int n), fake_options.devices = n)
SETTING(void fake_cuda_set_failures(const char *what), set_failures(what))
SETTING(void fake_cuda_set_log(const char *path), set_log(path))

const char *fake_cuda_fault(void)
{
    static char last[sizeof first_fault];
    fake_enter();
    memcpy(last, first_fault, sizeof last);
    first_fault[0] = 0;
    leave();
    return last;
}

const char *fake_cuda_failed_call(void)
{
    return failed_call;
}

static uint64_t read_number(const uint64_t *number)
{
    fake_enter();
    uint64_t n = *number;
    leave();
    return n;
}

uint64_t fake_cuda_fault_count(void)
{
    return read_number(&n_faults);
}

uint64_t fake_cuda_hazard_count(void)
{
    return read_number(&n_hazards);
}

uint64_t fake_cuda_calls(const char *name)
{
    if (!strcmp(name, "*")) return read_number(&all_calls);
    fake_enter();
    uint64_t n = 0;
    for (int i = 0; i < MAX_NAMES && counts[i].name; i++)
        if (!strcmp(counts[i].name, name)) n = counts[i].n;
    leave();
    return n;
}

/* Whoever ends without having given everything back hears of it. */
__attribute__((destructor)) static void report_at_exit(void)
{
    char alive[300];
    fake_objects_count(0, FAKE_KINDS, alive, sizeof alive);
    if (*alive) fprintf(stderr, "fake GPU: leaked at exit: %s\n", alive);
    if (n_faults) fprintf(stderr, "fake GPU: %llu faults\n", (unsigned long long)n_faults);
    if (log_file) fclose(log_file);
}
