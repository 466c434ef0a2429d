/* Which instruction set the CPU backend runs with. See cpu.h. */
#include <string.h>

#include "kernels/cpu/cpu.h"

extern const cpu_isa cpu_isa_portable;
#ifdef QK_X86
extern const cpu_isa cpu_isa_avx2, cpu_isa_avx512, cpu_isa_avx512bf16;
#endif

static bool runs_here(const cpu_isa *isa)
{
#ifdef QK_X86
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (isa == &cpu_isa_avx512bf16) return avx512 && __builtin_cpu_supports("avx512bf16");
    if (isa == &cpu_isa_avx512) return avx512;
    if (isa == &cpu_isa_avx2) return avx2;
#endif
    (void)isa;
    return true;
}

const cpu_isa *cpu_isa_find(const char *name)
{
    static const cpu_isa *const best_first[] = {
#ifdef QK_X86
        &cpu_isa_avx512bf16,
        &cpu_isa_avx512,
        &cpu_isa_avx2,
#endif
        &cpu_isa_portable,
    };
    for (size_t i = 0; i < sizeof best_first / sizeof *best_first; i++)
        if ((!name || !strcmp(name, best_first[i]->name)) && runs_here(best_first[i]))
            return best_first[i];
    return NULL;
}
