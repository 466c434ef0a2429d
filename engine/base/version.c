/* See version.h. */
#include "engine/base/version.h"

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

const char *qk_build(void)
{
#ifdef __clang__
    return "clang " __clang_version__ ", " ARCH ", " BACKENDS;
#else
    return "gcc " __VERSION__ ", " ARCH ", " BACKENDS;
#endif
}
