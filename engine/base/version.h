/* The version, and how this binary was built. Only QK_OUTPUT_VERSION goes into final/: the
 * same run has the same bytes whoever built the program. The rest is for --version, the log and staging/builds
 * (engine/staging/staging.h), with the one library whose version decides bytes: it packs Parquet
 * pages. */
#pragma once

#define QK_VERSION "0.2.0"
#define QK_VERSION_DATE "2026-11-30"

/* What the bytes of a run are called: the version that first wrote such ones. It is in the identity
 * of a run, in the footers of Parquet files and in the keys of cached digests, and becomes
 * QK_VERSION when the same settings begin to give other rows or other files. Until then a program
 * goes on with what an older one has begun. */
#define QK_OUTPUT_VERSION "0.1.0"

enum { QK_BUILD_TEXT = 256 };

/* "0.2.0 (gcc 12.2.0, x86_64, cpu, libzstd 1.5.4)" */
void qk_build(char out[QK_BUILD_TEXT]);
