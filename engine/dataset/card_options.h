/* Keys of a card's configuration that are options of the reader: `sep`, `field`, `columns` ... They
 * are those of the builders of `datasets` 4.4 and 5.2. One that has its builder's default changes
 * nothing; one that may change rows or values is refused; what the builder of the format does not
 * know is passed over with a warning. Private to engine/dataset/.
 *
 * next: engine/dataset/format.h */
#pragma once

#include "engine/dataset/source.h"
#include "formats/yaml.h"

/* `config` is the map of the configuration, tsv tells of a CSV format which files it has, card
 * names the file for messages. */
qk_status qk_card_check_options(const qk_yaml *config, qk_format format, bool tsv, const char *card,
                                qk_error *err);
