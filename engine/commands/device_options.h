/* --backend, --dtype, --threads and --isa: shared by commands that compute. */
#pragma once

#include "engine/commands/cli.h"
#include "kernels/backend.h"

/* Rows of a command's option table. */
/* clang-format off */
#define QK_DEVICE_OPTIONS                                                                          \
    {"backend", "NAME", "cpu (default), or ref: naive, in double precision"},                      \
    {"dtype", "NAME", "float32 (default), bfloat16 or float16"},                                   \
    {"threads", "N", "CPU threads; default: all"},                                                 \
    {"isa", "NAME", "portable, avx2, avx512, avx512bf16 or amx; default: the best"}
/* clang-format on */

qk_status qk_device_options_read(const qk_args *args, const qk_backend **backend,
                                 qk_device_options *options, qk_error *err);
