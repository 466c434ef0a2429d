/* The compiler that does not compile: it checks that it was given what NVRTC needs (sources that
 * are those the emulated kernels were built from, every header by name, options that exist), and
 * names the emulated build that will run.
 *
 * next: tests/fake_cuda/cublaslt.c */
#include <nvrtc.h>
#include <stdarg.h>
#include <stdio.h>

#include "engine/base/mem.h"
#include "kernels/cuda/compile.h"
#include "kernels/emulator/emulator.h"
#include "tests/fake_cuda/fake.h"
#include "tests/fake_cuda/module.h"

#undef FAKE_RESULT
#define FAKE_RESULT(r) return (nvrtcResult)fake_end(r)

typedef struct program {
    char *source, *name;
    int n_headers;
    char **headers, **header_names;
    qk_buf log;
    char *cubin;
    size_t cubin_bytes;
} program;

/* ---- what a cubin says ---- */

char *fake_cubin_write(const fake_cubin *c, size_t *bytes)
{
    qk_buf b = {0};
    qk_buf_addf(&b, "fake cubin\narch %s\nfile %s\nspec %d\nconstants %d %d %d %d\n", c->arch,
                c->file, c->spec, c->has_window, c->has_soft_cap, c->has_capture, c->padded);
    for (int i = 0; i < c->n_kernels; i++) qk_buf_addf(&b, "kernel %s\n", c->kernels[i]);
    qk_buf_addf(&b, "sum %016llx\n", (unsigned long long)fake_hash(0, b.data, b.size));
    *bytes = b.size + 1;
    char *text = qk_strf("%s", qk_buf_str(&b));
    qk_buf_free(&b);
    return text;
}

bool fake_cubin_read(fake_cubin *c, const void *image)
{
    const char *text = image, *at;
    int n = 0;
    memset(c, 0, sizeof *c);
    if (!text || strncmp(text, "fake cubin\n", 11) != 0) return false;
    if (sscanf(text, "fake cubin\narch %15s\nfile %79s\nspec %d\nconstants %d %d %d %d\n%n",
               c->arch, c->file, &c->spec, &c->has_window, &c->has_soft_cap, &c->has_capture,
               &c->padded, &n) != 7)
        return false;
    at = text + n;
    while (c->n_kernels < FAKE_MOST_KERNELS &&
           sscanf(at, "kernel %31s\n%n", c->kernels[c->n_kernels], &n) == 1) {
        c->n_kernels++;
        at += n;
    }
    unsigned long long sum;
    return sscanf(at, "sum %16llx\n", &sum) == 1 && sum == fake_hash(0, text, (size_t)(at - text));
}

/* ---- programs ---- */

nvrtcResult nvrtcVersion(int *major, int *minor)
{
    FAKE_BEGIN("%s", "");
    *major = 13;
    *minor = 0;
    FAKE_RESULT(NVRTC_SUCCESS);
}

static char *copy_text(const char *text)
{
    return qk_strf("%s", text ? text : "");
}

nvrtcResult nvrtcCreateProgram(nvrtcProgram *out, const char *source, const char *name,
                               int n_headers, const char *const *headers,
                               const char *const *header_names)
{
    FAKE_BEGIN("%s, %d headers", name ? name : "NULL", n_headers);
    if (!out || !source || n_headers < 0) {
        fake_fault("no source");
        FAKE_RESULT(NVRTC_ERROR_INVALID_INPUT);
    }
    program *p = qk_zalloc(1, sizeof *p);
    p->source = copy_text(source);
    p->name = copy_text(name);
    p->n_headers = n_headers;
    p->headers = qk_alloc((size_t)n_headers + 1, sizeof *p->headers);
    p->header_names = qk_alloc((size_t)n_headers + 1, sizeof *p->header_names);
    for (int i = 0; i < n_headers; i++) {
        p->headers[i] = copy_text(headers[i]);
        p->header_names[i] = copy_text(header_names[i]);
    }
    *out = fake_object_new(FAKE_PROGRAM, p);
    FAKE_RESULT(NVRTC_SUCCESS);
}

void fake_program_free(void *body)
{
    program *p = body;
    for (int i = 0; i < p->n_headers; i++) {
        free(p->headers[i]);
        free(p->header_names[i]);
    }
    free(p->headers);
    free(p->header_names);
    free(p->source);
    free(p->name);
    free(p->cubin);
    qk_buf_free(&p->log);
    free(p);
}

nvrtcResult nvrtcDestroyProgram(nvrtcProgram *handle)
{
    FAKE_BEGIN("%s", fake_object_name(*handle));
    if (!fake_object_get(*handle, FAKE_PROGRAM)) FAKE_RESULT(NVRTC_ERROR_INVALID_PROGRAM);
    fake_object_end(*handle);
    *handle = NULL;
    FAKE_RESULT(NVRTC_SUCCESS);
}

/* ---- compiling: sources ---- */

