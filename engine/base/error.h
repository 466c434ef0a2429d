/* Errors of the outside world: files, configurations, checkpoints, networks.
 *
 * A function that can fail because of what it was given returns qk_status and fills a qk_error:
 * one message that names the thing (path, key, line, offset) and one hint that says what to do.
 * Our own mistakes are different: QK_ASSERT and qk_fatal abort loudly, and ops return void.
 *
 * next: engine/base/mem.h */
#pragma once

#include <stdarg.h>

typedef enum qk_status {
    QK_OK = 0,
    QK_ERR_USAGE,       /* the command line is wrong                            exit status 2 */
    QK_ERR_CONFIG,      /* a configuration value is wrong                       exit status 1 */
    QK_ERR_NOTFOUND,    /* a file, column, tensor or key is absent              exit status 1 */
    QK_ERR_FORMAT,      /* bytes that do not follow their format                exit status 1 */
    QK_ERR_UNSUPPORTED, /* well-formed, but not handled here                    exit status 1 */
    QK_ERR_DATA,        /* values that cannot be right (NaN weights, bad ids)   exit status 1 */
    QK_ERR_DAMAGED,     /* a file of ours whose checksum is wrong               exit status 1 */
    QK_ERR_DIFFERS,     /* a comparison found differences                       exit status 1 */
    QK_ERR_IO,          /* the system refused: permission, a read error         exit status 1 */
    QK_ERR_RESUME,      /* the same command goes on: signal, disk, network      exit status 3 */
} qk_status;

typedef struct qk_error {
    qk_status status;
    char message[1024]; /* what is wrong and where, one line */
    char hint[512];     /* what to do about it; may be empty */
} qk_error;

/* Fills *err and returns status, so that callers write `return qk_fail(...)`. hint may be NULL.
 * err is never NULL, here and everywhere: a caller that ignores the message still passes one. */
qk_status qk_fail(qk_error *err, qk_status status, const char *hint, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts "prefix: " before the message of an error that is already set; returns its status. */
qk_status qk_error_prefix(qk_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The status and wording for a failed system call, from errno: a full disk (ENOSPC, EDQUOT) or a
 * file at its limit (EFBIG) is QK_ERR_RESUME, an absent file QK_ERR_NOTFOUND, the rest QK_ERR_IO.
 * action is a verb phrase: "cannot open". */
qk_status qk_fail_errno(qk_error *err, const char *action, const char *path);
/* The same for a call that writes, makes, renames, locks or removes: a disk or a network file
 * system that fails (EIO, ESTALE ...) and a signal (EINTR) are QK_ERR_RESUME too. What was asked or
 * read before that may not be there any more; what is being written can be written again. */
qk_status qk_fail_write(qk_error *err, const char *action, const char *path);

/* 0 success, 1 bad input, 2 usage, 3 can be resumed. */
int qk_exit_status(qk_status status);
/* "usage", "config", "not_found" ...: for programs. */
const char *qk_status_name(qk_status status);

/* Prints a message with its line of the source and aborts. For our own mistakes only. */
_Noreturn void qk_fatal_at(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define qk_fatal(...) qk_fatal_at(__FILE__, __LINE__, __VA_ARGS__)

/* Stays on in every build. */
#define QK_ASSERT(condition)                                                                       \
    do {                                                                                           \
        if (!(condition)) qk_fatal("assertion failed: %s", #condition);                            \
    } while (0)

/* Returns from the current function when `call` fails. */
#define QK_TRY(call)                                                                               \
    do {                                                                                           \
        qk_status qk_try_status_ = (call);                                                         \
        if (qk_try_status_ != QK_OK) return qk_try_status_;                                        \
    } while (0)
