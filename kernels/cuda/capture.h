/* Captured rows: where the samples leave the forward pass. See args.h for the lists.
 *
 * Ownership, so that each row is written once and no atomics are needed: an attention tile holds
 * queries first .. end - 1 of one head, and tiles partition (token, query head). The tile copies
 *   - the query rows of its own tokens and head;
 *   - the key and value rows of its own tokens, if its head is the first of those that read that key
 *     head.
 *
 * A row is 128 to 512 bytes that the block has just read or is about to: the copy costs its stores.
 * Almost every tile finds first[w] == first[w + 1] and leaves after two loads.
 *
 * A query's log-sum-exp is in the registers of the tile that owns it when its last key has been
 * seen: m + ln l. It takes the way of the query's row, 4 bytes instead of 2 d.
 *
 * next: kernels/cuda/attention_v1.cu */
#pragma once

#include "kernels/cuda/args.h"
#include "kernels/cuda/port.h"

/* One warp copies n bytes (even), 16 at a time when everything is aligned to that. */
DEVICE void copy_bytes(u8 *to, const u8 *from, int n)
{
    int lane = thread_id() % WARP;
    if ((((u64)to | (u64)from | (u64)n) & 15) == 0) {
        for (int i = 16 * lane; i < n; i += 16 * WARP) {
            u32 v[4];
            ld_u32x4(v, from + i);
            st_u32x4(to + i, v);
        }
    } else {
        for (int i = 2 * lane; i < n; i += 2 * WARP)
            st_u16((u16 *)(to + i), ld_u16((const u16 *)(from + i)));
    }
}

/* Rows first .. end - 1 of one head that are on the list. head_0: where head 0 of this kind stands
 * in row 0; stride: bytes between rows; bytes: of one head's row. All warps of the block call it.
 */
DEVICE void capture_rows(const capture_kind *kind, int first, int end, int head, int heads,
                         const u8 *head_0, long long stride, int bytes, int warp, int warps)
{
    if (!kind->first) return;
    int last = ld_i32(kind->first + (end - 1) / 32 + 1);
    for (int e = ld_i32(kind->first + first / 32) + warp; e < last; e += warps) {
        int row = ld_i32(&kind->rows[e].row);
        if (row < first || row >= end)
            continue; /* a neighbour's: words of 32 tokens overlap tiles */
        int base = ld_i32(kind->base + ld_i32(&kind->rows[e].copy) * heads + head);
        if (base < 0) continue;
        long long to = base + ld_i32(&kind->rows[e].index);
        copy_bytes((u8 *)kind->out + to * bytes, head_0 + row * stride + (long long)head * bytes,
                   bytes);
    }
}

/* What an attention tile captures; element: bytes of one number. */
DEVICE void capture_tile(const attention_args *a, const attention_tile *t, int end, int element,
                         int warp, int warps)
{
    int group = a->H / a->K, bytes = a->d * element;
    const u8 *q = (const u8 *)a->qkv, *k = q + (long long)a->H * bytes;
    const u8 *v = k + (long long)a->K * bytes;
    capture_rows(&a->q, t->first, end, t->head, a->H, q, a->qkv_stride * element, bytes, warp,
                 warps);
    if (t->head % group == 0) {
        capture_rows(&a->k, t->first, end, t->head / group, a->K, k, a->qkv_stride * element, bytes,
                     warp, warps);
        capture_rows(&a->v, t->first, end, t->head / group, a->K, v, a->qkv_stride * element, bytes,
                     warp, warps);
    }
}

/* m + ln l of a query's row and head, to all who want that query. One thread calls it, if a->lse. */
DEVICE void capture_lse(const attention_args *a, int row, int head, float m, float l)
{
    int last = ld_i32(a->q.first + row / 32 + 1);
    for (int e = ld_i32(a->q.first + row / 32); e < last; e++) {
        if (ld_i32(&a->q.rows[e].row) != row) continue;
        int base = ld_i32(a->q.base + ld_i32(&a->q.rows[e].copy) * a->H + head);
        if (base >= 0) st_f32(a->lse + base + ld_i32(&a->q.rows[e].index), m + log_exact(l));
    }
}

/* The block's tile. */
DEVICE attention_tile load_tile_of_block(const attention_args *a)
{
    const attention_tile *from = a->tiles + block_id();
    attention_tile t;
    t.first = ld_i32(&from->first);
    t.seq_begin = ld_i32(&from->seq_begin);
    t.seq_end = ld_i32(&from->seq_end);
    t.head = ld_i32(&from->head);
    return t;
}
