/* A fuzz target is one function over bytes. With clang it is a libFuzzer program (make fuzz T=60);
 * without, and in `make test`, tests/fuzz/replay.c runs it over the corpus under the sanitizers.
 *
 * Parsers that read files get one in a folder of their own in /dev/shm (or /tmp). */
#pragma once

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The folder, made once in a process; it stays behind, a few kB. */
static inline const char *fuzz_folder(void)
{
    static char folder[64];
    if (*folder) return folder;
    snprintf(folder, sizeof folder, "/dev/shm/qk_fuzz_XXXXXX");
    if (!mkdtemp(folder)) {
        snprintf(folder, sizeof folder, "/tmp/qk_fuzz_XXXXXX");
        if (!mkdtemp(folder)) abort();
    }
    return folder;
}

/* Writes folder/name anew; its path lives until the fourth later call. */
static inline const char *fuzz_file(const char *name, const void *data, size_t size)
{
    static char paths[4][128];
    static int n;
    char *path = paths[n++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", fuzz_folder(), name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    close(fd);
    return path;
}
