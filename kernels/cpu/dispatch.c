/* Which instruction set the CPU backend runs with. See cpu.h. */
#include <stdio.h>
#include <string.h>
#ifdef QK_X86
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "kernels/cpu/cpu.h"

extern const cpu_isa cpu_isa_portable;
#ifdef QK_X86
extern const cpu_isa cpu_isa_avx2, cpu_isa_avx512, cpu_isa_avx512bf16, cpu_isa_amx;

/* Tile registers: 8 kB of state that Linux gives only to a process that asks (Linux 5.16). Asking
 * again does no harm. (Intel SDM 2, CPUID leaf 7; Linux, Documentation/arch/x86/xstate.rst) */
static bool tiles_granted(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    if (!(d & AMX_BF16) || !(d & AMX_TILE)) return false;
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}
#endif

static bool runs_here(const cpu_isa *isa)
{
#ifdef QK_X86
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
    if (isa == &cpu_isa_amx) return bf16 && tiles_granted();
    if (isa == &cpu_isa_avx512bf16) return bf16;
    if (isa == &cpu_isa_avx512) return avx512;
    if (isa == &cpu_isa_avx2) return avx2;
#endif
    (void)isa;
    return true;
}

static const cpu_isa *const best_first[] = {
#ifdef QK_X86
    &cpu_isa_amx,      &cpu_isa_avx512bf16, &cpu_isa_avx512, &cpu_isa_avx2,
#endif
    &cpu_isa_portable,
};
enum { N_ISAS = sizeof best_first / sizeof *best_first };

const cpu_isa *cpu_isa_find(const char *name)
{
    for (size_t i = 0; i < N_ISAS; i++)
        if ((!name || !strcmp(name, best_first[i]->name)) && runs_here(best_first[i]))
            return best_first[i];
    return NULL;
}

void cpu_isa_names(char *out, size_t size)
{
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < N_ISAS && used < size; i++)
        if (runs_here(best_first[i]))
            used += (size_t)snprintf(out + used, size - used, "%s%s", used ? " " : "",
                                     best_first[i]->name);
}