static bool complain(program *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool complain(program *p, const char *format, ...)
{
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fake_fault("%s: %s", p->name, text);
    qk_buf_addf(&p->log, "error: %s\n", text);
    return false;
}

/* The kernels of tests/gpu/primitives.c have an emulated build too. */
extern const char fake_primitives[];
__asm__(".section .rodata,\"a\"\nfake_primitives:\n.incbin \"tests/gpu/primitives.cu\"\n.byte 0\n"
        ".previous");
static const cuda_source primitives[] = {{"tests/gpu/primitives.cu", fake_primitives}, {0}};

static const cuda_source *find_source(const cuda_source *list, const char *name)
{
    for (const cuda_source *s = list; s->name; s++)
        if (!strcmp(s->name, name)) return s;
    return NULL;
}

static bool is_original(program *p, const cuda_source *list, const char *name, const char *text)
{
    const cuda_source *s = find_source(list, name);
    if (!s && list == cuda_kernels) s = find_source(primitives, name);
    if (s)
        return !strcmp(s->text, text) ||
               complain(p, "%s is not the text that the emulated kernels were built from", name);
    return complain(p, "nobody knows a source %s", name);
}

static const char *header_text(program *p, const char *name)
{
    for (int i = 0; i < p->n_headers; i++)
        if (!strcmp(p->header_names[i], name)) return p->headers[i];
    complain(p, "cannot open source file \"%s\"", name);
    return NULL;
}

/* Every #include "..." of a text, and of what it includes; those under QK_EMULATOR are not for
 * NVRTC. Includes come before code, so 8 levels are no limit. */
static bool check_includes(program *p, const char *text, int depth)
{
    bool skipping = false;
    for (const char *line = text; line && depth < 8;) {
        char name[80];
        if (!strncmp(line, "#ifdef QK_EMULATOR", 18)) skipping = true;
        if (!strncmp(line, "#else", 5) || !strncmp(line, "#endif", 6)) skipping = false;
        if (!skipping && sscanf(line, "#include \"%79[^\"]\"", name) == 1) {
            const char *more = header_text(p, name);
            if (!more || !is_original(p, cuda_headers, name, more) ||
                !check_includes(p, more, depth + 1))
                return false;
        }
        line = strchr(line, '\n');
        if (line) line++;
    }
    return true;
}

/* The kernels of a file; a build for float32 rows has those whose names say so, and no others. */
static bool find_kernels(program *p, fake_cubin *c, bool f32)
{
    for (const char *at = p->source;
         (at = strstr(at, "\nKERNEL(")) && c->n_kernels < FAKE_MOST_KERNELS; at++) {
        char name[32], *suffix;
        if (sscanf(at, "\nKERNEL(%31[a-z0-9_],", name) != 1) continue;
        suffix = strstr(name, "_f32");
        if ((suffix != NULL) != f32) continue;
        if (!emu_threads(name, c->spec))
            return complain(p, "there is no emulated build %s<%d>", name, c->spec);
        memcpy(c->kernels[c->n_kernels++], name, sizeof name);
    }
    return c->n_kernels > 0 || complain(p, "no kernels");
}

/* ---- compiling: options ---- */

static bool known_arch(const char *arch)
{
    static const char *const all[] = {"sm_75",   "sm_80",   "sm_86",  "sm_87",   "sm_88",
                                      "sm_89",   "sm_90",   "sm_90a", "sm_100",  "sm_100a",
                                      "sm_103",  "sm_103a", "sm_110", "sm_110a", "sm_120",
                                      "sm_120a", "sm_121",  "sm_121a"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i], arch)) return true;
    return false;
}

/* A constant either picks the emulated build or is one that its builds leave to the arguments. */
static bool read_constant(program *p, fake_cubin *c, const char *option, bool *f32)
{
    char name[32];
    int value;
    if (sscanf(option, "-D%31[A-Z_0-9]=%d", name, &value) != 2)
        return complain(p, "'%s' is not -DNAME=NUMBER", option);
    const struct {
        const char *name;
        int *value;
    } all[] = {{"PRIMITIVES", &c->spec},
               {"VEC", &c->spec},
               {"FORMAT", &c->spec},
               {"HEAD_DIM", &c->spec},
               {"HEAD_DIM_F32", &c->spec},
               {"HAS_WINDOW", &c->has_window},
               {"HAS_SOFT_CAP", &c->has_soft_cap},
               {"HAS_CAPTURE", &c->has_capture},
               {"PADDED", &c->padded}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i].name, name)) {
            *all[i].value = value;
            *f32 |= strstr(name, "_F32") != NULL;
            return true;
        }
    return complain(p, "the kernels have no constant %s", name);
}

