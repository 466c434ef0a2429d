/* The table of this instruction set. See kernels/cpu/cpu.h. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa/isa.h"
#ifdef QK_ISA_amx
#include "kernels/cpu/isa/amx.h"
#endif

#define QK_TEXT_(x) #x
#define QK_TEXT(x) QK_TEXT_(x)

#if defined(QK_ISA_amx)
#define TITLE "AMX and AVX-512 with BF16"
#elif defined(QK_ISA_avx512bf16)
#define TITLE "AVX-512 with BF16"
#elif defined(QK_ISA_avx512)
#define TITLE "AVX-512"
#elif defined(QK_ISA_avx2)
#define TITLE "AVX2"
#else
#define TITLE "portable"
#endif

#define GEMM(depth_, packed)                                                                       \
    {                                                                                              \
        .tile_rows = TILE_ROWS, .panel_cols = PANEL_COLS, .depth = depth_, .packed_size = packed,  \
        .block_depth = BLOCK_DEPTH, .pack_rows = QK_NAME(cpu_gemm_pack),                           \
        .tile = QK_NAME(cpu_gemm_tile)                                                             \
    }
#define ATTENTION                                                                                  \
    {                                                                                              \
        QK_NAME(cpu_attention_tile_run), QK_NAME(cpu_attention_floats)                             \
    }

#ifdef QK_ISA_amx
#define BF16_GEMM                                                                                  \
    {                                                                                              \
        .tile_rows = AMX_ROWS, .panel_cols = PANEL_COLS, .depth = AMX_DEPTH, .packed_size = 2,     \
        .block_depth = 2048, .begin = QK_NAME(cpu_tiles_begin), .end = QK_NAME(cpu_tiles_end),     \
        .pack_rows = QK_NAME(cpu_tiles_pack), .tile = QK_NAME(cpu_tiles_product)                   \
    }
#define BF16_ATTENTION                                                                             \
    {                                                                                              \
        QK_NAME(cpu_tiles_attention), QK_NAME(cpu_tiles_attention_floats)                          \
    }
#else
#define BF16_GEMM GEMM(2, PACKED_BF16)
#define BF16_ATTENTION ATTENTION
#endif

extern const cpu_isa QK_NAME(cpu_isa);

const cpu_isa QK_NAME(cpu_isa) = {
    .name = QK_TEXT(QK_ISA),
    .title = TITLE,
    .gemm = {[QK_F32] = GEMM(1, 4), [QK_F16] = GEMM(1, 4), [QK_BF16] = BF16_GEMM},
    .attention = {[QK_F32] = ATTENTION, [QK_BF16] = BF16_ATTENTION},
    .rmsnorm = QK_NAME(cpu_row_rmsnorm),
    .glu = QK_NAME(cpu_row_glu),
    .norm_part = QK_NAME(cpu_norm_part),
    .softmax = QK_NAME(cpu_softmax),
    .rotate = QK_NAME(cpu_rotate),
    .store = QK_NAME(cpu_row_store),
    .peak_f32 = QK_NAME(cpu_peak_f32),
#ifdef QK_ISA_avx512bf16 /* amx, too */
    .peak_bf16 = QK_NAME(cpu_peak_bf16),
#endif
    .copy_row = QK_NAME(cpu_copy_row),
};
