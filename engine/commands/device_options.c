/* See device_options.h. */
#include "engine/commands/device_options.h"

#include <omp.h>
#include <string.h>

static qk_status read_dtype(const char *name, qk_dtype *out, qk_error *err)
{
    static const qk_dtype all[] = {QK_F32, QK_F16, QK_BF16};
    for (size_t i = 0; i < 3; i++)
        if (!strcmp(name, qk_dtype_name(all[i]))) {
            *out = all[i];
            return QK_OK;
        }
    return qk_fail(err, QK_ERR_USAGE, "known: float32, float16, bfloat16", "--dtype %s: unknown",
                   name);
}

qk_status qk_device_options_read(const qk_args *args, const qk_backend **backend,
                                 qk_device_options *options, qk_error *err)
{
    *options = (qk_device_options){.isa = qk_value(args, "isa", NULL)};
    const char *name = qk_value(args, "backend", "cpu");
    *backend = qk_backend_find(name);
    if (!*backend)
        return qk_fail(err, QK_ERR_USAGE, NULL, "--backend %s: unknown; this build has %s", name,
                       qk_backend_names());
    QK_TRY(read_dtype(qk_value(args, "dtype", "float32"), &options->compute, err));
    int64_t threads;
    QK_TRY(qk_value_int(args, "threads", 0, 0, &threads, err));
    options->threads = (int)threads;
    if (threads) omp_set_num_threads((int)threads); /* what is done besides the device's work */
    return QK_OK;
}