static bool read_options(program *p, fake_cubin *c, int n, const char *const *options, bool *f32)
{
    c->spec = c->has_window = c->has_soft_cap = c->has_capture = c->padded = -1;
    for (int i = 0; i < n; i++) {
        const char *o = options[i], *arch = "--gpu-architecture=";
        if (!strncmp(o, "-D", 2)) {
            if (!read_constant(p, c, o, f32)) return false;
        } else if (!strncmp(o, arch, strlen(arch)) && known_arch(o + strlen(arch))) {
            snprintf(c->arch, sizeof c->arch, "%s", o + strlen(arch));
        } else if (strncmp(o, "--ptxas-options=", 16) != 0) {
            return complain(p, "unrecognized option %s", o);
        }
    }
    return *c->arch || complain(p, "no --gpu-architecture=sm_XX, so there is no machine code");
}

nvrtcResult nvrtcCompileProgram(nvrtcProgram handle, int n, const char *const *options)
{
    FAKE_BEGIN("%s, %d options", fake_object_name(handle), n);
    program *p = fake_object_get(handle, FAKE_PROGRAM);
    if (!p) FAKE_RESULT(NVRTC_ERROR_INVALID_PROGRAM);
    fake_cubin c = {0};
    bool f32 = false;
    if (!read_options(p, &c, n, options, &f32)) FAKE_RESULT(NVRTC_ERROR_INVALID_OPTION);
    if (!is_original(p, cuda_kernels, p->name, p->source) || !check_includes(p, p->source, 0))
        FAKE_RESULT(NVRTC_ERROR_COMPILATION);
    snprintf(c.file, sizeof c.file, "%s", p->name);
    if (!find_kernels(p, &c, f32)) FAKE_RESULT(NVRTC_ERROR_COMPILATION);
    free(p->cubin);
    p->cubin = fake_cubin_write(&c, &p->cubin_bytes);
    FAKE_RESULT(NVRTC_SUCCESS);
}

/* ---- results ---- */

nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram handle, size_t *bytes)
{
    FAKE_BEGIN("%s", fake_object_name(handle));
    program *p = fake_object_get(handle, FAKE_PROGRAM);
    if (!p) FAKE_RESULT(NVRTC_ERROR_INVALID_PROGRAM);
    *bytes = p->log.size + 1;
    FAKE_RESULT(NVRTC_SUCCESS);
}

nvrtcResult nvrtcGetProgramLog(nvrtcProgram handle, char *text)
{
    FAKE_BEGIN("%s", fake_object_name(handle));
    program *p = fake_object_get(handle, FAKE_PROGRAM);
    if (!p) FAKE_RESULT(NVRTC_ERROR_INVALID_PROGRAM);
    if (p->log.size) memcpy(text, p->log.data, p->log.size);
    text[p->log.size] = 0;
    FAKE_RESULT(NVRTC_SUCCESS);
}

nvrtcResult nvrtcGetCUBINSize(nvrtcProgram handle, size_t *bytes)
{
    FAKE_BEGIN("%s", fake_object_name(handle));
    const program *p = fake_object_get(handle, FAKE_PROGRAM);
    if (!p) FAKE_RESULT(NVRTC_ERROR_INVALID_PROGRAM);
    if (!p->cubin) fake_fault("the program was not compiled");
    *bytes = p->cubin ? p->cubin_bytes : 0;
    FAKE_RESULT(p->cubin ? NVRTC_SUCCESS : NVRTC_ERROR_INVALID_PROGRAM);
}

nvrtcResult nvrtcGetCUBIN(nvrtcProgram handle, char *out)
{
    FAKE_BEGIN("%s", fake_object_name(handle));
    const program *p = fake_object_get(handle, FAKE_PROGRAM);
    if (!p) FAKE_RESULT(NVRTC_ERROR_INVALID_PROGRAM);
    if (!p->cubin) fake_fault("the program was not compiled");
    if (p->cubin) memcpy(out, p->cubin, p->cubin_bytes);
    FAKE_RESULT(p->cubin ? NVRTC_SUCCESS : NVRTC_ERROR_INVALID_PROGRAM);
}

const char *nvrtcGetErrorString(nvrtcResult result)
{
    static const char *const names[] = {"NVRTC_SUCCESS",
                                        "NVRTC_ERROR_OUT_OF_MEMORY",
                                        "NVRTC_ERROR_PROGRAM_CREATION_FAILURE",
                                        "NVRTC_ERROR_INVALID_INPUT",
                                        "NVRTC_ERROR_INVALID_PROGRAM",
                                        "NVRTC_ERROR_INVALID_OPTION",
                                        "NVRTC_ERROR_COMPILATION",
                                        "NVRTC_ERROR_BUILTIN_OPERATION_FAILURE"};
    fake_begin_sure(__func__);
    fake_end(0);
    if (result == NVRTC_ERROR_INTERNAL_ERROR) return "NVRTC_ERROR_INTERNAL_ERROR";
    return (size_t)result < sizeof names / sizeof *names ? names[result] : "NVRTC_ERROR unknown";
}
