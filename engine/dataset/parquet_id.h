/* Ids of a Parquet column: their type, and its values as cells. Private to engine/dataset/.
 *
 * Most of the type is Parquet's own. What that cannot say is in the Arrow schema that Arrow's
 * writers leave in the footer (formats/arrow_schema_read.h), and pyarrow takes it from there, so it
 * is taken here, too: the zone of a time stamp, durations, short decimals. Zones by name are
 * refused, see qk_id_zone_offset.
 *
 * next: engine/dataset/cell.h */
#pragma once

#include "engine/dataset/source.h"
#include "formats/arrow_schema_read.h"
#include "formats/parquet_read.h"

/* QK_ERR_UNSUPPORTED when values of this column cannot be ids. `arrow` is what the Arrow schema
 * says of it. Messages name no file. */
qk_status qk_parquet_id_type(qk_id_type *out, const qk_pq_leaf *leaf, const qk_arrow_type *arrow,
                             qk_error *err);
/* Value i of a batch. The cell's text lives in the batch or in *text. Messages name no row. */
qk_status qk_parquet_id(qk_cell *cell, const qk_pq_leaf *leaf, const qk_id_type *type,
                        const qk_pq_batch *batch, size_t i, qk_buf *text, qk_error *err);
