/* What the files of the CPU backend share: the device, the packed matrix, the table of inner loops.
 *
 * next: kernels/cpu/backend_cpu.c */
#pragma once

#include "kernels/backend.h"

/* ---- inner loops, one table per instruction set (kernels/cpu/isa) ---- */

/* A tile of a matrix product: y[m, n] for up to tile_rows x panel_cols outputs.
 *   x  packed by pack_rows: [K, tile_rows] float32, or, where an instruction multiplies them,
 *      [K/2, tile_rows] pairs of bfloat16; with tile registers see kernels/cpu/isa/amx.h
 *   w  one panel of a packed matrix (see qk_matrix)
 * y = [y +] x w^T [+ bias]; the sum over k is one chain of fused multiply-adds in order (with
 * tile registers another one: kernels/cpu/isa/amx.h). */
typedef struct cpu_tile {
    const void *x, *w;
    size_t k; /* length of the sum */
    float *y; /* [rows, cols], rows y_stride apart */
    size_t y_stride;
    size_t rows, cols; /* what is stored: <= tile_rows, <= panel_cols */
    const float *bias; /* [cols] or NULL */
    bool accumulate;
    /* Where the sum over k is cut (cpu_gemm.block_depth): the sums so far, [tile_rows, panel_cols],
     * on a 64-byte boundary. NULL: it is not. */
    float *sums;
    bool begins, ends; /* this is the first, the last part: only then y is touched */
} cpu_tile;

/* How matrix products of one compute format are done. */
typedef struct cpu_gemm {
    size_t tile_rows, panel_cols;
    size_t depth;        /* K is padded with zeros to a multiple of this */
    size_t packed_size;  /* bytes of a packed number of x */
    size_t block_depth;  /* long sums over k are cut into parts of this */
    void (*begin)(void); /* before a thread's first tile and after its last: tile registers; */
    void (*end)(void);   /* NULL where there are none */
    void (*pack_rows)(void *out, qk_tensor x, size_t first, size_t rows, qk_dtype compute);
    void (*tile)(const cpu_tile *t, qk_dtype compute);
} cpu_gemm;

/* Queries of one work item in attention. */
enum { CPU_QUERIES = 64 };

/* One wish for a log-sum-exp: of the queries of a row, for all heads of a copy, there at `index`. */
typedef struct cpu_lse_row {
    int32_t row, copy, index;
} cpu_lse_row;

/* One query tile of one key head in attention; see kernels/cpu/isa/attention.c. */
typedef struct cpu_attention_tile {
    qk_tensor o, qkv;
    const qk_attention *p;
    const cpu_lse_row *lse; /* [n_lse] of the tile's queries, ascending; mostly none */
    size_t n_lse;
    size_t seq_begin, first, rows; /* of the sequence; of the tile's queries, counted from it */
    int kv_head;
    float *scratch; /* cpu_attend.scratch floats, on a 64-byte boundary */
} cpu_attention_tile;

/* Gives them the log-sum-exps of the tile: unit m + ln l for each of its rows (query, head), row
 * query group + head; NaN where l is 0, NaN or `nan` is. All [group rows]. */
void cpu_give_lse(const cpu_attention_tile *t, const float *m, double unit, const float *l,
                  const float *nan);

typedef struct cpu_attend {
    void (*run)(const cpu_attention_tile *t);
    size_t (*scratch)(qk_heads heads); /* floats */
} cpu_attend;

typedef struct cpu_isa {
    const char *name, *title; /* "avx512", "AVX-512" */
    cpu_gemm gemm[3];         /* by compute format */
    cpu_attend attention[3];  /* by the format of q, k, v: float32 or bfloat16 */
    void (*rmsnorm)(qk_tensor y, qk_tensor x, size_t row, const float *w, float eps, bool plus_one);
    void (*glu)(qk_tensor y, qk_tensor g, size_t row, qk_activation act);
    void (*norm_part)(float *x, size_t n, const float *w, float eps, bool plus_one); /* in place */
    void (*softmax)(float *x, size_t n);                                             /* in place */
    /* (a, b) -> (a cos - b sin, b cos + a sin), a = head[i], b = head[i + half] */
    void (*rotate)(float *head, const float *cos, const float *sin, size_t half);
    void (*store)(qk_tensor y, size_t row, const float *from); /* y[row, :], in y's format */
    /* kernels/cpu/peak.h: so many turns of as many multiply-adds as there can be at a time; how many
     * operations that were. bfloat16: NULL where no instruction multiplies it. */
    double (*peak_f32)(size_t turns);
    double (*peak_bf16)(size_t turns);
    /* d elements of t's data from number `at` on, float32 or bfloat16, rounded to a format */
    void (*copy_row)(float *out, qk_tensor t, size_t at, size_t d, qk_dtype rounded);
} cpu_isa;

