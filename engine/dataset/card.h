/* The card of a dataset folder: `configs` in the YAML front matter of README.md.
 *
 *   ---
 *   configs:
 *   - config_name: en            chosen by dataset.name; else the only one, the one called default
 *     default: true              or the one with this
 *     data_files:                a pattern, a list of them, or a list of {split, path}
 *     - {split: train, path: en/train-*.parquet}
 *   - {config_name: fr, data_dir: fr}
 *   ---
 *
 * The block is between the first line and the next line that is "---". Keys of .huggingface.yaml
 * beside it win over those of the block. It is read as PyYAML's safe loader reads it
 * (config/yaml.h), and what is not used is not checked. Paths are normalised and stay inside the
 * folder (card_path.h); other keys of a configuration are options of the reader (card_options.h).
 * The first configuration says what format all have. The types that `dataset_info` gives to columns
 * (else dataset_infos.json, card_infos.h) are cast to; here that matters for ids. Private to engine/dataset/.
 *
 * next: engine/dataset/card_path.h */
#pragma once

#include "engine/dataset/folder.h"

/* Fills `out` when the card has configs and sets *done; adds no split when it has none. Sets
 * out->id_type in any case. */
qk_status qk_card_find(qk_data_files *out, const qk_listing *all, const char *name,
                       const char *id_column, bool *done, qk_error *err);
/* Names of the configurations in the card, each once; none: the folder has only "default". *chosen
 * is the one of them that is taken when none is named, or NULL. The caller frees. */
qk_status qk_card_configs(qk_names *out, const char **chosen, const char *root, qk_error *err);
