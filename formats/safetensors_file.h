/* Between safetensors.c (one file) and checkpoint.c (a folder of them). */
#pragma once

#include "formats/safetensors.h"

typedef struct qk_st_list {
    qk_st_tensor *items;
    size_t count, capacity;
} qk_st_list;

/* Appends the tensors of one file; names live in the arena, the path is the input's. */
qk_status qk_st_read_file(const qk_input *in, qk_arena *arena, qk_st_list *out, qk_error *err);
/* Bits of one element of a dtype as the format names it; 0 when it is unknown. */
size_t qk_st_dtype_bits(const char *dtype);