/* The best one of this processor, or the one called `name`; NULL when it cannot run here. */
const cpu_isa *cpu_isa_find(const char *name);
/* "amx avx512bf16 ..": the names of those that run here, best first; for messages. */
void cpu_isa_names(char *out, size_t size);

/* ---- device and matrices ---- */

/* Memory that grows and is kept for the next call; on a 64-byte boundary. */
typedef struct cpu_buffer {
    void *data;
    size_t bytes;
} cpu_buffer;
/* Makes it at least so large; what was in it is lost. */
void cpu_reserve(cpu_buffer *buffer, size_t bytes, const char *what);

struct qk_device {
    const cpu_isa *isa;
    qk_dtype compute;
    int threads;
    char title[96];
    cpu_buffer packed;         /* packed input rows of matmul */
    cpu_buffer sums;           /* of products whose sum over k is cut, one part per thread */
    cpu_buffer scratch;        /* of attention, one part per thread */
    struct cpu_router *router; /* of route; made when first needed */
};

/* Panels of panel_cols outputs, each [K, panel_cols] in the compute format; with QK_BF16
 * [K/2, panel_cols, 2], pairs of neighbouring k together. The last panel is padded with zeros, and
 * so is K to a multiple of cpu_gemm.depth. */
struct qk_matrix {
    size_t out, in, panel_cols, panel_bytes;
    void *panels;
};

/* kernels/cpu/matrix.c, matmul.c, attention.c, capture.c, elementwise.c, experts.c: slots of the op table */
qk_status cpu_matrix_new(qk_device *, size_t, size_t, const char *, qk_matrix **, qk_error *);
void cpu_matrix_load(qk_device *, qk_matrix *, size_t, size_t, const void *, qk_dtype);
void cpu_matrix_free(qk_device *, qk_matrix *);
void cpu_matmul(qk_device *, qk_tensor, qk_tensor, const qk_matrix *, const float *, bool);
void cpu_attention(qk_device *, qk_tensor, qk_tensor, const qk_attention *);
/* Rows of a chunk, whose row 0 is first_row of the lists, rounded to a format. */
void cpu_capture(qk_device *, qk_tensor chunk, size_t first_row, qk_heads, const qk_layer_capture *,
                 qk_dtype rounded);
void cpu_gather(qk_device *, qk_tensor, qk_heads, const qk_layer_capture *);
void cpu_embed(qk_device *, qk_tensor, qk_tensor, const int32_t *, float);
void cpu_rmsnorm(qk_device *, qk_tensor, qk_tensor, const float *, float, bool);
void cpu_convert(qk_device *, qk_tensor, qk_tensor);
void cpu_add(qk_device *, qk_tensor, qk_tensor, const float *, float, bool, float);
void cpu_qkv_post(qk_device *, qk_tensor, qk_tensor, const qk_qkv_post *, size_t);
void cpu_glu(qk_device *, qk_tensor, qk_tensor, qk_activation);
const qk_routes *cpu_route(qk_device *, qk_tensor, int, bool);
const int32_t *cpu_row_list(qk_device *, const int32_t *, size_t);
void cpu_take_rows(qk_device *, qk_tensor, qk_tensor, const int32_t *);
void cpu_add_rows(qk_device *, qk_tensor, qk_tensor, const int32_t *, const float *);
void cpu_router_free(struct cpu_router *); /* NULL-safe */

static inline const cpu_gemm *cpu_gemm_of(const qk_device *dev)
{
    return &dev->isa->gemm[dev->compute];
}

static inline size_t cpu_round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}
