/* Fuzz programs are linked without the CPU kernels, which are compiled once per instruction set. */
#include "kernels/backend.h"

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
