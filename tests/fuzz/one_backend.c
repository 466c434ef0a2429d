/* Fuzz programs are linked without the CPU kernels, which are compiled once per instruction set. */
#include "kernels/backend.h"
#include "kernels/cpu/peak.h"

const qk_backend qk_backend_cpu; /* a plan names it for when none is found; here one always is */

const qk_backend *qk_backend_find(const char *name)
{
    (void)name;
    return &qk_backend_ref;
}

const char *qk_backend_names(void)
{
    return "ref";
}

/* What a benchmark asks of those kernels. */
double qk_cpu_peak(qk_dtype dtype, int threads, double seconds)
{
    (void)dtype, (void)threads, (void)seconds;
    return 0;
}

double qk_cpu_copy_rate(int threads, double seconds)
{
    (void)threads, (void)seconds;
    return 0;
}
