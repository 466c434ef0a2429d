/* What a merge leaves beside the data: numbers for manifest.json and README.md.
 * Private to merge*.c. */
#pragma once

#include "engine/output/layout.h"
#include "engine/output/manifest.h"

typedef struct qk_merge_report {
    const qk_output *out;
    const qk_json *old;    /* manifest that is there, whose runs stay, or NULL */
    qk_manifest_run run;   /* that is added; units: [n_units], owned */
    qk_unit_totals *units; /* run.units */
    int64_t examples, tokens;
    uint64_t rows, nonfinite; /* nonfinite: of them, those that hold NaN or infinity */
    qk_manifest_file *files;  /* of this split; after find_others all that it will have */
    size_t n_files, capacity;
    qk_manifest_file examples_file;
    qk_arena arena;
} qk_merge_report;

/* A finished file of this run. entry->name lives in the arena. */
void qk_merge_report_add(qk_merge_report *r, const qk_manifest_file *entry);
/* Files that the split's folder has and this run did not write, with the digests that the manifest
 * `old` has for them. */
qk_status qk_merge_report_find_others(qk_merge_report *r, qk_error *err);
/* Texts of both; the caller frees them. */
qk_status qk_merge_report_write(qk_merge_report *r, qk_buf *manifest, qk_buf *card, qk_error *err);
void qk_merge_report_free(qk_merge_report *r);
