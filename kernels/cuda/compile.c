/* See compile.h.
 *
 * next: kernels/cuda/runtime.h */
#include "kernels/cuda/compile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cache.h"
#include "engine/base/hash.h"
#include "kernels/cuda/libraries.h"

enum { MAX_OPTIONS = 12, MAX_CUBIN = 64 << 20 };

/* ---- what is compiled ---- */

static const cuda_source *added;

void cuda_add_source(const cuda_source *source)
{
    added = source;
}

static bool is_file(const cuda_source *s, const char *file)
{
    const char *name = strrchr(s->name, '/') + 1;
    size_t n = strlen(file);
    return !strncmp(name, file, n) && !strcmp(name + n, ".cu");
}

static const cuda_source *find_source(const char *file)
{
    for (const cuda_source *s = cuda_kernels; s->name; s++)
        if (is_file(s, file)) return s;
    if (added && is_file(added, file)) return added;
    qk_fatal("there is no kernel file %s", file);
}

/* "--gpu-architecture=sm_90a -DHEAD_DIM=128 -DPADDED=1", separated by blanks. */
static char *options_of(const cuda_build *b, const char *arch, const char *more)
{
    return qk_strf("--gpu-architecture=%s -D%s=%d %s %s", arch, b->macro, b->value, b->defines,
                   more);
}

char *cuda_cubin_name(const cuda_build *build, const char *arch)
{
    qk_buf all = {0};
    char *options = options_of(build, arch, "");
    uint8_t digest[32];
    char hex[65];
    qk_buf_add(&all, options, strlen(options) + 1);
    for (const cuda_source *h = cuda_headers; h->name; h++)
        qk_buf_add(&all, h->text, strlen(h->text) + 1);
    const cuda_source *s = find_source(build->file);
    qk_buf_add(&all, s->text, strlen(s->text) + 1);
    qk_sha256(all.data, all.size, digest);
    qk_sha256_hex(digest, hex);
    char *name = qk_strf("%s.cubin", hex);
    free(options);
    qk_buf_free(&all);
    return name;
}

/* ---- NVRTC ---- */

static const char newer[] = "this NVRTC may not know this GPU: a newer CUDA toolkit helps then";

static qk_status create(const cuda_nvrtc *rtc, const cuda_build *build, nvrtcProgram *program,
                        qk_error *err)
{
    const char *texts[8], *names[8];
    int n = 0;
    for (const cuda_source *h = cuda_headers; h->name; h++, n++) {
        QK_ASSERT(n < 8);
        texts[n] = h->text;
        names[n] = h->name;
    }
    const cuda_source *s = find_source(build->file);
    nvrtcResult r = rtc->nvrtcCreateProgram(program, s->text, s->name, n, texts, names);
    if (r == NVRTC_SUCCESS) return QK_OK;
    return qk_fail(err, QK_ERR_UNSUPPORTED, newer, "%s: nvrtcCreateProgram: %s", s->name,
                   rtc->nvrtcGetErrorString(r));
}

static void read_log(const cuda_nvrtc *rtc, nvrtcProgram program, qk_buf *log)
{
    size_t n = 0;
    if (rtc->nvrtcGetProgramLogSize(program, &n) != NVRTC_SUCCESS || n < 2) return;
    char *text = qk_zalloc(n + 1, 1);
    if (rtc->nvrtcGetProgramLog(program, text) == NVRTC_SUCCESS)
        qk_buf_add(log, text, strlen(text));
    free(text);
}

static qk_status compile(const cuda_nvrtc *rtc, nvrtcProgram program, char *options,
                         const char *title, qk_buf *out, qk_buf *log, qk_error *err)
{
    const char *list[MAX_OPTIONS];
    int n = 0;
    char *save = NULL;
    for (char *o = strtok_r(options, " ", &save); o; o = strtok_r(NULL, " ", &save)) {
        QK_ASSERT(n < MAX_OPTIONS);
        list[n++] = o;
    }
    const char *call = "nvrtcCompileProgram";
    nvrtcResult r = rtc->nvrtcCompileProgram(program, n, list);
    read_log(rtc, program, log);
    size_t size = 0;
    if (r == NVRTC_SUCCESS) call = "nvrtcGetCUBINSize", r = rtc->nvrtcGetCUBINSize(program, &size);
    if (r == NVRTC_SUCCESS && size) {
        char *bytes = qk_alloc(size, 1);
        call = "nvrtcGetCUBIN";
        r = rtc->nvrtcGetCUBIN(program, bytes);
        if (r == NVRTC_SUCCESS) qk_buf_add(out, bytes, size);
        free(bytes);
    }
    if (r == NVRTC_SUCCESS && size) return QK_OK;
    return qk_fail(err, QK_ERR_UNSUPPORTED, newer, "%s does not compile: %s: %s. %.600s", title,
                   call, r == NVRTC_SUCCESS ? "no machine code" : rtc->nvrtcGetErrorString(r),
                   log->size ? qk_buf_str(log) : "");
}

qk_status cuda_compile(const cuda_build *build, const char *arch, const char *more_options,
                       qk_buf *out, qk_buf *log, qk_error *err)
{
    const cuda_nvrtc *rtc = cuda_nvrtc_get(err);
    if (!rtc) return err->status;
    nvrtcProgram program;
    QK_TRY(create(rtc, build, &program, err));
    char *options = options_of(build, arch, more_options), title[256];
    snprintf(title, sizeof title, "%s (%s)", find_source(build->file)->name, options);
    qk_buf own = {0};
    qk_status s = compile(rtc, program, options, title, out, log ? log : &own, err);
    rtc->nvrtcDestroyProgram(&program);
    qk_buf_free(&own);
    free(options);
    return s;
}

/* ---- what is kept ---- */

qk_status cuda_cubin(const cuda_build *build, const char *arch, bool fresh, qk_buf *out,
                     qk_error *err)
{
    char *name = cuda_cubin_name(build, arch);
    qk_status s = QK_OK;
    bool found = !fresh && (qk_kept_read("cubins", name, MAX_CUBIN, out) ||
                            qk_installed_read("cubins", name, MAX_CUBIN, out) ||
                            qk_installed_read("../share/qkengine/cubins", name, MAX_CUBIN, out));
    if (!found) {
        s = cuda_compile(build, arch, "", out, NULL, err);
        if (s == QK_OK) qk_kept_write("cubins", name, out->data, out->size);
    }
    free(name);
    return s;
}
