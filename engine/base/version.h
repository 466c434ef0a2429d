/* The version, and how this binary was built. Only the version goes into final/: the same run has
 * the same bytes whoever built the program. The rest is for --version, the log and staging/builds
 * (engine/staging/staging.h), with the one library whose version decides bytes: it packs Parquet
 * pages. */
#pragma once

#define QK_VERSION "0.1.0"

enum { QK_BUILD_TEXT = 256 };

/* "0.1.0 (gcc 12.2.0, x86_64, cpu, libzstd 1.5.4)" */
void qk_build(char out[QK_BUILD_TEXT]);
