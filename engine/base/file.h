/* Files: reading whole, writing under a temporary name and renaming, listing.
 *
 * Nothing half-written ever has a final name: qk_writer writes `path.tmp`, and qk_writer_commit
 * flushes it to the disk, renames it and flushes the folder. Errors of writes are sticky: callers
 * write freely and check once, at commit.
 *
 * next: engine/base/cache.h */
#pragma once

#include <stdio.h>

#include "engine/base/mem.h"

/* What stands under a name. A question to the file system has three answers: yes, no, and that it
 * cannot be told. Absent is only what the system says is not there (ENOENT, ENOTDIR); no
 * permission, a stale handle, a failing disk, a loop of links are errors, never "no": whoever takes
 * them for "no" replaces what is there. */
typedef enum qk_path_type {
    QK_PATH_ABSENT,
    QK_PATH_FILE,
    QK_PATH_FOLDER,
    QK_PATH_LINK, /* of qk_path_lstat only */
    QK_PATH_OTHER,
} qk_path_type;
typedef struct qk_path_info {
    qk_path_type type;
    uint64_t size; /* bytes of a file, else 0 */
} qk_path_info;
/* Follows links; one that leads nowhere is absent. */
qk_status qk_path_stat(const char *path, qk_path_info *out, qk_error *err);
/* Does not follow the last one. */
qk_status qk_path_lstat(const char *path, qk_path_info *out, qk_error *err);
qk_status qk_has_file(const char *path, bool *has, qk_error *err);
qk_status qk_has_folder(const char *path, bool *has, qk_error *err);
/* Bytes of a file that must be there: QK_ERR_NOTFOUND when it is not. */
qk_status qk_file_size(const char *path, uint64_t *bytes, qk_error *err);

/* "a/b" from "a" and "b"; the caller frees. An absolute b stays as it is. */
char *qk_path_join(const char *folder, const char *name);
/* What follows the last '/', borrowed from path. */
const char *qk_path_name(const char *path);

/* Makes a folder and its parents, and flushes the parent of each one made: it is there after a
 * power cut. An existing one is fine. */
qk_status qk_make_dirs(const char *path, qk_error *err);
/* qk_fail_write (error.h) for a file or folder that cannot be made: "No such file or directory" is
 * no answer where the folder above is there; /proc and a folder that was removed say so. Of errno.
 */
qk_status qk_fail_create(qk_error *err, const char *action, const char *path);
/* Bytes that this user may still write on the file system of an existing path. */
qk_status qk_disk_free(const char *path, uint64_t *bytes, qk_error *err);
/* fsync of an open folder, so that renames inside it survive a power cut; 0 or an errno. */
int qk_flush_folder(int fd);
/* write(2) of all of it, whatever signals arrive; 0 or an errno. */
int qk_write_all(int fd, const void *bytes, size_t n);
/* openat(2) that a signal does not end, closed in programs that we start. -1 and errno. */
int qk_open_at(int folder, const char *path, int flags);
/* Removes a file; an absent one is fine. */
qk_status qk_remove_file(const char *path, qk_error *err);
/* Removes a folder and all that lies in it, without following links; an absent one is fine. */
qk_status qk_remove_tree(const char *path, qk_error *err);

/* Names in a folder without "." and "..", in byte order; all of them, or an error.
 * qk_names_free frees. */
typedef struct qk_names {
    char **items;
    size_t count, capacity;
} qk_names;
qk_status qk_list_dir(const char *path, qk_names *out, qk_error *err);
/* The same in any order of what was opened, which is closed; -1: errno says why it was not. */
qk_status qk_list_open(int fd, const char *path, qk_names *out, qk_error *err);
void qk_names_add(qk_names *names, const char *name); /* copies */
void qk_names_sort(qk_names *names);                  /* in byte order */
void qk_names_free(qk_names *names);

/* The whole file in memory, NUL-terminated behind its size; refuses more than `limit` bytes. */
qk_status qk_read_file(qk_buf *out, const char *path, size_t limit, qk_error *err);
/* The same of one that is open at its beginning; path is for messages. */
qk_status qk_read_open_file(qk_buf *out, int fd, const char *path, size_t limit, qk_error *err);
/* The same where an absent file is fine: then *there is false and *out empty. */
qk_status qk_read_file_if_there(qk_buf *out, const char *path, size_t limit, bool *there,
                                qk_error *err);
/* Writes a whole file under its final name: tmp, fsync, rename. */
qk_status qk_write_file(const char *path, const void *bytes, size_t n, qk_error *err);
/* The same for a file that is made once, by whoever comes first, also when several processes do it
 * at the same moment: one that is there stays as it is, but a link there is an error. The temporary
 * name is "path.<16 hexadecimal digits>.tmp". */
qk_status qk_create_file(const char *path, const void *bytes, size_t n, qk_error *err);
/* Renames, and flushes both folders: the file has one of the names after a power cut. */
qk_status qk_move_file(const char *from, const char *to, qk_error *err);
/* Its first n bytes. */
qk_status qk_write_at_start(int file, const void *bytes, size_t n, const char *path, qk_error *err);
/* Its first n bytes, fewer (*got) where it is shorter; in any state of its descriptor's offset. */
qk_status qk_read_at_start(int file, void *out, size_t n, size_t *got, const char *path,
                           qk_error *err);
/* From the system's source. */
qk_status qk_random_bytes(void *out, size_t n, qk_error *err);
/* 16 random hexadecimal digits and a NUL: part of a name that no other process takes. */
qk_status qk_unique_name(char out[17], qk_error *err);

/* Buffered writing under a temporary name, `path.tmp`, which is always a new file: what has that
 * name is removed first and no link is followed. Zero-initialised means closed. */
typedef struct qk_writer {
    int file; /* its descriptor + 1 */
    char *path, *tmp;
    uint8_t *buffer;
    size_t used;     /* bytes of the buffer that are not in the file yet */
    uint64_t offset; /* bytes added so far */
    int error;       /* first errno of a failed write, 0 while all is well */
} qk_writer;
qk_status qk_writer_open(qk_writer *w, const char *path, qk_error *err);
/* With a temporary name of the caller's choice, in the same folder. */
qk_status qk_writer_open_as(qk_writer *w, const char *path, const char *tmp, qk_error *err);
void qk_writer_add(qk_writer *w, const void *bytes, size_t n); /* sticky errors */
qk_status qk_writer_commit(qk_writer *w, qk_error *err);       /* closes in any case */
void qk_writer_abort(qk_writer *w);                            /* removes the temporary file */
