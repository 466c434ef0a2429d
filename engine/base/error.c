/* See error.h. */
#include "engine/base/error.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

qk_status qk_fail(qk_error *err, qk_status status, const char *hint, const char *format, ...)
{
    err->status = status;
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    snprintf(err->hint, sizeof err->hint, "%s", hint ? hint : "");
    return status;
}

qk_status qk_error_prefix(qk_error *err, const char *format, ...)
{
    char old[sizeof err->message];
    memcpy(old, err->message, sizeof old);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    if (n < 0 || (size_t)n + 3 > sizeof err->message) return err->status;
    memcpy(err->message + n, ": ", 2);
    size_t capacity = sizeof err->message - (size_t)n - 3, length = strnlen(old, capacity);
    memcpy(err->message + n + 2, old, length);
    err->message[(size_t)n + 2 + length] = 0;
    return err->status;
}

/* What the same command may find mended the next time. */
static bool passes(int why)
{
    return why == EIO || why == EINTR || why == EAGAIN || why == ESTALE || why == ETIMEDOUT ||
           why == EREMOTEIO || why == ENOLINK;
}

static const char *hint_for(int why)
{
    switch (why) {
    case ENOENT:
    case ENOTDIR: return "check the path";
    case EACCES:
    case EPERM:
    case EROFS: return "check the owner and the permissions of the folder";
    case EMFILE:
    case ENFILE: return "raise the limit of open files (ulimit -n)";
    case EFBIG: return "raise the limit of file sizes (ulimit -f) and run the same command again";
    case ELOOP:
        return "a link stands there that leads in a circle, or where none may be: remove it";
    default:
        return passes(why) ? "look at the disk or the network file system, then run the same "
                             "command again"
                           : NULL;
    }
}

qk_status qk_fail_errno(qk_error *err, const char *action, const char *path)
{
    int why = errno;
    if (why == ENOSPC || why == EDQUOT)
        return qk_fail(err, QK_ERR_RESUME, "free some space and run the same command again",
                       "%s: %s: %s", path, action,
                       why == EDQUOT ? "the quota is used up" : "the disk is full");
    qk_status status = why == ENOENT || why == ENOTDIR ? QK_ERR_NOTFOUND
                       : why == EFBIG                  ? QK_ERR_RESUME
                                                       : QK_ERR_IO;
    return qk_fail(err, status, hint_for(why), "%s: %s: %s", path, action, strerror(why));
}

qk_status qk_fail_write(qk_error *err, const char *action, const char *path)
{
    int why = errno;
    qk_fail_errno(err, action, path);
    return err->status = passes(why) ? QK_ERR_RESUME : err->status;
}

int qk_exit_status(qk_status status)
{
    switch (status) {
    case QK_OK: return 0;
    case QK_ERR_USAGE: return 2;
    case QK_ERR_RESUME: return 3;
    default: return 1;
    }
}

const char *qk_status_name(qk_status status)
{
    static const char *const names[] = {
        [QK_OK] = "ok",
        [QK_ERR_USAGE] = "usage",
        [QK_ERR_CONFIG] = "config",
        [QK_ERR_NOTFOUND] = "not_found",
        [QK_ERR_FORMAT] = "format",
        [QK_ERR_UNSUPPORTED] = "unsupported",
        [QK_ERR_DATA] = "data",
        [QK_ERR_DAMAGED] = "damaged",
        [QK_ERR_DIFFERS] = "differs",
        [QK_ERR_IO] = "io",
        [QK_ERR_RESUME] = "resume",
    };
    return names[status];
}

void qk_fatal_at(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "qkengine: internal error at %s:%d: ", file, line);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}
