/* A disk that has only SMALL_DISK bytes free, for a program that asks with statvfs(3).
 *
 *   LD_PRELOAD=small_disk.so SMALL_DISK=1000000 program ... */
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

int statvfs(const char *path, struct statvfs *out)
{
    const char *bytes = getenv("SMALL_DISK");
    (void)path;
    memset(out, 0, sizeof *out);
    out->f_frsize = out->f_bsize = 1;
    out->f_bavail = bytes ? strtoul(bytes, NULL, 10) : 0;
    return 0;
}
