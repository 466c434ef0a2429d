/* See error.h. */
#include "engine/base/error.h"

#include <errno.h>
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
    size_t room = sizeof err->message - (size_t)n - 3, length = strnlen(old, room);
    memcpy(err->message + n + 2, old, length);
    err->message[(size_t)n + 2 + length] = 0;
    return err->status;
}

qk_status qk_fail_errno(qk_error *err, const char *action, const char *path)
{
    switch (errno) {
    case ENOSPC:
    case EDQUOT:
        return qk_fail(err, QK_ERR_RESUME, "free some space and run the same command again",
                       "%s: %s: the disk is full", path, action);
    case ENOENT:
    case ENOTDIR:
        return qk_fail(err, QK_ERR_NOTFOUND, "check the path", "%s: %s: %s", path, action,
                       strerror(errno));
    case EACCES:
    case EPERM:
    case EROFS:
        return qk_fail(err, QK_ERR_IO, "check the owner and the permissions of the folder",
                       "%s: %s: %s", path, action, strerror(errno));
    default: return qk_fail(err, QK_ERR_IO, NULL, "%s: %s: %s", path, action, strerror(errno));
    }
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
