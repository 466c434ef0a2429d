/* Which rows of a batch each layer computes: those that captured rows depend on, and no others.
 *
 * R_l are the rows whose residual stream enters layer l. From the last layer down:
 *
 *   Q_l = R_(l+1) and the queries whose log-sum-exp is captured    they attend in layer l
 *   R_l = the rows captured there, Q_l, and all keys that Q_l see   (its sequence up to them, or
 *                                                                    what a window leaves of it)
 *
 * so a document ends at its last sampled position, one without samples disappears, the last
 * captured layer has its captured rows alone, and behind the layer before it only they go on.
 *
 *   layer   tokens of a document, samples at s             R_l
 *   L - 2   [##########s####s##########]                   1111111111111111.........
 *   L - 1   [##s####s##########s#######]                   11111111111111111111.....   attention
 *   L       [s####s############s#######]                   1....1............1......   q and k
 *
 * The stream is compact: row i of a layer is token tokens[i] of the batch, ascending, and behind
 * attention only rows `keep` go on. Few rows in front of many stay where they are, unused: moving
 * the many would cost more. What stands there never reaches another row, so all bits are those of
 * the whole batch: key blocks are counted from where a sequence begins, and where a window cuts it
 * that is a multiple of QK_SLICE_STEP.
 *
 * next: engine/forward/forward.c */
#pragma once

#include "engine/forward/batch.h"
#include "engine/model/layer_budget.h"

/* The largest piece, of queries or keys, that attention cuts a sequence into (kernels/cuda/args.h). */
enum { QK_SLICE_STEP = 128 };

typedef struct qk_slice qk_slice;

/* How far a model is computed, as in qk_model. */
typedef struct qk_slice_model {
    const qk_spec *spec;
    int n_layers;
    qk_last_layer last;
} qk_slice_model;

/* The rows of one layer. Valid until the next one is asked for. */
typedef struct qk_layer_rows {
    size_t n;              /* that enter; 0: the layer has nothing to do */
    const int32_t *tokens; /* [n] of the batch, ascending */
    bool attends;          /* whether anybody wants what attention gives */
    const int32_t *seq_start;
    int n_seq;             /* for attention: in rows of the layer */
    const uint8_t *wanted; /* as in qk_attention */
    const int32_t *keep;   /* [n_keep] rows that go on behind attention, ascending */
    size_t n_keep;
    bool moves; /* keep is not 0, 1, 2 .. */
} qk_layer_rows;

qk_slice *qk_slice_new(void);
void qk_slice_free(qk_slice *s); /* NULL-safe */

/* Asks the hooks which rows of each layer are captured; without hooks->wanted every row of every
 * layer is computed. All borrowed until the last layer has run. */
void qk_slice_plan(qk_slice *s, const qk_slice_model *model, const qk_batch *batch,
                   const qk_capture_hooks *hooks);
/* How many rows enter the first layer, and their token ids. */
size_t qk_slice_rows(const qk_slice *s);
const int32_t *qk_slice_ids(qk_slice *s);
/* Layer l, after those before it; absent ones are left out. */
const qk_layer_rows *qk_slice_layer(qk_slice *s, int l);
/* What a layer gives away, its rows counted as those of the layer that was asked for last. stage: 0
 * before RoPE, 1 after; each is valid until it is mapped again. NULL stays NULL. */
const qk_layer_capture *qk_slice_capture(qk_slice *s, int stage, const qk_layer_capture *capture);
bool qk_slice_is_whole(const qk_slice *s);
const qk_slice_model *qk_slice_model_of(const qk_slice *s);
/* How much of layer l the plan has: rows that enter and those that leave, and pairs of a query and a
 * key in texts as long as the window at most, and in longer ones (each query with a whole window). Queries
 * that lie close between wanted ones count with them: backends take queries in pieces. */
typedef struct qk_slice_size {
    double enter, leave, pairs, windowed;
} qk_slice_size;
qk_slice_size qk_slice_size_of(const qk_slice *s, int l);
