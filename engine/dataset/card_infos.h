/* Types in dataset_infos.json, which `datasets` wrote beside the data before cards had
 * `dataset_info`, and still reads:
 *
 *   {"user--name": {"features": {"id": {"dtype": "string", "_type": "Value"}, ...}, ...}}
 *
 * A file about one configuration is about "default", whatever it is called there; what the card says
 * of a configuration replaces what the file says. Private to engine/dataset/.
 *
 * next: engine/dataset/card_options.h */
#pragma once

#include "engine/dataset/id_type.h"

/* The type that the file in the folder `root` gives to the column of a configuration; one with
 * is_known = false where it gives none, or is not there. An error where the file is no JSON, or
 * such values cannot be ids. */
qk_status qk_card_infos_type(qk_id_type *out, const char *root, const char *config,
                             const char *column, qk_error *err);
