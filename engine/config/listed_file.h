/* The file of capture.sampler.positions: JSON Lines, one example a line.
 *
 *   {"id": 7, "positions": [0, 5, 17]}      id as in the dataset's id column, or the row number
 *   {"id": "doc-1", "positions": []}        hashed as such ids are (sampler/example_id.h)
 *   {"positions": [0]}                      every example that has no line of its own
 *
 * Positions stand in any order, one that is given twice counts once. An example without a line has
 * no rows where there is no line for all others. What is not of this form is an error that names
 * the line: other keys, two lines of one example, lines beyond 64 MiB.
 *
 * Memory: the longest line, and while reading 8 bytes a position and 48 an example, of which 4 and
 * 24 stay; at most 2^27 positions and 2^24 examples.
 *
 * next: sampler/listed.h */
#pragma once

#include "engine/base/mem.h"
#include "sampler/listed.h"

/* What is read is what was hashed. The arrays lie in the arena; the path is borrowed. */
qk_status qk_listed_read(qk_listed *out, const char *path, qk_arena *arena, qk_error *err);
