/* Files that are read while somebody else may write to them: a run takes days, and what it reads is
 * other people's.
 *
 * They are read by pread, never followed through a mapping: one that is cut off, or a disk that
 * fails, is an error with a name then, not SIGBUS, and its pages do not count as the program's
 * memory.
 *
 * A file is the one from before when the path leads to the same device and inode, with the same
 * size, time of modification and time of change, to the nanosecond. Whatever was written, cut off,
 * appended or put there instead shows; the time of change cannot be set back. A check before the
 * first use and one behind the last tell therefore that all that was read in between, by
 * whatever descriptor, was of one content. Two limits. Clocks tick: writes within one tick
 * (some ms on Linux) have one time, so the first check waits until the file is older than that; a
 * file system that keeps whole seconds would need seconds and does not get them. And a write
 * through a shared mapping is dated when the system notices it, which may be later.
 *
 * next: engine/base/digest_note.h */
#pragma once

#include "engine/base/mem.h"

typedef struct qk_file_state {
    uint64_t device, inode, size; /* size: bytes; all zero: there is no such file */
    int64_t modified, changed;    /* nanoseconds since 1970 */
} qk_file_state;

/* Of the regular file that the path leads to. */
qk_status qk_file_state_of(const char *path, qk_file_state *out, qk_error *err);
/* Of an open one. */
qk_status qk_file_state_of_open(int fd, const char *path, qk_file_state *out, qk_error *err);
/* Fails, with the path and what is different, when it is no longer the file of `then`. */
qk_status qk_file_state_check(const qk_file_state *then, const char *path, qk_error *err);

/* Whether its last change lies so far back that the next one will have another time, also on file
 * systems with coarse clocks: only then may what is known of its content be kept between runs. */
bool qk_file_state_is_settled(const qk_file_state *state);

/* An open file. Zero-initialised means closed. */
typedef struct qk_input {
    char *path;
    int file;            /* its descriptor + 1 */
    qk_file_state state; /* when it was opened */
} qk_input;

qk_status qk_input_open(qk_input *in, const char *path, qk_error *err);
/* Bytes [at, at + n) of the file, which had them when it was opened. In any thread. */
qk_status qk_input_read(const qk_input *in, uint64_t at, void *out, size_t n, qk_error *err);
/* The same for who words the error: 0, an errno, or -1 where the file ends before that. */
int qk_input_try(const qk_input *in, uint64_t at, void *out, size_t n);
/* Fails when it was written to since. What is open stays, whatever its name means by now. */
qk_status qk_input_check(const qk_input *in, qk_error *err);
void qk_input_close(qk_input *in);

/* Files as they were at their first check. Zero-initialise; for one thread at a time. */
typedef struct qk_watch {
    struct qk_watched *items; /* by path */
    size_t count, capacity;
} qk_watch;

/* The first time: remembers the file, which must be there; waits until it is as old as a tick.
 * Later: fails when it has changed since. state may be NULL. */
qk_status qk_watch_file(qk_watch *w, const char *path, qk_file_state *state, qk_error *err);
/* The same for a file that need not be there; but then it must not come. */
qk_status qk_watch_name(qk_watch *w, const char *path, qk_error *err);
/* Fails when one of them has changed. */
qk_status qk_watch_check(const qk_watch *w, qk_error *err);
void qk_watch_free(qk_watch *w);
