/* The table of this instruction set. See kernels/cpu/cpu.h. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa/isa.h"

#define QK_TEXT_(x) #x
#define QK_TEXT(x) QK_TEXT_(x)

#if defined(QK_ISA_avx512bf16)
#define TITLE "AVX-512 with BF16"
#elif defined(QK_ISA_avx512)
#define TITLE "AVX-512"
#elif defined(QK_ISA_avx2)
#define TITLE "AVX2"
#else
#define TITLE "portable"
#endif

extern const cpu_isa QK_NAME(cpu_isa);

const cpu_isa QK_NAME(cpu_isa) = {
    .name = QK_TEXT(QK_ISA),
    .title = TITLE,
    .tile_rows = TILE_ROWS,
    .panel_cols = PANEL_COLS,
    .pack_rows = QK_NAME(cpu_gemm_pack),
    .tile = QK_NAME(cpu_gemm_tile),
    .rmsnorm = QK_NAME(cpu_row_rmsnorm),
    .glu = QK_NAME(cpu_row_glu),
    .norm_part = QK_NAME(cpu_norm_part),
    .softmax = QK_NAME(cpu_softmax),
    .attention = QK_NAME(cpu_attention_tile_run),
    .attention_scratch = QK_NAME(cpu_attention_floats),
};
