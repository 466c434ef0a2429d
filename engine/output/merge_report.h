/* What a merge leaves beside the data: numbers for manifest.json and README.md.
 * Private to merge*.c and engine/push. */
#pragma once

#include "engine/output/dataset_card.h"
#include "engine/output/layout.h"
#include "engine/output/manifest.h"

typedef struct qk_merge_report {
    const qk_output *out;
    const qk_json *old;    /* manifest that is there, whose runs stay, or NULL */
    qk_manifest_run run;   /* that is added; units: [n_units], owned */
    qk_unit_totals *units; /* run.units */
    int64_t examples, tokens;
    uint64_t rows, nonfinite; /* nonfinite: of them, those that hold NaN or infinity */
    qk_card_file *files;      /* of this split first; after find_others of all splits */
    qk_manifest_file *sizes;  /* [n_files], of this split's files */
    qk_manifest_file examples_file;
    size_t n_files, capacity; /* of this split */
    qk_card_file *others;
    size_t n_others, others_capacity;
    qk_card_split *splits; /* all, this one first */
    size_t n_splits, splits_capacity;
    qk_arena arena;
} qk_merge_report;

/* A finished file of this run. entry->name lives in the arena. */
void qk_merge_report_add(qk_merge_report *r, const qk_manifest_file *entry, int layer, int head,
                         qk_kind kind);
/* Files that final/ has and this run did not write: other heads of this split, with the digests
 * that the manifest `old` has for them, and other splits. */
qk_status qk_merge_report_find_others(qk_merge_report *r, qk_error *err);
/* Texts of both; the caller frees them. */
qk_status qk_merge_report_write(qk_merge_report *r, qk_buf *manifest, qk_buf *card, qk_error *err);
void qk_merge_report_free(qk_merge_report *r);

/* What the card says of a split, from its manifest (NULL: nothing): its runs, and what the last of
 * them was. Strings and runs live in the arena. */
void qk_describe_split(qk_card_split *split, const qk_json *manifest, qk_arena *arena);
