/* The model, the tokenizer and the dataset of a configuration as folders on this disk. What is no
 * local path but looks like owner/name is a repository of the Hub (hub/pull.h): of a model
 * config.json, tokenizer files and the safetensors that make it up are pulled; of a dataset the
 * list of files and the card, and its files when their rows are read.
 *
 * What is used is what was hashed: two lists know each file as it was when this run first looked at
 * it, before anything was read of it. That of model and tokenizer is looked through behind their
 * hashing and behind the loading of the weights; the dataset's files are each looked at when they
 * are opened, after the rows of each work unit, and when they are closed. So a unit is computed
 * only from texts and weights that were the hashed ones until after they were read, and a file that
 * changes is an error with its name.
 *
 * next: engine/run/plan.h */
#pragma once

#include "formats/mistaken.h"

typedef struct qk_config qk_config;
typedef struct qk_dataset_remote qk_dataset_remote;
typedef struct qk_hub_dataset qk_hub_dataset;
typedef struct qk_snapshot qk_snapshot;
typedef struct qk_watch qk_watch;

typedef enum qk_inputs_use {
    QK_INPUTS_RUN,
    QK_INPUTS_INSPECT, /* config.json and tokenizer only; a dataset of the Hub only from the cache */
} qk_inputs_use;

typedef struct qk_inputs {
    char *model, *tokenizer; /* folders */
    qk_hub_dataset *dataset; /* NULL: local */
    bool dataset_is_missing; /* INSPECT: a Hub dataset that is not in the cache */
    qk_watch *files;         /* config.json, weights, tokenizer; of one thread */
    qk_watch *rows;          /* the dataset's files; of the thread that reads them */
} qk_inputs;

/* On error *inputs needs no free. A local path is not looked at beyond its being there. */
qk_status qk_inputs_open(qk_inputs *inputs, const qk_config *config, qk_inputs_use use,
                         qk_error *err);
void qk_inputs_free(qk_inputs *inputs);
/* NULL for a local dataset. */
const qk_dataset_remote *qk_inputs_remote(const qk_inputs *inputs);
/* Ends what is being fetched for the dataset. In any thread. */
void qk_inputs_stop(const qk_inputs *inputs);

/* Pulls a model's files that a run needs, by rules above, into the snapshot. */
qk_status qk_inputs_fetch_model(qk_snapshot *snapshot, qk_error *err);
/* qk_explain_listing of a repository: always an error. */
qk_status qk_inputs_explain(const qk_snapshot *snapshot, qk_wanted wanted, qk_error *err);
