/* The op table on the emulator: the CUDA ops and kernels, with naive matrix products. For tests.
 *
 * next: kernels/emulator/backend_emulator.c */
#pragma once

#include "kernels/backend.h"
#include "kernels/emulator/emulator.h"

extern const qk_backend qk_backend_emulator;

/* How the next launches run. */
typedef struct emu_settings {
    emu_order order;
    unsigned seed;
    int rung; /* of the attention ladder; 0: the best; read by open */
} emu_settings;
extern emu_settings emu_backend_settings;

/* What went wrong since the last call: "" or the first fault. Launches after a fault do nothing. */
const char *emu_backend_fault(void);
/* Sums over all launches since the last call. */
uint64_t emu_backend_bank_conflicts(void);
uint64_t emu_backend_tensor_products(void);
