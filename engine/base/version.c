/* See version.h. */
#include "engine/base/version.h"

#include <stdio.h>

#include <zstd.h>

#if defined(__x86_64__)
#define ARCH "x86_64"
#elif defined(__aarch64__)
#define ARCH "aarch64"
#else
#define ARCH "other"
#endif

#ifdef QK_CUDA
#define BACKENDS "cpu, cuda"
#else
#define BACKENDS "cpu"
#endif

#ifdef __clang__
#define TEXT_OF(number) #number
#define DOTTED(a, b, c) TEXT_OF(a) "." TEXT_OF(b) "." TEXT_OF(c)
#define COMPILER "clang " DOTTED(__clang_major__, __clang_minor__, __clang_patchlevel__)
#else
#define COMPILER "gcc " __VERSION__
#endif

void qk_build(char out[QK_BUILD_TEXT])
{
    snprintf(out, QK_BUILD_TEXT, QK_VERSION " (%s, " ARCH ", " BACKENDS ", libzstd %s)", COMPILER,
             ZSTD_versionString()); /* of the library that is there now */
}
