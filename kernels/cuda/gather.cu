/* Captured rows on their own, for a last layer that stops at its projection.
 *
 * Block (x, y) takes entry x of the list (args.h, capture_kind) and head y: one warp, one row.
 *
 *   bytes   2 x 2 d per row and head, nothing else is touched
 *
 * next: kernels/cuda/capture.h */
#include "kernels/cuda/capture.h"

#ifndef FORMAT
#define FORMAT KERNEL_BF16
#endif
#define ELEMENT (FORMAT == KERNEL_F32 ? 4 : 2)

KERNEL(gather, WARP, gather_args)
{
    int e = block_id(), head = block_id_y(), bytes = a.d * ELEMENT;
    int base = ld_i32(a.kind.base + ld_i32(&a.kind.rows[e].copy) * a.heads + head);
    if (base < 0) return;
    long long to = base + ld_i32(&a.kind.rows[e].index), row = ld_i32(&a.kind.rows[e].row);
    const u8 *from = (const u8 *)a.qkv + (row * a.stride + a.first_col) * ELEMENT;
    copy_bytes((u8 *)a.kind.out + to * bytes, from + (long long)head * bytes, bytes);
}
