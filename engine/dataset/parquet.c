/* Parquet rows. See source.h. */
#include "engine/dataset/source.h"

qk_status qk_parquet_open(qk_source **out, const qk_source_spec *spec, qk_error *err)
{
    *out = NULL;
    return qk_fail(err, QK_ERR_UNSUPPORTED, NULL, "%s: Parquet files are not read yet", spec->path);
}
